"""Inputs of a scale or an offset that makes descent slow.

Trigger:
    With the model and its data: the inputs that a layer with weights receives
    have means, sizes or unequal spreads for which descent needs
    {STEPS:g} times as many steps as for standardized ones or more, and the
    model has not learned: outputs explain less than {learned.LEARNED:.0%} of
    the variance of targets, and a straight line in the inputs would add
    {learned.GAIN:.0%} of it; or outputs are no better than a constant, or not
    finite.
Evidence:
    `steps`, how many times as many are needed; `offset`, `spread` and `size`
    of the inputs; `gain`, what a straight line would add.
Confused with:
    "learning rate too small" and "diverging", which are what it looks like
    from telemetry alone: no rate suits all directions.
Advice:
    Standardize each feature with the numbers of the training data, or begin
    the model with an adapted `keras.layers.Normalization`; divide pixels by
    255.
Example:

>>> import keras, numpy as np, gdtrain
>>> keras.utils.set_random_seed(0)
>>> x = np.random.default_rng(0).normal(size=[200, 2])
>>> y = x.sum(1)
>>> x[:, 1] = 500 + 100 * x[:, 1]
>>> model = gdtrain.Sequential([keras.Input([2]), keras.layers.Dense(1)])
>>> model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=False)
>>> telemetry = gdtrain.callbacks.Telemetry()
>>> _ = model.fit(x, y, 200, 50, verbose=0, callbacks=[telemetry])
>>> print(gdtrain.diagnose(telemetry, model, x, y).verdict)
inputs not scaled (confidence ...
  ...
"""

import keras

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.entering import Entering, InputScale, scale_of
from gdtrain.diagnosis.learned import Answer, Missed, missed_by
from gdtrain.diagnosis.verdict import Change, Verdict, confidence
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.optimizers import GradientDescent

NAME = "inputs not scaled"

STEPS = 100.0  # Times as many as standardized inputs need

ADVICE = (
    "Standardize each feature, `(x - x.mean(0)) / x.std(0)` with the numbers "
    "of the training data, or begin with an adapted "
    "`keras.layers.Normalization`; divide pixels by 255."
)


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    task, run = case.task, case.run
    if task is None or run.name:
        return []
    worst = _worst(task.entering, unwrapped(task.model.optimizer))
    if worst is None or worst[1] < STEPS:
        return []
    what, steps, layer, scale = worst
    missed = _missed(task.answers, layer)
    if missed is None:
        return []
    evidence = {"steps": steps, **scale._asdict(), "gain": missed.gain}
    return [
        Verdict(
            NAME,
            min(missed.confidence, confidence(steps / STEPS)),
            run.span,
            evidence,
            f"{_words(what, scale, layer.layer)}: descent needs some "
            f"{steps:.2g} times as many steps as for standardized inputs."
            f" {missed.text}",
            ADVICE,
            changes=(Change("scale_inputs"),),
        )
    ]


def _worst(
    entering: list[Entering], optimizer: keras.optimizers.Optimizer
) -> tuple[str, float, Entering, InputScale] | None:
    """What makes descent slowest, and how many times as slow."""
    plain = (keras.optimizers.SGD, GradientDescent)
    found = []
    for one in entering:
        scale = scale_of(one.values)
        if scale is not None:
            conditions = scale.conditions(
                is_normalized=one.is_normalized,
                is_adaptive=not isinstance(optimizer, plain),
            )
            what = max(conditions, key=conditions.__getitem__)
            found.append((what, conditions[what], one, scale))
    return max(found, key=lambda one: one[1]) if found else None


def _words(what: str, scale: InputScale, layer: str) -> str:
    if what == "offset":
        return (
            f"The inputs of {layer} have means {scale.offset:.3g} times as "
            "large as their standard deviations"
        )
    if what == "spread":
        return (
            f"One input of {layer} varies {scale.spread:.3g} times as far as "
            "others"
        )
    return f"The inputs of {layer} are about {scale.size:.3g} in size, not 1"


def _missed(answers: list[Answer], layer: Entering) -> Missed | None:
    """What the outputs missed of what a layer's inputs say."""
    for answer in answers:
        if answer.errors is not None:
            features = layer.values
            if len(features) != len(answer.errors.left):
                features = features.reshape(len(answer.errors.left), -1)
            line = "a straight line in the inputs, added to it,"
            found = missed_by(answer.errors, features, line)
            if found is not None:
                return found
    return None
