"""The jobs that every peer does: data, network, first weights, sizes.

A network is a list of layers, each a tuple that a peer builds in its own way:
`("dense", units, is_relu)`, `("conv", filters, padding)`, which is 3x3 with
relu, `("pool",)`, which is 2x2, and `("flatten",)`. Pictures are `[n, height,
width, channels]`, and weights have Keras's shapes and order.
"""

import math

import numpy as np


class Job:
    """Something to train, the same for each peer.

    Args:
        name: Its name on the command line.
        x, y: All examples: float32, and float32 `[n, 1]` or labels int32 [n].
        layers: The network, see above.
        optimizer: `"sgd"` or `"adam"`.
        learning_rate: A float.
        batch_size: Examples a step; all of them: no shuffling.
        epochs: How long to train.
    """

    def __init__(
        self, name, x, y, layers, optimizer, learning_rate, batch_size, epochs
    ):
        self.name = name
        self.x = x
        self.y = y
        self.layers = layers
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.is_full_batch = batch_size == len(x)
        self.is_line = layers == [("dense", 1, False)]
        self.is_classifier = y.ndim == 1
        self.has_pictures = x.ndim == 4
        self.steps_per_epoch = math.ceil(len(x) / batch_size)
        self.weights = first_weights(layers, x.shape[1:])

    def batches(self, permutation):
        """Yields the indices of each batch of one epoch.

        Args:
            permutation: Called with the number of examples, returns them
                shuffled; `numpy.random.Generator.permutation`, for one.
        """
        order = permutation(len(self.x))
        for start in range(0, len(self.x), self.batch_size):
            yield order[start : start + self.batch_size]


def first_weights(layers, shape):
    """Weights to start from: w = 0 and b = -1 for the line, else Glorot's."""
    random = np.random.default_rng(1)
    weights = []
    for kind, *arguments in layers:
        if kind == "pool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "flatten":
            shape = (math.prod(shape),)
        else:
            outputs = arguments[0]
            window = (3, 3) if kind == "conv" else ()
            kernel = (*window, shape[-1], outputs)
            connections = math.prod(window) * (shape[-1] + outputs)
            limit = math.sqrt(6 / connections)
            weights += [
                random.uniform(-limit, limit, kernel).astype("float32"),
                np.zeros(outputs, "float32"),
            ]
            if kind == "conv":
                less = 2 if arguments[1] == "valid" else 0
                shape = (shape[0] - less, shape[1] - less, outputs)
            else:
                shape = (outputs,)
    if layers == [("dense", 1, False)]:
        weights = [np.zeros_like(weights[0]), weights[1] - 1]
    return weights


def _points(count):
    """Points `[count, 1]` about the lecture's line y = 0.1 x + 0.5."""
    random = np.random.default_rng(0)
    x = random.uniform(0, 10, [count, 1])
    y = 0.1 * x + 0.5 + random.normal(0, 0.1, [count, 1])
    return x.astype("float32"), y.astype("float32")


def _digits():
    """Scikit-learn's digits without the last 360, `[1437, 64]`."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype("float32")[:-360], labels[:-360].astype("int32")


def _noise_pictures():
    """Noise, `[2560, 28, 28, 1]`, plus a faint picture of its class."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 2560)
    classes = random.normal(size=[10, 7, 7, 1]).repeat(4, 1).repeat(4, 2)
    images = random.normal(size=[2560, 28, 28, 1]) + classes[labels]
    return images.astype("float32"), labels.astype("int32")


def _convolutions(padding):
    """Two convolutions with pooling, then 10 classes."""
    return [
        ("conv", 32, padding),
        ("pool",),
        ("conv", 64, padding),
        ("pool",),
        ("flatten",),
        ("dense", 10, False),
    ]


def make(name):
    """The job of that name, one of `NAMES`."""
    line = [("dense", 1, False)]
    if name == "line":
        return Job(name, *_points(200), line, "sgd", 0.01, 200, 2000)
    if name == "line_batches":
        return Job(name, *_points(10_000), line, "sgd", 0.01, 200, 20)
    if name == "digits_mlp":
        layers = [("dense", 128, True), ("dense", 128, True)]
        layers.append(("dense", 10, False))
        return Job(name, *_digits(), layers, "adam", 1e-3, 64, 10)
    if name == "digits_cnn":
        x, y = _digits()
        x = x.reshape(-1, 8, 8, 1)
        return Job(name, x, y, _convolutions("same"), "adam", 1e-3, 64, 16)
    x, y = _noise_pictures()
    return Job(name, x, y, _convolutions("valid"), "sgd", 0.01, 128, 2)


TITLES = {
    "line": "200 points, full batch",
    "line_batches": "10,000 points, batch 200",
    "digits_mlp": "digits, 3 dense layers, batch 64",
    "digits_cnn": "digits, 2 convolutions, batch 64",
    "cnn_28": "28x28 pictures, 2 convolutions, batch 128",
}
NAMES = list(TITLES)
