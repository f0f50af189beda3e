"""`compile(reproducible_workers=k)`: any number of replicas, the same bits."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.descent import virtual_workers
from gdtrain.distributed.workers import Workers
from tests import models, workers
from tests.agreement.reproducible_fit import KINDS, OwnStep, results
from tests.callbacks.runs import KillAt, Killed

layers = keras.layers
ONE = tf.distribute.get_strategy()


@pytest.mark.mostly_long("perceptron, momentum")
@pytest.mark.parametrize("kind", KINDS)
def test_two_replicas_train_to_the_bits_of_one(two_replicas, kind):
    """Telemetry, of the two alone, changes no bit either."""
    found = results(two_replicas, kind, [gdtrain.callbacks.Telemetry()])
    assert found == results(ONE, kind)


@pytest.mark.long
def test_a_step_of_ones_own_and_a_guard_keep_the_bits(two_replicas):
    """The last batch has one example, and so three parts without any."""
    kind = "perceptron, momentum"
    how = {"base": OwnStep, "examples": 33}
    guard = gdtrain.callbacks.NonfiniteGuard("skip")
    found = results(two_replicas, kind, [guard], **how)
    expected = results(ONE, kind, **how)
    # Under a strategy, weights that the step leaves alone have slots, too.
    del found["optimizer"], expected["optimizer"]
    assert found == expected
    for name in ("mean", "squares", "error", "largest"):
        assert np.all(np.isfinite(found["history"][name])), name


def test_another_number_of_replicas_continues_to_the_same_bits(
    two_replicas, tmp_path
):
    """Two replicas stop within an epoch; one continues."""
    kind = "perceptron, momentum"
    backup = gdtrain.callbacks.BackupAndRestore(
        tmp_path, every_steps=1, every_seconds=None
    )
    with pytest.raises(Killed):
        results(two_replicas, kind, [backup, KillAt(4)])
    assert results(ONE, kind, [backup]) == results(ONE, kind)


@pytest.mark.long
def test_one_two_and_four_processes_train_to_the_same_bits(tmp_path):
    found = []
    for count in (1, 2, 4):
        ended = workers.run(
            workers.environments(count),
            "tests.agreement.reproducible_fit",
            lambda index, of=count: tmp_path / f"{index}-of-{of}",
        )
        assert [code for code, *_ in ended] == [0] * count, ended
        found += [
            json.loads((tmp_path / f"{index}-of-{count}").read_text())
            for index in range(count)
        ]
    assert list(found[0]) == list(KINDS)
    for each in found[1:]:
        assert each == found[0]


def step_without_descend(model, data):
    x, y = data
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    weights = model.trainable_variables
    model.optimizer.apply(tape.gradient(loss, weights), weights)
    return {"loss": loss}


def step_by_hand(model, data):
    (weight, *_) = model.trainable_variables
    weight.assign(0.9 * weight)
    return {"loss": tf.reduce_sum(weight)}


def step_with_two_updates(model, data):
    x, y = data
    for name in ("first", "second"):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        model.descend(tape, loss, name=name)
    return {"loss": loss}


def step_with(change):
    """A `train_step` that makes a change beside its update."""

    def train_step(model, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
            loss += change(model)
        model.descend(tape, loss)
        return {"loss": loss}

    return train_step


def count_calls(model):
    if not hasattr(model, "calls"):
        with tf.init_scope():
            model.calls = tf.Variable(0.0, name="calls")
    return tf.cond(
        model.calls < 100, lambda: model.calls.assign_add(1.0), lambda: 0.0
    )


@pytest.mark.parametrize(
    "step, error, message",
    [
        (step_without_descend, ValueError, "must call `self.descend"),
        (step_by_hand, RuntimeError, "needs a `train_step` that calls"),
        (step_with_two_updates, ValueError, "several updates cannot be split"),
        (step_with(count_calls), ValueError, r"sets \['calls:0'\]"),
        (
            step_with(lambda model: keras.random.normal([])),
            ValueError,
            "sets .'keras.random without a seed'",
        ),
        (
            step_with(lambda model: tf.random.normal([])),
            ValueError,
            "operations .'RandomStandardNormal'",
        ),
        (
            step_with(lambda _: tf.random.get_global_generator().normal([])),
            ValueError,
            'sets ."tf.random\'s generator"',
        ),
    ],
)
def test_a_step_that_cannot_be_split_is_refused(step, error, message):
    kind = type("OwnStep", (gdtrain.Sequential,), {"train_step": step})
    model = models.network(kind)
    model.compile("sgd", "mse", reproducible_workers=2)
    before = model.get_weights()
    with pytest.raises(error, match=message) as caught:
        model.fit(*models.regression_data(), verbose=0)
    assert "reproducible_workers=2" in str(caught.value)
    assert models.distance(model.get_weights(), before) == 0


class TwoWorkers(Workers):
    """Stands for two processes, of which the second has one thread more."""

    def __init__(self, strategy):
        super().__init__(strategy)
        self.names = ["worker-0", "worker-1"]

    def numbers(self, number):
        return [number, number + 1]


def test_workers_with_other_numbers_of_threads_are_refused(monkeypatch):
    monkeypatch.setattr(virtual_workers, "Workers", TwoWorkers)
    model = models.network()
    model.compile("sgd", "mse", reproducible_workers=2)
    with pytest.raises(ValueError, match="Received: {'worker-0': .*=2"):
        model.fit(*models.regression_data(), verbose=0)


def test_a_run_is_not_continued_with_another_number_of_threads(
    tmp_path, monkeypatch
):
    kind = "perceptron, momentum"
    backup = gdtrain.callbacks.BackupAndRestore(
        tmp_path, every_steps=1, every_seconds=None
    )
    with pytest.raises(Killed):
        results(ONE, kind, [backup, KillAt(1)])
    monkeypatch.setattr(virtual_workers, "threads", lambda: 99)
    with pytest.raises(ValueError, match="threads of an operation was .*is 99"):
        results(ONE, kind, [backup])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"reproducible_workers": 0}, "must be a positive integer"),
        (
            {"reproducible_workers": 2, "microbatches": 2},
            "microbatches=2 as well",
        ),
        (
            {"reproducible_workers": 2, "jit_compile": True},
            "jit_compile=True",
        ),
        (
            {
                "reproducible_workers": 2,
                "loss": keras.losses.MeanSquaredError(reduction="sum"),
            },
            "must be a mean over examples",
        ),
    ],
)
def test_what_cannot_be_combined_is_refused(arguments, message):
    model = models.network()
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", **{"loss": "mse"} | arguments)


def test_a_number_that_replicas_do_not_divide_is_refused(two_replicas):
    with two_replicas.scope():
        model = models.network()
        with pytest.raises(ValueError, match="=3 with 2 replicas"):
            model.compile("sgd", "mse", reproducible_workers=3)


def test_xla_that_is_set_later_is_refused():
    model = models.network()
    model.compile("sgd", "mse", reproducible_workers=2)
    model.jit_compile = True
    with pytest.raises(ValueError, match="jit_compile=True"):
        model.fit(*models.regression_data(), verbose=0)


def test_stateful_layers_are_refused_by_name():
    model = gdtrain.Sequential(
        [
            keras.Input([4, 3], batch_size=5),
            layers.GRU(2, stateful=True, name="memory"),
        ]
    )
    model.compile("sgd", "mse", reproducible_workers=2)
    with pytest.raises(ValueError, match="stateful layers .*memory"):
        model.fit(np.zeros([45, 4, 3]), np.zeros([45, 2]), batch_size=5)


def test_a_dataset_that_replicas_cannot_share_evenly_is_refused(two_replicas):
    message = "With reproducible_workers=4, .* Received: 7 .* should have 6"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        results(two_replicas, "perceptron, momentum", dataset=True)
