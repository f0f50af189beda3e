"""What a `StepWriter` hands on is what `Telemetry` has."""

import keras
import numpy as np
import pandas
import pytest

import gdtrain
from gdtrain.writers import (
    AggregatingWriter,
    CSVWriter,
    MemoryWriter,
    MultiWriter,
)
from tests import models

X, Y = models.regression_data(45)


def network():
    model = models.network()
    model.compile("adam", "mse", run_eagerly=True)  # Soon begun
    return model


def fit(model, callbacks, **arguments):
    options = {"batch_size": 12, "epochs": 2, "verbose": 0}
    model.fit(X, Y, callbacks=callbacks, **options | arguments)


def assert_like_telemetry(table, telemetry):
    """Checks a table, whose empty cells are NaN."""
    assert list(table["step"]) == telemetry.steps.tolist()
    assert set(table.columns) - {"step"} == set(telemetry.names)
    for name in telemetry.names:
        np.testing.assert_array_equal(
            np.float32(table[name]), telemetry[name], name
        )


class Raise(keras.callbacks.Callback):
    """Raises after the third step."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise self.error


def test_csv_file_has_what_telemetry_has_over_two_fits(tmp_path):
    path, telemetry = tmp_path / "steps.csv", gdtrain.callbacks.Telemetry()
    writer = gdtrain.callbacks.StepWriter(CSVWriter(path))
    model = network()
    fit(model, [writer, telemetry])
    assert_like_telemetry(pandas.read_csv(path), telemetry)
    fit(model, [writer, telemetry])
    table = pandas.read_csv(path)
    assert_like_telemetry(table, telemetry)
    assert list(table["step"]) == list(range(1, 17))


def test_cadence_of_quantities_leaves_cells_empty(tmp_path):
    path = tmp_path / "steps.csv"
    quantities = ["loss", gdtrain.telemetry.GradientNorm().every(3)]
    telemetry = gdtrain.callbacks.Telemetry(quantities, every_steps=2)
    writer = gdtrain.callbacks.StepWriter(CSVWriter(path), quantities, 2)
    fit(network(), [telemetry, writer])
    table = pandas.read_csv(path)
    assert_like_telemetry(table, telemetry)
    known = table["gradient_norm"].notna()
    assert list(table["step"][known]) == [6]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken")])
def test_nothing_is_lost_when_training_ends_early(error, tmp_path):
    path, telemetry = tmp_path / "steps.csv", gdtrain.callbacks.Telemetry()
    writer = gdtrain.callbacks.StepWriter(CSVWriter(path))
    model = network()
    with pytest.raises(type(error)):
        fit(model, [writer, telemetry, Raise(error)])
    assert telemetry.steps.tolist() == [1, 2, 3]
    assert_like_telemetry(pandas.read_csv(path), telemetry)
    fit(model, [writer, telemetry])
    assert_like_telemetry(pandas.read_csv(path), telemetry)
    assert len(telemetry.steps) == 11


def test_several_writers_and_thinned_ones_get_the_same_steps(tmp_path):
    path, memory, means = tmp_path / "steps.csv", MemoryWriter(), MemoryWriter()
    writers = [CSVWriter(path), memory, AggregatingWriter(means, 3)]
    writer = gdtrain.callbacks.StepWriter(MultiWriter(writers))
    telemetry = gdtrain.callbacks.Telemetry()
    fit(network(), [writer, telemetry])
    assert_like_telemetry(pandas.read_csv(path), telemetry)
    assert means.steps.tolist() == [3, 6, 8]  # All but the last are whole.
    for name in telemetry.names:
        np.testing.assert_array_equal(memory[name], telemetry[name])
        parts = np.split(telemetry[name], [3, 6])
        for end, reduce in (("", np.mean), ("/min", min), ("/max", max)):
            wanted = [reduce(part) for part in parts]
            np.testing.assert_allclose(means[name + end], wanted, rtol=1e-6)


class Broken(MemoryWriter):
    """Cannot write."""

    def write(self, steps, names, values, measured=None):
        raise OSError(28, "No space left on device")


def test_writer_that_raises_is_reported_once_and_training_continues():
    writer, telemetry = Broken(), gdtrain.callbacks.Telemetry(["loss"])
    callback = gdtrain.callbacks.StepWriter(writer, ["loss"])
    with pytest.warns(UserWarning) as told:
        fit(network(), [callback, telemetry])
    (message,) = [str(one.message) for one in told]
    assert "the disk is full" in message
    assert len(telemetry.steps) == 8
