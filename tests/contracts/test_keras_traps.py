"""What stock Keras gets wrong, shown on it, and right here.

Each body runs on both: a test that stock Keras fails, as it must, proves that
the test can fail.
"""

import glob

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

import gdtrain


def stock_keras(value, raises):
    """A parameter under which the test must fail, and in this way."""
    mark = pytest.mark.xfail(strict=True, raises=raises, reason="stock Keras")
    return pytest.param(value, marks=mark)


def both(raises=AssertionError):
    """Runs a test on our base class and on Keras's, where it must fail."""
    return pytest.mark.parametrize(
        "base", [gdtrain.Model, stock_keras(keras.Model, raises)]
    )


ONES = np.ones([8, 1], "float32")


def lecture_model(base, learning_rate=0.1):
    """The lecture's step, with `descend` where there is one."""

    class Lecture(base):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(name="w", initializer="zeros")

        def call(self, x):
            return self.w * x

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x) - y))
            if hasattr(self, "descend"):
                self.descend(tape, loss)
            else:
                w = self.w.value
                w.assign_sub(learning_rate * tape.gradient(loss, w))
            return {"loss": loss}

    model = Lecture()
    model.compile(gdtrain.GradientDescent(learning_rate), jit_compile=False)
    return model


@both()
def test_fact_1_history_shows_the_loss_that_the_step_returned(base):
    model = lecture_model(base)
    history = model.fit(
        ONES, 2 * ONES, batch_size=4, epochs=2, verbose=0
    ).history
    # w = 2 (1 - 0.8 ** step), loss = (2 - w) ** 2 before each of 4 steps.
    losses = (2 * 0.8 ** np.arange(4)) ** 2
    expected = losses.reshape(2, 2).mean(axis=1)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.parametrize(
    "kind",
    ["gdtrain", stock_keras("keras", AssertionError)],
)
def test_fact_2_each_step_is_in_tensorboard_at_its_own_step(
    kind, steps_per_execution, tmp_path
):
    if kind == "gdtrain":
        model = lecture_model(gdtrain.Model)
        callback = gdtrain.callbacks.TensorBoard(tmp_path)
        tag = "step/loss"
    else:

        class Summaries(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(1)

            def call(self, x):
                return self.dense(x)

            def compute_loss(self, *args, **kwargs):
                loss = super().compute_loss(*args, **kwargs)
                tf.summary.scalar("loss", loss)
                return loss

        model = Summaries()
        callback = keras.callbacks.TensorBoard(
            tmp_path, update_freq=1, write_graph=False
        )
        tag = "loss"
    model.compile(
        "sgd",
        "mse",
        steps_per_execution=steps_per_execution,
        jit_compile=False,
    )
    model.fit(ONES, ONES, batch_size=1, verbose=0, callbacks=[callback])
    steps = []
    for file in sorted(glob.glob(f"{tmp_path}/**/events*", recursive=True)):
        events = event_accumulator.EventAccumulator(file).Reload()
        tags = events.Tags()
        if tag in tags["scalars"]:
            steps += [event.step for event in events.Scalars(tag)]
        if tag in tags["tensors"]:
            steps += [event.step for event in events.Tensors(tag)]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "kind", ["gdtrain", stock_keras("keras", tf.errors.InvalidArgumentError)]
)
def test_fact_3_a_step_under_xla_says_its_loss(kind, tmp_path):
    if kind == "gdtrain":
        model = lecture_model(gdtrain.Model)
        callback = gdtrain.callbacks.Telemetry()
    else:

        class Summaries(keras.Sequential):
            def compute_loss(self, *args, **kwargs):
                loss = super().compute_loss(*args, **kwargs)
                tf.summary.scalar("loss", loss)
                return loss

        model = Summaries([keras.layers.Dense(1)])
        callback = keras.callbacks.TensorBoard(
            tmp_path, update_freq=1, write_graph=False
        )
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(ONES, ONES, batch_size=4, verbose=0, callbacks=[callback])
    assert len(callback["loss"]) == 2


@both()
def test_fact_4_replicas_stay_equal_and_move_by_the_mean(base, two_replicas):
    with two_replicas.scope():
        model = lecture_model(base)
    y = np.array([[1.0], [1.0], [3.0], [3.0]], "float32")
    model.fit(ONES[:4], y, batch_size=4, shuffle=False, verbose=0)
    copies = two_replicas.experimental_local_results(model.w.value)
    # The mean gradient of the batch is -4; each replica alone has -2 or -6.
    np.testing.assert_allclose([c.numpy() for c in copies], 0.4, rtol=1e-6)


@pytest.mark.parametrize("clip", ["of compile", "of the optimizer"])
@both()
def test_fact_5_a_clip_of_1_on_two_replicas_is_an_update_of_1(
    base, clip, two_replicas
):
    if base is keras.Model:
        sequential, clip = keras.Sequential, "of the optimizer"
    else:
        sequential = gdtrain.Sequential
    ours = {"global_clipnorm": 1.0}
    with two_replicas.scope():
        model = sequential(
            [
                keras.Input([3]),
                keras.layers.Dense(
                    1, use_bias=False, kernel_initializer="zeros"
                ),
            ]
        )
        if clip == "of compile":
            model.compile(keras.optimizers.SGD(1.0), "mse", **ours)
        else:
            model.compile(keras.optimizers.SGD(1.0, **ours), "mse")
    x, y = np.ones([8, 3], "float32"), np.full([8, 1], 100.0, "float32")
    model.fit(x, y, batch_size=8, verbose=0, shuffle=False)
    update_norm = np.linalg.norm(model.get_weights()[0])
    assert update_norm == pytest.approx(1.0, rel=1e-5)


@both()
def test_fact_6_a_schedule_counts_updates_and_not_parts_of_a_batch(base):
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 8, 0.5)
    inputs = keras.Input([1])
    model = type("Base", (base,), {})(inputs, keras.layers.Dense(1)(inputs))
    x = np.ones([16, 1], "float32")
    if base is keras.Model:
        optimizer = keras.optimizers.SGD(
            schedule, gradient_accumulation_steps=4
        )
        model.compile(optimizer, "mse", jit_compile=False)
        model.fit(x, x, batch_size=2, verbose=0)
    else:
        optimizer = gdtrain.GradientDescent(schedule)
        model.compile(optimizer, "mse", microbatches=4)
        model.fit(x, x, batch_size=8, verbose=0)
    assert int(optimizer.iterations) == 2
    assert float(optimizer.learning_rate) == pytest.approx(0.5 ** (2 / 8))


class Broken(Exception):
    """Ends a run inside an epoch."""


class BreakAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            raise Broken


@pytest.mark.parametrize(
    "base", [gdtrain.Sequential, stock_keras(keras.Sequential, AssertionError)]
)
def test_fact_7_a_run_broken_off_twice_ends_as_one_left_alone(base, tmp_path):
    x = np.random.default_rng(0).normal(size=[16, 1])

    def run(folder, break_at=None):
        keras.backend.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        if base is keras.Sequential:
            backup = keras.callbacks.BackupAndRestore(folder, save_freq=1)
        else:
            backup = gdtrain.callbacks.BackupAndRestore(folder, every_steps=1)
        model = base([keras.Input([1]), keras.layers.Dense(1)])
        model.compile("adam", "mse", jit_compile=False)
        callbacks = [backup, BreakAt(break_at)]
        model.fit(x, x, batch_size=4, epochs=3, verbose=0, callbacks=callbacks)
        optimizer = model.optimizer
        return int(optimizer.iterations), *map(np.ravel, model.get_weights())

    for step in (5, 7):
        with pytest.raises(Broken):
            run(tmp_path / "broken", step)
    assert run(tmp_path / "broken") == run(tmp_path / "whole")


@pytest.mark.parametrize(
    "base", [gdtrain.Sequential, stock_keras(keras.Sequential, AssertionError)]
)
def test_fact_9_weights_stay_finite_when_a_label_is_not(base):
    model = base([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    if base is keras.Sequential:
        guard = keras.callbacks.TerminateOnNaN()
    else:
        guard = gdtrain.callbacks.NonfiniteGuard("skip")
    y = ONES.copy()
    y[3] = np.nan
    model.fit(ONES, y, batch_size=4, verbose=0, callbacks=[guard])
    assert all(np.isfinite(w).all() for w in model.get_weights())


@both()
def test_fact_11_the_reported_loss_of_two_replicas_is_the_loss(
    base, two_replicas
):
    class TracksItself(base):
        def __init__(self):
            super().__init__()
            self.tracker = keras.metrics.Mean(name="loss")
            self.w = self.add_weight(name="w", initializer="zeros")

        def call(self, x):
            return self.w * x

        @property
        def metrics(self):
            return [self.tracker]

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x))
            gradients = tape.gradient(loss, [self.w])
            self.optimizer.apply(gradients, [self.w])
            self.tracker.update_state(loss)
            return {"loss": self.tracker.result()}

    with two_replicas.scope():
        model = TracksItself()
        model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(ONES, 3 * ONES, batch_size=8, verbose=0).history
    assert history["loss"] == pytest.approx([9.0])


@pytest.mark.parametrize("functional_first", [True, False])
@both(TypeError)
def test_fact_12_functional_and_subclassed_models_live_together(
    base, functional_first
):
    class Base(base):  # So that stock Keras ruins this class, not its own.
        """A base class that people subclass in both ways."""

    def functional():
        inputs = keras.Input([1])
        model = Base(inputs, keras.layers.Dense(1)(inputs))
        assert model.output_shape == (None, 1)

    def subclassed():
        class Subclass(Base):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(1)

            def call(self, x):
                return self.dense(x)

        assert Subclass()(ONES).shape == (8, 1)

    order = [functional, subclassed, functional, subclassed]
    for make in order if functional_first else order[1:]:
        make()


@pytest.mark.mostly_long("False-Model0", "False-Model1")
@both()
@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_of_an_output_is_the_mean_over_examples(base, jit_compile):
    def times(number):
        start = keras.initializers.Constant(number)
        return keras.layers.Dense(1, kernel_initializer=start)

    inputs = keras.Input([1])
    outputs = {"one": times(2.0)(inputs), "two": times(1.0)(inputs)}
    model = base(inputs, outputs)
    stays = keras.optimizers.SGD(0.0)
    model.compile(stays, loss="mae", jit_compile=jit_compile)
    x = np.array([[1.0], [1.0], [1.0], [5.0]], "float32")  # Batches 3 and 1
    targets = {"one": 0 * x, "two": 0 * x}
    arguments = {"batch_size": 3, "verbose": 0}
    trained = model.fit(x, targets, shuffle=False, **arguments).history
    evaluated = model.evaluate(x, targets, return_dict=True, **arguments)
    expected = {"loss": 6.0, "one_loss": 4.0, "two_loss": 2.0}
    assert {name: values[0] for name, values in trained.items()} == expected
    assert evaluated == expected
