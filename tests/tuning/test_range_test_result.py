"""What a range test says of the losses that it saw."""

import types

import numpy as np
import pytest

from gdtrain.tuning import suggestions
from gdtrain.tuning.learning_rate_finder import conclude


def seen(losses, blew_up=False, steps_before=0):
    """What a `Recorder` has after it saw some losses, 10 rates a decade."""
    losses = np.asarray(losses, np.float64)
    return types.SimpleNamespace(
        learning_rates=10 ** (np.arange(len(losses)) / 10 - 4),
        losses=losses,
        smoothed=suggestions.smooth(losses, 10),
        blew_up=blew_up,
        per_decade=10,
        constant_share=1.0,
        steps_before=steps_before,
    )


FALL = np.r_[np.full(10, 3.0), np.linspace(3, 1, 21), np.linspace(1, 9, 9)]


@pytest.mark.parametrize(
    "limit, method, suggestion",
    [
        (None, "minimum_tenth", None),
        (np.inf, "minimum_tenth", None),
        (1.0, "minimum_tenth", None),
        (0.002, "curvature", 0.001),
    ],
)
def test_the_more_careful_one_is_recommended(limit, method, suggestion):
    found = conclude(seen(FALL), limit, "")
    tenth = found.learning_rates[np.argmin(found.smoothed)] / 10
    assert 0.001 < tenth < 0.5
    assert found.method == method
    assert found.suggestion == pytest.approx(suggestion or tenth)
    known = limit is not None and np.isfinite(limit)
    assert ("curvature" in found.suggestions) == known


def test_nothing_is_recommended_where_the_loss_never_fell():
    found = conclude(seen(np.full(40, 2.0)), 0.1, "")
    assert found.suggestions == {"curvature": 0.05}
    assert found.method is found.suggestion is None
    assert str(found).endswith("Stable limit: 0.1.")


def test_losses_that_are_not_finite_suggest_nothing_but_are_kept():
    losses = np.r_[FALL[:30], np.nan]
    found = conclude(seen(losses, True), None, "")
    without = conclude(seen(losses[:-1]), None, "")
    assert found.suggestions == without.suggestions
    assert len(found.suggestions) == len(suggestions.METHODS)
    assert np.isnan(found.losses[-1]) and found.blew_up
    assert "to 0.1, where the loss blew up." in str(found)


def test_a_step_that_blows_up_at_once_suggests_nothing():
    found = conclude(seen([2.0, np.inf], True), None, "")
    assert found.suggestion is None
    assert str(found).startswith("No learning rate stands out of 2 rates")


TRAINED = np.r_[np.full(30, 0.5), 0.6, 1.0, 3.0]


def test_trained_model_is_told_from_the_steps_it_has_made():
    told = str(conclude(seen(TRAINED, True, 2000), 0.1, ""))
    assert "has made 2,000 steps before" in told
    assert "probably trained already" in told
    assert "a fall by 5e-07, of 0.5, would have been seen" in told  # float32


def test_trained_weights_are_told_from_a_loss_that_cannot_fall():
    told = str(conclude(seen(TRAINED, True), 0.1, ""))
    assert "cannot fall much further" in told
    assert "probably trained already" in told


def test_weights_that_stay_beyond_the_stable_limit_are_trained():
    # At a minimum, no rate moves them: 0.8 is the last that is tried.
    told = str(conclude(seen(np.full(40, 2.0), False, 7), 0.1, ""))
    assert "probably trained already" in told


def test_noise_that_may_hide_a_fall_is_told_first():
    noise = np.random.default_rng(0).normal(0, 0.3, len(TRAINED))
    told = str(conclude(seen(TRAINED + noise, True), 0.1, ""))
    assert "Perhaps the weights are trained already; but " in told
    assert "only a fall by " in told
    assert "A larger `batch_size` shows more." in told


def test_rates_that_did_not_reach_the_limit_tell_nothing_of_training():
    told = str(conclude(seen(np.full(40, 2.0)), None, ""))
    assert "Give more `steps`, a larger `batch_size` or `max_lear" in told
    assert "trained" not in told
    told = str(conclude(seen(np.full(40, 2.0), False, 7), 5.0, ""))
    assert "made 7 steps before: it may be trained already" in told
