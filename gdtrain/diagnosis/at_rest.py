"""No trouble in the descent: what the loss does, standing still or falling."""

from collections.abc import Collection

import numpy as np

from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import Trend
from gdtrain.diagnosis.verdict import Verdict, confidence

NOT_LEARNING = "not learning"
PLATEAU = "plateau"
NOISE_FLOOR = "noise floor"
CONVERGED = "converged"
CONVERGING = "converging"
NOTHING = "nothing to report"

FALLS = 4.0  # Standard errors
LEFT = 1e-3  # Share of the gain
NOISY_MOVED = 0.01  # Share of the first loss
MOVED = 1e-5  # Share of the first loss; float32 rounds at 6e-8
STANDS = 0.02  # Share of the gain
DECAYED = 0.1  # Times the largest learning rate
RISES = 1.1  # Times the gradient of the third quarter


def judge(run: Run, found: Collection[str] = ()) -> list[Verdict]:
    """Exactly one verdict, in a list, unless others are found."""
    return [] if found else [_verdict(run)]


def _verdict(run: Run) -> Verdict:
    course = run.trend
    if course is None:
        return _nothing(run)
    is_done = run.is_resumed or course.start == course.end == 0
    if run.learning_rate == 0 or not (is_done or has_moved(run, course)):
        return _not_learning(run, course)
    rising = gradient_rise(run)
    stands = np.ptp(course.levels) < STANDS * course.gain
    if stands and not course.is_noisy and rising > RISES:
        return _plateau(run, course, rising)
    falls = course.fall > FALLS
    if course.is_noisy:
        falls = falls or (course.long_fall > FALLS and course.fall > 0.5)
    else:
        falls = falls and course.late_fall > 0 and course.left > LEFT
    if falls and course.gain > 0:
        return _converging(run, course)
    if falls or course.is_noisy:
        return _noise_floor(run, course)
    return _converged(run, course)


def has_moved(run: Run, course: Trend) -> bool:
    """Whether the loss has changed beyond noise.

    With batches, by 1% of it at least: random labels are memorized.
    """
    loss, early = run.loss, run.early_loss
    spread = max(course.noise, _deviation(early))
    least = (NOISY_MOVED if course.is_noisy else MOVED) * abs(course.start)
    change = abs(float(early.mean()) - course.end)
    jump = abs(float(loss[0]) - course.end)
    if jump > max(FALLS * spread, least):
        return True
    error = spread / np.sqrt(len(early))
    is_sure = abs(course.drift) > FALLS or change > FALLS * error
    return bool(is_sure and change > least)


def _deviation(values: np.ndarray) -> float:
    """Standard deviation without the straight line through."""
    if len(values) < 3:
        return 0.0
    places = np.arange(len(values))
    line = np.polyval(np.polyfit(places, values, 1), places)
    return float(np.std(values - line))


def gradient_rise(run: Run) -> float:
    """Gradient norm of the last quarter over that of the third.

    0 if it was not measured.
    """
    norms = run.at_loss("gradient_norm")
    third, fourth = np.array_split(norms[len(norms) // 2 :], 2)
    if not (np.isfinite(third).any() and np.isfinite(fourth).any()):
        return 0.0
    before = float(np.nanmedian(third))
    return float(np.nanmedian(fourth)) / before if before > 0 else 0.0


def _numbers(course: Trend) -> dict[str, float]:
    """The evidence that all of them have."""
    return {"start": course.start, "end": course.end, "noise": course.noise}


def _nothing(run: Run) -> Verdict:
    count = len(run.loss)
    return Verdict(
        NOTHING,
        1.0,
        run.span,
        {"losses": count},
        f"Losses that can be judged: {count}; 8 are needed.",
        "Train on, with quantities='standard'.",
        is_trouble=False,
    )


def _not_learning(run: Run, course: Trend) -> Verdict:
    evidence = _numbers(course)
    text = (
        f"The loss is {course.end:.4g} at the end and {course.start:.4g} at "
        "the start"
    )
    if run.learning_rate == 0:
        evidence["learning_rate"] = 0.0
        text += "; the learning rate is 0 at every step."
        return Verdict(NOT_LEARNING, 1.0, run.span, evidence, text, "Raise it.")
    text += ", no more than noise apart"
    advice = (
        "Check that inputs and targets belong together, and that they vary."
    )
    if not np.nan_to_num(run.at_loss("gradient_norm"), nan=1.0).any():
        evidence["gradient_norm"] = 0.0
        text += "; the gradient is 0 at every step"
        advice = "Look at the output and the loss: one of them is constant."
    sure = confidence(1 + len(run.loss) / 50)
    return Verdict(NOT_LEARNING, sure, run.span, evidence, f"{text}.", advice)


def _plateau(run: Run, course: Trend, rising: float) -> Verdict:
    return Verdict(
        PLATEAU,
        confidence(1 + (rising - RISES)),
        run.last_half,
        _numbers(course) | {"gradient_rise": rising},
        f"The loss stands at {course.end:.4g}, but the gradient grows, by "
        f"{rising:.3g} over the last quarter: this is a saddle, no minimum.",
        "More steps lead away from it; larger first weights, or momentum, do "
        "so sooner.",
    )


def _converging(run: Run, course: Trend) -> Verdict:
    evidence = _numbers(course) | {
        "share_left": course.left,
        "tends_to": course.limit,
    }
    text = (
        f"The {run.mean_loss} fell from {course.start:.4g} to "
        f"{course.end:.4g} and still falls"
    )
    if course.left > LEFT:
        text += f"; {course.left:.2%} of the gain may be to come."
        advice = "Train on."
        if _has_decayed(run):
            advice = (
                "Train on with a learning rate that decays later: it has come "
                f"from {run.learning_rate:.2g} down to "
                f"{run.last_learning_rate:.2g}."
            )
    else:
        text += f", but less than {LEFT:.1%} of the gain is to come."
        advice = "More steps gain little: train on only if that little counts."
    sure = confidence(course.fall / FALLS, course.left / LEFT)
    return Verdict(
        CONVERGING, sure, run.span, evidence, text, advice, is_trouble=False
    )


def _noise_floor(run: Run, course: Trend) -> Verdict:
    # Where it did not clearly fall before, it may have hardly begun.
    fell = course.gain / max(FALLS * course.noise, 1e-30)
    sure = confidence(FALLS / max(course.fall, 1e-9), max(fell, 1e-9))
    lower = "lower the learning rate, or use larger batches"
    if _has_decayed(run):
        lower = (
            f"use larger batches, or keep a learning rate between "
            f"{run.last_learning_rate:.2g} and {run.learning_rate:.2g} for "
            "longer"
        )
    return Verdict(
        NOISE_FLOOR,
        max(sure, 0.5),
        run.last_half,
        _numbers(course),
        f"The loss stays at {course.end:.4g} and varies by {course.noise:.2g} "
        f"a step with the batches{_rise(course)}.",
        f"If that is too high: {lower}.",
        is_trouble=False,
    )


def _converged(run: Run, course: Trend) -> Verdict:
    advice = "Stop here: more steps change nothing."
    if _rise(course):
        advice = "Try a smaller learning rate, or start again from the best."
    elif _has_decayed(run):
        advice = (
            "Stop here: more steps at learning_rate "
            f"{run.last_learning_rate:.2g} change nothing."
        )
    return Verdict(
        CONVERGED,
        max(confidence(LEFT / max(course.left, 1e-9)), 0.5),
        run.last_half,
        _numbers(course) | {"share_left": course.left},
        f"The {run.mean_loss} came from {course.start:.4g} to "
        f"{course.end:.4g} and falls no more{_rise(course)}.",
        advice,
        is_trouble=False,
    )


def _rise(course: Trend) -> str:
    """Says that the loss ends higher than it began, if it does."""
    far = course.end - course.start > FALLS * max(course.noise, course.error)
    return ", higher than at the start" if far else ""


def _has_decayed(run: Run) -> bool:
    """Whether the learning rate ends far lower than it was."""
    rate, last = run.learning_rate, run.last_learning_rate
    return bool(rate and last is not None and last < DECAYED * rate)
