"""Sets of quantities by name."""

from gdtrain.telemetry.activations import (
    ActivationDeviation,
    ActivationMean,
    DeadFraction,
)
from gdtrain.telemetry.changes import (
    DistanceFromStart,
    LossChange,
    PredictedLossChange,
)
from gdtrain.telemetry.histograms import GradientHistogram, WeightHistogram
from gdtrain.telemetry.loss import LearningRate, Loss
from gdtrain.telemetry.noise import GradientCosine, GradientNoiseScale
from gdtrain.telemetry.norms import (
    GradientNorm,
    NonfiniteCount,
    UpdateNorm,
    UpdateRatio,
    WeightNorm,
)
from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.system import DeviceMemory, ExamplesPerSecond

_MINIMAL = (Loss(), LearningRate())
_STANDARD = (
    *_MINIMAL,
    GradientNorm(),
    WeightNorm(),
    UpdateRatio(),
    NonfiniteCount(),
)
# What repeats the forward pass or walks over every number for long is
# measured now and then.
_FULL = (
    *_STANDARD,
    UpdateNorm(),
    GradientCosine(),
    DistanceFromStart(),
    PredictedLossChange(),
    LossChange().every(10),
    GradientNoiseScale(),
    ActivationMean().every(10),
    ActivationDeviation().every(10),
    DeadFraction().every(10),
    WeightHistogram().every(100),
    GradientHistogram().every(100),
    ExamplesPerSecond(),
    DeviceMemory(),
)
PRESETS = {"minimal": _MINIMAL, "standard": _STANDARD, "full": _FULL}
_BY_NAME = {quantity.name: quantity.every(1) for quantity in _FULL}


def resolve(quantities):
    """The quantities that a preset's name or a list stands for.

    Args:
        quantities: `"minimal"`, `"standard"`, `"full"`, or a list of
            quantities and of names of quantities.

    Returns:
        A tuple of `Quantity`.

    Raises:
        ValueError: if a name is unknown, or two quantities share a name.
        TypeError: if an entry is neither a quantity nor a name.

    Example:

    >>> resolve(["loss", GradientNorm()])
    (Loss(), GradientNorm())
    """
    if isinstance(quantities, str):
        if quantities not in PRESETS:
            raise ValueError(
                f"`quantities` must be one of {sorted(PRESETS)} or a list. "
                f"Received: quantities={quantities!r}. For a single quantity "
                f"write quantities=[{quantities!r}]."
            )
        return PRESETS[quantities]
    if not isinstance(quantities, (list, tuple)):
        raise TypeError(
            f"`quantities` must be one of {sorted(PRESETS)} or a list. "
            f"Received: quantities={quantities!r}."
        )
    resolved = tuple(_quantity(q) for q in quantities)
    names = [q.name for q in resolved]
    if len(set(names)) < len(names):
        raise ValueError(
            "`quantities` must have a name each. "
            f"Received quantities named {names}. Leave out the repeated one."
        )
    return resolved


def _quantity(entry):
    """One quantity from its name or itself."""
    if isinstance(entry, Quantity):
        return entry
    if isinstance(entry, str) and entry in _BY_NAME:
        return _BY_NAME[entry]
    message = (
        f"An entry of `quantities` must be one of {sorted(_BY_NAME)} or a "
        f"`gdtrain.telemetry.Quantity`. Received: {entry!r}."
    )
    if isinstance(entry, str):
        raise ValueError(message)
    if isinstance(entry, type):
        message += f" Write {entry.__name__}(), with parentheses."
    raise TypeError(message)
