"""Gradients from layer to layer."""

import numpy as np

from gdtrain.diagnosis.run import Run

FEW = 4  # Layers with weights; below, depth is no reason


def relative_gradients(run: Run) -> tuple[list[str], np.ndarray]:
    """Length of the gradient over that of the weights, early on.

    Returns:
        `(names, values)`: layers, the first first; float64 `[layers, k]`, of
        the first eighth of the steps at which gradients were measured.
        Without layers that have no gradient at any step.
    """
    norms, weights = run.layers("gradient_norm"), run.layers("weight_norm")
    ratios = run.layers("update_ratio")
    names, rows = [], []
    if not norms:
        return [], np.empty([0, 0])
    known = np.flatnonzero(~np.isnan(next(iter(norms.values()))))
    early = known[: max(len(known) // 8, 1)]
    if run.first_nonfinite is not None:
        early = early[early < run.first_nonfinite]
    for name in norms:
        if name not in weights:
            continue
        with np.errstate(all="ignore"):
            # Weights are measured after the update, which may be the longer.
            longer = 1.0
            if name in ratios:
                longer = np.fmax(ratios[name][early], 1.0)
            values = norms[name][early] * longer / weights[name][early]
        values[~np.isfinite(values) | (values <= 0)] = np.nan
        if not np.isnan(values).all():
            names.append(name)
            rows.append(values)
    if not rows:
        return [], np.empty([0, 0])
    values = np.stack(rows)
    return names, values[:, ~np.isnan(values).any(0)]


def spans(relative: np.ndarray) -> np.ndarray:
    """How many times longer the last layers' gradient is: last / first.

    By the straight line through the logarithms, over all layers.

    Args:
        relative: Of each layer at each step, float64 `[layers, k]`.
    """
    places = np.arange(len(relative)) - (len(relative) - 1) / 2
    slopes = places @ np.log(relative) / (places @ places)
    return np.exp(slopes * (len(relative) - 1))
