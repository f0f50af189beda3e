"""PyTorch, eager, with `torch.nn` and `torch.optim`."""

import numpy as np
import torch


def prepare(name, job, shorten=1):
    """The peer, ready to train; see `fit_speed`."""
    return Eager(job, max(1, job.epochs // shorten))


def network(job):
    """The job's network with its first weights."""
    values = iter(job.weights)
    channels = job.x.shape[-1]
    flattened = False
    modules = []
    for kind, *arguments in job.layers:
        if kind == "pool":
            modules.append(torch.nn.MaxPool2d(2))
        elif kind == "flatten":
            modules.append(torch.nn.Flatten())
            flattened = True
        elif kind == "conv":
            filters, padding = arguments
            layer = torch.nn.Conv2d(channels, filters, 3, padding=padding)
            _set(layer, next(values).transpose(3, 2, 0, 1), next(values))
            modules += [layer, torch.nn.ReLU()]
            channels = filters
        else:
            units, is_relu = arguments
            kernel = next(values)
            layer = torch.nn.Linear(len(kernel), units)
            if flattened:  # From channels last to channels first
                kernel = kernel.reshape(-1, channels, units)
                kernel = kernel.transpose(1, 0, 2).reshape(-1, units)
                flattened = False
            _set(layer, kernel.T, next(values))
            modules += [layer, torch.nn.ReLU()] if is_relu else [layer]
    made = torch.nn.Sequential(*modules)
    if job.has_pictures:
        made = made.to(memory_format=torch.channels_last)
    return made


def _set(layer, weight, bias):
    """Gives a layer its weights."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        layer.bias.copy_(torch.from_numpy(bias))


class Eager:
    """Trains by the usual loop, on all of the data as two tensors."""

    def __init__(self, job, epochs):
        self.epochs = epochs
        self._job = job
        self._x = torch.from_numpy(job.x)
        if job.has_pictures:  # Channels last in memory, which is faster
            self._x = self._x.permute(0, 3, 1, 2).contiguous(
                memory_format=torch.channels_last
            )
        self._y = torch.from_numpy(job.y)
        self._loss = torch.nn.MSELoss()
        if job.is_classifier:
            self._loss = torch.nn.CrossEntropyLoss()
            self._y = self._y.long()

    def reset(self):
        """Back to the first weights; not timed."""
        job = self._job
        self._network = network(job)
        weights = self._network.parameters()
        if job.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(weights, job.learning_rate)
        else:  # With Keras's epsilon
            self._optimizer = torch.optim.Adam(
                weights, job.learning_rate, eps=1e-7
            )

    def run(self):
        """Trains; timed."""
        self._losses = []
        for _ in range(self.epochs):
            if self._job.is_full_batch:
                self._step(self._x, self._y)
                continue
            for batch in self._job.batches(torch.randperm):
                self._step(self._x[batch], self._y[batch])

    def losses(self):
        """The loss of each step; not timed."""
        return self._losses

    def _step(self, x, y):
        self._optimizer.zero_grad()
        loss = self._loss(self._network(x), y)
        loss.backward()
        self._optimizer.step()
        self._losses.append(loss.detach())
