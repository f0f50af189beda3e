"""Names of layers where there is little room for them."""

import os

import numpy as np


def shorten(name: str, max_length: int = 24) -> str:
    """The same name, its middle cut out if it has more characters.

    Example:

    >>> shorten("encoder/block_12/attention/query", 17)
    'encoder/…on/query'
    """
    if len(name) <= max_length:
        return name
    front = (max_length - 1) // 2
    return f"{name[:front]}…{name[front - max_length + 1 :]}"


def shorten_all(paths: list[str], max_length: int = 24) -> list[str]:
    """The same paths; if some are long, without what all of them share.

    Args:
        paths: A list of paths, their parts between slashes.
        max_length: How many characters may stay of each.

    Example:

    >>> shorten_all(["net/block_1/attention/key", "net/block_2/mlp/key"], 20)
    ['…/block_1/attention/…', '…/block_2/mlp/…']
    """
    if max(map(len, paths)) <= max_length:
        return list(paths)
    parts = [path.split("/") for path in paths]
    shortest = min(map(len, parts))
    front = min(len(os.path.commonprefix(parts)), shortest - 1)
    turned = [part[front:][::-1] for part in parts]
    back = min(len(os.path.commonprefix(turned)), shortest - front - 1)
    return [
        "…/" * (front > 0)
        + shorten("/".join(part[front : len(part) - back]), max_length)
        + "/…" * (back > 0)
        for part in parts
    ]


def thin(count: int, max_names: int) -> range:
    """Which of `count` things to name: the first, and every so many.

    Args:
        count: How many there are.
        max_names: How many can be named.

    Example:

    >>> list(thin(3, 9)), list(thin(10, 4))
    ([0, 1, 2], [0, 3, 6, 9])
    """
    return range(0, count, -(-count // max_names))


def spread(heights: list[float], gap: float) -> np.ndarray:
    """Moves heights apart, so that names written there do not overlap.

    Args:
        heights: Wanted heights, `[n]`; 0 is the bottom, and 1 the top.
        gap: The least distance of two. `(n - 1) * gap` must be at most 1.

    Returns:
        Heights in the order of `heights`, float64, between 0 and 1.

    Example:

    >>> spread([0.5, 0.0, 0.5], 0.25).tolist()
    [0.375, 0.0, 0.625]
    >>> spread([1.0, 0.9], 0.25).tolist()
    [1.0, 0.75]
    """
    order = np.argsort(heights, kind="stable")
    ranks = gap * np.arange(len(order))
    # Less its rank's share, none may be below the one before it.
    wanted = np.asarray(heights, np.float64)[order] - ranks
    above = np.maximum.accumulate(wanted)
    below = np.minimum.accumulate(wanted[::-1])[::-1]
    room = 1 - gap * (len(order) - 1)
    placed = np.empty(len(order))
    placed[order] = np.clip((above + below) / 2, 0, room) + ranks
    return placed
