"""Linear models, their descent in NumPy, and callbacks that take notes."""

import keras
import numpy as np
import pandas
import pytest
import tensorflow as tf

import gdtrain
from tests import models

RATE = 0.1
N = 40
X, Y = models.regression_data(N)
QUIET = {"shuffle": False, "verbose": 0}
START = np.full([3, 1], 0.5)
WEIGHT = np.linspace(0.2, 2, N).astype("float32")

# That what is expected is what Keras does, `pytest -m long` checks.
both = pytest.mark.parametrize(
    "base",
    [
        pytest.param(keras, id="keras", marks=pytest.mark.long),
        pytest.param(gdtrain, id="gdtrain"),
    ],
)


def compiled(model, rate=RATE, loss="mse", **arguments):
    """`model`, compiled for plain descent; without XLA, which is slow."""
    arguments = {"jit_compile": False, **arguments}
    model.compile(keras.optimizers.SGD(rate), loss, **arguments)
    return model


def half(units=1, **arguments):
    """A layer of weights 0.5 without a bias."""
    start = keras.initializers.Constant(0.5)
    return keras.layers.Dense(
        units, use_bias=False, kernel_initializer=start, **arguments
    )


def linear(base, *layers, **arguments):
    """A compiled `y = x w` that starts from `START`."""
    model = base.Sequential([keras.Input([3]), *layers, half(name="line")])
    return compiled(model, **arguments)


def weights_of(model):
    return model.get_layer("line").kernel.numpy()


def arrays(x=X, y=Y, batch_size=16, **arguments):
    """Arguments of `fit` or `evaluate`."""
    return {"x": x, "y": y, "batch_size": batch_size, **arguments}


def train(model, epochs=1, **arguments):
    """`model.fit` on `arrays`, in order and quietly, unless told."""
    return model.fit(**{**QUIET, **arrays(epochs=epochs), **arguments})


def rows(size, count=N):
    """The slices of the batches of one epoch."""
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


class Descent:
    """The descent of `linear` in NumPy, batch by batch.

    Attributes:
        weights: The weights after each step.
        losses: The loss of each step, before its update.
        sizes: The number of examples of each step.
    """

    def __init__(self, epochs, x=X, y=Y, weight=None, rate=RATE, start=START):
        w, x = start, np.asarray(x, float)
        y = np.asarray(y, float).reshape(-1, 1)
        weight = np.ones(len(x)) if weight is None else weight
        batches = [batch for epoch in epochs for batch in epoch]
        rates = np.broadcast_to(rate, len(batches))
        self.ends = np.cumsum([len(epoch) for epoch in epochs])
        self.weights, self.losses, self.sizes = [], [], []
        for batch, step_rate in zip(batches, rates, strict=True):
            error = x[batch] @ w - y[batch]
            factor = np.reshape(weight[batch], [-1, 1])
            self.losses.append(np.mean(factor * error**2))
            self.sizes.append(len(error))
            w = w - step_rate * 2 * x[batch].T @ (factor * error) / len(error)
            self.weights.append(w)

    @property
    def epoch_weights(self):
        return [self.weights[end - 1] for end in self.ends]

    @property
    def epoch_losses(self):
        parts = zip([0, *self.ends[:-1]], self.ends, strict=True)
        return [
            np.average(self.losses[a:b], weights=self.sizes[a:b])
            for a, b in parts
        ]


def mean_loss(w, x=X, y=Y, weight=1.0):
    return np.mean(weight * np.square(x @ w - y)[:, 0])


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


class Visits(keras.layers.Layer):
    """Notes which batches it sees, by the first feature of each example."""

    def build(self, shape):
        def note(shape, dtype):
            return self.add_weight(
                shape=shape, dtype=dtype, initializer="zeros", trainable=False
            )

        self.seen = note([400], "float32")
        self.ends = note([400], "int32")
        self.end, self.steps = note([], "int32"), note([], "int32")

    def call(self, x):
        places = self.end.value + tf.range(tf.shape(x)[0])
        values = tf.cast(tf.reshape(x, [tf.shape(x)[0], -1])[:, 0], "float32")
        self.seen.assign(
            tf.tensor_scatter_nd_update(
                self.seen.value, places[:, tf.newaxis], values
            )
        )
        self.end.assign_add(tf.shape(x)[0])
        self.ends.assign(
            tf.tensor_scatter_nd_update(
                self.ends.value, [[self.steps.value]], [self.end.value]
            )
        )
        self.steps.assign_add(1)
        return x

    def batches(self):
        ends = self.ends.numpy()[: int(self.steps.numpy())]
        seen = self.seen.numpy()[: int(self.end.numpy())]
        return [part.tolist() for part in np.split(seen, ends[:-1])]


def visiting(base, **arguments):
    """A model that notes its visits, those notes, and data to number them."""
    visits = Visits()
    numbers = np.arange(N, dtype="float32")[:, np.newaxis]
    model = base.Sequential([keras.Input([1]), visits, half(name="line")])
    return compiled(model, rate=0.0, **arguments), visits, numbers


class Calls(keras.callbacks.Callback):
    """Notes every call that Keras documents: name, index, names of logs."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def note(self, name, logs, *index):
        self.calls.append((name, *index, *sorted(logs or {})))

    def batch_ends(self, part="train"):
        name = f"{part}_batch_end"
        return [call[1] for call in self.calls if call[0] == name]


def _hook(name, indexed):
    def with_index(self, index, logs=None):
        self.note(name, logs, index)

    def without_index(self, logs=None):
        self.note(name, logs)

    return with_index if indexed else without_index


for part in ["train", "test", "predict"]:
    for edge in ["begin", "end"]:
        for name, indexed in [
            (f"{part}_{edge}", False),
            (f"{part}_batch_{edge}", True),
            (f"epoch_{edge}", True),
        ]:
            setattr(Calls, f"on_{name}", _hook(name, indexed))


class BatchEnds(keras.callbacks.Callback):
    """Notes the logs of each batch and of each epoch, and the weights."""

    def on_train_begin(self, logs=None):
        self.batches, self.epochs, self.weights = [], [], []
        self.iterations = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, dict(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.weights.append(weights_of(self.model))
        self.iterations.append(int(self.model.optimizer.iterations.numpy()))


class Batches(keras.utils.PyDataset):
    """Batches of arrays, in order."""

    def __init__(self, *arrays, size=16, **arguments):
        super().__init__(**arguments)
        self.arrays, self.size, self.epochs_ended = arrays, size, 0

    def __len__(self):
        return len(rows(self.size, len(self.arrays[0])))

    def __getitem__(self, index):
        batch = slice(self.size * index, self.size * (index + 1))
        return tuple(array[batch] for array in self.arrays)

    def on_epoch_end(self):
        self.epochs_ended += 1


def dataset(*arrays, size=16):
    return tf.data.Dataset.from_tensor_slices(arrays or (X, Y)).batch(size)


def generator(times, *arrays, size=16):
    arrays = arrays or (X, Y)
    for _ in range(times):
        for batch in rows(size, len(arrays[0])):
            yield tuple(array[batch] for array in arrays)


def from_pandas():
    return arrays(pandas.DataFrame(X, columns=[*"abc"]), pandas.Series(Y[:, 0]))


LABELS, CLASS_WEIGHT = np.arange(N)[:, np.newaxis] % 3, {0: 1.0, 1: 3.0, 2: 0.5}
TWO, ROUND = [rows(16)] * 2, np.rint(3 * X).astype("int64")
TENSORS = tf.constant(X), tf.constant(Y)

# Arguments of two epochs of `fit`, their batches, and what is in them.
SOURCES = {
    "arrays": (arrays, TWO, {}),
    "32 unless told": (lambda: arrays(batch_size=None), [rows(32)] * 2, {}),
    "shuffled full batch": (
        lambda: arrays(batch_size=N, shuffle=True),
        [rows(N)] * 2,
        {},
    ),
    "steps cut arrays": (
        lambda: arrays(batch_size=None, steps_per_epoch=3),
        [rows(14)] * 2,
        {},
    ),
    "float64": (lambda: arrays(X.astype(float), Y.astype(float)), TWO, {}),
    "integers": (lambda: arrays(ROUND), TWO, {"x": ROUND}),
    "targets of rank 1": (lambda: arrays(y=Y[:, 0]), TWO, {}),
    "tensors": (lambda: arrays(*TENSORS), TWO, {}),
    "pandas": (from_pandas, TWO, {}),
    "part for validation": (
        lambda: arrays(validation_split=0.25),
        [rows(16, 30)] * 2,
        {},
    ),
    "sample_weight": (
        lambda: arrays(sample_weight=WEIGHT),
        TWO,
        {"weight": WEIGHT},
    ),
    "class_weight": (
        lambda: arrays(y=LABELS, class_weight=CLASS_WEIGHT),
        TWO,
        {"y": LABELS, "weight": np.tile([1, 3, 0.5], 14)[:N]},
    ),
    "dataset": (lambda: {"x": dataset()}, TWO, {}),
    "weighted dataset": (
        lambda: {"x": dataset(X, Y, WEIGHT)},
        TWO,
        {"weight": WEIGHT},
    ),
    "endless dataset goes on": (
        lambda: {"x": dataset().repeat(), "steps_per_epoch": 2},
        [rows(16)[:2], [rows(16)[2], rows(16)[0]]],
        {},
    ),
    "PyDataset": (
        lambda: {"x": Batches(X, Y, WEIGHT)},
        TWO,
        {"weight": WEIGHT},
    ),
    "PyDataset, 2 workers": (lambda: {"x": Batches(X, Y, workers=2)}, TWO, {}),
    "generator": (lambda: {"x": generator(2), "steps_per_epoch": 3}, TWO, {}),
    "initial_epoch": (lambda: arrays(initial_epoch=1), TWO[:1], {}),
}
