"""Runs of Ray on this machine, in a process of their own.

    python -m tests.distributed.ray_runs NAME FOLDER

runs the function of that name, and prints what it returns as JSON.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import sys
import tempfile

import numpy as np

EPOCHS = 8
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Reports are read so often; by default, each 2 seconds.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # Else it writes to the home folder.
    # That 127.0.0.1 is the address of this machine, as Ray has it for laptops;
    # it is not enough to pass it to `ray.init`. (TensorFlow's servers listen
    # on all addresses.)
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}
SMALL = {
    "include_dashboard": False,
    "object_store_memory": 80 * 2**20,  # The least that Ray takes
}


@contextlib.contextmanager
def cluster(cpus):
    """Ray on this machine, until the end."""
    import ray  # Reads its environment as it is imported.

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-") as folder:
        ray.init(
            num_cpus=cpus,
            log_to_driver=False,
            _temp_dir=folder,  # A short one, for the names of sockets
            runtime_env={"env_vars": ENVIRONMENT},
            **SMALL,
        )
        try:
            yield
        finally:
            ray.shutdown()


def trainer(
    function,
    folder,
    config=(),
    workers=2,
    failures=3,
    callbacks=None,
    **arguments,
):
    """A trainer of small workers that keeps two checkpoints."""
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer

    return TensorflowTrainer(
        function,
        train_loop_config={"folder": folder} | dict(config),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, elastic_resize_monitor_interval_s=1
        ),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=folder,
            callbacks=callbacks,
            failure_config=ray.train.FailureConfig(max_failures=failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
        **arguments,
    )


def prepare():
    """The strategy, before all else of TensorFlow, with one thread."""
    import gdtrain

    return gdtrain.distributed.strategy(threads=1)


def arrays():
    """Examples, and what is to be learned of them."""
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def fitted(strategy, *callbacks, rate=0.01, **settings):
    """Trains a small network: what its history and weights are.

    Args:
        strategy: Its strategy.
        *callbacks: Of `fit`.
        rate: The learning rate.
        **settings: More of `compile`.
    """
    import keras

    import gdtrain

    x, y = arrays()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = gdtrain.Sequential(
            [
                keras.Input([4]),
                keras.layers.Dense(8, "tanh"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(1),
            ]
        )
        model.compile(
            keras.optimizers.Adam(rate), "mse", metrics=["mae"], **settings
        )
    history = model.fit(
        x,
        y,
        batch_size=16,
        epochs=EPOCHS,
        verbose=0,
        callbacks=list(callbacks),
    )
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return {"history": history.history, "weights": digest.hexdigest()}


def kill(worker, epoch, folder):
    """A callback that kills its process, once, in the middle of an epoch."""
    import keras
    import ray.train

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            place = ray.train.get_context().get_world_rank(), self.epoch, batch
            flag = pathlib.Path(folder, f"killed-{worker}-{epoch}")
            if place == (worker, epoch, 2) and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    return Kill()


def killed_and_not(config):
    """Trains through kills, then once more undisturbed."""
    import gdtrain

    strategy = prepare()
    kills = [kill(*place, config["folder"]) for place in config["kills"]]
    report = gdtrain.callbacks.RayReport(every_steps=5)
    found = fitted(strategy, *kills, report)
    found["undisturbed"] = fitted(strategy)
    tasks = json.loads(os.environ["TF_CONFIG"])["cluster"]
    return found | {"addresses": tasks["worker"]}


def killed(folder, kills=((1, 5),)):
    """One worker killed once."""
    with cluster(2):
        config = {"kills": kills}
        result = trainer(killed_and_not, folder, config).fit()
    return result.return_value | {
        "metrics": result.metrics,
        "checkpoint": result.checkpoint.path,
        "kept": len(result.best_checkpoints),
    }


def chief_killed(folder):
    return killed(folder, [(0, 5)])


def killed_often(folder):
    """Kills of a seed, on one worker or the other."""
    random = np.random.default_rng(0)
    epochs = sorted(random.choice(np.arange(1, EPOCHS), 3, replace=False))
    return killed(folder, [(int(random.integers(2)), int(e)) for e in epochs])


def reads_ray_data(config):
    """Trains on Ray Data, then on arrays, by all examples in one batch."""
    import keras
    import ray.train

    import gdtrain

    strategy = prepare()
    shard = ray.train.get_dataset_shard("train")
    x, y = arrays()

    def parts():
        for batch in shard.iter_batches(batch_size=len(x)):
            yield batch["x"], batch["y"]

    def trained(**data):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = gdtrain.Sequential(
                [keras.Input([4]), keras.layers.Dense(1)]
            )
            model.compile(gdtrain.GradientDescent(0.1), "mse")
        model.fit(**data, epochs=3, verbose=0)
        return [w.ravel().tolist() for w in model.get_weights()]

    return {
        "parts": trained(x=gdtrain.data.WorkerData(parts)),
        "arrays": trained(x=x, y=y, batch_size=len(x)),
        "examples": sum(len(batch) for batch, _ in parts()),
    }


def ray_data(folder):
    """Examples that Ray Data shares out among two workers."""
    import ray.data

    with cluster(4):
        examples = [{"x": x, "y": y} for x, y in zip(*arrays(), strict=True)]
        datasets = {"train": ray.data.from_items(examples)}
        return (
            trainer(reads_ray_data, folder, datasets=datasets)
            .fit()
            .return_value
        )


def fails(config):
    """Has an error of its own on the second worker, at each start."""
    import keras
    import ray.train

    import gdtrain

    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3 and ray.train.get_context().get_world_rank() == 1:
                raise ZeroDivisionError("of the test")

    strategy = prepare()
    with open(pathlib.Path(config["folder"], "starts"), "a") as file:
        file.write("x")
    fitted(strategy, Fail(), gdtrain.callbacks.RayReport(every_steps=5))


def repeated_crash(folder):
    """An error at the same step at each start, and no end of restarts."""
    import ray.train

    import gdtrain

    with cluster(2):
        stop = gdtrain.distributed.stop_repeated_crash()
        run = trainer(fails, folder, failures=-1, callbacks=[stop])
        try:
            run.fit()
        except ray.train.TrainingFailedError as error:
            message = str(error)
    starts = len(pathlib.Path(folder, "starts").read_text()) / 2
    return {"message": message, "starts": starts}


def trial(config):
    """A trial of Ray Tune."""
    import gdtrain

    telemetry = gdtrain.callbacks.Telemetry()
    report = gdtrain.callbacks.RayReport(telemetry=telemetry)
    fitted(prepare(), telemetry, report, rate=config["rate"])


def tune(folder):
    """Learning rates side by side; those that diverge are stopped."""
    import ray.tune

    with cluster(2):
        results = ray.tune.Tuner(
            trial,
            param_space={"rate": ray.tune.grid_search([0.03, 30.0])},
            run_config=ray.tune.RunConfig(
                name="run", storage_path=folder, stop={"trouble": 1}, verbose=0
            ),
        ).fit()
        return {
            str(one.config["rate"]): {
                key: one.metrics[key]
                for key in ("epoch", "verdict", "trouble", "loss")
            }
            for one in results
        }


def main(functions):
    """Runs the function that the command line names, and prints its result."""
    os.environ |= ENVIRONMENT
    print(json.dumps(functions[sys.argv[1]](sys.argv[2])))


if __name__ == "__main__":
    main(globals())
