"""What Keras documents of `fit` and its data, in numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import fit_cases
from tests.contracts.fit_cases import (
    QUIET,
    START,
    WEIGHT,
    Batches,
    Calls,
    Descent,
    N,
    X,
    Y,
    arrays,
    both,
    close,
    compiled,
    dataset,
    generator,
    half,
    linear,
    mean_loss,
    rows,
    train,
    visiting,
    weights_of,
)

LABELS, CLASS_WEIGHT = fit_cases.LABELS, fit_cases.CLASS_WEIGHT
VALID = (X[:17], Y[:17], WEIGHT[:17])
EPOCH, TWO = [rows(16)], [rows(16)] * 2


@pytest.mark.mostly_long(
    "32 unless told-gdtrain",
    "shuffled full batch-gdtrain",
    "integers-gdtrain",
    "pandas-gdtrain",
    "part for validation-gdtrain",
    "sample_weight-gdtrain",
    "class_weight-gdtrain",
    "weighted dataset-gdtrain",
    "endless dataset goes on-gdtrain",
    "PyDataset, 2 workers-gdtrain",
    "generator-gdtrain",
    "initial_epoch-gdtrain",
)
@both
@pytest.mark.parametrize("source", fit_cases.SOURCES)
def test_weights_and_losses_of_each_source_of_batches(base, source):
    make, epochs, data = fit_cases.SOURCES[source]
    expected = Descent(epochs, **data)
    model, calls = linear(base), Calls()
    arguments = {**QUIET, "epochs": 2, "callbacks": [calls], **make()}
    history = model.fit(**arguments).history
    assert calls.batch_ends() == [i for e in epochs for i in range(len(e))]
    close(weights_of(model), expected.weights[-1])
    close(history["loss"], expected.epoch_losses)
    if source == "part for validation":
        losses = [mean_loss(w, X[30:], Y[30:]) for w in expected.epoch_weights]
        close(history["val_loss"], losses)


@both
def test_history_and_what_goes_on_in_the_next_fit(base):
    model, expected = linear(base, metrics=["mae"]), Descent(TWO + TWO)
    first = train(model, epochs=2)
    assert first.epoch == [0, 1] and first is model.history
    assert first.params == {"verbose": 0, "epochs": 2, "steps": 3}
    assert list(first.history) == ["loss", "mae"]
    assert all(type(value) is float for value in first.history["loss"])
    second = train(model, epochs=5, initial_epoch=3)
    assert second is not first and second.epoch == [3, 4]
    assert int(model.optimizer.iterations.numpy()) == 12
    losses = first.history["loss"] + second.history["loss"]
    close(losses, expected.epoch_losses)
    close(weights_of(model), expected.weights[-1])
    assert model.metrics_names == ["loss", "compile_metrics"]
    results = model.get_metrics_result()
    assert list(results) == ["loss", "mae"]
    for name, values in second.history.items():
        close(values[-1], float(results[name]))


@both
def test_without_shuffling_examples_come_in_order(base):
    model, visits, x = visiting(base)
    train(model, x=x, y=x, epochs=2)
    assert visits.batches() == [x[part, 0].tolist() for part in rows(16)] * 2


def shuffled_epochs(base, seed, make):
    """The order of the examples in each of two epochs."""
    keras.utils.set_random_seed(seed or 0)
    tf.random.set_seed(seed)
    model, visits, x = visiting(base)
    model.fit(**make(x), epochs=2, verbose=0)
    batches = visits.batches()
    assert [len(batch) for batch in batches] == [4] * 20
    epochs = np.reshape(batches, [2, N]).tolist()
    for epoch in epochs:
        assert sorted(epoch) == x[:, 0].tolist() != epoch
    return epochs


def fours(x):
    return arrays(x, x, batch_size=4)


@both
def test_shuffling_visits_each_example_once_and_anew_in_each_epoch(base):
    one, two = shuffled_epochs(base, None, fours)
    assert one != two


@both
def test_a_seed_repeats_the_shuffling(base):
    one, same, other = [shuffled_epochs(base, i, fours) for i in [1, 1, 2]]
    assert one == same != other


@both
@pytest.mark.parametrize("workers", [1, 2])
def test_shuffling_a_py_dataset_shuffles_its_batches(base, workers):
    one, two = shuffled_epochs(
        base, 1, lambda x: {"x": Batches(x, x, size=4, workers=workers)}
    )
    assert one != two
    assert all(number % 4 == 0 for number in one[::4] + two[::4])


@both
def test_shuffle_batch_shuffles_within_batches(base):
    model, visits, x = visiting(base)
    train(model, x=x, y=x, shuffle="batch")
    for batch, expected in zip(visits.batches(), rows(16), strict=True):
        assert sorted(batch) == x[expected, 0].tolist() != batch


VALIDATION = {
    "arrays": (lambda: VALID[:2], {}, slice(17), 1.0),
    "weighted arrays": (lambda: VALID, {}, slice(17), VALID[2]),
    "dataset": (lambda: dataset(*VALID[:2], size=5), {}, slice(17), 1.0),
    "PyDataset": (lambda: Batches(*VALID, size=5), {}, slice(17), VALID[2]),
    "steps": (
        lambda: VALID[:2],
        {"validation_steps": 2, "validation_batch_size": 5},
        slice(10),
        1.0,
    ),
}


@pytest.mark.mostly_long("weighted arrays-gdtrain", "PyDataset-gdtrain")
@both
@pytest.mark.parametrize("kind", VALIDATION)
def test_validation_data(base, kind):
    make, arguments, part, weight = VALIDATION[kind]
    expected = Descent(TWO)
    history = train(
        linear(base), epochs=2, validation_data=make(), **arguments
    ).history
    assert list(history) == ["loss", "val_loss"]
    close(history["loss"], expected.epoch_losses)
    weights = expected.epoch_weights
    losses = [mean_loss(w, X[part], Y[part], weight) for w in weights]
    close(history["val_loss"], losses)


@both
def test_validation_freq(base):
    model, valid = linear(base), {"validation_data": VALID[:2]}
    weights = Descent(TWO * 4).epoch_weights
    losses = [mean_loss(w, *VALID[:2]) for w in weights]
    for freq, epochs in [(2, [1, 3]), ([1, 3], [4, 6])]:
        history = train(model, 4, **valid, validation_freq=freq).history
        close(history["val_loss"], np.take(losses, epochs))
        assert len(history["loss"]) == 4


@both
def test_validation_batch_size_is_that_of_training_unless_told(base):
    model, valid = linear(base), {"validation_data": VALID[:2]}
    for arguments, steps in [({}, 2), ({"validation_batch_size": 5}, 4)]:
        calls = Calls()
        train(model, **valid, **arguments, callbacks=[calls])
        assert calls.batch_ends("test") == list(range(steps))


@both
def test_class_weight_of_one_hot_targets(base):
    model = base.Sequential([keras.Input([3]), half(3)])
    one_hot = np.eye(3)[LABELS[:, 0]]
    history = train(
        compiled(model, rate=0.0), y=one_hot, class_weight=CLASS_WEIGHT
    ).history
    loss = np.mean(np.square(X @ np.full([3, 3], 0.5) - one_hot), axis=1)
    weight = [CLASS_WEIGHT[label] for label in LABELS[:, 0]]
    close(history["loss"], [np.mean(loss * weight)])


@both
@pytest.mark.parametrize("known", [True, False])
def test_dataset_that_runs_dry_is_warned_of_and_training_goes_on(base, known):
    data, calls, model = dataset(), Calls(), linear(base)
    if not known:
        data = data.filter(lambda x, y: True)
    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(
            data, steps_per_epoch=4, epochs=2, callbacks=[calls], **QUIET
        ).history
    assert calls.batch_ends() == [0, 1, 2] * 2
    close(history["loss"], Descent(TWO).epoch_losses)


@both
@pytest.mark.parametrize("steps", [None, 5])
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_generator_that_ends(base, steps):
    model, calls, expected = linear(base), Calls(), Descent(EPOCH)
    history = model.fit(
        generator(1), steps_per_epoch=steps, callbacks=[calls], **QUIET
    ).history
    assert calls.batch_ends() == [0, 1, 2]
    close(history["loss"], expected.epoch_losses)
    close(weights_of(model), expected.weights[-1])


@both
def test_py_dataset_hears_of_the_end_of_each_epoch(base):
    counts, data = [], Batches(X, Y)
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: counts.append(data.epochs_ended)
    )
    linear(base).fit(data, epochs=3, callbacks=[note], **QUIET)
    assert np.diff(counts).min() >= 1


@both
def test_bare_elements_reach_a_train_step_of_ones_own(base):
    class Mean(base.Model):
        def __init__(self):
            super().__init__()
            self.mean = self.add_weight(initializer="zeros", name="mean")
            self.loss_metric = keras.metrics.Mean(name="loss")

        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((data - self.mean) ** 2)
            gradient = tape.gradient(loss, [self.mean.value])
            self.optimizer.apply(gradient, [self.mean])
            self.loss_metric.update_state(loss)
            return {"loss": self.loss_metric.result()}

    model = compiled(Mean(), rate=0.5, loss=None)
    data = tf.data.Dataset.from_tensor_slices([1.0, 2.0, 6.0]).batch(3)
    close(model.fit(data, **QUIET).history["loss"], [41 / 3])
    close(model.mean.numpy(), 3.0)


def two_ended(base, outputs, **arguments):
    """A model of nested inputs with two outputs, in a dict or a list."""
    inputs = {
        "a": keras.Input([3], name="a"),
        "b": {"c": keras.Input([3], name="c")},
    }
    joined = keras.layers.Add()([inputs["a"], inputs["b"]["c"]])
    ends = [half(name="one")(joined), half(2, name="two")(joined)]
    if outputs is dict:
        ends = dict(zip(["one", "two"], ends, strict=True))
    model = base.Model(inputs, ends)
    names = ["mse", "mae"] if outputs is list else {"one": "mse", "two": "mae"}
    return compiled(model, rate=0.0, loss=names, **arguments)


@both
@pytest.mark.parametrize("outputs", [list, dict])
def test_nested_inputs_and_two_weighted_outputs(base, outputs):
    def pack(one, two):
        return [one, two] if outputs is list else {"one": one, "two": two}

    weights, targets = (WEIGHT, WEIGHT[::-1].copy()), np.hstack([Y, -Y])
    history = train(
        two_ended(base, outputs, loss_weights=pack(1.0, 0.3)),
        x={"a": X, "b": {"c": 2 * X}},
        y=pack(Y, targets),
        sample_weight=pack(*weights),
        batch_size=20,
    ).history
    one = mean_loss(START, 3 * X, Y, weights[0])
    two = np.mean(weights[1] * np.abs(3 * X @ START - targets).mean(1))
    assert sorted(history) == ["loss", "one_loss", "two_loss"]
    close([history["one_loss"], history["two_loss"]], [[one], [two]])
    close(history["loss"], [one + 0.3 * two])


@both
def test_list_of_arrays_is_several_inputs(base):
    inputs = [keras.Input([3]), keras.Input([3])]
    model = compiled(base.Model(inputs, half()(keras.layers.add(inputs))), 0.0)
    history = train(model, x=[X, 2 * X]).history
    close(history["loss"], [mean_loss(START, 3 * X)])


@both
@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize("kind", ["sparse", "ragged"])
def test_sparse_and_ragged_inputs(base, kind, as_dataset):
    if kind == "sparse":
        x, dense = tf.sparse.from_dense(np.maximum(X, 0)), np.maximum(X, 0)
        layers = [keras.Input([3], sparse=True), half(name="line")]
    else:
        lengths = np.arange(N) % 3 + 1
        x = tf.RaggedTensor.from_tensor(X[:, :, np.newaxis], lengths)
        dense = tf.reduce_sum(x, axis=1).numpy()
        layers = [
            keras.layers.Lambda(lambda x: tf.reduce_sum(x, axis=1)),
            half(name="line"),
        ]
    model, data = compiled(base.Sequential(layers)), arrays(x)
    if as_dataset:
        data = {"x": tf.data.Dataset.from_tensor_slices((x, Y)).batch(16)}
    expected = Descent(TWO, x=dense, start=START[: dense.shape[1]])
    losses = model.fit(**data, epochs=2, **QUIET).history["loss"]
    close(losses, expected.epoch_losses)
    close(weights_of(model), expected.weights[-1])


@both
@pytest.mark.parametrize("kind", ["arrays", "jagged"])
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_lengths_of_batches_are_not_traced_one_by_one(base, kind):
    traces = []

    class Total(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return keras.ops.sum(x, axis=1, keepdims=True)

    def jagged():
        for length in range(1, 9):
            yield np.ones([4, length], "float32"), np.ones([4, 1], "float32")

    spec = tf.TensorSpec([4, None]), tf.TensorSpec([4, 1])
    data = {"x": tf.data.Dataset.from_generator(jagged, output_signature=spec)}
    expected = np.mean((0.5 * np.arange(1, 9) - 1) ** 2)
    if kind == "arrays":
        data, expected = arrays(), mean_loss(START)
    model = compiled(base.Sequential([Total(), half()]), 0.0)
    losses = model.fit(**data, epochs=2, **QUIET).history["loss"]
    assert 0 < len(traces) <= 4
    traces.clear()
    losses += model.fit(**data, **QUIET).history["loss"]
    assert traces == []
    close(losses, [expected] * 3)
