"""Too few losses to judge."""

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
