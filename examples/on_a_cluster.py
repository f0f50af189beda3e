"""One training on several processes or machines, through any lost worker.

    pip install gdtrain[ray]
    python examples/on_a_cluster.py --lose-a-worker

starts two workers here, of which one is killed at epoch 10; a minute. On a
Ray cluster: --address auto --workers 8 --storage s3://bucket/runs
"""

import argparse
import os
import signal

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Before Ray is imported

import _quiet  # noqa: E402, F401
import keras  # noqa: E402
import numpy as np  # noqa: E402
import ray  # noqa: E402
from ray import train as rt  # noqa: E402
from ray.train.tensorflow import TensorflowTrainer  # noqa: E402

import gdtrain  # noqa: E402


def train(config):
    """What Ray starts in each worker, and again in all if one is lost."""
    found, rank = rt.get_checkpoint(), rt.get_context().get_world_rank()

    def die(epoch, logs):
        if config["lose_a_worker"] and (rank, epoch, found) == (1, 10, None):
            os.kill(os.getpid(), signal.SIGKILL)

    strategy = gdtrain.distributed.strategy(threads=1)
    keras.utils.set_random_seed(1)
    with strategy.scope():
        layers = [keras.layers.Dense(64, "tanh") for _ in range(2)]
        layers = [keras.Input([2]), *layers, keras.layers.Dense(1, "sigmoid")]
        model = gdtrain.Sequential(layers)
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    report = gdtrain.callbacks.RayReport(save_freq="epoch")
    callbacks = [report, keras.callbacks.LambdaCallback(on_epoch_begin=die)]
    x = np.random.default_rng(0).normal(size=[10_000, 2])
    y = x[:, :1] * x[:, 1:] > 0
    model.fit(x, y, 200, config["epochs"], verbose=0, callbacks=callbacks)
    return model.history.history, found and found.path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="local", help="of a Ray cluster")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--storage", default="output/ray", help="folder or URI")
    parser.add_argument("--lose-a-worker", action="store_true")
    config = vars(parser.parse_args())
    here = {"include_dashboard": False, "log_to_driver": False}
    here["num_cpus"] = config["workers"]
    is_here, storage = config["address"] == "local", config["storage"]
    ray.init(config["address"], **(here if is_here else {}))
    run = rt.RunConfig(
        storage_path=storage if "://" in storage else os.path.abspath(storage),
        failure_config=rt.FailureConfig(max_failures=3),
        checkpoint_config=rt.CheckpointConfig(num_to_keep=2),
        callbacks=[gdtrain.distributed.stop_repeated_crash()],
    )
    several = rt.ScalingConfig(num_workers=config["workers"])
    arguments = {"scaling_config": several, "run_config": run}
    trainer = TensorflowTrainer(train, train_loop_config=config, **arguments)
    result = trainer.fit()
    history, found = result.return_value
    for epoch in range(0, config["epochs"], 5):
        print(epoch + 1, *(f"{k} {v[epoch]:.4f}" for k, v in history.items()))
    print("At the end:", result.metrics)
    print("Continued from:", found or "nothing, as no worker was lost")
    print("Saved in:", result.checkpoint.path)


if __name__ == "__main__":
    main()
