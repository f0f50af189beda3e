"""One optimizer moves several runs as one each would."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.tuning import stacked_model

RATES = [0.01, 0.5]
MORE = [
    gdtrain.GradientDescent(momentum=0.9),
    gdtrain.GradientDescent(momentum=0.9, nesterov=True),
    keras.optimizers.SGD(weight_decay=0.1),
    keras.optimizers.Adam(amsgrad=True),
    keras.optimizers.RMSprop(momentum=0.5, centered=True),
    keras.optimizers.SGD(loss_scale_factor=8.0),
]


@pytest.mark.mostly_long(
    "GradientDescent2",
    "AdamW",
    "RMSprop1",
    "Ftrl",
    "SGD2",
)
@pytest.mark.parametrize(
    "optimizer",
    [kind() for kind in stacked_model._KNOWN] + MORE,
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_optimizer_moves_each_run_as_it_would_alone(optimizer):
    random = np.random.default_rng(0)
    start = random.normal(size=[1, 6]).astype("float32")
    gradients = random.normal(size=[5, 2, 6]).astype("float32")
    together = keras.Variable(np.repeat(start, 2, 0))
    stacked = stacked_model.stacked_optimizer(optimizer, RATES)
    alone = [keras.Variable(start[0].reshape(2, 3)) for _ in RATES]
    config = optimizer.get_config()
    singles = [
        type(optimizer).from_config({**config, "learning_rate": rate})
        for rate in RATES
    ]
    for gradient in gradients:
        stacked.apply([gradient], [together])
        for single, weight, row in zip(singles, alone, gradient, strict=True):
            single.apply([row.reshape(2, 3)], [weight])
    found = together.numpy()
    assert np.abs(found - start).max(axis=1).min() > 1e-5  # All have moved.
    assert np.abs(found[0] - found[1]).max() > 1e-5
    for row, weight in zip(found, alone, strict=True):
        # Numbers of the order of 1, whose sums are rounded to 1e-7
        np.testing.assert_allclose(
            row, weight.numpy().ravel(), rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize(
    "optimizer, reason",
    [
        (keras.optimizers.Lamb(), "Lamb is not known"),
        (keras.optimizers.SGD(use_ema=True), "averages of weights"),
    ],
)
def test_optimizer_that_looks_at_more_than_a_number_says_why(optimizer, reason):
    assert reason in stacked_model.why_not_stacked(optimizer)


def test_optimizer_that_spares_weights_or_has_taken_steps_says_why():
    sparing = keras.optimizers.AdamW()
    sparing.exclude_from_weight_decay(var_names=["bias"])
    assert "excludes" in stacked_model.why_not_stacked(sparing)
    used = keras.optimizers.SGD()
    assert stacked_model.why_not_stacked(used) is None
    used.apply([np.ones(1)], [keras.Variable([1.0])])
    assert "taken steps" in stacked_model.why_not_stacked(used)
