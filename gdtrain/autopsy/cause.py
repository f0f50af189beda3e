"""Why a step was not finite, and the sentences that say it."""

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

_LISTED = 8  # Examples, at most
_LARGE = 1e4  # A weight that no healthy training of a small model has
_TOO_LARGE = "A learning rate that is too large does this"
_REMEDY = "Try a smaller one, or `global_clipnorm`."


class LargestWeight(TypedDict):
    """The largest finite weight before the step, by absolute value."""

    path: str
    value: float


@dataclasses.dataclass(frozen=True)
class Cause:
    """The first part of a step that was not as it should be.

    Args:
        where: `"data"`, `"weights"` (before the step), `"growth"` (of the
            weights, by the learning rate), `"output"`, `"loss"`,
            `"gradient"`, `"learning rate"` (which is no number), `"update"`
            or `"nowhere"`.
        name: What of it: `"x['image']"`, the path of a weight, the name of a
            layer, an operation or a loss. Of a gradient, the layer with
            respect to whose output it is, or the path of a weight. Of growth,
            the learning rate.
        kind: `"NaN"`, `"infinity"` or `"NaN and infinity"`; other words where
            something else is wrong; `""` for nowhere.
        examples: Positions in the batch of the examples that have it; empty
            if unknown.
        batch_size: How many examples the batch has.
        largest: The largest finite weight before the step; `None` if there is
            none.
        dtype: What it was computed in, as `"float16"`.
        indices: Of `examples`, their indices in the data; `None` if unknown.
        evidence: A sentence: what happens to the step without it.
        advice: What to do; empty for what follows from `where`.
        reason: Why nothing was found, a sentence.
    """

    where: str
    name: str = ""
    kind: str = ""
    examples: tuple[int, ...] = ()
    batch_size: int = 1
    largest: LargestWeight | None = None
    dtype: str = ""
    indices: tuple[int, ...] | None = None
    evidence: str = ""
    advice: str = ""
    reason: str = ""


def describe(
    cause: Cause,
    step: int,
    indices: Sequence[int] | np.ndarray | None = None,
) -> str:
    """Says in a few sentences why a step was not finite.

    Args:
        cause: The `Cause`.
        step: The number of the step.
        indices: Of each example of the batch, its index in the data; `None`
            if unknown.

    Returns:
        A string, for a warning.

    Example:

    >>> cause = Cause("output", "log", "NaN", (3, 7), batch_size=32)
    >>> print(describe(cause, 41))
    Step 41 was not finite: the output of 'log' has NaN for 2 of 32 examples:
    number 3 and 7 of the batch. Look at these examples, and at what 'log'
    computes.
    """
    start = f"Step {step} was not finite"
    if cause.where == "nowhere":
        return f"{start}. {cause.reason}"
    sentence = f"{start}: {_finding(cause)}{_examples(cause, indices)}."
    advice = cause.advice or _advice(cause)
    return " ".join(filter(None, [sentence, cause.evidence, advice]))


def _finding(cause: Cause) -> str:
    name, kind = cause.name, cause.kind
    rate = f"the learning rate {name}".strip()
    return {
        "data": f"{name} has {kind}",
        "growth": f"{rate} is {kind}",
        "learning rate": f"{rate} is {kind}",
        "weights": f"variable '{name}' had {kind} before it",
        "output": f"the output of '{name}' has {kind}",
        "loss": f"the loss '{name}' is {kind}",
        "gradient": f"the gradient at '{name}' has {kind}",
        "update": f"the update gives '{name}' {kind}",
    }[cause.where]


def _examples(cause: Cause, indices: Sequence[int] | np.ndarray | None) -> str:
    """Which examples, as the end of a sentence; empty if unknown."""
    count = len(cause.examples)
    if not count:
        return ""
    if count == cause.batch_size > 1:
        return f" for all {count} examples"
    listed = cause.examples[:_LISTED]
    words = [str(int(i if indices is None else indices[i])) for i in listed]
    if count > _LISTED:
        words.append(f"{count - _LISTED} more")
    listing = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    place = "in the data"
    if indices is None:
        listing, place = f"number {listing}", "of the batch"
    return f" for {count} of {cause.batch_size} examples: {listing} {place}"


def _advice(cause: Cause) -> str:
    """What to do about it, a sentence or two."""
    name, largest = cause.name, cause.largest
    if cause.where == "data":
        of_classes = ", or at `class_weight`" if "weight" in name else ""
        return f"Look at where {name} comes from{of_classes}."
    if cause.where == "growth":
        return f"{_TOO_LARGE}. {_REMEDY}"
    if cause.where == "learning rate":
        return "Look at the schedule or the callback that sets it."
    if cause.where == "weights":
        return "Look at the steps before, or at where it was loaded from."
    if cause.dtype == "float16" and "infinity" in cause.kind:
        return "float16 ends at 65504; 'mixed_bfloat16' does not."
    suspect, example = f"what '{name}' computes", "a logarithm"
    if cause.where == "gradient":
        suspect, example = f"what is computed from '{name}'", "a root"
    if 0 < len(cause.examples) < cause.batch_size:
        return f"Look at these examples, and at {suspect}."
    if cause.where == "update" or (largest and largest["value"] > _LARGE):
        known = largest and (
            f": the largest weight is {largest['value']:.2g} in "
            f"'{largest['path']}'"
        )
        return f"{_TOO_LARGE}{known or ''}. {_REMEDY}"
    return (
        f"Look at {suspect}, such as {example} of 0; or try a smaller "
        "learning rate, or `global_clipnorm`."
    )
