"""The steps of the peer of JAX: network, loss and optimizer by hand."""

import functools

import jax
import jax.numpy as jnp


def outputs(layers, weights, x):
    """What the network says of `x`."""
    values = iter(weights)
    for kind, *arguments in layers:
        if kind == "dense":
            x = x @ next(values) + next(values)
            x = jax.nn.relu(x) if arguments[1] else x
        elif kind == "conv":
            x = jax.lax.conv_general_dilated(
                x,
                next(values),
                (1, 1),
                arguments[1].upper(),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            x = jax.nn.relu(x + next(values))
        elif kind == "pool":
            window = (1, 2, 2, 1)
            x = jax.lax.reduce_window(
                x, -jnp.inf, jax.lax.max, window, window, "VALID"
            )
        else:
            x = x.reshape(len(x), -1)
    return x


def mean_loss(job, weights, x, y):
    """The job's loss on a batch."""
    said = outputs(job.layers, weights, x)
    if not job.is_classifier:
        return jnp.mean((said - y) ** 2)
    logarithms = jax.nn.log_softmax(said)
    return -jnp.mean(jnp.take_along_axis(logarithms, y[:, None], 1))


def step(job, x, y, state, batch):
    """One step: `(state, loss)`.

    Args:
        job: What to train.
        x, y: All examples.
        state: Number of steps, weights, means and squares of gradients.
        batch: Indices of examples, or `None` for all of them.
    """
    count, weights, means, squares = state
    x, y = (x, y) if batch is None else (x[batch], y[batch])
    loss, gradient = jax.value_and_grad(functools.partial(mean_loss, job))(
        weights, x, y
    )
    count = count + 1
    rate = job.learning_rate
    if job.optimizer == "sgd":
        moved = gradient
    else:
        means = [0.9 * m + 0.1 * g for m, g in zip(means, gradient)]
        squares = [0.999 * s + 0.001 * g * g for s, g in zip(squares, gradient)]
        rate = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        moved = [m / (jnp.sqrt(s) + 1e-7) for m, s in zip(means, squares)]
    weights = [w - rate * m for w, m in zip(weights, moved)]
    return (count, weights, means, squares), loss


def epochs_of_steps(job, x, y, state, orders):
    """All epochs: `(state, losses)`.

    Args:
        job, x, y, state: As in `step`.
        orders: The order of the examples in each epoch, `[epochs, n]`; or
            `[epochs]`, of anything, for steps on all examples.
    """
    one_step = functools.partial(step, job, x, y)
    if job.is_full_batch:
        return jax.lax.scan(
            lambda state, _: one_step(state, None), state, orders
        )
    whole = len(x) // job.batch_size * job.batch_size

    def epoch(state, order):
        batches = order[:whole].reshape(-1, job.batch_size)
        state, losses = jax.lax.scan(one_step, state, batches)
        if whole < len(x):  # The last batch is smaller.
            state, last = one_step(state, order[whole:])
            losses = jnp.append(losses, last)
        return state, losses

    return jax.lax.scan(epoch, state, orders)
