"""JAX by hand: a compiled step in a loop, or all of the loop compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks import jax_steps


def prepare(name, job, shorten=1):
    """The peer, ready to train, or `None`; see `fit_speed`.

    XLA runs the large convolutions a hundred times slower inside a loop on a
    CPU, so that `jax_scan` leaves that job out.
    """
    if name == "jax_scan" and job.name == "cnn_28":
        return None
    made = {"jax_step": Stepping, "jax_scan": Scanning}[name]
    return made(job, max(1, job.epochs // shorten))


class Stepping:
    """Trains by a Python loop over a compiled step."""

    def __init__(self, job, epochs):
        self.epochs = epochs
        self._job = job
        self._x = jnp.asarray(job.x)
        self._y = jnp.asarray(job.y)
        self._random = np.random.default_rng(0)
        self._compiled = jax.jit(functools.partial(self._function, job))

    _function = staticmethod(jax_steps.step)

    def reset(self):
        """Back to the first weights; not timed."""
        weights = [jnp.asarray(weight) for weight in self._job.weights]
        zeros = []
        if self._job.optimizer == "adam":
            zeros = [jnp.zeros_like(weight) for weight in weights]
        self._state = (jnp.float32(0), weights, zeros, zeros)

    def run(self):
        """Trains; timed."""
        self._losses = []
        for _ in range(self.epochs):
            if self._job.is_full_batch:
                self._run(None)
                continue
            for batch in self._job.batches(self._random.permutation):
                self._run(batch)
        jax.block_until_ready(self._state)

    def losses(self):
        """The loss of each step; not timed."""
        return self._losses

    def _run(self, batch):
        self._state, loss = self._compiled(self._x, self._y, self._state, batch)
        self._losses.append(loss)


class Scanning(Stepping):
    """Trains by one compiled program of all epochs."""

    _function = staticmethod(jax_steps.epochs_of_steps)

    def run(self):
        """Trains; timed."""
        shuffled = self._random.permutation
        orders = np.arange(self.epochs)
        if not self._job.is_full_batch:
            orders = [shuffled(len(self._x)) for _ in range(self.epochs)]
            orders = np.stack(orders)
        self._state, losses = self._compiled(
            self._x, self._y, self._state, orders
        )
        self._losses = np.ravel(losses)  # Waits
