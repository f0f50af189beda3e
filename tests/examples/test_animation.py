"""`examples/animation.py`: three real runs, each with its verdict."""

import animation as example
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def runs_and_file(tmp_path_factory):
    """What `main` returns, and the animation that it wrote."""
    path = tmp_path_factory.mktemp("animation") / "descent.gif"
    return example.main([f"--output={path}"]), path


def test_each_rate_does_what_it_was_chosen_for(runs_and_file):
    runs, _ = runs_and_file
    assert [name for _, _, name in runs] == [
        "learning rate too small",
        "converged",
        "learning rate too large: diverging",
    ]


def test_paths_are_those_of_gradient_descent(runs_and_file):
    """Against NumPy in float64, from the same start."""
    x = np.linspace(-1, 4, 60)
    y = 0.1 * x + 0.5 + np.random.default_rng(1).normal(0, 0.1, 60)
    for learning_rate, path, _ in runs_and_file[0]:
        w, b = -0.3, 1.2
        for found in path[1:]:
            error = w * x + b - y
            w -= learning_rate * 2 * np.mean(error * x)
            b -= learning_rate * 2 * np.mean(error)
            np.testing.assert_allclose(found, [w, b], rtol=1e-3, atol=1e-4)


def test_there_is_a_frame_for_each_step_and_the_line_moves(runs_and_file):
    _, path = runs_and_file
    with Image.open(path) as picture:
        assert picture.n_frames >= 41  # Equal ones at the end are merged.
        picture.seek(0)
        first = np.asarray(picture.convert("L"), float)
        picture.seek(40)
        last = np.asarray(picture.convert("L"), float)
    assert np.mean(first != last) > 0.005
