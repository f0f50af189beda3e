"""What is measured of updates, against the twin, in float64.

Float32 keeps 7 digits and loses one or two in sums and differences of a few
dozen numbers: a relative 1e-5 is their precision, and the tolerance.
"""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain import telemetry as quantities
from tests import models
from tests.telemetry import twin

STEPS = 5
WHOLE_AND_LAYERS = {"": None, "/hidden": "hidden", "/output": "output"}


def of_each_part(name, number):
    """`{name: number(layer)}` for the whole and each layer."""
    return {
        f"{name}{suffix}": number(layer)
        for suffix, layer in WHOLE_AND_LAYERS.items()
    }


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def expected(steps):
    """All that is measured of updates: a list of dicts, one a step."""
    befores = [None, *steps[:-1]]
    return [
        numbers_of(step, before, steps[0].before)
        for step, before in zip(steps, befores, strict=True)
    ]


def numbers_of(step, before, start):
    """What is measured of a step, after the step `before`; a dict."""
    moved = [a - b for a, b in zip(step.after, start, strict=True)]

    def turned(layer):
        if before is None:
            return np.nan
        return cosine(
            twin.of(step.gradient, layer), twin.of(before.gradient, layer)
        )

    return {
        "loss": step.loss,
        **of_each_part("gradient_norm", lambda k: twin.norm(step.gradient, k)),
        **of_each_part("update_norm", lambda k: twin.norm(step.update, k)),
        **of_each_part("gradient_cosine", turned),
        **of_each_part("distance_from_start", lambda k: twin.norm(moved, k)),
        **of_each_part(
            "predicted_loss_change",
            lambda k: twin.of(step.gradient, k) @ twin.of(step.update, k),
        ),
        "loss_change": step.loss_after - step.loss,
    }


def compiled(**arguments):
    model = models.network()
    model.compile(
        gdtrain.GradientDescent(0.1, momentum=0.9), "mse", **arguments
    )
    return model


def fit(model, x, y, batch, *callbacks):
    model.fit(
        x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=callbacks
    )


OF_UPDATES = [
    "loss",
    "gradient_norm",
    "update_norm",
    "gradient_cosine",
    "distance_from_start",
    "predicted_loss_change",
    "loss_change",
]


@pytest.mark.mostly_long("2")
@pytest.mark.parametrize("microbatches", [1, 2])
def test_quantities_of_updates_are_those_of_their_twin(microbatches):
    model = compiled(microbatches=microbatches)
    x, y = models.regression_data(STEPS * 5)  # 2 and 3 in a micro-batch
    steps = twin.train(model.get_weights(), x, y, batch=5)
    telemetry = gdtrain.callbacks.Telemetry(OF_UPDATES)
    fit(model, x, y, 5, telemetry)
    numbers = expected(steps)
    assert set(telemetry.names) == set(numbers[0])
    for name in numbers[0]:
        np.testing.assert_allclose(
            telemetry[name],
            [each[name] for each in numbers],
            rtol=1e-5,
            # A small difference of two losses, known to 7 digits each
            atol=1e-6 if name == "loss_change" else 0,
            err_msg=name,
        )


def test_loss_change_is_to_the_next_loss_of_the_same_batch():
    model = models.line(w=0.5)
    model.compile(gdtrain.GradientDescent(0.1), "mse")
    x, y = models.regression_data(8, features=1)
    telemetry = gdtrain.callbacks.Telemetry(["loss", "loss_change"])
    model.fit(x, y, batch_size=8, epochs=6, verbose=0, callbacks=[telemetry])
    np.testing.assert_allclose(
        telemetry["loss_change"][:-1], np.diff(telemetry["loss"]), atol=1e-6
    )
    assert telemetry["loss_change"][0] < -0.1


def of_every_kind():
    """A network with dropout, moving averages and a loss of its own."""
    return models.network(
        gdtrain.Sequential,
        keras.layers.Dropout(0.5, seed=3),
        keras.layers.BatchNormalization(),
        keras.layers.ActivityRegularization(l2=0.1),
    )


WAYS = {
    "graph": {"jit_compile": False},
    "eager, microbatches": {"run_eagerly": True, "microbatches": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_loss_does_not_change_where_weights_do_not(way):
    """So the repeated forward pass drops the same units."""
    model = of_every_kind()
    model.compile(keras.optimizers.SGD(0.0), "mse", **WAYS[way])
    x, y = models.regression_data(20)
    telemetry = gdtrain.callbacks.Telemetry(["loss_change"])
    fit(model, x, y, 5, telemetry)
    assert telemetry["loss_change"].tolist() == [0.0] * 4


def test_loss_change_is_that_of_the_same_dropout_by_hand():
    model = of_every_kind()
    model.compile(gdtrain.GradientDescent(0.05), "mse", run_eagerly=True)
    x, y = models.regression_data(8)
    state = model.get_weights()
    seeds = [v.numpy() for v in model.non_trainable_variables]
    telemetry = gdtrain.callbacks.Telemetry(["loss_change", "loss"])
    fit(model, x, y, 8, telemetry)
    after = [w.numpy() for w in model.trainable_variables]

    def loss():
        for variable, value in zip(
            model.non_trainable_variables, seeds, strict=True
        ):
            variable.assign(value)
        prediction = model(x, training=True)
        return float(model.compute_loss(x, y, prediction, training=True))

    model.set_weights(state)
    before = loss()
    for variable, value in zip(model.trainable_variables, after, strict=True):
        variable.assign(value)
    assert before == pytest.approx(telemetry["loss"][0], rel=1e-5)
    change = loss() - before
    assert change == pytest.approx(telemetry["loss_change"][0], rel=1e-4)


def test_distance_goes_on_over_a_second_fit():
    model = compiled()
    x, y = models.regression_data(20)
    start = model.get_weights()
    telemetry = gdtrain.callbacks.Telemetry(["distance_from_start"])
    fit(model, x, y, 5, telemetry)
    fit(model, x, y, 5)  # Seen by nobody
    fit(model, x, y, 5, telemetry)
    assert telemetry.steps.tolist() == [1, 2, 3, 4, 9, 10, 11, 12]
    moved = [a - b for a, b in zip(model.get_weights(), start, strict=True)]
    assert telemetry["distance_from_start"][-1] == pytest.approx(
        twin.norm(moved), rel=1e-5
    )


def test_distance_begins_again_for_other_weights():
    model = compiled(run_eagerly=True)
    x, y = models.regression_data(20)
    telemetry = gdtrain.callbacks.Telemetry(["distance_from_start"])
    fit(model, x, y, 5, telemetry)
    model.layers[0].trainable = False
    model.compile(gdtrain.GradientDescent(0.01), "mse", run_eagerly=True)
    start = model.layers[1].get_weights()
    fit(model, x, y, 20, telemetry)
    end = model.layers[1].get_weights()
    moved = np.sqrt(
        sum(np.sum((a - b) ** 2.0) for a, b in zip(end, start, strict=True))
    )
    assert telemetry["distance_from_start"][-1] == pytest.approx(
        moved, rel=1e-5
    )


def test_cosine_after_steps_that_were_not_measured_is_unknown():
    model = compiled()
    x, y = models.regression_data(20)
    telemetry = gdtrain.callbacks.Telemetry(["gradient_cosine"])
    fit(model, x, y, 5, telemetry)
    fit(model, x, y, 5, telemetry)  # Right after: known at once
    fit(model, x, y, 5)
    fit(model, x, y, 5, telemetry)
    unknown = np.isnan(telemetry["gradient_cosine"])
    assert telemetry.steps[unknown].tolist() == [1, 13]


def test_cosine_of_a_gradient_of_zero_is_unknown():
    model = models.line(w=0.0, b=0.0)
    model.compile("sgd", "mse")
    telemetry = gdtrain.callbacks.Telemetry(["gradient_cosine"])
    x = np.ones([8, 1], "float32")
    fit(model, x, 0 * x, 4, telemetry)
    assert np.isnan(telemetry["gradient_cosine"]).all()


def test_cosine_of_a_repeated_gradient_is_one():
    model = models.line()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    telemetry = gdtrain.callbacks.Telemetry(
        [quantities.GradientCosine().every(2)]
    )
    x, y = np.ones([2, 8, 1], "float32")
    fit(model, x, y, 2, telemetry)
    assert telemetry.steps.tolist() == [2, 4]
    assert telemetry["gradient_cosine"] == pytest.approx(1.0)
