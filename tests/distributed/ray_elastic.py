"""A run of Ray whose number of workers changes.

python -m tests.distributed.ray_elastic elastic FOLDER
"""

import contextlib
import os
import pathlib
import tempfile
import time
from concurrent import futures

from tests import waiting
from tests.distributed import ray_runs


@contextlib.contextmanager
def nodes():
    """A node of Ray with one CPU, and a function that adds another.

    It returns what removes that one, as if its machine were lost.
    """
    import ray
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-") as folder:
        # Else it is the cluster to which `ray.init()` of any process connects.
        os.environ["RAY_TMPDIR"] = folder
        node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", **ray_runs.SMALL}
        found = Cluster(initialize_head=True, head_node_args=node)

        def add():
            added = found.add_node(**node)
            return lambda: found.remove_node(added, allow_graceful=False)

        ray.init(
            found.address,
            log_to_driver=False,
            runtime_env={"env_vars": ray_runs.ENVIRONMENT},
        )
        try:
            yield add
        finally:
            ray.shutdown()
            found.shutdown()


def changes_number(config):
    """Two workers train until one is lost, and this one until there are two.

    Each group notes its number of workers and the epoch in which it begins.
    """
    import keras
    import ray.train

    import gdtrain

    count = ray.train.get_context().get_world_size()
    is_added = ray.get_runtime_context().get_node_id() != config["head"]
    is_chief = ray.train.get_context().get_world_rank() == 0

    class Wait(keras.callbacks.Callback):
        has_begun = False

        def on_epoch_begin(self, epoch, logs=None):
            if is_chief and not self.has_begun:
                with open(
                    pathlib.Path(config["folder"], "groups"), "a"
                ) as file:
                    print(count, epoch, file=file)
            self.has_begun = True
            if is_added and (count, epoch) == (2, 4):
                self.wait("may lose a node")
            if (count, epoch) == (1, 6):
                self.wait("may add a node")

        def wait(self, name):
            flag = pathlib.Path(config["folder"], name)
            if not flag.exists():
                flag.touch()
                time.sleep(waiting.SECONDS)  # Until it is killed

    strategy = ray_runs.prepare()
    report = gdtrain.callbacks.RayReport(save_freq="epoch")
    settings = {"reproducible_workers": 2}
    found = ray_runs.fitted(strategy, Wait(), report, **settings)
    found["undisturbed"] = ray_runs.fitted(strategy, **settings)
    return found


def elastic(folder):
    """Two nodes, of which one is lost; then there is one more."""
    import ray

    def change(flag, how):
        waiting.until(lambda: run.done() or pathlib.Path(folder, flag).exists())
        how()

    # For how long Ray waits for a node that it does not know to be lost
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    with nodes() as add, futures.ThreadPoolExecutor() as threads:
        config = {"head": ray.get_runtime_context().get_node_id()}
        lose = add()
        run = threads.submit(
            ray_runs.trainer(changes_number, folder, config, workers=(1, 2)).fit
        )
        change("may lose a node", lose)
        change("may add a node", add)
        found = run.result().return_value
    groups = pathlib.Path(folder, "groups").read_text().splitlines()
    return found | {"groups": [list(map(int, one.split())) for one in groups]}


if __name__ == "__main__":
    ray_runs.main(globals())
