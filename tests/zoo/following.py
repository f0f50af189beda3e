"""The truth about advice: a training from the start that follows it."""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.verdict import Change
from tests.zoo.bench import Bench
from tests.zoo.folder import Kept
from tests.zoo.training import Examples, Training

OTHER_ORDER = 1_000  # Added to the seed
NOTABLE = 0.05  # Of the gain of the better one

_COMPILED = (
    "build", "loss", "optimizer", "batch_size", "schedule",
)  # fmt: skip


def scaled(values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each feature with mean 0 and deviation 1; `(values, mean, deviation)`.

    Example:

    >>> scaled(np.array([[1.0, 5.0], [3.0, 5.0]]))[0].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    axes = tuple(range(values.ndim - 1))
    mean, deviation = values.mean(axes), values.std(axes)
    deviation = np.where(deviation > 0, deviation, 1).astype(values.dtype)
    return (values - mean) / deviation, mean, deviation


def is_number(values: Any) -> bool:
    """Whether it can be scaled: no labels, no words."""
    return bool(values.dtype.kind == "f")


def _map(change: Callable[[Any], Any], *trees: Any) -> Any:
    return keras.tree.map_structure(change, *trees)


def with_scaled(data: Examples, inputs: bool, targets: bool) -> Examples:
    """Data whose numbers are scaled; without those of validation."""

    def scale(part: Any) -> Any:
        return scaled(part)[0] if is_number(part) else part

    return Examples(
        _map(scale, data.x) if inputs else data.x,
        _map(scale, data.y) if targets else data.y,
    )


def unscaled(outputs: Any, y: Any) -> Any:
    """Outputs of a model of scaled targets, in the units of `y`."""

    def back(output: Any, target: Any) -> Any:
        if not is_number(target):
            return output
        _, mean, deviation = scaled(target)
        return output * deviation + mean

    return _map(back, outputs, y)


def of_logits(loss: Any, value: bool) -> Any:
    """The loss with another `from_logits`; of several, each that has it."""
    if isinstance(loss, dict):
        return {name: of_logits(one, value) for name, one in loss.items()}
    if isinstance(loss, str):
        name = "".join(word.capitalize() for word in loss.split("_"))
        loss = keras.losses.get(name) if "crossentropy" in loss else loss
    if isinstance(loss, str) or "from_logits" not in loss.get_config():
        return loss
    return type(loss)(from_logits=value)


def with_weight_decay(training: Training, value: float) -> Training:
    """Another weight decay of the optimizer, and L2 where weights have any."""

    def optimizer(rate: Any) -> keras.optimizers.Optimizer:
        made = training.optimizer(rate)
        if made.weight_decay:
            made.weight_decay = value
        return made

    def build() -> keras.Model:
        model = training.build()
        for weight in model.trainable_variables:
            if weight.regularizer is not None:
                weight.regularizer = keras.regularizers.L2(value)
        return model

    return dataclasses.replace(training, optimizer=optimizer, build=build)


def changed(training: Training, changes: Sequence[Change]) -> Training:
    """A training that follows advice, but for rate and scale of data."""
    by_kind = {change.kind: change.value for change in changes}
    new: dict[str, Any] = {}
    if "constant_learning_rate" in by_kind:
        new["schedule"] = "constant"
    if "shuffle" in by_kind:
        new["shuffle"] = True
    if "from_logits" in by_kind:
        new["loss"] = of_logits(training.loss, bool(by_kind["from_logits"]))
    if "weight_decay" in by_kind:
        training = with_weight_decay(
            training, float(by_kind["weight_decay"] or 0.0)
        )
    return dataclasses.replace(training, **new)


def bench_for(training: Training, bench: Bench) -> Bench:
    """A bench for a training: the given one, if it compiles to the same."""
    old = bench.training
    if any(getattr(training, n) is not getattr(old, n) for n in _COMPILED):
        return Bench(training)
    same = copy.copy(bench)
    same.training = training
    return same


def _loss(model: keras.Model, y: Any, outputs: Any) -> float:
    """By the model's loss function, without regularizers."""
    y, outputs = _map(tf.convert_to_tensor, (y, outputs))
    loss = float(model.compute_loss(None, y, outputs) - sum(model.losses))
    return loss if math.isfinite(loss) else math.inf


def follow(kept: Kept, bench: Bench, changes: Sequence[Change]) -> str:
    """What comes of advice: `"better"`, `"same"` or `"worse"`.

    The training is repeated from the same first weights, in another order of
    examples, with the changes. Both are compared by the loss of all training
    data at the end, in units of the data as they were, by the loss function
    as advised and without regularizers. Better and worse are differences of
    5% of the gain of the better one, or more; what starts above the loss of
    the best constant output has gained nothing until it comes below.

    Args:
        kept: The run.
        bench: That of its setup.
        changes: As in a `gdtrain.Verdict`; `()` is no advice.

    Returns:
        `""` if there are no changes.
    """
    if not changes:
        return ""
    by_kind = {change.kind: change.value for change in changes}
    seed, training = kept.recipe.seed, bench.training
    other = bench_for(changed(training, changes), bench)
    targets = "scale_targets" in by_kind
    data = training.draw(seed)
    used = with_scaled(data, "scale_inputs" in by_kind, targets)
    rate = by_kind.get("learning_rate", kept.recipe.rate)
    rate = by_kind.get("constant_learning_rate", rate)

    old, _ = kept.rebuilt(training)
    before = old(data.x, training=False)
    keras.utils.set_random_seed(seed)
    start = training.build()(data.x, training=False)
    other.train(float(rate or 0), seed, data=used, order=seed + OTHER_ORDER)
    after = other.model(used.x, training=False)
    after = unscaled(after, data.y) if targets else after
    first, without, with_advice = (
        _loss(other.model, data.y, one) for one in (start, before, after)
    )
    constant = Task(old, data.x, data.y).constant_loss
    if constant is not None:
        first = min(first, constant)
    return compared(first, without, with_advice)


def compared(first: float, without: float, with_advice: float) -> str:
    """How a loss at the end compares with another.

    Example:

    >>> compared(2.0, 1.0, 0.5), compared(2.0, 1.0, 0.98)
    ('better', 'same')
    >>> compared(2.0, math.inf, 2.0), compared(2.0, 1.0, math.inf)
    ('better', 'worse')
    """
    if math.isinf(without) or math.isinf(with_advice):
        return {1: "better", 0: "same", -1: "worse"}[
            math.isinf(without) - math.isinf(with_advice)
        ]
    notable = NOTABLE * abs(first - min(without, with_advice))
    if with_advice < without - notable:
        return "better"
    return "worse" if with_advice > without + notable else "same"
