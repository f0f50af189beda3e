"""A profile is of the steps that were asked for, and changes nothing."""

import logging
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests import models
from tests.writers.test_tensorboard import read

X, Y = models.regression_data(40)


def trained(*callbacks, epochs=1):
    model = models.network()
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)
    return model


def tensorboard(log_dir, profile):
    return gdtrain.callbacks.TensorBoard(
        log_dir, ["loss"], profile_batch=profile
    )


def profiles(log_dir):
    return list(pathlib.Path(log_dir).glob("plugins/profile/*/*.xplane.pb"))


def test_profile_is_written_once_and_training_is_bit_equal(tmp_path):
    observed = trained(tensorboard(tmp_path, (3, 5)), epochs=2)
    (file,) = profiles(tmp_path)
    assert file.stat().st_size > 100
    for one, other in zip(
        observed.get_weights(), trained(epochs=2).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def calls(monkeypatch):
    """What the profiler was told, with nothing done."""
    calls = []
    profiler = tf.profiler.experimental
    monkeypatch.setattr(profiler, "start", lambda to: calls.append("start"))
    monkeypatch.setattr(profiler, "stop", lambda: calls.append("stop"))
    return calls


@pytest.mark.mostly_long("4-looks1", "profile2-looks2")
@pytest.mark.parametrize(
    "profile, looks",
    [
        ((1, 1), [1]),
        (4, [3, 4]),
        ((3, 10), [2, 10]),
        ((8, 100), [7, 100]),
    ],
)
def test_profile_begins_and_ends_with_its_steps(
    profile, looks, calls, tmp_path
):
    callback = tensorboard(tmp_path, profile)
    asked = []
    next_sync = callback.next_sync

    def noted(step):
        asked.append(next_sync(step))
        return asked[-1]

    callback.next_sync = noted
    model = trained(callback)
    assert calls == ["start", "stop"]
    assert list(dict.fromkeys(look for look in asked if look)) == looks
    assert int(model.optimizer.iterations.numpy()) == 10


def test_profile_beyond_the_end_is_none(calls, tmp_path):
    trained(tensorboard(tmp_path, (12, 20)))
    assert calls == [] and len(read(tmp_path)["step/loss"]) == 10


def test_second_profile_at_once_is_none(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "gdtrain"):
        trained(
            tensorboard(tmp_path / "one", (1, 3)),
            tensorboard(tmp_path / "two", (2, 4)),
        )
    assert "another one is running" in caplog.text
    assert len(profiles(tmp_path / "one")) == 1
    assert not profiles(tmp_path / "two")


def test_profile_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning) as told:
        trained(tensorboard(tmp_path / "file" / "logs", (1, 3)))
    texts = [str(one.message) for one in told]
    assert len([t for t in texts if "profile was not written" in t]) == 1
    assert len([t for t in texts if "Writing has stopped" in t]) == 1


@pytest.mark.parametrize(
    "profile, error, match",
    [
        (None, TypeError, "profile_batch=None"),
        ((1, 2, 3), TypeError, r"profile_batch=\(1, 2, 3\)"),
        ("12", TypeError, "profile_batch='12'"),
        ((1, 2.5), TypeError, r"profile_batch\[1\]=2.5"),
        (-1, ValueError, r"profile_batch\[0\]=-1"),
        ((0, 2), ValueError, r"profile_batch\[0\]=0"),
        ((5, 2), ValueError, r"profile_batch=\(5, 2\)"),
    ],
)
def test_profile_of_no_steps_is_refused(profile, error, match, tmp_path):
    with pytest.raises(error, match=match):
        tensorboard(tmp_path, profile)
