"""Each method of suggesting a rate finds what it says, on known shapes."""

import numpy as np
import pytest

from gdtrain.tuning import suggestions

RATES = np.geomspace(1e-7, 10, 81)  # 10 a decade


def bowl(noise=0.0):
    """Falls by half a decade of rates about 1e-3, blows up above 0.1."""
    logs = np.log10(RATES)
    losses = 1 + 1 / (1 + np.exp(4 * (logs + 3))) + 10.0 ** (2 * (logs + 1))
    return losses + noise * np.random.default_rng(0).normal(size=len(RATES))


def smooth_slowly(losses, decay):
    """The exponential mean as the weighted sum that it is."""
    smoothed = []
    for count in range(1, len(losses) + 1):
        weights = decay ** np.arange(count)[::-1]
        smoothed.append(weights @ losses[:count] / weights.sum())
    return smoothed


@pytest.mark.parametrize("per_decade, decay", [(2, 0), (6, 0.5), (30, 0.9)])
def test_smoothing_is_a_weighted_mean_of_the_losses_so_far(per_decade, decay):
    losses = bowl(0.3)
    np.testing.assert_allclose(
        suggestions.smooth(losses, per_decade),
        smooth_slowly(losses, decay),
        rtol=1e-12,  # Rounding of float64
    )


def test_smoothed_constant_is_that_constant_from_the_start():
    smoothed = suggestions.smooth([3.0] * 20, 25)
    np.testing.assert_allclose(smoothed, 3.0, rtol=1e-12)


def test_smoothing_goes_on_to_nan_but_not_back():
    smoothed = suggestions.smooth([1.0, 2.0, np.nan, 1.0], 25)
    assert np.isfinite(smoothed).tolist() == [True, True, False, False]


def test_four_times_the_first_loss_has_blown_up():
    assert suggestions.blow_up(np.array([2.0, 1.0, 8.0, 3.0])) is None
    assert suggestions.blow_up(np.array([2.0, 1.0, 8.1, 3.0])) == 2


def test_a_loss_below_zero_blows_up_by_as_much_as_it_fell_before():
    losses = np.array([-1.0, -5.0, 10.9])
    assert suggestions.blow_up(losses) is None
    assert suggestions.blow_up(losses + [0, 0, 0.2]) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_blown_up(bad):
    assert suggestions.blow_up(np.array([2.0, 1.0, bad])) == 2
    assert suggestions.blow_up(np.array([bad])) == 0


def test_noise_is_its_standard_deviation_on_a_slope():
    noise = np.random.default_rng(0).normal(0, 0.25, 20_000)
    found = suggestions.noise(np.linspace(3, -3, 20_000) + noise)
    assert found == pytest.approx(0.25, rel=0.03)  # Four standard errors


def test_a_flat_loss_does_not_fall():
    flat = np.full(80, 2.0)
    assert not suggestions.falls(flat, 10)
    assert not suggestions.falls(flat[:1], 10)


@pytest.mark.parametrize("count, per_decade", [(40, 5), (100, 12), (200, 25)])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_noise_hardly_ever_falls(kind, count, per_decade):
    draw = getattr(np.random.default_rng(0), kind)
    draws = 5 + draw(size=[500, count])
    wrong = [suggestions.falls(losses, per_decade) for losses in draws]
    assert np.mean(wrong) < 0.03


def test_a_first_loss_that_is_high_by_chance_is_no_fall():
    losses = np.r_[9.0, 2.0 + np.random.default_rng(0).normal(0, 0.5, 99)]
    assert not suggestions.falls(losses, 12)


def test_a_fall_under_noise_falls():
    """By 1, of which smoothed losses see two thirds, under a noise of 0.2."""
    assert suggestions.falls(bowl(0.2), 10)
    assert not suggestions.falls(bowl(0.2)[:30], 10)  # Before it


def test_steepest_is_the_middle_of_a_logistic_fall():
    place = suggestions.steepest(RATES, bowl())
    assert RATES[place] == pytest.approx(1e-3)


def test_steepest_does_not_look_beyond_the_lowest_loss():
    losses = np.array([5.0, 4.5, 4.0, 9.0, 5.0, 4.5])
    rates = np.geomspace(1, 1e5, 6)
    assert suggestions.steepest(rates, losses) in (0, 1)


def test_steepest_of_a_loss_that_only_rises_is_the_first():
    assert suggestions.steepest(RATES, np.linspace(1, 2, 81)) == 0


def test_minimum_tenth_is_a_decade_below_the_minimum():
    losses = bowl()
    place = suggestions.minimum_tenth(RATES, losses)
    assert place == np.argmin(losses) - 10


def test_minimum_tenth_stays_within_the_rates():
    assert suggestions.minimum_tenth(RATES, np.linspace(1, 2, 81)) == 0


def test_valley_is_the_middle_of_a_fall():
    losses = np.r_[np.full(20, 5.0), np.linspace(5, 1, 41), np.full(20, 9.0)]
    place = suggestions.valley(RATES, losses)
    assert place in (40, 41)  # The fall goes from place 20 to 60.


def longest_fall_slowly(losses):
    """The last place and the length of the longest falling subsequence."""
    best = {}
    for place, loss in enumerate(losses):
        before = [n for p, n in best.items() if losses[p] > loss]
        best[place] = 1 + max(before, default=0)
    end = max(best, key=lambda place: best[place])
    return end, best[end]


def test_valley_of_noise_is_that_of_the_longest_falling_subsequence():
    losses = bowl(0.2)
    end, length = longest_fall_slowly(losses.tolist())
    assert suggestions.valley(RATES, losses) == end - length // 2


@pytest.mark.parametrize("name", suggestions.METHODS)
def test_methods_see_no_units(name):
    """Neither of the loss, nor of the rate."""
    find, losses = suggestions.METHODS[name], bowl(0.05)
    place = find(RATES, losses)
    assert find(RATES, 1000 * losses + 7) == place
    assert find(1000 * RATES, losses) == place
