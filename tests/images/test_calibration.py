"""Temperature, calibration error and intervals."""

import numpy as np
import pytest
from scipy import optimize, stats

from gdtrain.images import calibration
from gdtrain.images.cross_entropy import log_softmax


def drawn(photos=3000, classes=4, true_temperature=2.5, seed=0):
    """Logits that are too sure by a known factor, and labels."""
    random = np.random.default_rng(seed)
    right = random.normal(size=[photos, classes]) * 2
    gumbel = random.gumbel(size=right.shape)
    return right * true_temperature, np.argmax(right + gumbel, axis=1)


def cross_entropy(logits, labels):
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def test_temperature_is_the_factor_by_which_logits_are_too_sure():
    for true_temperature in (0.4, 1.0, 2.5):
        found = calibration.temperature(
            *drawn(20_000, true_temperature=true_temperature)
        )
        assert found == pytest.approx(true_temperature, rel=0.03)


def test_temperature_is_the_minimum_that_a_search_finds():
    logits, labels = drawn(200)

    def objective(logarithm):
        scaled = logits * np.exp(-logarithm)
        every = -log_softmax(scaled).mean()
        return 200 / 201 * cross_entropy(scaled, labels) + every / 201

    found = optimize.minimize_scalar(
        objective, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}
    )
    assert calibration.temperature(logits, labels) == pytest.approx(
        np.exp(found.x), rel=1e-5
    )


def test_temperature_of_two_classes_has_a_closed_form():
    # All logits equal: the chance must be the share, with a random photo.
    logits = np.array([[3.0, 0.0]] * 9)
    labels = np.array([0] * 7 + [1] * 2)
    share = (7 + 0.5) / 10
    assert calibration.temperature(logits, labels) == pytest.approx(
        3 / np.log(share / (1 - share)), rel=1e-9
    )


def test_temperature_follows_the_scale_of_logits_and_not_their_offset():
    logits, labels = drawn(100)
    found = calibration.temperature(logits, labels)
    moved = 7 * logits + np.arange(100)[:, np.newaxis]
    assert calibration.temperature(moved, labels) == pytest.approx(7 * found)


def test_answers_that_are_all_right_are_not_made_certain():
    labels = np.arange(100) % 2
    logits = 50 * np.eye(2)[labels]
    found = calibration.temperature(logits, labels)
    surest = np.exp(log_softmax(logits / found)).max()
    assert surest == pytest.approx(1 - 0.5 / 101)


def test_answers_that_are_no_better_than_chance_are_made_even():
    labels = np.arange(100) % 2
    logits = 5 * np.eye(2)[1 - labels]
    assert calibration.temperature(logits, labels) == pytest.approx(1000)
    assert calibration.temperature(np.ones([100, 2]), labels) == 1.0


def test_calibrated_probabilities_have_a_small_expected_error():
    logits, labels = drawn(20_000)
    half = slice(0, 10_000), slice(10_000, None)
    chosen = calibration.temperature(logits[half[0]], labels[half[0]])
    before, after = [
        calibration.expected_calibration_error(
            np.exp(log_softmax(logits[half[1]] / by)), labels[half[1]]
        )
        for by in (1, chosen)
    ]
    assert before > 0.1 and after < 0.02


def test_expected_calibration_error_by_a_loop():
    logits, labels = drawn(500)
    probabilities = np.exp(log_softmax(logits))
    surest, right = probabilities.max(1), probabilities.argmax(1) == labels
    for bins in (1, 7, 15):
        expected = 0.0
        for i in range(bins):
            here = (surest > i / bins) & (surest <= (i + 1) / bins)
            if here.any():
                expected += here.mean() * abs(
                    right[here].mean() - surest[here].mean()
                )
        found = calibration.expected_calibration_error(
            probabilities, labels, bins
        )
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("right, n", [(0, 1), (0, 40), (37, 40), (40, 40)])
def test_wilson_interval_is_scipys(right, n):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert calibration.wilson(right, n) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_wilson_interval_ends_where_the_score_is_the_quantile():
    low, high = calibration.wilson(30, 50)
    for end in (low, high):
        score = abs(0.6 - end) / np.sqrt(end * (1 - end) / 50)
        assert score == pytest.approx(1.959963984540054)
    assert calibration.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: calibration.temperature(np.zeros([2, 2]), [0, 2]), "0 to 1"),
        (lambda: calibration.temperature(np.zeros([2]), [0, 1]), "two-dim"),
        (lambda: calibration.temperature(np.zeros([0, 2]), []), "two-dim"),
        (
            lambda: calibration.temperature(np.full([1, 2], np.inf), [0]),
            "finite",
        ),
        (
            lambda: calibration.expected_calibration_error(
                np.eye(2), [0, 1], bins=0
            ),
            "`bins`",
        ),
        (
            lambda: calibration.expected_calibration_error(np.eye(2), [0, -1]),
            "from -1",
        ),
        (lambda: calibration.wilson(3, 2), "from 0 to n"),
    ],
)
def test_what_cannot_be_used_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
