"""Pictures are of the model at the steps that they are shown at."""

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import gdtrain
from gdtrain.plots import FittedLine, Predictions
from tests import models
from tests.callbacks import reading
from tests.writers.test_tensorboard import read

X, Y = models.regression_data(45)


class Picture:
    """Notes how long the hidden weights were, and at which step.

    Args:
        broken: What raises: `"look"`, `"draw"` or nothing.
    """

    name = "picture"

    def __init__(self, broken=None):
        self.broken = broken
        self.norms = {}

    def look(self, model):
        if self.broken == "look" and self.norms:
            raise ValueError("broken look")
        weights = model.get_layer("hidden").get_weights()
        norm = np.sqrt(sum(np.sum(w**2) for w in weights))
        self.norms[int(model.optimizer.iterations.numpy())] = norm
        return norm

    def draw(self, seen):
        if self.broken == "draw":
            raise ValueError("broken draw")
        figure = Figure(figsize=(0.3, 0.2), dpi=100)
        figure.text(0, 0, f"{seen}")
        return figure


def trained(log_dir, picture, compiled=None, observers=(), **arguments):
    """A network that was trained while pictures were taken."""
    model = models.network()
    options = {"jit_compile": False} | (compiled or {})
    model.compile("sgd", "mse", **options)
    callbacks = [
        gdtrain.callbacks.TensorBoard(log_dir, ["loss"], pictures=[picture]),
        *observers,
    ]
    options = {"batch_size": 10, "verbose": 0, "callbacks": callbacks}
    model.fit(X, Y, **options | arguments)
    return model


def steps_of_pictures(log_dir, name="picture"):
    return [step for step, _ in reading.tensors(log_dir)[name]]


THOUSAND = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


@pytest.mark.mostly_long(
    "compiled1-arguments1-steps1", "compiled3-arguments3-steps3"
)
@pytest.mark.parametrize(
    "compiled, arguments, steps",
    [
        ({}, {"epochs": 6}, [0, 1, 2, 5, 10, 20, 30]),
        ({}, {"epochs": 10**3, "batch_size": 45}, THOUSAND),
        (
            {"jit_compile": True},
            {"epochs": 10**3, "batch_size": 45},
            THOUSAND,
        ),
        ({"run_eagerly": True}, {}, [0, 1, 2, 5]),
    ],
)
def test_pictures_are_of_the_model_at_their_step(
    compiled, arguments, steps, tmp_path
):
    picture = Picture()
    telemetry = gdtrain.callbacks.Telemetry(["weight_norm"])
    trained(tmp_path, picture, compiled, [telemetry], **arguments)
    assert list(picture.norms) == steps == steps_of_pictures(tmp_path)
    norms = telemetry["weight_norm/hidden"]
    np.testing.assert_allclose(
        list(picture.norms.values())[1:],
        [norms[step - 1] for step in steps[1:]],
        rtol=1e-6,
    )
    assert len(np.unique(norms[:20])) == len(norms[:20])  # Steps differ.


class Batches(keras.callbacks.Callback):
    """Notes the batches that it is told of."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_train_batch_end(self, batch, logs=None):
        self.told.append(batch)


def test_pictures_leave_executions_of_several_steps_whole(tmp_path):
    picture, batches = Picture(), Batches()
    trained(
        tmp_path,
        picture,
        {"steps_per_execution": 4},
        [batches],
        batch_size=2,  # 23 steps
    )
    assert batches.told == [3, 7, 11, 15, 19, 23]  # The last as in Keras
    # The first end of an execution at or after 1, 2, 5, 10 and 20
    assert list(picture.norms) == [0, 4, 8, 12, 20, 23]


def test_pictures_leave_training_bit_equal(tmp_path):
    observed = trained(tmp_path / "with", Picture(), epochs=5)
    alone = models.network()
    alone.compile("sgd", "mse", jit_compile=False)
    alone.fit(X, Y, batch_size=10, epochs=5, verbose=0)
    for one, other in zip(
        observed.get_weights(), alone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_picture_is_drawn_once_between_two_fits(tmp_path):
    model, picture = models.network(), Picture()
    model.compile("sgd", "mse", jit_compile=False)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss"], pictures=[picture]
    )
    for first in (0, 1):
        model.fit(
            X,
            Y,
            batch_size=15,
            initial_epoch=first,
            epochs=first + 1,
            verbose=0,
            callbacks=[tensorboard],
        )
    assert steps_of_pictures(tmp_path) == [0, 1, 2, 3, 5, 6]


def test_picture_is_a_file_of_the_size_it_says(tmp_path):
    trained(tmp_path, Picture())
    _, strings = reading.tensors(tmp_path)["picture"][0]
    width, height, png = strings.tolist()
    assert (width, height) == (b"30", b"20")
    assert png.startswith(b"\x89PNG")
    assert png[16:24] == bytes([0, 0, 0, 30, 0, 0, 0, 20])


def test_look_that_raises_loses_the_picture_alone(tmp_path):
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    with pytest.warns(UserWarning) as told:
        trained(tmp_path, Picture("look"), {}, [telemetry])
    (message,) = [str(one.message) for one in told]
    assert "'picture' cannot be drawn: ValueError: broken look" in message
    assert len(read(tmp_path)["step/loss"]) == 5
    assert telemetry.steps.tolist() == [1, 2, 3, 4, 5]
    assert steps_of_pictures(tmp_path) == [0]


def test_picture_that_raises_now_and_then_is_drawn_at_other_steps(tmp_path):
    class Restless(Picture):
        def draw(self, seen):
            if len(self.norms) % 2:  # At steps 0 and 2 of 0, 1, 2, 5
                raise RuntimeError("It is not the time.")
            return super().draw(seen)

        def look(self, model):
            tensorboard.wait()  # One after the other
            return super().look(model)

    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss"], pictures=[Restless()]
    )
    model = models.network()
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.warns(UserWarning) as told:
        model.fit(X, Y, batch_size=10, verbose=0, callbacks=[tensorboard])
    assert steps_of_pictures(tmp_path) == [1, 5]
    (message,) = [str(one.message) for one in told]
    assert "RuntimeError: It is not the time. It is tried again" in message


def test_draw_that_raises_is_reported_once_and_all_else_continues(tmp_path):
    other = FittedLine([0.0, 1.0], [0.0, 1.0])
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, name="hidden")]
    )
    model.compile("sgd", "mse", jit_compile=False)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss"], pictures=[Picture("draw"), other]
    )
    x, y = models.regression_data(12, features=1)
    with pytest.warns(UserWarning) as told:
        model.fit(x, y, batch_size=1, verbose=0, callbacks=[tensorboard])
    (message,) = [str(one.message) for one in told]
    assert "'picture' cannot be drawn: ValueError: broken draw" in message
    assert len(read(tmp_path)["step/loss"]) == 12
    assert "picture" not in reading.tensors(tmp_path)
    steps = steps_of_pictures(tmp_path, "fitted_line")
    assert steps == [0, 1, 2, 5, 10, 12]


def test_pictures_of_plots_are_taken_through_fit(tmp_path):
    x, y = models.classification_data(16)
    images = np.repeat(x[:, :, None], 4, 2)
    model = gdtrain.Sequential(
        [
            keras.Input([4, 4]),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="classes"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss"], pictures=[Predictions(images[:4], y[:4])]
    )
    model.fit(images, y, batch_size=4, verbose=0, callbacks=[tensorboard])
    points = reading.tensors(tmp_path)["predictions"]
    assert [step for step, _ in points] == [0, 1, 2, 4]
    pngs = [strings[2] for _, strings in points]
    assert all(png.startswith(b"\x89PNG") for png in pngs)
    assert len(set(pngs)) == 4  # Each step looks different.
