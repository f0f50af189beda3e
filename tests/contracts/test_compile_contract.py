"""What Keras documents of `compile`, in numbers."""

import keras
import numpy as np
import pytest

from tests.contracts import fit_cases
from tests.contracts.fit_cases import (
    START,
    WEIGHT,
    BatchEnds,
    Descent,
    N,
    X,
    Y,
    both,
    close,
    compiled,
    half,
    linear,
    mean_loss,
    rows,
    train,
    weights_of,
)

LABELS, CLASS_WEIGHT = fit_cases.LABELS, fit_cases.CLASS_WEIGHT
VALID = (X[:17], Y[:17], WEIGHT[:17])
EPOCH, TWO = [rows(16)], [rows(16)] * 2


COMPILED = {
    "automatic XLA": {"jit_compile": "auto"},
    "eager": {"run_eagerly": True},
    "XLA": {"jit_compile": True},
    "blocks of 2": {"steps_per_execution": 2},
    "blocks of 10": {"steps_per_execution": 10},
    "eager blocks of 2": {"steps_per_execution": 2, "run_eagerly": True},
}


@pytest.mark.mostly_long(
    "XLA-gdtrain",
    "blocks of 2-gdtrain",
    "eager blocks of 2-gdtrain",
)
@both
@pytest.mark.parametrize("way", COMPILED)
def test_weights_and_history_of_each_way_to_run(base, way):
    model, expected = linear(base, **COMPILED[way]), Descent([rows(6)] * 2)
    history = train(
        model, epochs=2, batch_size=6, validation_data=(X, Y)
    ).history
    close(weights_of(model), expected.weights[-1])
    close(history["loss"], expected.epoch_losses)
    close(history["val_loss"], [mean_loss(w) for w in expected.epoch_weights])


@both
def test_compile_anew_forgets_the_optimizer_and_takes_trainable(base):
    model = base.Sequential(
        [keras.Input([3]), half(3, name="first"), half(name="line")]
    )
    model.compile("adam", "mse", metrics=["mae"], jit_compile=False)
    train(model)
    first, last = (weights.copy() for weights in model.get_weights())
    model.layers[0].trainable = False
    model.compile("adam", "mse", metrics=["mse"], jit_compile=False)
    assert int(model.optimizer.iterations.numpy()) == 0
    assert list(train(model).history) == ["loss", "mse"]
    np.testing.assert_array_equal(model.get_weights()[0], first)
    assert (model.get_weights()[1] != last).all()


@both
def test_metrics_and_weighted_metrics(base):
    model = linear(
        base,
        rate=0.0,
        metrics=["mae", keras.metrics.RootMeanSquaredError(name="root")],
        weighted_metrics=["mse"],
    )
    history = train(model, epochs=2, sample_weight=WEIGHT).history
    error = np.square(X @ START - Y)[:, 0]
    for name, value in {
        "loss": np.mean(WEIGHT * error),
        "mae": np.mean(np.sqrt(error)),
        "root": np.sqrt(np.mean(error)),
        "mse": np.average(error, weights=WEIGHT),
    }.items():
        close(history[name], [value] * 2)


@both
def test_own_metric_is_reset_by_itself_in_each_epoch(base):
    class Updates(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="updates")
            self.count = self.add_weight(initializer="zeros", name="count")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(1.0)

        def result(self):
            return self.count.value + 0.0

        def reset_state(self):
            self.count.assign(10.0)

    model = linear(base, metrics=[Updates()])
    history = train(model, epochs=2, validation_data=(X, Y)).history
    assert history["updates"][1] == 13.0
    assert history["val_updates"] == [13.0, 13.0]


@both
def test_metrics_of_many_thresholds_or_classes(base):
    one_hot = np.eye(3, dtype="float32")[LABELS[:, 0]]
    output = keras.layers.Dense(3, activation="softmax")
    model = base.Sequential([keras.Input([3]), output])

    def metrics():
        return [
            keras.metrics.F1Score(average=None),
            keras.metrics.AUC(name="auc"),
        ]

    compiled(model, 0.0, "categorical_crossentropy", metrics=metrics())
    history = train(model, epochs=2, y=one_hot).history
    for metric in metrics():
        metric.update_state(one_hot, model(X))
        close(history[metric.name], [metric.result().numpy()] * 2)
    assert np.shape(history["f1_score"]) == (2, 3)


@both
def test_added_losses_and_activity_regularizers(base):
    class Added(keras.layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * keras.ops.mean(x**2))
            return x

    regular = keras.layers.ActivityRegularization(l2=0.01)
    model = linear(base, Added(), regular, rate=0.0)
    history = train(model, batch_size=20).history
    extra = 0.1 * np.mean(X**2) + 0.01 * np.sum(X**2) / N
    close(history["loss"], [mean_loss(START) + extra])


@both
def test_moving_averages_of_batch_normalization(base):
    normalization = keras.layers.BatchNormalization(momentum=0.5)
    train(linear(base, normalization), epochs=2)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in rows(16) * 2:
        mean = (mean + X[batch].mean(0)) / 2
        variance = (variance + X[batch].var(0)) / 2
    close(normalization.moving_mean.numpy(), mean)
    close(normalization.moving_variance.numpy(), variance)


@both
def test_dropout_repeats_with_its_seed_and_differs_between_steps(base):
    runs = []
    for _ in range(2):
        watch = BatchEnds()
        dropout = keras.layers.Dropout(0.5, seed=1)
        train(linear(base, dropout, rate=0.0), epochs=2, callbacks=[watch])
        runs.append([logs["loss"] for _, logs in watch.batches])
    assert runs[0] == runs[1] and len(set(runs[0])) == 6


@both
def test_state_of_a_stateful_rnn_goes_on_from_batch_to_batch(base):
    rnn = keras.layers.SimpleRNN(
        1,
        activation=None,
        stateful=True,
        kernel_initializer="ones",
        recurrent_initializer="ones",
        trainable=False,
    )
    model = base.Sequential([keras.Input(batch_shape=[2, 1, 1]), rnn, half()])
    x, y = np.ones([6, 1, 1]), np.zeros([6, 1])
    history = train(compiled(model, 0.0), 2, x=x, y=y, batch_size=2).history
    close(history["loss"], np.array([1 + 4 + 9, 16 + 25 + 36]) / 3 / 4)
