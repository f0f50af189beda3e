"""A backup is that of the run that is asked for, or it is said."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.checkpoint import manifest

X = np.random.default_rng(0).normal(size=[12, 3]).astype("float32")
Y = X.sum(1, keepdims=True)
LABELS = (Y > 0).astype("int32")


def network(layers=(), optimizer=None, **compiled):
    """A small model that is run by Python, as nothing needs to be traced."""
    model = gdtrain.Sequential(
        [keras.Input([3]), *layers, keras.layers.Dense(1)]
    )
    arguments = {"loss": "mse", "run_eagerly": True} | compiled
    model.compile(optimizer or keras.optimizers.SGD(0.01), **arguments)
    return model


def train(folder, make=network, backup=None, **arguments):
    """Trains as a program would that is begun anew; returns the model."""
    keras.utils.set_random_seed(1)
    model = make()
    given = {"x": X, "y": Y, "batch_size": 6, "epochs": 2} | arguments
    model.fit(
        **given,
        verbose=0,
        callbacks=[
            gdtrain.callbacks.BackupAndRestore(str(folder), **backup or {})
        ],
    )
    return model


def weights(model):
    return [np.asarray(weight).tolist() for weight in model.weights]


def scaled_loss(factor):
    return lambda y, y_pred: factor * tf.reduce_mean((y - y_pred) ** 2, -1)


class Weighted(keras.losses.Loss):
    """A loss that does not say what it was made of."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * tf.reduce_mean((y_true - y_pred) ** 2, -1)


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule without a config."""

    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first / (1.0 + tf.cast(step, tf.float32))


class Penalized(gdtrain.Model):
    """A model with a number of its own."""

    def __init__(self, penalty):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.penalty = penalty

    def call(self, x):
        return self.dense(x)


def penalized(penalty):
    model = Penalized(penalty)
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def relu(units, activation="relu", **arguments):
    layer = functools.partial(
        keras.layers.Dense, units, activation=activation, **arguments
    )
    return lambda: network([layer()])


def sgd(*args, **kwargs):
    return lambda: network(optimizer=keras.optimizers.SGD(*args, **kwargs))


def compiled(**arguments):
    return lambda: network(**arguments)


def functional(first, second):
    inputs = keras.Input([3])
    hidden = [keras.layers.Dense(2)(inputs)]
    hidden.append(keras.layers.Dense(2)(hidden[0]))
    joined = keras.layers.Subtract()([hidden[first], hidden[second]])
    model = gdtrain.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile("sgd", "mse", run_eagerly=True)
    return model


CHANGES = {
    "rate": (sgd(0.001), sgd(0.1), "learning_rate was 0.001, is 0.1. Delete"),
    "momentum": (sgd(momentum=0.5), sgd(momentum=0.9), "momentum was 0.5, is"),
    "optimizer": (
        compiled(optimizer="sgd"),
        compiled(optimizer="adam"),
        "optimizer was 'SGD', is 'Adam'",
    ),
    "schedule": (
        sgd(keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)),
        sgd(keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.25)),
        "learning_rate.decay_rate was 0.5, is 0.25",
    ),
    "schedule of one's own": (
        sgd(Falling(0.5)),
        sgd(Falling(0.25)),
        "learning_rate.first was 0.5, is 0.25",
    ),
    "loss": (
        compiled(),
        compiled(loss="mae"),
        "loss was 'mse', is 'mae'",
    ),
    "number in a closure": (
        compiled(loss=scaled_loss(1.0)),
        compiled(loss=scaled_loss(2.0)),
        "loss.factor was 1.0, is 2.0",
    ),
    "code of a loss": (
        compiled(loss=lambda y, y_pred: tf.abs(y - y_pred)),
        compiled(loss=lambda y, y_pred: tf.abs(y - y_pred) + 1.0),
        "the code of loss differs",
    ),
    "loss without a config": (
        compiled(loss=Weighted(1.0)),
        compiled(loss=Weighted(3.0)),
        "loss.weight was 1.0, is 3.0",
    ),
    "metrics": (
        compiled(metrics=["mae"]),
        compiled(metrics=["mse"]),
        r"metrics was \['mae'\], is \['mse'\]",
    ),
    "clip": (
        compiled(),
        compiled(global_clipnorm=0.5),
        "global_clipnorm was None, is 0.5",
    ),
    "micro-batches": (
        compiled(),
        compiled(microbatches=2),
        "microbatches was 1, is 2",
    ),
    "activation": (
        relu(4),
        relu(4, "tanh"),
        r"layers\[0\].activation was 'relu', is 'tanh'",
    ),
    "regularizer": (
        relu(4, kernel_regularizer=keras.regularizers.L2(0.5)),
        relu(4, kernel_regularizer=keras.regularizers.L2(0.25)),
        "kernel_regularizer.l2 was 0.5, is 0.25",
    ),
    "activation of one's own": (
        relu(4, lambda x: tf.maximum(x, 0.0)),
        relu(4, lambda x: tf.maximum(x, 0.125)),
        r"the code of layers\[0\].activation differs",
    ),
    "connections": (
        lambda: functional(0, 1),
        lambda: functional(1, 0),
        "connections of layers .* differs",
    ),
    "attribute of a model": (
        lambda: penalized(0.5),
        lambda: penalized(0.75),
        "model.penalty was 0.5, is 0.75",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_model_or_compile_is_refused(tmp_path, change):
    before, now, message = CHANGES[change]
    train(tmp_path, before, epochs=1)
    model = None

    def make():
        nonlocal model
        model = now()
        model(X)  # Builds it
        return model

    with pytest.raises(ValueError, match="Received: .*" + message):
        train(tmp_path, make, epochs=2)
    assert model.optimizer.iterations == 0  # Before the first step


ARGUMENTS = {
    "data": ({"x": X + 1}, "the data in x differ"),
    "targets": ({"y": Y + 1}, "the data in y differ"),
    "weights": (
        {"sample_weight": X[:, 0] ** 2},
        r"sample_weight was not there, is float32\[12\]",
    ),
    "classes": (
        {"y": LABELS, "class_weight": {0: 1.0, 1: 2.0}},
        r"class_weight was None, is '\{0: 1.0, 1: 2.0\}'",
    ),
    "size": ({"batch_size": 4}, "batch_size was 6, is 4"),
    "shuffle": ({"shuffle": False}, "shuffle was True, is False"),
    "steps": ({"steps_per_epoch": 1}, "steps_per_epoch was None, is 1"),
    "first epoch": ({"initial_epoch": 1}, "initial_epoch was 0, is 1"),
    "validation": (
        {"validation_data": (X[:4], Y[:4])},
        r"validation_data\[0\] was not there, is float32\[4, 3\]",
    ),
}


@pytest.mark.parametrize("change", ARGUMENTS)
def test_other_arguments_of_fit_are_refused(tmp_path, change):
    arguments, message = ARGUMENTS[change]
    train(tmp_path)
    with pytest.raises(ValueError, match="Received: .*" + message):
        train(tmp_path, **arguments)


def test_all_differences_are_named(tmp_path):
    train(tmp_path, sgd(0.5))
    with pytest.raises(ValueError) as caught:
        train(tmp_path, sgd(0.25, nesterov=True), y=Y + 1, batch_size=4)
    for text in (
        "learning_rate was 0.5, is 0.25",
        "nesterov was False, is True",
        "the data in y differ",
        "batch_size was 6, is 4",
    ):
        assert text in str(caught.value)


class Stored(keras.utils.PyDataset):
    """Batches of arrays that it keeps."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.x[index::2], self.y[index::2]


def from_files(folder, number):
    names = []
    for index in range(4):
        path = folder / f"{index}.raw"
        path.write_bytes(bytes([number + index] * 3))
        names.append(str(path))

    def read(name):
        x = tf.io.decode_raw(tf.io.read_file(name), tf.uint8)
        x = tf.reshape(tf.cast(x, "float32"), [3])
        return x, tf.reduce_sum(x)

    return tf.data.Dataset.from_tensor_slices(names).map(read).batch(2)


def batches(x):
    return ((x[i::2], Y[i::2]) for _ in range(9) for i in range(2))


def pipeline(x, scale=1.0):
    def augmented(x, y):
        return scale * x + tf.random.uniform([3]), y

    slices = tf.data.Dataset.from_tensor_slices((x, Y))
    return slices.shuffle(12).map(augmented).batch(6)


FEEDS = {
    "files": (from_files, 1, 2, "the data in the first batches differ"),
    "rows left out": (
        lambda folder, rows: tf.data.Dataset.from_tensor_slices(
            (np.delete(X, rows, 0), np.delete(Y, rows, 0))
        ).batch(2),
        slice(4, 8),
        slice(8, 12),  # So that the first batches are the same
        "the data in x differ",
    ),
    "arrays, random maps": (
        lambda folder, shift: pipeline(X + shift),
        0,
        1,
        "the data in x differ",
    ),
    "map": (
        lambda folder, scale: pipeline(X, scale),
        1.0,
        2.0,
        r"the pipeline\[2\] \(MapDataset\) differs",
    ),
    "generator": (
        lambda folder, shift: batches(X + shift),
        0,
        1,
        "the data in the first batches differ",
    ),
    "PyDataset": (
        lambda folder, row: Stored(np.delete(X, row, 0), np.delete(Y, row, 0)),
        11,
        9,
        "the data in x.x differ",
    ),
}


@pytest.mark.parametrize("feed", FEEDS)
def test_other_data_are_refused_and_the_same_gone_on_with(
    tmp_path, feed, capsys
):
    make, before, now, message = FEEDS[feed]
    run = functools.partial(
        train,
        tmp_path / "backup",
        backup={"at_epochs_only": True},
        y=None,
        batch_size=None,
        steps_per_epoch=2,
    )
    run(x=make(tmp_path, before), epochs=1)
    with pytest.raises(ValueError, match=message):
        run(x=make(tmp_path, now), epochs=2)
    capsys.readouterr()
    run(x=make(tmp_path, before), epochs=2)
    assert "continues at epoch 2 of 2, after 2 steps" in capsys.readouterr().out


def test_looking_at_data_does_not_disturb_them(tmp_path):
    def seen(*callbacks):
        keras.utils.set_random_seed(1)
        told = []
        slices = tf.data.Dataset.range(6).shuffle(6)
        data = slices.map(lambda n: tf.reshape(tf.cast(n, "float32"), [1]))
        model = gdtrain.Sequential([keras.layers.Dense(1)])
        model.compile(
            "sgd",
            loss=lambda y, y_pred: (
                told.append(y.numpy().ravel().tolist())
                or tf.reduce_mean(y_pred, -1)
            ),
            run_eagerly=True,
        )
        paired = tf.data.Dataset.zip((data, data)).batch(2)
        model.fit(paired, epochs=2, verbose=0, callbacks=list(callbacks))
        return told

    backup = gdtrain.callbacks.BackupAndRestore(tmp_path, at_epochs_only=True)
    assert seen(backup) == seen()


def test_a_run_that_is_gone_on_with_says_so(tmp_path, capsys):
    train(tmp_path, epochs=1)
    assert capsys.readouterr().out == ""
    train(tmp_path, epochs=3)
    assert capsys.readouterr().out == (
        "BackupAndRestore: continues at epoch 2 of 3, after 2 steps, from "
        f"{str(tmp_path)!r}.\n"
    )
    train(tmp_path, epochs=3)
    assert capsys.readouterr().out == (
        "BackupAndRestore: this run is finished: 3 epochs, 6 steps, in "
        f"{str(tmp_path)!r}; nothing is trained. Delete the folder to train "
        "again, or raise `epochs`.\n"
    )


def test_a_rate_that_training_has_reached_is_no_change(tmp_path):
    keras.utils.set_random_seed(1)
    model = network()
    for epochs in (2, 4):
        model.fit(
            X,
            Y,
            epochs=epochs,
            verbose=0,
            callbacks=[
                gdtrain.callbacks.BackupAndRestore(tmp_path),
                keras.callbacks.LearningRateScheduler(
                    lambda epoch, rate: 0.5 * float(rate)
                ),
            ],
        )
    assert float(model.optimizer.learning_rate) == np.float32(0.01) / 16


def test_continue_continues_with_the_rate_that_is_asked_for_now(
    tmp_path, capsys
):
    expected = train(tmp_path / "apart", sgd(0.25), epochs=1)
    expected.optimizer.learning_rate = 0.125
    expected.fit(X, Y, batch_size=12, epochs=2, initial_epoch=1, verbose=0)
    train(tmp_path / "backup", sgd(0.25), epochs=1)
    capsys.readouterr()
    model = train(
        tmp_path / "backup",
        sgd(0.125),
        {"on_change": "continue"},
        batch_size=12,
        epochs=2,
    )
    line = capsys.readouterr().out
    assert "learning_rate was 0.25, is 0.125" in line
    assert "batch_size was 6, is 12" in line
    assert model.optimizer.iterations == 3
    np.testing.assert_allclose(
        model.get_weights()[0], expected.get_weights()[0], rtol=1e-6
    )
    assert float(model.optimizer.learning_rate) == 0.125


def test_continue_with_another_optimizer_keeps_weights_and_step(tmp_path):
    before = train(tmp_path, sgd(0.25, momentum=0.5), epochs=1)

    class Looking(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.found = getattr(self, "found", weights(self.model))

    looking = Looking()
    keras.utils.set_random_seed(1)
    model = network(optimizer=keras.optimizers.Adam(0.5))
    backup = gdtrain.callbacks.BackupAndRestore(tmp_path, on_change="continue")
    model.fit(
        X, Y, batch_size=6, epochs=2, verbose=0, callbacks=[backup, looking]
    )
    assert looking.found == weights(before)
    assert model.optimizer.iterations == 4
    assert float(model.optimizer.learning_rate) == 0.5


def test_restart_trains_from_the_start(tmp_path, capsys):
    expected = train(tmp_path / "apart", sgd(0.25))
    train(tmp_path / "backup", sgd(0.5), epochs=4)
    restart = {"on_change": "restart"}
    capsys.readouterr()
    model = train(tmp_path / "backup", sgd(0.25), restart)
    assert "trains from the start" in capsys.readouterr().out
    assert weights(model) == weights(expected)
    assert weights(train(tmp_path / "backup", sgd(0.25))) == weights(expected)


def test_an_unknown_way_to_change_is_refused(tmp_path):
    with pytest.raises(ValueError, match="on_change='go on'"):
        gdtrain.callbacks.BackupAndRestore(tmp_path, on_change="go on")


def test_a_checkpoint_of_an_older_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 1)
        train(tmp_path, epochs=1)
    message = "(?s)of format 2.*of format 1.*Delete it to train from the start"
    with pytest.raises(ValueError, match=message):
        train(tmp_path, epochs=2)
