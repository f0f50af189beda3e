"""Verdicts on runs of the zoo in other units, and with another zero."""

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.diagnosis.verdicts import exploding
from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers import reading
from gdtrain.writers.memory import MemoryWriter
from tests.zoo import folder, making

PLAIN = ("descent", "momentum", "nesterov")


def factors(what, optimizer):
    """By what numbers of a quantity are multiplied in other units."""
    what, s = what.split()
    s, is_plain = float(s), optimizer in PLAIN
    if what == "loss":
        rate = 1 / s if is_plain else 1.0
        return {"loss": s, "gradient_norm": s, "learning_rate": rate}
    if what == "targets":  # Of a squared error
        rate = 1.0 if is_plain else s
        return {
            "loss": s**2,
            "gradient_norm": s,
            "weight_norm": s,
            "learning_rate": rate,
        }
    rate = s**-2 if is_plain else 1 / s
    return {"gradient_norm": s, "weight_norm": 1 / s, "learning_rate": rate}


def first_verdict(kept, table, change):
    """The first one, the losses changed by a function."""
    writer = MemoryWriter()
    array = table.array.astype(np.float64)
    place = table.names.index("loss")
    array[:, place] = change(array[:, place])
    mask = np.ones(array.shape, bool) if table.mask is None else table.mask
    writer.write(table.steps, list(table.names), array, mask)
    history = {
        name: [change(value) for value in values]
        if name in ("loss", "val_loss")
        else values
        for name, values in kept.history.items()
    }
    return diagnose(writer, history=history).verdict.name


def in_units(table, by_name):
    """The table with all but the losses multiplied."""
    array = table.array.astype(np.float64)
    for place, name in enumerate(table.names):
        kind = name.partition("/")[0]
        array[:, place] *= 1.0 if kind == "loss" else by_name.get(kind, 1.0)
    return StepTable(table.steps, table.names, array, table.mask)


@pytest.mark.long
def test_units_and_the_zero_of_the_loss_change_no_verdict(tmp_path):
    for unit in making.units("build")[::8]:
        path = folder.path_in(str(tmp_path), str(unit))
        folder.make(path, unit.setup, unit.runs)
    changed, count = [], 0
    for kept in folder.runs(str(tmp_path)):
        table = reading.open_source(kept.telemetry).table
        usual = first_verdict(kept, table, lambda loss: loss)
        far = 10 * abs(float(table["loss"][0]))
        for offset in (-far, far):
            found = first_verdict(kept, table, lambda loss, c=offset: loss + c)
            count += 1
            if found != usual:
                changed.append((kept.folder, offset, usual, found))
        for what in ("loss", "targets", "inputs"):
            for s in (0.03, 30.0):
                by_name = factors(f"{what} {s}", kept.recipe.setup.optimizer)
                other = in_units(table, by_name)
                scale = by_name.get("loss", 1.0)
                found = first_verdict(
                    kept, other, lambda loss, c=scale: loss * c
                )
                count += 1
                # How long gradients are against weights has a unit.
                if found != usual and exploding.NAME not in (found, usual):
                    changed.append((kept.folder, what, s, usual, found))
    assert count >= 8 * 20
    # Sums of float32 are rounded, and thresholds are sharp.
    assert len(changed) <= 0.005 * count, changed
