"""Each quantity against a slow and obvious twin in NumPy, float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.telemetry import measurement
from gdtrain.telemetry.record import Record
from tests import models

STEPS = 6


def twin_of_training():
    """What a 3-4-1 network and momentum do, by hand: a dict by name."""
    model = models.network()
    x, y = models.regression_data(STEPS * 4)
    w1, b1, w2, b2 = (w.astype("float64") for w in model.get_weights())
    weights = [w1, b1, w2, b2]
    layers = ["hidden", "hidden", "output", "output"]
    velocities = [np.zeros_like(w) for w in weights]
    twin: dict = {}

    def put(name, value):
        twin.setdefault(name, []).append(value)

    def norm(tensors, layer=None):
        chosen = [
            t
            for t, of in zip(tensors, layers, strict=True)
            if layer in (None, of)
        ]
        return np.sqrt(sum(np.sum(t**2) for t in chosen))

    for step in range(STEPS):
        xb, yb = x[4 * step : 4 * step + 4], y[4 * step : 4 * step + 4]
        w1, b1, w2, b2 = weights
        hidden = np.tanh(xb @ w1 + b1)
        error = hidden @ w2 + b2 - yb
        back = 2 * error / len(xb)
        back_hidden = (back @ w2.T) * (1 - hidden**2)
        gradients = [
            xb.T @ back_hidden,
            back_hidden.sum(0),
            hidden.T @ back,
            back.sum(0),
        ]
        rate = 0.1 * 0.5 ** (step / 3)
        velocities = [
            0.9 * v - rate * g
            for v, g in zip(velocities, gradients, strict=True)
        ]
        put("loss", np.mean(error**2))
        put("learning_rate", rate)
        put("gradient_norm", norm(gradients))
        put("nonfinite_count", 0)
        before = weights
        weights = [w + v for w, v in zip(weights, velocities, strict=True)]
        for layer in ("hidden", "output"):
            put(f"gradient_norm/{layer}", norm(gradients, layer))
            put(f"weight_norm/{layer}", norm(weights, layer))
            put(
                f"update_ratio/{layer}",
                norm(velocities, layer) / norm(before, layer),
            )
    return twin


def test_standard_quantities_are_those_of_their_twin():
    model = models.network()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.compile(
        gdtrain.GradientDescent(schedule, momentum=0.9),
        "mse",
        global_clipnorm=1e6,  # Never reached: norms are from before the clip
    )
    x, y = models.regression_data(STEPS * 4)
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(
        x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    twin = twin_of_training()
    assert set(telemetry.names) == set(twin)
    for name, values in twin.items():
        np.testing.assert_allclose(
            telemetry[name], values, rtol=1e-5, err_msg=name
        )


def test_gradient_norm_is_from_before_the_clip():
    norms = []
    for clip in (None, 0.01):
        model = models.network()
        model.compile("sgd", "mse", global_clipnorm=clip)
        telemetry = gdtrain.callbacks.Telemetry(["gradient_norm"])
        x, y = models.regression_data(4)
        model.fit(x, y, verbose=0, callbacks=[telemetry])
        norms.append(telemetry["gradient_norm"][0])
    assert norms[0] == norms[1] > 0.1


def record(**changes):
    """A record of two weights of two layers, with some of it changed."""
    whole = {
        "loss": tf.constant(2.0),
        "learning_rates": {"": tf.constant(0.5)},
        "gradients": [tf.constant([3.0, 4.0]), tf.constant(12.0)],
        "weights_before": [tf.constant([1.0, 0.0]), tf.constant(0.0)],
        "weights_after": [tf.constant([1.0, 2.0]), tf.constant(5.0)],
        "layers": ["a", "b"],
    }
    return Record(**{**whole, **changes})


def measured(quantity, **changes):
    labels, vector = measurement.measure([quantity], record(**changes))
    return {label.name: float(vector[label.index]) for label in labels}


def test_gradient_norm_of_whole_and_layers():
    assert measured(gdtrain.telemetry.GradientNorm()) == {
        "gradient_norm": 13.0,
        "gradient_norm/a": 5.0,
        "gradient_norm/b": 12.0,
    }


def test_gradient_norm_of_zero_gradient_is_zero():
    zeros = [tf.zeros([2]), tf.zeros([])]
    norms = measured(gdtrain.telemetry.GradientNorm(), gradients=zeros)
    assert set(norms.values()) == {0.0}


def test_update_ratio_of_weights_that_are_zero():
    ratios = measured(gdtrain.telemetry.UpdateRatio())
    assert ratios == {"update_ratio/a": 2.0, "update_ratio/b": np.inf}
    still = measured(
        gdtrain.telemetry.UpdateRatio(),
        weights_after=[tf.constant([1.0, 0.0]), tf.constant(0.0)],
    )
    assert still["update_ratio/a"] == 0.0
    assert np.isnan(still["update_ratio/b"])


def test_nonfinite_count_counts_entries_and_the_loss():
    gradients = [tf.constant([np.nan, np.inf]), tf.constant(-np.inf)]
    count = measured(
        gdtrain.telemetry.NonfiniteCount(),
        gradients=gradients,
        loss=tf.constant(np.nan),
    )
    assert count == {"nonfinite_count": 4.0}


def test_norms_do_not_overflow_in_half_precision():
    large = [tf.constant([300.0] * 4, tf.float16), tf.constant(0.0)]
    norms = measured(gdtrain.telemetry.GradientNorm(), gradients=large)
    assert norms["gradient_norm"] == 600.0


@pytest.mark.parametrize("size", [1e-18, 1.0, 1e20, 1e37])
def test_norms_neither_overflow_nor_underflow_in_single_precision(size):
    large = [tf.constant([3.0, 4.0]) * size, tf.constant(12.0) * size]
    zeros = [tf.zeros([2]), tf.zeros([])]
    whole = record(gradients=large, weights_before=large, weights_after=zeros)
    quantities = [
        gdtrain.telemetry.Loss(),
        gdtrain.telemetry.GradientNorm(),
        gdtrain.telemetry.NonfiniteCount(),
        gdtrain.telemetry.UpdateNorm(),
    ]
    labels, vector = measurement.measure(quantities, whole)
    found = {one.name: float(vector[one.index]) for one in labels}
    expected = {
        "loss": 2,
        "gradient_norm": 13 * size,
        "gradient_norm/a": 5 * size,
        "gradient_norm/b": 12 * size,
        "nonfinite_count": 0,
        "update_norm": 13 * size,
        "update_norm/a": 5 * size,
        "update_norm/b": 12 * size,
    }
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-6, abs=0)


@pytest.mark.parametrize("size", [1e-18, 1.0, 1e18])
def test_ratio_of_an_update_that_takes_all_is_one_at_any_size(size):
    """Of weights whose squares float32 holds."""
    weights = [tf.constant([3.0, 4.0]) * size, tf.constant(12.0) * size]
    zeros = [tf.zeros([2]), tf.zeros([])]
    found = measured(
        gdtrain.telemetry.UpdateRatio(),
        weights_before=weights,
        weights_after=zeros,
    )
    assert found == pytest.approx(
        {"update_ratio/a": 1, "update_ratio/b": 1}, rel=1e-5
    )


def test_norm_of_one_layer_does_not_hide_that_of_another():
    norms = measured(
        gdtrain.telemetry.GradientNorm(),
        gradients=[tf.constant([3e20, 4e20]), tf.constant(1e-25)],
    )
    assert norms == pytest.approx(
        {
            "gradient_norm": 5e20,
            "gradient_norm/a": 5e20,
            "gradient_norm/b": 1e-25,
        },
        rel=1e-6,
        abs=0,
    )


def test_norm_of_what_is_not_finite_is_not_either():
    norms = measured(
        gdtrain.telemetry.GradientNorm(),
        gradients=[tf.constant([3.0, 4.0]), tf.constant(np.inf)],
    )
    assert norms == {
        "gradient_norm": np.inf,
        "gradient_norm/a": 5,
        "gradient_norm/b": np.inf,
    }


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("size", [1e-16, 1e25])
def test_quantities_of_a_gradient_whose_square_leaves_float32(
    size, jit_compile
):
    class Plane(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(shape=[2], name="w", initializer="ones")

        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.w * tf.constant([3.0, -4.0]) * size)
            self.descend(tape, loss)
            return {"loss": loss}

    model = Plane()
    model.compile(gdtrain.GradientDescent(1 / size), jit_compile=jit_compile)
    telemetry = gdtrain.callbacks.Telemetry(
        ["gradient_norm", "gradient_cosine", "update_norm", "nonfinite_count"]
    )
    model.fit(np.zeros([3, 1]), batch_size=1, verbose=0, callbacks=[telemetry])
    np.testing.assert_allclose(
        telemetry["gradient_norm"] / size, [5, 5, 5], rtol=1e-5
    )
    np.testing.assert_allclose(telemetry["update_norm"], [5, 5, 5], rtol=1e-5)
    np.testing.assert_allclose(
        telemetry["gradient_cosine"], [np.nan, 1, 1], rtol=1e-5
    )
    assert telemetry["nonfinite_count"].tolist() == [0, 0, 0]


def test_repeated_rows_of_an_embedding_are_added_before_the_norm():
    model = gdtrain.Sequential(
        [keras.Input([2], dtype="int32"), keras.layers.Embedding(3, 1)]
    )
    model.compile("sgd", keras.losses.MeanAbsoluteError())
    telemetry = gdtrain.callbacks.Telemetry(["gradient_norm"])
    rows = np.zeros([1, 2], "int32")  # Row 0 twice: gradient -1/2 each
    model.fit(rows, np.ones([1, 2, 1]), verbose=0, callbacks=[telemetry])
    assert telemetry["gradient_norm"] == pytest.approx([1.0])
