"""The engine's parts that touch no tensors of a model."""

import copy
import itertools

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.loop.block_queue import EpochMeans
from gdtrain.loop.hooks import Hooks
from gdtrain.step.step_context import StepContext, current, entered
from gdtrain.telemetry import Loss
from gdtrain.telemetry.requests import Request
from gdtrain.telemetry.row_layout import Column, RowLayout


class Observer(gdtrain.callbacks.Callback):
    """Keeps the tables it gets."""

    def __init__(self, quantities=(), error=None):
        super().__init__()
        self.quantities = list(quantities)
        self.error = error
        self.tables = []
        self.closed = 0

    def on_block(self, table):
        self.tables.append(table)

    def close(self):
        self.closed += 1
        if self.error:
            raise self.error


def test_means_of_epochs_that_end_anywhere_are_those_of_numpy():
    random = np.random.default_rng(0)
    rows = random.uniform(1, 9, (1000, 4)).round()
    ends = [0, 1, 2, 300, 650, 1000]
    blocks = [(0, 1), (1, 200), (200, 300), (300, 999), (999, 1000)]
    means, taken = EpochMeans(), []
    for begin, end in blocks:
        inside = [e for e in ends if begin < e <= end]
        lengths = np.diff([begin, *inside, end])
        taken.extend(
            means.add(rows[begin:end, 0], rows[begin:end, 1:3], lengths)
        )
    assert len(taken) == len(ends) - 1
    for (begin, end), mean in zip(itertools.pairwise(ends), taken):
        expected = np.average(
            rows[begin:end, 1:3], axis=0, weights=rows[begin:end, 0]
        )
        np.testing.assert_allclose(mean, expected, rtol=1e-12)


def test_means_of_no_examples_are_not_a_number():
    means = EpochMeans()
    means.add(np.array([0.0]), np.array([[3.0]]), [1])
    assert np.isnan(means.so_far()).all()
    assert means.so_far() is None


def test_hooks_number_steps_across_tables():
    hooks, observer = Hooks(), Observer()
    hooks.begin(10)
    layout = RowLayout.of([], [[Column("loss", "loss", 0)]])
    with hooks.registered([observer]), hooks.registered([observer]):
        for rows in (2, 3):
            hooks.on_block(layout, np.zeros([rows, 2]))
        hooks.begin(4)  # A new optimizer starts from 0; steps go on.
        hooks.on_block(layout, np.zeros([1, 2]))
    assert [table.first_step for table in observer.tables] == [11, 13, 16]


def test_all_callbacks_are_closed_even_if_one_raises():
    hooks = Hooks()
    quantities = [Loss()]
    many = [Observer(quantities), Observer(error=OSError("full")), Observer()]
    with pytest.raises(OSError, match="full"):
        with hooks.registered(many):
            pass
    assert [observer.closed for observer in many] == [1, 1, 1]
    assert hooks.required.requests == ()


def test_fit_within_a_fit_closes_its_own_callbacks_alone():
    hooks, outer, inner = Hooks(), Observer(), Observer()
    with hooks.registered([outer]):
        with hooks.registered([inner, outer]):
            pass
        assert (inner.closed, outer.closed) == (1, 0)
    assert (inner.closed, outer.closed) == (1, 1)


def test_copied_model_has_no_registered_callbacks():
    model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    with model._step_hooks.registered([Observer([Loss()])]):
        again = copy.deepcopy(model)
        assert again._step_hooks.required.requests == ()


def test_quantities_of_several_callbacks_are_measured_once():
    hooks = Hooks()
    with hooks.registered([Observer([Loss()]) for _ in range(2)]):
        assert hooks.required.requests == (Request(Loss(), 1, False),)


def test_step_is_alone_outside_any_step():
    context = StepContext(microbatches=2)
    with entered(context):
        assert current() is context
    assert current().microbatches == 1
    assert current().updates_now
