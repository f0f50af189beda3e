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

EPOCHS = 8
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Reports are read so often; by default, each 2 seconds.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Of workers: that they listen on 127.0.0.1, which Ray has for laptops
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}


@contextlib.contextmanager
def cluster(cpus):
    """Ray on this machine, until the end."""
    import ray  # Reads its environment as it is imported.

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-") as folder:
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80 * 2**20,  # The least that Ray takes
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,  # A short one, for the names of sockets
            runtime_env={"env_vars": _ENVIRONMENT},
        )
        try:
            yield
        finally:
            ray.shutdown()


def trainer(function, folder, config=(), workers=2, failures=3, **arguments):
    """A trainer of small workers that keeps two checkpoints."""
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer

    return TensorflowTrainer(
        function,
        train_loop_config={"folder": folder} | dict(config),
        scaling_config=ray.train.ScalingConfig(num_workers=workers),
        run_config=ray.train.RunConfig(
            name="run",
            storage_path=folder,
            failure_config=ray.train.FailureConfig(max_failures=failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
        **arguments,
    )


def prepare():
    """The strategy, before all else of TensorFlow, with one thread."""
    import gdtrain

    return gdtrain.distributed.strategy(threads=1)


def fitted(strategy, *callbacks):
    """Trains a small network: what its history and weights are."""
    import keras
    import numpy as np

    import gdtrain

    random = np.random.default_rng(0)
    x = random.normal(size=(96, 4)).astype("float32")
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
        model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    history = model.fit(
        x,
        x.sum(axis=1, keepdims=True),
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
    return found


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


if __name__ == "__main__":
    os.environ |= _ENVIRONMENT
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
