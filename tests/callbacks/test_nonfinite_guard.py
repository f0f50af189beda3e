"""What is not finite never reaches the weights, and is explained."""

from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.data import choice
from gdtrain.writers import reading

EXAMPLES, BATCH = 24, 4
X = np.random.default_rng(0).normal(size=[EXAMPLES, 3]).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3).astype("float32")
BAD = 13  # The example whose label is not a number
Y_BAD = Y.copy()
Y_BAD[BAD] = np.nan

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def network(optimizer="adam", **compile_arguments):
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"], **compile_arguments)
    return model


def line(optimizer=None, **compile_arguments):
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    optimizer = optimizer or gdtrain.GradientDescent(0.1)
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def variables(model):
    """All that training moves, as bytes."""
    return [
        np.asarray(variable).tobytes()
        for variable in [
            *model.variables,
            *model.optimizer.variables,
            *model.metrics_variables,
        ]
    ]


def fit(model, *callbacks, seed=5, **arguments):
    keras.utils.set_random_seed(seed)
    given = {"x": X, "y": Y, "batch_size": BATCH, "verbose": 0} | arguments
    if not isinstance(given["x"], np.ndarray):
        del given["y"], given["batch_size"]
    return model.fit(**given, callbacks=list(callbacks))


def twins(make, **compile_arguments):
    """Two models that are the same."""
    made = []
    for _ in range(2):
        keras.backend.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        made.append(make(**compile_arguments))
    return made


class Own(gdtrain.Model):
    """A step of one's own, without `descend`."""

    def __init__(self, **compile_arguments):
        super().__init__()
        self.layer = keras.layers.Dense(1)
        self.compile("adam", "mse", **compile_arguments)

    def call(self, x):
        return self.layer(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Batches(keras.utils.PyDataset):
    def __init__(self, y):
        super().__init__()
        self.y = y

    def __len__(self):
        return EXAMPLES // BATCH

    def __getitem__(self, index):
        some = slice(index * BATCH, (index + 1) * BATCH)
        return X[some], self.y[some]


def batches(y):
    for start in range(0, EXAMPLES, BATCH):
        yield X[start : start + BATCH], y[start : start + BATCH]


def pipeline(y):
    return tf.data.Dataset.from_tensor_slices((X, y)).batch(BATCH)


FEEDS = {
    "arrays": lambda y: {"y": y},
    "arrays in order": lambda y: {"y": y, "shuffle": False},
    "tf.data": lambda y: {"x": pipeline(y)},
    "PyDataset": lambda y: {"x": Batches(y)},
    "generator": lambda y: {"x": batches(y)},
}
WAYS = {
    "graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "micro-batches": {"microbatches": 2, "jit_compile": False},
    "steps": {"steps_per_execution": 4, "jit_compile": False},
    "clipped": {"global_clipnorm": 0.1, "jit_compile": False},
}


@pytest.mark.mostly_long("micro-batches")
@pytest.mark.parametrize("way", WAYS)
def test_it_changes_nothing_where_all_is_finite(way):
    with_it, without = twins(network, **WAYS[way])
    guard = gdtrain.callbacks.NonfiniteGuard()
    history = fit(with_it, guard, epochs=2).history
    assert history == fit(without, epochs=2).history
    assert variables(with_it) == variables(without)
    assert guard.report is None and guard.skipped_steps == []


@pytest.mark.mostly_long("ftrl")
@pytest.mark.parametrize("optimizer", ["sgd", "adadelta", "lion", "ftrl"])
def test_it_changes_nothing_with_any_optimizer(optimizer):
    with_it, without = twins(
        lambda: network(optimizer=optimizer, jit_compile=False)
    )
    fit(with_it, gdtrain.callbacks.NonfiniteGuard())
    fit(without)
    assert variables(with_it) == variables(without)


def test_it_changes_nothing_in_a_step_of_ones_own():
    with_it, without = twins(Own, jit_compile=False)
    fit(with_it, gdtrain.callbacks.NonfiniteGuard())
    fit(without)
    assert variables(with_it) == variables(without)


def test_it_changes_nothing_on_two_replicas(two_replicas):
    def make():
        with two_replicas.scope():
            return network(jit_compile=False)

    with_it, without = twins(make)
    fit(with_it, gdtrain.callbacks.NonfiniteGuard())
    fit(without)
    assert variables(with_it) == variables(without)


def test_an_optimizer_that_scales_the_loss_skips_by_itself():
    scaled = keras.optimizers.LossScaleOptimizer
    with_it, without = twins(
        lambda: line(
            scaled(keras.optimizers.Adam(), initial_scale=2.0**127),
            jit_compile=False,
        )
    )
    guard = gdtrain.callbacks.NonfiniteGuard()
    fit(with_it, guard)
    fit(without)
    assert guard.skipped_steps == []
    assert variables(with_it) == variables(without)


def step_of_bad(telemetry):
    """The last step, at which training halted."""
    assert telemetry["nonfinite_step"][:-1].sum() == 0
    assert telemetry["nonfinite_step"][-1] == 2
    return telemetry.steps[-1]


@pytest.mark.mostly_long("graph-tf.data", "eager-arrays")
@pytest.mark.parametrize(
    "way, feed",
    [
        ("graph", "arrays"),
        ("graph", "tf.data"),
        ("graph", "PyDataset"),
        ("graph", "generator"),
        ("XLA", "arrays"),
        ("eager", "arrays"),
        pytest.param("graph", "arrays in order", marks=pytest.mark.long),
        pytest.param("XLA", "tf.data", marks=pytest.mark.long),
        pytest.param("eager", "tf.data", marks=pytest.mark.long),
    ],
)
def test_it_halts_in_that_very_step(way, feed):
    guarded, reference = twins(network, **WAYS[way])
    guard = gdtrain.callbacks.NonfiniteGuard()
    telemetry = gdtrain.callbacks.Telemetry("minimal")
    fit(guarded, guard, telemetry, epochs=2, **FEEDS[feed](Y_BAD))
    step = step_of_bad(telemetry)
    assert guard.skipped_steps == [step]

    seen = []

    class Before(keras.callbacks.Callback):
        """Reads all variables before that step, where labels are whole."""

        def on_train_batch_begin(self, batch, logs=None):
            if reference._step_hooks.steps_done == step - 1:
                seen.append(variables(reference))

    fit(reference, Before(), epochs=2, **FEEDS[feed](Y))
    assert (
        variables(guarded)[: -len(guarded.metrics_variables)]
        == (seen[0][: -len(guarded.metrics_variables)])
    )
    cause = guard.report
    assert (cause.where, cause.name, len(cause.examples)) == ("data", "y", 1)
    if feed in ("tf.data", "generator"):
        assert step == BAD // BATCH + 1
        assert cause.examples == (BAD % BATCH,)


@pytest.mark.mostly_long("True")
@pytest.mark.parametrize("large", [False, True])
def test_it_names_the_example_by_its_index_in_the_data(large):
    with mock.patch.object(
        choice, "memory_limit", lambda: 0 if large else 10**9
    ):
        with pytest.warns(UserWarning, match=f"1 of 4 examples: {BAD} in the"):
            fit(line(), gdtrain.callbacks.NonfiniteGuard(), y=Y_BAD)


def test_it_halts_on_two_replicas_alike(two_replicas):
    with two_replicas.scope():
        model = line(jit_compile=False)
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match=f"{BAD} in the data"):
        fit(model, guard, y=Y_BAD)
    for variable in model.trainable_variables:
        one, other = two_replicas.experimental_local_results(variable.value)
        assert np.isfinite(one.numpy()).all()
        assert one.numpy().tobytes() == other.numpy().tobytes()


def layer_of(name):
    return keras.layers.Lambda(
        {"log": keras.ops.log, "root": keras.ops.sqrt}[name], name=name
    )


def test_it_names_the_layer():
    x = np.abs(X)
    x[BAD] = 0
    model = gdtrain.Sequential(
        [keras.Input([3]), layer_of("log"), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match=f"'log'.*: {BAD} in the data"):
        fit(model, guard, x=x)
    assert (guard.report.where, guard.report.name) == ("output", "log")


def test_it_names_the_gradient():
    x = np.abs(X)
    x[BAD] = 0
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(3, use_bias=False, kernel_initializer="ones"),
            layer_of("root"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match=f"gradient.*{BAD} in the data"):
        fit(model, guard, x=x)


def test_overflow_in_float16_is_named():
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(4, dtype="mixed_float16", name="half"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x = X.copy()
    x[BAD] = 1e6
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match="float16 ends at 65504"):
        fit(model, guard, x=x)
    assert guard.report.name == "half"


@pytest.mark.mostly_long("graph")
@pytest.mark.parametrize("way", ["graph", "XLA"])
def test_a_learning_rate_that_is_too_large_is_named(way):
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(gdtrain.GradientDescent(10.0), "mse", **WAYS[way])
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match="learning rate that is too large"):
        fit(model, guard, epochs=99, batch_size=EXAMPLES)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert len(guard.report.examples) in (0, EXAMPLES)


def deep():
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1),
        ]
    )
    return model


@pytest.mark.parametrize("make", [deep, Own])
def test_examples_are_not_blamed_where_the_rate_is_at_fault(make):
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(keras.optimizers.SGD(1e6), "mse", jit_compile=False)
    guard = gdtrain.callbacks.NonfiniteGuard()
    with pytest.warns(UserWarning, match="learning rate 1e.06 is too large"):
        fit(model, guard, epochs=9)
    assert guard.report.where == "growth"
    assert guard.report.examples == ()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_finite_gradient_of_1e20_is_clipped_not_skipped(jit_compile):
    model = gdtrain.Sequential(
        [keras.Input([3]), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile(
        gdtrain.GradientDescent(1e-3),
        "mae",
        global_clipnorm=1.0,
        jit_compile=jit_compile,
    )
    before = model.get_weights()[0]
    guard = gdtrain.callbacks.NonfiniteGuard()
    fit(model, guard, x=1e20 * X[:4], y=Y[:4])
    assert guard.skipped_steps == []
    moved = np.linalg.norm(model.get_weights()[0] - before)
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_an_update_that_divides_by_zero_is_undone():
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(epsilon=0.0), "mse")
    x = X.copy()
    x[:, 1] = 0  # Its weight has a gradient of 0.
    before = variables(model)
    guard = gdtrain.callbacks.NonfiniteGuard()
    fit(model, guard, x=x)
    assert guard.skipped_steps == [1] and guard.report.where == "update"
    assert variables(model)[: len(before)] == before[: len(before)] or all(
        np.isfinite(w).all() for w in model.get_weights()
    )


@pytest.mark.mostly_long("XLA")
@pytest.mark.parametrize("way", WAYS)
def test_skip_leaves_out_that_step_alone(way):
    skipping, without = twins(line, **WAYS[way])
    guard = gdtrain.callbacks.NonfiniteGuard("skip")
    history = fit(skipping, guard, y=Y_BAD, shuffle=False, epochs=3)
    first = BAD // BATCH * BATCH
    kept = np.r_[0:first, first + BATCH : EXAMPLES]
    fit(without, x=X[kept], y=Y[kept], shuffle=False, epochs=3)
    assert variables(skipping)[:2] == variables(without)[:2]
    assert guard.skipped_steps == [4, 10, 16]
    assert np.isfinite(history.history["loss"]).all()


def test_skip_stops_after_too_many_in_a_row():
    model = line()
    before = variables(model)
    guard = gdtrain.callbacks.NonfiniteGuard("skip", max_consecutive_skips=3)
    with pytest.warns(UserWarning, match="more than 3 in a row"):
        fit(model, guard, y=np.full_like(Y, np.nan), epochs=9)
    assert guard.skipped_steps == [1, 2, 3, 4]
    assert (
        variables(model)[: len(model.variables)]
        == (before[: len(model.variables)])
    )


def test_skip_continues_where_each_second_step_is_bad():
    y = Y.copy().reshape(-1, BATCH)
    y[::2] = np.nan
    guard = gdtrain.callbacks.NonfiniteGuard("skip", max_consecutive_skips=1)
    fit(line(), guard, y=y.reshape(-1, 1), shuffle=False, epochs=2)
    assert guard.skipped_steps == [1, 3, 5, 7, 9, 11]


def rollback(tmp_path, rate, **arguments):
    model = line()
    model.optimizer.learning_rate = rate
    telemetry = gdtrain.callbacks.Telemetry("minimal")
    callbacks = [
        gdtrain.callbacks.BackupAndRestore(
            tmp_path / "backup", every_steps=5, every_seconds=None
        ),
        gdtrain.callbacks.NonfiniteGuard("rollback", **arguments),
        telemetry,
        gdtrain.callbacks.TensorBoard(tmp_path / "tb", "minimal"),
    ]
    history = fit(model, *callbacks, epochs=30, batch_size=EXAMPLES)
    return model, history, telemetry


def test_rollback_finds_a_learning_rate_that_works(tmp_path):
    model, history, telemetry = rollback(
        tmp_path, 3e3, factor=0.01, max_rollbacks=3
    )
    assert len(history.history["loss"]) == 30
    assert np.isfinite(history.history["loss"]).all()
    assert float(model.optimizer.learning_rate) < 3e3
    assert telemetry.steps.tolist() == list(range(1, 31))
    steps, losses = reading.scalars(tmp_path / "tb")["step/loss"]
    assert steps.tolist() == list(range(1, 31))
    assert losses.tobytes() == telemetry["loss"].tobytes()


def test_rollback_ends_if_nothing_helps(tmp_path):
    with pytest.warns(UserWarning, match="with any of 3 learning rates"):
        model, _, _ = rollback(tmp_path, 1e30, factor=0.9, max_rollbacks=2)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_rollback_needs_checkpoints_and_a_rate_that_can_be_set(tmp_path):
    guard = gdtrain.callbacks.NonfiniteGuard("rollback")
    with pytest.raises(ValueError, match="BackupAndRestore"):
        fit(line(), guard)
    model = network(
        keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.9)
        )
    )
    backup = gdtrain.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(ValueError, match="schedule"):
        fit(model, guard, backup)


def test_it_halts_at_the_last_step_of_an_epoch_and_in_short_ones():
    for count in (EXAMPLES, 2):  # Blocks span epochs of 1 step.
        y = Y.copy()
        y[count - 1] = np.nan
        model = line()
        guard = gdtrain.callbacks.NonfiniteGuard()
        history = fit(
            model,
            guard,
            x=X[:count],
            y=y[:count],
            shuffle=False,
            epochs=50,
            validation_data=(X, Y),
        )
        assert guard.skipped_steps == [-(-count // BATCH)]
        assert history.epoch == [0]
        assert np.isfinite(history.history["val_loss"]).all()


def test_a_model_trains_on_after_it():
    model = line()
    fit(model, gdtrain.callbacks.NonfiniteGuard(), y=Y_BAD)
    history = fit(model, gdtrain.callbacks.NonfiniteGuard(), epochs=2)
    assert np.isfinite(history.history["loss"]).all()
    assert np.isfinite(fit(model).history["loss"]).all()


def test_what_cannot_be_guarded_is_refused():
    model = line()
    model.layers[0].bias.assign([np.inf])
    with pytest.raises(ValueError, match="dense.*/bias"):
        fit(model, gdtrain.callbacks.NonfiniteGuard())
    plain = keras.Sequential([keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(TypeError, match="from_keras"):
        plain.fit(
            X, Y, verbose=0, callbacks=[gdtrain.callbacks.NonfiniteGuard()]
        )
    with pytest.raises(ValueError, match="'explode'"):
        gdtrain.callbacks.NonfiniteGuard("explode")
