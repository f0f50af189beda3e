"""Quantities that are measured now and then."""

import numpy as np
import pytest

import gdtrain
from gdtrain import telemetry as quantities
from gdtrain.telemetry import presets
from tests import models
from tests.telemetry.listening import Listener

# The noise scale is a mean over the times that it was measured, and says so.
BY_STEP = [
    quantity.every(1)
    for quantity in presets.resolve("full")
    if not isinstance(
        quantity,
        (
            quantities.BlockQuantity,
            quantities.GradientNoiseScale,
            quantities.GradientHistogram,
            quantities.WeightHistogram,
        ),
    )
]
WAYS = {
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "steps_per_execution": {"steps_per_execution": 4, "jit_compile": False},
}


def train(*callbacks, fits=2, **arguments):
    """Two epochs of 5 batches, the last of them uneven; and again."""
    model = models.network()
    model.compile("sgd", "mse", **arguments)
    x, y = models.regression_data(18)
    for _ in range(fits):
        model.fit(
            x,
            y,
            batch_size=4,
            epochs=2,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
    return model


@pytest.mark.mostly_long("eager", "steps_per_execution")
@pytest.mark.parametrize("way", WAYS)
def test_values_come_at_multiples_and_are_those_of_every_step(way):
    always, rare = (
        Listener(BY_STEP),
        Listener([quantity.every(3) for quantity in BY_STEP]),
    )
    for listener in (always, rare):
        train(listener, **WAYS[way])
    names = {c.name for table in always.tables for c in table.layout.columns}
    assert len(names) > 20
    for name in sorted(names):
        every_step = always.values(name)
        assert list(every_step) == list(range(1, 21)), name
        found = rare.values(name)
        assert list(found) == [3, 6, 9, 12, 15, 18], name
        np.testing.assert_array_equal(
            list(found.values()), [every_step[s] for s in found], name
        )


def test_each_observer_gets_its_own_cadence_of_one_quantity():
    listeners = [
        Listener([quantities.GradientNorm().every(n)]) for n in (2, 3, 5)
    ]
    telemetry = gdtrain.callbacks.Telemetry(["gradient_norm"])
    train(*listeners, telemetry, fits=1)
    values = dict(zip(telemetry.steps.tolist(), telemetry["gradient_norm"]))
    for listener, n in zip(listeners, (2, 3, 5), strict=True):
        found = listener.values("gradient_norm")
        assert found == {s: values[s] for s in range(n, 11, n)}


def test_two_cadences_are_met_without_measuring_at_every_step():
    listeners = [Listener([quantities.GradientNorm().every(n)]) for n in (4, 6)]
    train(*listeners, fits=1)
    assert list(listeners[0].values("gradient_norm")) == [4, 8]
    assert list(listeners[1].values("gradient_norm")) == [6]
    assert listeners[0].tables[0].strides == {"gradient_norm": 2}


def test_quantities_of_several_cadences_share_what_they_work_out():
    """`Record.updates` of one branch of the graph is of no use in another."""
    update = quantities.UpdateNorm()
    predicted = quantities.PredictedLossChange()
    rare = Listener([update.every(2), predicted.every(3)])
    always = Listener([update, predicted])
    for listener in (rare, always):
        train(listener, fits=1)
    for name, n in (("update_norm", 2), ("predicted_loss_change", 3)):
        values = always.values(name)
        assert rare.values(name) == {s: values[s] for s in range(n, 11, n)}


def test_telemetry_marks_what_was_not_measured():
    telemetry = gdtrain.callbacks.Telemetry(
        ["loss", quantities.WeightNorm().every(4)]
    )
    train(telemetry, fits=1)
    known = ~np.isnan(telemetry["weight_norm/hidden"])
    assert telemetry.steps.tolist() == list(range(1, 11))
    assert telemetry.steps[known].tolist() == [4, 8]
    assert not np.isnan(telemetry["loss"]).any()


def test_cadence_and_every_steps_of_the_callback_are_both_met():
    telemetry = gdtrain.callbacks.Telemetry(
        ["loss", quantities.WeightNorm().every(3)], every_steps=2
    )
    train(telemetry, fits=1)
    assert telemetry.steps.tolist() == [2, 4, 6, 8, 10]
    known = ~np.isnan(telemetry["weight_norm/hidden"])
    assert telemetry.steps[known].tolist() == [6]


def test_distance_with_a_cadence_is_from_the_first_step():
    listener = Listener([quantities.DistanceFromStart().every(3)])
    weights = []
    model = models.network()
    model.compile("adam", "mse", jit_compile=False)
    x, y = models.regression_data(6)
    for step in range(6):
        weights.append(model.get_weights())
        model.fit(x, y, verbose=0, callbacks=[listener])
    weights.append(model.get_weights())
    for step, distance in listener.values("distance_from_start").items():
        moved = [a - b for a, b in zip(weights[step], weights[0], strict=True)]
        assert distance == pytest.approx(
            np.sqrt(sum(np.sum(m**2.0) for m in moved)), rel=1e-5
        )


def test_examples_per_second_and_memory_are_of_the_last_step_of_a_block():
    telemetry = gdtrain.callbacks.Telemetry(
        ["loss", "examples_per_second", "device_memory"]
    )
    train(telemetry, fits=1, steps_per_execution=2)
    for name in ("examples_per_second", "device_memory"):
        known = ~np.isnan(telemetry[name])
        assert 10 in telemetry.steps[known]
        assert 2 <= known.sum() < 10
        assert (telemetry[name][known] > 0).all()


BAD_CADENCES = {
    "zero": (0, ValueError),
    "negative": (-1, ValueError),
    "float": (1.5, TypeError),
    "bool": (True, TypeError),
}


@pytest.mark.parametrize("case", BAD_CADENCES)
def test_bad_cadences_are_refused(case):
    steps, error = BAD_CADENCES[case]
    with pytest.raises(error, match="steps"):
        quantities.Loss().every(steps)


def test_a_cadence_makes_a_copy():
    loss = quantities.Loss()
    rare = loss.every(5)
    assert (loss.every_steps, rare.every_steps) == (1, 5)
    assert loss != rare and rare.is_like(loss)
    assert rare.every(1) == loss
    assert repr(rare) == "Loss().every(5)"


def test_each_preset_holds_the_smaller_ones():
    names = {
        preset: {q.name for q in presets.resolve(preset)}
        for preset in ("minimal", "standard", "full")
    }
    assert names["minimal"] < names["standard"] < names["full"]
    public = {
        thing.name
        for thing in vars(quantities).values()
        if isinstance(thing, type)
        and issubclass(thing, quantities.Quantity)
        and hasattr(thing, "name")
    }
    assert names["full"] == public
