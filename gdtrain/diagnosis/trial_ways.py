"""Ways to train in a trial: rates, batches and data, by changes."""

import math
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.diagnosis.scales import Scale
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.trial_program import Units, Variant
from gdtrain.keras_bridge.optimizers import unwrapped

Start = Literal["last", "new"]

_MOST_SEEN = 2048  # Examples of which the loss is computed
_SEED = 0  # Of the order of examples


class Way(NamedTuple):
    """A way to train."""

    start: Start
    shuffled: bool
    rates: tuple[str, float] = ("as the run", 1.0)
    decay: float = 1.0
    variant: Variant = Variant()
    scales_inputs: bool = False
    scales_targets: bool = False


def changed(task: Task, way: Way, changes: tuple[tuple[str, Any], ...]) -> Way:
    """The way to train with changes.

    Raises:
        ValueError: if one cannot be made.
    """
    for kind, value in changes:
        if kind in ("learning_rate", "constant_learning_rate"):
            way = way._replace(rates=(kind, float(value)))
        elif kind == "weight_decay":
            strength = task.strength_of_decay
            if not strength:
                raise ValueError("there is no weight decay of known size")
            way = way._replace(decay=float(value) / strength)
        elif kind == "shuffle":
            way = way._replace(shuffled=True)
        elif kind == "from_logits":
            way = way._replace(variant=Variant(value))
        elif kind == "scale_inputs":
            if not any(one.matters for one in task.inputs):
                raise ValueError("no input has a scale that matters")
            way = way._replace(scales_inputs=True)
        elif kind == "scale_targets":
            units(task)  # Raises where they are not known
            way = way._replace(scales_targets=True)
        else:
            raise ValueError(f"nothing is known of the change {kind!r}")
    return way


def rates(task: Task, way: Way, steps: int) -> np.ndarray:
    """The learning rate of each step.

    From new weights, those of the run, stretched to so many steps; from
    the last ones, what would follow.
    """
    kind, value = way.rates
    if kind == "constant_learning_rate":
        return np.full(steps, value)
    of_run = task.learning_rates
    if way.start == "new":
        length = max(len(of_run), steps)
        places = np.arange(steps) * length // steps
        found = of_run[np.minimum(places, len(of_run) - 1)]
    else:
        done = unwrapped(task.model.optimizer).iterations.numpy()
        found = task.scheduled(int(done), steps)
    if kind == "learning_rate":
        largest = of_run.max()
        if not largest > 0:
            return np.full(steps, value)
        found = found / largest * value
    return found


def seen(task: Task, steps: int) -> np.ndarray:
    """Rows of the examples of which the loss is computed, in parts."""
    sample = task.sample
    count, size = sample.examples, sample.batch_size
    inputs = getattr(task.model, "inputs", None) or []
    if all(one.shape[0] is None for one in inputs):
        size = min(max(size, 32), count)
    wanted = max(256, steps * sample.batch_size // 4)
    parts = max(min(wanted, count, _MOST_SEEN) // size, 1)
    return (np.arange(parts * size) * count // (parts * size)).reshape(
        parts, size
    )


def data(task: Task, scales_inputs: bool, scales_targets: bool) -> Any:
    """The examples, standardized or not."""
    x, y, sample_weight = task.sample.parts
    if not (scales_inputs or scales_targets):
        return task.sample.data
    if scales_inputs:
        x = _standardized(x, task.inputs)
    if scales_targets:
        y = _standardized(y, task.targets)
    return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)


def units(task: Task) -> Units:
    """For each output, the unit and the mean of its targets.

    Raises:
        ValueError: if targets cannot be standardized.
    """
    if not task.model._uses_default_step:
        raise ValueError("targets of a `train_step` of your own stay")
    if not task.targets or not all(one.matters for one in task.targets):
        raise ValueError("the targets have no scale that matters")
    found = [
        (one.unit, one.mean)
        for one in task.targets_by_output
        if one is not None
    ]
    if not found or len(found) < len(task.outputs):
        raise ValueError("it is not known which targets an output has")
    return found


def batches(examples: int, size: int, steps: int, shuffled: bool) -> np.ndarray:
    """The rows of the examples of each step, int64 `[steps, size]`.

    Shuffled, each epoch has another order. Else they come in the order of the
    data; of more data than so many steps see, spread evenly, so that they
    come as in an epoch that is shorter.

    Example:

    >>> batches(8, 2, 2, shuffled=False).tolist()
    [[0, 2], [4, 6]]
    """
    if not shuffled:
        if steps * size <= examples:
            rows = np.arange(steps * size) * examples // (steps * size)
        else:
            rows = np.arange(steps * size) % (examples // size * size)
        return rows.reshape(steps, size)
    random = np.random.default_rng(_SEED)
    an_epoch = examples // size
    epochs = math.ceil(steps / an_epoch)
    rows = np.concatenate(
        [random.permutation(examples)[: an_epoch * size] for _ in range(epochs)]
    )
    return rows.reshape(-1, size)[:steps]


def _standardized(some: Any, scales: list[Scale]) -> Any:
    """Arrays with a mean of 0 and a deviation of 1, where that matters."""
    left = iter(scales)

    def one(leaf: Any) -> Any:
        if leaf is None:
            return None
        scale = next(left)
        if not scale.matters:
            return leaf
        values = (np.asarray(leaf, np.float64) - scale.mean) / scale.unit
        return tf.constant(values.astype(np.float32))

    return keras.tree.map_structure(one, some)
