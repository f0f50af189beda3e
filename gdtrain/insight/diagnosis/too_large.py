"""Learning rate too large: the loss grows, or jumps from side to side."""

import numpy as np

from gdtrain.insight.diagnosis import plain_descent
from gdtrain.insight.diagnosis.growth import growth, stable_limit
from gdtrain.insight.diagnosis.oscillation import (
    alternation,
    rebound,
    swing,
)
from gdtrain.insight.diagnosis.run import last_known
from gdtrain.insight.diagnosis.verdict import (
    DIVERGING,
    OSCILLATING,
    Verdict,
    confidence,
)

ENDS_ABOVE = 1.5  # Times the first loss
ROSE = 10.0  # Times the lowest loss before
STAYS_UP = 0.7  # Of the first loss, after such a rise
ALTERNATES = 0.85  # Of the differences; independent noise does at 2/3
SWINGS = 1e-4  # Of the length of the weights; float32 rounds at 6e-8
TURNS = -0.6  # Cosine; batches drawn without replacement reach -0.5
REBOUNDS = 0.05  # Of the fall; full batches descend monotonically
GRADIENT_LEFT = 0.02  # Of the first gradient: below, it only rounds


def judge_divergence(run, course):
    """A loss that grows: a list of one verdict, or none.

    Args:
        run: A `Run`.
        course: Its `Trend`, or `None` if it is too short.
    """
    rise = growth(run.loss, run.loss_steps)
    if rise is None:
        return []
    loss = run.loss
    if run.first_nonfinite is not None:
        # Few steps may be all there are. The last of them must be high.
        margins = [rise.total / ROSE]
        if loss[-1] < np.sqrt(rise.total) * loss[: rise.rows[1] + 1].min():
            return []
    else:
        end = course.end if course else loss[-1]
        noise = course.error * 4 if course else 0.0
        first = loss[0] + noise
        margins = [max(end / first / ENDS_ABOVE, 0.0)]
        stays = [rise.total / ROSE, end / first / STAYS_UP]
        margins = max(margins, stays, key=min)
        if len(loss) < 4:
            margins.append(loss[-1] / loss[0] / ROSE)
    if min(margins) < 1:
        return []
    return [_diverging(run, rise, confidence(*margins))]


def _diverging(run, rise, sure):
    """The verdict, with the limit as it can be known."""
    rows = run.loss_rows[list(rise.rows)]
    steps = int(run.steps[rows[0]]), int(run.steps[rows[1]])
    evidence = {"loss_growth": rise.total, "loss_growth_a_step": rise.factor}
    layer = _fastest_layer(run, *rows)
    where = f" along {layer}" if layer else ""
    rate = run.rate_at(rows[1])
    how = f"the loss grows {rise.factor:.3g} times a step{where}"
    if rate is None or rate <= 0:
        text = f"{how}, {rise.total:.3g} times in all."
        return Verdict(
            DIVERGING, sure, steps, evidence, _sentence(text),
            "Try a third of the learning rate.",
        )  # fmt: skip
    evidence["learning_rate"] = rate
    limit, source = _limit(run, rate, rise, rows[1])
    if limit is None:
        text = f"learning_rate {rate:.3g}: {how}, {rise.total:.3g} times in all"
        advice = f"Try {rate / 3:.2g}, and less while it still grows."
    else:
        evidence["stable_learning_rate"] = limit
        text = (
            f"learning_rate {rate:.3g} is {rate / limit:.3g} times the stable "
            f"limit {limit:.3g} ({source}); {how}"
        )
        advice = f"Try {0.6 * limit:.2g}."
    return Verdict(DIVERGING, sure, steps, evidence, f"{text}.", advice)


def _limit(run, rate, rise, row):
    """The limit of the learning rate and how it was found, or Nones."""
    measured = last_known(run.get("stable_learning_rate"), row)
    if measured is not None:
        return measured, "measured"
    if plain_descent.is_plain(run) and rise.factor > 1:
        return stable_limit(rate, rise.factor), "from the growth of the loss"
    return None, None


def _fastest_layer(run, first, last):
    """The layer whose gradient grew most during the rise, if there are some."""
    norms = run.layers("gradient_norm")
    if len(norms) < 2:
        return next(iter(norms), None)

    def grown(values):
        with np.errstate(all="ignore"):
            ratio = values[last] / values[first]
        return ratio if np.isfinite(ratio) else 0.0

    return max(norms, key=lambda layer: grown(norms[layer]))


def judge_oscillation(run, course):
    """Jumps to and fro: a list of one verdict, or none."""
    if course is None:
        return []
    rows = run.loss_rows[len(run.loss_rows) // 2 :]
    norms = run.get("gradient_norm")
    if norms is not None:
        known = norms[run.loss_rows]
        known = known[np.isfinite(known)]
        if len(known) and known[-3:].mean() < GRADIENT_LEFT * known[0]:
            return []
    back = rebound(run.loss)
    found = {
        "gradient_cosine": _by_cosine(run, rows),
        "alternation": _by_swing(run, rows),
        "rebound": (back / REBOUNDS, back),
    }
    best = max(margin for margin, _ in found.values())
    if best < 1:
        return []
    evidence = {
        name: value for name, (margin, value) in found.items() if margin >= 1
    }
    steps = int(run.steps[rows[0]]), int(run.steps[rows[-1]])
    return [_oscillating(run, confidence(best), steps, evidence)]


def _by_cosine(run, rows):
    """`(margin, median cosine of consecutive gradients)`."""
    cosines = run.get("gradient_cosine")
    if cosines is None:
        return 0.0, None
    cosines = cosines[rows]
    cosines = cosines[np.isfinite(cosines)]
    if len(cosines) < 4:
        return 0.0, None
    median = float(np.median(cosines))
    if median > TURNS:
        return 0.0, median
    return (1 + TURNS) / max(1 + median, 1e-3), median


def _by_swing(run, rows):
    """`(margin, share of steps that turn back)`, of the loss or weights."""
    series = [run.values["loss"], *run.layers("weight_norm").values()]
    best = 0.0, 0.0
    for values in series:
        seen = values[rows]
        if not np.isfinite(seen).all() or len(seen) < 8:
            continue
        share = alternation(seen)
        margin = min((1 - ALTERNATES) / max(1 - share, 0.01), 10.0)
        if swing(seen) < SWINGS:
            margin = 0.0
        best = max(best, (margin, share))
    return best


def _oscillating(run, sure, steps, evidence):
    """The verdict, with the limit if it was measured."""
    last = len(run.steps) - 1
    rate = run.rate_at(last)
    limit = last_known(run.get("stable_learning_rate"), last)
    turns = _told(evidence)
    text, advice = turns, "Try half the learning rate."
    if rate:
        evidence["learning_rate"] = rate
        text = f"learning_rate {rate:.3g}: {turns}"
        advice = f"Try {rate / 2:.2g}."
    if rate and limit:
        evidence["stable_learning_rate"] = limit
        text += f"; the stable limit is {limit:.3g} (measured)"
    return Verdict(
        OSCILLATING, sure, steps, evidence, _sentence(f"{text}."), advice
    )


def _told(evidence):
    """The strongest evidence, as part of a sentence."""
    if "gradient_cosine" in evidence:
        cosine = evidence["gradient_cosine"]
        return f"the gradient points back after each step (cosine {cosine:.2g})"
    if "alternation" in evidence:
        return f"{evidence['alternation']:.0%} of the steps turn back"
    return f"the loss rises again by {evidence['rebound']:.0%} of its fall"


def _sentence(text):
    """With a capital, unless it begins with a name."""
    return text if text.startswith("learning_rate") else text.capitalize()
