"""What a callback, or the time between two fits, changes of a model."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.block import xla_choice
from gdtrain.common import compilation
from tests.contracts.fit_cases import Calls, X, Y, close, compiled, half

HOOKS = {
    "on_train_begin": None,
    "on_epoch_begin": 1,
    "on_epoch_end": 0,
    "on_train_batch_begin": 3,
    "on_train_batch_end": 3,
}


def deep(base, *layers, **arguments):
    """A compiled model of two layers of weights, the first named "first"."""
    first = half(2, name="first")
    model = base.Sequential([keras.Input([3]), first, *layers, half()])
    return compiled(model, rate=0.02, **arguments)


def first_weights(model):
    return model.get_layer("first").kernel.numpy()


class Once(keras.callbacks.Callback):
    """Changes the model once, in a hook; notes its weights then."""

    def __init__(self, change, hook, index=None):
        super().__init__()
        self.weights = None

        def changing(*indices, logs=None):
            if self.weights is None and index in (None, *indices[:1]):
                change(self.model)
                self.weights = self.model.get_weights()

        setattr(self, hook, changing)


def fit(model, *callbacks, epochs=3, **arguments):
    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(
        X, Y, epochs=epochs, callbacks=list(callbacks), **arguments
    ).history


def freeze(model):
    model.get_layer("first").trainable = False


def recompile(model):
    compiled(model, rate=0.05, loss="mae", metrics=["mse"])


def give_an_optimizer(model):
    model.optimizer = keras.optimizers.SGD(0.0)


def run_eagerly(model):
    model.run_eagerly = True


def forced(change):
    """The change, after which Keras is told to make its function anew."""

    def changing(model):
        change(model)
        model.make_train_function(force=True)

    return changing


CHANGES = {
    "freeze": freeze,
    "recompile": recompile,
    "optimizer": give_an_optimizer,
    "eager": run_eagerly,
}
CASES = [(change, "on_epoch_end") for change in CHANGES] + [
    ("freeze", "on_train_batch_begin"),
    ("recompile", "on_train_begin"),
    ("freeze", "on_epoch_begin"),
    ("recompile", "on_train_batch_end"),
]


@pytest.mark.mostly_long(
    "recompile-on_train_batch_end", "freeze-on_epoch_begin"
)
@pytest.mark.parametrize("change, hook", CASES)
def test_a_change_counts_from_the_next_step_as_forced_in_keras(change, hook):
    found = {}
    for base, made in [
        (keras, forced(CHANGES[change])),
        (gdtrain, forced(CHANGES[change])),
        ("unforced", CHANGES[change]),
    ]:
        model = deep(gdtrain if base == "unforced" else base)
        history = fit(model, Once(made, hook, HOOKS[hook]))
        iterations = int(model.optimizer.iterations.numpy())
        found[base] = history, iterations, model.get_weights()
    history, iterations, weights = found.pop(keras)
    for other, count, moved in found.values():
        assert other.keys() == history.keys() and count == iterations
        for name, values in history.items():
            close(other[name], values)
        for one, expected in zip(moved, weights, strict=True):
            close(one, expected)


def test_blocks_that_span_epochs_obey_what_on_train_begin_changed():
    model = deep(gdtrain)
    before = first_weights(model)
    history = fit(model, Once(freeze, "on_train_begin"), epochs=30)
    assert np.array_equal(first_weights(model), before)
    assert len(history["loss"]) == 30 and history["loss"][-1] < 1.1


class Scale(keras.layers.Layer):
    """Multiplies by a number, and notes when it is traced, and for XLA."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0
        self.traces = []

    def call(self, x):
        self.traces.append(compilation.by_xla())
        return self.factor * x


def test_a_changed_attribute_of_a_layer_counts_once_forced():
    def change(model):
        model.layers[1].factor = 0.0

    plain = deep(gdtrain, Scale())
    history = fit(plain, Once(change, "on_epoch_end", 0))["loss"]
    assert history[2] < history[1] < history[0]
    model = deep(gdtrain, Scale())
    history = fit(model, Once(forced(change), "on_epoch_end", 0))["loss"]
    close(history[1:], [np.mean(np.square(Y))] * 2)


def test_jit_compile_set_by_a_callback_counts():
    def change(model):
        model.jit_compile = True

    scale = Scale()
    fit(deep(gdtrain, scale), Once(change, "on_epoch_end", 0))
    assert scale.traces[0] is False and scale.traces[-1] is True


def test_steps_per_execution_set_by_a_callback_counts():
    def change(model):
        model.steps_per_execution = 3

    calls, model = Calls(), deep(gdtrain)
    fit(model, Once(change, "on_epoch_end", 0), calls, epochs=2)
    assert calls.batch_ends() == [0, 1, 2, 3, 4, 2, 5]
    assert int(model.optimizer.iterations) == 10
    calls, model = Calls(), deep(gdtrain, steps_per_execution=5)
    fit(model, Once(change, "on_train_batch_end", 4), calls, epochs=2)
    assert calls.batch_ends() == [4, 2, 5]


def test_microbatches_and_clipping_set_between_fits_count():
    scale = Scale()
    model = deep(gdtrain, scale)
    fit(model, epochs=1)
    before, once = first_weights(model), len(scale.traces)
    # Five steps of at most 1e-3 times the rate
    model.compile(model.optimizer, model.loss, global_clipnorm=1e-3)
    fit(model, epochs=1)
    assert 0 < np.abs(first_weights(model) - before).max() < 5.1e-3 * 0.02
    clipped = len(scale.traces) - once
    model.compile(
        model.optimizer, model.loss, global_clipnorm=1e-3, microbatches=2
    )
    fit(model, epochs=1)  # Its program has the layer twice.
    assert len(scale.traces) - once - clipped == 2 * clipped


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin"])
def test_stop_training_before_the_first_step_leaves_one(hook):
    def stop(model):
        model.stop_training = True

    model = deep(gdtrain)
    fit(model, epochs=40)  # Blocks are long by then.
    fit(model, Once(stop, hook))
    assert int(model.optimizer.iterations) == 40 * 5 + 1  # As in Keras


ANEW = {
    "plain": {},
    "of another batch size": {"batch_size": 7},
    "guarded": {"callbacks": [gdtrain.callbacks.NonfiniteGuard]},
    "measured of each batch": {
        "callbacks": [gdtrain.callbacks.Telemetry, Calls]
    },
}


def fit_anew(model, callbacks=(), **arguments):
    fit(model, *(made() for made in callbacks), epochs=2, **arguments)


@pytest.mark.mostly_long("plain", "guarded")
@pytest.mark.parametrize("way", ANEW)
def test_a_layer_frozen_between_fits_is_frozen_in_all_alike(way):
    model = deep(gdtrain)
    fit_anew(model, **ANEW[way])
    for frozen in (True, False):
        model.get_layer("first").trainable = not frozen
        before = model.get_weights()
        fit_anew(model, **ANEW[way])
        fit_anew(model)
        model.train_on_batch(X, Y)
        first, last = (
            np.array_equal(one, other)
            for one, other in zip(before, model.get_weights(), strict=True)
        )
        assert (first, last) == (frozen, False)


def test_programs_of_what_was_trained_before_are_kept():
    scale = Scale()
    model = deep(gdtrain, scale)
    first = model.get_layer("first")
    fit(model)
    counts = [len(scale.traces)]
    for _ in range(3):
        first.trainable = not first.trainable
        fit(model)
        counts.append(len(scale.traces))
    assert counts[0] < counts[1] == counts[2] == counts[3]


def test_variables_of_an_optimizer_do_not_make_a_step_be_traced_twice():
    counts = []
    for momentum in (0.0, 0.9):
        scale = Scale()
        model = deep(gdtrain, scale)
        model.optimizer = keras.optimizers.SGD(0.02, momentum)
        fit(model, epochs=1)
        counts.append(len(scale.traces))
    assert counts[0] == counts[1]


def test_a_frozen_weight_of_a_layer_stays():
    model = deep(gdtrain)
    fit(model)
    model.get_layer("first").kernel.trainable = False
    before = first_weights(model)
    fit(model)
    assert np.array_equal(first_weights(model), before)


def test_a_weight_that_the_optimizer_does_not_know_is_named():
    model = deep(gdtrain)
    freeze(model)
    compiled(model)
    fit(model)
    model.get_layer("first").trainable = True
    with pytest.raises(ValueError, match="first/kernel.*compile"):
        fit(model)
    compiled(model)
    before = first_weights(model)
    fit(model)
    assert not np.array_equal(first_weights(model), before)


def test_metrics_of_an_epoch_run_eagerly_after_others_are_its_own():
    history = fit(deep(gdtrain), Once(run_eagerly, "on_epoch_end", 2), epochs=5)
    whole = fit(deep(gdtrain), epochs=5)
    close(history["loss"], whole["loss"])


@pytest.mark.mostly_long("recompile-on_train_batch_end")
@pytest.mark.parametrize("change, hook", CASES[-3:])
def test_who_watches_or_keeps_a_run_bears_a_change(tmp_path, change, hook):
    once = CHANGES[change], hook, HOOKS[hook]
    expected = deep(gdtrain)
    history = fit(expected, Once(*once))
    model, telemetry = deep(gdtrain), gdtrain.callbacks.Telemetry()
    guard = gdtrain.callbacks.NonfiniteGuard()
    backup = gdtrain.callbacks.BackupAndRestore(tmp_path, every_steps=2)
    assert fit(model, guard, Once(*once), telemetry, backup) == history
    assert all(map(np.array_equal, model.get_weights(), expected.get_weights()))
    assert list(telemetry.steps) == list(range(1, 16))


def test_choice_of_a_compiler_after_a_change_is_of_what_is_trained(monkeypatch):
    monkeypatch.setattr(xla_choice, "_WORTH_TRYING", 0)
    monkeypatch.setattr(xla_choice, "_TRIAL", 1e-4)
    model = deep(gdtrain, jit_compile="auto")
    once = Once(freeze, "on_epoch_end", 5)
    fit(model, once, epochs=60)
    assert np.array_equal(first_weights(model), once.weights[0])
