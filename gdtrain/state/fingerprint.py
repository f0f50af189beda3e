"""The fingerprint of a `fit`: what a fit that resumes it must have in common.

It is a dict of groups, each a dict of leaves by name (see
`gdtrain.data.data_fingerprint`), and the same in each process that runs the
same program.
"""

import sys
from typing import Any

import keras
import numpy as np

from gdtrain.data import data_fingerprint
from gdtrain.data.data_fingerprint import FIRST_BATCHES
from gdtrain.data.protocols import DataSource
from gdtrain.descent import settings, virtual_workers
from gdtrain.keras_bridge import models, optimizers, randomness
from gdtrain.state import variables
from gdtrain.state.description import Description

_COMPARED = ("random", "data", "fit", "compile", "model", "validation")
_LISTED = 10  # Differences that are listed, at most
_UNKNOWN = "#unknown "
_ABSENT = object()
_EMPTY = ((None, _ABSENT), (_ABSENT, None))

Groups = dict[str, dict[str, Any]]


class Differences(dict[tuple[str, str], str]):
    """Sentences on what differs, by group and name."""

    def groups(self) -> set[str]:
        """Groups that differ in what a fit cannot simply be given."""
        return {
            group
            for group, name in self
            if group != "validation" and name.split(".")[-1] != "learning_rate"
        }

    def listed(self) -> str:
        """The sentences in a row, each once."""
        every = list(dict.fromkeys(self.values()))
        more = len(every) - _LISTED
        text = "; ".join(every[:_LISTED])
        return text + (f"; and {more} more" if more > 0 else "")


def of(
    model: keras.Model, data_source: DataSource, arguments: dict[str, Any]
) -> Groups:
    """The fingerprint of a `fit`.

    Args:
        model: A `DescentTrainer`, compiled.
        data_source: The training data.
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
        "data": data.leaves | data_source.fingerprint(),
        "fit": fit.leaves,
        "compile": _compiled(model),
        "model": described.leaves,
        "validation": {
            name: leaf
            for name, leaf in validation.leaves.items()
            if not _is_unknown(leaf)
        },
        "rates": rates(model),
    }


def _compiled(model: keras.Model) -> dict[str, Any]:
    """Leaves of all that `compile` was given, and of other optimizers."""
    description = Description([model])
    for name, optimizer in variables.named_optimizers(model):
        description.add(name, optimizer)
    arguments = models.compile_arguments(model)
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        description.add(name, arguments.get(name))
    current = settings.of(model)
    for name, value in current.own.items():
        description.add(name, value)
    if current.reproducible_workers is not None:
        description.add("threads of an operation", virtual_workers.threads())
    # XLA rounds otherwise; "auto" is a graph wherever a fit is saved.
    description.add("jit_compile", current.jit_compile is True)
    found = {}
    for name, leaf in description.leaves.items():
        short = name.removeprefix("optimizer.")
        found[name if short in description.leaves else short] = leaf
    return found


def rates(
    model: keras.Model, reached: variables.Reached | None = None
) -> dict[str, float]:
    """Learning rates as they are now, by their name in a fingerprint."""
    return {
        name: float(variable.numpy())
        for name, variable in rate_variables(model, reached).items()
    }


def rate_variables(
    model: keras.Model, reached: variables.Reached | None = None
) -> dict[str, keras.Variable]:
    """Variables of learning rates, without schedules, by the same names."""
    found = {}
    for name, optimizer in variables.named_optimizers(model, reached):
        variable = optimizers.learning_rate_variable(optimizer)
        if variable is not None:
            prefix = "" if name == "optimizer" else f"{name}."
            found[f"{prefix}learning_rate"] = variable
    return found


def differences(
    there: Groups, here: Groups, reached: dict[str, float]
) -> Differences:
    """How a fingerprint differs from that of a saved fit.

    Args:
        there, here: The saved one, and this one.
        reached: Learning rates that the saved fit had reached: continuing
            with the same model asks for no other one.
    """
    found = Differences()
    same_python = there["python"] == here["python"]
    for group in _COMPARED:
        before, now = there[group], here[group]
        kinds = before.get("kind"), now.get("kind")
        if kinds[0] != kinds[1]:
            found[group, "x"] = f"the data were {kinds[0]}, are {kinds[1]}"
            continue
        for name in {**now, **before}:  # In the order of this program
            was, is_now = before.get(name, _ABSENT), now.get(name, _ABSENT)
            if (
                was == is_now
                or _is_unknown(was)
                or _is_unknown(is_now)
                or (was, is_now) in _EMPTY  # Parts are compared instead
                or (name in reached and is_now == reached[name])
                or (not same_python and _kind(was) == _kind(is_now) == "code")
            ):
                continue
            found[group, name] = _sentence(name, was, is_now)
    if sum(group == "data" for group, _ in found) > 1:
        found.pop(("data", FIRST_BATCHES), None)  # Which follow from the rest
    return found


def not_compared(there: Groups, here: Groups) -> list[str]:
    """Names of what could not be compared."""
    found = [
        f"{name} ({leaf.removeprefix(_UNKNOWN)})"
        for groups in (there, here)
        for group in groups.values()
        for name, leaf in group.items()
        if _is_unknown(leaf)
    ]
    if there["python"] != here["python"]:
        found.append("code (by another version of Python)")
    return list(dict.fromkeys(found))


def _sentence(name: str, was: Any, is_now: Any) -> str:
    """How a leaf differs."""
    before, now = map(data_fingerprint.parsed, (was, is_now))
    if before and now and before[:2] == now[:2]:
        kind, label, _ = before
        return {
            "data": f"the data in {name} differ",
            "code": f"the code of {name} differs",
            "structure": f"{name} ({label}) differs",
        }[kind]
    return f"{name} was {_shown(was)}, is {_shown(is_now)}"


def _shown(leaf: Any) -> str:
    """A leaf as a user knows it."""
    parts = data_fingerprint.parsed(leaf)
    if leaf is _ABSENT:
        return "not there"
    if parts is not None:
        return parts[1]
    if isinstance(leaf, float) and float(np.float32(leaf)) == leaf:
        return str(np.float32(leaf))  # 0.1, not 0.10000000149
    return repr(leaf)


def _kind(leaf: Any) -> str | None:
    parts = data_fingerprint.parsed(leaf)
    return parts and parts[0]


def _is_unknown(leaf: Any) -> bool:
    return str(leaf).startswith(_UNKNOWN)
