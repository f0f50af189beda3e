"""The engine's parts that touch no tensors of a model."""

import copy
import itertools

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.loop.block_queue import EpochMeans
from gdtrain.loop.hooks import Observers
from gdtrain.step.step_context import StepContext, current, entered
from gdtrain.telemetry import Loss
from gdtrain.telemetry.requests import Asked
from gdtrain.telemetry.row_layout import Column, RowLayout


class Observer:
    """Keeps what it is told."""

    def __init__(self, quantities=(), error=None):
        self.requests = [Asked(quantity, 1, False) for quantity in quantities]
        self.error = error
        self.tables = []
        self.closed = 0

    def observe(self, table):
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


def test_observers_number_steps_across_tables():
    observers, observer = Observers(), Observer()
    observers.begin(10)
    observers.attach(observer)
    observers.attach(observer)
    layout = RowLayout.of([], [[Column("loss", "loss", 0)]])
    for rows in (2, 3):
        observers.observe(layout, np.zeros([rows, 2]))
    observers.begin(4)  # A new optimizer starts from 0; steps go on.
    observers.observe(layout, np.zeros([1, 2]))
    assert [table.first_step for table in observer.tables] == [11, 13, 16]


def test_all_observers_are_closed_even_if_one_raises():
    observers = Observers()
    attached = [Observer(), Observer(error=OSError("full")), Observer()]
    with pytest.raises(OSError, match="full"):
        with observers.closed_at_end():
            for observer in attached:
                observers.attach(observer)
    assert [observer.closed for observer in attached] == [1, 1, 1]
    assert observers.asked == ()


def test_fit_within_a_fit_closes_its_own_observers_alone():
    observers, outer, inner = Observers(), Observer(), Observer()
    with observers.closed_at_end():
        observers.attach(outer)
        with observers.closed_at_end():
            observers.attach(inner)
        assert (inner.closed, outer.closed) == (1, 0)
    assert (inner.closed, outer.closed) == (1, 1)


def test_copied_model_is_watched_by_nobody():
    model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.step_observers.attach(Observer((Loss(),)))
    assert copy.deepcopy(model).step_observers.asked == ()


def test_quantities_of_several_observers_are_measured_once():
    observers = Observers()
    for _ in range(2):
        observers.attach(Observer((Loss(),)))
    assert observers.asked == (Asked(Loss(), 1, False),)


def test_step_is_alone_outside_any_step():
    context = StepContext(microbatches=2)
    with entered(context):
        assert current() is context
    assert current().microbatches == 1
    assert current().updates_now
