"""What a verdict is found from."""

import dataclasses
from collections.abc import Set

from gdtrain.diagnosis.run import Run


@dataclasses.dataclass(frozen=True)
class Case:
    """A training, and what is known about it so far.

    Args:
        run: Its numbers.
        found: The names of the verdicts that were found before.
    """

    run: Run
    found: Set[str] = frozenset()
