"""What happens once, before the first step: nothing of it is done twice."""

import keras
import numpy as np
import pytest

import gdtrain

X, Y = np.ones([10, 3], "float32"), np.ones([10, 1], "float32")


class Counting(keras.layers.Dense):
    """A layer that counts its calls."""

    def __init__(self):
        super().__init__(1)
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return super().call(x)


def one_output(layer):
    return gdtrain.Sequential([keras.Input([3]), layer])


def two_outputs(layer):
    inputs = keras.Input([3])
    hidden = layer(inputs)
    return gdtrain.Model(
        inputs, {"one": hidden, "two": keras.layers.Dense(1)(hidden)}
    )


def in_front(layer):
    """A model whose call adds something to that of its layers."""

    class Doubled(gdtrain.Sequential):
        def call(self, x, training=None, mask=None):
            return 2 * super().call(x, training=training, mask=mask)

    return Doubled([keras.Input([3]), layer])


def calls_in_fit(make, callbacks, metrics):
    """How often a layer is called in the first `fit`, and the history."""
    layer = Counting()
    model = make(layer)
    model.compile("adam", "mse", metrics=metrics)
    layer.calls = 0
    y = {"one": Y, "two": Y} if make is two_outputs else Y
    history = model.fit(
        X, y, batch_size=4, verbose=0, epochs=2, callbacks=callbacks()
    )
    return layer.calls, history.history


@pytest.mark.mostly_long(
    "one_output-alone",
    "one_output-telemetry",
    "two_outputs-guard and telemetry",
)
@pytest.mark.parametrize(
    "callbacks",
    [
        list,
        lambda: [gdtrain.callbacks.Telemetry()],
        lambda: [
            gdtrain.callbacks.NonfiniteGuard(),
            gdtrain.callbacks.Telemetry(),
        ],
    ],
    ids=["alone", "telemetry", "guard and telemetry"],
)
@pytest.mark.parametrize("make", [one_output, two_outputs])
def test_the_model_is_called_once(make, callbacks):
    metrics = {"one": ["mae"], "two": ["mae"]}
    calls, history = calls_in_fit(
        make, callbacks, metrics if make is two_outputs else ["mae"]
    )
    assert calls == 1
    assert any(name.endswith("mae") for name in history)


def test_losses_of_several_outputs_make_no_second_trace():
    calls, history = calls_in_fit(two_outputs, list, None)
    assert calls == 1
    assert set(history) == {"loss", "one_loss", "two_loss"}


def test_train_on_batch_calls_the_model_once():
    layer = Counting()
    model = one_output(layer)
    model.compile("adam", "mse", metrics=["mae"])
    layer.calls = 0
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert (layer.calls, set(logs)) == (1, {"loss", "mae"})


def test_a_call_of_ones_own_is_asked_for_its_outputs():
    """Two times: what it returns is not known before."""
    calls, history = calls_in_fit(in_front, list, ["mae"])
    assert calls == 2
    assert np.isfinite(history["mae"]).all()
