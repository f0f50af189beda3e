"""The page "Gradient descent" has what was measured, the telling first."""

import re

import keras
import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2

import gdtrain
from gdtrain.callbacks.run_description import categories
from tests import models
from tests.callbacks import reading
from tests.writers.test_tensorboard import read

X, Y = models.regression_data(40)


def standard(*layers):
    """What is measured by default, of some layers."""
    names = ["loss", "learning_rate", "gradient_norm", "nonfinite_count"]
    return [(name, name) for name in names] + [
        (f"{quantity}/{layer}", quantity)
        for quantity in ("gradient_norm", "weight_norm", "update_ratio")
        for layer in layers
    ]


def titles(measured):
    return [
        (title, closed, [name for name, _ in charts])
        for title, closed, charts in categories(measured)
    ]


def test_metrics_of_the_step_stand_beside_the_loss():
    measured = [("accuracy", None), ("top_5", None), *standard("one", "two")]
    assert titles(measured) == [
        (
            "Gradient descent",
            False,
            ["loss", "accuracy", "top_5", "learning rate", "gradient norm"],
        ),
        ("Update ratio of each layer", False, ["one", "two"]),
        ("Gradient norm of each layer", True, ["one", "two"]),
        ("Weight norm of each layer", True, ["one", "two"]),
        ("More", True, ["numbers that are not finite"]),
    ]
    ((_, _, charts), *_) = categories(measured)
    assert dict(charts)["accuracy"] == [
        "step/accuracy$",
        "evaluation_accuracy_vs_iterations$",
    ]


def test_single_layer_has_no_page_of_its_own():
    (_, _, first), (more, closed, last) = titles(standard("line"))
    assert first == ["loss", "learning rate", "gradient norm", "update ratio"]
    assert (more, closed) == ("More", True)
    assert last == [
        "numbers that are not finite",
        "gradient norm",
        "weight norm",
    ]


def test_many_layers_are_closed():
    assert all(
        closed
        for title, closed, _ in titles(standard(*map(str, range(50))))
        if title.endswith("of each layer")
    )


def test_each_update_of_several_has_its_charts():
    measured = [
        (f"{update}/{name}", quantity)
        for update in ("generator", "critic/real")
        for name, quantity in standard("dense")
    ]
    ((_, _, charts), *_) = categories(measured)
    assert charts[:2] == [
        ("loss: generator", ["step/generator/loss$"]),
        ("loss: critic/real", ["step/critic/real/loss$"]),
    ]


def test_own_quantities_and_probes_have_charts():
    measured = [
        ("loss", "loss"),
        ("largest_gradient", "largest_gradient"),
        ("else", "named otherwise"),
        ("sharpness", None),
        ("stable_learning_rate", None),
        ("what_if/0.5", None),
        ("what_if/2", None),
    ]
    ((_, _, charts),) = categories(measured)
    assert charts == [
        ("loss", ["step/loss$", "evaluation_loss_vs_iterations$"]),
        ("learning rate", ["step/stable_learning_rate$"]),
        ("stability: sharpness", ["step/sharpness$"]),
        (
            "loss at multiples of the learning rate",
            [r"step/what_if/0\.5$", "step/what_if/2$"],
        ),
        ("largest gradient", ["step/largest_gradient$"]),
        ("else", ["step/else$"]),
    ]


class Classifier(gdtrain.Model):
    """Returns the accuracy of each batch beside its loss."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, name="a.b (c)")

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self.compute_loss(x, y, logits)
        self.descend(tape, loss)
        hits = tf.cast(tf.argmax(logits, 1), y.dtype) == y
        accuracy = tf.reduce_mean(tf.cast(hits, "float32"))
        return {"loss": loss, "accuracy": accuracy}


@pytest.mark.parametrize("quantities", ["standard", "minimal"])
def test_every_chart_draws_a_curve_that_is_there(quantities, tmp_path):
    x, y = models.classification_data(40)
    model = Classifier()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path, quantities)
    model.fit(
        x,
        y,
        batch_size=10,
        verbose=0,
        validation_data=(x, y),
        callbacks=[tensorboard],
    )
    ((_, layout),) = reading.tensors(tmp_path)["custom_scalars__config__"]
    page = layout_pb2.Layout.FromString(layout.item())
    tags = {*read(tmp_path), *read(tmp_path / "validation")}
    for category in page.category:
        for chart in category.chart:
            for tag in chart.multiline.tag:
                assert any(re.match(tag, one) for one in tags), tag
    first = [chart.title for chart in page.category[0].chart]
    assert first[:3] == ["loss", "accuracy", "learning rate"]
