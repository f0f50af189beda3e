"""Runs that can be broken off, and all that they leave behind."""

import dataclasses
import random
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain import telemetry
from gdtrain.writers import CSVWriter, reading
from gdtrain.writers.tensorboard_runs import FOLDERS

EXAMPLES = 22
X = np.random.default_rng(0).normal(size=[EXAMPLES, 3]).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype("float32")


class Killed(Exception):
    """Stands for the end of a process."""


class KillAt(gdtrain.callbacks.Callback):
    """Breaks a run off at some step, once all before it is saved."""

    def __init__(self, step):
        super().__init__()
        self.step = step
        self.began_at = None

    def on_fit_begin(self, run):
        self.began_at = run.steps_done

    def on_position(self, run):
        if self.step and run.steps_done >= self.step and not run.is_over:
            for callback in run.callbacks:
                if isinstance(callback, gdtrain.callbacks.BackupAndRestore):
                    callback.wait()
            raise Killed


class Shuffled(keras.utils.PyDataset):
    """Batches that are shuffled by a generator of their own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.random = np.random.default_rng(5)
        self.order = np.arange(EXAMPLES)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        picked = self.order[index * 6 : index * 6 + 6]
        return X[picked], Y[picked]

    def on_epoch_end(self):
        self.random.shuffle(self.order)


class Same(Shuffled):
    """One that stays the same: threads read ahead of the ends of epochs."""

    def on_epoch_end(self):
        pass


class Remembering(Shuffled):
    """One that says where it is, and shuffles by NumPy's own generator."""

    def on_epoch_end(self):
        np.random.shuffle(self.order)

    def get_state(self):
        return {"order": self.order.copy()}

    def set_state(self, state):
        self.order = state["order"].copy()


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(10)


def generator():
    while True:
        for start in range(0, EXAMPLES, 6):
            yield X[start : start + 6], Y[start : start + 6]


FEEDS: dict[str, Callable] = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 6},
    "arrays in order": lambda: {
        "x": X,
        "y": Y,
        "batch_size": 6,
        "shuffle": False,
    },
    "PyDataset": lambda: {"x": Shuffled()},
    "PyDataset, 2 workers": lambda: {"x": Shuffled(workers=2)},
    "PyDataset with state": lambda: {"x": Remembering()},
    "PyDataset in part": lambda: {"x": Same(), "steps_per_epoch": 2},
    "tf.data": lambda: {"x": dataset().batch(6).prefetch(2)},
    "tf.data of unknown length": lambda: {
        "x": dataset().filter(lambda x, y: x[0] > -1.0).batch(5)
    },
    "tf.data that repeats": lambda: {
        "x": dataset().repeat().batch(6),
        "steps_per_epoch": 3,
    },
}


def network(**compile_arguments):
    """A network with dropout, moving averages, and optimizer's slots."""
    model = gdtrain.Sequential(
        [
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile(
        **{"optimizer": "adam", "loss": "mse", "metrics": ["mae"]}
        | compile_arguments
    )
    return model


@dataclasses.dataclass
class Script:
    """A program that trains, as if started anew each time it is called.

    Args:
        folder: Where it saves and logs.
        feed: Gives arguments of `fit`.
        model: Makes a model.
        callbacks: Makes more callbacks, given the folder.
        arguments: Of `fit`.
        backup: Of `BackupAndRestore`.
    """

    folder: str
    feed: Callable = FEEDS["arrays"]
    model: Callable = network
    callbacks: Callable = lambda folder: []
    arguments: dict = dataclasses.field(default_factory=dict)
    backup: dict = dataclasses.field(default_factory=dict)

    def __call__(self, kill_at=None, epochs=3, seed=3):
        """Runs; returns `(what is left, at which step it began)`."""
        keras.backend.clear_session(free_memory=False)  # Names count anew.
        keras.utils.set_random_seed(seed)
        tf.random.set_global_generator(tf.random.Generator.from_seed(seed))
        model = self.model()
        kill = KillAt(kill_at)
        backup = {
            "backup_dir": f"{self.folder}/backup",
            "every_steps": 1,
            "every_seconds": None,
        } | self.backup
        callbacks = [
            *self.callbacks(self.folder),
            gdtrain.callbacks.BackupAndRestore(**backup),
            kill,
        ]
        history = model.fit(
            **self.feed(),
            **{"verbose": 0, "epochs": epochs} | self.arguments,
            callbacks=callbacks,
        )
        return left_by(model, history, callbacks), kill.began_at


def left_by(model, history, callbacks):
    """All that a run leaves behind, as comparable values."""
    left = {
        f"variable {i}": np.asarray(v).tobytes()
        for i, v in enumerate([*model.variables, *model.optimizer.variables])
    }
    left["history"] = repr(history.history), history.epoch
    left["random"] = (
        random.random(),
        np.random.rand(),
        float(keras.random.uniform([])),
        float(tf.random.get_global_generator().uniform([])),
    )
    for index, callback in enumerate(callbacks):
        if isinstance(callback, gdtrain.callbacks.Telemetry):
            for name in callback.names:
                left[f"{index} {name}"] = callback[name].tobytes()
            left[f"{index} steps"] = callback.steps.tolist()
        if isinstance(callback, gdtrain.callbacks.TensorBoard):
            left |= curves(callback.log_dir)
    return left


def curves(log_dir):
    """What is in TensorBoard's files, by run and tag."""
    return {
        (run, tag): (steps.tolist(), values.tobytes())
        for run, folder in FOLDERS.items()
        if reading.paths(f"{log_dir}/{folder}")
        for tag, (steps, values) in reading.scalars(
            f"{log_dir}/{folder}"
        ).items()
    }


def files(*names):
    """Contents of text files, by name."""
    return {name: open(name, "rb").read() for name in names}


def observers(folder):
    """Callbacks that write down each step."""
    quantities = [
        "loss",
        telemetry.GradientCosine(),
        telemetry.DistanceFromStart(),
    ]
    return [
        gdtrain.callbacks.Telemetry(quantities),
        gdtrain.callbacks.TensorBoard(f"{folder}/tensorboard"),
        gdtrain.callbacks.StepWriter(CSVWriter(f"{folder}/steps.csv")),
    ]


def kept_by_keras(folder):
    """Keras's callbacks that remember something."""
    return [
        keras.callbacks.EarlyStopping(
            "loss", patience=2, restore_best_weights=True
        ),
        keras.callbacks.ReduceLROnPlateau("loss", patience=0, factor=0.5),
        keras.callbacks.CSVLogger(f"{folder}/log.csv"),
        keras.callbacks.LearningRateScheduler(
            lambda epoch, rate: float(rate) * 0.9
        ),
    ]


def differences(one, other):
    """Names of what is not equal in two dicts."""
    return [k for k in {**one, **other} if one.get(k) != other.get(k)]
