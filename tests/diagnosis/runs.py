"""A training made with NumPy, as the parts of a diagnosis take it."""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import NO_EPOCHS, runs_of
from tests.diagnosis.descents import telemetry_of


def run_of(steps=None, *, steps_per_epoch=None, epochs=NO_EPOCHS, **columns):
    """The one `Run` of columns, as `telemetry_of` takes them."""
    table = telemetry_of(steps, **columns).table
    (run,) = runs_of(table, steps_per_epoch, epochs)
    return run


def case_of(*args, **columns):
    """The `Case` of such a run, nothing found before."""
    return Case(run_of(*args, **columns))
