"""Gradients from layer to layer: vanishing, exploding, or none at all."""

import numpy as np

from gdtrain.diagnosis.limits import with_scale
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.verdict import Verdict, confidence

EXPLODING = "exploding gradients"
VANISHING = "vanishing gradients"
DEAD = "dead layer"

FEW = 4  # Layers with weights; below, depth is no reason
VANISHES = 300.0  # Times from the last layers to the first
EXPLODES = 30.0  # Times from the last layers to the first
LONG = 300.0  # Times the weights, in some layer
DEAD_SHARE = 0.9  # Of a layer's units
DEAD_STEPS = 0.9  # Of the steps


def judge(run: Run) -> list[Verdict]:
    """A list of verdicts."""
    return judge_dead(run) + judge_depth(run)


def judge_depth(run: Run) -> list[Verdict]:
    """Vanishing or exploding: a list of one verdict, or none."""
    names, relative = relative_gradients(run)
    if len(names) < FEW or not relative.size:
        return []
    first = float(relative[:, 0].max())
    spans = _spans(relative)
    span = float(np.median(spans))
    margin = max(1 / EXPLODES / float(spans[0]), first / LONG)
    if margin > 1:
        return [_exploding(run, names, float(spans[0]), first, margin)]
    if span > VANISHES:
        return [_vanishing(run, names, span)]
    return []


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


def _spans(relative: np.ndarray) -> np.ndarray:
    """How many times longer the last layers' gradient is: last / first.

    By the straight line through the logarithms, over all layers.

    Args:
        relative: Of each layer at each step, float64 `[layers, k]`.
    """
    places = np.arange(len(relative))
    slopes = np.polyfit(places, np.log(relative), 1)[0]
    return np.exp(slopes * (len(relative) - 1))


def _vanishing(run: Run, names: list[str], span: float) -> Verdict:
    factor = span ** (1 / (len(names) - 1))
    return Verdict(
        VANISHING,
        confidence(span / VANISHES),
        run.span,
        {"ratio": span, "factor_a_layer": factor, "layers": len(names)},
        f"From {names[-1]} back to {names[0]}, the gradient against the "
        f"weights shrinks {span:.2g} times, {factor:.2g} times a layer.",
        "Use relu or tanh for sigmoid, batch normalization or shortcuts, and "
        "an initializer that suits the activation.",
    )


def _exploding(
    run: Run, names: list[str], start: float, first: float, margin: float
) -> Verdict:
    growth = 1 / start
    return Verdict(
        EXPLODING,
        confidence(margin),
        run.span,
        {"ratio": growth, "gradient_to_weights": first, "layers": len(names)},
        f"At the start, the gradient is {first:.2g} times as long as the "
        f"weights, and {growth:.2g} times longer in {names[0]} than in "
        f"{names[-1]}.",
        "Start from smaller weights (he_normal, glorot_uniform), scale inputs "
        "and targets, or compile(global_clipnorm=1.0).",
    )


def judge_dead(run: Run) -> list[Verdict]:
    """Layers without a gradient or with silent units: a list."""
    norms = run.layers("gradient_norm")
    rows = run.loss_rows
    if not len(rows):
        return []
    quiet = {name: _share_zero(values[rows]) for name, values in norms.items()}
    whole = [name for name, share in quiet.items() if share >= DEAD_STEPS]
    shares = {
        name: float(np.nanmedian(values[rows]))
        for name, values in run.layers("dead_fraction").items()
        if not np.isnan(values[rows]).all()
    }
    silent = [name for name, share in shares.items() if share >= DEAD_SHARE]
    if silent:
        return [_dead(run, silent[0], {"dead_fraction": shares[silent[0]]})]
    if whole and len(whole) < len(norms):
        share = {"steps_without_gradient": quiet[whole[-1]]}
        return [_dead(run, whole[-1], share)]
    return []


def _share_zero(values: np.ndarray) -> float:
    """Share of the measured gradients that are exactly 0."""
    known = values[~np.isnan(values)]
    return float(np.mean(known == 0)) if len(known) > 3 else 0.0


def _dead(run: Run, layer: str, evidence: dict[str, float]) -> Verdict:
    ((name, value),) = evidence.items()
    what = (
        f"{value:.0%} of the units of {layer} output 0 for whole batches"
        if name == "dead_fraction"
        else f"The gradient of {layer} is 0 at {value:.0%} of the steps"
    )
    return Verdict(
        DEAD,
        confidence(1 + 9 * value),
        run.span,
        evidence,
        *with_scale(
            run,
            f"{what}: nothing behind it learns.",
            "Start again with a smaller learning rate, biases of 0 or above, "
            "or leaky_relu.",
        ),
    )
