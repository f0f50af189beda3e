"""The zoo's own parts: truth, runs on disk, following advice."""

import dataclasses
import itertools
import math
import os
import shutil
import time

import keras
import numpy as np
import pytest

from tests.zoo import folder, halves, making
from tests.zoo.__main__ import judge, main
from tests.zoo.bench import Bench, Trained, loss_of_all
from tests.zoo.conftest import LINE
from tests.zoo.scores import Outcome
from tests.zoo.sweep import (
    BORDERLINE,
    HEALTHY,
    OVERFITTING,
    TOO_LARGE,
    TOO_SMALL,
    labelled,
    sweep,
)
from tests.zoo.training import OPTIMIZERS, SCHEDULES, Setup


def test_parts_share_no_data_and_no_architecture():
    for one, other in itertools.combinations(halves.PARTS.values(), 2):
        assert not set(one.data) & set(other.data)
        assert not set(one.architectures) & set(other.architectures)


def test_the_part_held_back_has_all_optimizers_and_some_of_its_own():
    build, report, reserve = (
        set(halves.PARTS[half].optimizers)
        for half in ("build", "report", "reserve")
    )
    assert reserve == set(OPTIMIZERS)
    assert reserve - build - report == {"adamax", "lamb"}


@pytest.mark.parametrize("half", halves.PARTS)
def test_a_part_is_what_was_written_down(half):
    written, tasks = halves.PARTS[half], halves.tasks(half)
    setups = halves.setups(half)
    assert {task.draw.__name__ for task in tasks.values()} == set(written.data)
    assert {task.build.__name__ for task in tasks.values()} == set(
        written.architectures
    )
    assert {setup.task for setup in setups} == set(tasks)
    assert {setup.optimizer for setup in setups} == set(written.optimizers)
    assert {setup.schedule for setup in setups} == {"constant", *SCHEDULES}
    assert {1, None} < {setup.batch_size for setup in setups}
    assert len(set(setups)) == len(setups)


@pytest.mark.parametrize("half", halves.PARTS)
def test_models_take_their_data(half):
    for name, task in halves.tasks(half).items():
        setup = Setup(half, name, "descent", None, "constant", 1, True)
        training = halves.training_of(setup)
        data = training.draw(0)
        counts = [len(keras.tree.flatten(x)[0]) for x in (data.x, data.held[0])]
        assert counts == [task.examples, task.examples // 2]
        model = training.compiled(0.1)
        for x, y in (data[:2], data.held):
            assert math.isfinite(loss_of_all(model, x, y)), name


def test_training_again_gives_the_same_numbers(bench):
    first, other, again = (bench.train(0.03, seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first.loss, again.loss)
    assert first.end == again.end != other.end
    assert first.telemetry.steps[-1] == again.telemetry.steps[-1] == 60


@pytest.mark.mostly_long("constant", "warm-up")
@pytest.mark.parametrize("schedule", ["constant", *SCHEDULES])
def test_a_bench_trains_at_the_rate_asked_for(schedule):
    setup = dataclasses.replace(LINE, schedule=schedule, steps=20)
    bench = Bench(halves.training_of(setup))
    for rate in (0.01, 0.02):
        used = np.asarray(bench.train(rate, 0).telemetry["learning_rate"])
        assert used.max() == pytest.approx(rate, rel=1e-6)
        assert (used.min() < rate / 4) == (schedule != "constant")


def trained(rate, end, loss=None, **history):
    loss = np.linspace(2.0, end, 100) if loss is None else np.asarray(loss)
    return Trained(rate, 0, 2.0, end, {"loss": loss}, history, [], [])


def label(power, run, best=0.0):
    runs = {0: trained(1.0, best), power: run}
    return labelled(runs)[1].label


def test_a_rate_is_judged_by_its_share_of_the_best_gain():
    assert label(-1, trained(0.3, 0.1)) == HEALTHY
    assert label(-2, trained(0.1, 0.5)) == BORDERLINE
    assert label(-3, trained(0.03, 1.5)) == TOO_SMALL
    assert label(2, trained(10.0, 1.5)) == TOO_LARGE
    assert label(2, trained(10.0, math.inf, [2.0] * 50 + [np.nan] * 50)) == (
        TOO_LARGE
    )


def test_a_layer_is_silent_that_puts_out_nothing():
    setup = dataclasses.replace(LINE, task="blobs relu_net")
    bench = Bench(halves.training_of(setup))
    weights = bench.model.get_weights()
    assert not bench.is_silent(trained(0.1, 0.0)._replace(weights=weights))
    weights[1] = weights[1] - 100.0
    assert bench.is_silent(trained(0.1, 0.0)._replace(weights=weights))


def test_a_rate_that_silences_a_layer_has_two_right_names():
    silent = trained(10.0, 1.5)._replace(silent=True)
    runs = {0: trained(1.0, 0.0), 2: silent, 1: trained(10.0, 1.5)}
    _, two, one = (run.accepted for run in labelled(runs))
    assert set(two) - set(one) == {"dead layer"}


def test_an_unsteady_run_is_borderline():
    falling = np.linspace(2.0, 0.0, 100)
    above = np.r_[np.full(20, 3.0), falling[20:]]
    unstable = np.r_[falling[:80], np.zeros(10), np.full(10, 0.5)]
    for loss in (above, unstable):
        assert label(1, trained(3.0, 0.0, loss)) == BORDERLINE


@pytest.mark.parametrize(
    ("held", "expected"),
    [(0.55, HEALTHY), (0.8, BORDERLINE), (1.1, OVERFITTING)],
)
def test_overfitting_is_a_rise_by_a_quarter_of_the_gain(held, expected):
    history = {"val_loss": [1.0, 0.5, held]}
    run = trained(3.0, 0.0, **history)
    assert label(1, run) == expected
    rising = trained(0.3, 1.5, **history)
    assert label(-1, rising) == TOO_SMALL


def test_a_task_that_is_not_learned_has_no_truth():
    assert labelled({0: trained(1.0, 1.5), 1: trained(3.0, 1.9)}) == []
    assert labelled({}) == []


def test_sweep_finds_the_best_rate_of_a_line(bench):
    """From a start that is 1,000 times too small."""
    runs = sweep(bench, 0, 1e-4)
    ends = [run.end for run in runs.values()]
    assert min(ends) == runs[0].end
    assert math.isinf(runs[3].end) or runs[3].end > 1e3
    labels = {run.place: run.label for run in labelled(runs)}
    assert labels["best x 1"] == HEALTHY
    assert labels["best x 0.001"] == TOO_SMALL
    assert labels["best x 32"] == TOO_LARGE


class Endless:
    """Trains ever better with a larger rate."""

    def train(self, rate, seed):
        return trained(rate, -rate)


def test_sweep_without_a_best_rate_is_empty():
    assert sweep(Endless(), 0, 0.1) == {}


def test_runs_that_exist_are_not_made_again(runs):
    path = os.path.dirname(runs[0].folder)

    def fail():
        raise AssertionError

    assert not folder.make(path, LINE, fail)


def test_a_run_being_made_is_left_to_its_process(tmp_path):
    path = str(tmp_path / "line")

    def meanwhile():
        assert not folder.make(path, LINE, list)
        return []

    assert folder.make(path, LINE, meanwhile)


def test_an_interrupted_run_is_made_again(tmp_path):
    path = str(tmp_path / "line")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.make(path, LINE, interrupted)
    assert folder.make(path, LINE, list)


class Unit:
    setup = LINE

    def __init__(self, name, runs):
        self.name, self.runs = name, runs

    def __str__(self):
        return self.name


def test_what_fails_does_not_stop_the_rest(tmp_path, monkeypatch, capsys):
    units = [Unit("first", lambda: 1 / 0), Unit("second", list)]
    monkeypatch.setattr(making, "units", lambda half: units)
    arguments = ["make", "--half", "build", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["zoo", *arguments])
    with pytest.raises(SystemExit, match="Failed:\nfirst"):
        main()
    assert os.path.isdir(tmp_path / "second")
    assert not os.path.isdir(tmp_path / "first")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_model_and_data_of_a_run_are_rebuilt(runs):
    training = halves.training_of(LINE)
    for kept in runs:
        if math.isfinite(kept.recipe.end):
            model, data = kept.rebuilt(training)
            assert loss_of_all(model, data.x, data.y) == kept.recipe.end
            assert model.optimizer.iterations == 60
            rate = float(model.optimizer.learning_rate)
            assert rate == pytest.approx(kept.recipe.rate)


def test_runs_of_known_rates_are_judged(runs):
    outcomes = [judge(kept) for kept in runs]
    wrong = [one for one in outcomes if one.label != BORDERLINE]
    wrong = [one for one in wrong if not one.is_right]
    assert len(wrong) <= 1, wrong


def test_a_run_that_cannot_be_judged_is_named_below_the_table(
    runs, tmp_path, monkeypatch, capsys
):
    for name, kept in zip(("good", "bad"), runs, strict=False):
        shutil.copytree(kept.folder, tmp_path / name)
    os.remove(tmp_path / "bad" / "telemetry.npz")
    monkeypatch.setattr("sys.argv", ["zoo", "score", str(tmp_path)])
    with pytest.raises(SystemExit, match="Failed:\n.*bad"):
        main()
    assert "1 faults, 0 healthy runs, 0 borderline" in capsys.readouterr().out


def test_tables_are_of_all_runs_and_of_some_with_their_model(
    runs, monkeypatch, capsys
):
    how = []

    def judged(kept, with_model=False, follow=False):
        how.append((with_model, follow))
        label, accepted = kept.recipe.label, kept.recipe.accepted
        return Outcome(label, accepted, "converged", False, 0.9)

    monkeypatch.setattr("tests.zoo.__main__.judge", judged)
    path = os.path.dirname(runs[0].folder)
    arguments = ["score", path, "--tables", "--every", "4"]
    monkeypatch.setattr("sys.argv", ["zoo", *arguments])
    main()
    assert len(runs) == 9
    assert how == [(False, False)] * 9 + [(True, True)] * 3
    printed = capsys.readouterr().out
    assert printed.count("| verdict | runs |") == 2
    assert "| `diagnose(telemetry, model, x, y)` |" in printed


def test_the_time_of_a_diagnosis_is_kept(runs):
    start = time.perf_counter()
    assert 0 < judge(runs[0]).seconds < time.perf_counter() - start


def test_a_run_is_judged_with_its_model(runs):
    slow = next(one for one in runs if one.recipe.place == "best x 0.001")
    found = judge(slow, with_model=True, follow=True)
    assert found.is_right
    assert found.followed == "better"


@pytest.mark.long
def test_the_part_that_is_built_on_is_judged(tmp_path):
    """From telemetry alone, which shows some faults in no number."""
    for unit in making.units("build"):
        path = folder.path_in(str(tmp_path), str(unit))
        folder.make(path, unit.setup, unit.runs)
    outcomes = [judge(kept) for kept in folder.runs(str(tmp_path))]
    well = [one for one in outcomes if one.label == HEALTHY]
    sick = [one for one in outcomes if one.is_sick]
    assert len(well) >= 100
    assert len(sick) >= 200
    alarms = [one for one in well if one.is_trouble]
    found = [one for one in sick if one.is_trouble]
    assert len(alarms) <= 0.03 * len(well), alarms
    assert len(found) >= 0.7 * len(sick)  # 0.9 needs the model.
    assert len(found) >= 0.9 * (len(found) + len(alarms))
    assert not any(one.contradicts for one in outcomes)
