"""What a range test says of the losses that it saw."""

import types

import numpy as np
import pytest

from gdtrain.insight import found_rates, suggestions


def seen(losses, blew_up=False):
    """What a `Recorder` has after it saw some losses, 10 rates a decade."""
    losses = np.asarray(losses, np.float64)
    return types.SimpleNamespace(
        learning_rates=10 ** (np.arange(len(losses)) / 10 - 4),
        losses=losses,
        smoothed=suggestions.smooth(losses, 10),
        blew_up=blew_up,
        per_decade=10,
        constant_share=1.0,
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
    found = found_rates.conclude(seen(FALL), limit, "")
    tenth = found.learning_rates[np.argmin(found.smoothed)] / 10
    assert 0.001 < tenth < 0.5
    assert found.method == method
    assert found.suggestion == pytest.approx(suggestion or tenth)
    known = limit is not None and np.isfinite(limit)
    assert ("curvature" in found.suggestions) == known


def test_nothing_is_recommended_where_the_loss_never_fell():
    found = found_rates.conclude(seen(np.full(40, 2.0)), 0.1, "")
    assert found.suggestions == {"curvature": 0.05}
    assert found.method is found.suggestion is None
    assert str(found).endswith("Stable limit: 0.1.")


def test_losses_that_are_not_finite_suggest_nothing_but_are_kept():
    losses = np.r_[FALL[:30], np.nan]
    found = found_rates.conclude(seen(losses, True), None, "")
    without = found_rates.conclude(seen(losses[:-1]), None, "")
    assert found.suggestions == without.suggestions
    assert len(found.suggestions) == len(suggestions.METHODS)
    assert np.isnan(found.losses[-1]) and found.blew_up
    assert "to 0.1, where the loss blew up." in str(found)


def test_a_step_that_blows_up_at_once_suggests_nothing():
    found = found_rates.conclude(seen([2.0, np.inf], True), None, "")
    assert found.suggestion is None
    assert str(found).startswith("No learning rate stands out of 2 rates")
