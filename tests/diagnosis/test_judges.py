"""Verdicts of users, beside those of gdtrain."""

import keras
import numpy as np
import pytest

import gdtrain
from tests import models
from tests.diagnosis.descents import telemetry_of


def spikes(case):
    """Finds gradients ten times as long as the median."""
    norms = case.run.get("gradient_norm")
    above = np.flatnonzero(norms > 10 * np.nanmedian(norms))
    if not len(above):
        return []
    return [
        gdtrain.Verdict(
            "spikes",
            0.9,
            (int(case.run.steps[above[0]]), int(case.run.steps[above[-1]])),
            {"spikes": len(above), "others": sorted(case.found)},
            f"The gradient is long at {len(above)} steps.",
            "Clip it.",
        )
    ]


def columns(*at):
    norms = np.ones(40)
    norms[list(at)] = 50.0
    return {"loss": np.linspace(2, 1, 40), "gradient_norm": norms}


def test_verdict_of_ones_own_comes_first_and_knows_the_others():
    plain = gdtrain.diagnose(telemetry_of(**columns(9, 19)))
    found = gdtrain.diagnose(telemetry_of(**columns(9, 19)), judges=[spikes])
    assert found.verdict.name == "spikes" and found.verdict.steps == (10, 20)
    assert found.verdict.evidence["spikes"] == 2
    others = [one.name for one in plain.verdicts]
    assert found.verdict.evidence["others"] == sorted(others)
    assert found.verdicts[1:] == plain.verdicts
    assert str(found).startswith("spikes (confidence 0.90, steps 10 to 20)")
    assert found.as_dict()["verdict"] == "spikes"


def test_judge_that_finds_nothing_changes_nothing():
    plain = gdtrain.diagnose(telemetry_of(**columns()))
    assert gdtrain.diagnose(telemetry_of(**columns()), judges=[spikes]) == plain


def test_each_update_of_a_step_is_judged():
    long, short = columns(9), columns()
    found = gdtrain.diagnose(
        telemetry_of(
            critic__loss=long["loss"],
            critic__gradient_norm=long["gradient_norm"],
            generator__loss=short["loss"],
            generator__gradient_norm=short["gradient_norm"],
        ),
        judges=[spikes],
    )
    assert found.verdict.text == "critic: The gradient is long at 1 steps."
    assert [one.name for one in found.verdicts].count("spikes") == 1


@pytest.mark.parametrize("use", [gdtrain.callbacks.Diagnosis, "diagnose"])
@pytest.mark.parametrize("judges", [spikes, ["spikes"], 3])
def test_what_is_no_list_of_functions_is_refused(use, judges):
    with pytest.raises(TypeError, match=r"Write judges=\[judge\]"):
        if use == "diagnose":
            gdtrain.diagnose(telemetry_of(loss=[1.0]), judges=judges)
        else:
            use(judges=judges)


@pytest.mark.parametrize("returned", [None, "spikes"])
def test_judge_that_returns_no_list_is_refused(returned):
    with pytest.raises(TypeError, match="must return a list of verdicts"):
        gdtrain.diagnose(
            telemetry_of(loss=[1.0]), judges=[lambda case: returned]
        )


def test_advice_of_ones_own_is_tried_like_any_other():
    def slow(case):
        from gdtrain.diagnosis.verdict import Change

        changes = (Change("learning_rate", 0.1),)
        return [
            gdtrain.Verdict(
                "slow",
                0.9,
                case.run.span,
                {},
                "Slow.",
                "Try 0.1.",
                True,
                changes,
            )
        ]

    x = np.linspace(-1, 1, 32, dtype="float32")[:, None]
    model = models.line()
    model.compile(gdtrain.GradientDescent(1e-3), "mse", jit_compile=False)
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(
        x, 3 * x, batch_size=8, epochs=5, verbose=0, callbacks=[telemetry]
    )
    found = gdtrain.diagnose(telemetry, model, x, 3 * x, judges=[slow])
    assert found.verdict.name == "slow"
    assert found.verdict.evidence["trial"] > 0.05
    assert found.verdict.advice.startswith("Try 0.1. ")


def test_live_diagnosis_has_them_too(capsys):
    keras.utils.set_random_seed(0)
    model = models.line()
    model.compile(gdtrain.GradientDescent(0.1), "mse", jit_compile=False)
    live = gdtrain.callbacks.Diagnosis(
        judges=[
            lambda case: [
                gdtrain.Verdict("mine", 0.9, case.run.span, {}, "Yes.", "Go.")
            ]
        ]
    )
    x = np.ones([4, 1])
    model.fit(x, x, epochs=20, verbose=2, callbacks=[live])
    assert live.diagnosis.verdict.name == "mine"
    assert "Step 20: mine. Yes. Go." in capsys.readouterr().out
