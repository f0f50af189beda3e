"""What a verdict is found from."""

import dataclasses
from collections.abc import Set

from gdtrain.diagnosis.rate_trials import RateTrials
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.verdict import CURVE


@dataclasses.dataclass(frozen=True)
class Case:
    """A training, and what is known about it so far.

    Args:
        run: Its numbers.
        found: The names of the verdicts that were found before.
        task: The model and its data; `None` if they are not at hand.
        rate_trials: Trials of other learning rates; `None` if nothing can be
            tried.
    """

    run: Run
    found: Set[str] = frozenset()
    task: Task | None = None
    rate_trials: RateTrials | None = None

    @property
    def most(self) -> float:
        """The most confidence in a verdict that nothing is wrong."""
        return 1.0 if self.rate_trials else CURVE

    @property
    def what_decides(self) -> str:
        """What tells too small a rate from what a network cannot learn."""
        if self.task:
            return "try a larger rate, then more or other layers"
        return "gdtrain.diagnose(telemetry, model, x, y) tells them apart"
