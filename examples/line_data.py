"""Lines, and the points to fit one to: made, or read from a table."""

import dataclasses
import math
import pathlib
import re
from typing import NamedTuple

import number_format
import numpy as np
import table_file
from _console import InputError


class Line(NamedTuple):
    """y = w x + b."""

    w: float
    b: float

    def at(self, x):
        """Its y at `x`."""
        return self.w * x + self.b


START = Line(w=0.0, b=-1.0)
TRUTH = Line(w=0.1, b=0.5)


def least_squares(x, y):
    """The exact `Line` of least mean squared error."""
    centred = x - x.mean()
    w = (centred @ (y - y.mean())) / (centred @ centred)
    return Line(float(w), float(y.mean() - w * x.mean()))


def curvature(x):
    """Eigenvalues of 2 X'X / n, the loss's Hessian: the flat, the steep."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    return np.linalg.eigvalsh(2 * design.T @ design / len(x))


def distance(line, other, x):
    """Root mean square, over the points, between two lines.

    Squared, it is how much larger the loss is than the exact line's.
    """
    difference = Line(line.w - other.w, line.b - other.b)
    return float(np.sqrt(np.mean(difference.at(x) ** 2)))


class Scale(NamedTuple):
    """value = mean + spread x scaled value."""

    mean: float = 0.0
    spread: float = 1.0


class Units(NamedTuple):
    """How large a difference matters in w, in b and in the loss."""

    w: float
    b: float
    loss: float


@dataclasses.dataclass
class Data:
    """Points to fit: arrays `[n]`, float64, with how to scale and call them."""

    x: np.ndarray
    y: np.ndarray
    x_name: str
    y_name: str
    title: str
    description: str
    truth: Line = None
    x_scale: Scale = Scale()
    y_scale: Scale = Scale()

    @property
    def scaled(self):
        """The x and y to descend on."""
        return (
            (self.x - self.x_scale.mean) / self.x_scale.spread,
            (self.y - self.y_scale.mean) / self.y_scale.spread,
        )

    def unscaled(self, line):
        """The same line, from scaled units to those of the data."""
        w = line.w * self.y_scale.spread / self.x_scale.spread
        at_zero = self.y_scale.mean + self.y_scale.spread * line.b
        return Line(w, at_zero - w * self.x_scale.mean)

    @property
    def units(self):
        """The `Units` of the data."""
        spread = self.y.std() or 1.0
        return Units(spread / self.x.std(), spread, spread**2)


def make_points(seed):
    """Makes points of a known line.

    Their x is the same for each seed, and so is the curvature: the default
    learning rate, 99.4% of the stable limit, bounces visibly but dies away.
    """
    noise = 0.1
    x = np.linspace(-1.0, 4.0, 60)
    y = TRUTH.at(x) + np.random.default_rng(seed).normal(0.0, noise, x.shape)
    line = f"y = {TRUTH.w:g} x + {TRUTH.b:g}"
    description = (
        f"{len(x)} points of {line}, with noise of standard deviation "
        f"{noise:g} (seed {seed})."
    )
    title = f"Points of {line}, with noise"
    return Data(x, y, "x", "y", title, description, TRUTH)


def read_diabetes():
    """Reads scikit-learn's table of 442 patients; it is part of the package.

    Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression", 2004.
    """
    try:
        from sklearn.datasets import load_diabetes
    except ImportError as error:
        raise InputError(
            "--data diabetes needs scikit-learn. Install it with "
            "`pip install scikit-learn`."
        ) from error
    table = load_diabetes(scaled=False)
    x = table.data[:, table.feature_names.index("bmi")]
    return standardised(
        x,
        table.target,
        x_name="body-mass index",
        y_name="disease progression after a year",
        source="diabetes",
    )


def standardised(x, y, *, x_name, y_name, source):
    """Makes the `Data` of a real table.

    Raises:
        InputError: if there are too few rows, x is constant, or the numbers
            are too far apart for float64.
    """
    if len(x) < 2:
        raise InputError(
            f"{source} has {len(x)} row{'' if len(x) == 1 else 's'} of data; a "
            "line needs two or more."
        )
    if x.min() == x.max():
        raise InputError(
            f"{source}: column '{x_name}' is {x[0]:g} in every row, which "
            "leaves the slope open. Name another column with --x."
        )
    with np.errstate(all="ignore"):
        x_scale = Scale(x.mean(), x.std())
        y_scale = Scale(y.mean(), y.std() if y.min() < y.max() else 1.0)
    # So that squares of them are numbers, too.
    if not all(1e-99 < scale.spread < 1e99 for scale in (x_scale, y_scale)):
        raise InputError(
            f"{source}: the numbers are too large or too close together to "
            "compute their spread. Change their unit."
        )
    description = (
        f"{source}, {len(x)} rows: '{y_name}' from '{x_name}'.\n"
        "Both are shifted and scaled to mean 0 and standard deviation 1 for "
        "the descent,\nso that no direction is steeper than another and one "
        "learning rate suits any\ntable. Printed are w, b and loss in the "
        "table's own units. The start, w = 0 and\nb = -1, is a flat line one "
        "standard deviation below the mean."
    )
    title = f"{pathlib.Path(source).name}: {y_name} from {x_name}"
    return Data(
        x,
        y,
        x_name,
        y_name,
        title,
        description,
        x_scale=x_scale,
        y_scale=y_scale,
    )


def read_csv(path, x_name, y_name):
    """Reads two columns of a CSV file.

    Raises:
        InputError: if the file cannot be read or does not have the columns.
    """
    table = table_file.read(path)
    positions = [
        table.position(option, name)
        for option, name in (("--x", x_name), ("--y", y_name))
    ]
    columns = [table.column(position) for position in positions]
    try:
        form = number_format.format_of(sum(columns, []), table.separator)
    except number_format.Ambiguous as error:
        raise InputError(
            f"{path}: {str(error)!r} may mean two numbers: a comma or point "
            "may stand before decimals or between thousands. Save the file "
            "without marks between thousands."
        ) from error
    x, y = (
        read_column(table, name, cells, form)
        for name, cells in zip((x_name, y_name), columns)
    )
    data = standardised(x, y, x_name=x_name, y_name=y_name, source=path)
    data.description += how_read(columns, (x, y))
    return data


def read_column(table, name, cells, form):
    """The numbers in a column, an array `[n]`.

    Raises:
        InputError: if there is something else, with how much of it.
    """
    numbers = [form.number(cell) for cell in cells]
    wrong = [i for i, number in enumerate(numbers) if math.isnan(number)]
    if not wrong:
        return np.array(numbers, float)
    line = table.rows[wrong[0]][0]
    what = (
        f"{table.path}, line {line}: column '{name}' has "
        f"{cells[wrong[0]][:40]!r}, not a finite number"
    )
    if len(wrong) == 1:
        raise InputError(
            f"{what}. Remove the row, or name another column with --x or --y."
        )
    if len(wrong) < len(cells):
        raise InputError(
            f"{what}; nor have {len(wrong) - 1:,} of the {len(cells) - 1:,} "
            "other rows one. Remove these rows, or name another column with "
            "--x or --y."
        )
    advice = "Name another column with --x or --y."
    if all(re.search(r"\d\D\d+\D\d", cell) for cell in cells):
        advice = (
            "If these are dates or times, write them as numbers, such as "
            f"days since the first. {advice}"
        )
    raise InputError(f"{what}; nor has any other row. {advice}")


def how_read(columns, arrays):
    """Says how cells were read that Python would read as something else."""
    for cells, numbers in zip(columns, arrays):
        for cell, number in zip(cells, numbers):
            if not table_file.is_number(cell):
                return f"\nNumbers are read as people write them: {cell!r} " + (
                    f"is {number:.10g}."
                )
    return ""
