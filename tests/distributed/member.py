"""One of several processes that train a model, and what happens to one.

    python -m tests.distributed.member EVENT WHO [evaluate]

The event happens to worker number `WHO`, as an epoch of its second training
ends, or in `evaluate`. "ends": it has no second training, and the others have
some work left. Lines that begin with `member:` are for the test.
"""

import os
import signal
import sys
import time

import keras
import numpy as np

import gdtrain

EVENTS = {
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "is terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "is stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exits": lambda: sys.exit(3),
    "hangs": lambda: time.sleep(10_000),
    "raises": lambda: int("of its own"),
}
X = np.ones([64, 4], "float32")


class Event(keras.callbacks.Callback):
    """Has the event happen as the second epoch ends, or as one is evaluated.

    Args:
        is_hit: Whether to this worker.
    """

    def __init__(self, is_hit):
        super().__init__()
        self.is_hit = is_hit

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and self.is_hit:
            print("member: event", flush=True)
            EVENTS[sys.argv[1]]()

    def on_test_end(self, logs=None):
        self.on_epoch_end(1)


def main():
    who, evaluates = int(sys.argv[2]), sys.argv[3:] == ["evaluate"]
    options = {
        "threads": 1,
        "heartbeat": 4,
        "start_timeout": 300,
        "timeout": 6 if sys.argv[1] == "hangs" else 1000,
    }
    strategy = gdtrain.distributed.strategy(**options)
    assert gdtrain.distributed.strategy(**options) is strategy
    with strategy.scope():
        model = gdtrain.Sequential([keras.Input([4]), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    data = {"x": X, "y": X[:, :1], "batch_size": 16}
    model.fit(**data, epochs=2)
    print("member: has trained on", strategy.num_replicas_in_sync, flush=True)
    is_hit = strategy.cluster_resolver.task_id == who
    if sys.argv[1] == "ends":
        if not is_hit:
            time.sleep(4)  # More than a heartbeat, as to save a model
            print("member: saved", flush=True)
        return
    callbacks = [Event(is_hit)]
    while evaluates:
        model.evaluate(**data, verbose=0, callbacks=callbacks)
    model.fit(**data, epochs=10**6, verbose=0, callbacks=callbacks)


if __name__ == "__main__":
    main()
