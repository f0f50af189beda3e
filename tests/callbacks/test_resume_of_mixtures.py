"""Runs of mixed models, optimizers, feeds and callbacks go on exactly."""

import functools
import random

import keras
import pytest

import gdtrain
from tests.callbacks import runs
from tests.callbacks.test_backup_and_restore import check, decaying, scaling

OPTIMIZERS = [
    keras.optimizers.Adam,
    decaying,
    scaling,
    functools.partial(gdtrain.GradientDescent, 0.05, 0.9, nesterov=True),
    functools.partial(
        keras.optimizers.AdamW, use_ema=True, ema_overwrite_frequency=3
    ),
]
# Each of them by itself is tested in test_backup_and_restore.py.
CHOICES = {
    "outputs": [1, 2],
    "layers": [[], ["norm"], ["dropout"], ["norm", "dropout"]],
    "optimizer": OPTIMIZERS,
    "jit_compile": [False, True, "auto"],
    "steps_per_execution": ["auto", 1, 3],
    "microbatches": [1, 2],
    "global_clipnorm": [None, 0.5],
    "feed": ["arrays", "arrays in order", "PyDataset", "tf.data"],
    "policy": [None, "stop", "skip"],
    "observed": [False, True],
    "remembering": [False, True],
    "validated": [False, True],
    "every_steps": [1, 2, 3],
}
LAYERS = {
    "norm": keras.layers.BatchNormalization,
    "dropout": lambda: keras.layers.Dropout(0.3),
}


def network(mixture):
    """A model with one output or two, which learn the same."""
    inputs = keras.Input([3])
    hidden = keras.layers.Dense(4, activation="tanh")(inputs)
    for name in mixture["layers"]:
        hidden = LAYERS[name]()(hidden)
    outputs = [keras.layers.Dense(1)(hidden) for _ in range(mixture["outputs"])]
    model = gdtrain.Model(inputs, outputs)
    names = "jit_compile", "steps_per_execution", "microbatches"
    model.compile(
        mixture["optimizer"](),
        ["mse", "mae"][: mixture["outputs"]],
        **{name: mixture[name] for name in (*names, "global_clipnorm")},
    )
    return model


def feed(mixture):
    """Data with as many targets as there are outputs."""
    data = runs.FEEDS[mixture["feed"]]()
    if mixture["outputs"] == 1:
        return data
    if mixture["feed"] == "tf.data":
        return {"x": data["x"].map(lambda x, y: (x, (y, y)))}
    if "y" in data:
        return data | {"y": [data["y"], data["y"]]}
    return {"x": TwoTargets()}


class TwoTargets(runs.Shuffled):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x, (y, y)


def callbacks(mixture, folder):
    made = []
    if mixture["remembering"]:
        made += runs.kept_by_keras(folder)
        if mixture["optimizer"] is decaying:  # Whose rate cannot be set
            made = [made[0], made[2]]
    if mixture["observed"]:
        made += runs.observers(folder)
    if mixture["policy"]:
        made.append(gdtrain.callbacks.NonfiniteGuard(mixture["policy"]))
    return made


# test_backup_and_restore.py has a test of each of them by default.
@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_mixture_continues_exactly(tmp_path, seed):
    chance = random.Random(seed)
    mixture = {name: chance.choice(some) for name, some in CHOICES.items()}
    print(mixture)
    arguments = {}
    if mixture["validated"]:
        y = runs.Y if mixture["outputs"] == 1 else [runs.Y, runs.Y]
        arguments = {"validation_data": (runs.X, y), "validation_freq": 2}
    check(
        tmp_path,
        sorted(chance.sample(range(1, 12), 2)),
        epochs=3,
        model=lambda: network(mixture),
        feed=lambda: feed(mixture),
        callbacks=lambda folder: callbacks(mixture, folder),
        arguments=arguments,
        backup={"every_steps": mixture["every_steps"]},
    )
