"""What results look like in a notebook: well-formed, escaped, never broken."""

import base64
import io
import pathlib
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest

import gdtrain
from gdtrain.common import notebook
from gdtrain.curvature.curvature import Curvature
from gdtrain.diagnosis.verdict import Diagnosis, Verdict
from gdtrain.tuning.suggestions import RangeTestResult
from gdtrain.tuning.sweep_result import SweepResult, SweepRun

EVIL = 'a<b>&"c"\x00</td>'
SHOWN = 'a<b>&"c"\N{REPLACEMENT CHARACTER}</td>'


def diagnosis():
    return Diagnosis((Verdict("plateau", 0.7, (1, 2000), {}, EVIL, "Go on."),))


def found_rates():
    rates = np.geomspace(1e-3, 1, 10)
    losses = np.linspace(3, 1, 10)
    suggested = {"steepest": 0.1, "valley": 0.02}
    return RangeTestResult(
        rates, losses, losses, False, suggested, "steepest", 0.5, ""
    )


def curvature():
    return Curvature(
        np.array([3.0, 1.0]), np.array([1e-3, 2e-3]), 7, 2 / 3, "", EVIL, None,
        np.eye(2),
    )  # fmt: skip


def sweep():
    job = types.SimpleNamespace(learning_rates=(0.1, 0.5))
    losses = np.linspace(2, 1, 20, dtype=np.float32)
    runs = [
        SweepRun(losses, {"loss": [1.5, 1.0]}, []),
        SweepRun(losses * 10, {"loss": [15.0, np.nan]}, []),
    ]
    return SweepResult(job, runs, True)


def telemetry():
    found = gdtrain.callbacks.Telemetry()
    columns = {
        "loss": np.linspace(2, 1, 12),
        "learning_rate": np.full(12, 0.5),
        EVIL: np.full(12, np.nan),
    }
    values = np.stack(list(columns.values()), 1)
    found.writer.write(np.arange(1, 13), list(columns), values)
    return found


def cells(html):
    """The rows of the table of some HTML, if that is well-formed.

    As XML, which is stricter than HTML.
    """
    return [
        [cell.text or "" for cell in row]
        for row in ElementTree.fromstring(html).iter("tr")
    ]


@pytest.mark.parametrize(
    ("make", "rows", "has_picture"),
    [
        (
            diagnosis,
            [["plateau", "0.70", "1 to 2,000", SHOWN, "Go on."]],
            False,
        ),
        (
            found_rates,
            [["steepest", "0.1", "recommended"], ["valley", "0.02", ""]],
            True,
        ),
        (curvature, [["3", "0.001"], ["1", "0.002"]], False),
        (
            sweep,
            [["0.1", "2", "1", "best"], ["0.5", "20", "nan", ""]],
            True,
        ),
        (
            telemetry,
            [
                ["loss", "2", "1", "1", "2", "12"],
                ["learning_rate", "0.5", "0.5", "0.5", "0.5", "12"],
                [SHOWN, "nan", "nan", "nan", "nan", "12"],
            ],
            True,
        ),
    ],
)
def test_results_are_tables_and_pictures(make, rows, has_picture):
    html = make()._repr_html_()
    header, *found = cells(html)
    assert found == rows
    assert len(header) == len(rows[0])
    tree = ElementTree.fromstring(html)
    images = [part.get("src") for part in tree.iter("img")]
    assert len(images) == has_picture
    for image in images:
        kind, _, data = image.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")


@pytest.mark.parametrize("make", [found_rates, sweep, telemetry])
def test_without_matplotlib_the_table_is_left(make, monkeypatch):
    with_picture = make()._repr_html_()
    monkeypatch.setitem(sys.modules, "gdtrain.plots", None)
    html = make()._repr_html_()
    assert cells(html) == cells(with_picture)
    assert "<img" not in html and "Left out" not in html


def test_part_that_fails_is_told_and_leaves_the_others(monkeypatch):
    def broken(*arguments):
        raise ValueError("no <room>")

    monkeypatch.setattr(gdtrain.plots, "loss", broken)
    html = telemetry()._repr_html_()
    assert len(cells(html)) == 4
    assert "Left out: no &lt;room&gt;" in html


def test_result_of_which_all_parts_fail_is_shown_as_text():
    def broken():
        raise ValueError

    html = notebook.show("what <it> is", broken)
    assert ElementTree.fromstring(html).find("pre").text == "what <it> is"
    assert "Left out: ValueError" in html

    class Broken:
        def __str__(self):
            raise RuntimeError

    assert "a Broken" in notebook.show(Broken())


def test_long_tables_end_with_how_much_is_left_out():
    html = notebook.table(["n"], [[n] for n in range(100)])
    assert len(cells(f"<div>{html}</div>")) == 1 + notebook.MOST_ROWS
    assert "and 70 more rows" in html


def test_telemetry_of_no_steps_is_shown():
    html = gdtrain.callbacks.Telemetry()._repr_html_()
    assert "no steps yet" in html and cells(html)[1:] == []


def test_a_picture_is_shown_as_the_result_of_a_cell():
    figure = gdtrain.plots.loss(telemetry())
    picture = figure._repr_png_()
    assert picture.startswith(b"\x89PNG")
    shown = matplotlib.image.imread(io.BytesIO(picture))
    width, height = figure.get_size_inches() * figure.dpi
    assert shown.shape[:2] == (round(height), round(width))


def test_a_fit_with_tensorboard_shows_nothing_of_its_own(tmp_path):
    """In a real shell: Keras's summary would leave an empty output."""
    pytest.importorskip("IPython")
    code = """
import keras, numpy as np
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output
shell = start_ipython()
import gdtrain
import rich.console
rich.console._is_jupyter = lambda: True
model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
model.compile("adam", "mse")
with capture_output() as shown:
    model.summary(print_fn=len)
assert shown.outputs, "Keras has no empty output any more"
board = gdtrain.callbacks.TensorBoard("logs")
with capture_output() as shown:
    model.fit(np.ones([4, 1]), np.ones([4, 1]), verbose=0, callbacks=[board])
assert not shown.outputs, shown.outputs
"""
    root = pathlib.Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
