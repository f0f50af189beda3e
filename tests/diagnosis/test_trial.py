"""Advice is tried on the model itself, which afterwards is as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.trial import NotTried, Trial, Trials
from gdtrain.diagnosis.trial_ways import batches
from tests import models
from tests.diagnosis.tasks import trial
from tests.state.test_preserved_model import (
    assert_equal,
    everything,
    network,
    train,
)

layers = keras.layers


def line(rate=0.05, loss="mse", **arguments):
    """A line, and a compiled model of it, with weights of 0."""
    model = gdtrain.Sequential(
        [keras.Input([1]), layers.Dense(1, kernel_initializer="zeros")]
    )
    model.compile(gdtrain.GradientDescent(rate), loss=loss, **arguments)
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, np.newaxis]
    return model, x, 3 * x


EVERY_CHANGE = [
    [("learning_rate", 0.3)],
    [("constant_learning_rate", 0.3)],
    [("scale_inputs", None)],
    [("scale_targets", None)],
    [("shuffle", None)],
]


def test_the_model_and_all_random_state_stay_bit_equal():
    model = network()
    train(model)
    before = everything(model)
    x, y = models.regression_data()
    with Trials(Task(model, x, y, batch_size=8)) as trials:
        for changes in EVERY_CHANGE:
            found = trials.run(changes, steps=3)
            assert isinstance(found, Trial), found
    assert_equal(everything(model), before)


def test_training_goes_on_as_if_nothing_had_been_tried():
    ends = []
    for is_tried in (False, True):
        model = network()
        telemetry = gdtrain.callbacks.Telemetry()
        train(model, callbacks=[telemetry])
        if is_tried:
            x, y = models.regression_data()
            task = Task(model, x, y, batch_size=8)
            assert task.constant_loss and task.outputs
            trial(task, EVERY_CHANGE[0] + EVERY_CHANGE[2], steps=2)
        train(model, callbacks=[telemetry])
        ends.append([*everything(model), telemetry["loss"]])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_automatic_names_are_not_used_up():
    model, x, y = line()
    before = layers.Dense(1).name
    trial(Task(model, x, y), [("scale_inputs", None)], steps=1)
    after = layers.Dense(1).name
    number = int(before.rpartition("_")[2])
    assert after == f"dense_{number + 1}"


def test_a_rate_is_compared_on_the_same_batches():
    model, x, y = line(rate=0.01)
    task = Task(model, x, y, batch_size=64)
    found = trial(task, [("learning_rate", 0.1)], steps=10)
    # Of a quadratic loss c w**2 / 2 with curvature c = 2 mean(x**2)
    c = 2 * np.mean(x**2)
    by_hand = [9 * np.mean(x**2) * (1 - r * c) ** 20 for r in (0.01, 0.1)]
    np.testing.assert_allclose(
        [found.without, found.changed], by_hand, rtol=1e-4
    )
    np.testing.assert_allclose(found.before, 9 * np.mean(x**2), rtol=1e-5)
    assert found.start == "new" and found.share > 0.5


def test_a_rate_that_is_too_large_is_seen_to_be_worse():
    model, x, y = line(rate=0.5)
    found = trial(
        Task(model, x, y, batch_size=64), [("learning_rate", 1e30)], steps=50
    )
    assert found.changed == np.inf and found.share == -1


def test_the_state_of_the_optimizer_is_continued():
    model, x, y = line()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss="mse")
    model.fit(x, y, batch_size=64, epochs=20, verbose=0)
    found = trial(
        Task(model, x, y, batch_size=64),
        [("constant_learning_rate", 0.02)],
        steps=5,
    )
    assert found.start == "last"
    model.fit(x, y, batch_size=64, epochs=5, verbose=0)
    np.testing.assert_allclose(
        found.without, model.evaluate(x, y, verbose=0), rtol=1e-5
    )


def test_a_schedule_continues_and_another_rate_keeps_its_form():
    model, x, y = line()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.2, 10, 0.5)
    model.compile(gdtrain.GradientDescent(schedule), loss="mse")
    model.fit(x, y, batch_size=64, epochs=40, verbose=0)
    start = model.get_weights()
    task = Task(model, x, y, batch_size=64)
    found = trial(task, [("learning_rate", 0.4)], steps=5, start="last")
    constant = trial(task, [("constant_learning_rate", 0.2)], steps=5)
    rates = np.asarray([float(schedule(k)) for k in range(40, 45)])
    expected = []
    for by_hand in (rates, 2 * rates, np.full(5, 0.2)):
        w, c = start[0][0, 0] - 3, 2 * np.mean(x**2)
        for rate in by_hand:
            w *= 1 - rate * c
        expected.append(np.mean(x**2) * w**2)
    np.testing.assert_allclose(
        [found.without, found.changed, constant.changed], expected, rtol=1e-3
    )


def test_new_weights_are_used_where_the_last_ones_are_lost():
    model, x, y = line(rate=5.0)
    model.fit(x, y, batch_size=8, epochs=200, verbose=0)
    assert not np.isfinite(model.get_weights()[0]).all()
    change = [("constant_learning_rate", 0.1)]
    found = trial(Task(model, x, y), change, steps=20)
    assert found.start == "new"
    assert np.isfinite(found.before) and found.changed < found.before


def test_scaled_inputs_help_where_they_are_large():
    model, x, y = line(rate=1e-6)
    found = trial(
        Task(model, 1000 + 100 * x, y),
        [("scale_inputs", None), ("learning_rate", 0.1)],
        steps=50,
    )
    assert found.start == "new"
    assert found.changed < 0.01 * found.without


def test_scaled_targets_are_compared_in_the_units_of_the_user():
    model, x, _ = line(rate=0.1)
    y = 1000 + 300 * x
    found = trial(Task(model, x, y, batch_size=64), [("scale_targets", None)])
    by_hand = trial(
        Task(model, x, (y - y.mean()) / y.std(), batch_size=64),
        [("learning_rate", 0.1)],
        steps=found.steps,
        start="new",
    )
    np.testing.assert_allclose(
        found.changed, by_hand.without * y.var(), rtol=1e-2, atol=1e-3
    )
    assert found.before == pytest.approx(np.mean(y**2), rel=1e-5)


def classifier(from_logits, *last):
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential([keras.Input([2]), layers.Dense(3), *last])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(gdtrain.GradientDescent(0.5), loss=loss)
    x = np.random.default_rng(0).normal(size=[90, 2]).astype(np.float32)
    return model, x, np.argmax(np.stack([*x.T, -x.sum(1)]), 0)


@pytest.mark.parametrize("from_logits", [True, False])
def test_another_loss_is_compared_by_the_right_one(from_logits):
    """Softmax twice, and numbers before softmax taken for probabilities."""
    # Behind a layer of another kind, Keras does not find the softmax.
    last = [layers.Softmax(), layers.Reshape([3])] if from_logits else []
    model, x, y = classifier(from_logits, *last)
    task = Task(model, x, y, batch_size=30)
    found = trial(task, [("from_logits", not from_logits)], steps=40)
    assert found.share > 0.1 and found.start == "new"
    right, _, _ = classifier(not from_logits, *last)
    same = trial(
        Task(right, x, y, batch_size=30),
        [("learning_rate", 0.5)],
        steps=40,
        start="new",
    )
    assert found.changed == pytest.approx(same.without, rel=1e-5)
    assert found.before == pytest.approx(same.before, rel=1e-5)
    [output] = task.outputs
    assert output.activation == ("softmax" if from_logits else "linear")
    assert output.from_logits == from_logits and not output.has_logits


@pytest.mark.parametrize("softmax", ["softmax", tf.nn.softmax])
def test_keras_itself_corrects_a_softmax_before_logits(softmax):
    model, x, y = classifier(True, layers.Activation(softmax))
    task = Task(model, x, y, batch_size=30)
    [output] = task.outputs
    assert output.has_logits and output.activation == "softmax"
    assert trial(task, [("from_logits", False)], steps=5).share == 0


def test_sorted_examples_are_learned_worse_than_shuffled_ones():
    model, x, y = classifier(True)
    rows = np.argsort(y, kind="stable")
    task = Task(model, x[rows], y[rows], batch_size=10, shuffle=False)
    found = trial(task, [("shuffle", None)], steps=9)
    assert found.changed < found.without
    assert task.order.sortedness > 0.9


@pytest.mark.parametrize("kind", ["optimizer", "regularizer"])
def test_weight_decay_is_left_out_and_no_part_of_the_loss(kind):
    decay = 1.0
    of_layer = keras.regularizers.L2(0.5) if kind == "regularizer" else None
    model = gdtrain.Sequential(
        [
            keras.Input([1]),
            layers.Dense(
                1, kernel_regularizer=of_layer, kernel_initializer="zeros"
            ),
        ]
    )
    optimizer = keras.optimizers.SGD(
        0.1, weight_decay=decay if kind == "optimizer" else None
    )
    model.compile(optimizer, loss="mse")
    _, x, y = line()
    model.fit(x, y, batch_size=64, epochs=50, verbose=0)
    task = Task(model, x, y, batch_size=64)
    found = trial(task, [("weight_decay", 0.0)], steps=50)
    assert found.without == pytest.approx(found.before, rel=1e-3)
    assert found.changed < 0.2 * found.without
    # Both balance where training with them has come to rest
    assert task.regularization.gradient_share == pytest.approx(0.5, abs=0.01)


def test_new_weights_are_used_where_the_rate_has_decayed_to_nothing():
    """The run is repeated in fewer steps, with its schedule as it was."""
    model, x, y = line()
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 40)
    optimizer = keras.optimizers.SGD(schedule, weight_decay=1e-9)
    model.compile(optimizer, loss="mse")
    model.fit(x, y, batch_size=64, epochs=40, verbose=0)
    task = Task(model, x, y, batch_size=64)
    found = trial(task, [("weight_decay", 0.0)], steps=10)
    assert found.start == "new"
    c = 2 * np.mean(x**2)
    rates = np.asarray([float(schedule(k)) for k in range(0, 40, 4)])
    short = 9 * np.mean(x**2) * np.prod(1 - rates * c) ** 2
    assert found.without == pytest.approx(short, rel=1e-3)
    constant = trial(task, [("constant_learning_rate", 0.1)], steps=10)
    assert constant.start == "last"


class Subclassed(gdtrain.Model):
    """Keras cannot clone it, as it has no config."""

    def __init__(self, size):
        super().__init__()
        self.hidden = layers.Dense(size.value, activation="relu")
        self.last = layers.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))


class Size:
    value = 4


class OwnStep(Subclassed):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(self(x, training=True) - y))
        self.descend(tape, loss)
        return {"loss": loss}


class OwnUpdate(Subclassed):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


@pytest.mark.mostly_long("Subclassed-True", "OwnStep-False")
@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("kind", [Subclassed, OwnStep])
def test_models_that_cannot_be_cloned(kind, eagerly):
    keras.utils.set_random_seed(1)
    _, x, y = line()
    model = kind(Size())
    model.compile(gdtrain.GradientDescent(1e-4), "mse", run_eagerly=eagerly)
    model.fit(x, y, verbose=0)
    before = everything(model)
    task = Task(model, x, y)
    for changes in ([("learning_rate", 0.05)], [("scale_inputs", None)]):
        found = trial(task, changes, steps=10)
        assert isinstance(found, Trial), found
    better = trial(task, [("learning_rate", 0.05)], steps=10)
    assert better.share > 0.9
    assert_equal(everything(model), before)


def test_a_step_without_descend_has_no_loss_that_is_known():
    _, x, y = line()
    model = OwnUpdate(Size())
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    before = everything(model)
    found = trial(Task(model, x, y), [("learning_rate", 0.05)], steps=2)
    assert isinstance(found, NotTried) and "descend" in found.reason
    assert_equal(everything(model), before)


def several_outputs(loss):
    given = keras.Input([2], name="given")
    hidden = layers.Dense(4, activation="relu")(given)
    outputs = {
        "price": layers.Dense(1, name="price")(hidden),
        "kind": layers.Dense(3, activation="softmax", name="kind")(hidden),
    }
    model = gdtrain.Model(given, outputs)
    model.compile("adam", loss, metrics={"kind": ["accuracy"]})
    x = np.random.default_rng(0).normal(size=[96, 2]).astype(np.float32)
    return model, x, {"price": 5 * x[:, :1], "kind": (x[:, 0] > 0).astype(int)}


def test_several_outputs():
    loss = {"price": "mse", "kind": "sparse_categorical_crossentropy"}
    model, x, y = several_outputs(loss)
    model.fit(x, y, verbose=0)
    task = Task(model, {"given": x}, y)
    before = everything(model)
    assert {o.name: (o.activation, o.loss) for o in task.outputs} == {
        "price": ("linear", "mean_squared_error"),
        "kind": ("softmax", "sparse_categorical_crossentropy"),
    }
    for changes in ([("learning_rate", 0.1)], [("from_logits", True)]):
        found = trial(task, changes, steps=5)
        assert isinstance(found, Trial), found
    share = y["kind"].mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert task.constant_loss == pytest.approx(
        entropy + y["price"].var(), rel=1e-3
    )
    assert_equal(everything(model), before)


def test_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, x, y = line(rate=0.01)
    finally:
        keras.config.set_dtype_policy(before)
    model.fit(x, y, verbose=0)
    kept = everything(model)
    found = trial(Task(model, x, y), [("learning_rate", 0.1)], steps=20)
    assert found.changed < found.without
    assert_equal(everything(model), kept)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, size=8):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return len(self.x) // self.size

    def __getitem__(self, index):
        some = slice(index * self.size, (index + 1) * self.size)
        return self.x[some], self.y[some]


@pytest.mark.parametrize("kind", ["dataset", "PyDataset", "nested", "weights"])
def test_data_of_all_kinds(kind):
    model, x, y = line(rate=0.01)
    arguments = {"x": x, "y": y}
    if kind == "dataset":
        whole = tf.data.Dataset.from_tensor_slices((x, y))
        arguments = {"x": whole.shuffle(64).batch(8)}
    elif kind == "PyDataset":
        arguments = {"x": Batches(x, y)}
    elif kind == "nested":
        arguments["x"] = [x]
    else:
        arguments["sample_weight"] = np.ones(64)
    task = Task(model, **arguments)
    found = trial(task, [("learning_rate", 0.2)], steps=20)
    assert found.changed < found.without
    assert task.sample.examples == 64 and task.sample.is_whole


def test_data_that_can_be_read_only_once_are_refused():
    model, x, y = line()
    with pytest.raises(ValueError, match="read again"):
        Task(model, iter([(x, y)]))


def test_several_replicas_are_not_tried(two_replicas):
    with two_replicas.scope():
        model, x, y = line()
    found = trial(Task(model, x, y), [("learning_rate", 0.1)])
    assert found == NotTried("the model trains on several replicas")


def test_several_optimizers_are_not_tried():
    model, x, y = line()
    model.other = keras.optimizers.SGD()
    found = trial(Task(model, x, y), [("learning_rate", 0.1)])
    assert found == NotTried("the model has several optimizers")


class Fails(gdtrain.Model):
    def __init__(self):
        super().__init__()
        self.last = layers.Dense(1)

    def call(self, x, training=False):
        if training:
            raise RuntimeError("no training here")
        return self.last(x)


def test_an_error_of_the_model_is_a_reason():
    _, x, y = line()
    model = Fails()
    model.compile("sgd", "mse")
    model(x)
    before = everything(model)
    found = trial(Task(model, x, y), [("learning_rate", 0.1)], steps=2)
    assert isinstance(found, NotTried) and "no training here" in found.reason
    assert_equal(everything(model), before)


def test_unknown_changes_and_changes_of_nothing_have_a_reason():
    model, x, y = line()
    task = Task(model, x, y)
    assert "color" in trial(task, [("color", 1)], steps=1).reason
    assert "weight decay" in trial(task, [("weight_decay", 0.0)], 1).reason


def test_all_rates_share_one_program(monkeypatch):
    model, x, y = line()
    traced = []
    step = type(model).train_step
    monkeypatch.setattr(
        gdtrain.DescentTrainer,
        "train_step",
        lambda self, data: traced.append(1) or step(self, data),
    )
    with Trials(Task(model, x, y)) as trials:
        trials.run([("learning_rate", 0.1)], steps=4)
        first = len(traced)
        for rate in (0.01, 0.2, 0.3):
            trials.run([("learning_rate", rate)], steps=7)
    assert len(traced) == first


def test_steps_are_as_many_as_the_time_allows(monkeypatch):
    model, x, y = line()
    clock = iter(np.arange(0, 100, 0.16))  # 8 steps take 0.16 seconds
    monkeypatch.setattr(
        "gdtrain.diagnosis.trial._clocks", lambda: next(clock) * np.ones(2)
    )
    with Trials(Task(model, x, y, learning_rates=np.ones(1000)), 4) as trials:
        assert trials.steps == 20  # 100 in 2 seconds, for 4 and one without
    many = np.tile(x, [100, 1])
    with Trials(Task(model, many, 3 * many), 4) as trials:
        assert trials.steps == 40  # An epoch of 200 steps takes longer
    with Trials(Task(model, x, y, learning_rates=np.ones(6)), 4) as trials:
        assert trials.steps == 6  # The run had no more


def test_batches_have_each_example_once_an_epoch():
    rows = batches(10, 5, 4, shuffled=True)
    for epoch in (rows[:2], rows[2:]):
        assert sorted(epoch.ravel()) == list(range(10))
    assert not np.array_equal(rows[:2], rows[2:])
    assert batches(10, 5, 4, False).ravel().tolist() == 2 * list(range(10))
