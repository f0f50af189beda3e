"""`examples/edge_of_stability.py`, run shorter, against its claim."""

import contextlib
import io

import edge_of_stability as example
import matplotlib.image
import numpy as np
import pytest

import gdtrain

STEPS, EVERY_STEPS = 1400, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("edge")


@pytest.fixture(scope="module")
def results(folder):
    """The telemetry of 3 learning rates, and what was printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        sources = example.main(
            [
                *("--learning-rates", "0.2", "1", "20"),
                f"--steps={STEPS}",
                f"--every-steps={EVERY_STEPS}",
                f"--output={folder}",
            ]
        )
    return list(sources.values()), printed.getvalue()


def sharpness_of(telemetry):
    """`(steps, sharpness)` where it was measured."""
    measured = ~np.isnan(telemetry["sharpness"])
    return telemetry.steps[measured], telemetry["sharpness"][measured]


def reached(telemetry, limit):
    """The first step at which the sharpness was seen at the limit."""
    steps, sharpness = sharpness_of(telemetry)
    return steps[sharpness >= limit][0]


def rose(losses):
    return np.mean(np.diff(losses) > 0)


def test_sharpness_rises_to_its_limit_and_stays(results):
    steps, sharpness = sharpness_of(results[0][1])
    # It rises: well below the limit when it has settled after the start.
    assert sharpness[steps == 200] < 0.8 * 2
    there = reached(results[0][1], 2)
    assert 400 < there < 1100
    after = sharpness[steps > there + 200]
    assert len(after) > 5
    np.testing.assert_allclose(after, 2, rtol=0.15)
    assert after.mean() == pytest.approx(2, rel=0.03)


def test_loss_falls_until_there_and_then_goes_up_and_down(results):
    loss, there = results[0][1]["loss"], reached(results[0][1], 2)
    assert rose(loss[:there]) == 0
    assert rose(loss[there:]) > 0.1
    assert loss[there:].max() < loss[0] / 2


def test_small_rate_is_not_there_yet(results):
    small = results[0][0]
    assert sharpness_of(small)[1].max() < 0.5 * 10
    assert rose(small["loss"]) == 0


def test_numbers_that_are_printed_are_those_measured(results):
    sources, printed = results
    rows = [row.split() for row in printed.splitlines()]
    for rate, telemetry in zip((0.2, 1.0), sources, strict=False):
        row = next(r for r in rows if r[:1] == [f"{rate:g}"])
        steps, sharpness = sharpness_of(telemetry)
        limit = 2 / rate
        assert float(row[1]) == pytest.approx(limit, abs=1e-3)
        assert float(row[2]) == pytest.approx(sharpness[0], abs=1e-3)
        there = "never" if rate == 0.2 else str(reached(telemetry, limit))
        assert row[3] == there
        mean = sharpness[steps > STEPS / 2].mean()
        assert float(row[4]) == pytest.approx(mean, abs=1e-3)
        assert float(row[5]) == pytest.approx(mean / limit, abs=0.01)
        assert float(row[6]) == pytest.approx(telemetry["loss"][-1], abs=1e-4)
        share = rose(telemetry["loss"][STEPS // 2 :])
        assert float(row[7].rstrip("%")) / 100 == pytest.approx(share, abs=0.01)


def test_each_rate_is_explained(results):
    printed = results[1]
    assert "Learning rate 0.2 is not there yet" in printed
    assert "Learning rate 1: the loss rose in 0% of the steps" in printed
    assert "Learning rate 20 was too large from the start" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 80


def test_picture_is_drawn(results, folder):
    picture = folder / "edge_of_stability.png"
    assert picture.stat().st_size < 100_000
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[0] > 400 and pixels.std() > 0.05


def test_sharpness_at_step_1_is_that_of_curvature(results):
    _, sharpness = sharpness_of(results[0][1])
    x, y = example.make_data()
    model = example.make_model(1.0)
    model.fit(x, y, batch_size=len(x), verbose=0)
    found = gdtrain.curvature(model, x, y)
    assert sharpness[0] == pytest.approx(found.sharpness, rel=0.01)
    assert found.stable_learning_rate == pytest.approx(2 / found.sharpness)


@pytest.mark.parametrize("argument", ["--steps=0", "--learning-rates=inf"])
def test_numbers_that_cannot_be_used_are_refused(argument, capsys):
    with pytest.raises(SystemExit) as caught:
        example.main([argument])
    assert caught.value.code == 2
    assert "must be positive numbers" in capsys.readouterr().err
