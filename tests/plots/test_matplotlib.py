"""Matplotlib is used without its state, on any thread, and only if there."""

import ast
import concurrent.futures
import pathlib
import runpy
import sys
import warnings

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot

from gdtrain import plots
from gdtrain.plots import canvas
from tests.trainings import training

FILES = sorted(pathlib.Path(plots.__file__).parent.glob("*.py"))
DRAW = [plots.loss, plots.gradient_norms, plots.update_ratios, plots.overview]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_pyplot_is_not_imported():
    # Keras imports it, so that its absence from `sys.modules` says nothing.
    imported = {name for path in FILES for name in imports_of(path)}
    assert "matplotlib.figure.Figure" in imported
    assert not {name for name in imported if "pyplot" in name}


@pytest.mark.parametrize("draw", DRAW)
def test_drawing_changes_no_state_and_saves_the_same_picture(draw, tmp_path):
    source = training(range(1, 200), loss=np.r_[np.ones(190), [np.nan] * 9])
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("one.png", "two.png"):
            draw(source, tmp_path / name)
    one, two = (tmp_path / name for name in ("one.png", "two.png"))
    assert one.read_bytes() == two.read_bytes()
    assert matplotlib.image.imread(one).std() > 0.05
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_threads_draw_the_same_pictures_at_once(tmp_path):
    source = training(range(1, 200))

    def bytes_of(number):
        path = tmp_path / f"{number}.png"
        DRAW[number % 3](source, path)
        return path.read_bytes()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(bytes_of, range(6)))
    assert pictures == [bytes_of(number) for number in range(3)] * 2


def test_layer_may_be_called_like_a_broken_formula(tmp_path):
    names = [f"{q}/a$\\frac$" for q in ("gradient_norm", "update_ratio")]
    source = training([1, 2], **{name: [1.0, 2.0] for name in names})
    plots.overview(source, tmp_path / "picture.png")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError) as raised:
        runpy.run_path(canvas.__file__)
    told = str(raised.value)
    assert "`pip install matplotlib`" in told
    assert "`pip install -e '.[plots]'`" in told
    first = next(imports_of(pathlib.Path(plots.__file__)))
    assert first == "gdtrain.plots.canvas"
