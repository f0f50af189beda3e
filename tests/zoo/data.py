"""Data of the zoo, drawn anew for each seed."""

import numpy as np


def line(seed, examples=100, noise=0.1):
    """Points of a line, `x` `[n, 1]`, `y` `[n, 1]`; slope and offset vary."""
    random = np.random.default_rng([1, seed])
    x = random.uniform(0, 2, (examples, 1))
    slope, offset = random.uniform(1, 3, 2) * random.choice([-1, 1], 2)
    y = slope * x + offset + random.normal(0, noise, x.shape)
    return x.astype("float32"), y.astype("float32")


def plane(seed, examples=128, features=8, noise=0.1):
    """A linear target of features whose deviations go from 1 to 0.3."""
    random = np.random.default_rng([2, seed])
    x = random.normal(size=(examples, features))
    x *= np.geomspace(1, 0.3, features)
    y = x @ random.normal(size=(features, 1)) * 2 + 1
    y += random.normal(0, noise, y.shape)
    return x.astype("float32"), y.astype("float32")


def waves(seed, examples=128, noise=0.05):
    """A smooth function of 3 features, `y` `[n, 1]`."""
    random = np.random.default_rng([3, seed])
    x = random.normal(size=(examples, 3))
    weights = random.normal(size=3)
    y = np.sin(x @ weights) + 0.5 * x[:, 0] * x[:, 1] + 0.5
    y = y[:, None] + random.normal(0, noise, (examples, 1))
    return x.astype("float32"), y.astype("float32")


def blobs(seed, examples=192, classes=3, spread=0.7):
    """Points `[n, 4]` around a centre for each class, and their classes."""
    random = np.random.default_rng([4, seed])
    centres = random.normal(size=(classes, 4)) * 1.5
    labels = random.permutation(np.arange(examples) % classes)
    x = centres[labels] + random.normal(0, spread, (examples, 4))
    return x.astype("float32"), labels


def pictures(seed, examples=192, classes=4):
    """Noisy pictures `[n, 8, 8, 1]` of one pattern a class, and classes."""
    random = np.random.default_rng([5, seed])
    patterns = random.normal(size=(classes, 8, 8, 1))
    labels = random.permutation(np.arange(examples) % classes)
    x = patterns[labels] + random.normal(0, 1.0, (examples, 8, 8, 1))
    return x.astype("float32"), labels


def coin(seed, examples=512):
    """Labels 0 and 1 that have nothing to do with their 4 features."""
    random = np.random.default_rng([6, seed])
    x = random.normal(size=(examples, 4)).astype("float32")
    return x, random.permutation(np.arange(examples) % 2)
