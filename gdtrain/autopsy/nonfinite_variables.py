"""Which variables of a model hold numbers that are not finite."""

from typing import NamedTuple

import tensorflow as tf

from gdtrain.state import variables
from gdtrain.step import guard


class NonfiniteVariable(NamedTuple):
    """A variable with values that are not finite.

    Args:
        name: Its path.
        kind: "weight", which is trained; "optimizer"; or "other".
        nans, infinities: How many of its values are NaN or infinite.
        size: How many values it has.
    """

    name: str
    kind: str
    nans: int
    infinities: int
    size: int

    def __str__(self):
        counts = {"NaN": self.nans, "infinite": self.infinities}
        said = [f"{count} {word}" for word, count in counts.items() if count]
        values = "value" if self.size == 1 else "values"
        return f"{self.name!r} ({' and '.join(said)} of {self.size} {values})"


def of(model) -> list[NonfiniteVariable]:
    """All of them, as the model is now.

    Args:
        model: A `DescentTrainer`, compiled.
    """
    strict, others = guard.checked(model)
    trained = {id(variable) for variable in model.trainable_variables}
    found = []
    for variable in [*strict, *others]:
        kind = "other"
        if id(variable) in trained:
            kind = "weight"
        elif any(variable is one for one in strict):
            kind = "optimizer"
        one = _counted(variable, kind, model.distribute_strategy)
        if one.nans or one.infinities:
            found.append(one)
    return found


def _counted(variable, kind, strategy):
    """How many of its values are not finite, on the worst replica."""
    counts = [
        tuple(
            int(tf.math.count_nonzero(is_kind(tf.convert_to_tensor(part))))
            for is_kind in (tf.math.is_nan, tf.math.is_inf)
        )
        for part in variables.parts(variable, strategy)
    ]
    nans, infinities = max(counts, key=sum)
    size = int(tf.size(variables.parts(variable, strategy)[0]))
    name = variables.name_of(variable)
    return NonfiniteVariable(name, kind, nans, infinities, size)


def listed(found) -> str:
    """Some of them by name, and how many more there are."""
    some = ", ".join(map(str, found[:3]))
    return some + (f" and {len(found) - 3} more" if len(found) > 3 else "")
