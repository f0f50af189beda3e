"""`examples/linear_regression.py`, run small, against the closed form."""

import contextlib
import dataclasses
import io
import re
import subprocess
import sys

import line_data
import line_pictures
import line_report
import linear_regression as example
import matplotlib.image
import numpy as np
import pytest
import table_file
from _console import InputError, complete_file, run
from sklearn.datasets import load_diabetes
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

STEPS = 40


def arguments(folder, *more):
    """A small run whose files go into `folder`."""
    pictures, logs = folder / "pictures", folder / "logs"
    return [
        f"--pictures={pictures}",
        f"--logs={logs}",
        f"--steps={STEPS}",
        *more,
    ]


def run_and_read(argv):
    """The result of `main`, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = example.main(argv)
    return result, printed.getvalue()


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
def points():
    return line_data.make_points(seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("points")


@pytest.fixture(scope="module")
def first_run(folder):
    return run_and_read(arguments(folder))


@pytest.fixture(scope="module")
def second_run(folder, first_run):
    return run_and_read(arguments(folder))


@pytest.fixture(scope="module")
def result(first_run):
    return first_run[0]


@pytest.fixture(scope="module")
def printed(first_run):
    return first_run[1]


@pytest.fixture
def table(tmp_path):
    """Writes a CSV file and gives the arguments that read it."""

    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        columns = "--x=height", "--y=weight"
        return arguments(tmp_path, f"--data={path}", *columns)

    return write


class TestDescent:
    def test_by_hand_and_by_fit_end_at_the_same_line(self, result):
        # Both in float32; a step goes 1e-2, so another order of operations
        # may differ by a few 1e-8 at most.
        np.testing.assert_allclose(result.by_fit, result.by_hand, atol=2e-7)

    def test_by_hand_follows_the_closed_form(self, points, result):
        expected = closed_form(points.x, points.y, line_data.START, STEPS, 0.2)
        np.testing.assert_allclose(result.by_hand, expected, atol=5e-6)

    def test_more_steps_follow_the_closed_form(self, points, result):
        start = line_data.START
        expected = closed_form(points.x, points.y, start, 2 * STEPS, 0.2)
        np.testing.assert_allclose(result.longer, expected, atol=5e-6)
        expected = closed_form(points.x, points.y, start, 3 * STEPS, 0.2)
        np.testing.assert_allclose(result.unchanged, expected, atol=5e-6)

    def test_smaller_learning_rate_goes_on_from_there(self, points, result):
        expected = closed_form(points.x, points.y, result.longer, STEPS, 0.02)
        np.testing.assert_allclose(result.smaller, expected, atol=5e-6)

    def test_exact_line_is_that_of_polyfit(self, points, result):
        expected = np.polyfit(points.x, points.y, 1)
        np.testing.assert_allclose(result.exact, expected, rtol=1e-12)

    def test_each_part_is_closer_to_the_exact_line(self, points, result):
        distances = [
            line_data.distance(line, result.exact, points.x)
            for line in (
                line_data.START,
                result.by_fit,
                result.longer,
                result.unchanged,
                result.smaller,
            )
        ]
        assert distances == sorted(distances, reverse=True)
        assert distances[0] > 1.5
        assert distances[-1] < 0.1

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_claims_for_the_defaults_hold_for_each_seed(self, seed):
        points = line_data.make_points(seed)
        exact = line_data.least_squares(points.x, points.y)

        def left(*parts):
            line = line_data.START
            for steps, learning_rate in parts:
                line = closed_form(
                    points.x, points.y, line, steps, learning_rate
                )
            return line_data.distance(line_data.Line(*line), exact, points.x)

        assert 0.1 < left((200, 0.2)) < 0.2  # Near, and not there.
        assert left((400, 0.2)) < left((200, 0.2)) / 5
        assert left((400, 0.2), (200, 0.02)) < left((600, 0.2)) / 100

    def test_curvature_is_that_of_the_loss(self, points):
        w_part = 2 * np.mean(points.x**2)
        mixed, b_part = 2 * np.mean(points.x), 2.0
        hessian = np.array([[w_part, mixed], [mixed, b_part]])
        expected = np.sort(np.linalg.eigvals(hessian))
        np.testing.assert_allclose(line_data.curvature(points.x), expected)


class TestPrinting:
    def test_by_hand_and_by_fit_print_the_same_lines(self, printed):
        by_hand, by_fit = printed.split("\n\n")[1:3]
        lines = by_hand.splitlines()[1:]
        assert lines == by_fit.splitlines()[1 : len(lines) + 1]
        assert [line.split()[0] for line in lines] == ["step", "20", "40"]

    def test_running_twice_prints_the_same_numbers(self, printed, second_run):
        assert printed.replace("run-1", "run-2") == second_run[1]

    def test_another_seed_makes_other_points(self, points):
        assert (line_data.make_points(seed=2).y != points.y).all()
        assert (line_data.make_points(seed=2).x == points.x).all()

    def test_smaller_learning_rate_is_said_to_end_bouncing(self, printed):
        assert "got closer: with 0.2 every step jumps across" in printed

    @pytest.mark.parametrize("learning_rate", [10, 0.5])
    def test_divergence_is_explained_with_the_limit(
        self, tmp_path, capsys, learning_rate
    ):
        rate = f"--learning-rate={learning_rate}"
        results = []
        argv = arguments(tmp_path, rate)
        last = tmp_path / "pictures" / "line.png"
        last.parent.mkdir()
        last.write_bytes(b"of the last run")
        assert run(lambda: results.append(example.main(argv))) == 0
        printed = capsys.readouterr()
        assert results[0].diverged
        assert "the loss is inf" in printed.out
        assert "below a learning rate of 0.2012" in printed.out
        assert printed.err == ""
        assert results[0].picture == last
        assert last.read_bytes().startswith(b"\x89PNG")

    def test_finite_divergence_is_told_as_one(self, tmp_path, capsys):
        result = example.main(arguments(tmp_path, "--learning-rate=0.205"))
        printed = capsys.readouterr().out
        assert result.diverged
        # 1 - 0.205 * 9.941 = -1.038
        assert "lands 1.04 times\nas far" in printed
        assert "below a learning rate of 0.2012" in printed
        assert "got closer" not in printed and "got less far" not in printed

    def test_divergence_is_drawn_with_lines_and_losses(self, points, tmp_path):
        path = tmp_path / "line.png"
        lines = [line_data.Line(w, 0.0) for w in (2.0, -8.0, 1e5, np.inf)]
        losses = [1.0, 16.0, 1e9, np.inf]
        result = example.Result(
            exact=line_data.least_squares(points.x, points.y),
            course=list(zip(losses, lines, strict=True)),
            picture=path,
        )
        options = example.parse(["--learning-rate=0.5"])
        figure = line_pictures.draw_divergence(points, options, result)
        left, right = figure.axes
        title = figure.get_suptitle()
        assert "0.5 is 2.49 times the stable limit 0.2012" in title
        assert "multiplies the error along the steepest direction by -3.97" in (
            title
        )
        drawn = [line.get_label() for line in left.lines[-3:]]
        assert [label.split(":")[0] for label in drawn] == [
            "after step 1",
            "after step 2",
            "after step 3",
        ]
        low, high = left.get_ylim()
        assert -30 < low < -15 and 15 < high < 30
        np.testing.assert_array_equal(right.lines[0].get_ydata(), losses[:3])
        assert right.get_title() == "The loss grows: at step 4 it is inf"
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_number_has_the_decimals_that_matter(self):
        assert line_report.decimal(0.123456, 0.2) == "0.1235"
        assert line_report.decimal(1234.5678, 80.0) == "1234.57"
        assert line_report.decimal(1234.5678, 1e6) == "1235"
        assert line_report.decimal(-1e-9, 0.2) == "0.0000"
        assert line_report.decimal(1e12, 0.2) == "1.000e+12"
        assert line_report.decimal(1.5e-12, 1e-12) == "1.500e-12"


class TestFiles:
    def test_picture_shows_a_green_and_a_red_line(self, result):
        picture = matplotlib.image.imread(result.picture)
        height, width, _ = picture.shape
        assert height > 500 and width > 800
        for colour in ("tab:green", "tab:red"):
            wanted = matplotlib.colors.to_rgb(colour)
            same = np.isclose(picture[..., :3], wanted, atol=0.01).all(-1)
            assert same.sum() > width, colour

    def test_picture_says_what_its_run_did(self, points, result, tmp_path):
        options = example.parse(arguments(tmp_path))
        drawn = dataclasses.replace(result, picture=tmp_path / "line.png")
        (axes,) = line_pictures.draw(points, options, drawn).axes
        title = axes.get_title()
        assert "finds" not in title
        assert f"{STEPS} steps at learning rate 0.2" in title
        labels = [line.get_label() for line in axes.lines]
        w, b = result.by_fit
        assert f"after {STEPS} steps: w = {w:.3g}, b = {b:.3g}" in labels
        w, b = result.smaller
        later = f"after {3 * STEPS}, the last {STEPS} at 0.02"
        assert f"{later}: w = {w:.3g}, b = {b:.3g}" in labels

    def test_only_the_finished_picture_is_left(self, result):
        files = list(result.picture.parent.iterdir())
        assert files == [result.picture]

    def test_file_that_is_not_finished_leaves_the_one_before(self, tmp_path):
        path = tmp_path / "picture.png"
        path.write_text("before")
        with pytest.raises(RuntimeError), complete_file(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError
        assert [path.read_text()] == [p.read_text() for p in tmp_path.iterdir()]

    def test_file_that_cannot_be_written_is_named(self, tmp_path):
        path = tmp_path / "picture.png"
        path.mkdir()
        with pytest.raises(InputError, match="cannot write .*picture.png"):
            with complete_file(path) as unfinished:
                unfinished.write_text("whole")
        assert list(tmp_path.iterdir()) == [path]

    def test_log_has_every_step_once(self, points, result):
        steps, losses = read_scalars(result.log_folder, "step/loss")
        assert steps == list(range(1, 3 * STEPS + 1))
        residual = line_data.START.at(points.x) - points.y
        np.testing.assert_allclose(losses[0], np.mean(residual**2), rtol=1e-5)

    def test_log_has_both_learning_rates(self, result):
        _, rates = read_scalars(result.log_folder, "step/learning_rate")
        expected = np.float32([0.2] * 2 * STEPS + [0.02] * STEPS)
        np.testing.assert_array_equal(np.float32(rates), expected)

    def test_second_run_logs_to_a_folder_of_its_own(self, result, second_run):
        first, second = result.log_folder, second_run[0].log_folder
        assert (first.name, second.name) == ("run-1", "run-2")
        for run_folder in first, second:
            steps, _ = read_scalars(run_folder, "step/loss")
            assert len(steps) == 3 * STEPS


class TestTables:
    def test_diabetes_approaches_the_exact_line(self, tmp_path):
        rate = 0.05
        result, printed = run_and_read(
            arguments(tmp_path, "--data=diabetes", f"--learning-rate={rate}")
        )
        x, y = load_diabetes(scaled=False).data[:, 2], load_diabetes().target
        np.testing.assert_allclose(result.exact, np.polyfit(x, y, 1), rtol=1e-9)
        # Standardised, the curvature is 2 in each direction.
        start = line_data.Line(0.0, y.mean() - y.std())
        left = line_data.distance(result.longer, result.exact, x)
        expected = (1 - 2 * rate) ** (2 * STEPS)
        expected *= line_data.distance(start, result.exact, x)
        assert left == pytest.approx(expected, rel=1e-2)
        assert "The smaller one got less far" in printed
        assert result.picture.exists()

    def test_csv_file_is_fitted_in_its_own_units(self, table, capsys):
        rows = "".join(f"Ann,{h},{3 * h + 7}\n" for h in (100, 150, 175, 200))
        argv = table(b"\xef\xbb\xbfname, height ,weight\n" + rows.encode())
        result = example.main([*argv, "--learning-rate=0.1"])
        np.testing.assert_allclose(result.exact, [3.0, 7.0], rtol=1e-9)
        np.testing.assert_allclose(result.longer, [3.0, 7.0], rtol=1e-4)
        assert "table.csv, 4 rows: 'weight' from 'height'" in (
            capsys.readouterr().out
        )

    def test_constant_y_gives_a_flat_line(self, table):
        result = example.main(
            [*table(b"height,weight\n1,5\n2,5\n3,5\n"), "--steps=1"]
        )
        np.testing.assert_allclose(result.exact, [0.0, 5.0], atol=1e-12)

    def test_column_names_with_dollars_are_drawn(self, tmp_path):
        path = tmp_path / "dollars.csv"
        path.write_text("a ($),b ($\\q)\n1,1\n2,3\n")
        columns = "--x=a ($)", "--y=b ($\\q)"
        argv = arguments(tmp_path, f"--data={path}", *columns, "--steps=1")
        assert example.main(argv).picture.exists()


def tables(separator, *rows):
    """A file of rows of two cells."""
    lines = [separator.join(row) for row in (("height", "weight"), *rows)]
    return "\n".join(lines).encode()


GERMAN = tables(";", ("1,5", "1.234,50 €"), ("20,25", "2.000,25 €"))
AMERICAN = b'height,weight\n1.5,"$1,234.50"\n20.25,"$2,000.25"\n'
READ = {
    "semicolons": tables(";", ("1.5", "1234.50"), ("20.25", "2000.25")),
    "tabs": tables("\t", ("1.5", "1234.50"), ("20.25", "2000.25")),
    "bars": tables("|", ("1.5", "1234.50"), ("20.25", "2000.25")),
    "decimal commas": GERMAN,
    "decimal commas, tabs": GERMAN.replace(b";", b"\t"),
    "thousands points": tables(";", ("1,5", "1.234,5"), ("20,25", "2.000,25")),
    "dollars": AMERICAN,
    "quotes": b'"height","weight"\n"1.5","1234.5"\n"20.25","2000.25"\n',
    "mark": b"\xef\xbb\xbf" + GERMAN,
    "UTF-16": GERMAN.decode().encode("utf-16"),
    "line that names the separator": b"sep=;\r\n" + GERMAN,
    "empty rows": GERMAN + b"\n;\n\n;;\n",
    "commas at the end": b"height,weight,\n1.5,1234.5,\n20.25,2000.25,\n",
    "spaces": tables(";", ("1,5", "1 234,50"), ("20,25", "2 000,25")),
    "Swiss": tables(";", ("1.5", "1'234.50"), ("20.25", "2'000.25")),
    "percent": tables(";", ("1,5 %", "1234,50"), ("20,25%", "2000,25")),
    "Windows": GERMAN.replace(b"\n", b"\r\n"),
}


class TestTableFiles:
    @pytest.mark.parametrize("kind", READ)
    def test_what_spreadsheets_write_is_read(self, kind, tmp_path):
        path = tmp_path / "table.csv"
        path.write_bytes(READ[kind])
        data = line_data.read_csv(path, "height", "weight")
        np.testing.assert_array_equal(data.x, [1.5, 20.25])
        np.testing.assert_array_equal(data.y, [1234.5, 2000.25])

    def test_how_numbers_were_read_is_told(self, tmp_path):
        path = tmp_path / "table.csv"
        path.write_bytes(GERMAN)
        told = line_data.read_csv(path, "height", "weight").description
        assert told.endswith("as people write them: '1,5' is 1.5.")
        path.write_bytes(b"height,weight\n1,2\n3,4\n")
        told = line_data.read_csv(path, "height", "weight").description
        assert "as people write them" not in told

    @pytest.mark.parametrize(
        "weights, separator, expected",
        [
            (["1,234", "5,678"], ";", [1.234, 5.678]),
            (["1,234", "5,678,000"], ";", [1234, 5678000]),
            (["1.234", "5.678.000"], ";", [1234, 5678000]),
            (["1.234", "0.5"], ";", [1.234, 0.5]),
            (['"1,234"', '"5,678"'], ",", [1234, 5678]),
            (['"1,2"', '"5,678"'], ",", [1.2, 5.678]),
            (["1.234", "5.678"], ",", [1.234, 5.678]),
            (["1e3", "-2.5E-1"], ",", [1000, -0.25]),
        ],
    )
    def test_a_mark_is_read_by_what_the_other_cells_show(
        self, tmp_path, weights, separator, expected
    ):
        path = tmp_path / "table.csv"
        path.write_bytes(tables(separator, *zip("12", weights)))
        data = line_data.read_csv(path, "height", "weight")
        np.testing.assert_array_equal(data.y, expected)

    @pytest.mark.parametrize(
        "content, said",
        [
            (tables(";", ("1", "1.234"), ("2", "5.678")), "two numbers"),
            (tables("\t", ("1", "1,234"), ("2", "5,678")), "two numbers"),
            (tables(";", ("1,5", "2.5"), ("2", "3")), "two numbers"),
            (tables(";", ("1", "n/a"), ("2", "3"), ("4", "")), "1 of the 2"),
            (
                tables(",", ("2020-01-31", "1"), ("2020-02-29", "2")),
                "nor has any other row. If these are dates",
            ),
            (tables(",", ("big", "1"), ("small", "2")), "nor has any other"),
            (b"1;2\n3;4\n", "no names of columns"),
            (b"PK\x03\x04...", "a spreadsheet or an archive"),
            (b"height\n1\n2\n", "no column 'weight'. Its columns: height"),
            (b"size;age\n1;2\n", "separated by semicolons): size, age"),
            (b"height;weight\n1;2;3\n4;5;6\n", "has 3 cells"),
            ("height,weight\n1,2".encode("utf-16-le"), "not text in UTF-8"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, tmp_path, content, said):
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            line_data.read_csv(path, "height", "weight")
        assert said in str(caught.value)
        assert str(path) in str(caught.value)


class TestInputErrors:
    @staticmethod
    def message(argv, folder, capsys):
        """The one line that is said when `argv` cannot be used."""
        assert run(lambda: example.main(argv)) == 2
        assert not (folder / "pictures").exists()
        assert not (folder / "logs").exists()
        printed = capsys.readouterr()
        assert printed.out == ""
        assert re.fullmatch(r"error: [^\n]+\.\n", printed.err)
        return printed.err

    @pytest.mark.parametrize(
        "content, said",
        [
            (b"", "is empty. Its first line must name the columns"),
            (b"\n\n", "is empty"),
            (b"height,weight\n", "has 0 rows of data"),
            (b"height,weight\n1,2\n", "has 1 row of data"),
            (b"height,size\n1,2\n3,4\n", "no column 'weight'. Its columns"),
            (b"weight,weight,height\n1,2,3\n4,5,6\n", "more than one column"),
            (b"height,weight\n1,2\n3\n", "line 3, has 1 cells"),
            (b"height,weight\n1,2\n3,4,5\n", "line 3, has 3 cells"),
            (b"height,weight\n1,2\ntall,4\n", "'height' has 'tall'"),
            (b"height,weight\n1,2\n3,\n", "'weight' has ''"),
            (b"height,weight\nnan,2\n3,4\n", "line 2: column 'height'"),
            (b"height,weight\n1,NaN\n3,4\n", "'weight' has 'NaN'"),
            (b"height,weight\n1,inf\n3,4\n", "'weight' has 'inf'"),
            (b"height,weight\n3,1\n3,2\n", "'height' is 3 in every row"),
            (b"height,weight\n1e308,1\n-1e308,2\n", "too large"),
            (b"height,weight\n1,1\n2,1e200\n", "too large"),
            (b"height,weight\n1,0\n2,1e-200\n", "too close together"),
            (b"height,weight\n\xff,1\n2,2\n", "is not text in UTF-8"),
            (b'height,weight\n"1,2\n', "is not CSV"),
        ],
    )
    def test_unusable_file_is_named(
        self, table, tmp_path, capsys, content, said
    ):
        message = self.message(table(content), tmp_path, capsys)
        assert str(tmp_path / "table.csv") in message
        assert said in message

    @pytest.mark.parametrize("name", ["missing.csv", "a" * 300, "."])
    def test_file_that_cannot_be_read_is_named(self, tmp_path, capsys, name):
        path = tmp_path / name
        columns = "--x=height", "--y=weight"
        argv = arguments(tmp_path, f"--data={path}", *columns)
        message = self.message(argv, tmp_path, capsys)
        assert f"cannot read {path}: " in message
        assert "Give --data the path of a CSV file" in message

    def test_file_without_permission_is_named(
        self, table, tmp_path, capsys, monkeypatch
    ):
        # The system's own refusal: whoever runs the tests may read all files.
        def refuse(*args, **kwargs):
            raise PermissionError(13, "Permission denied")

        argv = table(b"height,weight\n1,2\n3,4\n")
        monkeypatch.setattr(table_file, "open", refuse, raising=False)
        message = self.message(argv, tmp_path, capsys)
        assert f"cannot read {tmp_path / 'table.csv'}: Permission" in message

    def test_csv_file_needs_names_of_columns(self, table, tmp_path, capsys):
        argv = table(b"height,weight\n1,2\n3,4\n")
        argv.remove("--y=weight")
        message = self.message(argv, tmp_path, capsys)
        assert "needs --y, the name of a column. Its columns: height" in message

    @pytest.mark.parametrize("data", ["points", "diabetes"])
    def test_columns_are_for_csv_files_only(self, tmp_path, capsys, data):
        argv = arguments(tmp_path, f"--data={data}", "--x=height")
        message = self.message(argv, tmp_path, capsys)
        assert "--x and --y name columns of a CSV file" in message

    def test_smaller_learning_rate_must_be_smaller(self, tmp_path, capsys):
        argv = arguments(tmp_path, "--smaller-learning-rate=0.3")
        message = self.message(argv, tmp_path, capsys)
        assert "must be smaller than --learning-rate" in message

    def test_folder_that_cannot_be_made_is_named(self, tmp_path):
        (tmp_path / "pictures").write_text("a file")
        with pytest.raises(InputError, match="cannot make the folder"):
            example.main(arguments(tmp_path))

    @pytest.mark.parametrize(
        "option",
        ["--steps=0", "--steps=1.5", "--learning-rate=-1", "--seed=-1"]
        + ["--learning-rate=nan", "--learning-rate=inf", "--learning-rate=x"],
    )
    def test_option_out_of_range_is_refused(self, option, tmp_path, capsys):
        with pytest.raises(SystemExit) as exit:
            example.main(arguments(tmp_path, option))
        assert exit.value.code == 2
        name, received = option.split("=")
        message = capsys.readouterr().err
        assert f"argument {name}: must be " in message
        assert f"Received: '{received}'" in message


class TestScript:
    """The script as a user runs it, in a process of its own."""

    @staticmethod
    def run(folder, *argv):
        command = [sys.executable, example.__file__, *argv]
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False
        )

    def test_run_says_nothing_on_stderr(self, tmp_path):
        done = self.run(tmp_path, "--steps=1")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "output/linear_regression/line.png").exists()

    def test_wrong_file_ends_with_code_2_and_no_traceback(self, tmp_path):
        done = self.run(tmp_path, "--data=missing.csv")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: cannot read missing.csv: ")
        assert list(tmp_path.iterdir()) == []

    def test_help_names_every_option(self, tmp_path):
        done = self.run(tmp_path, "--help")
        assert done.returncode == 0
        for option in ("--data", "--x", "--steps", "--pictures", "--logs"):
            assert option in done.stdout
