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
    """What `main` found for 3 learning rates, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runs = example.main(
            [
                *("--learning-rates", "0.2", "1", "20"),
                f"--steps={STEPS}",
                f"--every-steps={EVERY_STEPS}",
                f"--pictures={folder}",
            ]
        )
    return runs, printed.getvalue()


def test_sharpness_rises_to_its_limit_and_stays(results):
    _, result, _ = results[0]
    assert result.limit == 2.0
    # It rises: well below the limit when it has settled after the start.
    assert result.sharpness[result.probed == 200] < 0.8 * result.limit
    assert 400 < result.reached < 1100
    after = result.sharpness[result.probed > result.reached + 200]
    assert len(after) > 5
    np.testing.assert_allclose(after, result.limit, rtol=0.15)
    assert after.mean() == pytest.approx(result.limit, rel=0.03)


def test_loss_falls_until_there_and_then_goes_up_and_down(results):
    _, result, _ = results[0]
    assert result.rising(0, result.reached) == 0
    assert result.rising(result.reached, None) > 0.1
    assert result.loss[result.reached :].max() < result.loss[0] / 2


def test_small_rate_is_not_there_yet(results):
    result = results[0][0]
    assert result.reached is None
    assert result.sharpness.max() < 0.5 * result.limit
    assert result.rising(0, None) == 0


def test_numbers_that_are_printed_are_those_returned(results):
    runs, printed = results
    rows = [row.split() for row in printed.splitlines()]
    for result in runs[:2]:
        row = next(r for r in rows if r[:1] == [f"{result.learning_rate:g}"])
        assert float(row[1]) == pytest.approx(result.limit, abs=1e-3)
        assert float(row[2]) == pytest.approx(result.sharpness[0], abs=1e-3)
        assert row[3] == str(result.reached or "never")
        mean = result.sharpness[result.probed > STEPS / 2].mean()
        assert float(row[4]) == pytest.approx(mean, abs=1e-3)
        assert float(row[5]) == pytest.approx(mean / result.limit, abs=0.01)
        assert float(row[6]) == pytest.approx(result.loss[-1], abs=1e-4)


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
    _, result, _ = results[0]
    x, y = example.make_data()
    model = example.make_model(1.0)
    model.fit(x, y, batch_size=len(x), verbose=0)
    found = gdtrain.curvature(model, x, y)
    assert result.sharpness[0] == pytest.approx(found.sharpness, rel=0.01)
    assert found.stable_learning_rate == pytest.approx(2 / found.sharpness)


@pytest.mark.parametrize("argument", ["--steps=0", "--learning-rates=inf"])
def test_numbers_that_cannot_be_used_are_refused(argument, capsys):
    with pytest.raises(SystemExit):
        example.parse([argument])
    assert "must be positive" in capsys.readouterr().err
