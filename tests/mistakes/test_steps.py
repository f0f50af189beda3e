"""What a step takes and returns: mistakes are told while it is traced."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests.models import network, regression_data

X, Y = regression_data(40)
IMAGES = np.zeros([40, 8, 8, 1], "float32")


def own(returned, method="train_step", **compiled):
    """A model whose step returns what a function of its loss gives."""

    def step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        return returned(loss)

    made = network(type("Own", (gdtrain.Sequential,), {method: step}))
    made.compile("sgd", "mse", **{"jit_compile": False, **compiled})
    return made


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    "returned, text",
    [
        (lambda loss: None, "Received: nothing (None)"),
        (lambda loss: loss, "a tensor of shape () and dtype float32"),
        (lambda loss: 1.5, "1.5 of type float"),
        (lambda loss: [loss], "of type list"),
    ],
    ids=["nothing", "loss", "number", "list"],
)
def test_step_that_returns_no_dict_is_refused(returned, text, eager):
    for method, name in (("train_step", "fit"), ("test_step", "evaluate")):
        model = own(returned, method, run_eagerly=eager)
        with pytest.raises(TypeError) as caught:
            getattr(model, name)(X, Y, verbose=0)
        assert f"`{method}` must return a dict" in str(caught.value)
        assert text in str(caught.value)
        assert '`return {"loss": loss}`' in str(caught.value)


def test_train_on_batch_refuses_a_step_that_returns_no_dict():
    with pytest.raises(TypeError, match="must return a dict"):
        own(lambda loss: loss).train_on_batch(X, Y)


def test_step_that_takes_labels_apart_is_told_that_there_are_none():
    class Own(gdtrain.Sequential):
        def train_step(self, data):
            x, y = data
            return {}

    for eager in (False, True):
        model = network(Own)
        model.compile("sgd", run_eagerly=eager)
        with pytest.raises(ValueError, match="Received: x alone, of shape"):
            model.fit(X, verbose=0)


def image_model():
    model = gdtrain.Sequential(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)
    return model


def test_input_of_another_shape_is_told_by_what_the_model_takes():
    model = network()
    model.compile("sgd", "mse", jit_compile=False)
    for do in (
        lambda: model.fit(X[:, :2], Y, verbose=0),
        lambda: model.evaluate(X[:, :2], Y, verbose=0),
        lambda: model.predict(X[:, :2], verbose=0),
    ):
        with pytest.raises(ValueError, match=r"shape \(batch, 3\)") as caught:
            do()
        assert "x of shape (" in str(caught.value)
        assert ", 2) and dtype float32" in str(caught.value)


def test_example_without_a_batch_is_told_by_what_is_missing():
    model = image_model()
    for data in (
        (IMAGES[0], Y[:8]),
        (tf.data.Dataset.from_tensor_slices((IMAGES, Y)),),
    ):
        with pytest.raises(ValueError, match=r"x\[None\].*dataset.batch"):
            model.fit(*data, verbose=0)


def test_a_last_axis_of_1_may_be_left_out_as_in_keras():
    model = image_model()
    model.fit(IMAGES[..., 0], Y, verbose=0)
    assert model.optimizer.iterations.numpy() == 2


def test_text_for_numbers_is_explained():
    model = network()
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(tf.errors.UnimplementedError) as caught:
        model.fit(X.astype(str), Y, verbose=0)
    assert "must be numbers" in str(caught.value).split("\n")[0]


def test_error_of_the_users_own_is_not_replaced():
    class Own(gdtrain.Model):
        def call(self, x):
            raise ValueError("the user's own words")

    model = Own()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="the user's own words"):
        model.fit(X[:, :2], Y, verbose=0)
