"""Faults that are planted in healthy trainings, and harmless changes."""

from tests.zoo.planted import (
    data_faults,
    layer_faults,
    model_faults,
    other_faults,
    schedule_faults,
    suspicious,
)
from tests.zoo.planted.fault import Fault

#: All that can be planted, by name: what a `Setup` has as its `fault`.
FAULTS: dict[str, Fault] = {
    **schedule_faults.FAULTS,
    **data_faults.FAULTS,
    **model_faults.FAULTS,
    **layer_faults.FAULTS,
    **other_faults.FAULTS,
    **suspicious.SUSPICIOUS,
}
