"""An error in the user's code shows the lines of the user's, and no others."""

import pathlib
import traceback

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.mistakes import errors
from tests.models import line, regression_data

X, Y = regression_data(32)
HERE = str(pathlib.Path(__file__))


class Trouble(Exception):
    """What a user's own code raises."""


def fail(*arguments, **named):
    raise Trouble("of the user's") from KeyError("its cause")


def network(call=None, step=None, base=gdtrain.Model, loss="mse", **compiled):
    """A compiled model of which some method may fail."""

    class Network(base):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            y = self.dense(x)
            return call(y) if call else y

        if step:

            def train_step(self, data):
                return step(self, data)

    model = Network()
    model.compile("sgd", loss, **{"jit_compile": False, **compiled})
    return model


def raised(do, kind=Exception):
    """What `do()` raises."""
    with pytest.raises(kind) as caught:
        do()
    return caught.value


def files(error):
    """The files of an error's frames."""
    return [f.filename for f in traceback.extract_tb(error.__traceback__)]


def assert_short(error, inner="fail"):
    """All frames are of this file, the last of them in function `inner`."""
    frames = traceback.extract_tb(error.__traceback__)
    assert {f.filename for f in frames} == {HERE}, frames
    assert frames[-1].name == inner


class FailingCallback(keras.callbacks.Callback):
    def __init__(self, *hooks):
        super().__init__()
        for hook in hooks:
            setattr(self, hook, fail)


class FailingMetric(keras.metrics.Mean):
    update_state = fail


@pytest.mark.mostly_long(
    "call-graph", "step-xla", "loss-eager", "metrics-graph"
)
@pytest.mark.parametrize(
    "compiled",
    [{"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}],
    ids=["eager", "graph", "xla"],
)
@pytest.mark.parametrize("place", ["call", "step", "loss", "metrics"])
def test_error_while_training_shows_only_the_users_frames(place, compiled):
    what = [FailingMetric()] if place == "metrics" else fail
    model = network(**{place: what}, **compiled)
    error = raised(lambda: model.fit(X, Y, verbose=0), Trouble)
    assert_short(error)
    assert "of the user's" in str(error)


@pytest.mark.mostly_long("evaluate", "predict", "train_on_batch")
@pytest.mark.parametrize(
    "method",
    [
        "evaluate",
        "predict",
        "train_on_batch",
        "test_on_batch",
        "predict_on_batch",
    ],
)
def test_error_in_another_method_is_as_short(method):
    model = network(call=fail)
    arguments = [X] if "predict" in method else [X, Y]
    assert_short(raised(lambda: getattr(model, method)(*arguments), Trouble))


def test_error_in_a_loop_of_ones_own_is_as_short():
    model = line()
    model.compile("sgd")

    class Tape:
        gradient = fail

    error = raised(lambda: model.descend(Tape(), 1.0), Trouble)
    assert_short(error)


@pytest.mark.parametrize(
    "hook",
    ["on_train_begin", "on_train_batch_end", "on_test_end", "on_train_end"],
)
def test_error_in_a_callback_is_as_short(hook):
    model = network(run_eagerly=True)
    error = raised(
        lambda: model.fit(
            X,
            Y,
            validation_data=(X, Y),
            callbacks=[FailingCallback(hook)],
            verbose=0,
        ),
        Trouble,
    )
    assert_short(error)


def test_error_in_what_watches_a_run_is_as_short(tmp_path):
    # It comes through context managers of the standard library.
    class Watching(gdtrain.callbacks.Telemetry):
        def on_block(self, table):
            fail()

    model = network(run_eagerly=True)
    error = raised(
        lambda: model.fit(X, Y, callbacks=[Watching()], verbose=0), Trouble
    )
    assert_short(error)


def test_error_in_a_generator_is_as_short():
    def batches():
        yield X, Y
        fail()

    model = network(run_eagerly=True)
    data = batches()
    error = raised(
        lambda: model.fit(data, steps_per_epoch=2, verbose=0), Trouble
    )
    assert_short(error)


def test_error_of_a_public_function_that_trains_is_as_short():
    model = network(loss=fail)
    model(X)  # Which builds it
    for do in (
        lambda: gdtrain.find_learning_rate(model, X, Y, verbose=0),
        lambda: gdtrain.curvature(model, X, Y),
        lambda: gdtrain.landscape(model, X, Y, resolution=3),
        lambda: gdtrain.sweep(
            lambda: network(loss=fail), X, Y, learning_rates=[0.1]
        ),
    ):
        assert_short(raised(do, Trouble))


def test_error_raised_by_gdtrain_has_one_frame_of_its_own():
    model = network()
    error = raised(lambda: model.fit(X, Y, steps_per_epoch=0), ValueError)
    assert [file != HERE for file in files(error)].count(True) == 1
    assert files(error)[-1].endswith("checks.py")


def test_error_keeps_what_it_has():
    mine = Trouble("mine")
    mine.add_note("a note")

    def step(model, data):
        try:
            raise KeyError("context")
        except KeyError:
            raise mine from ValueError("cause")

    error = raised(lambda: network(step=step).fit(X, Y, verbose=0), Trouble)
    assert error is mine
    assert error.args == ("mine",) and error.__notes__ == ["a note"]
    assert isinstance(error.__cause__, ValueError)
    assert isinstance(error.__context__, KeyError)
    assert_short(error, "step")
    assert_short(error.__context__, "step")


def test_tracebacks_of_causes_are_short_too():
    # The error within is raised below Keras, and within the model's `fit`.
    def step(model, data):
        try:
            keras.ops.matmul(data[0], tf.ones([7, 2]))
        except Exception as error:
            raise Trouble("around it") from error

    error = raised(lambda: network(step=step).fit(X, Y, verbose=0), Trouble)
    assert files(error.__cause__) == [HERE]


def test_filtering_can_be_switched_off():
    model = network(call=fail)
    keras.config.disable_traceback_filtering()
    try:
        error = raised(lambda: model.fit(X, Y, verbose=0), Trouble)
    finally:
        keras.config.enable_traceback_filtering()
    assert any("gdtrain" in file for file in files(error)[1:])
    assert len(files(error)) > 15


def test_error_of_an_operation_says_where_the_user_made_it():
    def refuse(y):
        tf.debugging.assert_less(y, -100.0, message="y is large")
        return y

    error = raised(
        lambda: network(call=refuse).fit(X, Y, verbose=0),
        tf.errors.InvalidArgumentError,
    )
    message = str(error)
    assert "y is large" in message
    frames = [part for part in message.split("\n") if "  File " in part]
    assert HERE in frames[-1] and frames[-1].endswith("in refuse")
    package = str(pathlib.Path(gdtrain.__file__).parent)
    inside = (package, "/keras/src/", "/tensorflow/python/")
    assert not any(part in frame for part in inside for frame in frames)


def test_values_do_not_pass_through_a_filter_changed():
    @errors.readable
    def add(one, *, other):
        """Adds."""
        return one + other

    assert add(1, other=2) == 3
    assert add.__name__ == "add" and add.__doc__ == "Adds."
    np.testing.assert_raises(KeyboardInterrupt, interrupted)


@errors.readable
def interrupted():
    raise KeyboardInterrupt
