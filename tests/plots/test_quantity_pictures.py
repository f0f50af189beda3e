"""Pictures of one quantity show all its columns."""

import numpy as np
import pytest

from gdtrain import plots
from gdtrain.telemetry import StepTable
from tests.plots.figures import legend

NAMES = ["loss", "gradient_norm", "gradient_norm/a", "update_ratio/a"]
VALUES = np.array([[4.0, 3.0, 2.0, 1.0], [8.0, 7.0, 6.0, 5.0]])
TABLE = StepTable([1, 2], NAMES, VALUES)


@pytest.mark.parametrize(
    "name, columns", [("loss", [0]), ("gradient_norm", [1, 2])]
)
def test_whole_model_and_layers_are_drawn(name, columns):
    axes = plots.quantity(TABLE, name).axes[0]
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == VALUES[:, columns].T.tolist()


def test_legend_names_layers():
    figure = plots.quantity(TABLE, "gradient_norm")
    assert legend(figure.axes[0]) == ["whole model", "a"]
    assert legend(plots.quantity(TABLE, "update_ratio").axes[0]) == ["a"]
    assert plots.quantity(TABLE, "loss").axes[0].get_legend() is None


def test_quantity_that_was_not_measured_is_an_error():
    with pytest.raises(KeyError, match="input_wait"):
        plots.quantity(TABLE, "input_wait")
