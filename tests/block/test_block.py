"""How many steps run as one program, and what of it is seen."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.block import xla_choice
from gdtrain.block.xla_choice import Speed
from gdtrain.loop import pacing
from gdtrain.loop.block_runner import BlockRunner
from gdtrain.loop.pacing import Pace

X = np.random.default_rng(0).normal(size=[20, 2]).astype("float32")
Y = X @ np.array([[1.0], [2.0]], "float32")


def network(layers=(), **arguments):
    model = gdtrain.Sequential(
        [keras.Input([2]), *layers, keras.layers.Dense(1)]
    )
    arguments = {"jit_compile": False, **arguments}
    model.compile(gdtrain.GradientDescent(0.1), "mse", **arguments)
    return model


@pytest.fixture
def blocks(monkeypatch):
    """How many steps each block of training had, a list."""
    counts, run = [], BlockRunner.run

    def counted(self, *arguments):
        result, step = run(self, *arguments)
        if self._method == "train_step":
            counts.append(len(result.rows))
        return result, step

    monkeypatch.setattr(BlockRunner, "run", counted)
    return counts


def epochs_of_blocks(counts, length):
    """Within which epochs each block began and ended."""
    ends = np.cumsum(counts)
    return [
        (int(end - count) // length, int(end - 1) // length)
        for end, count in zip(ends, counts)
    ]


def test_ten_thousand_epochs_are_few_blocks_and_all_in_history(blocks):
    model = network()
    history = model.fit(X, Y, batch_size=20, epochs=10_000, verbose=0)
    assert len(history.history["loss"]) == len(history.epoch) == 10_000
    assert sum(blocks) == 10_000 and len(blocks) < 200
    assert history.history["loss"][0] > 1
    np.testing.assert_allclose(model.get_weights()[0], [[1], [2]], atol=1e-3)
    # Descent on a quadratic: no epoch's loss is above the one before, but
    # for rounding.
    losses = np.array(history.history["loss"])
    assert (np.diff(losses) < 1e-12 + 1e-5 * losses[:-1]).all()


def inputs_of_loop(model):
    """How many tensors but variables the loop of a model's steps is given."""
    (compiled,) = model.train_function._compiled
    (block,) = compiled._blocks.values()
    graph = block._program.graph
    loop = next(op for op in graph.get_operations() if "While" in op.type)
    return sum(tensor.dtype != tf.resource for tensor in loop.inputs)


def test_loop_over_whole_batches_carries_what_its_steps_need():
    model = network()
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(X, Y, batch_size=20, verbose=0, callbacks=[telemetry])
    # Its own two, steps done, rows, x, y, and the number of the first step
    assert inputs_of_loop(model) <= 7


class Tenths(keras.metrics.Metric):
    """The number of batches so far, over ten."""

    def __init__(self):
        super().__init__(name="tenths", dtype="float64")
        self.count = self.add_weight(
            name="count", initializer="zeros", dtype="float64"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def result(self):
        return self.count / 10


@pytest.mark.mostly_long("6")
@pytest.mark.parametrize("size", [20, 6])
def test_result_of_an_epoch_has_all_digits_of_its_metric(size):
    model = network(metrics=[Tenths()])
    history = model.fit(X, Y, batch_size=size, epochs=3, verbose=0)
    assert history.history["tenths"] == [-(-20 // size) / 10] * 3


class Epochs(gdtrain.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


class Logs(Epochs):
    """Has the hooks of all, but needs no model."""

    sync = "never"

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append((batch, logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, logs["loss"], "epoch"))


def test_callback_of_epochs_ends_blocks_with_them(blocks):
    network().fit(
        X, Y, batch_size=5, epochs=40, verbose=0, callbacks=[Epochs()]
    )
    spans = epochs_of_blocks(blocks, 4)
    assert all(begin == end for begin, end in spans)


def test_callback_s_own_sync_comes_first(blocks):
    logs = Logs()
    model = network()
    model.fit(X, Y, batch_size=5, epochs=300, verbose=0, callbacks=[logs])
    assert any(end > begin for begin, end in epochs_of_blocks(blocks, 4))
    batches = [call for call in logs.calls if len(call) == 2]
    assert [batch for batch, _ in batches] == [0, 1, 2, 3] * 300
    # The loss of an epoch is what it was at its last batch.
    assert [call[1] for call in logs.calls[4::5]] == [
        loss for _, loss in batches[3::4]
    ]
    assert logs.calls[4] == (0, batches[3][1], "epoch")


def test_validation_ends_blocks_when_it_is_due(blocks):
    seen = []
    model = network()

    def evaluate(*arguments, **others):
        seen.append(int(model.optimizer.iterations.numpy()))
        return gdtrain.Sequential.evaluate(model, *arguments, **others)

    model.evaluate = evaluate
    history = model.fit(
        X, Y, batch_size=5, epochs=100, verbose=0,
        validation_data=(X, Y), validation_freq=20,
    )  # fmt: skip
    assert seen == [80, 160, 240, 320, 400]
    assert any(end > begin for begin, end in epochs_of_blocks(blocks, 4))
    assert len(history.history["val_loss"]) == 5


def test_number_is_obeyed(blocks):
    network(steps_per_execution=3).fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert blocks == [3, 2, 3, 2]


@pytest.mark.parametrize("steps", ["fast", 0, 2.5, True])
def test_unknown_number_of_steps_is_refused(steps):
    with pytest.raises((TypeError, ValueError), match="steps_per_execution"):
        network(steps_per_execution=steps)


def test_unknown_sync_of_a_callback_is_refused():
    callback = Logs()
    callback.sync = "everything"
    with pytest.raises(ValueError, match="'everything'.*Logs"):
        network().fit(X, Y, verbose=0, callbacks=[callback])


callbacks = keras.callbacks
SEEN = {
    "never": [
        callbacks.History(),
        callbacks.CSVLogger("log.csv"),
        callbacks.LambdaCallback(on_train_end=print),
        gdtrain.callbacks.Telemetry(),
    ],
    "epoch": [
        callbacks.EarlyStopping(),
        callbacks.ReduceLROnPlateau(),
        callbacks.LearningRateScheduler(lambda epoch: 0.1),
        callbacks.ModelCheckpoint("model.keras"),
        callbacks.LambdaCallback(on_epoch_end=print),
        callbacks.TensorBoard("logs"),
    ],
    "batch": [
        callbacks.TerminateOnNaN(),
        callbacks.ModelCheckpoint("model.keras", save_freq=5),
        callbacks.LambdaCallback(on_train_batch_end=print),
        callbacks.TensorBoard("logs", update_freq=1),
    ],
}


@pytest.mark.parametrize("word", SEEN)
def test_what_callbacks_see_is_known(word):
    for callback in SEEN[word]:
        assert pacing.sync_of([callback]) == word, callback
    assert pacing.sync_of([callbacks.History(), *SEEN[word]]) == word


def test_pace_fills_its_time_and_stops_where_it_has_to():
    speed = Speed()
    automatic = network()
    pace = Pace(automatic, [], epochs=10**5)
    assert pace.steps(speed, 10, spans_epochs=True) == 1
    speed.add(1, 3.0)
    for steps in (1, 8, 64, 512):
        speed.add(steps, steps * 1e-4)
    assert pace.steps(speed, 10, spans_epochs=True) == 2000
    assert pace.steps(speed, 10, 10**5 - 3, 4, spans_epochs=True) == 26
    assert pace.steps(speed, 10) == 10
    assert pace.steps(speed, None) == 2000
    assert Pace(automatic, SEEN["batch"][:1]).steps(speed, 10) == 1
    of_seven = Pace(network(steps_per_execution=7), SEEN["epoch"][:1])
    assert of_seven.steps(speed, 10, step=7) == 3
    assert of_seven.steps(speed, 30) == 7


@pytest.fixture
def impatient(monkeypatch):
    """XLA is tried at once."""
    monkeypatch.setattr(xla_choice, "_WORTH_TRYING", 0)
    monkeypatch.setattr(xla_choice, "_TRIAL", 1e-4)


def fit(model, **arguments):
    arguments = {"batch_size": 6, "epochs": 400, "verbose": 0, **arguments}
    telemetry = gdtrain.callbacks.Telemetry()
    keras.utils.set_random_seed(1)
    history = model.fit(X, Y, callbacks=[telemetry], **arguments)
    return model.get_weights(), history.history["loss"], telemetry


def test_choice_of_a_compiler_is_told_once_and_changes_nothing(
    impatient, caplog
):
    caplog.set_level(logging.INFO, "gdtrain")
    model, other = network(jit_compile="auto"), network()
    other.set_weights(model.get_weights())
    weights, losses, telemetry = fit(model)
    fit(model)
    lines = [r.getMessage() for r in caplog.records if r.name == "gdtrain"]
    assert len(lines) == 1
    assert 'jit_compile="auto"' in lines[0] and "microseconds" in lines[0]
    expected = fit(other)
    np.testing.assert_allclose(weights[0], expected[0][0], atol=1e-5)
    np.testing.assert_allclose(losses, expected[1], rtol=1e-3, atol=1e-9)
    assert telemetry.steps.tolist() == expected[2].steps.tolist()


def test_trials_are_as_long_as_was_asked_for(
    impatient, monkeypatch, blocks, caplog
):
    monkeypatch.setattr(xla_choice, "_TRIAL", 1e-9)  # As of a single step
    caplog.set_level(logging.INFO, "gdtrain")
    model = network(jit_compile="auto", steps_per_execution=3)
    fit(model, epochs=20, batch_size=4)
    assert blocks == [3, 2] * 20
    assert 'jit_compile="auto"' in caplog.text


class Clock:
    """A clock on which each step takes as long, a millisecond by default."""

    def __init__(self, monkeypatch, stalls, seconds=1e-3):
        self.now, self.blocks, self.stalls = 0.0, 0, stalls
        monkeypatch.setattr(xla_choice, "time", self)
        call = xla_choice.Block.run

        def timed(block, source, steps, moment):
            self.blocks += 1
            self.now += seconds * steps + self.stalls.get(self.blocks, 0.0)
            return call(block, source, steps, moment)

        monkeypatch.setattr(xla_choice.Block, "run", timed)

    def perf_counter(self):
        return self.now


@pytest.mark.mostly_long("stalls0-False", "stalls2-True")
@pytest.mark.parametrize(
    "stalls, is_tried",
    [
        ({1: 1.0, 2: 9.0}, False),
        ({1: 1.0, 4: 9.0, 5: 9.0}, False),
        ({1: 0.1}, True),
    ],
)
def test_machine_that_stalls_does_not_make_the_graph_look_slow(
    monkeypatch, caplog, stalls, is_tried
):
    caplog.set_level(logging.INFO, "gdtrain")
    Clock(monkeypatch, stalls)
    fit(network(jit_compile="auto"), epochs=200)  # 800 steps, 0.8 seconds
    assert ("jit_compile" in caplog.text) == is_tried


@pytest.mark.parametrize(
    "epochs, seconds, is_tried", [(1250, 1e-4, True), (125, 1e-3, False)]
)
def test_many_small_steps_are_worth_compiling_sooner_than_few_large_ones(
    monkeypatch, caplog, epochs, seconds, is_tried
):
    caplog.set_level(logging.INFO, "gdtrain")
    Clock(monkeypatch, {1: 0.4}, seconds)
    fit(network(jit_compile="auto"), epochs=epochs)  # Half a second of steps
    assert ("jit_compile" in caplog.text) == is_tried


def test_model_that_xla_cannot_compile_goes_on_as_a_graph(impatient, caplog):
    class OnHost(keras.layers.Layer):
        def call(self, x):
            y = tf.numpy_function(lambda v: v, [x], tf.float32)
            return x + 0.0 * tf.stop_gradient(tf.ensure_shape(y, x.shape))

    caplog.set_level(logging.INFO, "gdtrain")
    model = network([OnHost()], jit_compile="auto")
    other = network()
    other.set_weights(model.get_weights())
    weights, _, telemetry = fit(model, epochs=100)
    fit(model, epochs=5)
    lines = [r.getMessage() for r in caplog.records if r.name == "gdtrain"]
    assert len(lines) == 1 and "XLA cannot compile" in lines[0]
    assert telemetry.steps.tolist() == list(range(1, 401))
    expected = fit(other, epochs=100)[0]
    np.testing.assert_allclose(weights[0], expected[0], atol=1e-6)


def test_data_that_fail_leave_the_weights_of_the_last_whole_step():
    def generator():
        for i in range(5):
            yield X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]
        raise OSError("the disk is gone")

    model, other = network(), network()
    other.set_weights(model.get_weights())
    with pytest.raises(Exception, match="the disk is gone"):
        model.fit(generator(), steps_per_epoch=10, verbose=0)
    other.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 5
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(X, Y, batch_size=20, verbose=0, callbacks=[telemetry])
    assert telemetry.steps.tolist() == [6]


class Updates(keras.metrics.Metric):
    """Counts its updates; what it does when reset, no graph can do."""

    def __init__(self):
        super().__init__(name="updates")
        self.count = self.add_weight(
            name="count", initializer="zeros", dtype="float64"
        )
        self.counts = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def result(self):
        return self.count + 0.0

    def reset_state(self):
        self.counts.append(float(keras.ops.convert_to_numpy(self.count)))
        self.count.assign(0.0)


def test_metric_that_cannot_be_compiled_is_reset_between_epochs(blocks):
    metric = Updates()
    model = network(metrics=[metric])
    history = model.fit(X, Y, batch_size=5, epochs=30, verbose=0).history
    assert history["updates"] == [4.0] * 30
    assert metric.counts[-29:] == [4.0] * 29
    assert all(begin == end for begin, end in epochs_of_blocks(blocks, 4))
    expected = network()
    expected.set_weights(model.get_weights())
    assert model.evaluate(X, Y, verbose=0) == [
        pytest.approx(expected.evaluate(X, Y, verbose=0)),
        1.0,
    ]


@pytest.mark.mostly_long("False")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_data_of_any_size_train_to_what_keras_trains_to(jit_compile):
    model = network(jit_compile=jit_compile)
    other = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    other.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    other.set_weights(model.get_weights())
    for size, batch_size in [(4, 9), (7, 9), (9, 9), (4, 2), (6, 2), (5, 2)]:
        x, y = X[:size], Y[:size]
        arguments = {"batch_size": batch_size, "verbose": 0}
        for one in (model, other):
            one.fit(x, y, epochs=2, shuffle=False, **arguments)
        for one, two in zip(
            model.get_weights(), other.get_weights(), strict=True
        ):
            np.testing.assert_allclose(one, two, atol=1e-6)
        np.testing.assert_allclose(
            model.evaluate(x, y, **arguments),
            other.evaluate(x, y, **arguments),
            atol=1e-6,
        )
        np.testing.assert_allclose(
            model.predict(x, **arguments),
            other.predict(x, **arguments),
            atol=1e-5,
        )


def test_growing_data_are_not_traced_each_time():
    traces = []

    class Traced(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x * 1.0

    model = network([Traced()])
    traces.clear()
    for size in range(3, 13):
        model.fit(X[:size], Y[:size], verbose=0)
        model.predict(X[:size], verbose=0)
    assert len(traces) <= 4


@pytest.mark.parametrize("name", ["steps_per_epoch", "validation_steps"])
def test_fit_of_no_steps_is_refused_before_the_first(name):
    model = network()
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        model.fit(X, Y, verbose=0, **{name: 0})
    assert int(model.optimizer.iterations.numpy()) == 0


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_no_steps_are_refused(method):
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        getattr(network(), method)(X, steps=0, verbose=0)


def test_arrays_of_different_lengths_are_both_named():
    with pytest.raises(ValueError, match=r"x of shape \(20.*y of shape \(19"):
        network().fit(X, Y[:19], verbose=0)


def test_evaluate_and_predict_run_many_steps_at_once(monkeypatch):
    model = network()
    expected = np.mean((model(X) - Y) ** 2)
    calls, steps_in = [], Speed.steps_in
    monkeypatch.setattr(
        Speed, "steps_in", lambda *a: calls.append(a) or steps_in(*a)
    )
    for _ in range(3):
        calls.clear()
        loss = model.evaluate(X, Y, batch_size=1, verbose=0)
        predicted = model.predict(X, batch_size=1, verbose=0)
    assert len(calls) < 12  # Blocks for 40 steps, growing from one
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(predicted, model(X), atol=1e-6)
