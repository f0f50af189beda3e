"""NumPy by hand: forward, backward and update written out."""

import numpy as np


def prepare(name, job, shorten=1):
    """The peer, ready to train, or `None` for pictures; see `fit_speed`."""
    if job.has_pictures:
        return None
    return ByHand(job, max(1, job.epochs // shorten))


def line(weights, x, y):
    """Loss and gradient of the mean square error of y = w * x + b."""
    w, b = weights
    error = w[0, 0] * x + b[0] - y
    for_w = 2 * np.mean(error * x)
    return np.mean(error * error), [for_w, 2 * np.mean(error)]


def network(weights, x, labels):
    """Loss and gradient of cross-entropy after dense layers with relu."""
    inputs = [x]
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        inputs.append(np.maximum(inputs[-1] @ kernel + bias, 0))
    logits = inputs[-1] @ weights[-2] + weights[-1]
    logits -= logits.max(axis=1, keepdims=True)
    exponents = np.exp(logits)
    sums = exponents.sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    loss = np.mean(np.log(sums[:, 0]) - logits[rows, labels])

    error = exponents / sums
    error[rows, labels] -= 1
    error /= np.float32(len(x))
    gradient = []
    for layer in reversed(range(len(inputs))):
        gradient = [inputs[layer].T @ error, error.sum(axis=0), *gradient]
        if layer:
            error = (error @ weights[2 * layer].T) * (inputs[layer] > 0)
    return loss, gradient


class ByHand:
    """Trains by a loop over NumPy."""

    def __init__(self, job, epochs):
        self.epochs = epochs
        self._job = job
        self._gradient = line if job.is_line else network
        self._update = {"sgd": self._sgd, "adam": self._adam}[job.optimizer]
        self._random = np.random.default_rng(0)

    def reset(self):
        """Back to the first weights; not timed."""
        self._weights = [weight.copy() for weight in self._job.weights]
        self._means = [np.zeros_like(weight) for weight in self._weights]
        self._squares = [np.zeros_like(weight) for weight in self._weights]
        self._steps = 0

    def run(self):
        """Trains; timed."""
        job = self._job
        self._losses = []
        for _ in range(self.epochs):
            if job.is_full_batch:
                self._step(job.x, job.y)
                continue
            for batch in job.batches(self._random.permutation):
                self._step(job.x[batch], job.y[batch])

    def losses(self):
        """The loss of each step; not timed."""
        return self._losses

    def _step(self, x, y):
        loss, gradient = self._gradient(self._weights, x, y)
        self._update(gradient)
        self._losses.append(loss)

    def _sgd(self, gradient):
        for weight, part in zip(self._weights, gradient, strict=True):
            weight -= self._job.learning_rate * part

    def _adam(self, gradient):
        self._steps += 1
        rate = self._job.learning_rate * (1 - 0.999**self._steps) ** 0.5
        rate /= 1 - 0.9**self._steps
        for weight, part, mean, square in zip(
            self._weights, gradient, self._means, self._squares, strict=True
        ):
            mean += 0.1 * (part - mean)
            square += 0.001 * (part * part - square)
            weight -= rate * mean / (np.sqrt(square) + 1e-7)
