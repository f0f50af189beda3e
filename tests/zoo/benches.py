"""The compiled models of the zoo, each made once, when first asked for."""

import functools

import keras

import gdtrain
from tests.zoo import data
from tests.zoo.bench import Bench

LABELS = "sparse_categorical_crossentropy"


def dense(shape, units, activation, outputs, last=None, **options):
    """Builds a net of dense layers, named in order."""

    def build(base):
        layers = [
            keras.layers.Dense(
                count, activation=activation, name=f"hidden_{i}", **options
            )
            for i, count in enumerate(units)
        ]
        head = keras.layers.Dense(outputs, activation=last, name="head")
        return base([keras.Input(shape), *layers, head], name="net")

    return build


def convolutional(base):
    """A small CNN for pictures of 8x8."""
    return base(
        [
            keras.Input([8, 8, 1]),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv_0"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(6, 2, activation="relu", name="conv_1"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax", name="head"),
        ],
        name="cnn",
    )


def normalized(base):
    """Dense layers with batch normalization."""
    layers = []
    for i in range(2):
        layers += [
            keras.layers.Dense(16, name=f"hidden_{i}"),
            keras.layers.BatchNormalization(name=f"norm_{i}"),
            keras.layers.ReLU(),
        ]
    head = keras.layers.Dense(3, activation="softmax", name="head")
    return base([keras.Input([4]), *layers, head], name="normalized")


def times_zero(base):
    """A net whose output is 0 whatever comes in."""
    return base(
        [
            keras.Input([3]),
            keras.layers.Dense(8, activation="tanh", name="hidden"),
            keras.layers.Dense(1, name="head"),
            keras.layers.Rescaling(0.0),
        ],
        name="times_zero",
    )


def descent(**options):
    """Plain gradient descent, whose rate is set for each training."""
    return functools.partial(gdtrain.GradientDescent, 0.1, **options)


def momentum():
    """Keras's own, with momentum."""
    return keras.optimizers.SGD(0.1, momentum=0.9)


LINE = dense([1], [], None, 1)
PLANE = dense([8], [], None, 1)
TANH = dense([3], [16], "tanh", 1)
RIDGED = dense([3], [12], "tanh", 1, kernel_regularizer="l2")
WIDE = dense([3], [64], "relu", 1)
RELU = dense([4], [16, 16], "relu", 3, "softmax")
COIN = dense([4], [8], "relu", 2, "softmax")
ADAM, RMSPROP = keras.optimizers.Adam, keras.optimizers.RMSprop
COSINE = ["loss", "learning_rate", "gradient_norm", "gradient_cosine"]

# name: build, optimizer, batch size, loss, quantities
KINDS = {
    "line, descent": (LINE, descent(), None, "mse"),
    "line, descent, cosine": (LINE, descent(), None, "mse", COSINE),
    "line, descent, minimal": (LINE, descent(), None, "mse", "minimal"),
    "line, momentum": (LINE, momentum, None, "mse"),
    "line, heavy ball": (LINE, descent(momentum=0.9), None, "mse"),
    "line, descent, batches of 10": (LINE, descent(), 10, "mse"),
    "line, Adam": (LINE, ADAM, None, "mse"),
    "line, RMSprop, batches of 20": (LINE, RMSPROP, 20, "mse"),
    "plane, descent": (PLANE, descent(), None, "mse"),
    "plane, SGD, batches of 16": (PLANE, keras.optimizers.SGD, 16, "mse"),
    "plane, Adam, batches of 16": (PLANE, ADAM, 16, "mse"),
    "tanh net, descent": (TANH, descent(), None, "mse"),
    "tanh net, descent, cosine": (TANH, descent(), None, "mse", COSINE),
    "tanh net, descent, batches of 16": (TANH, descent(), 16, "mse"),
    "tanh net, Adam, batches of 16": (TANH, ADAM, 16, "mse"),
    "tanh net, RMSprop": (TANH, RMSPROP, None, "mse"),
    "ridged net, Adam": (RIDGED, ADAM, None, "mse"),
    "ridged net, momentum": (RIDGED, momentum, None, "mse"),
    "wide net, Adam": (WIDE, ADAM, None, "mse"),
    "wide net, momentum, batches of 8": (WIDE, momentum, 8, "mse"),
    "relu net, descent": (RELU, descent(), None, LABELS),
    "relu net, momentum, batches of 32": (RELU, momentum, 32, LABELS),
    "relu net, Adam, batches of 32": (RELU, ADAM, 32, LABELS),
    "relu net, full": (RELU, descent(), 32, LABELS, "full"),
    "coin net, Adam, batches of 32": (COIN, ADAM, 32, LABELS),
    "coin net, descent, batches of 64": (COIN, descent(), 64, LABELS),
    "CNN, descent, batches of 32": (convolutional, descent(), 32, LABELS),
    "CNN, Adam, batches of 32": (convolutional, ADAM, 32, LABELS),
    "batch norm, momentum": (normalized, momentum, 32, LABELS),
    "batch norm, Adam": (normalized, ADAM, 32, LABELS),
}


def _deep(activation, depth, **options):
    return dense([4], [10] * depth, activation, 3, "softmax", **options)


KINDS |= {
    "8 sigmoids, descent": (_deep("sigmoid", 8), descent(), 32, LABELS),
    "12 sigmoids, momentum": (_deep("sigmoid", 12), momentum, 32, LABELS),
    "10 sigmoids, Adam": (_deep("sigmoid", 10), ADAM, None, LABELS),
    "8 tanh, descent": (_deep("tanh", 8), descent(), 32, LABELS),
    "8 tanh, Adam": (_deep("tanh", 8), ADAM, 32, LABELS),
    "times zero, Adam": (times_zero, ADAM, None, "mse"),
    "8 relu, momentum": (
        _deep("relu", 8, kernel_initializer="he_normal"), momentum, None,
        LABELS,
    ),
    "deep line, descent": (
        dense([3], [6, 6], None, 1), descent(), None, "mse",
    ),
    "plateau net, momentum": (TANH, momentum, None, "mse"),
    "6 relu, descent": (
        _deep("relu", 6, kernel_initializer="he_normal"), descent(), 32, LABELS,
    ),
    "6 relu, Adam": (
        _deep("relu", 6, kernel_initializer="he_normal"), ADAM, 32, LABELS,
    ),
}  # fmt: skip


@functools.cache
def get(kind):
    """The `Bench` of a kind."""
    build, optimizer, batch_size, loss, *quantities = KINDS[kind]
    return Bench(
        kind,
        build,
        optimizer(),
        loss=loss,
        batch_size=batch_size,
        quantities=quantities[0] if quantities else "standard",
    )


def data_of(kind):
    """The function that draws a kind's data."""
    first = kind.split()[0].rstrip(",")
    return {
        "line": data.line,
        "plane": data.plane,
        "tanh": data.waves,
        "ridged": data.waves,
        "wide": data.waves,
        "relu": data.blobs,
        "coin": data.coin,
        "CNN": data.pictures,
    }.get(first, data.blobs)
