"""Epochs of a history and of a log folder."""

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import open_epochs, steps_per_epoch
from gdtrain.writers.tensorboard import TensorBoardWriter


def write(folder, epochs, losses):
    writer = TensorBoardWriter(str(folder))
    writer.write(epochs, ["epoch_loss"], np.reshape(losses, [-1, 1]))
    writer.close()


def test_history_of_keras_is_taken_apart():
    class History:
        history = {"loss": [3, 2, 1], "val_loss": [4, 3, 5], "accuracy": [1]}

    found = open_epochs(None, History())
    assert found.count == 3
    assert found.validated.tolist() == [1, 2, 3]
    assert found.loss.tolist() == [3, 2, 1]
    assert found.val_loss.tolist() == [4, 3, 5]


def test_validation_now_and_then_is_put_at_its_epochs():
    history = {"loss": [6, 5, 4, 3, 2, 1, 0], "val_loss": [9, 8]}
    found = open_epochs(None, history)
    assert found.validated.tolist() == [3, 6]
    assert found.loss.tolist() == [4, 1]


def test_log_folder_has_both_runs(tmp_path):
    write(tmp_path / "train", [0, 1, 2, 3], [4, 3, 2, 1])
    write(tmp_path / "validation", [1, 3], [5, 6])
    found = open_epochs(tmp_path, None)
    assert found.count == 4
    assert found.validated.tolist() == [2, 4]
    assert found.loss.tolist() == [3, 1]
    assert found.val_loss.tolist() == [5, 6]
    # A history that is given counts.
    assert open_epochs(tmp_path, {"loss": [1]}).count == 1


def test_there_may_be_no_validation_or_no_epochs(tmp_path):
    write(tmp_path / "train", [0, 1], [4, 3])
    found = open_epochs(tmp_path, None)
    assert (found.count, len(found.val_loss)) == (2, 0)
    assert open_epochs(None, {"loss": [1, 2]}).count == 2
    for nothing in (open_epochs(None, None), open_epochs("run.npz", None)):
        assert (nothing.count, len(nothing.val_loss)) == (0, 0)


@pytest.mark.parametrize("history", [3, [1, 2]])
def test_other_histories_are_refused(history):
    with pytest.raises(TypeError, match="what `fit` returned.*history="):
        open_epochs(None, history)


def test_steps_of_an_epoch_are_those_of_the_callback_or_follow():
    class Callback:
        params = {"steps": 7, "epochs": 2}

    class Unknown:
        params = {"steps": None}

    steps = np.arange(1, 21)
    assert steps_per_epoch(Callback(), steps, 0) == 7
    assert steps_per_epoch(Unknown(), steps, 4) == 5
    assert steps_per_epoch("folder", steps, 4) == 5
    assert steps_per_epoch("folder", steps, 3) is None
    assert steps_per_epoch("folder", steps, 0) is None
