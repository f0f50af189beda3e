"""The loss and learning rates of a step."""

import keras

import gdtrain
from gdtrain.descent.optimizers import learning_rates
from gdtrain.telemetry import measurement


def test_learning_rates_of_an_optimizer_made_of_several():
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(0.25, name="rest"),
            {"line/w": keras.optimizers.SGD(0.5, name="slope")},
        )
    )
    rates = learning_rates(optimizer)
    assert {k: float(v) for k, v in rates.items()} == {
        "slope": 0.5,
        "rest": 0.25,
    }
    found = measurement.evaluate(
        gdtrain.telemetry.LearningRate(), learning_rates=rates
    )
    assert found == {"learning_rate/slope": 0.5, "learning_rate/rest": 0.25}
