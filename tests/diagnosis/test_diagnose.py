"""Verdicts on trainings that were made with NumPy, from end to end."""

import re

import keras
import numpy as np
import pytest

import gdtrain
from tests.diagnosis.descents import bowl, noisy, telemetry_of


def verdict_on(history=None, steps=None, **columns):
    """The first verdict on columns."""
    return gdtrain.diagnose(
        telemetry_of(steps, **columns), history=history
    ).verdict


def test_descent_beyond_the_limit_is_told_with_its_numbers():
    curve = 12.5  # The limit is 2 / 12.5 = 0.16
    found = verdict_on(**bowl([curve, 1.0], 0.5, 20))
    assert found.name == "learning rate too large: diverging"
    growth = (1 - 0.5 * curve) ** 2
    assert found.evidence["loss_growth_a_step"] == pytest.approx(growth)
    assert found.evidence["stable_learning_rate"] == pytest.approx(0.16)
    assert found.evidence["learning_rate"] == 0.5
    assert found.text == (
        "learning_rate 0.5 is 3.12 times the stable limit 0.16 (from the "
        "growth of the loss); the loss grows 27.6 times a step along bowl."
    )
    assert found.advice == "Try 0.096."
    assert found.steps == (1, 20)


def test_rate_just_above_the_limit_is_said_to_be_above():
    found = verdict_on(**bowl([12.5], 1.003 * 0.16, 500))
    assert found.name == "learning rate too large: diverging"
    assert "is 1.003 times the stable limit 0.16 (" in found.text


def test_measured_limit_is_preferred():
    limits = np.full(20, np.nan)
    limits[::10] = 0.2
    columns = bowl([12.5], 0.5, 20) | {"stable_learning_rate": limits}
    found = verdict_on(**columns)
    assert found.evidence["stable_learning_rate"] == pytest.approx(0.2)
    assert "2.5 times the stable limit 0.2 (measured at step 1)" in found.text


def test_limit_before_the_rise_is_preferred_to_one_after_it():
    limits = np.full(30, np.nan)
    limits[[4, 20]] = 0.2, 0.001
    loss = np.r_[np.linspace(2, 1, 10), 1.5 ** np.arange(20.0)]
    found = verdict_on(
        loss=loss,
        learning_rate=np.full(30, 0.5),
        stable_learning_rate=limits,
    )
    assert "2.5 times the stable limit 0.2 (measured at step 5)" in found.text


def test_growth_of_other_updates_tells_no_limit():
    columns = bowl([1.0], 4.5, 40, momentum=0.9)
    found = verdict_on(**columns)
    assert found.name == "learning rate too large: diverging"
    assert "stable_learning_rate" not in found.evidence
    assert found.advice.startswith("Try 1.5, and less")


def test_loss_alone_tells_of_divergence():
    found = verdict_on(loss=2.25 ** np.arange(20.0))
    assert found.name == "learning rate too large: diverging"
    assert found.evidence["loss_growth"] == pytest.approx(2.25**19, rel=1e-5)
    assert found.text.startswith("The loss grows 2.25 times a step")


def test_slow_growth_is_not_told_as_once_a_step():
    found = verdict_on(loss=1.004 ** np.arange(800.0))
    assert found.name == "learning rate too large: diverging"
    assert found.text == "The loss grows 24.3 times in all."
    faster = verdict_on(loss=1.006 ** np.arange(800.0))
    assert faster.text.startswith("The loss grows 1.01 times a step, ")


@pytest.mark.parametrize(
    "loss",
    [
        2.25 ** np.arange(40.0) - 100,
        np.append(0.0, 4.0 ** np.arange(30.0)),
        np.append(np.linspace(3, -1, 30), -1 + 2.0 ** np.arange(30.0)),
    ],
    ids=["below 0", "0 at first", "after a fall below 0"],
)
def test_losses_that_are_not_above_0_diverge_as_others(loss):
    found = verdict_on(loss=loss)
    assert found.name == "learning rate too large: diverging"
    assert found.text.startswith("The loss grows ")
    assert f"to {loss[-1]:.3g}" in found.text


def test_log_likelihood_that_falls_below_0_does_not_diverge():
    loss = 3.0 - 5 * (1 - 0.9 ** np.arange(200.0))
    assert verdict_on(loss=loss).name == "converged"


def test_rounding_at_the_end_is_no_noise():
    noise = np.random.default_rng(0).normal(0, 1e-13, 100)
    loss = np.append(40 * 0.5 ** np.arange(46.0), 6e-13 + noise)
    assert verdict_on(loss=loss).name == "converged"


def test_limit_that_does_not_bind_is_not_told():
    loss = 1.5 ** np.arange(30.0)
    limit = np.full(30, 4.0)
    found = verdict_on(
        loss=loss,
        learning_rate=np.full(30, 0.5),
        stable_learning_rate=limit,
    )
    assert found.name == "learning rate too large: diverging"
    assert "limit" not in found.text


def test_the_layer_that_grows_most_is_named():
    columns = {
        "loss": 2.0 ** np.arange(20),
        "gradient_norm__slow": 1.1 ** np.arange(20),
        "gradient_norm__fast": 1.4 ** np.arange(20),
    }
    assert "along fast" in verdict_on(**columns).text


def test_divergence_to_infinity_comes_before_its_end():
    # Of float32, the largest number is 3.4e38.
    with np.errstate(over="ignore"):
        columns = bowl([4.0], 2.0, 60)
        loss = columns["loss"].astype(np.float32)
    assert np.isinf(loss[-1])
    with np.errstate(over="ignore"):
        telemetry = telemetry_of(loss=loss)
    found = gdtrain.diagnose(telemetry)
    assert [one.name for one in found.verdicts] == [
        "learning rate too large: diverging",
        "non-finite",
    ]
    first = int(np.argmax(np.isinf(loss))) + 1
    assert found.verdicts[1].steps == (first, 60)


def test_jumps_just_under_the_limit_oscillate():
    # Between the two sides of one direction, with another underneath.
    columns = bowl([1.0, 0.001], 1.999, 100)
    found = verdict_on(**columns)
    assert found.name == "learning rate too large: oscillating"
    assert found.evidence["alternation"] == 1  # Of the weights' length
    assert found.evidence["stable_learning_rate"] == pytest.approx(2, rel=1e-4)
    assert "100% of the steps turn back" in found.text
    assert found.advice == "Try 1."


def test_cosine_of_gradients_tells_of_jumps():
    columns = bowl([1.0], 1.99, 60)
    columns = {name: columns[name] for name in ("loss", "learning_rate")}
    assert not verdict_on(**columns).is_trouble
    found = verdict_on(gradient_cosine=np.full(60, -0.98), **columns)
    assert found.name == "learning rate too large: oscillating"
    assert found.evidence["gradient_cosine"] == pytest.approx(-0.98)
    # The loss falls by 0.99 ** 2 a step: much is to come after 60 steps, which
    # is what decides.
    assert 0.5 < found.confidence < 1 - 0.5 * 0.02 / 0.4


@pytest.mark.parametrize("offset", [0.0, 100.0, -100.0])
@pytest.mark.parametrize(("end", "is_large"), [(2, False), (8, True)])
def test_descent_that_loses_what_it_gained_diverges(offset, end, is_large):
    loss = np.concatenate([np.linspace(10, 1, 50), np.linspace(1, end, 50)])
    found = verdict_on(loss=loss + offset)
    name = "learning rate too large: diverging"
    assert (found.name == name) == is_large


SEEN = {"learning_rate": np.full(200, 0.1)}
FAULTS = {
    "learning rate too small": bowl([1.0], 1e-4, 200),
    "not learning": {"loss": noisy(0.7, 0.01, 200)} | SEEN,
    "converged": bowl([1.0, 0.5], 0.5, 200, least=1.0),
    "converging": bowl([1.0], 0.01, 100, least=1.0),
    "noise floor": {"loss": noisy(3 * 0.9 ** np.arange(200) + 1, 0.1, 200)},
    "non-finite": {"loss": [1.0, 0.9, np.nan, np.nan]},
    "nothing to report": {"loss": [1.0, 0.9, 0.8]},
    "dead layer": {
        "loss": np.linspace(1, 0.1, 50),
        "gradient_norm__a": np.zeros(50),
        "gradient_norm__b": np.ones(50),
    },
    "vanishing gradients": {"loss": np.linspace(1, 0.9, 50)}
    | {f"gradient_norm__{i}": np.full(50, 10.0 ** (i - 5)) for i in range(5)}
    | {f"weight_norm__{i}": np.ones(50) for i in range(5)},
    "exploding gradients": {"loss": np.linspace(1, 0.9, 50)}
    | {f"gradient_norm__{i}": np.full(50, 10.0 ** (5 - i)) for i in range(5)}
    | {f"weight_norm__{i}": np.ones(50) for i in range(5)},
    "plateau": {
        "loss": [*np.linspace(3, 1, 20), *np.linspace(1, 0.9999, 60)],
        "gradient_norm": 1e-4 * 1.05 ** np.arange(80),
    },
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(name):
    found = verdict_on(**FAULTS[name])
    assert found.name == name
    assert 0 < found.confidence <= 1
    assert found.text.endswith(".")
    assert found.advice.endswith(".")
    for value in found.evidence.values():
        assert value is None or isinstance(value, (int, float))


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found_in_every_third_step(name):
    if name in ("non-finite", "nothing to report"):
        return
    thin = {key: np.asarray(v)[2::3] for key, v in FAULTS[name].items()}
    steps = 3 * np.arange(1, len(thin["loss"]) + 1)
    assert verdict_on(steps=steps, **thin).name == name


def test_overfitting_is_found_with_a_history():
    history = {
        "loss": np.linspace(1, 0.1, 20).tolist(),
        "val_loss": [*np.linspace(2, 1, 10), *np.linspace(1, 2, 10)],
    }
    loss = np.repeat(np.linspace(1, 0.1, 20), 10)
    assert verdict_on(history, loss=loss).name == "overfitting"
    assert verdict_on(loss=loss).name != "overfitting"


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ([0.5], "nothing to report"),
        ([np.nan], "non-finite"),
        ([np.nan] * 30, "non-finite"),
        ([0.0] * 30, "converged"),
        ([-5.0 - 0.1 * i for i in range(30)], "converging"),
    ],
)
def test_odd_losses_have_a_verdict(loss, name):
    assert verdict_on(loss=loss).name == name


def test_training_without_a_loss_has_nothing_to_report():
    found = verdict_on(accuracy=np.linspace(0, 1, 40))
    assert found.name == "nothing to report"
    assert found.evidence == {"losses": 0}


def test_resumed_run_that_stands_still_is_not_accused():
    found = verdict_on(steps=range(500, 600), loss=np.full(100, 0.3))
    assert found.name == "converged"


def test_each_update_of_a_step_is_judged_by_its_name():
    rising = {"loss": [3, 2, 1, 0.5, 0.4], "val_loss": [1, 2, 3, 4, 5]}
    found = gdtrain.diagnose(
        telemetry_of(
            critic__loss=2.0 ** np.arange(20),
            generator__loss=1 + 0.5 ** np.arange(20),
        ),
        history=rising,
    )
    told = {one.text.partition(":")[0]: one.name for one in found.verdicts}
    assert told == {
        "critic": "learning rate too large: diverging",
        "generator": "converged",
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A line that is fitted with a rate beyond its limit, in three forms."""
    folder = tmp_path_factory.mktemp("diverging")
    x = np.linspace(-1, 1, 20)[:, None]
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, name="line")]
    )
    model.compile(gdtrain.GradientDescent(1.5), loss="mse", jit_compile=False)
    telemetry = gdtrain.callbacks.Telemetry()
    board = gdtrain.callbacks.TensorBoard(folder / "log")
    model.fit(
        x, 3 * x + 1, batch_size=20, epochs=30, verbose=0,
        validation_data=(x, 3 * x + 1), callbacks=[telemetry, board],
    )  # fmt: skip
    telemetry.save(folder / "run.npz")
    return telemetry, folder / "log", folder / "run.npz"


def test_callback_folder_and_file_give_the_same_verdict(trained):
    found = [gdtrain.diagnose(source) for source in trained]
    assert [one.verdict.name for one in found] == [
        "learning rate too large: diverging"
    ] * 3
    # X'X / n is diagonal, and 1 the larger entry: the limit is 2 / (2 * 1).
    for one in found:
        assert one.verdict.evidence["stable_learning_rate"] == pytest.approx(
            1.0, rel=1e-3
        )
    assert str(found[0]) == str(found[2])


def test_diagnosing_changes_nothing(trained):
    telemetry, _, _ = trained
    before = {name: telemetry[name].copy() for name in telemetry.names}
    gdtrain.diagnose(telemetry)
    for name, values in before.items():
        np.testing.assert_array_equal(telemetry[name], values)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(TypeError, match="source=3"):
        gdtrain.diagnose(3)
    with pytest.raises(FileNotFoundError, match=re.escape("nowhere")):
        gdtrain.diagnose(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="which has none"):
        gdtrain.diagnose(telemetry_of(loss=[]))
    with pytest.raises(TypeError, match="what `fit` returned"):
        gdtrain.diagnose(telemetry_of(loss=[1.0]), history=3)


def test_dead_layer_is_not_told_to_want_a_larger_rate():
    steps = 60
    columns = {
        "loss": 2.3 - 1e-4 * np.arange(steps),
        "learning_rate": np.full(steps, 2.0),
        "gradient_norm": np.full(steps, 0.1),
        "gradient_norm/first": np.zeros(steps),
        "gradient_norm/second": np.full(steps, 0.1),
        "weight_norm/first": np.full(steps, 9.0),
        "weight_norm/second": 9.0 - 1e-3 * np.arange(steps),
        "update_ratio/first": np.zeros(steps),
        "update_ratio/second": np.full(steps, 1e-5),
    }
    found = gdtrain.diagnose(telemetry_of(**columns))
    names = [verdict.name for verdict in found.verdicts]
    assert "dead layer" in names
    assert "learning rate too small" not in names


def unscaled(scale, steps, *, rate=0.01):
    """Float32 numbers of a line `y = 3 x` through x from 1 to 2, times scale.

    From w = 0.01, without an offset: one direction, whose limit is
    `1 / mean(x ** 2)`.
    """
    x = np.linspace(1, 2, 64) * scale
    square = np.mean(x**2)
    w, rows = 0.01, []
    with np.errstate(all="ignore"):
        for _ in range(steps):
            off = w - 3
            loss, slope = off**2 * square, abs(2 * off * square)
            before, w = w, w - rate * 2 * off * square
            rows.append((loss, slope, abs(w), rate * slope / abs(before)))
        loss, slope, length, ratio = np.array(rows, np.float32).T
    return 1 / square, {
        "loss": loss,
        "learning_rate": np.full(steps, rate),
        "gradient_norm": slope,
        "gradient_norm__line": slope,
        "weight_norm__line": length,
        "update_ratio__line": ratio,
        "nonfinite_count": ~np.isfinite(loss),
    }


@pytest.mark.parametrize("scale", [1e2, 1e3, 1e4, 1e6, 1e8, 1e9, 1e12, 1e18])
def test_values_too_large_for_the_rate_are_told_with_a_stable_one(scale):
    limit, columns = unscaled(scale, 20)
    with np.errstate(all="ignore"):
        found = verdict_on(**columns)
    assert found.name == "learning rate too large: diverging"
    assert found.evidence["stable_learning_rate"] == pytest.approx(
        limit, rel=0.02
    )
    tried = float(re.search(r"Try ([0-9.e+-]*[0-9])", found.advice)[1])
    assert tried == pytest.approx(0.6 * limit, rel=0.05)
    assert "The first update of line is " in found.text
    assert "scale them" in found.advice


@pytest.mark.parametrize("scale", [1e6, 1e9])
def test_loss_and_rate_alone_tell_no_rate_that_they_do_not_know(scale):
    _, columns = unscaled(scale, 20)
    seen = {name: columns[name] for name in ("loss", "learning_rate")}
    with np.errstate(all="ignore"):
        found = verdict_on(**seen)
    assert not re.search(r"Try [0-9]", found.advice)
    if scale == 1e6:
        assert found.name == "learning rate too large: diverging"
        assert found.advice.startswith("Divide the learning rate by ten, again")


def test_nan_after_a_step_that_was_stable_is_not_blamed_on_the_rate():
    limit, columns = unscaled(1.0, 20, rate=0.1)
    assert limit > 0.1
    for name in ("loss", "gradient_norm", "gradient_norm__line"):
        columns[name][3:] = np.nan
    columns["nonfinite_count"] = np.arange(20) >= 3
    found = gdtrain.diagnose(telemetry_of(**columns))
    assert [one.name for one in found.verdicts] == ["non-finite"]
    assert "Look for NaN in the data" in found.verdict.advice
    assert "The loss before it is " in found.verdict.text


def test_what_follows_from_the_rate_is_not_blamed_on_the_data():
    _, columns = unscaled(1e6, 20)
    with np.errstate(all="ignore"):
        found = gdtrain.diagnose(telemetry_of(**columns))
    assert [one.name for one in found.verdicts] == [
        "learning rate too large: diverging",
        "non-finite",
    ]
    assert "data" not in found.verdicts[1].advice


def test_first_step_that_is_not_finite_was_not_ruined_by_an_update():
    found = verdict_on(loss=[np.inf, np.nan, np.nan, np.nan])
    assert found.name == "non-finite"
    assert found.advice.startswith("No update was made before it.")


def test_rate_to_try_stays_below_the_limit_that_is_told():
    columns = bowl([1.0, 1e-5, 1e-5], 1.5, 200)
    steep = columns | {"stable_learning_rate": np.full(200, 2.0)}
    steep["loss"] = 3 - 1e-3 * np.arange(200)
    found = verdict_on(**steep)
    assert found.name == "learning rate too small"
    assert found.advice.startswith("More than the limit is not stable")
    steep["learning_rate"] = np.full(200, 0.5)
    assert verdict_on(**steep).advice.startswith("Try 1.2, 0.6 times the limit")
    steep["learning_rate"] = np.full(200, 1e-5)
    found = verdict_on(**steep)
    assert found.advice.startswith("Try 1.2, 0.6 times the limit")
    assert "1e-05 is 5e-06 times the stable limit 2 (measured at step 200)" in (
        found.text
    )


def test_loss_that_ends_above_its_start_is_not_told_to_be_done():
    found = verdict_on(loss=1 + 0.3 * (1 - 0.9 ** np.arange(100.0)))
    assert (found.name, found.is_trouble) == ("not learning", True)
    assert "Stop here" not in found.advice


def test_overfitting_is_not_told_to_want_a_larger_rate():
    history = {
        "loss": np.linspace(3, 2.9, 12),
        "val_loss": 1 + (np.arange(12) - 3.0) ** 2,
    }
    columns = {"loss": 3 - 1e-3 * np.arange(96), "learning_rate": [0.1] * 96}
    found = gdtrain.diagnose(telemetry_of(**columns), history=history)
    assert [one.name for one in found.verdicts] == ["overfitting"]
