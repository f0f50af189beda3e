"""No verdict depends on where the loss is 0, or on units."""

import numpy as np
import pytest

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.diagnose import ranked, verdicts_on
from gdtrain.diagnosis.run import NO_EPOCHS, Epochs
from tests.diagnosis.descents import bowl, noisy
from tests.diagnosis.runs import run_of

PLACES = np.arange(240.0)


def layers(path, count=3, steps=240):
    """Columns of layers whose updates are so long in all, against weights."""
    columns = {}
    for i in range(count):
        columns[f"weight_norm__{i}"] = np.full(steps, 3.0 + i)
        columns[f"update_ratio__{i}"] = np.full(steps, path / steps)
        columns[f"gradient_norm__{i}"] = np.full(steps, 0.5 + i)
    return columns


def steady(loss, path=5.0):
    return {"loss": loss, "learning_rate": np.full(240, 0.1)} | layers(path)


def thrown_up():
    random = np.random.default_rng(0)
    loss = 4 + random.normal(0, 0.3, 240)
    loss[0] = 1.0
    columns = steady(loss, 60.0)
    for i in range(3):
        columns[f"weight_norm__{i}"] = np.linspace(1, 9, 240)
    return columns


#: Trainings by what is to be found, as columns
RUNS = {
    "diverging": bowl([1.0], 2.2, 40, least=1.0),
    "diverging after a fall": steady(
        1 + np.exp(-PLACES / 10) + 1e-4 * 1.06**PLACES
    ),
    "diverging with noise": steady(noisy(1 + 1e-3 * 1.05**PLACES, 0.1, 240)),
    "diverging, then NaN": {
        "loss": [*(1 + 2.5 ** np.arange(9.0)), np.nan, np.nan]
    },
    "overshot": thrown_up(),
    "oscillating": {
        "loss": 2 + 0.5 * (-1.0) ** PLACES,
        "learning_rate": np.full(240, 0.4),
    },
    "too small": steady(2 - 1e-3 * PLACES),
    "too small with noise": steady(noisy(2 - 1e-3 * PLACES, 0.02, 240)),
    "too small by its path": steady(noisy(np.full(240, 1.5), 0.3, 240), 0.2),
    "not learning": steady(noisy(np.full(240, 1.5), 0.3, 240)),
    "decayed": {
        "loss": 1 + 0.98 ** np.minimum(PLACES, 12),
        "learning_rate": np.where(PLACES < 12, 0.1, 1e-6),
    },
    "converging": steady(1 + np.exp(-PLACES / 60)),
    "converging with noise": steady(noisy(1 + np.exp(-PLACES / 60), 0.05, 240)),
    "converged": steady(1 + np.exp(-PLACES / 5)),
    "noise floor": steady(noisy(1 + np.exp(-PLACES / 9), 0.05, 240)),
}
LOSSES = ("loss", "val_loss")


def changed(columns, loss=1.0, offset=0.0, gradient=1.0, weight=1.0, rate=1.0):
    """The columns in other units."""
    factors = {
        "loss": loss,
        "gradient_norm": gradient,
        "weight_norm": weight,
        "learning_rate": rate,
    }
    return {
        name: np.asarray(values) * factors.get(name.partition("__")[0], 1.0)
        + (offset if name == "loss" else 0.0)
        for name, values in columns.items()
    }


def names(columns, epochs=NO_EPOCHS, length=None):
    run = run_of(steps_per_epoch=length, epochs=epochs, **columns)
    return [one.name for one in ranked(verdicts_on(Case(run)))]


@pytest.mark.parametrize("name", RUNS)
def test_where_the_loss_is_zero_changes_no_verdict(name):
    columns = RUNS[name]
    for offset in (-100.0, -20.0, -3.0, -1.0, 5.0, 100.0):
        assert names(changed(columns, offset=offset)) == names(columns), offset


@pytest.mark.parametrize("name", RUNS)
def test_units_change_no_verdict(name):
    columns, usual = RUNS[name], names(RUNS[name])
    for s in (1e-3, 0.03, 30.0, 1e3):
        # The loss; plain descent has a rate the smaller then.
        assert names(changed(columns, loss=s, gradient=s, rate=1 / s)) == usual
        # The loss, where each weight has a rate of its own
        assert names(changed(columns, loss=s, gradient=s)) == usual
        # The targets, of a squared error
        scaled = changed(columns, loss=s**2, gradient=s, weight=s)
        assert names(scaled) == usual
        # The inputs
        scaled = changed(columns, gradient=s, weight=1 / s, rate=s**-2)
        assert names(scaled) == usual


def test_runs_are_what_they_are_called():
    for name in RUNS:
        kind = name.partition(" ")[0].rstrip(",")
        if name != "diverging, then NaN":
            kind = {"too": "too small", "not": "not learning"}.get(kind, kind)
            kind = {"noise": "noise floor"}.get(kind, kind)
        assert kind in names(RUNS[name])[0], name


@pytest.mark.parametrize("offset", [-30.0, -1.0, 30.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_units_change_nothing_in_overfitting_and_the_order_of_data(
    offset, scale
):
    places = np.arange(1, 13)
    losses = scale * np.linspace(2, 1, 12) + offset
    held = scale * (1 + 0.02 * (places - 4.0) ** 2) + offset
    epochs = Epochs(12, places, losses, held)
    columns = {"loss": np.repeat(losses, 20)}
    assert names(columns, epochs, 20) == ["overfitting"]
    course = np.tile(np.tile(2 * np.exp(-np.arange(8.0) / 3), 3), 8)
    columns = {"loss": scale * (course - 1e-3 * np.arange(192)) + offset}
    assert names(columns, length=24)[0] == "data not shuffled"
