"""A fit is resumed at its position, within an epoch too."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.loop.fit_state import Rollback
from tests.callbacks.runs import Killed, Script


def line():
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


class Halving(keras.callbacks.Callback):
    """Halves the weights as an epoch begins, and notes what they were."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_begin(self, epoch, logs=None):
        kernel = self.model.layers[0].kernel
        self.found.append((epoch, kernel.numpy().tobytes()))
        kernel.assign(0.5 * kernel)


class Position(gdtrain.callbacks.Callback):
    """Notes weights after each step, and how many epochs began before."""

    def __init__(self, halving):
        super().__init__()
        self.halving, self.weights = halving, {}

    def next_sync(self, step):
        return step + 1

    def on_position(self, fit_state):
        kernel = fit_state.model.layers[0].kernel.numpy()
        begun = len(self.halving.found)
        self.weights[fit_state.steps_done] = kernel.tobytes(), begun


def run(folder, **arguments):
    """Trains for three epochs of four steps; its callbacks, as it ended."""
    halving = Halving()
    position = Position(halving)
    script = Script(
        str(folder), model=line, callbacks=lambda _: [halving, position]
    )
    try:
        script(**arguments)
    except Killed:
        pass
    return halving, position


def test_an_epoch_that_is_resumed_begins_once_and_changes_nothing(tmp_path):
    _, expected = run(tmp_path / "whole")
    _, before = run(tmp_path / "parts", kill_at=6)
    halving, position = run(tmp_path / "parts")
    assert [epoch for epoch, _ in halving.found] == [1, 2]
    # The hook finds the weights of the checkpoint; what it does is undone
    # before a callback learns the position.
    assert halving.found[0][1] == before.weights[6][0]
    assert position.weights[6] == (before.weights[6][0], 1)
    for step in range(6, 13):
        assert position.weights[step][0] == expected.weights[step][0]


def test_no_epoch_begins_if_none_is_left(tmp_path):
    run(tmp_path, kill_at=6)
    halving, position = run(tmp_path, epochs=1)
    assert halving.found == []
    assert list(position.weights) == [6]


def test_a_state_is_of_one_moment_and_continues_where_it_was(tmp_path):
    """Going back within a fit, once, changes nothing at its end."""

    class Once(gdtrain.callbacks.Callback):
        state = None
        is_back = False

        def next_sync(self, step):
            return step + 1

        def on_position(self, fit_state):
            if fit_state.steps_done == 5 and self.state is None:
                self.state = fit_state.capture()
            if fit_state.steps_done == 7 and not self.is_back:
                self.is_back = True
                raise Rollback(self.state)

    def left(*callbacks):
        script = Script(
            str(tmp_path / str(len(callbacks))),
            model=line,
            callbacks=lambda _: list(callbacks),
        )
        return script()[0]

    once = Once()
    assert left(once) == left()
    assert once.is_back


def test_a_model_that_does_not_fit_is_refused(tmp_path):
    class Widening(gdtrain.callbacks.Callback):
        def on_position(self, fit_state):
            if fit_state.steps_done == 2:
                state = fit_state.capture()
                state["variables"]["weight"][0] = np.zeros([2, 2], "float32")
                raise Rollback(state)

        def next_sync(self, step):
            return step + 1

    script = Script(str(tmp_path), model=line, callbacks=lambda _: [Widening()])
    with pytest.raises(ValueError, match="(?s)the model must be the one.*2, 2"):
        script()
