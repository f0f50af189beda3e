"""The limit that a rise exceeded: of one layer, and of several."""

import numpy as np
import pytest

from gdtrain.diagnosis.limits import (
    growth,
    limit_of_rise,
    limit_of_step,
    long_first_update,
)
from tests.diagnosis.descents import bowl
from tests.diagnosis.runs import run_of


def found_in(rate, **columns):
    run = run_of(**columns)
    return limit_of_rise(run, rate, growth(run.loss, run.loss_steps))


def test_growth_over_several_steps_gives_the_limit():
    found = found_in(0.5, **bowl([12.5, 1.0], 0.5, 20))
    assert found.value == pytest.approx(0.16)
    assert found.source == "from the growth of the loss"


def test_one_step_gives_about_the_limit():
    columns = {k: v[:2] for k, v in bowl([12.5, 1.0], 0.5, 20).items()}
    found = found_in(0.5, **columns)
    assert found.source == "about, from step 1"
    assert 0.16 <= found.value < 0.2


def product(rate, steps):
    """Descent in `(v * w) ** 2 / 2` from 1: as two layers make it."""
    v = w = np.float64(1.0)
    rows = []
    for _ in range(steps):
        loss, slope = (v * w) ** 2 / 2, np.array([v * w * w, w * v * v])
        before = np.abs([v, w])
        v, w = v - rate * slope[0], w - rate * slope[1]
        ratios, norm = rate * np.abs(slope) / before, np.linalg.norm(slope)
        rows.append((loss, norm, *np.abs(slope), *ratios, v, w))
    loss, norm, *layers = np.abs(np.array(rows)).T
    names = [
        f"{quantity}/{layer}"
        for quantity in ("gradient_norm", "update_ratio", "weight_norm")
        for layer in ("first", "second")
    ]
    columns = dict(zip(names, layers, strict=True))
    rates = np.full(steps, rate)
    return columns | {
        "loss": loss, "gradient_norm": norm, "learning_rate": rates,
    }  # fmt: skip


def test_several_layers_are_judged_while_they_are_near_their_weights():
    # At 1, 1 the largest eigenvalue is 3, and the limit 2 / 3.
    columns = product(1e6, 2)
    assert columns["loss"][1] > 1e22
    found = found_in(1e6, **columns)
    assert found.source == "at most, from step 1"
    assert 2 / 3 <= found.value < 2
    # Of one layer, the same losses would be those of a far sharper one.
    norm = columns["gradient_norm"]
    one = found_in(
        1e6,
        loss=columns["loss"],
        learning_rate=columns["learning_rate"],
        gradient_norm=norm,
        gradient_norm__all=norm,
        weight_norm__all=1e6 * norm,
        update_ratio__all=np.array([1e6, norm[1] / norm[0]]),
    )
    assert one.value < 1e-4


def test_updates_of_another_kind_give_no_limit():
    columns = bowl([12.5], 0.5, 20)
    columns["update_ratio__bowl"] = np.full(20, 1e-3)
    assert found_in(0.5, **columns) is None


def test_first_update_that_is_longer_than_the_weights_is_found():
    columns = bowl([1.0], 0.1, 20)
    assert long_first_update(run_of(**columns)) is None
    columns["update_ratio__bowl"][0] = 50.0
    assert long_first_update(run_of(**columns)) == ("bowl", 50.0)
    later = np.arange(100, 120)
    assert long_first_update(run_of(later, **columns)) is None


def test_one_step_of_a_loss_below_0_tells_no_growth():
    assert limit_of_step(1.0, -3.0, 5.0, None) is None
    # 4 * w ** 2 / 2 - 11 at w = 2, whose step of 1 ends at w = -6
    assert limit_of_step(1.0, -3.0, 61.0, 8.0) == pytest.approx(0.5)
