"""The models: made, saved, loaded, cloned and turned from Keras's."""

import copy
import dataclasses
import inspect
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.descent import settings
from gdtrain.keras_bridge import patches
from tests import models

X, Y = models.regression_data(40)


@keras.saving.register_keras_serializable(package="tests")
class Registered(gdtrain.Model):
    """A subclass with a config of its own."""

    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.dense(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class RegisteredFunctional(gdtrain.Model):
    """A subclass that is built from inputs and outputs."""


def functional(base=gdtrain.Model):
    inputs = keras.Input([3])
    return base(inputs, keras.layers.Dense(1)(inputs), name="functional")


KINDS = {
    "sequential": models.network,
    "functional": functional,
    "functional subclass": lambda: functional(RegisteredFunctional),
    "subclass": Registered,
}


def fit(model):
    return model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)


@pytest.mark.mostly_long("functional")
@pytest.mark.parametrize("kind", KINDS)
def test_saved_model_goes_on_bit_equal_where_it_was(kind, tmp_path):
    model = KINDS[kind]()
    model.compile(
        keras.optimizers.Adam(0.01),
        "mse",
        metrics=["mae"],
        global_clipnorm=0.5,
        microbatches=2,
        jit_compile=False,
    )
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, gdtrain.DescentTrainer)
    assert type(loaded).__name__ == type(model).__name__
    expected = {"global_clipnorm": 0.5, "microbatches": 2}
    assert compiled(loaded).items() >= expected.items()
    telemetry = gdtrain.callbacks.Telemetry()
    model_history = fit(model).history
    loaded_history = loaded.fit(
        X,
        Y,
        batch_size=16,
        shuffle=False,
        verbose=0,
        callbacks=[telemetry],
    ).history
    assert model_history == loaded_history
    assert telemetry.steps.tolist() == [4, 5, 6]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.mostly_long("subclass")
@pytest.mark.parametrize("kind", KINDS)
def test_clone_and_config_make_a_model_that_trains(kind):
    model = KINDS[kind]()
    model.compile("adam", "mse")
    fit(model)
    clone = keras.models.clone_model(model)
    again = type(model).from_config(model.get_config())
    for other in (clone, again):
        other.compile("adam", "mse")
        fit(other)
        shapes = [w.shape for w in model.get_weights()]
        assert [w.shape for w in other.get_weights()] == shapes
    assert isinstance(again, gdtrain.DescentTrainer)


SETTINGS = [
    {},
    {
        "global_clipnorm": 0.5,
        "microbatches": 2,
        "reproducible_workers": None,  # Which `microbatches` exclude
        "steps_per_execution": 2,
        "jit_compile": False,
    },
]


def compiled(model):
    """What a model that descends was compiled with."""
    found = dataclasses.asdict(settings.of(model))
    del found["resolved_jit_compile"]
    return found


@pytest.mark.parametrize("kind", ["functional", "functional subclass"])
def test_clone_of_a_functional_model_descends_as_it_did(kind):
    model = KINDS[kind]()
    model.compile("adam", "mse", **SETTINGS[1])
    clone = keras.models.clone_model(model)
    assert isinstance(clone, gdtrain.Model)
    assert compiled(clone) == SETTINGS[1]


def clone(model):
    return keras.models.clone_model(model)


def clone_with_function(model):
    return keras.models.clone_model(
        model,
        clone_function=lambda layer: layer.from_config(layer.get_config()),
    )


def compile_likewise(model):
    plain = models.network(keras.Sequential)
    plain.compile_from_config(model.get_compile_config())
    return plain


def load_as_plain(model):
    again = {"gdtrain>Sequential": keras.Sequential}
    with keras.utils.custom_object_scope(again):
        return keras.models.model_from_json(model.to_json())


@pytest.mark.mostly_long("clone-arguments0", "load_as_plain-arguments1")
@pytest.mark.parametrize("arguments", SETTINGS)
@pytest.mark.parametrize(
    "make", [clone, clone_with_function, compile_likewise, load_as_plain]
)
def test_plain_keras_model_made_of_ours_is_compiled_as_one(make, arguments):
    model = models.network()
    model.compile("adam", "mse", **arguments)
    plain = make(model)
    assert type(plain) is keras.Sequential
    assert plain.steps_per_execution == model.steps_per_execution
    assert plain.jit_compile == model.jit_compile
    assert type(plain.optimizer) is keras.optimizers.Adam
    assert len(fit(plain).history["loss"]) == 1


@pytest.mark.parametrize("arguments", SETTINGS)
def test_compile_config_gives_another_model_that_descends(arguments):
    model, other = models.network(), models.network()
    model.compile(keras.optimizers.Adam(0.25), "mse", **arguments)
    config = model.get_compile_config()
    for _ in range(2):  # Using it leaves it as it is.
        other.compile_from_config(config)
        assert compiled(other) == compiled(model)
        assert float(other.optimizer.learning_rate) == 0.25


def test_saved_model_without_optimizer_is_loaded(tmp_path):
    """Keras fails to load such a file."""
    model = models.network()
    model.compile(None, "mse")
    expected = model.evaluate(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, Y, verbose=0) == expected


def test_layers_of_a_model_serve_in_a_plain_one(tmp_path):
    model = models.network()
    model.compile("adam", "mse", **SETTINGS[1])
    fit(model)
    features = keras.Model(model.inputs, model.layers[0].output)
    features.compile("sgd", "mse")
    fit(features)
    whole = keras.Sequential([model])
    whole.compile("sgd", "mse")
    fit(whole)
    whole.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras")
    assert type(loaded) is keras.Sequential
    assert compiled(loaded.layers[0]) == SETTINGS[1]
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), whole.predict(X, verbose=0)
    )


class Unregistered(gdtrain.Model):
    """A subclass that Keras does not know by name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)


PICKLED_KINDS = {
    **KINDS,
    "unregistered": Unregistered,
    "turned sequential": lambda: gdtrain.from_keras(
        models.network(keras.Sequential)
    ),
    "turned functional": lambda: gdtrain.from_keras(functional(keras.Model)),
    "turned subclass": lambda: gdtrain.from_keras(PlainRegistered()),
    "turned unregistered": lambda: gdtrain.from_keras(PlainSubclass()),
}


@pytest.mark.mostly_long("functional", "unregistered")
@pytest.mark.parametrize(
    "kind",
    PICKLED_KINDS,
)
def test_pickled_model_goes_on_bit_equal_with_its_class(kind):
    model = PICKLED_KINDS[kind]()
    pickle.loads(pickle.dumps(model))  # Not compiled
    model.compile(keras.optimizers.Adam(0.01), "mse", **SETTINGS[1])
    history = fit(model)
    again = pickle.loads(pickle.dumps(history)).model
    assert type(again) is type(model)
    assert compiled(again) == SETTINGS[1]
    twin = copy.deepcopy(again)
    expected = fit(model).history
    assert fit(again).history == expected
    assert fit(twin).history == expected


def test_pickled_functional_model_is_read_by_another_process(tmp_path):
    model = functional()
    model.compile("sgd", "mse", microbatches=2)
    history = fit(model)
    (tmp_path / "history").write_bytes(pickle.dumps(history))
    code = (
        "import pickle, sys\n"
        "from gdtrain.descent import settings\n"
        "history = pickle.load(open(sys.argv[1], 'rb'))\n"
        "model = history.model\n"
        "print(type(model).__name__, settings.of(model).microbatches)"
    )
    path = os.fspath(tmp_path / "history")
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True
    )
    assert done.stdout.split() == ["Model", "2"], done.stderr


@keras.saving.register_keras_serializable(package="tests")
def fourth_power(y, prediction):
    return keras.ops.mean((y - prediction) ** 4, axis=-1)


@pytest.mark.mostly_long("mse-functional", "fourth_power-functional")
@pytest.mark.parametrize("kind", ["sequential", "functional"])
@pytest.mark.parametrize(
    "loss", ["mse", ["mae"], keras.losses.Huber(), fourth_power, None]
)
def test_hdf5_file_comes_back_as_a_model_that_descends(kind, loss, tmp_path):
    model = KINDS[kind]()
    if loss is not None:
        model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
        fit(model)
    model.save(tmp_path / "model.h5")
    loaded = keras.saving.load_model(tmp_path / "model.h5")
    assert type(loaded).__mro__[1:] == type(model).__mro__[1:]
    assert isinstance(loaded, gdtrain.Model)
    assert models.distance(loaded.get_weights(), model.get_weights()) == 0
    if loss is not None:
        loaded.compile(loaded.optimizer, loaded.loss, jit_compile=False)
        assert fit(loaded).history["loss"] == fit(model).history["loss"]


def test_hdf5_file_can_be_read_without_what_was_compiled(tmp_path):
    model = models.network()
    model.compile("sgd", "mse", microbatches=2)
    with pytest.warns(UserWarning, match="does not keep microbatches"):
        model.save(tmp_path / "model.h5")
    loaded = keras.saving.load_model(tmp_path / "model.h5", compile=False)
    assert type(loaded) is gdtrain.Sequential
    assert not loaded.compiled
    model.save(tmp_path / "model.keras")  # Keras forgets the optimizer.
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is keras.optimizers.SGD
    assert settings.of(loaded).microbatches == 2


def test_weights_alone_in_hdf5_are_read_by_name(tmp_path):
    model, other = models.network(), models.network(seed=1)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert models.distance(other.get_weights(), model.get_weights()) == 0


def test_plain_keras_loads_the_weights(tmp_path):
    model = models.network()
    model.save_weights(tmp_path / "model.weights.h5")
    plain = models.network(keras.Sequential, seed=1)
    plain.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(
        plain.predict(X, verbose=0), model.predict(X, verbose=0)
    )


def test_user_compile_is_warned_of_on_load_as_in_keras(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class OwnCompile(gdtrain.Sequential):
        def compile(self, rate):
            super().compile(keras.optimizers.SGD(rate), "mse")

    model = OwnCompile([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(0.1)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="`compile\\(\\)` was not called"):
        keras.saving.load_model(tmp_path / "model.keras")


class PlainSubclass(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)


KERAS_KINDS = {
    "sequential": lambda: models.network(keras.Sequential),
    "functional": lambda: functional(keras.Model),
    "subclass": PlainSubclass,
}


@pytest.mark.mostly_long("functional")
@pytest.mark.parametrize("kind", KERAS_KINDS)
def test_keras_model_turns_into_one_that_descends_and_goes_on(kind):
    plain, turned = KERAS_KINDS[kind](), KERAS_KINDS[kind]()
    for model in (plain, turned):
        keras.utils.set_random_seed(1)
        model.build((None, 3)) if kind != "subclass" else model(X)
        model.compile("adam", "mse")
    turned.set_weights(plain.get_weights())
    fit(plain), fit(turned)
    assert gdtrain.from_keras(turned) is turned
    telemetry = gdtrain.callbacks.Telemetry()
    turned.fit(
        X, Y, batch_size=16, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    fit(plain)
    assert telemetry.steps.tolist() == [4, 5, 6]
    assert models.distance(turned.get_weights(), plain.get_weights()) < 1e-6
    assert gdtrain.from_keras(turned) is turned


class Pipeline(PlainSubclass):
    """A subclass whose methods prepare the data, and call `super()`."""

    called = ()

    def fit(self, x, y, **kwargs):
        self.called += ("fit",)
        return super().fit(self.ready(x), y, **kwargs)

    def evaluate(self, x, y, **kwargs):
        self.called += ("evaluate",)
        return super().evaluate(self.ready(x), y, **kwargs)

    def predict(self, x, **kwargs):
        self.called += ("predict",)
        return super().predict(self.ready(x), **kwargs)

    def compile(self, rate, **kwargs):
        super().compile(keras.optimizers.SGD(rate), "mse", **kwargs)

    def train_step(self, data):
        return {**super().train_step(data), "own": 7.0}

    def predict_step(self, data):
        return 2 * super().predict_step(data)

    def train_on_batch(self, x, *args, **kwargs):
        return super().train_on_batch(self.ready(x), *args, **kwargs)

    @staticmethod
    def ready(texts):
        return np.array([[len(text)] for text in texts], "float32")


TEXTS = ["a", "bb", "ccc", "dddd"]
LENGTHS = np.ones([4, 1], "float32")


def pipeline(turn):
    keras.utils.set_random_seed(0)
    model = turn(Pipeline())
    model.compile(0.05, jit_compile=False)
    return model


def test_turned_model_keeps_the_methods_of_its_class():
    plain, turned = pipeline(lambda model: model), pipeline(gdtrain.from_keras)
    telemetry = gdtrain.callbacks.Telemetry(["loss", "gradient_norm"])
    data = {"x": TEXTS, "y": LENGTHS, "verbose": 0}
    expected = plain.fit(**data, epochs=3).history
    history = turned.fit(**data, epochs=3, callbacks=[telemetry]).history
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert history["own"] == [7.0, 7.0, 7.0]
    assert np.isfinite(telemetry["gradient_norm"]).all()
    assert turned.evaluate(**data) == pytest.approx(plain.evaluate(**data))
    turned.train_on_batch(TEXTS, LENGTHS)
    plain.train_on_batch(TEXTS, LENGTHS)
    np.testing.assert_allclose(
        turned.predict(TEXTS, verbose=0),
        plain.predict(TEXTS, verbose=0),
        rtol=1e-6,
    )
    assert turned.called == plain.called == ("fit", "evaluate", "predict")


def test_turned_class_with_a_loop_of_its_own_is_run_by_it():
    class OwnLoop(PlainSubclass):
        def make_train_function(self, force=False):
            def run(iterator):
                next(iterator)
                return {"own": 5.0}

            self.train_function = run

    model = gdtrain.from_keras(OwnLoop())
    model.compile("sgd", "mse")
    assert fit(model).history["own"] == [5.0]


def replace(monkeypatch, owner, name, calls):
    """Replaces a method of Keras's, as loggers of experiments do."""
    original = getattr(owner, name)

    def replaced(self, *args, **kwargs):
        calls.append((owner.__name__, name))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, replaced)


@pytest.mark.mostly_long("functional")
@pytest.mark.parametrize("kind", ["sequential", "functional", "subclass"])
def test_who_replaces_methods_of_keras_hears_of_ours(
    kind, monkeypatch, tmp_path
):
    model = KINDS[kind]()
    model.compile("sgd", "mse", jit_compile=False)
    calls = []
    with monkeypatch.context() as patch:
        for name in ("fit", "evaluate", "predict"):
            replace(patch, keras.Model, name, calls)
        replace(patch, keras.Sequential, "fit", calls)
        backup = gdtrain.callbacks.BackupAndRestore(tmp_path)
        history = model.fit(
            X,
            Y,
            validation_data=(X, Y),
            epochs=2,
            verbose=0,
            callbacks=[backup],
        )
        model.evaluate(X, Y, verbose=0)
        model.predict(X, verbose=0)
    outer = [("Sequential", "fit")] if kind == "sequential" else []
    evaluated = [("Model", "evaluate")]
    assert calls == [
        *outer,
        ("Model", "fit"),
        *evaluated * 2,
        *evaluated,
        ("Model", "predict"),
    ]
    assert len(history.history["val_loss"]) == 2
    calls.clear()
    fit(model)
    assert not calls


def test_method_replaced_before_the_import_calls_keras_in_the_end():
    """Other models are trained by Keras's own loop, as before."""
    plain = models.network(keras.Sequential)
    plain.compile("sgd", "mse")
    descending = models.network()
    descending.compile("sgd", "mse")
    original = inspect.getattr_static(keras.Model, "fit")
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    patches.dispatch_to_model(gdtrain.DescentTrainer, "fit")
    original(descending, X, Y, verbose=0, callbacks=[telemetry])
    assert telemetry.steps.tolist() == [1, 2]
    with pytest.raises(TypeError, match="from_keras"):
        original(plain, X, Y, verbose=0, callbacks=[telemetry])


def test_mixin_between_ours_and_keras_is_heard():
    class Loud:
        def fit(self, *args, **kwargs):
            self.was_heard = True
            return super().fit(*args, **kwargs)

    class Heard(gdtrain.DescentTrainer, Loud, keras.Sequential):
        pass

    model = models.network(Heard)
    model.compile("sgd", "mse")
    fit(model)
    assert model.was_heard


def test_every_model_is_a_model():
    model = gdtrain.Sequential([keras.layers.Dense(1)], True)
    assert isinstance(model, gdtrain.Model)
    assert isinstance(model, keras.Sequential)
    for kind in KERAS_KINDS.values():
        assert isinstance(gdtrain.from_keras(kind()), gdtrain.Model)
    subclass = type("Subclass", (keras.Sequential,), {})
    turned = gdtrain.from_keras(models.network(subclass))
    assert isinstance(turned, gdtrain.Sequential)


def test_turned_models_are_of_the_public_classes():
    turned = gdtrain.from_keras(functional(keras.Model))
    assert isinstance(turned, gdtrain.Model)
    turned = gdtrain.from_keras(models.network(keras.Sequential))
    assert type(turned) is gdtrain.Sequential
    assert not isinstance(functional(keras.Model), gdtrain.DescentTrainer)


def test_turned_model_can_be_saved_and_loaded(tmp_path):
    model = gdtrain.from_keras(functional(keras.Model))
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, gdtrain.Model)


@keras.saving.register_keras_serializable(package="tests")
class PlainRegistered(PlainSubclass):
    """A subclass of Keras's, which is loaded as one."""


def test_turned_subclass_is_loaded_as_what_it_was(tmp_path):
    model = PlainRegistered()
    model(X)
    gdtrain.from_keras(model)
    model.compile("adam", "mse", microbatches=2, global_clipnorm=1.0)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is PlainRegistered
    gdtrain.from_keras(loaded).compile(loaded.optimizer, "mse", microbatches=2)
    assert fit(loaded).history["loss"] != []


def test_what_is_not_a_keras_model_is_refused():
    with pytest.raises(TypeError, match="must be a keras.Model. Received: 3"):
        gdtrain.from_keras(3)


def test_keras_model_that_accumulates_is_refused_and_left_alone():
    model = models.network(keras.Sequential)
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    model.compile(optimizer, "mse")
    with pytest.raises(ValueError, match="microbatches=2"):
        gdtrain.from_keras(model)
    assert type(model) is keras.Sequential
