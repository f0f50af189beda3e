"""Finds a learning rate by trying a range of them."""

import random

import numpy as np

from gdtrain import checks, keras_bridge
from gdtrain.insight import range_result, range_test, suggestions
from gdtrain.insight.unread import unread
from gdtrain.insight.untouched import untouched
from gdtrain.telemetry.record import is_scheduled
from gdtrain.trainer import DescentTrainer

_NAMES = (*suggestions.METHODS, "curvature")


def find_learning_rate(
    model,
    x,
    y=None,
    *,
    from_rate=1e-7,
    to_rate=10.0,
    steps=None,
    batch_size=None,
    sample_weight=None,
    apply=None,
    seed=0,
    verbose=1,
):
    """Finds a learning rate: one training step at each of a range of them."""
    _check_model(model)
    from_rate = checks.positive_number("from_rate", from_rate, "Write 1e-7.")
    to_rate = checks.positive_number("to_rate", to_rate, "Write 10.0.")
    method = _method(apply, model.optimizer)
    with untouched(model), unread(x) as data:
        random.seed(seed)
        np.random.seed(seed)
        test = range_test.run(
            model,
            data,
            y,
            from_rate=from_rate,
            to_rate=to_rate,
            steps=steps,
            batch_size=batch_size,
            sample_weight=sample_weight,
        )
    result = range_result.conclude(
        test.learning_rates, test.losses, test.smoothed, test.blew_up
    )
    if verbose:
        print(result)
    return result
