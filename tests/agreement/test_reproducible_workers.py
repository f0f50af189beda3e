"""`compile(reproducible_workers=k)`: one and two replicas, equal to the bit."""

import hashlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models
from tests.long import mostly_long

layers = keras.layers

# 45 examples in batches of 16: the last has 13, which neither 2 nor 4 divide.
EXAMPLES, BATCH = 45, 16


def perceptron():
    return [layers.Dense(16, "relu"), layers.Dense(1)]


def convolution():
    return [
        layers.Reshape([4, 4, 1]),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dropout(0.3, seed=2),
        layers.Dense(1),
    ]


def recurrent():
    return [
        layers.Lambda(lambda x: tf.cast(tf.abs(x) * 10, tf.int32)),
        layers.Embedding(100, 4),
        layers.LSTM(4),
        layers.Dense(1),
    ]


def attention():
    inputs = keras.Input([8, 2])
    attended = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    block = keras.Model(
        inputs, layers.LayerNormalization()(layers.add([inputs, attended]))
    )
    return [
        layers.Reshape([8, 2]),
        block,
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    ]


KINDS = {
    "perceptron, momentum": (
        perceptron,
        lambda: gdtrain.GradientDescent(0.01, momentum=0.9),
        {"global_clipnorm": 1.0},
    ),
    "perceptron, clipnorm": (
        perceptron,
        lambda: keras.optimizers.SGD(0.01, clipnorm=0.1),
        {},
    ),
    "perceptron, muon": (
        perceptron,
        lambda: keras.optimizers.Muon(0.01, rms_rate=0.2),
        {},
    ),
    "perceptron, eager": (
        perceptron,
        lambda: keras.optimizers.Adam(0.01),
        {"run_eagerly": True},
    ),
    "convolution, adam": (
        convolution,
        lambda: keras.optimizers.Adam(0.01),
        {"metrics": ["mae"]},
    ),
    "recurrent, adam": (recurrent, lambda: keras.optimizers.Adam(0.01), {}),
    "attention, adamw with ema": (
        attention,
        lambda: keras.optimizers.AdamW(0.01, use_ema=True),
        {},
    ),
    "attention, loss scale": (
        attention,
        lambda: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.01, global_clipnorm=0.5)
        ),
        {},
    ),
}


def digest(variables):
    """SHA-256 of the values of variables."""
    content = b"".join(np.asarray(v).tobytes() for v in variables)
    return hashlib.sha256(content).hexdigest()


def results(strategy, kind, callbacks=(), dataset=False):
    """What a training leaves, to the bit."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    make, optimizer, arguments = KINDS[kind]
    x, y = models.regression_data(EXAMPLES, 16)
    with strategy.scope():
        model = gdtrain.Sequential([keras.Input([16]), *make()])
        model.compile(optimizer(), "mse", reproducible_workers=4, **arguments)
    data = {"x": x, "y": y, "batch_size": BATCH}
    if dataset:
        data = {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)}
    history = model.fit(
        **data,
        epochs=2,
        validation_data=(x[:21], y[:21]),
        callbacks=list(callbacks),
        verbose=0,
    )
    return {
        "weights": digest(model.get_weights()),
        "optimizer": digest([v.numpy() for v in model.optimizer.variables]),
        "history": history.history,
    }


@pytest.mark.parametrize(
    "kind", mostly_long(KINDS, "perceptron, momentum", "convolution, adam")
)
def test_two_replicas_train_to_the_bits_of_one(two_replicas, kind):
    """Telemetry, of the two alone, changes no bit either."""
    found = results(two_replicas, kind, [gdtrain.callbacks.Telemetry()])
    assert found == results(tf.distribute.get_strategy(), kind)


def step_without_descend(model, data):
    x, y = data
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    weights = model.trainable_variables
    model.optimizer.apply(tape.gradient(loss, weights), weights)
    return {"loss": loss}


def step_by_hand(model, data):
    (weight, *_) = model.trainable_variables
    weight.assign(0.9 * weight)
    return {"loss": tf.reduce_sum(weight)}


def step_with_two_updates(model, data):
    x, y = data
    for name in ("first", "second"):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        model.descend(tape, loss, name=name)
    return {"loss": loss}


def step_with(change):
    """A `train_step` that makes a change beside its update."""

    def train_step(model, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
            loss += change(model)
        model.descend(tape, loss)
        return {"loss": loss}

    return train_step


def count_calls(model):
    if not hasattr(model, "calls"):
        with tf.init_scope():
            model.calls = tf.Variable(0.0, name="calls")
    return tf.cond(
        model.calls < 100, lambda: model.calls.assign_add(1.0), lambda: 0.0
    )


@pytest.mark.parametrize(
    "step, error, message",
    [
        (step_without_descend, ValueError, "must call `self.descend"),
        (step_by_hand, RuntimeError, "needs a `train_step` that calls"),
        (step_with_two_updates, ValueError, "several updates cannot be split"),
        (step_with(count_calls), ValueError, r"sets \['calls:0'\]"),
        (
            step_with(lambda model: keras.random.normal([])),
            ValueError,
            "sets .'keras.random without a seed'",
        ),
        (
            step_with(lambda model: tf.random.normal([])),
            ValueError,
            "operations .'RandomStandardNormal'",
        ),
        (
            step_with(lambda _: tf.random.get_global_generator().normal([])),
            ValueError,
            'sets ."tf.random\'s generator"',
        ),
    ],
)
def test_a_step_that_cannot_be_split_is_refused(step, error, message):
    kind = type("OwnStep", (gdtrain.Sequential,), {"train_step": step})
    model = models.network(kind)
    model.compile("sgd", "mse", reproducible_workers=2)
    before = model.get_weights()
    with pytest.raises(error, match=message) as caught:
        model.fit(*models.regression_data(), verbose=0)
    assert "reproducible_workers=2" in str(caught.value)
    assert models.distance(model.get_weights(), before) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"reproducible_workers": 0}, "must be a positive integer"),
        (
            {"reproducible_workers": 2, "microbatches": 2},
            "microbatches=2 as well",
        ),
        (
            {"reproducible_workers": 2, "jit_compile": True},
            "jit_compile=True",
        ),
        (
            {
                "reproducible_workers": 2,
                "loss": keras.losses.MeanSquaredError(reduction="sum"),
            },
            "must be a mean over examples",
        ),
    ],
)
def test_what_cannot_be_combined_is_refused(arguments, message):
    model = models.network()
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", **{"loss": "mse"} | arguments)


def test_a_number_that_replicas_do_not_divide_is_refused(two_replicas):
    with two_replicas.scope():
        model = models.network()
        with pytest.raises(ValueError, match="=3 with 2 replicas"):
            model.compile("sgd", "mse", reproducible_workers=3)


def test_xla_that_is_set_later_is_refused():
    model = models.network()
    model.compile("sgd", "mse", reproducible_workers=2)
    model.jit_compile = True
    with pytest.raises(ValueError, match="jit_compile=True"):
        model.fit(*models.regression_data(), verbose=0)


def test_stateful_layers_are_refused_by_name():
    model = gdtrain.Sequential(
        [
            keras.Input([4, 3], batch_size=5),
            layers.GRU(2, stateful=True, name="memory"),
        ]
    )
    model.compile("sgd", "mse", reproducible_workers=2)
    with pytest.raises(ValueError, match="stateful layers: .*memory"):
        model.fit(np.zeros([45, 4, 3]), np.zeros([45, 2]), batch_size=5)


def test_a_dataset_that_replicas_cannot_share_evenly_is_refused(two_replicas):
    message = "With reproducible_workers=4, .* Received: 7 .* should have 6"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        results(two_replicas, "perceptron, momentum", dataset=True)
