"""Generators of random numbers are left as Keras leaves them."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.keras_bridge import randomness
from tests.contracts.fit_cases import X, Y, linear, train


def seed():
    keras.utils.set_random_seed(3)
    tf.random.set_global_generator(tf.random.Generator.from_seed(3))


def generators():
    """What the generators of random numbers give next, which moves them."""
    return (
        random.random(),
        np.random.random(),
        tf.random.get_global_generator().uniform([]).numpy().item(),
        tf.random.uniform([]).numpy().item(),
        keras.random.uniform([]).numpy().item(),
    )


USES = {
    "shuffled arrays": lambda model: train(model, epochs=2, shuffle=True),
    "shuffled batches": lambda model: train(model, shuffle="batch"),
    "arrays in order": train,
    "dataset": lambda model: model.fit(
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(8), verbose=0
    ),
    "evaluate": lambda model: model.evaluate(X, Y, verbose=0),
    "predict": lambda model: model.predict(X, verbose=0),
}


@pytest.mark.mostly_long("shuffled arrays", "dataset", "predict")
@pytest.mark.parametrize("use", USES)
def test_global_random_generators_are_left_as_keras_leaves_them(use):
    found = []
    for base in (keras, gdtrain):
        seed()
        USES[use](linear(base))
        found.append(generators())
    assert found[0] == found[1]


def test_fit_after_fit_has_another_order_and_a_seed_repeats_both():
    def losses():
        keras.utils.set_random_seed(3)
        model = linear(gdtrain)
        telemetry = gdtrain.callbacks.Telemetry(["loss"])
        model.optimizer.learning_rate = 0.0
        for _ in range(2):
            train(model, shuffle=True, callbacks=[telemetry])
        return np.split(telemetry["loss"], 2)

    first, second = losses()
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(losses(), [first, second])


def test_sweep_and_backup_leave_them_as_they_were(tmp_path):
    found = []
    for looks in (False, True):
        seed()
        model = linear(gdtrain)
        backup = gdtrain.callbacks.BackupAndRestore(tmp_path)
        train(model, callbacks=[backup] if looks else [])
        if looks:
            gdtrain.sweep(
                lambda: linear(gdtrain),
                X,
                Y,
                learning_rates=[0.1, 0.2],
                verbose=0,
                seed=5,
            )
        found.append((randomness.random_seed(), *generators()))
    assert found[0] == found[1]
