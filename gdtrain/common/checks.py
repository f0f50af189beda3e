"""Checks of arguments, with messages that say what must hold."""

import math
import numbers
import os
from collections.abc import Mapping
from typing import Any


def absolute(path: str | os.PathLike) -> str:
    """A path that `os.chdir` does not change; a URL stays as it is.

    Example:

    >>> absolute("logs") == os.path.join(os.getcwd(), "logs")
    True
    >>> absolute("gs://bucket/logs")
    'gs://bucket/logs'
    """
    path = os.fspath(path)
    return path if "://" in path else os.path.abspath(path)


def keras_arguments(
    callback: str, given: Mapping[str, Any], instead: Mapping[str, Any]
) -> None:
    """Refuses arguments of one of Keras's callbacks that mean nothing here.

    Args:
        callback: The name of the callback.
        given: Arguments that it does not have, by name.
        instead: For each one that Keras's callback has, the value that
            describes what this one does as well, and what to write otherwise.

    Raises:
        TypeError: if one has a different value, or Keras has none either.

    Example:

    >>> instead = {"write_graph": (False, "Write a summary.")}
    >>> keras_arguments("TensorBoard", {"write_graph": False}, instead)
    >>> keras_arguments("TensorBoard", {"write_graph": True}, instead)
    Traceback (most recent call last):
        ...
    TypeError: `TensorBoard` of gdtrain has no `write_graph` as Keras's has.
    Received: write_graph=True. Write a summary.
    """
    for name, value in given.items():
        if name not in instead:
            raise TypeError(
                f"{callback}.__init__() got an unexpected keyword argument "
                f"{name!r}"
            )
        same, remedy = instead[name]
        if value != same:
            raise TypeError(
                f"`{callback}` of gdtrain has no `{name}` as Keras's has. "
                f"Received: {name}={value!r}. {remedy}"
            )


def height_and_width(name: str, value: Any) -> tuple[int, int]:
    """Returns a size of pictures as `(height, width)`, or raises.

    Args:
        name: Name of the argument, as the user wrote it.
        value: What was received: two integers, or one for both.

    Raises:
        TypeError: if one is not an integer.
        ValueError: if one is below 1, or there are not two.

    Example:

    >>> height_and_width("size", 224)
    (224, 224)
    """
    both = (value, value) if isinstance(value, numbers.Integral) else value
    if not isinstance(both, list | tuple) or len(both) != 2:
        raise ValueError(
            f"`{name}` must be a number of pixels, or (height, width). "
            f"Received: {name}={value!r}. Write for example {name}=224."
        )
    height, width = (positive_integer(name, side) for side in both)
    return height, width


def positive_integer(name: str, value: Any) -> int:
    """Returns `value` as an `int`, or raises.

    Args:
        name: Name of the argument, as the user wrote it.
        value: What was received.

    Returns:
        `value`, an `int` of at least 1.

    Raises:
        TypeError: if `value` is not an integer (`True` is not one).
        ValueError: if `value` is below 1.

    Example:

    >>> positive_integer("every_steps", 5)
    5
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be a positive integer. "
            f"Received: {name}={value!r} of type {type(value).__name__}. "
            "Write a whole number such as 1."
        )
    if value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. "
            f"Received: {name}={value!r}. Write 1 or more."
        )
    return int(value)


def positive_number(name: str, value: Any, remedy: str) -> float:
    """Returns `value` as a finite `float` above 0, or raises.

    Args:
        name: Name of the argument, as the user wrote it.
        value: What was received.
        remedy: A sentence on what to write instead.

    Returns:
        `value`, a `float`.

    Raises:
        TypeError: if `value` is not a number.
        ValueError: if `value` is zero, negative, infinite or NaN.

    Example:

    >>> positive_number("global_clipnorm", 1, "Write 1.0.")
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a number. Received: {name}={value!r} "
            f"of type {type(value).__name__}. {remedy}"
        )
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(
            f"`{name}` must be a finite number above 0. "
            f"Received: {name}={value!r}. {remedy}"
        )
    return number


def one_of(name: str, value: Any, choices: tuple) -> Any:
    """Returns `value`, if it is one of the choices.

    Raises:
        ValueError: if it is not.

    Example:

    >>> one_of("unit", "step", ("epoch", "step"))
    'step'
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {choices}. Received: {name}={value!r}."
        )
    return value


def share_of_time(budget: float | None) -> float | None:
    """Returns a `budget`, a positive share of training time, or `None`.

    Raises:
        TypeError, ValueError: as `positive_number`.
    """
    if budget is None:
        return None
    remedy = "Write 0.05 for 5% of training time."
    return positive_number("budget", budget, remedy)


def at_least_one(name: str, value: Any) -> None:
    """Checks an optional number.

    Raises:
        TypeError: if `value` is not a number.
        ValueError: if `value` is below 1.

    Example:

    >>> at_least_one("steps_per_epoch", None)
    >>> at_least_one("steps_per_epoch", 0)
    Traceback (most recent call last):
    ValueError: `steps_per_epoch` must be at least 1... Received: steps_per...
    """
    if value is not None and not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be a whole number of at least 1, or left out. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    if value is not None and value < 1:
        raise ValueError(
            f"`{name}` must be at least 1, or left out. "
            f"Received: {name}={value!r}."
        )
