"""The tab Text has the verdict on what was written, however `fit` ends."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.callbacks import judged_steps
from gdtrain.diagnosis.verdict import Diagnosis, Verdict
from tests import models
from tests.callbacks import reading
from tests.writers.test_tensorboard import read

X = np.array([[0.0], [2.0]])  # Mean squared error: stable up to 0.382


def descent(log_dir, rate, quantities="standard", more=(), epochs=40):
    """Descends a line, one step an epoch."""
    model = models.line()
    model.compile(gdtrain.GradientDescent(rate), "mse", jit_compile=False)
    tensorboard = gdtrain.callbacks.TensorBoard(log_dir, quantities)
    model.fit(
        X,
        3 * X,
        epochs=epochs,
        verbose=0,
        callbacks=[tensorboard, *more],
    )


def texts(log_dir):
    return [
        (step, text.item().decode())
        for step, text in reading.tensors(log_dir)["diagnosis"]
    ]


@pytest.mark.mostly_long(
    "0.2-converged", "0.5-learning rate too large: diverging"
)
@pytest.mark.parametrize(
    "rate, name",
    [
        (0.5, "learning rate too large: diverging"),
        (0.2, "converged"),
        (0.001, "converging"),
    ],
)
def test_verdict_is_that_of_diagnose_on_the_folder(rate, name, tmp_path):
    descent(tmp_path, rate, epochs=150)
    ((step, text),) = texts(tmp_path)
    found = gdtrain.diagnose(tmp_path)
    assert step == 150
    assert text == judged_steps.markdown(found)
    assert text.startswith(f"**{name}** (confidence ")


def test_fit_that_is_broken_off_is_judged_as_far_as_it_came(tmp_path):
    class Broken(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 19:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        descent(tmp_path, 0.5, more=[Broken()])
    ((step, text),) = texts(tmp_path)
    assert step == 20
    assert text.startswith("**learning rate too large: diverging**")
    assert "steps 1 to 20)" in text


def test_only_what_was_written_is_judged(tmp_path):
    descent(tmp_path, 0.5, ["learning_rate"])
    assert "nothing to report" in texts(tmp_path)[0][1]


def test_diagnosis_that_fails_takes_nothing_with_it(
    tmp_path, monkeypatch, recwarn
):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("broken\ndiagnosis")

    monkeypatch.setattr(judged_steps, "diagnose", fail)
    descent(tmp_path, 0.2)
    (message,) = [str(one.message) for one in recwarn]
    assert message == (
        "The diagnosis is skipped: ZeroDivisionError: broken diagnosis. All "
        "else is written, and training continues."
    )
    assert len(read(tmp_path)["step/loss"]) == 40
    end = reading.tensors(tmp_path)["_hparams_/session_end_info"]
    assert len(end) == 1


def test_next_model_is_judged_by_itself(tmp_path):
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    for rate, epochs in (0.5, 40), (0.2, 60):
        model = models.line()
        model.compile(gdtrain.GradientDescent(rate), "mse", jit_compile=False)
        model.fit(X, 3 * X, epochs=epochs, verbose=0, callbacks=[tensorboard])
    ((step, text),) = texts(tmp_path)
    assert step == 60 and text.startswith("**converged**")


def test_validation_is_judged(tmp_path):
    steps = judged_steps.JudgedSteps()
    steps.params = {"steps": 2}
    loss = 1.0 / np.arange(1, 81)
    steps.write(np.arange(1, 81), ["loss"], loss[:, None])
    held = 1 + 0.1 * np.abs(np.arange(40) - 10)
    history = {"loss": loss[::2].tolist(), "val_loss": held.tolist()}
    assert "**overfitting**" in steps.verdict(history)
    assert "overfitting" not in steps.verdict(None)


def test_text_marks_nothing_by_accident():
    verdict = Verdict(
        "dead layer", 0.5, (1, 1000), {}, "a_b *c* <i> `d`", "2 * x"
    )
    diagnosis = Diagnosis((verdict,))
    assert judged_steps.markdown(diagnosis) == (
        "**dead layer** (confidence 0.50, steps 1 to 1,000)\n\n"
        "a\\_b \\*c\\* &lt;i> \\`d\\`\n\n2 \\* x"
    )


def written(count, block, **limits):
    """Steps 1 to `count`, in blocks; each number is its step."""
    memory = judged_steps.JudgedSteps(**limits)
    for first in range(1, count + 1, block):
        steps = np.arange(first, min(first + block, count + 1))
        memory.write(steps, ["loss", "norm"], np.stack([steps, -steps], 1))
    return memory


def test_few_steps_are_all_kept():
    memory = written(100, 7, max_steps=100)
    assert memory.steps.tolist() == [*range(1, 101)]


@pytest.mark.parametrize("block", [1, 7, 100, 1000])
@pytest.mark.parametrize("limits", [{"max_steps": 50}, {"max_numbers": 100}])
def test_many_steps_are_thinned_evenly_whatever_the_blocks(block, limits):
    memory = written(1000, block, **limits)
    assert memory.steps.tolist() == [*range(1, 1001, 27)]  # 38 of them
    np.testing.assert_array_equal(memory["loss"], memory.steps)
    np.testing.assert_array_equal(memory["norm"], -memory.steps)


def test_what_was_not_measured_stays_so():
    memory = judged_steps.JudgedSteps(max_steps=3)
    for step in range(1, 10):
        memory.write([step], ["loss", "x"], [[0, 1]], [[True, step == 4]])
    steps, _ = memory.table.points("x")
    assert memory.steps.tolist() == [1, 4, 7] and steps.tolist() == [4]


def test_names_may_change():
    memory = judged_steps.JudgedSteps(max_steps=2)
    memory.write([1, 2], ["a"], [[1], [2]])
    memory.write([3, 4], ["b"], [[3], [4]])
    assert memory.steps.tolist() == [1, 4]
    np.testing.assert_array_equal(memory["b"], [np.nan, 4])
