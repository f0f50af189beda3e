"""Training by hand, in NumPy and float64: what quantities are checked by."""

import dataclasses

import numpy as np

LAYERS = ["hidden", "hidden", "output", "output"]


@dataclasses.dataclass
class Step:
    """What the twin of a step knows.

    Args:
        loss, loss_after: Of the batch, before and after the update.
        parts: How many examples each micro-batch has.
        gradients: Of each micro-batch; a gradient is a list of arrays, one
            for each weight.
        gradient: Of the batch.
        before, after: The weights.
        activations: By layer, what it puts out for the batch.
    """

    loss: float
    loss_after: float
    parts: list
    gradients: list
    gradient: list
    before: list
    after: list
    activations: dict

    @property
    def update(self):
        """What was added to each weight."""
        return [a - b for a, b in zip(self.after, self.before, strict=True)]


def forward(weights, x):
    """What the 3-4-1 network's layers put out."""
    w1, b1, w2, b2 = weights
    hidden = np.tanh(x @ w1 + b1)
    return hidden, hidden @ w2 + b2


def loss_of(weights, x, y):
    """The mean squared error."""
    return np.mean((forward(weights, x)[1] - y) ** 2)


def gradient_of(weights, x, y):
    """The gradient of `loss_of`, a list of arrays."""
    hidden, output = forward(weights, x)
    back = 2 * (output - y) / len(x)
    back_hidden = (back @ weights[2].T) * (1 - hidden**2)
    return [
        x.T @ back_hidden,
        back_hidden.sum(0),
        hidden.T @ back,
        back.sum(0),
    ]


def train(weights, x, y, batch, parts=1, rate=0.1, momentum=0.9):
    """Trains the 3-4-1 network of `tests.models` for an epoch.

    Args:
        weights: Its weights, a list of arrays.
        x, y: The data, in order.
        batch: Examples in a batch.
        parts: Micro-batches in it.

    Returns:
        A list of `Step`.
    """
    weights = [w.astype("float64") for w in weights]
    velocities = [np.zeros_like(w) for w in weights]
    steps = []
    for start in range(0, len(x), batch):
        xb, yb = x[start : start + batch], y[start : start + batch]
        bounds = [len(xb) * i // parts for i in range(parts + 1)]
        ranges = [slice(a, b) for a, b in zip(bounds, bounds[1:])]
        gradient = gradient_of(weights, xb, yb)
        velocities = [
            momentum * v - rate * g
            for v, g in zip(velocities, gradient, strict=True)
        ]
        after = [w + v for w, v in zip(weights, velocities, strict=True)]
        steps.append(
            Step(
                loss=loss_of(weights, xb, yb),
                loss_after=loss_of(after, xb, yb),
                parts=[r.stop - r.start for r in ranges],
                gradients=[gradient_of(weights, xb[r], yb[r]) for r in ranges],
                gradient=gradient,
                before=weights,
                after=after,
                activations=dict(
                    zip(["hidden", "output"], forward(weights, xb))
                ),
            )
        )
        weights = after
    return steps


def of(tensors, layer):
    """All numbers of a layer's weights; of all layers for `None`."""
    return np.concatenate(
        [
            np.ravel(t)
            for t, name in zip(tensors, LAYERS, strict=True)
            if layer in (None, name)
        ]
    )


def norm(tensors, layer=None):
    """The Euclidean norm of a layer's weights, or of all."""
    return np.linalg.norm(of(tensors, layer))
