"""What cannot be written for TensorBoard is skipped alone."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.callbacks.epoch_scalars import number
from gdtrain.common.explained import without_more
from gdtrain.telemetry.quantity import BlockQuantity
from tests import models
from tests.callbacks import reading
from tests.writers.test_tensorboard import read, read_by_server

X, Y = models.regression_data(40)
STEPS = [1, 2, 3, 4]


class Wrapper(gdtrain.Model):
    """Trains a network within, as a GAN or a VAE does; has no `call`."""

    def __init__(self):
        super().__init__(name="wrapper")
        self.inner = models.network(keras.Sequential)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.inner(x) - y) ** 2)
        weights = self.inner.trainable_weights
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return {"own_loss": loss, "own_error": tf.sqrt(loss)}


class Broken(Wrapper):
    """A model that cannot be described."""

    def count_params(self):
        raise RuntimeError("broken count")

    def summary(self, *args, **kwargs):
        raise RuntimeError("broken\nsummary")

    def get_config(self):
        raise KeyError("broken configuration")


def sentences(told):
    """What was warned of; each is short, on one line, without a traceback.

    A line more may name a page.
    """
    messages = [without_more(str(one.message))[0] for one in told]
    for message in messages:
        assert "\n" not in message and "Traceback" not in message
        assert len(message) < 500
    return messages


def fit(log_dir, model=None, callbacks=(), **options):
    """Four steps, in a folder for TensorBoard."""
    if model is None:
        model = models.network()
        model.compile("sgd", "mse", run_eagerly=True)
    tensorboard = gdtrain.callbacks.TensorBoard(log_dir, **options)
    model.fit(
        X, Y, batch_size=10, verbose=0, callbacks=[*callbacks, tensorboard]
    )
    return model


def steps_of(log_dir, tag="step/loss"):
    return [step for step, _ in read(log_dir)[tag]]


def test_model_that_is_never_called_is_written_whole(tmp_path, recwarn):
    model = Wrapper()
    model.compile("sgd", run_eagerly=True)
    fit(tmp_path, model)
    assert sentences(recwarn) == []
    for tag in ("step/own_loss", "step/own_error"):
        assert steps_of(tmp_path, tag) == STEPS
    found = reading.hyperparameters(tmp_path)
    assert found["model_size"] == 21 and found["optimizer"] == "SGD"
    assert "network" in str(reading.tensors(tmp_path)["model/summary"])


def test_model_that_cannot_be_described_is_measured(tmp_path, recwarn):
    model = Broken()
    model.compile("sgd", run_eagerly=True)
    fit(tmp_path, model)
    assert steps_of(tmp_path, "step/own_loss") == STEPS
    then = "All else is written, and training continues."
    assert sentences(recwarn) == [
        "The text model/summary is skipped: RuntimeError: broken summary. "
        + then,
        "The text model/configuration is skipped: KeyError: 'broken "
        f"configuration'. {then}",
    ]
    assert reading.hyperparameters(tmp_path)["model_size"] == 21
    assert "custom_scalars__config__" in reading.tensors(tmp_path)


class BrokenSGD(keras.optimizers.SGD):
    """An optimizer without a configuration."""

    def get_config(self):
        raise RuntimeError("broken configuration")


class OddSGD(keras.optimizers.SGD):
    """An optimizer whose configuration no JSON can hold."""

    def get_config(self):
        odd = {
            "table": np.arange(6.0),
            "function": lambda: 1,
            7: 3,
            "tensor": tf.constant([1.0, 2.0]),
            "set": {1, 2},
            "nested": {"config": 5, "class_name": None},
            "huge": 10**400,
        }
        return super().get_config() | odd


@pytest.mark.parametrize(
    "optimizer, told",
    [
        (BrokenSGD, ["Settings of the optimizer are missing in HParams"]),
        (OddSGD, []),
    ],
)
def test_optimizer_that_cannot_be_described_is_skipped_alone(
    optimizer, told, tmp_path, recwarn
):
    model = models.network()
    model.compile(optimizer(0.125), "mse", run_eagerly=True)
    fit(tmp_path, model)
    assert steps_of(tmp_path) == STEPS
    messages = sentences(recwarn)
    assert [message.partition(":")[0] for message in messages] == told
    found = reading.hyperparameters(tmp_path)
    assert found["optimizer"] == optimizer.__name__
    assert found["batch_size"] == 10
    assert ("learning_rate" in found) == (not told)


class Unprintable:
    def __str__(self):
        raise RuntimeError("broken string")

    __repr__ = __str__


def test_each_hyperparameter_stands_for_itself(tmp_path, recwarn):
    hparams = {
        "list": [1, 2],
        "unprintable": Unprintable(),
        3: 4,
        "huge": 10**400,
        "nan": math.nan,
        "surrogate": "caf\udce9",
        "date": np.datetime64("2020"),
        "tensor": tf.constant(1.0),
        "half": np.float16(0.5),
        "none": None,
    }
    fit(tmp_path, hparams=hparams)
    assert sentences(recwarn) == [] and steps_of(tmp_path) == STEPS
    found = reading.hyperparameters(tmp_path)
    expected = {
        "list": "[1, 2]",
        "unprintable": "<Unprintable>",
        "3": 4.0,
        "huge": str(10**400),
        "nan": "nan",
        "surrogate": "caf?",
        "date": "2020-01-01",
        "half": 0.5,
        "batch_size": 10.0,
    }
    assert {name: found[name] for name in expected} == expected
    assert "none" not in found


class Logs(keras.callbacks.Callback):
    """Adds values to the logs of epochs."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.values)


def test_value_that_is_no_number_is_skipped_alone(tmp_path, recwarn):
    values = {
        "none": None,
        "text": "x",
        "many": np.ones(2),
        "unprintable": Unprintable(),
        "infinite": 10**400,
        "large": 1e300,
        "nan": math.nan,
        "bfloat16": tf.constant(1.5, tf.bfloat16),
        "caf\udce9": 2.0,
        "{0}": 3.0,
    }
    fit(tmp_path, callbacks=[Logs(values)])
    assert steps_of(tmp_path) == STEPS
    left_out = [message.partition(" ")[0] for message in sentences(recwarn)]
    assert left_out == [
        "epoch_none",
        "epoch_text",
        "epoch_many",
        "epoch_unprintable",
    ]
    found = read(tmp_path)
    assert set(found) & {f"epoch_{name}" for name in left_out} == set()
    for name, value in {
        "loss": found["epoch_loss"][0][1],
        "infinite": math.inf,
        "large": math.inf,
        "bfloat16": 1.5,
        "caf?": 2.0,
        "{0}": 3.0,
    }.items():
        assert found[f"epoch_{name}"] == [(0, value)]
    assert math.isnan(found["epoch_nan"][0][1])
    assert set(read_by_server(tmp_path)) >= set(found)


@pytest.mark.parametrize("value", [True, 3, np.float32(3), keras.Variable(3.0)])
def test_number_of_any_kind_is_a_number(value):
    assert number(value) == float(value)


class Odd(gdtrain.telemetry.Quantity):
    """Names as nobody expects them."""

    name = "odd"

    def measure(self, record):
        names = ["odd", "odd/a (b)[", "other", "caf\udce9"]
        return {name: record.loss for name in names}


def test_names_of_any_kind_are_written(tmp_path, recwarn):
    fit(tmp_path, quantities=["loss", Odd()])
    assert sentences(recwarn) == []
    for name in ("loss", "odd", "odd/a (b)[", "other", "caf?"):
        assert steps_of(tmp_path, f"step/{name}") == STEPS


class OfBlock(BlockQuantity):
    """A quantity of a block that is what it is given."""

    name = "of_block"

    def __init__(self, found):
        self.found = found

    def measure_block(self, examples, seconds):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    "found", [ValueError("broken"), None, {"of_block": None}, {"of_block": "x"}]
)
def test_quantity_that_raises_when_it_is_written_is_skipped(
    found, tmp_path, recwarn
):
    telemetry = gdtrain.callbacks.Telemetry()
    fit(
        tmp_path,
        callbacks=[telemetry],
        quantities=["loss", OfBlock(found)],
    )
    (message,) = sentences(recwarn)
    assert message.startswith("The quantity 'of_block' is skipped: ")
    assert steps_of(tmp_path) == telemetry.steps.tolist() == STEPS
    assert "step/of_block" not in read(tmp_path)


class Nameless:
    @property
    def name(self):
        raise RuntimeError("broken name")

    def look(self, model):
        return None

    def draw(self, seen):
        return None


@pytest.mark.parametrize(
    "picture, cause",
    [
        (Nameless(), "'Nameless' cannot be drawn: RuntimeError: broken name."),
        (object(), "'object' cannot be drawn: AttributeError: "),
        (
            gdtrain.plots.FittedLine([0.0, 1.0], [0.0, 1.0]),  # 1 feature of 3
            "'fitted_line' cannot be drawn: ",
        ),
    ],
)
def test_picture_that_cannot_be_is_skipped_alone(
    picture, cause, tmp_path, recwarn
):
    fit(tmp_path, pictures=[picture])
    (message,) = sentences(recwarn)
    assert cause in message
    assert steps_of(tmp_path) == STEPS


def test_run_that_cannot_be_written_leaves_the_other_alone(tmp_path, recwarn):
    (tmp_path / "validation").write_text("A file is in the way.")
    model = models.network()
    model.compile("sgd", "mse", run_eagerly=True)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    model.fit(
        X,
        Y,
        batch_size=10,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[tensorboard],
    )
    (message,) = sentences(recwarn)
    folder = str(tmp_path / "validation")
    assert message == (
        f"Writing has stopped in {folder!r}: FailedPreconditionError: {folder} "
        "is not a directory. Training continues without it; what was written "
        "before is kept."
    )
    assert steps_of(tmp_path) == STEPS


def test_fits_that_follow_each_other_are_all_written(tmp_path, recwarn):
    model = Wrapper()
    model.compile("sgd", run_eagerly=True)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    for _ in range(3):
        model.fit(X, Y, batch_size=10, verbose=0, callbacks=[tensorboard])
    assert sentences(recwarn) == []
    assert steps_of(tmp_path, "step/own_loss") == [*range(1, 13)]
    diagnoses = reading.tensors(tmp_path)["diagnosis"]
    assert [step for step, _ in diagnoses] == [4, 8, 12]
