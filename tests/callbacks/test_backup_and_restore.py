"""A run that is broken off and begun again ends as if left alone."""

import errno
import functools
import hashlib
import os
import random
import resource
import warnings
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain import telemetry
from gdtrain.checkpoint import files as checkpoint_files
from gdtrain.data import choice
from gdtrain.writers import AggregatingWriter, CSVWriter
from tests.callbacks import reading
from tests.callbacks.runs import (
    FEEDS,
    KillAt,
    Killed,
    Script,
    X,
    Y,
    differences,
    files,
    generator,
    kept_by_keras,
    network,
    observers,
)


def broken_off(script, kills, **arguments):
    """Runs a script that is killed at some steps; what it leaves in the end."""
    for step in kills:
        with pytest.raises(Killed):
            script(step, **arguments)
    left, began_at = script(**arguments)
    assert began_at > 0, "It was not gone on with."
    return left


def check(tmp_path, kills=(5,), epochs=3, **arguments):
    """A run that is broken off against one that is not."""
    whole = Script(str(tmp_path / "whole"), **arguments)
    parts = Script(str(tmp_path / "parts"), **arguments)
    for script in (whole, parts):
        os.makedirs(script.folder)
    left, began_at = whole(epochs=epochs)
    assert began_at == 0
    assert not differences(left, broken_off(parts, kills, epochs=epochs))
    names = [n for n in os.listdir(whole.folder) if n.endswith(".csv")]
    for name in names:
        one, other = (f"{s.folder}/{name}" for s in (whole, parts))
        assert files(one)[one] == files(other)[other]


@pytest.mark.mostly_long("tf.data")
@pytest.mark.parametrize("feed", FEEDS)
def test_any_feed_at_any_step(tmp_path, feed):
    steps = 6 if feed == "PyDataset in part" else 9
    kills = sorted(random.Random(feed).sample(range(1, steps), 2))
    check(tmp_path, kills, feed=FEEDS[feed], callbacks=observers)


@pytest.mark.long
@pytest.mark.parametrize("step", range(1, 8))
def test_each_step(tmp_path, step):
    check(tmp_path, [step], epochs=2)


@pytest.mark.long
def test_arrays_that_are_too_large_for_the_device(tmp_path):
    with mock.patch.object(choice, "memory_limit", lambda: 0):
        check(tmp_path)


@pytest.mark.mostly_long("5-3")
@pytest.mark.parametrize("batch_size, steps", [(6, 2), (5, 3)])
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_large_arrays_in_part(tmp_path, batch_size, steps):
    feed = {
        "x": X,
        "y": Y,
        "batch_size": batch_size,
        "steps_per_epoch": steps,
    }
    with mock.patch.object(choice, "memory_limit", lambda: 0):
        check(tmp_path, [3, 5], epochs=4, feed=lambda: feed)


def decaying():
    return keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.9)
    )


def scaling():
    """Doubles its scale at every second step."""
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(), initial_scale=2.0, dynamic_growth_steps=2
    )


def momentum():
    return gdtrain.GradientDescent(0.1, 0.9)


WAYS = {
    "eager": {"run_eagerly": True},
    # Adam takes XLA twice as long to compile.
    "XLA": {"jit_compile": True, "optimizer": momentum},
    "steps per execution": {"steps_per_execution": 3},
    "micro-batches": {"microbatches": 2},
    "clipped": {"optimizer": keras.optimizers.SGD, "global_clipnorm": 0.1},
    "momentum": {"optimizer": momentum},
    "mean of weights": {
        "optimizer": functools.partial(keras.optimizers.Nadam, use_ema=True)
    },
    "schedule": {"optimizer": decaying},
    "scaled loss": {"optimizer": scaling},
}


@pytest.mark.mostly_long("XLA")
@pytest.mark.parametrize("way", WAYS)
def test_any_way_to_train(tmp_path, way):
    def model():
        made = dict(WAYS[way])
        if "optimizer" in made:
            made["optimizer"] = made["optimizer"]()
        return network(**made)

    check(tmp_path, model=model)


def test_several_inputs_and_outputs(tmp_path):
    def model():
        a, b = keras.Input([3], name="a"), keras.Input([1], name="b")
        both = keras.layers.Concatenate()([keras.layers.Dropout(0.2)(a), b])
        made = gdtrain.Model(
            {"a": a, "rest": {"b": b}},
            {
                "mean": keras.layers.Dense(1, name="mean")(both),
                "sign": keras.layers.Dense(1, "sigmoid", name="sign")(both),
            },
        )
        losses = {"mean": "mse", "sign": "binary_crossentropy"}
        made.compile("adam", losses, metrics={"sign": ["accuracy"]})
        return made

    def feed():
        return {
            "x": {"a": X, "rest": {"b": X[:, :1]}},
            "y": {"mean": Y, "sign": (Y > 0).astype("float32")},
            "sample_weight": {"mean": X[:, 0] ** 2, "sign": X[:, 1] ** 2},
            "batch_size": 6,
        }

    check(tmp_path, feed=feed, model=model, callbacks=observers)


def test_killed_before_the_first_checkpoint(tmp_path):
    """Twice before it and once after: each point is there once."""
    check(
        tmp_path,
        [1, 2, 9],
        model=lambda: network(steps_per_execution=1),
        callbacks=lambda folder: [kept_by_keras(folder)[2], *observers(folder)],
        arguments={"validation_data": (X[:8], Y[:8])},
        backup={"every_steps": 6},
    )
    whole, parts = (
        reading.curves(tmp_path / name / "tensorboard")
        for name in ("whole", "parts")
    )
    reading.assert_equal_curves(parts, whole)
    reading.assert_forward(parts)


def test_validation_and_callbacks_that_remember(tmp_path):
    check(
        tmp_path,
        [9],
        epochs=5,
        callbacks=lambda folder: [*kept_by_keras(folder), *observers(folder)],
        arguments={"validation_data": (X[:8], Y[:8])},
    )


def test_weights_that_are_swapped_at_each_epoch(tmp_path):
    check(
        tmp_path,
        [8],
        model=lambda: network(
            optimizer=keras.optimizers.Adam(use_ema=True, ema_momentum=0.5)
        ),
        callbacks=lambda _: [keras.callbacks.SwapEMAWeights(True)],
    )


def test_curves_of_windows_that_were_open(tmp_path):
    check(
        tmp_path,
        [5],
        callbacks=lambda folder: [
            gdtrain.callbacks.TensorBoard(
                f"{folder}/tb",
                ["loss", "update_ratio", telemetry.LossChange().every(2)],
                every_steps=3,
                aggregate=True,
            ),
            gdtrain.callbacks.StepWriter(
                AggregatingWriter(CSVWriter(f"{folder}/thin.csv"), 3)
            ),
        ],
    )


class Counting(keras.callbacks.Callback):
    """A user's callback that remembers."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = 0.25 * sum(self.seen)

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = list(state["seen"])


def test_a_callback_of_ones_own(tmp_path):
    check(tmp_path, model=small, callbacks=lambda folder: [Counting()])


class Two(gdtrain.Model):
    """Two optimizers, a variable of its own, and a step of its own."""

    def __init__(self):
        super().__init__()
        self.body = keras.layers.Dense(1)
        self.head = keras.layers.Dense(1)
        self.second = keras.optimizers.Adam(0.05)
        self.count = tf.Variable(0.0, trainable=False)

    def call(self, x):
        return self.head(self.body(x))

    def train_step(self, data):
        x, y = data
        for layer, optimizer in (
            (self.body, None),
            (self.head, self.second),
        ):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            self.descend(
                tape, loss, layer.trainable_weights, optimizer, layer.name
            )
        self.count.assign_add(1.0)
        return {"loss": loss, "count": self.count}


def test_a_step_of_ones_own_with_two_optimizers(tmp_path):
    def model():
        made = Two()
        made.compile("adam")
        return made

    check(tmp_path, model=model)


def test_two_replicas(tmp_path, two_replicas):
    def model():
        with two_replicas.scope():
            return network()

    check(tmp_path, model=model, callbacks=observers)


class Looking(KillAt):
    """Takes states, as they are then and as they are in the end."""

    def on_position(self, run):
        state = run.capture()
        self.taken.append((state, repr(state)))


def test_a_state_that_is_being_written_stays_as_it_was(tmp_path):
    looking = Looking(None)
    looking.taken = []
    script = Script(
        str(tmp_path),
        callbacks=lambda folder: [
            *kept_by_keras(folder),
            *observers(folder),
            Counting(),
            gdtrain.callbacks.StepWriter(
                AggregatingWriter(CSVWriter(f"{folder}/thin.csv"), 3)
            ),
            looking,
        ],
    )
    script()
    assert len(looking.taken) > 3
    for state, then in looking.taken:
        assert repr(state) == then


def test_a_run_that_has_ended_is_not_run_again(tmp_path):
    script = Script(str(tmp_path), callbacks=observers)
    left, _ = script()
    again, began_at = script()
    assert began_at == 12
    assert not differences(left, again)


def test_a_run_continues_if_there_are_more_epochs(tmp_path):
    longer, _ = Script(str(tmp_path / "longer"), model=small)(epochs=4)
    script = Script(str(tmp_path / "script"), model=small)
    script(epochs=2)
    left, began_at = script(epochs=4)
    assert began_at == 8
    assert not differences(longer, left)


def test_a_run_that_was_stopped_early_stays_ended(tmp_path):
    script = Script(
        str(tmp_path),
        callbacks=lambda _: [
            keras.callbacks.EarlyStopping(
                "loss", patience=0, baseline=-1.0, restore_best_weights=True
            )
        ],
    )
    left, _ = script(epochs=9)
    again, began_at = script(epochs=10)
    assert began_at == 4 * len(left["history"][1]) < 36
    assert not differences(left, again)


def test_weights_come_out_as_without_it(tmp_path):
    left, _ = Script(str(tmp_path), model=lambda: network(jit_compile=False))()
    keras.utils.set_random_seed(3)
    model = network(jit_compile=False)
    model.fit(**FEEDS["arrays"](), epochs=3, verbose=0)
    alone = [np.asarray(v).tobytes() for v in model.variables]
    assert alone == [left[f"variable {i}"] for i in range(len(alone))]


def test_a_generator_is_refused_or_starts_again_where_an_epoch_ended(tmp_path):
    feed = {"x": generator, "steps_per_epoch": 4}
    script = Script(
        str(tmp_path / "0"), feed=lambda: {**feed, "x": generator()}
    )
    with pytest.raises(ValueError, match="at_epochs_only=True"):
        script()
    check(
        tmp_path,
        [7],
        feed=script.feed,
        backup={"at_epochs_only": True, "every_steps": 1},
    )


def test_random_operations_of_a_pipeline_are_refused(tmp_path):
    pipeline = tf.data.Dataset.from_tensor_slices((X, Y)).map(
        lambda x, y: (x + tf.random.uniform([3]), y)
    )
    script = Script(str(tmp_path), feed=lambda: {"x": pipeline.batch(6)})
    message = "(?s)RandomUniform.*stateful.*at_epochs_only=True"
    with pytest.raises(ValueError, match=message):
        script()


def hashes(folder):
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and path.name != "gdtrain.lock"
        )
    }


def small():
    made = gdtrain.Sequential([keras.layers.Dense(1)])
    made.compile("adam", "mse")
    return made


def wider():
    made = gdtrain.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)])
    made.compile("adam", "mse")
    return made


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": wider}, r"(?s)kernel.*\(3, 2\).*\(3, 1\)"),
        (
            {"feed": lambda: {"x": X, "y": Y + 1, "batch_size": 6}},
            "Received: the data in y differ. Delete the folder",
        ),
        (
            {"feed": lambda: {"x": X[1:], "y": Y[1:], "batch_size": 6}},
            r"x was float32\[22, 3\], is float32\[21, 3\]",
        ),
        (
            {"feed": lambda: {"x": X, "y": Y, "batch_size": 5}},
            "Received: batch_size was 6, is 5. Delete",
        ),
        (
            {"feed": FEEDS["tf.data"]},
            "the data were arrays, are a tf.data.Dataset",
        ),
        ({}, "Received: seed was 4, is 3. Delete"),
    ],
    ids=["model", "content", "length", "batch size", "feed", "seed"],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    Script(str(tmp_path), model=small)(epochs=1, seed=4)
    before = hashes(tmp_path)
    script = Script(str(tmp_path), **({"model": small} | change))
    with pytest.raises(ValueError, match=message):
        script(seed=4 if change else 3)
    assert hashes(tmp_path) == before


def test_a_second_run_at_once_is_refused(tmp_path):
    class Another(KillAt):
        def on_position(self, run):
            if run.steps_done == 2:
                with pytest.raises(RuntimeError, match=str(os.getpid())):
                    Script(str(tmp_path), model=small)()

    script = Script(
        str(tmp_path), model=small, callbacks=lambda _: [Another(None)]
    )
    script(epochs=1)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "backup").write_text("")
    with pytest.raises(OSError, match="must be writable"):
        Script(str(tmp_path), model=small)()


def test_a_plain_keras_model_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    backup = gdtrain.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(TypeError, match="from_keras"):
        model.fit(X, Y, verbose=0, callbacks=[backup])


class Filling(gdtrain.callbacks.Callback):
    """Lets no file grow beyond 100 bytes from one step to another."""

    def on_fit_begin(self, run):
        self.allowed = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_position(self, run):
        most = 100 if 3 <= run.steps_done < 8 else self.allowed[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, self.allowed[1]))


def test_no_room_for_a_checkpoint_is_reported_once_and_tried_again(tmp_path):
    script = Script(str(tmp_path), model=small, callbacks=lambda _: [Filling()])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            left, _ = script()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = [str(w.message) for w in caught if "is lost" in str(w.message)]
    assert len(told) == 1 and "File too large" in told[0]
    expected, _ = Script(str(tmp_path / "alone"), model=small)()
    assert not differences(expected, left)
    assert script()[1] == 12  # The last checkpoint is there.


def test_a_full_disk_is_reported(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch.object(checkpoint_files, "write", side_effect=full):
        with pytest.warns(UserWarning, match="step 1: the disk is full"):
            Script(str(tmp_path), model=small)(epochs=1)


def test_a_clock_that_is_set_back_changes_nothing(tmp_path):
    whole, parts = (
        Script(str(tmp_path / name), model=small, callbacks=observers)
        for name in ("whole", "parts")
    )
    left, _ = whole()
    with pytest.raises(Killed):
        parts(5)
    import time

    now = time.time
    with mock.patch.object(time, "time", lambda: now() - 3600):
        again, began_at = parts()
    assert began_at == 5
    assert not differences(left, again)


def test_a_folder_that_is_removed_meanwhile_does_not_stop_training(tmp_path):
    import shutil

    class Removing(KillAt):
        def on_position(self, run):
            if run.steps_done == 3:
                shutil.rmtree(tmp_path / "backup", ignore_errors=True)

    script = Script(
        str(tmp_path), model=small, callbacks=lambda _: [Removing(None)]
    )
    expected, _ = Script(str(tmp_path / "alone"), model=small)()
    assert not differences(expected, script()[0])


def test_a_model_from_a_file_continues_as_if_never_saved(tmp_path):
    def fit(model):
        keras.utils.set_random_seed(7)
        model.fit(X, Y, batch_size=6, epochs=2, verbose=0)
        return [
            np.asarray(v).tobytes()
            for v in [*model.variables, *model.optimizer.variables]
        ]

    model = network(jit_compile=False)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert fit(loaded) == fit(model)


def fit_with_noise(noise, folder, epochs=2, **arguments):
    """What is warned of while a model trains whose step adds noise."""

    class Noisy(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)
            self.seed_generator = keras.random.SeedGenerator(0)

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) + noise(self) - y) ** 2)
            self.descend(tape, loss)
            return {"loss": loss}

    model = Noisy()
    model.compile("sgd", "mse")
    backup = gdtrain.callbacks.BackupAndRestore(folder, **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[backup])
    return [str(one.message) for one in caught if "bits" in str(one.message)]


@pytest.mark.parametrize(
    "noise",
    [
        lambda model: tf.random.normal([]),
        tf.function(lambda model: tf.random.uniform([])),
        lambda model: tf.cond(
            model.optimizer.iterations > 2,
            lambda: tf.random.normal([]),
            lambda: 0.0,
        ),
    ],
    ids=["in the step", "in a function", "in a branch"],
)
def test_random_numbers_that_cannot_be_repeated_are_warned_of(noise, tmp_path):
    (message,) = fit_with_noise(noise, tmp_path)
    assert "of `tf.random`, whose position cannot be saved" in message
    resumed = fit_with_noise(noise, tmp_path, epochs=3)
    assert resumed == [message]


def test_random_numbers_of_a_generator_are_not_warned_of(tmp_path):
    def noise(model):
        return keras.random.normal([], seed=model.seed_generator)

    assert fit_with_noise(noise, tmp_path) == []


def test_who_saves_at_epochs_only_is_not_warned_of_random_numbers(tmp_path):
    """It is documented that a resumed epoch draws new ones."""
    noise = fit_with_noise(
        lambda model: tf.random.normal([]), tmp_path, at_epochs_only=True
    )
    assert noise == []
