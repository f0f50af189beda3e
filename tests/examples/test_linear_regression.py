"""`examples/linear_regression.py`, run small, against the closed form."""

import ast
import contextlib
import inspect
import io
import pathlib
import re
import shutil
import subprocess
import sys

import linear_regression as example
import matplotlib.image
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

STEPS, RATE = 40, 0.198
START = np.array([0.0, -1.0])
X = np.linspace(-1, 4, 60)


def run(folder, *more):
    """What a small run prints, whose files go into `folder`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        example.main([f"--output={folder}", f"--steps={STEPS}", *more])
    return printed.getvalue()


def rows_of(printed):
    """The rows of numbers: step, loss, w, b, expected w, expected b."""
    rows = [line.split() for line in printed.splitlines()]
    return np.array([r for r in rows if len(r) == 6 and r[0].isdigit()], float)


def saved(folder):
    """The w and b, and the number of steps, that a run leaves behind."""
    with np.load(folder / "line.npz") as state:
        return state["line"].astype(float), int(state["steps"])


def points():
    return X, 0.1 * X + 0.5 + np.random.default_rng(1).normal(0, 0.1, 60)


def closed_form(x, y, line, steps, learning_rate):
    """Where steps of descent lead, in float64.

    The gradient is linear: (w, b) - exact is multiplied, at each step, by
    the matrix I - learning_rate * 2 X'X / n.
    """
    design = np.stack([x, np.ones_like(x)], axis=1)
    step = np.eye(2) - learning_rate * 2 * design.T @ design / len(x)
    exact = np.polyfit(x, y, 1)
    start = np.array(line) - exact
    return exact + np.linalg.matrix_power(step, steps) @ start


def read_scalars(folder, tag):
    """The steps and values of a tag in TensorBoard's files."""
    events = EventAccumulator(str(folder)).Reload().Scalars(tag)
    return [event.step for event in events], [event.value for event in events]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("points")


@pytest.fixture(scope="module")
def first(folder):
    """What the first run prints, and where it ends."""
    return run(folder), *saved(folder)


@pytest.fixture(scope="module")
def second(folder, first):
    """The same of a run that continues at a smaller learning rate."""
    return run(folder, "--learning-rate=0.02"), *saved(folder)


@pytest.fixture
def table(tmp_path):
    """Writes a CSV file and gives the arguments that read it."""

    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        return f"--data={path}", "--x=height", "--y=weight"

    return write


def test_the_lecture_is_one_file_that_shows_its_step():
    path = pathlib.Path(example.__file__)
    assert len(path.read_text().splitlines()) <= 120
    source = inspect.getsource(example.Line.train_step)
    for words in ("tf.GradientTape()", "tape.gradient(loss", "assign_sub("):
        assert words in source
    others = {other.stem for other in path.parent.glob("*.py")}
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert others & set(imported) == {"table"}  # For tables alone


def test_descent_follows_the_closed_form(first):
    printed, line, steps = first
    assert steps == STEPS
    expected = closed_form(*points(), START, STEPS, RATE)
    np.testing.assert_allclose(line, expected, atol=5e-6)


def test_second_run_continues_where_the_first_ended(first, second):
    _, start, _ = first
    printed, line, steps = second
    assert f"Continues after step {STEPS}." in printed
    assert steps == 2 * STEPS
    expected = closed_form(*points(), start, STEPS, 0.02)
    np.testing.assert_allclose(line, expected, atol=5e-6)


def test_every_twentieth_step_is_printed_beside_what_is_expected(first, second):
    x, y = points()
    exact = np.polyfit(x, y, 1)
    start = START
    for done, rate, (printed, line, _) in (
        (0, RATE, first),
        (STEPS, 0.02, second),
    ):
        rows = rows_of(printed)
        assert rows[:, 0].tolist() == [done + 20, done + 40]
        for step, loss, *weights in rows:
            expected = closed_form(x, y, start, int(step) - done, rate)
            np.testing.assert_allclose(
                weights, [*expected, *expected], rtol=1e-3
            )
            before = closed_form(x, y, start, int(step) - done - 1, rate)
            loss_before = np.mean((np.polyval(before, x) - y) ** 2)
            assert loss == pytest.approx(loss_before, rel=1e-3)
        fitted = "Fitted: y = {:.5g} x {:+.5g}".format(*line)
        assert fitted in printed
        assert "Exact:  y = {:.5g} x {:+.5g}".format(*exact) in printed
        start = line


def test_limit_is_that_of_the_losss_curvature(first):
    # The largest eigenvalue of the Hessian, by its trace and determinant
    trace, mean = 2 * np.mean(X**2) + 2, 2 * np.mean(X)
    determinant = 4 * np.mean(X**2) - mean**2
    largest = (trace + np.sqrt(trace**2 - 4 * determinant)) / 2
    printed, *_ = first
    assert f"up to {2 / largest:.4g} are stable: {RATE} is stable." in printed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_claims_for_the_defaults_hold_for_each_seed(seed):
    y = 0.1 * X + 0.5 + np.random.default_rng(seed).normal(0, 0.1, 60)

    def left(*parts):
        line = START
        for steps, learning_rate in parts:
            line = closed_form(X, y, line, steps, learning_rate)
        off = np.polyval(line - np.polyfit(X, y, 1), X)
        return np.sqrt(np.mean(off**2))

    first = left((200, RATE))
    assert 0.001 < first < 0.004  # No more than a line's width, and not there
    assert left((400, RATE)) < first / 100
    assert left((200, RATE), (200, 0.1)) < left((400, RATE)) / 100


def test_first_picture_has_the_fitted_line_on_the_true_one(tmp_path):
    printed = run(tmp_path, "--steps=200")
    advice = "apart. Run again with --learning-rate 0.1 to come closer.\n"
    assert advice in printed
    picture = matplotlib.image.imread(tmp_path / "line.png")
    picture = picture[:, : 3 * picture.shape[1] // 4]  # Without the legend
    red, green = picture[..., 0], picture[..., 1]
    is_red, is_green = red > green + 0.4, green > red + 0.2
    columns = np.flatnonzero(is_red.sum(0) > 1)[5:]
    assert len(columns) > 400
    for column in columns:  # Green, the wider line, shows beside the red one.
        rows = np.flatnonzero(is_red[:, column])
        near = is_green[rows.min() - 4 : rows.max() + 5, column]
        assert near.any()


def test_line_that_is_reached_has_nothing_closer(tmp_path):
    printed = run(tmp_path, "--steps=200", "--learning-rate=0.1")
    assert "apart.\n" in printed and "closer" not in printed


def test_runs_in_other_folders_print_the_same_numbers(first, tmp_path):
    printed = run(tmp_path)
    assert rows_of(printed).tolist() == rows_of(first[0]).tolist()


@pytest.mark.parametrize("rate", [10, 0.205])
def test_divergence_is_told_with_the_limit_and_not_saved(
    second, folder, tmp_path, rate
):
    shutil.copytree(folder, tmp_path / "copy")
    printed = run(tmp_path / "copy", f"--learning-rate={rate}")
    assert (
        f"up to 0.2012 are stable: {rate} diverges, and is not saved."
        in printed
    )
    assert "Run again with --learning-rate 0.1 to come closer." in printed
    line, steps = saved(tmp_path / "copy")
    assert steps == 2 * STEPS
    np.testing.assert_array_equal(line, second[1])
    picture = tmp_path / "copy" / "line.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.read_bytes() != (folder / "line.png").read_bytes()


def test_picture_shows_a_green_and_a_red_line(second, folder):
    picture = matplotlib.image.imread(folder / "line.png")
    height, width, _ = picture.shape
    assert height > 500 and width > 700
    red, green = picture[..., 0], picture[..., 1]
    assert (green > red + 0.2).sum() > width
    assert (red > green + 0.4).sum() > width


def test_log_has_every_step_once_and_both_learning_rates(second, folder):
    steps, losses = read_scalars(folder / "logs", "step/loss")
    assert steps == list(range(1, 2 * STEPS + 1))
    x, y = points()
    residual = np.polyval(START, x) - y
    np.testing.assert_allclose(losses[0], np.mean(residual**2), rtol=1e-5)
    _, rates = read_scalars(folder / "logs", "step/learning_rate")
    expected = np.float32([RATE] * STEPS + [0.02] * STEPS)
    np.testing.assert_array_equal(np.float32(rates), expected)


def test_diabetes_is_fitted_in_its_own_units(tmp_path):
    printed = run(tmp_path, "--data=diabetes", "--learning-rate=0.05")
    data = load_diabetes(scaled=False)
    x, y = data.data[:, 2], data.target
    # Standardised, the curvature is 2 in each direction.
    left = (1 - 2 * 0.05) ** STEPS
    exact = np.polyfit(x, y, 1)
    w = (1 - left) * exact[0]
    b = y.mean() - left * y.std() - w * x.mean()
    assert f"Fitted: y = {w:.5g} x {b:+.5g}" in printed
    assert "Exact:  y = {:.5g} x {:+.5g}".format(*exact) in printed


def test_csv_file_is_fitted_in_its_own_units(table, tmp_path):
    rows = "".join(f"Ann,{h},{3 * h + 7}\n" for h in (100, 150, 175, 200))
    argv = table(b"\xef\xbb\xbfname, height ,weight\n" + rows.encode())
    printed = run(tmp_path, *argv)
    assert "table.csv, 4 rows: 'weight' from 'height'" in printed
    fitted = re.search(r"Fitted: y = (\S+) x (\S+)", printed).groups()
    np.testing.assert_allclose(np.float64(fitted), [3.0, 7.0], rtol=1e-4)
    assert "Exact:  y = 3 x +7" in printed


def test_other_points_begin_from_the_start(table, tmp_path):
    run(tmp_path)
    printed = run(tmp_path, *table(b"height,weight\n1,2\n3,5\n"))
    assert "Continues" not in printed
    assert rows_of(printed)[:, 0].tolist() == [20, 40]


def test_constant_y_gives_a_flat_line(table, tmp_path):
    printed = run(tmp_path, *table(b"height,weight\n1,5\n2,5\n3,5\n"))
    fitted = re.search(r"Fitted: y = (\S+) x (\S+)", printed).groups()
    np.testing.assert_allclose(np.float64(fitted), [0.0, 5.0], atol=1e-3)


def refused(capsys, *argv):
    """What is said when arguments cannot be used, with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        example.main(list(map(str, argv)))
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize(
    "argv, said",
    [
        (["--data=missing.csv"], "cannot read missing.csv: No such file"),
        (["--x=height"], "--x and --y name columns of a CSV file"),
    ],
)
def test_unusable_data_are_told_in_one_line(tmp_path, capsys, argv, said):
    message = refused(capsys, f"--output={tmp_path / 'output'}", *argv)
    assert re.fullmatch(r"error: [^\n]+\.\n", message) and said in message
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    path = tmp_path / "output"
    path.write_text("a file")
    message = refused(capsys, f"--output={path}")
    assert message.startswith("error: ") and str(path) in message


@pytest.mark.parametrize(
    "option",
    ["--steps=0", "--steps=1.5", "--learning-rate=-1", "--learning-rate=nan"]
    + ["--learning-rate=inf", "--learning-rate=x"],
)
def test_option_out_of_range_is_refused(option, tmp_path, capsys):
    message = refused(capsys, f"--output={tmp_path}", option)
    assert "error: " in message and option.split("=")[0] in message
    assert list(tmp_path.iterdir()) == []


def test_copy_of_the_file_alone_runs_and_says_nothing_on_stderr(tmp_path):
    script = shutil.copy(example.__file__, tmp_path)
    done = subprocess.run(
        [sys.executable, script, "--steps=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "output/linear_regression/line.png").exists()


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as caught:
        example.main(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for option in ("--data", "--x", "--y", "--steps", "--output"):
        assert option in printed
