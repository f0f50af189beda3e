"""A callback that evaluates or trains the model that is gone over."""

import keras
import numpy as np
import pytest

import gdtrain
from tests.contracts.fit_cases import Calls, X, Y, linear, train, weights_of

OTHER = 100 * X, 7 * Y  # Whose loss is another by far


def fit_once(model):
    """Trains for an epoch of two, as a callback ends it."""

    def stop(epoch, logs):
        model.stop_training = True

    stopping = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    model.fit(
        *OTHER,
        epochs=2,
        verbose=0,
        validation_data=(X[:9], Y[:9]),
        callbacks=[stopping],
    )


INNER = {
    "evaluate": lambda model: model.evaluate(*OTHER, verbose=0),
    "predict": lambda model: model.predict(X, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(*OTHER),
    "train_on_batch": lambda model: model.train_on_batch(*OTHER),
    "fit": fit_once,
}
HOOKS = {
    "on_train_batch_begin": 1,
    "on_train_batch_end": 1,
    "on_epoch_begin": 1,
    "on_epoch_end": 0,
    "on_test_batch_end": 1,
}


class Looks(Calls):
    """Does something in each of these hooks, once an epoch at most."""

    def __init__(self, inner=lambda model: None, hooks=HOOKS):
        super().__init__()
        self._inner = inner
        self._hooks = hooks

    def note(self, name, logs, *index):
        super().note(name, logs, *index)
        if self._hooks.get(f"on_{name}") in index:
            self._inner(self.model)


def fit(model, *callbacks, **arguments):
    """Trains at a rate of 0, so that an epoch's loss is known."""
    model.optimizer.learning_rate = 0.0
    valid = {"validation_data": (2 * X, Y), "validation_batch_size": 8}
    return train(
        model, epochs=3, callbacks=list(callbacks), **{**valid, **arguments}
    )


CASES = [(inner, {}) for inner in INNER] + [
    ("evaluate", {"run_eagerly": True}),
    ("evaluate", {"microbatches": 2, "steps_per_execution": 2}),
]


@pytest.mark.mostly_long("evaluate-arguments0", "fit-arguments4")
@pytest.mark.parametrize("inner, arguments", CASES)
def test_an_epoch_s_results_are_its_own(inner, arguments):
    model = linear(gdtrain, metrics=["mae"], **arguments)
    expected = fit(model).history
    mean = np.mean(np.square(X @ weights_of(model) - Y))
    np.testing.assert_allclose(expected["loss"], [mean] * 3, rtol=1e-5)
    looks = Looks(INNER[inner])
    history = fit(model, looks)
    assert history is model.history
    assert history.history == expected
    assert len([c for c in looks.calls if c[0] == "epoch_end"]) == 3


@pytest.mark.mostly_long("fit")
@pytest.mark.parametrize("inner", ["evaluate", "predict", "fit"])
def test_an_evaluation_s_results_are_its_own(inner):
    model = linear(gdtrain, metrics=["mae"])
    model.optimizer.learning_rate = 0.0
    expected = model.evaluate(X, Y, batch_size=8, verbose=0)
    looks = Looks(INNER[inner])
    assert expected == model.evaluate(
        X, Y, batch_size=8, verbose=0, callbacks=[looks]
    )
    assert looks.batch_ends("test") == [0, 1, 2, 3, 4]


def test_inner_logs_are_of_the_inner_data():
    model, seen = linear(gdtrain), []

    def look(model):
        seen.append(model.evaluate(*OTHER, verbose=0))
        seen.append(model.test_on_batch(*OTHER))

    fit(model, Looks(look, {"on_train_batch_end": 1}))
    expected = np.mean(np.square(OTHER[0] @ weights_of(model) - OTHER[1]))
    np.testing.assert_allclose(seen, [expected] * 6, rtol=1e-5)


def test_stop_training_asked_for_by_an_inner_evaluation_holds():
    def stop_all(model):
        def stop(logs):
            model.stop_training = True

        stopping = keras.callbacks.LambdaCallback(on_test_end=stop)
        model.evaluate(X, Y, verbose=0, callbacks=[stopping])

    model = linear(gdtrain)
    fit(model, Looks(stop_all, {"on_train_batch_begin": 1}))
    assert int(model.optimizer.iterations) == 2


def test_resumed_within_an_epoch_it_ends_as_if_left_alone(tmp_path):
    class Broken(Exception):
        """Ends the first of two runs."""

    def break_off(model):
        raise Broken

    look = Looks(INNER["evaluate"], {"on_train_batch_end": 1})
    expected = fit(linear(gdtrain, metrics=["mae"]), look, batch_size=8)
    for breaking in [True, False]:
        model = linear(gdtrain, metrics=["mae"])
        callbacks = [
            gdtrain.callbacks.BackupAndRestore(tmp_path, every_steps=1),
            Looks(INNER["evaluate"], {"on_train_batch_end": 1}),
        ]
        if not breaking:
            history = fit(model, *callbacks, batch_size=8)
            continue
        end = Looks(break_off, {"on_train_batch_begin": 3})
        with pytest.raises(Broken):
            fit(model, *callbacks, end, batch_size=8)
    assert history.history == expected.history
