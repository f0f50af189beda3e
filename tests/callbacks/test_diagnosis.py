"""Live verdicts: what is said, when, at what price, and that nothing moves."""

import copy

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.callbacks import diagnosis as live
from gdtrain.diagnosis.verdict import Verdict
from tests import models
from tests.callbacks import reading
from tests.clock import Clock

GOOD = gdtrain.Diagnosis((Verdict("converging", 1, (1, 9), {}, "", "", False),))
X = np.array([[0.0], [2.0]])  # Mean squared error: stable up to 0.382


class Blocks(gdtrain.callbacks.Callback):
    """Ends a block every so many steps."""

    def __init__(self, every=10):
        super().__init__()
        self.every = every

    def next_sync(self, step):
        return step - step % self.every + self.every


def descend(rate, more=(), epochs=60, verbose=0, **arguments):
    model = models.line()
    arguments = {"jit_compile": False, **arguments}
    model.compile(gdtrain.GradientDescent(rate), "mse", **arguments)
    model.fit(X, 3 * X, epochs=epochs, verbose=verbose, callbacks=[*more])
    return model


@pytest.fixture
def at_once(monkeypatch):
    """Each block is diagnosed, whatever it costs."""
    monkeypatch.setattr(live, "_SHARE", 1e9)


def found(name, confidence=0.9, is_trouble=True):
    return Verdict(name, confidence, (1, 9), {}, "", "", is_trouble)


def said(confirmed, verdicts, *steps):
    return [len(confirmed.of(verdicts, step)) for step in steps]


def test_trouble_is_confirmed_as_the_run_grows():
    confirmed = live.Confirmed(least_steps=50)
    assert said(confirmed, [found("plateau")], 10, 29, 30, 49, 50) == [
        0, 0, 0, 0, 1,
    ]  # fmt: skip
    assert said(live.Confirmed(), [found("plateau")], 20, 59, 60) == [0, 0, 1]


def test_trouble_that_goes_away_is_found_anew():
    confirmed = live.Confirmed()
    assert said(confirmed, [found("plateau")], 10, 20) == [0, 0]
    assert said(confirmed, [], 25) == [0]
    assert said(confirmed, [found("plateau")], 30, 89, 90) == [0, 0, 1]


def test_nothing_unsure_and_no_good_news_is_confirmed():
    verdicts = [found("plateau", 0.7), found("converged", 1, False)]
    assert said(live.Confirmed(), verdicts, 10, 40, 160) == [0, 0, 0]


def test_broken_runs_need_two_diagnoses():
    nan, diverging = found("non-finite"), found(live.diverging.NAME)
    assert said(live.Confirmed(50), [nan], 10, 11) == [0, 1]
    assert said(live.Confirmed(50), [diverging], 10, 49, 50) == [0, 0, 1]
    assert said(live.Confirmed(50), [diverging], 100, 101) == [0, 1]


def test_diagnoses_take_a_hundredth_of_the_time(monkeypatch):
    clock, made = Clock(0.0), []

    def slow(steps, **arguments):
        made.append(clock.now)
        clock.now += 2.0  # Seconds
        return gdtrain.diagnose(steps, **arguments)

    class Time(gdtrain.callbacks.Callback):
        def on_block(self, table):
            clock.now += 1.0

    monkeypatch.setattr(live, "diagnose", slow)
    callback = gdtrain.callbacks.Diagnosis(clock=clock.perf_counter)
    descend(0.2, [Blocks(1), Time(), callback], epochs=900)
    *during, _ = made
    assert len(during) >= 4
    for count, at in enumerate(during[1:], 1):
        assert 2.0 * (count + 1) <= 0.01 * at
    assert during[0] >= 5.0  # An expected 0.05 seconds are 1%


@pytest.mark.mostly_long("False-more1", "True-more0")
@pytest.mark.parametrize("more", [{}, {"run_eagerly": True}])
@pytest.mark.parametrize("beside", [False, True])
def test_it_changes_nothing(more, beside, at_once):
    telemetry = gdtrain.callbacks.Telemetry()
    callback = gdtrain.callbacks.Diagnosis()
    others = [telemetry] if beside else []
    watched = descend(0.2, [*others, callback], 20, **more)
    plain = descend(0.2, others, 20, **more)
    for one, other in zip(
        watched.get_weights(), plain.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert callback.diagnosis.verdict.steps[1] == 20
    if beside:
        assert callback.diagnosis == gdtrain.diagnose(telemetry)


def test_it_ends_no_block():
    assert gdtrain.callbacks.Diagnosis.sync == "never"
    callback = gdtrain.callbacks.Diagnosis()
    assert callback.next_sync(10) is None and callback.before_step_key is None


def test_trouble_is_said_once_in_a_line(capsys, at_once):
    callback = gdtrain.callbacks.Diagnosis()
    descend(0.5, [Blocks(), callback], 80, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [one for one in lines if "diverging" in one]
    assert line.startswith("Step 20: learning rate too large: diverging. ")
    assert "Try" in line


def test_trouble_of_a_short_run_is_said_at_its_end(capsys):
    descend(0.5, [gdtrain.callbacks.Diagnosis()], 40, verbose=2)
    out = capsys.readouterr().out
    assert out.count("learning rate too large: diverging") == 1


def test_silence(capsys, at_once):
    callback = gdtrain.callbacks.Diagnosis()
    descend(0.5, [Blocks(), callback], 80, verbose=0)
    assert capsys.readouterr().out == ""
    assert callback.diagnosis.verdict.name.endswith("diverging")


def test_healthy_run_is_not_disturbed(capsys, at_once):
    descend(0.2, [Blocks(), gdtrain.callbacks.Diagnosis()], 80, verbose=2)
    assert "Step " not in capsys.readouterr().out


def test_changes_of_the_verdict_are_in_tensorboard(tmp_path, at_once):
    board = gdtrain.callbacks.TensorBoard(tmp_path)
    descend(0.01, [Blocks(), board, gdtrain.callbacks.Diagnosis()], 1500)
    points = reading.tensors(tmp_path)["diagnosis/live"]
    steps = [step for step, _ in points]
    texts = [text.item().decode() for _, text in points]
    assert steps[0] == 10 and texts[0].startswith("**converging**")
    assert texts[-1].startswith("**converged**") and 10 < steps[-1] <= 1500
    assert len(points) < 8


def test_diagnosis_that_fails_takes_nothing_with_it(monkeypatch, recwarn):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(live, "diagnose", fail)
    descend(0.2, [gdtrain.callbacks.Diagnosis()])
    (message,) = [str(one.message) for one in recwarn]
    assert message.startswith("The live diagnosis is skipped: ZeroDivision")


def test_run_that_continues_is_judged_as_a_whole(tmp_path):
    class Broken(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 29:
                raise KeyboardInterrupt

    def backup():
        return gdtrain.callbacks.BackupAndRestore(tmp_path, every_steps=10)

    with pytest.raises(KeyboardInterrupt):
        descend(0.5, [backup(), gdtrain.callbacks.Diagnosis(), Broken()])
    resumed, whole = (gdtrain.callbacks.Diagnosis() for _ in range(2))
    descend(0.5, [backup(), resumed])
    descend(0.5, [whole])
    assert resumed.diagnosis == whole.diagnosis
    assert resumed.diagnosis.verdict.steps[0] == 1


class Raises(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 29:
            raise KeyboardInterrupt


@pytest.mark.parametrize("is_first", [False, True])
def test_run_that_an_exception_ends_is_judged_before_tensorboard_closes(
    tmp_path, is_first, recwarn
):
    board = gdtrain.callbacks.TensorBoard(tmp_path)
    callback = gdtrain.callbacks.Diagnosis()
    both = [callback, board] if is_first else [board, callback]
    with pytest.raises(KeyboardInterrupt):
        descend(0.5, [*both, Raises()])
    assert callback.diagnosis.verdict.steps == (1, 30)
    [(step, text)] = reading.tensors(tmp_path)["diagnosis/live"]
    assert step == 30 and b"diverging" in text.item()
    assert not recwarn.list


def test_time_to_keep_steps_counts(monkeypatch):
    clock, made = Clock(0.0), []

    class Slow(live.JudgedSteps):
        def write(self, *args):
            clock.now += 0.5  # Seconds
            super().write(*args)

    class Time(gdtrain.callbacks.Callback):
        def on_block(self, table):
            clock.now += 1.0

    monkeypatch.setattr(live, "JudgedSteps", Slow)
    monkeypatch.setattr(
        live, "diagnose", lambda steps, **k: made.append(1) or GOOD
    )
    callback = gdtrain.callbacks.Diagnosis(clock=clock.perf_counter)
    descend(0.2, [Blocks(1), Time(), callback], epochs=100)
    assert len(made) <= 1  # At the end


def test_several_replicas_are_diagnosed_as_one(two_replicas):
    with two_replicas.scope():
        callback = gdtrain.callbacks.Diagnosis()
        descend(0.5, [callback], 40)
    alone = gdtrain.callbacks.Diagnosis()
    descend(0.5, [alone], 40)
    found, expected = callback.diagnosis.verdict, alone.diagnosis.verdict
    assert found.name == expected.name and found.steps == expected.steps


def test_next_model_is_judged_by_itself():
    callback = gdtrain.callbacks.Diagnosis()
    descend(0.5, [callback], 40)
    descend(0.2, [callback], 40)
    assert not callback.diagnosis.verdict.name.endswith("diverging")
    assert copy.deepcopy(callback).diagnosis == callback.diagnosis


def test_clock_is_a_function():
    with pytest.raises(TypeError, match="`clock` must be a function"):
        gdtrain.callbacks.Diagnosis(clock=1.0)
