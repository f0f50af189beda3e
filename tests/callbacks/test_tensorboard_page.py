"""What TensorBoard shows of a training is what it was."""

import functools
import json
import logging
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from tensorboard.plugins.custom_scalar import layout_pb2

import gdtrain
from gdtrain import telemetry as quantities
from gdtrain.callbacks import run_description
from gdtrain.common.failures import FailureReporter
from gdtrain.loop import block_runner
from gdtrain.plots import FittedLine
from gdtrain.writers import MemoryWriter
from tests import models
from tests.callbacks import reading
from tests.clock import Clock, Costly
from tests.writers.test_summaries import sessions
from tests.writers.test_tensorboard import read

X, Y = models.regression_data(45)
GRAPH = {"jit_compile": False}
EAGER = {"run_eagerly": True}  # To trace takes longer than a few steps.


def trained(log_dir, quantities="standard", *, optimizer="sgd", **options):
    """A network after four steps, with its description in a folder."""
    model = models.network()
    model.compile(optimizer, "mse", **EAGER)
    tensorboard = gdtrain.callbacks.TensorBoard(log_dir, quantities, **options)
    model.fit(X, Y, batch_size=12, verbose=0, callbacks=[tensorboard])
    return model


@pytest.mark.mostly_long("arguments0")
@pytest.mark.parametrize("arguments", [{}, {"steps_per_execution": 4}])
def test_every_point_is_that_of_telemetry_at_its_step(arguments, tmp_path):
    model = models.network()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.9)
    model.compile(keras.optimizers.Adam(schedule), "mse", **GRAPH, **arguments)
    telemetry = gdtrain.callbacks.Telemetry("full")
    memory = MemoryWriter()  # It tells what was not measured from NaN.
    observers = [
        gdtrain.callbacks.TensorBoard(tmp_path, "full"),
        gdtrain.callbacks.StepWriter(memory, "full"),
        telemetry,
    ]
    history = {}
    for first, last in ((0, 5), (5, 8)):
        more = model.fit(
            X,
            Y,
            batch_size=12,  # And a last one of 9
            initial_epoch=first,
            epochs=last,
            verbose=0,
            validation_data=(X, Y),
            validation_freq=2,
            callbacks=observers,
        ).history
        history = {name: history.get(name, []) + more[name] for name in more}
    train, validation = read(tmp_path), read(tmp_path / "validation")
    names = {t.removeprefix("step/") for t in train if t.startswith("step/")}
    assert names == set(telemetry.names)
    assert telemetry.steps.tolist() == list(range(1, 33))
    for name in names:
        steps, values = memory.table.points(name)
        points = np.array(train[f"step/{name}"])
        np.testing.assert_array_equal(points[:, 0], steps, name)
        np.testing.assert_array_equal(points[:, 1], values, name)
        np.testing.assert_array_equal(telemetry[name], memory[name], name)
    epochs, losses = zip(*train["epoch_loss"], strict=True)
    assert list(epochs) == list(range(8))
    assert list(losses) == np.float32(history["loss"]).tolist()
    epochs, losses = zip(*validation["epoch_loss"], strict=True)
    # Each fit validates after its own second epoch, and its fourth.
    assert list(losses) == np.float32(history["val_loss"]).tolist()
    evaluations = validation["evaluation_loss_vs_iterations"]
    assert evaluations == [
        (4 * (epoch + 1), loss)
        for epoch, loss in zip(epochs, losses, strict=True)
    ]


def test_evaluation_after_training_is_added_to_those_before(tmp_path):
    model = models.network()
    model.compile("sgd", "mse", **EAGER)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])
    fit = functools.partial(model.fit, X, Y, verbose=0, callbacks=[tensorboard])
    fit(batch_size=15, epochs=2, validation_data=(X, Y))
    before = read(tmp_path / "validation")
    model.evaluate(X, Y, verbose=0, callbacks=[tensorboard])
    after = read(tmp_path / "validation")
    assert after["epoch_loss"] == before["epoch_loss"]
    tag = "evaluation_loss_vs_iterations"
    assert after[tag][:2] == before[tag] and len(after[tag]) == 3


def test_evaluations_go_on_with_the_steps_after_compiling_again(tmp_path):
    model = models.network()
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])
    for first in (0, 2):
        model.compile("sgd", "mse", **EAGER)
        model.fit(
            X,
            Y,
            batch_size=15,
            initial_epoch=first,
            epochs=first + 2,
            validation_data=(X, Y),
            verbose=0,
            callbacks=[tensorboard],
        )
    validation = read(tmp_path / "validation")
    evaluations = validation["evaluation_loss_vs_iterations"]
    assert [step for step, _ in evaluations] == [3, 6, 9, 12]


def test_metric_that_is_no_single_number_is_skipped(tmp_path, recwarn):
    model = models.network(gdtrain.Sequential, keras.layers.Dense(1))
    model.compile("sgd", "mse", metrics=[keras.metrics.F1Score()], **EAGER)
    model.fit(
        X,
        np.float32(Y > 0),
        verbose=0,
        callbacks=[gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])],
    )
    (message,) = [str(one.message) for one in recwarn]
    assert message.startswith("epoch_f1_score is skipped: TypeError: A scalar")
    train = read(tmp_path)
    assert "epoch_loss" in train and "epoch_f1_score" not in train


# Hyperparameters


def test_hyperparameters_are_what_was_asked_for(tmp_path):
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=None)
    hparams = {"learning": "fast", "depth": 2, "batch_size": 99}
    trained(tmp_path, optimizer=optimizer, hparams=hparams)
    assert reading.hyperparameters(tmp_path) == {
        "model": "network",
        "model_size": 21.0,
        "optimizer": "SGD",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "learning": "fast",
        "depth": 2.0,
        "batch_size": 99.0,  # A user's own word counts.
    }


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: gdtrain.GradientDescent(0.1), {"learning_rate": 0.1}),
        (
            lambda: gdtrain.GradientDescent(0.1, ema_momentum=0.5),
            {"learning_rate": 0.1, "ema_momentum": 0.5},
        ),
        (
            lambda: keras.optimizers.AdamW(clipnorm=2.0, amsgrad=True),
            {"learning_rate": 0.001, "clipnorm": 2.0, "amsgrad": True},
        ),
        (
            lambda: keras.optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
            ),
            {
                "learning_rate": "ExponentialDecay",
                "learning_rate/initial_learning_rate": 0.1,
                "learning_rate/decay_steps": 10,
                "learning_rate/decay_rate": 0.9,
                "learning_rate/staircase": False,
            },
        ),
        (
            lambda: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.1, nesterov=True)
            ),
            {"learning_rate": 0.1, "nesterov": True, "optimizer": "SGD"},
        ),
    ],
)
def test_optimizer_is_described_with_what_is_not_default(make, expected):
    model = models.network()
    model.compile(make(), "mse")
    found = run_description.hyperparameters(model, 12, {}, FailureReporter())
    optimizer = type(model.optimizer).__name__
    common = {"model": "network", "model_size": 21, "batch_size": 12}
    assert found == common | {"optimizer": optimizer} | expected
    assert all(
        type(found[name]) is type(value) for name, value in expected.items()
    )


def test_optimizer_made_of_several_is_described_with_each(tmp_path):
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(0.1, name="rest"),
            {"hidden/.*": keras.optimizers.Adam(0.2, name="first")},
        )
    )
    trained(tmp_path, ["loss"], optimizer=optimizer)
    assert reading.hyperparameters(tmp_path) == {
        "model": "network",
        "model_size": 21.0,
        "batch_size": 12.0,
        "optimizer": "MultiOptimizer",
        "rest": "SGD",
        "rest/learning_rate": 0.1,
        "first": "Adam",
        "first/learning_rate": 0.2,
    }


def test_three_runs_are_three_sessions(tmp_path):
    rates = {"slow": 0.01, "middle": 0.1, "fast": 0.2}
    for name, rate in rates.items():
        optimizer = gdtrain.GradientDescent(rate)
        trained(tmp_path / name, ["loss"], optimizer=optimizer)
    found = sessions(tmp_path)
    assert {k: v["learning_rate"] for k, (v, _) in found.items()} == rates
    for name, (_, metrics) in found.items():
        ((_, loss),) = read(tmp_path / name)["epoch_loss"]
        assert metrics["", "epoch_loss"] == loss


def test_session_ends_only_where_training_ends_well(tmp_path):
    class Broken(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ValueError("broken")

    end = "_hparams_/session_end_info"
    for name, callbacks in (("well", []), ("not well", [Broken()])):
        model = models.network()
        model.compile("sgd", "mse", **EAGER)
        folder = tmp_path / name
        tensorboard = gdtrain.callbacks.TensorBoard(folder, ["loss"])
        callbacks = [tensorboard, *callbacks]
        try:
            model.fit(X, Y, verbose=0, callbacks=callbacks)
        except ValueError:
            assert name == "not well"
        assert (end in reading.tensors(folder)) == (name == "well")
        assert reading.hyperparameters(folder)["batch_size"] == 32


# Custom scalars, texts


@pytest.mark.parametrize(
    "measured, missing",
    [
        ("minimal", {"step/gradient_norm"}),
        ("full", set()),
        (["loss_change"], {"step/loss"}),
        ([quantities.DistanceFromStart()], {"step/loss"}),
    ],
)
def test_charts_are_of_what_is_there(measured, missing, tmp_path):
    if measured == "full":
        measured = [q.every(1) for q in quantities.presets.resolve("full")]
    trained(tmp_path, measured)
    tags = set(read(tmp_path))
    ((_, layout),) = reading.tensors(tmp_path)["custom_scalars__config__"]
    page = layout_pb2.Layout.FromString(layout.item())
    assert page.category[0].title == "Gradient descent"
    drawn = set()
    for chart in (one for category in page.category for one in category.chart):
        found = {
            tag
            for regex in chart.multiline.tag
            for tag in tags
            if re.match(regex, tag)
        }
        assert found, chart
        drawn |= found
    telling = {"step/loss", "step/learning_rate", "step/gradient_norm"}
    telling |= {"step/loss_change", "step/gradient_norm/hidden"}
    telling |= {"step/gradient_cosine", "step/predicted_loss_change"}
    telling |= {"step/update_ratio/hidden", "step/nonfinite_count"}
    assert drawn & telling == tags & telling
    assert not drawn & missing


def test_texts_tell_of_the_model_and_how_it_was_compiled(tmp_path):
    trained(tmp_path, ["loss"], optimizer=gdtrain.GradientDescent(0.1))
    found = {
        tag: points[0][1].item().decode()
        for tag, points in reading.tensors(tmp_path).items()
        if tag.startswith("model/")
    }
    assert "hidden (Dense)" in found["model/summary"]

    def parsed(tag):
        return json.loads(found[tag].strip("`\n"))

    config = parsed("model/optimizer")["config"]
    assert config["learning_rate"] == 0.1  # It is kept in float32.
    assert config["ema_momentum"] == 0.99
    assert parsed("model/compile")["loss"] == "mse"
    assert parsed("model/configuration")["name"] == "network"


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule without a configuration."""

    def __call__(self, step):
        return 0.1


class Stubborn(gdtrain.Model):
    """A model that knows no configuration."""

    def __init__(self, units):
        super().__init__(name="stubborn")
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        raise RuntimeError("There is none.")


class Loss:
    """A loss that cannot be written down."""

    def __call__(self, y, y_pred):
        return keras.ops.mean((y - y_pred) ** 2)


@pytest.mark.parametrize(
    "make, optimizer, loss, told",
    [
        (lambda: Stubborn(1), "sgd", "mse", ["model/configuration"]),
        (models.network, "sgd", Loss(), []),
        (models.network, "sgd", lambda y, y_pred: Loss()(y, y_pred), []),
        (models.network, "sgd", functools.partial(Loss()), []),
        (models.network, keras.optimizers.SGD(Schedule()), "mse", []),
    ],
)
def test_what_has_no_configuration_is_measured_all_the_same(
    make, optimizer, loss, told, tmp_path, recwarn
):
    model = make()
    model.compile(optimizer, loss, **EAGER)
    model.fit(
        X,
        Y,
        batch_size=15,
        verbose=0,
        callbacks=[gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])],
    )
    messages = [str(one.message) for one in recwarn]
    assert len(messages) == len(told)
    for message, part in zip(messages, told, strict=True):
        assert f"{part} is skipped: RuntimeError: There is none." in message
        assert "Traceback" not in message
    assert len(read(tmp_path)["step/loss"]) == 3
    assert reading.hyperparameters(tmp_path)["batch_size"] == 15
    assert "model/summary" in reading.tensors(tmp_path)


# Histograms, spread, budget


class Weights(keras.callbacks.Callback):
    """Keeps the hidden layer's weights of each step."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        weights = self.model.get_layer("hidden").get_weights()
        self.seen.append(np.concatenate([np.ravel(w) for w in weights]))


def test_histograms_are_those_of_the_weights_at_their_step(tmp_path):
    model, weights = models.network(), Weights()
    model.compile("adam", "mse", **GRAPH)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, [quantities.WeightHistogram().every(2)]
    )
    model.fit(X, Y, batch_size=9, verbose=0, callbacks=[tensorboard, weights])
    found = reading.tensors(tmp_path)["weight_histogram/hidden"]
    assert [step for step, _ in found] == [2, 4]
    for step, bins in found:
        counts, edges = np.histogram(weights.seen[step - 1], len(bins))
        np.testing.assert_array_equal(bins[:, 2], counts)
        np.testing.assert_allclose(bins[:, 0], edges[:-1], rtol=1e-5)
        np.testing.assert_allclose(bins[:, 1], edges[1:], rtol=1e-5)


def test_histograms_of_diverged_weights_do_not_end_writing(tmp_path, recwarn):
    measured = ["weight_histogram", "gradient_histogram", "loss"]
    trained(tmp_path, measured, optimizer=gdtrain.GradientDescent(1e30))
    assert [str(one.message) for one in recwarn] == []
    train = read(tmp_path)
    assert [step for step, _ in train["step/loss"]] == [1, 2, 3, 4]
    assert np.isnan(train["step/loss"][-1][1])
    found = reading.tensors(tmp_path)
    for name in ("weight_histogram", "gradient_histogram"):
        points = found[f"{name}/hidden"]
        assert [step for step, _ in points] == [1, 2, 3, 4]
        assert np.isfinite([bins for _, bins in points]).all()
        assert points[-1][1][:, 2].sum() == 0  # All of them are NaN.


def test_spread_is_that_of_every_step(tmp_path):
    model, telemetry = models.network(), gdtrain.callbacks.Telemetry()
    model.compile("adam", "mse", **GRAPH)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, every_steps=4, aggregate=True
    )
    callbacks = [tensorboard, telemetry]
    model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=callbacks)
    train = read(tmp_path)
    ranges = {4: (0, 4), 8: (4, 8), 12: (8, 12), 16: (12, 16), 18: (16, 18)}
    for name in telemetry.names:
        for end, compute in (
            ("", np.mean),
            ("/min", np.min),
            ("/max", np.max),
        ):
            steps, values = zip(*train[f"step/{name}{end}"], strict=True)
            assert list(steps) == list(ranges)
            wanted = [compute(telemetry[name][a:b]) for a, b in ranges.values()]
            np.testing.assert_allclose(values, wanted, rtol=1e-6)
    assert len(train["epoch_loss"]) == 2


def test_budget_makes_expensive_points_rarer_and_no_others(
    tmp_path, monkeypatch, caplog
):
    clock = Clock(0.03)  # For each block of 30 steps
    monkeypatch.setattr(block_runner, "time", clock)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss", "gradient_norm", Costly(clock)], budget=0.5
    )
    model = models.line()
    model.compile("sgd", "mse", steps_per_execution=30, **GRAPH)
    x, y = models.regression_data(1500, features=1)
    with caplog.at_level(logging.INFO, "gdtrain"):
        model.fit(x, y, batch_size=1, verbose=0, callbacks=[tensorboard])
    train = read(tmp_path)
    every_step = list(range(1, 1501))
    for tag in ("step/loss", "step/gradient_norm"):
        assert [step for step, _ in train[tag]] == every_step
    steps = [step for step, _ in train["step/costly"]]
    assert [step for step in steps if step > 1000] == list(
        range(1020, 1501, 20)
    )
    assert model._step_hooks.budget.stretch == 20
    said = [r.getMessage() for r in caplog.records if "budget" in r.message]
    assert len(said) == 1 and "20 times less often" in said[0]


# Without TensorFlow


READ = """
import json, sys
sys.modules["tensorflow"] = None
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.compat import tf
assert tf.__version__ == "stub"
runs = plugin_event_multiplexer.EventMultiplexer(
    tensor_size_guidance={p: 0 for p in ("scalars", "images", "histograms")}
)
runs.AddRunsFromDirectory(sys.argv[1]).Reload()
print(json.dumps({
    plugin: {
        f"{run}/{tag}": [event.step for event in runs.Tensors(run, tag)]
        for run in runs.Runs()
        for tag in runs.PluginRunToTagToContent(plugin).get(run, {})
    }
    for plugin in ("scalars", "text", "images", "histograms")
}))
"""


def test_all_can_be_read_where_there_is_no_tensorflow(tmp_path):
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, name="line")]
    )
    model.compile("sgd", "mse", **EAGER)
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path,
        ["loss", "weight_histogram"],
        pictures=[FittedLine([0.0, 1.0], [0.0, 1.0])],
    )
    x, y = models.regression_data(12, features=1)
    model.fit(x, y, batch_size=1, verbose=0, callbacks=[tensorboard])
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    every_step = list(range(1, 13))
    assert found["scalars"]["./step/loss"] == every_step
    assert found["scalars"]["./epoch_loss"] == [0]
    histograms = {"./weight_histogram/line": every_step}
    assert found["histograms"] == histograms
    assert found["images"] == {"./fitted_line": [0, 1, 2, 5, 10, 12]}
    assert set(found["text"]) == {
        f"./model/{name}"
        for name in ("summary", "optimizer", "compile", "configuration")
    } | {"./diagnosis"}
