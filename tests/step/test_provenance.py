"""What History and telemetry make of what a step returns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models

X, _ = models.regression_data(50)
LABELS = np.arange(50) % 3
HOW = {
    "graph": {"jit_compile": False},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
}


class Tracking(gdtrain.Model):
    """The loss of each step is the mean of the batch; a metric tracks it."""

    def __init__(self, returned):
        super().__init__()
        self.w = self.add_weight(name="w", initializer="zeros")
        self.tracker = keras.metrics.Mean(name="tracked")
        self.returned = returned

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(x) + 0.0 * self.w
        self.optimizer.apply([tape.gradient(loss, self.w)], [self.w])
        self.tracker.update_state(loss)
        return self.returned(self, loss)


LOSSES = np.arange(1, 5, dtype="float32")[:, None]  # 1, 2, 3, 4


def tracked(returned, how="graph", **fitted):
    """`(history, telemetry)` of an epoch of losses 1, 2, 3, 4."""
    model = Tracking(returned)
    model.compile("sgd", **HOW[how])
    telemetry = gdtrain.callbacks.Telemetry()
    history = model.fit(
        LOSSES,
        batch_size=1,
        shuffle=False,
        verbose=0,
        callbacks=[telemetry],
        **fitted,
    )
    return history.history, telemetry


@pytest.mark.mostly_long("eager")
@pytest.mark.parametrize("how", HOW)
def test_running_mean_under_another_name_is_a_running_mean(how):
    """Mean of the epoch in History, the step's own loss in telemetry."""
    history, telemetry = tracked(
        lambda model, loss: {"loss": model.tracker.result()}, how, epochs=2
    )
    assert history == {"loss": [2.5, 2.5]}
    assert telemetry["loss"].tolist() == [1, 2, 3, 4] * 2


@pytest.mark.mostly_long("graph")
@pytest.mark.parametrize("how", HOW)
def test_running_mean_has_the_value_of_each_step_in_telemetry(how):
    history, telemetry = tracked(
        lambda model, loss: {"elbo": model.tracker.result()}, how, epochs=2
    )
    assert history == {"elbo": [2.5, 2.5]}
    np.testing.assert_allclose(telemetry["elbo"], [1, 2, 3, 4] * 2, rtol=1e-6)


def test_what_is_made_of_a_running_mean_is_shown_as_it_is_at_the_end():
    history, telemetry = tracked(
        lambda model, loss: {"squared": model.tracker.result() ** 2}, epochs=2
    )
    assert history == {"squared": [6.25, 6.25]}
    assert "squared" not in telemetry.names


@pytest.mark.mostly_long("xla")
@pytest.mark.parametrize("how", HOW)
def test_number_of_a_batch_under_the_name_of_a_metric_is_of_the_batch(how):
    """The metric of that name has counted other numbers."""
    history, telemetry = tracked(
        lambda model, loss: {"tracked": 10 * loss}, how
    )
    assert history == {"tracked": [25.0]}
    assert telemetry["tracked"].tolist() == [10, 20, 30, 40]


def test_state_is_right_where_a_block_spans_epochs_and_where_it_is_cut():
    def returned(model, loss):
        return {"squared": model.tracker.result() ** 2, "loss": loss}

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            """Ends every block."""

    model = Tracking(returned)
    model.compile("sgd", jit_compile=False)
    whole = model.fit(LOSSES, batch_size=1, epochs=5, verbose=0).history
    cut = model.fit(
        LOSSES, batch_size=1, epochs=5, verbose=0, callbacks=[Look()]
    ).history
    assert whole == cut == {"squared": [6.25] * 5, "loss": [2.5] * 5}


def linear():
    return gdtrain.Sequential(
        [keras.Input([X.shape[1]]), keras.layers.Dense(3)]
    )


def classified(how, microbatches=1, strategy=None, metrics=None, make=None):
    """`(history, telemetry, logits before each step)` of three steps."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = (make or linear)()
        model.compile(
            gdtrain.GradientDescent(0.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=metrics or ["accuracy"],
            microbatches=microbatches,
            **HOW[how],
        )
    telemetry = gdtrain.callbacks.Telemetry("minimal")
    history = model.fit(
        X,
        LABELS,
        batch_size=20,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[telemetry],
    )
    right = model.predict(X, verbose=0).argmax(1) == LABELS
    return history.history, telemetry, right


def of_batches(right):
    """The accuracy of each batch of two epochs; the last has ten examples."""
    parts = [right[:20], right[20:40], right[40:]]
    return [part.mean() for part in parts] * 2


@pytest.mark.mostly_long("1-xla", "2-graph")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("microbatches", [1, 2])
def test_accuracy_of_each_step_is_that_of_its_batch(how, microbatches):
    history, telemetry, right = classified(how, microbatches)
    np.testing.assert_allclose(
        telemetry["accuracy"], of_batches(right), rtol=1e-5
    )
    np.testing.assert_allclose(history["accuracy"], right.mean(), rtol=1e-6)


def test_accuracy_of_each_step_on_two_replicas_is_that_of_its_batch(
    two_replicas,
):
    history, telemetry, right = classified("graph", strategy=two_replicas)
    np.testing.assert_allclose(
        telemetry["accuracy"], of_batches(right), rtol=1e-5
    )
    np.testing.assert_allclose(history["accuracy"], right.mean(), rtol=1e-6)


def test_metric_that_is_no_mean_has_the_result_of_each_batch():
    """Compared with a new metric for each batch."""

    auc = keras.metrics.AUC(name="auc")
    model = gdtrain.Sequential(
        [keras.Input([X.shape[1]]), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile(
        gdtrain.GradientDescent(0.0),
        "binary_crossentropy",
        metrics=[auc, keras.metrics.RootMeanSquaredError(name="rmse")],
        jit_compile=False,
    )
    y = (LABELS == 1).astype("float32")[:, None]
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(
        X, y, batch_size=25, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    found = model.predict(X, verbose=0)
    for step, part in enumerate((slice(25), slice(25, 50))):
        alone = keras.metrics.AUC()
        alone.update_state(y[part], found[part])
        np.testing.assert_allclose(
            telemetry["auc"][step], float(alone.result()), rtol=1e-5
        )
        error = np.sqrt(np.mean((y[part] - found[part]) ** 2))
        np.testing.assert_allclose(telemetry["rmse"][step], error, rtol=1e-5)


def test_metric_that_does_not_add_up_is_left_to_history():
    class Largest(keras.metrics.Metric):
        """The largest of all targets."""

        def __init__(self, name="largest"):
            super().__init__(name=name)
            self.value = self.add_variable((), "zeros", name="value")

        def update_state(self, y_true, y_pred, sample_weight=None):
            largest = tf.reduce_max(tf.cast(y_true, tf.float32))
            self.value.assign(tf.maximum(self.value, largest))

        def result(self):
            return self.value

    history, telemetry, _ = classified("graph", metrics=[Largest()])
    assert history["largest"] == [2.0, 2.0]
    assert "largest" not in telemetry.names


@pytest.mark.mostly_long("graph", "eager")
@pytest.mark.parametrize("how", HOW)
def test_metric_that_the_first_step_makes_has_the_result_of_each_batch(how):
    """The step of a model that its first batch builds, as in Keras's guides."""

    class Own(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            return super().train_step(data) | {"extra": tf.constant(3.0)}

    _, telemetry, right = classified(how, make=Own)
    np.testing.assert_allclose(
        telemetry["accuracy"], of_batches(right), rtol=1e-5
    )
    assert telemetry["extra"].tolist() == [3.0] * 6


def step_in_parts(base, decorated):
    """A model whose step, or the work of it, is a `tf.function`."""

    class Decorated(base):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_initializer="ones")
            self.loss_tracker = keras.metrics.Mean(name="loss")
            self.error = keras.metrics.MeanAbsoluteError(name="mae")

        def call(self, x):
            return self.dense(x)

        @property
        def metrics(self):
            return [self.loss_tracker, self.error]

        def work(self, x, y):
            with tf.GradientTape() as tape:
                prediction = self(x, training=True)
                loss = tf.reduce_mean((y - prediction) ** 2)
            weights = self.trainable_weights
            gradients = tape.gradient(loss, weights)
            self.optimizer.apply_gradients(zip(gradients, weights))
            self.loss_tracker.update_state(loss)
            self.error.update_state(y, prediction)
            return {m.name: m.result() for m in self.metrics}

        def train_step(self, data):
            return self.work(*data)

    if decorated:
        part = getattr(Decorated, decorated)
        setattr(Decorated, decorated, tf.function(part))
    model = Decorated()
    model.compile(keras.optimizers.SGD(0.05), jit_compile=False)
    return model


@pytest.mark.filterwarnings("ignore:The update")
@pytest.mark.parametrize("decorated", ["train_step", "work"])
def test_metrics_of_a_function_within_the_step_are_those_of_keras(decorated):
    def fit(base, decorated, callbacks=()):
        model = step_in_parts(base, decorated)
        x = X[:, :1]
        fitted = {"shuffle": False, "verbose": 0, "callbacks": [*callbacks]}
        return model.fit(x, 3 * x, 16, epochs=2, **fitted).history

    telemetry, plain = (gdtrain.callbacks.Telemetry(["loss"]) for _ in "ab")
    history = fit(gdtrain.Model, decorated, [telemetry])
    for name, values in fit(keras.Model, decorated).items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    fit(gdtrain.Model, None, [plain])
    np.testing.assert_allclose(telemetry["loss"], plain["loss"], rtol=1e-5)


class Compiled(keras.metrics.Mean):
    """A metric whose result is a function that is compiled by itself."""

    @tf.function
    def result(self):
        return super().result()


def test_result_that_is_compiled_by_itself_may_have_another_name():
    class Other(Tracking):
        def __init__(self, returned):
            super().__init__(returned)
            self.tracker = Compiled(name="tracked")

    model = Other(lambda model, loss: {"other": model.tracker.result()})
    model.compile("sgd", jit_compile=False)
    arguments = {"batch_size": 1, "shuffle": False, "verbose": 0}
    history = model.fit(LOSSES, **arguments)
    assert history.history == {"other": [2.5]}
