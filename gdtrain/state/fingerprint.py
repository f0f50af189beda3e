"""What a run is asked to be, and in what that differs from another run.

An identity is a dict of groups, each a dict of leaves by name; see
`gdtrain.data.data_fingerprint`. It is the same in each process that runs the
same program.
"""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from gdtrain.data import data_fingerprint
from gdtrain.data.data_fingerprint import FIRST_BATCHES
from gdtrain.keras_bridge import models, optimizers, randomness
from gdtrain.state import variables
from gdtrain.state.description import Description

GROUPS = ("random", "data", "fit", "compile", "model", "validation")

_MOST = 10  # Differences that are told one by one
_UNKNOWN = "#unknown "
_ABSENT = object()
_NOTHING = ((None, _ABSENT), (_ABSENT, None))


def of(model, feed, arguments: dict[str, Any]) -> dict[str, dict]:
    """What a run is asked to be.

    Args:
        model: A `DescentTrainer`, compiled.
        feed: The training data, a feed.
        arguments: Of `fit`, by name.
    """
    data, fit, validation = Description(), Description(), Description()
    for name, value in arguments.items():
        if name == "dataset":
            data.add("x", value)
        elif name == "class_weight":
            fit.add(name, value and repr(value))
        else:
            group = validation if name.startswith("validation_") else fit
            group.add(name, value)
    described = Description(variables.optimizers(model))
    described.add_model(model)
    return {
        "python": {"version": "%d.%d" % sys.version_info[:2]},
        "random": {"seed": randomness.random_seed()},
        "data": data.leaves | feed.fingerprint(),
        "fit": fit.leaves,
        "compile": _compiled(model),
        "model": described.leaves,
        "validation": {
            name: leaf
            for name, leaf in validation.leaves.items()
            if not _is_unknown(leaf)
        },
    }


def _compiled(model):
    """Leaves of all that `compile` was given, and of other optimizers."""
    description = Description([model])
    description.add("optimizer", model.optimizer)
    for name, optimizer in variables.named_optimizers(model):
        description.add(name, optimizer)
    arguments = models.compile_arguments(model)
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        description.add(name, arguments.get(name))
    description.add("global_clipnorm", model.global_clipnorm)
    description.add("microbatches", model.microbatches)
    # XLA rounds otherwise; "auto" is a graph wherever a run is saved.
    description.add("jit_compile", model.jit_compile_setting is True)
    found = {}
    for name, leaf in description.leaves.items():
        short = name.removeprefix("optimizer.")
        found[name if short in description.leaves else short] = leaf
    return found


def rates(model, reached=None) -> dict[str, float]:
    """Learning rates as they are now, by their name in an identity."""
    return {
        name: float(variable.numpy())
        for name, variable in rate_variables(model, reached).items()
    }


def rate_variables(model, reached=None) -> dict[str, Any]:
    """Variables of learning rates, without schedules, by the same names."""
    found = {}
    for name, optimizer in variables.named_optimizers(model, reached):
        variable = optimizers.learning_rate_variable(optimizer)
        if variable is not None:
            prefix = "" if name == "optimizer" else f"{name}."
            found[f"{prefix}learning_rate"] = variable
    return found


def differences(
    there: dict, here: dict, reached: dict
) -> dict[tuple[str, str], str]:
    """In what an identity differs from another: sentences by group and name.

    Args:
        there, here: The other one, and this one.
        reached: Learning rates that the other run has reached: who goes on
            with the same model has not asked for another one.
    """
    found: dict[tuple[str, str], str] = {}
    same_python = there["python"] == here["python"]
    for group in GROUPS:
        before, now = there[group], here[group]
        if before.get("kind") != now.get("kind"):
            kinds = before.get("kind"), now.get("kind")
            found[group, "x"] = f"the data were {kinds[0]}, are {kinds[1]}"
            continue
        for name in sorted({*before, *now}, key=_by_place(now, before)):
            was, is_now = before.get(name, _ABSENT), now.get(name, _ABSENT)
            if was == is_now or _is_unknown(was) or _is_unknown(is_now):
                continue
            if (was, is_now) in _NOTHING:  # Its parts are told
                continue
            if name in reached and is_now == reached[name]:
                continue
            if not same_python and _kind(was) == _kind(is_now) == "code":
                continue
            found[group, name] = _sentence(name, was, is_now)
    if sum(group == "data" for group, _ in found) > 1:
        found.pop(("data", FIRST_BATCHES), None)  # Which follow from the rest
    return found


def not_compared(there: dict, here: dict) -> list[str]:
    """Names of what could not be compared."""
    found = [
        f"{name} ({leaf.removeprefix(_UNKNOWN)})"
        for identity in (there, here)
        for group in identity.values()
        for name, leaf in group.items()
        if _is_unknown(leaf)
    ]
    if there["python"] != here["python"]:
        found.append("code (by another version of Python)")
    return list(dict.fromkeys(found))


def listed(sentences: Iterable[str]) -> str:
    """Differences in a row, each once."""
    every = list(dict.fromkeys(sentences))
    more = len(every) - _MOST
    return "; ".join(every[:_MOST]) + (f"; and {more} more" if more > 0 else "")


def _by_place(*groups):
    """Sorts names as they come in some dicts."""
    places: dict[str, int] = {}
    for group in groups:
        for name in group:
            places.setdefault(name, len(places))
    return places.__getitem__


def _sentence(name, was, is_now):
    """How a leaf differs."""
    parts = data_fingerprint.parsed(was), data_fingerprint.parsed(is_now)
    if parts[0] and parts[1] and parts[0][:2] == parts[1][:2]:
        kind, label, _ = parts[0]
        return {
            "data": f"the data in {name} differ",
            "code": f"the code of {name} differs",
            "structure": f"{name} ({label}) differs",
        }[kind]
    return f"{name} was {_shown(was)}, is {_shown(is_now)}"


def _shown(leaf):
    """A leaf as a user knows it."""
    parts = data_fingerprint.parsed(leaf)
    if leaf is _ABSENT:
        return "not there"
    if parts is not None:
        return parts[1]
    if isinstance(leaf, float) and float(np.float32(leaf)) == leaf:
        return str(np.float32(leaf))  # 0.1, not 0.10000000149
    return repr(leaf)


def _kind(leaf):
    parts = data_fingerprint.parsed(leaf)
    return parts and parts[0]


def _is_unknown(leaf):
    return isinstance(leaf, str) and leaf.startswith(_UNKNOWN)
