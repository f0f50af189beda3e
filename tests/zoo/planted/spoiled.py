"""Data with a fault in it: each function takes and returns `(x, y)` of arrays.

Labels are integers `[n]`; targets are floats `[n, ...]`.
"""

import numpy as np

Data = tuple[np.ndarray, np.ndarray]


def _random(seed: int) -> np.random.Generator:
    """Not the numbers that data is drawn with: labels would stay the same."""
    return np.random.default_rng([31, seed])


def has_labels(y: np.ndarray) -> bool:
    """Whether targets are classes."""
    return y.dtype.kind in "iu"


def shifted(data: Data, by: float) -> Data:
    """All inputs plus so many of their standard deviations, as years have."""
    x, y = data
    return (x + by * x.std()).astype("float32"), y


def scaled(data: Data, by: float) -> Data:
    """All inputs times a factor: metres in place of kilometres."""
    x, y = data
    return (x * by).astype("float32"), y


def one_large_feature(data: Data, by: float, seed: int) -> Data:
    """One feature, the last axis, times a factor: an income beside an age."""
    x, y = data
    x = x.copy()
    x[..., _random(seed).integers(x.shape[-1])] *= by
    return x, y


def pixels(data: Data) -> Data:
    """Inputs as whole numbers from 0 to 255."""
    x, y = data
    low, high = x.min(), x.max()
    return np.round(255 * (x - low) / (high - low)).astype("float32"), y


def large_targets(data: Data, by: float, offset: float = 0.0) -> Data:
    """Targets times a factor, and an offset: prices in single dollars."""
    x, y = data
    return x, (by * (y + offset)).astype("float32")


def ordered(data: Data) -> Data:
    """Sorted by label, or by the first target."""
    x, y = data
    by = y if has_labels(y) else y.reshape(len(y), -1)[:, 0]
    order = np.argsort(by, kind="stable")
    return x[order], y[order]


def random_labels(data: Data, share: float, seed: int) -> Data:
    """A share of labels drawn at random, of all classes alike."""
    x, y = data
    random = _random(seed)
    drawn = random.integers(0, y.max() + 1, len(y)).astype(y.dtype)
    return x, np.where(random.random(len(y)) < share, drawn, y)


def unrelated(data: Data, seed: int) -> Data:
    """Targets in another order than inputs."""
    x, y = data
    return x, y[_random(seed).permutation(len(y))]


def constant_inputs(data: Data) -> Data:
    """All inputs alike: those of the first example."""
    x, y = data
    return np.repeat(x[:1], len(x), 0), y


def with_nonfinite(data: Data, value: float, where: str, seed: int) -> Data:
    """One number that is NaN or infinite, in `x` or in `y`."""
    parts = dict(zip("xy", data, strict=True))
    spoiled = parts[where] = parts[where].copy()
    spoiled.flat[_random(seed).integers(spoiled.size)] = value
    return parts["x"], parts["y"]
