"""Gradients from layer to layer: vanishing, exploding, or none at all."""

from collections.abc import Collection

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


def judge(run: Run, found: Collection[str] = ()) -> list[Verdict]:
    """A list of verdicts; `found` does not matter."""
    return judge_dead(run) + judge_depth(run)


def judge_depth(run: Run) -> list[Verdict]:
    """Vanishing or exploding: a list of one verdict, or none."""
    names, relative = relative_gradients(run)
    if len(names) < FEW or not relative.size:
        return []
    first = float(relative[:, 0].max())
    spans = _spans(relative)
    start, span = float(spans[0]), float(np.median(spans))
    margin = max(1 / EXPLODES / start, first / LONG)
    if margin > 1:
        growth = 1 / start
        return [
            Verdict(
                EXPLODING,
                confidence(margin),
                run.span,
                {
                    "ratio": growth,
                    "gradient_to_weights": first,
                    "layers": len(names),
                },
                f"At the start, the gradient is {first:.2g} times as long as "
                f"the weights, and {growth:.2g} times longer in {names[0]} "
                f"than in {names[-1]}.",
                "Start from smaller weights (he_normal, glorot_uniform), "
                "scale inputs and targets, or compile(global_clipnorm=1.0).",
            )
        ]
    if span <= VANISHES:
        return []
    factor = span ** (1 / (len(names) - 1))
    return [
        Verdict(
            VANISHING,
            confidence(span / VANISHES),
            run.span,
            {"ratio": span, "factor_a_layer": factor, "layers": len(names)},
            f"From {names[-1]} back to {names[0]}, the gradient against the "
            f"weights shrinks {span:.2g} times, {factor:.2g} times a layer.",
            "Use relu or tanh for sigmoid, batch normalization or shortcuts, "
            "and an initializer that suits the activation.",
        )
    ]


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


def judge_dead(run: Run) -> list[Verdict]:
    """Layers without a gradient or with silent units: a list."""
    rows = run.loss_rows
    if not len(rows):
        return []
    norms = run.layers("gradient_norm")
    quiet = {name: _share_zero(values[rows]) for name, values in norms.items()}
    whole = [name for name, share in quiet.items() if share >= DEAD_STEPS]
    shares = {
        name: float(np.nanmedian(values[rows]))
        for name, values in run.layers("dead_fraction").items()
        if not np.isnan(values[rows]).all()
    }
    silent = [name for name, share in shares.items() if share >= DEAD_SHARE]
    if silent:
        name, layer = "dead_fraction", silent[0]
        share = shares[layer]
        text = f"{share:.0%} of the units of {layer} output 0 for whole batches"
    elif whole and len(whole) < len(norms):
        name, layer = "steps_without_gradient", whole[-1]
        share = quiet[layer]
        text = f"The gradient of {layer} is 0 at {share:.0%} of the steps"
    else:
        return []
    text, advice = with_scale(
        run,
        f"{text}: nothing behind it learns.",
        "Start again with a smaller learning rate, biases of 0 or above, or "
        "leaky_relu.",
    )
    sure = confidence(1 + 9 * share)
    return [Verdict(DEAD, sure, run.span, {name: share}, text, advice)]


def _share_zero(values: np.ndarray) -> float:
    """Share of the measured gradients that are exactly 0."""
    known = values[~np.isnan(values)]
    return float(np.mean(known == 0)) if len(known) > 3 else 0.0
