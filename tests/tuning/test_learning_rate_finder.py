"""A learning rate is found, and nothing is left behind."""

import re
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.tuning import range_test
from tests import models
from tests.state.test_preserved_data import Batches
from tests.state.test_preserved_model import assert_equal, everything, network


class RegressionBatches(Batches):
    """Batches of `regression_data`, shuffled by themselves."""

    def __getitem__(self, index):
        x, y = models.regression_data(12)
        rows = super().__getitem__(index)
        return x[rows], y[rows]


def arrays():
    x, y = models.regression_data()
    return {"x": x, "y": y, "batch_size": 8}


def pipeline():
    data = tf.data.Dataset.from_tensor_slices(models.regression_data())
    return {"x": data.shuffle(45).batch(8)}


KINDS = {
    "arrays": arrays,
    "tf.data": pipeline,
    "PyDataset": lambda: {"x": RegressionBatches()},
}


def find(model, **arguments):
    arguments = {"steps": 20, "verbose": 0, **arguments}
    return gdtrain.find_learning_rate(model, **arguments)


def line(optimizer=None):
    """A model of one sharpness: 2, so that 1 is the stable limit."""
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.zeros([1, 1])])
    model.compile(optimizer or gdtrain.GradientDescent(0.1), loss="mse")
    return model, {"x": np.ones([4, 1]), "y": 3 * np.ones([4, 1])}


@pytest.mark.mostly_long("arrays-1")
@pytest.mark.parametrize(
    "kind, epochs_before",
    [("arrays", 0), *((kind, 1) for kind in KINDS)],
)
def test_training_goes_on_as_if_there_had_been_no_test(kind, epochs_before):
    results = []
    for tests in (True, False):
        model = network()
        keras.utils.set_random_seed(1)
        data = KINDS[kind]()
        if epochs_before:
            model.fit(**data, epochs=epochs_before, verbose=0)
        if tests:
            find(model, **data)
        history = model.fit(**data, epochs=2, verbose=0).history
        results.append((history, everything(model), tf.random.normal([3])))
    assert results[0][0] == results[1][0]
    assert_equal(results[0][1], results[1][1])
    assert_equal([results[0][2]], [results[1][2]])


def raise_error():
    raise RuntimeError("of a callback")


@pytest.mark.mostly_long("Ctrl-C")
@pytest.mark.parametrize(
    "end, error",
    [
        (raise_error, RuntimeError),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
    ],
    ids=["error", "Ctrl-C"],
)
def test_interrupted_it_leaves_nothing_behind(monkeypatch, end, error):
    model, data = network(), arrays()
    # Else all steps may be one block, which is heard of when all is over.
    model.compile("adam", loss="mse", steps_per_execution=4)
    model.fit(**data, verbose=0)
    before, history = everything(model), model.history
    observed = []

    def on_block(self, table):
        observed.append(self.model.get_weights()[0])
        if len(observed) == 2:
            end()

    monkeypatch.setattr(range_test.Recorder, "on_block", on_block)
    with pytest.raises(error):
        find(model, **data, min_learning_rate=0.1, curvature=False)
    assert not np.array_equal(observed[-1], before[0])  # It had begun.
    assert_equal(everything(model), before)
    assert model.history is history and not model.stop_training
    assert isinstance(model.optimizer.learning_rate, keras.Variable)


def test_same_seed_gives_the_same_and_another_another():
    model, data = network(), arrays() | {"curvature": False}
    one, other = find(model, **data), find(model, **data, seed=5)
    keras.utils.set_random_seed(99)
    again = find(model, **data)
    np.testing.assert_array_equal(one.losses, again.losses)
    assert one.suggestions == again.suggestions
    assert not np.array_equal(one.losses, other.losses)


def test_weights_of_samples_count():
    model, data = line()
    data["y"] = np.array([[3.0], [3.0], [0.0], [0.0]])
    of_two = {"x": data["x"][:2], "y": data["y"][:2]}
    weighted = find(model, **data, sample_weight=np.array([2.0, 2, 0, 0]))
    expected = find(model, **of_two)
    # Sums of float32 in another order
    np.testing.assert_allclose(weighted.losses, expected.losses, rtol=1e-5)
    assert weighted.stable_learning_rate == pytest.approx(
        expected.stable_learning_rate, rel=1e-4
    )


def test_it_suggests_by_each_method_below_the_stable_limit():
    model, data = line()
    found = find(model, **data, steps=100)
    assert list(found.suggestions) == [
        "minimum_tenth",
        "steepest",
        "valley",
        "curvature",
    ]
    assert found.stable_learning_rate == pytest.approx(1.0, rel=1e-4)
    assert found.suggestions["curvature"] == found.stable_learning_rate / 2
    assert found.limit == "2 / sharpness, for GradientDescent"
    assert found.blew_up
    assert all(0 < rate < 1 for rate in found.suggestions.values())


def test_unknown_limit_is_said_and_left_out():
    model, data = line(keras.optimizers.Lion())
    found = find(model, **data)
    assert found.stable_learning_rate is None
    assert "Lion" in found.limit and "curvature" not in found.suggestions
    assert str(found).endswith("Stable limit: not known.")


def test_curvature_is_not_measured_unless_wanted():
    model, data = line()
    found = find(model, **data, curvature=False)
    assert found.stable_learning_rate is None
    assert found.limit == "curvature was not measured"


def test_data_of_which_curvature_is_not_known_are_tested_all_the_same():
    found = find(network("sgd"), x=RegressionBatches())
    assert found.stable_learning_rate is None
    assert "must be arrays" in found.limit
    assert len(found.losses) > 10


def test_flat_loss_suggests_nothing(capsys):
    model, data = line()
    data["x"] = np.zeros([4, 1])
    found = find(model, **data, verbose=1)
    assert found.suggestion is None and found.suggestions == {}
    assert len(found.losses) == 20 and not found.blew_up
    printed = capsys.readouterr().out
    assert printed.startswith("No learning rate stands out of 20 rates")
    assert "Stable limit: inf" in printed
    with pytest.raises(RuntimeError, match="a suggestion to apply"):
        find(model, **data, apply=True)


def test_model_that_is_trained_already_is_told_so():
    model, data = line()
    data["y"] = data["y"] + np.resize([[0.1], [-0.1]], data["y"].shape)
    model.optimizer.learning_rate = 0.5
    model.fit(**data, epochs=100, batch_size=len(data["x"]), verbose=0)
    steps = int(model.optimizer.iterations)
    found = find(model, **data, steps=100)
    assert found.suggestion is None and found.steps_before == steps
    assert f"has made {steps} steps before" in str(found)
    assert "probably trained already" in str(found)


def test_a_line_is_printed(capsys):
    model, data = line()
    found = find(model, **data, steps=100, verbose=1)
    printed = capsys.readouterr().out
    assert printed == f"{found}\n"
    assert re.match(
        r"Try learning_rate=\S+ \(\w+\), of \d+ rates from 1e-07 to \S+, where "
        r"the loss blew up\. Others: .*valley \S+.*\. Stable limit: 1\.",
        printed,
    )


@pytest.mark.parametrize("apply", [True, "valley", "curvature"])
def test_suggestion_is_applied(apply):
    model, data = line()
    found = find(model, **data, apply=apply)
    method = found.method if apply is True else apply
    rate = float(model.optimizer.learning_rate)
    assert rate == pytest.approx(found.suggestions[method])
    assert rate != pytest.approx(0.1)


def test_suggestion_is_applied_through_a_loss_scale():
    optimizers = keras.optimizers
    model, data = line(optimizers.LossScaleOptimizer(optimizers.SGD()))
    found = find(model, **data, apply=True)
    inner = model.optimizer.inner_optimizer
    assert float(inner.learning_rate) == pytest.approx(found.suggestion)


def test_schedule_is_tested_but_nothing_is_applied_to_it():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model, data = line(keras.optimizers.SGD(schedule))
    assert find(model, **data).suggestion > 0
    with pytest.raises(ValueError, match="follows a schedule"):
        find(model, **data, apply=True)


def test_step_of_ones_own_is_tested():
    class Own(gdtrain.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            self.descend(tape, loss)
            return {"loss": loss}

    model, data = line()
    expected = find(model, **data)
    own = Own([keras.Input([1]), *model.layers])
    own.compile(gdtrain.GradientDescent())
    found = find(own, **data)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    assert found.stable_learning_rate is None and "loss" in found.limit


def test_loss_that_is_not_finite_at_the_start_is_refused():
    model, data = line()
    data["y"] = np.full([4, 1], np.nan)
    with pytest.raises(ValueError, match="finite at the start.*nan"):
        find(model, **data)


BAD = {
    "min_learning_rate must be": (ValueError, {"min_learning_rate": 0.0}),
    "max_learning_rate must be": (TypeError, {"max_learning_rate": "1"}),
    "min_learning_rate must be below max_learning_rate": (
        ValueError,
        {"min_learning_rate": 20.0},
    ),
    "steps must be a positive": (TypeError, {"steps": 0.5}),
    "steps must be at least 10": (ValueError, {"steps": 9}),
    "seed must be": (ValueError, {"seed": -1}),
    "seed must be a": (TypeError, {"seed": "a"}),
    "apply must be True or": (ValueError, {"apply": "best"}),
    "apply must be": (ValueError, {"apply": "curvature", "curvature": False}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_argument_is_refused_before_the_first_step(message):
    error, arguments = BAD[message]
    model, data = line()
    pattern = re.sub(r"\b(\w+_rate|steps|seed|apply)\b", r"`\1`", message)
    with pytest.raises(error, match=pattern):
        find(model, **data, **arguments)
    assert int(model.optimizer.iterations) == 0


def test_generator_is_refused():
    model, _ = line()
    with pytest.raises(ValueError, match="read only once"):
        find(model, x=iter([(np.ones([1, 1]), np.ones([1, 1]))]))


def test_model_of_keras_is_refused():
    with pytest.raises(TypeError, match="from_keras"):
        find(keras.Sequential([keras.Input([1])]), x=np.ones([1, 1]))


def test_model_that_is_not_compiled_is_refused():
    with pytest.raises(ValueError, match="compile"):
        find(gdtrain.Sequential([keras.Input([1])]), x=np.ones([1, 1]))


def test_model_that_is_not_built_is_refused():
    model = gdtrain.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="must be built"):
        find(model, x=np.ones([1, 1]), y=np.ones([1, 1]))


def test_model_with_a_loop_of_its_own_is_refused():
    class Loop(gdtrain.Sequential):
        def make_train_function(self, force=False):
            self.train_function = lambda iterator: {"loss": next(iterator)[0]}

    model, data = line()
    model = Loop([keras.Input([1]), *model.layers])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="steps were not observed"):
        find(model, **data, curvature=False)
