"""A training made with NumPy, as the parts of a diagnosis take it."""

from gdtrain.diagnosis.run import runs_of
from gdtrain.diagnosis.source import open_source
from gdtrain.diagnosis.trend import trend
from tests.diagnosis.descents import telemetry_of


def run_of(steps=None, *, steps_per_epoch=None, **columns):
    """The one `Run` of columns, as `telemetry_of` takes them."""
    source = open_source(telemetry_of(steps, **columns))
    (run,) = runs_of(source, steps_per_epoch)
    return run


def judged(judge, run):
    """Verdicts of a `judge(run, course)`."""
    return judge(run, trend(run.loss, run.means[1]))
