"""Learning rates that decay to nothing while there is still much to learn."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from tests.zoo.planted import names
from tests.zoo.planted.fault import Fault
from tests.zoo.training import Examples, Training

Schedule = Callable[[Any, int], Any]
_schedules = keras.optimizers.schedules


def _steps(steps: int, share: float) -> int:
    return max(round(share * steps), 2)


def _exponential(share: float) -> Schedule:
    """A tenth in this share of the steps, and so on."""
    return lambda peak, steps: _schedules.ExponentialDecay(
        peak, _steps(steps, share), 0.1
    )


def _cosine(share: float) -> Schedule:
    """0 after this share of the steps."""
    return lambda peak, steps: _schedules.CosineDecay(
        peak, _steps(steps, share)
    )


def _linear(share: float) -> Schedule:
    """A thousandth after this share of the steps."""
    return lambda peak, steps: _schedules.PolynomialDecay(
        peak, _steps(steps, share), peak * 1e-3
    )


def _step(share: float) -> Schedule:
    """A thousandth at once, after this share of the steps."""
    return lambda peak, steps: _schedules.PiecewiseConstantDecay(
        [_steps(steps, share)], [peak, peak * 1e-3]
    )


def _inverse(share: float) -> Schedule:
    """As the square of one over the time, which this share is a unit of."""
    return lambda peak, steps: _Inverse(peak, _steps(steps, share))


@keras.saving.register_keras_serializable(package="zoo")
class _Inverse(_schedules.LearningRateSchedule):
    """peak / (1 + step / unit)^2"""

    def __init__(self, peak: Any, unit: int) -> None:
        self.peak, self.unit = peak, unit

    def __call__(self, step: Any) -> Any:
        time = keras.ops.cast(step, "float32") / self.unit
        return self.peak / keras.ops.square(1 + time)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "unit": self.unit}


def _is_constant(training: Training, data: Examples) -> bool:
    return training.schedule == "constant"


def _decayed(schedule: Schedule) -> Fault:
    return Fault(
        names.DECAYED,
        lambda training: dataclasses.replace(training, schedule=schedule),
        _is_constant,
    )  # fmt: skip


FAULTS: dict[str, Fault] = {
    "decays by 10 each 2%": _decayed(_exponential(0.02)),
    "decays by 10 each 6%": _decayed(_exponential(0.06)),
    "cosine to 0 at 5%": _decayed(_cosine(0.05)),
    "cosine to 0 at 15%": _decayed(_cosine(0.15)),
    "linear to 0.001 at 10%": _decayed(_linear(0.1)),
    "0.001 at 5%": _decayed(_step(0.05)),
    "0.001 at 15%": _decayed(_step(0.15)),
    "inverse square of 1%": _decayed(_inverse(0.01)),
}
