"""Models with data, as the parts of a diagnosis take them."""

import keras
import numpy as np

import gdtrain
from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.trial import Trials
from tests.diagnosis.runs import run_of


def case_with(model, x, y, *, shuffle=True, batch_size=32, **columns):
    """The `Case` of a model and data; its losses say nothing by default."""
    task = Task(model, x, y, shuffle=shuffle, batch_size=batch_size)
    columns = columns or {"loss": np.linspace(1, 0.9, 50)}
    return Case(run_of(**columns), task=task)


def compiled(layers, loss, inputs, *, optimizer="sgd", seed=0):
    """A compiled `gdtrain.Sequential` of layers."""
    keras.utils.set_random_seed(seed)
    model = gdtrain.Sequential([keras.Input(inputs), *layers])
    model.compile(optimizer, loss=loss)
    return model


def trial(task, changes, steps=None, start=None):
    """One trial by itself. See `Trials.run`."""
    with Trials(task, expected=1) as trials:
        return trials.run(changes, steps, start)
