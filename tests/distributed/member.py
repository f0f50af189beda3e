"""One of several processes that train a model, and what happens to one.

    python -m tests.distributed.member EVENT WHO [evaluate | begin]

The event happens to worker number `WHO`, as an epoch of its second training
ends, or in `evaluate`, or before it makes a model. "ends": it has no second
training, and the others have some work left. "does not come": the others wait
for 4 seconds. Lines that begin with `member:` are for the test.
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
    who, when = int(sys.argv[2]), sys.argv[3:]
    options = {
        "threads": 1,
        "heartbeat": 4,
        "start_timeout": 4 if sys.argv[1] == "does not come" else 300,
        "timeout": 6 if sys.argv[1] == "hangs" else 1000,
    }
    strategy = gdtrain.distributed.strategy(**options)
    assert gdtrain.distributed.strategy(**options) is strategy
    is_hit = strategy.cluster_resolver.task_id == who
    if when == ["begin"] and is_hit:
        EVENTS[sys.argv[1]]()
    with strategy.scope():
        model = gdtrain.Sequential([keras.Input([4]), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    data = {"x": X, "y": X[:, :1], "batch_size": 16}
    model.fit(**data, epochs=2)
    print("member: has trained on", strategy.num_replicas_in_sync, flush=True)
    if sys.argv[1] == "ends":
        if not is_hit:
            time.sleep(4)  # More than a heartbeat, as to save a model
            print("member: saved", flush=True)
        return
    callbacks = [Event(is_hit)]
    while when == ["evaluate"]:
        model.evaluate(**data, verbose=0, callbacks=callbacks)
    model.fit(**data, epochs=10**6, verbose=0, callbacks=callbacks)


if __name__ == "__main__":
    main()
