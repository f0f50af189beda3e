"""A model that is tried out, and then is as if nothing had been."""

import contextlib

from gdtrain.engine import random_state, variables

# Of the model, in Python: what a run leaves behind
_ATTRIBUTES = (
    "history",
    "predict_function",
    "step_observers",
    "stop_training",
    "test_function",
    "train_function",
    "validation_feed",
)


@contextlib.contextmanager
def untouched(model):
    """While open, a model may be trained; at the end it is as it was.

    However that ends: weights, moving averages, states of dropout, the
    optimizer with its count of updates, metrics, the random generators of
    Python, NumPy, TensorFlow and Keras, `history`, and compiled functions.
    While open, training tells nobody of its steps but those who attach
    themselves; their count goes on from the optimizer's.

    Variables that an optimizer has not made yet are made, as its first update
    would make them; metrics that were made in the meantime are reset. What
    cannot be set back is Python's: data that counts how often it was read, or
    attributes that a `train_step` of your own sets.

    Args:
        model: A `gdtrain.DescentTrainer`, compiled and built.

    Yields:
        `model`.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = gdtrain.Sequential([keras.Input([1]), line])
    >>> model.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> x = np.ones([4, 1])
    >>> with untouched(model):
    ...     _ = model.fit(x, x, verbose=0)
    ...     print(model.get_weights()[0].tolist())
    [[1.0]]
    >>> model.get_weights()[0].tolist(), int(model.optimizer.iterations)
    ([[0.0]], 0)
    """
    _make_optimizer_variables(model)
    before = variables.of(model)
    strategy = model.distribute_strategy
    values = {
        kind: variables.values(some, strategy)
        for kind, some in before.items()
    }
    # Past `__setattr__`, by which Keras and TensorFlow would track them
    attributes = vars(model)
    kept = {key: attributes[key] for key in _ATTRIBUTES if key in attributes}
    with random_state.kept():
        attributes.pop("step_observers", None)
        attributes["train_function"] = None  # Bound to those observers
        try:
            yield model
        finally:
            for key in _ATTRIBUTES:
                attributes.pop(key, None)
            attributes.update(kept)
            for kind, some in before.items():
                variables.assign(some, values[kind], strategy)
            _reset_metrics_beside(model, before["metric"])


def _make_optimizer_variables(model):
    """Has optimizers make their variables, of zeros, before they are kept."""
    with model.distribute_strategy.scope():
        for optimizer in variables.optimizers(model):
            if not optimizer.built:
                optimizer.build(model.trainable_variables)


def _reset_metrics_beside(model, known):
    """Resets the metrics that have variables which are not known yet."""
    known = {id(variable) for variable in known}
    for metric in model.metrics:
        if any(id(variable) not in known for variable in metric.variables):
            metric.reset_state()
