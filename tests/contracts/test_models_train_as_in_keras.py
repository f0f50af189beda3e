"""Kinds of models and data that people have: same numbers as in Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models

X, Y = models.regression_data(40)
BASES = {
    "gdtrain": (gdtrain.Model, gdtrain.Sequential),
    "keras": (keras.Model, keras.Sequential),
}


def functional(model, sequential):
    inputs = keras.Input([3])
    hidden = keras.layers.Dense(4, activation="relu")(inputs)
    result = model(inputs, keras.layers.Dense(1)(hidden))
    result.compile("adam", "mse", metrics=["mae"])
    return result, (X, Y)


def subclassed(model, sequential):
    class Subclass(model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    result = Subclass()
    result.compile("sgd", "mse", metrics=["mae"])
    return result, (X, Y)


def subclass_that_calls_its_parent_with_outputs(model, sequential):
    class Network(model):
        def __init__(self, units):
            inputs = keras.Input([3])
            hidden = keras.layers.Dense(units, activation="relu")(inputs)
            super().__init__(inputs, keras.layers.Dense(1)(hidden))

    result = Network(4)
    result.compile("adam", "mse")
    return result, (X, Y)


def unbuilt_sequential(model, sequential):
    result = sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    result.compile("adam", "mse")
    return result, (X, Y)


def regularizers_and_added_losses(model, sequential):
    class Penalized(keras.layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
            return x

    result = sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4, kernel_regularizer="l2"),
            Penalized(),
            keras.layers.Dense(1, bias_regularizer="l1"),
        ]
    )
    result.compile("sgd", "mse")
    return result, (X, Y)


def batch_normalization_and_dropout(model, sequential):
    result = sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=3),
            keras.layers.Dense(1),
        ]
    )
    result.compile("sgd", "mse")
    return result, (X, Y)


def frozen_layer(model, sequential):
    result = sequential(
        [keras.Input([3]), keras.layers.Dense(4), keras.layers.Dense(1)]
    )
    result.layers[0].trainable = False
    result.compile("sgd", "mse")
    return result, (X, Y)


def constrained_weights(model, sequential):
    constraint = keras.constraints.NonNeg()
    result = sequential(
        [keras.Input([3]), keras.layers.Dense(1, kernel_constraint=constraint)]
    )
    result.compile(keras.optimizers.SGD(0.5), "mse")
    return result, (X, Y)


def nested_inputs_and_outputs(model, sequential):
    inputs = {"a": keras.Input([3], name="a"), "b": keras.Input([3], name="b")}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    outputs = {
        "first": keras.layers.Dense(1, name="first")(joined),
        "second": keras.layers.Dense(2, name="second")(joined),
    }
    result = model(inputs, outputs)
    result.compile(
        "sgd",
        {"first": "mse", "second": "mae"},
        loss_weights={"first": 1.0, "second": 0.3},
        metrics={"first": ["mae"], "second": ["mse"]},
        # Else Keras weighs a small last batch as the others
        # (test_keras_traps.py).
        run_eagerly=not issubclass(model, gdtrain.DescentTrainer),
    )
    targets = {"first": Y, "second": np.concatenate([Y, -Y], 1)}
    return result, ({"a": X, "b": 2 * X}, targets)


def embedding_with_sparse_gradient(model, sequential):
    result = sequential(
        [
            keras.Input([3], dtype="int32"),
            keras.layers.Embedding(7, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    result.compile("adam", "mse")
    return result, (np.abs(X * 6).astype("int32"), Y)


def mixed_bfloat16(model, sequential):
    policy = "mixed_bfloat16"
    result = sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4, dtype=policy),
            keras.layers.Dense(1, dtype=policy),
        ]
    )
    result.compile("adam", "mse")
    return result, (X, Y)


def residual_convolutions_in_bfloat16(model, sequential):
    policy = "mixed_bfloat16"
    inputs = keras.Input([3, 2, 1])
    x = keras.layers.Conv2D(4, 3, padding="same", dtype=policy)(inputs)
    x = keras.layers.ReLU(dtype=policy)(x)
    y = keras.layers.Conv2D(4, 3, padding="same", dtype=policy)(x)
    y = keras.layers.BatchNormalization(dtype=policy)(y)
    x = keras.layers.Flatten()(keras.layers.add([x, y], dtype=policy))
    result = model(inputs, keras.layers.Dense(1, dtype="float32")(x))
    assert y.dtype == "bfloat16"
    assert {weight.dtype for weight in result.weights} == {"float32"}
    result.compile("adam", "mse")
    return result, (np.tile(X.reshape(len(X), 3, 1, 1), [1, 1, 2, 1]), Y)


def own_compute_loss_without_training(model, sequential):
    class OwnLoss(model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def compute_loss(self, x, y, y_pred, sample_weight):
            return keras.ops.mean(keras.ops.abs(y - y_pred)) ** 2

    result = OwnLoss()
    result.compile("adam")
    return result, (X, Y)


KINDS = [
    functional,
    subclassed,
    subclass_that_calls_its_parent_with_outputs,
    unbuilt_sequential,
    regularizers_and_added_losses,
    batch_normalization_and_dropout,
    frozen_layer,
    constrained_weights,
    nested_inputs_and_outputs,
    embedding_with_sparse_gradient,
    mixed_bfloat16,
    residual_convolutions_in_bfloat16,
    own_compute_loss_without_training,
]


def train(kind, bases, **fit_arguments):
    keras.utils.set_random_seed(4)
    model, (x, y) = kind(*bases)
    arguments = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    history = model.fit(x, y, **{**arguments, **fit_arguments}).history
    return model, history, model.evaluate(x, y, verbose=0, return_dict=True)


def assert_same(ours, theirs, tolerance=1e-6):
    for a, b in zip(
        ours[0].get_weights(), theirs[0].get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert list(ours[1]) == list(theirs[1])
    for key, values in theirs[1].items():
        np.testing.assert_allclose(ours[1][key], values, rtol=tolerance)
    assert ours[2] == pytest.approx(theirs[2], rel=tolerance)


@pytest.mark.mostly_long(
    "nested_inputs_and_outputs",
    "batch_normalization_and_dropout",
    "subclassed",
    "mixed_bfloat16",
    "regularizers_and_added_losses",
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_kind_of_model_trains_as_in_keras_and_is_observed(kind):
    telemetry = gdtrain.callbacks.Telemetry()
    ours = train(kind, BASES["gdtrain"], callbacks=[telemetry])
    assert isinstance(ours[0], gdtrain.DescentTrainer)
    assert_same(ours, train(kind, BASES["keras"]))
    np.testing.assert_array_equal(telemetry.steps, np.arange(1, 7))
    assert np.isfinite(telemetry["gradient_norm"]).all()
    assert (telemetry["nonfinite_count"] == 0).all()


def test_frozen_layer_has_no_telemetry():
    telemetry = gdtrain.callbacks.Telemetry()
    train(frozen_layer, BASES["gdtrain"], callbacks=[telemetry])
    names = telemetry.names
    layers = {name for name in names if name.startswith("weight_norm/")}
    assert len(layers) == 1


FIT_ARGUMENTS = {
    "sample_weight": {"sample_weight": np.linspace(0, 2, 40)},
    "class_weight": {"class_weight": {0: 1.0, 1: 3.0, -1: 0.5}},
    "validation_split": {"validation_split": 0.25},
    "validation_data": {"validation_data": (X[:7], Y[:7])},
    "validation_freq": {"validation_split": 0.25, "validation_freq": 2},
    "steps_per_epoch": {"steps_per_epoch": 2},
    "initial_epoch": {"initial_epoch": 1},
}


# test_fit_contract.py has closed forms for them all.
@pytest.mark.mostly_long("sample_weight")
@pytest.mark.parametrize("argument", FIT_ARGUMENTS)
def test_argument_of_fit_works_as_in_keras(argument):
    arguments = FIT_ARGUMENTS[argument]
    ours = train(functional, BASES["gdtrain"], **arguments)
    theirs = train(functional, BASES["keras"], **arguments)
    assert_same(ours, theirs)


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return X[rows], Y[rows]


def generator():
    while True:
        for i in range(3):
            yield X[16 * i : 16 * i + 16], Y[16 * i : 16 * i + 16]


SOURCES = {
    "dataset": lambda: {"x": dataset()},
    "endless dataset": lambda: {
        "x": dataset().repeat(),
        "steps_per_epoch": 4,
    },
    "PyDataset": lambda: {"x": Batches()},
    "generator": lambda: {"x": generator(), "steps_per_epoch": 4},
    "tensors": lambda: {
        "x": tf.constant(X),
        "y": tf.constant(Y),
        "batch_size": 16,
    },
}


@pytest.mark.mostly_long("PyDataset-2")
@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize("source", SOURCES)
def test_source_of_batches_works_as_in_keras(source, steps_per_execution):
    results = []
    for bases in BASES.values():
        keras.utils.set_random_seed(4)
        model, _ = functional(*bases)
        model.steps_per_execution = steps_per_execution
        history = model.fit(
            **SOURCES[source](), epochs=2, shuffle=False, verbose=0
        )
        results.append(
            (
                model,
                history.history,
                model.evaluate(X, Y, verbose=0, return_dict=True),
            )
        )
    assert_same(*results)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_data_without_a_batch_is_warned_of_and_changes_nothing(run_eagerly):
    """Stock Keras does so in a graph, and raises when running eagerly."""
    model, _ = functional(*BASES["gdtrain"])
    model.run_eagerly = run_eagerly
    weights = model.get_weights()
    nothing = dataset().filter(lambda x, y: False)
    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(nothing, verbose=0)
    assert history.history == {}
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_method_on_a_batch_works_as_in_keras(method):
    results = []
    for bases in BASES.values():
        keras.utils.set_random_seed(4)
        model, _ = functional(*bases)
        first = getattr(model, method)(X[:8], Y[:8], return_dict=True)
        second = getattr(model, method)(X[8:16], Y[8:16])
        results.append([*first.values(), *second, *model.get_weights()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_predictions_are_those_of_keras():
    ours, theirs = (train(functional, b)[0] for b in BASES.values())
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-5
    )


@pytest.mark.parametrize("base", BASES)
def test_callbacks_of_keras_see_every_batch_and_epoch(base, tmp_path):
    calls = []
    model, _ = functional(*BASES[base])
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: calls.append(sorted(logs)),
        on_epoch_end=lambda epoch, logs: calls.append(epoch),
    )
    model.fit(
        X,
        Y,
        batch_size=20,
        epochs=2,
        verbose=0,
        validation_split=0.5,
        callbacks=[
            watch,
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.ModelCheckpoint(tmp_path / "model.keras"),
            keras.callbacks.EarlyStopping(patience=5),
            keras.callbacks.ReduceLROnPlateau(),
            keras.callbacks.TensorBoard(tmp_path / "logs"),
        ],
    )
    assert calls == [["loss", "mae"], 0, ["loss", "mae"], 1]
    assert (tmp_path / "log.csv").read_text().startswith("epoch,loss")
    assert (tmp_path / "model.keras").exists()


def test_learning_rate_can_be_set_between_and_during_fits():
    model, data = functional(gdtrain.Model, gdtrain.Sequential)
    telemetry = gdtrain.callbacks.Telemetry()
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch: [0.1, 0.01][epoch]
    )
    model.fit(
        *data,
        batch_size=20,
        epochs=2,
        verbose=0,
        callbacks=[schedule, telemetry],
    )
    model.optimizer.learning_rate = 0.5
    model.fit(*data, batch_size=20, verbose=0, callbacks=[telemetry])
    np.testing.assert_allclose(
        telemetry["learning_rate"], [0.1, 0.1, 0.01, 0.01, 0.5, 0.5]
    )
    np.testing.assert_array_equal(telemetry.steps, np.arange(1, 7))


def test_stop_training_stops_training():
    model, data = functional(gdtrain.Model, gdtrain.Sequential)
    telemetry = gdtrain.callbacks.Telemetry()

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model.fit(*data, batch_size=8, verbose=0, callbacks=[Stop(), telemetry])
    assert telemetry.steps.tolist() == [1, 2]


def test_mixed_float16_scales_the_loss_and_skips_steps_that_overflow():
    results = []
    for _, sequential in BASES.values():
        keras.utils.set_random_seed(4)
        policy = keras.dtype_policies.DTypePolicy("mixed_float16")
        with keras.device("cpu"):
            keras.config.set_dtype_policy(policy)
            try:
                model = sequential([keras.Input([3]), keras.layers.Dense(1)])
            finally:
                keras.config.set_dtype_policy("float32")
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.optimizer.initial_scale = 2.0**22  # Overflows at first
        telemetry = gdtrain.callbacks.Telemetry()
        observers = [telemetry] if results == [] else []
        model.fit(
            X, Y, batch_size=2, shuffle=False, verbose=0, callbacks=observers
        )
        results.append(model)
        if observers:
            assert telemetry["nonfinite_count"][0] > 0
            assert telemetry["nonfinite_count"][-1] == 0
            assert 0 < telemetry["gradient_norm"][-1] < 100
    ours, theirs = results
    assert type(ours.optimizer).__name__ == "LossScaleOptimizer"
    scales = [float(m.optimizer.dynamic_scale.numpy()) for m in results]
    assert scales[0] == scales[1] < 2.0**22
    iterations = [int(m.optimizer.iterations.numpy()) for m in results]
    assert 0 < iterations[0] == iterations[1] < 20
    assert models.distance(ours.get_weights(), theirs.get_weights()) < 1e-6
