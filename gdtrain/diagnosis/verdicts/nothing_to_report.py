"""Too few losses to judge.

Trigger:
    There are fewer than {trend.ENOUGH} finite losses, and nothing else was
    found.
Evidence:
    `losses`, how many there are.
Confused with:
    "converged": that there is no trouble is not known here.
Advice:
    Train on, with `quantities="standard"`.
Example:

>>> import gdtrain
>>> from gdtrain.telemetry import StepTable
>>> table = StepTable([1, 2, 3], ["loss"], [[0.5], [0.4], [0.3]])
>>> print(gdtrain.diagnose(table))
nothing to report (confidence 1.00, steps 1 to 3)
  Losses that can be judged: 3; 8 are needed.
  Train on, with quantities='standard'.
"""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.trend import ENOUGH
from gdtrain.diagnosis.verdict import Verdict

NAME = "nothing to report"


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    if case.found or run.trend is not None:
        return []
    count = len(run.loss)
    return [
        Verdict(
            NAME,
            1.0,
            run.span,
            {"losses": count},
            f"Losses that can be judged: {count}; {ENOUGH} are needed.",
            "Train on, with quantities='standard'.",
            is_trouble=False,
        )
    ]
