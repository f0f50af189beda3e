"""What a `Stability` callback measured of the limit."""

import numpy as np


def last_measured(run, name, before=None):
    """The last number under a name, up to a row; `None` if there is none."""
    values = run.get(name)
    if values is None:
        return None
    values = values[: None if before is None else before + 1]
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else None
