"""What Keras documents of `evaluate`, `predict` and the `*_on_batch`."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.contracts.fit_cases import (
    START,
    WEIGHT,
    Batches,
    Calls,
    Descent,
    N,
    X,
    Y,
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

ERROR = np.square(X @ START - Y)[:, 0]
METRICS = {"metrics": ["mae"], "weighted_metrics": ["mse"]}
EVALUATED = {
    "arrays": (lambda: {"x": X, "y": Y, "batch_size": 16}, slice(N), 3, False),
    "32 unless told": (lambda: {"x": X, "y": Y}, slice(N), 2, False),
    "tensors": (
        lambda: {"x": tf.constant(X), "y": tf.constant(Y), "batch_size": 99},
        slice(N),
        1,
        False,
    ),
    "weights": (
        lambda: {"x": X, "y": Y, "sample_weight": WEIGHT, "batch_size": 16},
        slice(N),
        3,
        True,
    ),
    "dataset": (lambda: {"x": dataset()}, slice(N), 3, False),
    "weighted dataset": (
        lambda: {"x": dataset(X, Y, WEIGHT)},
        slice(N),
        3,
        True,
    ),
    "steps": (
        lambda: {"x": dataset().repeat(), "steps": 2},
        slice(32),
        2,
        False,
    ),
    "generator": (
        lambda: {"x": generator(2, X, Y, WEIGHT), "steps": 3},
        slice(N),
        3,
        True,
    ),
    "PyDataset": (
        lambda: {"x": Batches(X, Y, WEIGHT, size=7)},
        slice(N),
        6,
        True,
    ),
}


@pytest.mark.mostly_long(
    "weights-gdtrain",
    "weighted dataset-gdtrain",
    "generator-gdtrain",
    "steps-gdtrain",
)
@both
@pytest.mark.parametrize("kind", EVALUATED)
def test_evaluate_returns_the_means_and_changes_nothing(base, kind):
    make, part, steps, weighted = EVALUATED[kind]
    weight = WEIGHT[part] if weighted else np.ones(len(ERROR[part]))
    model, calls = linear(base, **METRICS), Calls()
    result = model.evaluate(
        **make(), verbose=0, return_dict=True, callbacks=[calls]
    )
    assert list(result) == ["loss", "mae", "mse"]
    close(result["loss"], np.mean(weight * ERROR[part]))
    close(result["mae"], np.mean(np.sqrt(ERROR[part])))
    close(result["mse"], np.average(ERROR[part], weights=weight))
    names = ("loss", "mae", "mse")
    batches = [
        call
        for i in range(steps)
        for call in [("test_batch_begin", i), ("test_batch_end", i, *names)]
    ]
    assert calls.calls == [("test_begin",), *batches, ("test_end", *names)]
    np.testing.assert_array_equal(weights_of(model), START)
    assert int(model.optimizer.iterations.numpy()) == 0


@both
def test_evaluate_returns_a_list_in_order(base):
    model = linear(base, **METRICS, steps_per_execution=2)
    model.fit(X, Y, batch_size=16, verbose=0)
    result = model.evaluate(X, Y, batch_size=16, verbose=0)
    loss = mean_loss(weights_of(model))
    error = np.abs(X @ weights_of(model) - Y).mean()
    assert isinstance(result, list)
    close(result, [loss, error, loss])


@both
@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_examples_are_seen_in_order(base, method):
    model, visits, x = visiting(base)
    targets = [x] if method == "evaluate" else []
    getattr(model, method)(x, *targets, batch_size=16, verbose=0)
    assert visits.batches() == [x[batch, 0].tolist() for batch in rows(16)]


@both
def test_what_is_printed(base, capsys):
    model = linear(base)
    for verbose in [0, 1, 2]:
        for method, data in [("evaluate", (X, Y)), ("predict", (X,))]:
            getattr(model, method)(*data, batch_size=16, verbose=verbose)
            printed = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
            last = re.split(r"[\n\r\b]+", printed.strip())[-1]
            assert last.startswith("3/3") if verbose else printed == ""
            if verbose and method == "evaluate":
                assert f"loss: {mean_loss(START):.4f}" in last


@both
def test_evaluation_during_fit_leaves_its_metrics_alone(base):
    model, expected = linear(base), Descent([rows(16)] * 2)
    losses = []
    evaluate = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append(
            model.evaluate(X, Y, batch_size=16, verbose=0)
        )
    )
    history = train(
        model, epochs=2, callbacks=[evaluate], validation_data=(X, Y)
    ).history
    close(history["loss"], expected.epoch_losses)
    close(losses, [mean_loss(w) for w in expected.epoch_weights])
    close(losses, history["val_loss"])


@both
def test_layers_that_train_otherwise_are_evaluated_and_predict(base):
    layers = [keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
    model = linear(base, *layers)
    scale = 1 / np.sqrt(1 + layers[1].epsilon)
    close(model.predict(X, verbose=0), scale * X @ START)
    close(model.evaluate(X, Y, verbose=0), mean_loss(scale * START))
    close(layers[1].moving_mean.numpy(), np.zeros(3))


PREDICTED = {
    "arrays": (lambda: {"x": X, "batch_size": 16}, slice(N), 3),
    "32 unless told": (lambda: {"x": X}, slice(N), 2),
    "batch larger than data": (lambda: {"x": X, "batch_size": 99}, slice(N), 1),
    "float64": (lambda: {"x": X.astype(float), "batch_size": 7}, slice(N), 6),
    "tensor": (lambda: {"x": tf.constant(X)}, slice(N), 2),
    "dataset": (lambda: {"x": dataset(X)}, slice(N), 3),
    "dataset with targets": (lambda: {"x": dataset(X, Y)}, slice(N), 3),
    "steps": (lambda: {"x": dataset(X), "steps": 2}, slice(32), 2),
    "generator": (
        lambda: {"x": generator(9, X), "steps": 3},
        slice(N),
        3,
    ),
    "PyDataset": (lambda: {"x": Batches(X, workers=2)}, slice(N), 3),
}


@pytest.mark.mostly_long(
    "32 unless told-gdtrain",
    "float64-gdtrain",
    "dataset with targets-gdtrain",
    "steps-gdtrain",
    "generator-gdtrain",
    "PyDataset-gdtrain",
)
@both
@pytest.mark.parametrize("kind", PREDICTED)
def test_predict_keeps_the_order_and_tells_callbacks(base, kind):
    make, part, steps = PREDICTED[kind]
    model = base.Sequential([keras.Input([3]), half(name="line")])
    calls, outputs = Calls(), []
    note = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: outputs.append(
            np.array(logs["outputs"])
        )
    )
    result = model.predict(**make(), verbose=0, callbacks=[calls, note])
    assert isinstance(result, np.ndarray) and result.dtype == "float32"
    close(result, X[part] @ START)
    close(np.concatenate(outputs), result)
    batches = [
        call
        for i in range(steps)
        for call in [
            ("predict_batch_begin", i),
            ("predict_batch_end", i, "outputs"),
        ]
    ]
    assert calls.calls == [("predict_begin",), *batches, ("predict_end",)]


@pytest.mark.mostly_long("list-2-gdtrain", "tuple-1-gdtrain", "dict-2-gdtrain")
@both
@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_predict_returns_the_structure_of_outputs(
    base, kind, steps_per_execution
):
    class Ends(base.Model):
        def call(self, x):
            if kind is dict:
                return {"one": x, "two": -x}
            return kind([x, -x])

    model = Ends()
    compiled(model, steps_per_execution=steps_per_execution)
    result = model.predict(X, batch_size=16, verbose=0)
    assert isinstance(result, kind) and len(result) == 2
    one, two = result.values() if kind is dict else result
    close(one, X)
    close(two, -X)


@both
def test_predict_of_ragged_outputs_is_ragged(base):
    class Ragged(base.Model):
        def call(self, x):
            lengths = tf.cast(x[:, 0], "int64")
            return tf.RaggedTensor.from_tensor(x, lengths=lengths)

    x = np.stack([np.full(3, i % 3 + 1.0) for i in range(7)])
    result = Ragged().predict(x, batch_size=3, verbose=0)
    assert isinstance(result, tf.RaggedTensor)
    assert result.to_list() == [[i % 3 + 1.0] * (i % 3 + 1) for i in range(7)]


@both
def test_stop_evaluating_and_stop_predicting(base):
    class Stop(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch == 1

        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = batch == 1

    model, stop = linear(base), {"callbacks": [Stop()], "verbose": 0}
    loss = model.evaluate(X, Y, batch_size=10, **stop)
    close(loss, mean_loss(START, X[:20], Y[:20]))
    assert len(model.predict(X, batch_size=10, **stop)) == 20


@both
@pytest.mark.parametrize("weight", ["none", "sample", "class"])
def test_train_on_batch_moves_the_weights_once(base, weight):
    labels = np.arange(N)[:, np.newaxis] % 2
    arguments, factor = {
        "none": ({}, np.ones(N)),
        "sample": ({"sample_weight": WEIGHT}, WEIGHT),
        "class": ({"class_weight": {0: 1.0, 1: 3.0}}, 1.0 + 2 * labels[:, 0]),
    }[weight]
    expected = Descent([[slice(N)]] * 2, y=labels, weight=factor)
    model = linear(base, metrics=["mae"])
    first = model.train_on_batch(X, labels, return_dict=True, **arguments)
    assert list(first) == ["loss", "mae"]
    close(weights_of(model), expected.weights[0])
    second = model.train_on_batch(X, labels, **arguments)
    close([first["loss"], second[0]], expected.losses)
    close(first["mae"], np.abs(X @ START - labels).mean())
    close(weights_of(model), expected.weights[1])
    assert int(model.optimizer.iterations.numpy()) == 2


@both
def test_test_and_predict_on_batch(base):
    model = linear(base, metrics=["mae"])
    for part in [slice(8), slice(8, 20)]:
        loss, error = model.test_on_batch(X[part], Y[part])
        close([loss, error], [ERROR[part].mean(), np.sqrt(ERROR[part]).mean()])
        result = model.test_on_batch(
            X[part], Y[part], sample_weight=WEIGHT[part], return_dict=True
        )
        close(result["loss"], np.mean(WEIGHT[part] * ERROR[part]))
        outputs = model.predict_on_batch(X[part])
        assert isinstance(outputs, np.ndarray)
        close(outputs, X[part] @ START)
    np.testing.assert_array_equal(weights_of(model), START)


@both
def test_a_loss_alone_is_returned_as_a_number(base):
    model = linear(base, rate=0.0)
    for method in [model.train_on_batch, model.test_on_batch, model.evaluate]:
        loss = method(X, Y)
        assert np.ndim(loss) == 0
        close(loss, mean_loss(START))


@both
@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_fit_and_the_methods_on_a_batch_can_take_turns(
    base, steps_per_execution
):
    model = linear(base, steps_per_execution=steps_per_execution)
    expected = Descent([rows(16), [slice(16)], rows(16)])
    fit = {"batch_size": 16, "shuffle": False, "verbose": 0}
    losses = model.fit(X, Y, **fit).history["loss"]
    losses.append(model.train_on_batch(X[:16], Y[:16]))
    losses += model.fit(X, Y, **fit).history["loss"]
    close(losses, expected.epoch_losses)
    close(weights_of(model), expected.weights[-1])
    close(model.predict_on_batch(X), X @ expected.weights[-1])
