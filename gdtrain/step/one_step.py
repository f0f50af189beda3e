"""One step on one replica: its logs, and its row of the table."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from gdtrain.descent import microbatches
from gdtrain.step import own_updates, step_context


@dataclasses.dataclass(frozen=True)
class Result:
    """What a step said.

    Args:
        logs: What it returned, for its last micro-batch.
        examples: How many examples its batch had.
        returned: The scalars that it returned, float32 by name: means over
            micro-batches.
        measured: What its updates measured, a list of `(columns, vector)`.
        has_moved: Whether a weight has another value after the step, a bool
            scalar; `None` where that need not be asked.
    """

    logs: Any
    examples: Any
    returned: dict[str, Any]
    measured: list[Any]
    has_moved: Any


def run(model, step_function, data, parts, telemetry, guard=None):
    """Runs a `train_step` or `test_step` and collects what it says.

    Args:
        model: The model whose step it is.
        step_function: Takes a batch, returns logs: a dict of scalars, or
            anything else, which is passed on.
        data: This replica's part of the batch.
        parts: Into how many micro-batches to split it.
        telemetry: The `Measuring` of the step.
        guard: The `Guard` of the step, or `None`.

    Returns:
        A `Result`.
    """
    data = keras.tree.map_structure(_without_optional, data)
    split = microbatches.split(data, parts)
    context = step_context.StepContext(
        telemetry, microbatches.examples_in(data), len(split), guard, model
    )
    telemetry.begin(split)
    returned: dict[str, Any] = {}
    with step_context.entered(context):
        for part, share in split:
            with context.microbatch(share):
                logs = step_function(part)
            returned = _add_scalars(returned, logs, share, len(split))
        own_updates.measure_by_hand(context)
    return Result(
        logs,
        context.examples,
        returned,
        context.measured(),
        context.has_moved,
    )


def _without_optional(leaf):
    """`None` for what `tf.data` passes in the place of a missing array."""
    return None if isinstance(leaf, tf.experimental.Optional) else leaf


def _add_scalars(total, logs, share, parts):
    """Adds the scalars in `logs` to their running mean over micro-batches."""
    if not isinstance(logs, dict):
        return {}
    scalars = {key: scalar(value) for key, value in logs.items()}
    scalars = {k: v for k, v in scalars.items() if v is not None}
    if parts == 1:
        return scalars
    sums = microbatches.add(
        [total[key] for key in scalars] if total else None,
        list(scalars.values()),
        share,
    )
    return dict(zip(scalars, sums, strict=True))


def scalar(value):
    """`value` as a float32 scalar, or `None` if it is not a real scalar."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError):
        return None
    kind = tensor.dtype
    if tensor.shape.rank != 0 or not (
        kind.is_floating or kind.is_integer or kind.is_bool
    ):
        return None
    return tf.cast(tensor, tf.float32)
