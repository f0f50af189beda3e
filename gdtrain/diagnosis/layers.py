"""Gradients from layer to layer."""

import numpy as np

from gdtrain.diagnosis.run import Run

FEW = 4  # Layers with weights; below, depth is no reason


def relative_gradients(run: Run) -> tuple[list[str], np.ndarray]:
    """Length of the gradient over that of the weights, where all is known.

    Returns:
        `(names, values)`: layers, the first first; float64 `[layers, k]`.
        Without layers that have no gradient at any step.
    """
    norms, weights = run.layers("gradient_norm"), run.layers("weight_norm")
    ratios = run.layers("update_ratio")
    names, rows = [], []
    end = run.first_nonfinite
    for name in norms:
        if name not in weights:
            continue
        with np.errstate(all="ignore"):
            # Weights are measured after the update, which may be the longer.
            longer = np.fmax(ratios.get(name, 1.0), 1.0)
            values = (norms[name] * longer / weights[name])[:end]
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
    places = np.arange(len(relative))
    slopes = np.polyfit(places, np.log(relative), 1)[0]
    return np.exp(slopes * (len(relative) - 1))
