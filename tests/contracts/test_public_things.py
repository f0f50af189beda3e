"""What every public thing has, found by walking the public names."""

import inspect

import keras
import pytest

import gdtrain

MODULES = (gdtrain, gdtrain.callbacks, gdtrain.telemetry, gdtrain.writers)


def public_things():
    things = {}
    for module in MODULES:
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.ismodule(thing):
                things[f"{module.__name__}.{name}"] = thing
    return things


THINGS = public_things()


def test_public_names_are_those_of_the_design():
    assert {
        "gdtrain.Model",
        "gdtrain.Sequential",
        "gdtrain.from_keras",
        "gdtrain.GradientDescent",
        "gdtrain.callbacks.TensorBoard",
        "gdtrain.callbacks.Telemetry",
        "gdtrain.telemetry.Loss",
        "gdtrain.telemetry.LearningRate",
        "gdtrain.telemetry.GradientNorm",
        "gdtrain.telemetry.WeightNorm",
        "gdtrain.telemetry.UpdateRatio",
        "gdtrain.telemetry.NonfiniteCount",
    } <= set(THINGS)


WITHOUT_EXAMPLE = {
    f"gdtrain.telemetry.{name}" for name in ("BlockQuantity", "Quantity")
}


@pytest.mark.parametrize("name", THINGS)
def test_public_thing_is_documented_with_an_example(name):
    thing = THINGS[name]
    documentation = thing.__doc__
    assert documentation and documentation.strip().splitlines()[0].endswith(
        (".", ":")
    )
    if name not in WITHOUT_EXAMPLE:
        assert ">>> " in documentation


@pytest.mark.parametrize("name", THINGS)
def test_arguments_of_a_public_thing_are_documented(name):
    thing = THINGS[name]
    parameters = inspect.signature(thing).parameters
    named = [
        parameter.name
        for parameter in parameters.values()
        if parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    ]
    if thing is gdtrain.Sequential:  # Keras's own arguments
        named = []
    for argument in named:
        assert f"{argument}:" in thing.__doc__, argument


@pytest.mark.parametrize("name", THINGS)
def test_public_methods_are_documented(name):
    thing = THINGS[name]
    if not inspect.isclass(thing):
        return
    for attribute, value in vars(thing).items():
        if callable(value) and not attribute.startswith("_"):
            assert inspect.getdoc(value), f"{name}.{attribute}"


def test_every_quantity_is_in_a_preset_under_its_name():
    from gdtrain.telemetry import presets

    public = [getattr(gdtrain.telemetry, n) for n in gdtrain.telemetry.__all__]
    found = {
        thing
        for thing in public
        if issubclass(thing, gdtrain.telemetry.Quantity)
        and not inspect.isabstract(thing)
    }
    assert {type(q) for q in presets.PRESETS["full"]} == found
    for quantity in presets.PRESETS["full"]:
        words = "".join(word.title() for word in quantity.name.split("_"))
        assert type(quantity).__name__ == words


def test_fit_has_the_signature_of_keras():
    ours = inspect.signature(gdtrain.Model.fit)
    assert ours == inspect.signature(keras.Model.fit)


def test_optimizer_comes_back_from_its_config():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)
    for learning_rate in (0.25, 1, schedule):
        optimizer = gdtrain.GradientDescent(
            learning_rate, momentum=0.5, nesterov=True, weight_decay=0.1
        )
        config = keras.optimizers.serialize(optimizer)
        again = keras.optimizers.deserialize(config)
        assert isinstance(again, gdtrain.GradientDescent)
        assert again.get_config() == optimizer.get_config()
