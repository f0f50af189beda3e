"""Numbers measured beside training, in the table at their step."""

import csv
import math

import numpy as np
import pytest

import gdtrain
from gdtrain.distributed.workers import Workers
from gdtrain.telemetry import Quantity
from tests import models
from tests.callbacks import reading


class Probe(gdtrain.callbacks.Callback):
    """Looks at the weights every so many steps."""

    probe_names = ("first_weight", "block_seconds")

    def __init__(self, every_steps):
        super().__init__()
        self._every_steps = every_steps
        self.seen = {}  # By step: the weight

    def next_sync(self, step):
        return (step // self._every_steps + 1) * self._every_steps

    def probe(self, step, seconds):
        if step % self._every_steps:
            return {}
        weight = float(self.model.get_weights()[0][0, 0])
        self.seen[step] = weight
        return {"first_weight": weight, "block_seconds": seconds}


class FirstWeight(Quantity):
    """The same in the graph, after the update."""

    name = "first_weight_in_graph"

    def measure(self, record):
        return {self.name: record.weights_after[0][0, 0]}


def train(callbacks, every_steps=None, **how):
    model = models.network()
    model.compile(gdtrain.GradientDescent(0.05), "mse", **how)
    probe = Probe(every_steps or 1)
    model.fit(
        *models.regression_data(),
        batch_size=8,
        epochs=5,
        verbose=0,
        callbacks=[*callbacks, probe] if every_steps else callbacks,
    )
    return model, probe


@pytest.mark.mostly_long("1-{'run_eagerly': True}", "7-{}")
@pytest.mark.parametrize(
    "how", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str
)
@pytest.mark.parametrize("every_steps", [1, 7])
def test_probe_lands_at_its_step_with_the_weights_of_that_step(
    every_steps, how
):
    telemetry = gdtrain.callbacks.Telemetry([FirstWeight()])
    _, probe = train([telemetry], every_steps, **how)
    due = list(range(every_steps, 31, every_steps))
    found, known = telemetry["first_weight"], telemetry.steps
    in_graph = dict(zip(known, telemetry["first_weight_in_graph"]))
    assert known[~np.isnan(found)].tolist() == due == list(probe.seen)
    for step in due:
        assert probe.seen[step] == in_graph[step]
        assert np.float32(probe.seen[step]) == found[known == step]


def test_weights_are_the_same_with_a_probe_and_without():
    with_it, _ = train([], 3)
    without, _ = train([])
    for a, b in zip(with_it.get_weights(), without.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_probe_is_passed_how_long_blocks_took():
    telemetry = gdtrain.callbacks.Telemetry([])
    train([telemetry], 7)
    seconds = telemetry["block_seconds"]
    assert (seconds[~np.isnan(seconds)] > 0).all()


def test_number_of_steps_that_was_asked_for_is_obeyed():
    telemetry = gdtrain.callbacks.Telemetry([FirstWeight()])
    _, probe = train([telemetry], 7, steps_per_execution=4)
    # Blocks end at steps 4, 6, 10, 12, ...: it sees those that it may.
    assert list(probe.seen) == [28]


def test_all_writers_have_it(tmp_path):
    writer = gdtrain.writers.CSVWriter(tmp_path / "steps.csv")
    callbacks = [
        gdtrain.callbacks.TensorBoard(tmp_path, "minimal", every_steps=10),
        gdtrain.callbacks.StepWriter(writer, "minimal"),
    ]
    _, probe = train(callbacks, 7)
    points = reading.curves(tmp_path)["train/step/first_weight"]
    assert dict(points) == pytest.approx(probe.seen, rel=1e-7)
    with open(tmp_path / "steps.csv") as file:
        rows = {int(r["step"]): r for r in csv.DictReader(file)}
    assert {
        step: float(row["first_weight"])
        for step, row in rows.items()
        if row["first_weight"]
    } == pytest.approx(probe.seen, rel=1e-7)


def test_mean_of_a_window_has_it_too(tmp_path):
    callback = gdtrain.callbacks.TensorBoard(
        tmp_path, "minimal", every_steps=10, aggregate=True
    )
    _, probe = train([callback], 7)
    points = dict(reading.curves(tmp_path)["train/step/first_weight"])
    windows = {10: (7,), 20: (14,), 30: (21, 28)}
    assert points == pytest.approx(
        {
            end: np.mean([probe.seen[step] for step in steps])
            for end, steps in windows.items()
        }
    )


def test_what_a_probe_raises_ends_training_with_all_that_was_measured():
    telemetry = gdtrain.callbacks.Telemetry("minimal")

    class Broken(Probe):
        def probe(self, step, seconds):
            if step == 14:
                raise ArithmeticError("no more")
            return super().probe(step, seconds)

    model = models.network()
    model.compile(gdtrain.GradientDescent(0.05), "mse")
    with pytest.raises(ArithmeticError, match="no more"):
        model.fit(
            *models.regression_data(),
            batch_size=8,
            epochs=5,
            verbose=0,
            callbacks=[telemetry, Broken(7)],
        )
    assert telemetry.steps.tolist() == list(range(1, 15))
    assert math.isfinite(telemetry["first_weight"][6])


def test_a_probe_may_measure_each_block():
    class Counting(gdtrain.callbacks.Callback):
        probe_names = ("twice",)

        def probe(self, step, seconds):
            return {"twice": 2 * step}

    telemetry = gdtrain.callbacks.Telemetry("minimal")
    model, _ = train([Counting(), telemetry])
    twice = telemetry["twice"]
    known = ~np.isnan(twice)
    assert (twice[known] == 2 * telemetry.steps[known]).all() and known[-1]
    assert model._step_hooks.required.probe_names == ()  # Closed


def test_steps_within_fit_take_as_long_for_all_workers(monkeypatch):
    monkeypatch.setattr(Workers, "longest", lambda self, seconds: 1000.0)
    x, y = models.regression_data()
    seen = []

    class OneMore(gdtrain.callbacks.Callback):
        probe_names = ("nothing",)

        def on_epoch_begin(self, epoch, logs=None):
            self.model.train_on_batch(x, y)

        def probe(self, step, seconds):
            seen.append(seconds)
            return {}

    model = models.network()
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0, callbacks=[OneMore()])
    assert seen[0] == 1000.0 and max(seen[1:]) < 1000.0
