"""What `Telemetry` and `TensorBoard` keep, however training ends."""

import glob

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.writers.tensorboard_runs import FOLDERS
from tests import models
from tests.writers.test_tensorboard import read

X, Y = models.regression_data(40)


class Raise(keras.callbacks.Callback):
    """Raises after the fifth step."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 4:
            raise self.error


def compiled(**arguments):
    model = models.network()
    model.compile("adam", "mse", metrics=["mae"], **arguments)
    return model


def test_tensorboard_has_every_step_and_every_epoch(tmp_path):
    model = compiled()
    telemetry = gdtrain.callbacks.Telemetry()
    history = model.fit(
        X,
        Y,
        batch_size=10,
        epochs=3,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[gdtrain.callbacks.TensorBoard(tmp_path), telemetry],
    ).history
    train, validation = read(tmp_path), read(tmp_path / "validation")
    for name in telemetry.names:
        steps, values = zip(*train[f"step/{name}"], strict=True)
        assert list(steps) == list(range(1, 13))
        np.testing.assert_array_equal(np.float32(values), telemetry[name])
    for name, values in history.items():
        run = validation if name.startswith("val_") else train
        points = run[f"epoch_{name.removeprefix('val_')}"]
        assert [epoch for epoch, _ in points] == [0, 1, 2]
        np.testing.assert_allclose([v for _, v in points], values, rtol=1e-6)
    assert len(train["epoch_learning_rate"]) == 3
    evaluations = validation["evaluation_loss_vs_iterations"]
    assert [step for step, _ in evaluations] == [4, 8, 12]


def test_tags_of_epochs_are_those_of_keras(tmp_path):
    for name, callback in {
        "ours": gdtrain.callbacks.TensorBoard(tmp_path / "ours"),
        "keras": keras.callbacks.TensorBoard(tmp_path / "keras"),
    }.items():
        compiled().fit(
            X, Y, verbose=0, validation_split=0.5, callbacks=[callback]
        )
    for run in ("train", "validation"):
        ours = set(read(tmp_path / "ours" / FOLDERS[run]))
        events = glob.glob(f"{tmp_path}/keras/{run}/events*")
        from tensorboard.backend.event_processing import event_accumulator

        keras_events = event_accumulator.EventAccumulator(events[0]).Reload()
        theirs = set(keras_events.Tags()["tensors"]) - {"keras"}
        assert {tag for tag in ours if not tag.startswith("step/")} == theirs


@pytest.mark.mostly_long("error1")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken")])
def test_nothing_measured_is_lost_when_training_ends_early(error, tmp_path):
    model = compiled()
    telemetry = gdtrain.callbacks.Telemetry()
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    with pytest.raises(type(error)):
        model.fit(
            X,
            Y,
            batch_size=4,
            verbose=0,
            callbacks=[telemetry, tensorboard, Raise(error)],
        )
    assert telemetry.steps.tolist() == [1, 2, 3, 4, 5]
    points = read(tmp_path)["step/loss"]
    np.testing.assert_array_equal(
        np.float32([value for _, value in points]), telemetry["loss"]
    )
    model.fit(X, Y, batch_size=20, verbose=0)
    assert telemetry.steps.tolist() == [1, 2, 3, 4, 5]


def test_telemetry_continues_in_a_second_fit():
    model = compiled()
    telemetry = gdtrain.callbacks.Telemetry()
    for _ in range(2):
        model.fit(X, Y, batch_size=20, verbose=0, callbacks=[telemetry])
    assert telemetry.steps.tolist() == [1, 2, 3, 4]


def test_telemetry_can_be_read_while_training():
    seen = []
    telemetry = gdtrain.callbacks.Telemetry()
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            len(telemetry["loss"])
        )
    )
    compiled().fit(X, Y, batch_size=10, verbose=0, callbacks=[telemetry, look])
    assert seen == [1, 2, 3, 4]


def test_telemetry_is_saved_with_its_steps(tmp_path):
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    compiled().fit(X, Y, batch_size=20, verbose=0, callbacks=[telemetry])
    telemetry.save(tmp_path / "run.npz")
    saved = np.load(tmp_path / "run.npz")
    assert saved["steps"].tolist() == [1, 2]
    np.testing.assert_array_equal(saved["values"][:, 0], telemetry["loss"])


def test_evaluation_by_itself_is_written(tmp_path):
    model = compiled()
    model.fit(X, Y, batch_size=20, verbose=0)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    loss = model.evaluate(
        X, Y, verbose=0, callbacks=[tensorboard], return_dict=True
    )["loss"]
    points = read(tmp_path / "validation")["evaluation_loss_vs_iterations"]
    assert points == [(2, pytest.approx(loss))]


def test_folder_that_cannot_be_written_warns_and_training_continues(tmp_path):
    (tmp_path / "file").write_text("in the way")
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path / "file" / "logs")
    with pytest.warns(UserWarning, match="Writing has stopped"):
        history = compiled().fit(
            X, Y, batch_size=20, verbose=0, callbacks=[tensorboard]
        )
    assert np.isfinite(history.history["loss"]).all()


def test_observer_of_a_plain_keras_model_is_refused():
    model = models.network(keras.Sequential)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"gdtrain.from_keras\(model\)"):
        model.fit(X, Y, verbose=0, callbacks=[gdtrain.callbacks.Telemetry()])


@pytest.mark.parametrize("every_steps", [0, -1])
def test_every_steps_must_be_positive(every_steps, tmp_path):
    with pytest.raises(ValueError, match=f"every_steps={every_steps}"):
        gdtrain.callbacks.TensorBoard(tmp_path, every_steps=every_steps)


def test_every_steps_must_be_whole():
    with pytest.raises(TypeError, match="every_steps=1.5"):
        gdtrain.callbacks.Telemetry(every_steps=1.5)
