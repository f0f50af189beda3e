"""Trainings made with NumPy, of which everything is known."""

import numpy as np

from gdtrain.writers.memory import MemoryWriter


def telemetry_of(steps=None, **values):
    """A `MemoryWriter` of columns; `__` in a name stands for a slash.

    Args:
        steps: Step numbers; 1, 2, ... by default.
        values: Numbers of each step, by name; `None` where not measured.
    """
    columns = {name.replace("__", "/"): v for name, v in values.items()}
    count = len(next(iter(columns.values())))
    writer = MemoryWriter()
    writer.write(
        np.arange(1, count + 1) if steps is None else steps,
        list(columns),
        np.stack([np.asarray(v, np.float64) for v in columns.values()], 1),
        [
            [column[row] is not None for column in columns.values()]
            for row in range(count)
        ],
    )
    return writer


def bowl(eigenvalues, learning_rate, steps, *, momentum=0.0, least=0.0):
    """Descent in `least + sum(eigenvalue * w**2) / 2` from w = 1.

    In float64. The weights that are measured are 10 + w, so that they have a
    length of their own; the layer is called "bowl".

    Returns:
        A dict of columns, as `telemetry_of` takes them.
    """
    curve = np.asarray(eigenvalues, np.float64)
    w, velocity = np.ones(len(curve)), np.zeros(len(curve))
    rows = []
    for _ in range(steps):
        loss, gradient = least + curve @ w**2 / 2, curve * w
        velocity = momentum * velocity - learning_rate * gradient
        ratio = np.linalg.norm(velocity) / np.linalg.norm(10 + w)
        w = w + velocity
        length = np.linalg.norm(10 + w)
        rows.append((loss, np.linalg.norm(gradient), length, ratio))
    loss, gradients, lengths, ratios = np.array(rows).T
    return {
        "loss": loss,
        "learning_rate": np.full(steps, learning_rate),
        "gradient_norm": gradients,
        "gradient_norm__bowl": gradients,
        "weight_norm__bowl": lengths,
        "update_ratio__bowl": ratios,
    }


def noisy(level, deviation, steps, seed=0):
    """Independent normal noise around a level or a course `[steps]`."""
    random = np.random.default_rng(seed)
    return level + random.normal(0, deviation, steps)
