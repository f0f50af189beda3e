"""Numbers of a training, made up."""

import numpy as np

from gdtrain.writers.memory import MemoryWriter

LAYERS = ["stem", "block_1/query", "block_2/query", "head"]


def training(steps, seed=0, **changes):
    """A `MemoryWriter` with all that the pictures show.

    Args:
        steps: Step numbers.
        seed: Draws the numbers.
        changes: Values of some names, in place of those made up; `None` where
            not measured.
    """
    draw = np.random.default_rng(seed).lognormal
    count = len(steps)
    values = {"loss": draw(size=count), "learning_rate": np.full(count, 0.1)}
    for quantity in ("gradient_norm", "update_ratio"):
        for layer in LAYERS:
            values[f"{quantity}/{layer}"] = draw(-3, 2, size=count)
    values["gradient_norm"] = draw(size=count)
    values.update(changes)
    writer = MemoryWriter()
    columns = values.values()
    writer.write(
        steps,
        list(values),
        np.stack([np.asarray(column, np.float64) for column in columns], 1),
        [
            [column[row] is not None for column in columns]
            for row in range(count)
        ],
    )
    return writer
