"""A user's program is checked by mypy with gdtrain's annotations."""

import pathlib
import re

import pytest
from mypy import api

ROOT = pathlib.Path(__file__).parents[1]
SETTINGS = f"""\
[mypy]
mypy_path = {ROOT}
cache_dir = CACHE
follow_imports = silent
ignore_missing_imports = True
strict = True
warn_unused_ignores = False
disallow_subclassing_any = False
disallow_untyped_decorators = False

[mypy-tensorflow.*]
follow_imports = skip

[mypy-keras.*]
follow_imports = skip
"""
PROGRAM = """\
import gdtrain
import keras
import numpy as np

x = np.linspace(0.0, 2.0, 100)
y = 0.1 * x + 0.5
model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
schedule = gdtrain.schedules.WarmUp(0.1, warmup_steps=10)
model.compile(gdtrain.optimizers.GradientDescent(schedule), loss="mse")
telemetry = gdtrain.callbacks.Telemetry()
model.fit(x, y, epochs=2, verbose=0, callbacks=[telemetry])
diagnosis = gdtrain.diagnose(telemetry)
text: str = str(diagnosis)
"""
WRONG = {
    'gdtrain.schedules.WarmUp(0.1, "3")': "[arg-type]",
    "gdtrain.schedules.OneCycle(1.0)": "[call-arg]",
    "gdtrain.optimizers.GradientDescent(0.1, nesterov=3.5)": "[arg-type]",
    "gdtrain.telemetry.NoSuchQuantity()": "[attr-defined]",
    'gdtrain.Sequential().fit(1, epochs="3")': "[arg-type]",
    "gdtrain.images.read_folder(1)": "[arg-type]",
    "gdtrain.plots.no_such_picture()": "[attr-defined]",
}
TYPES = {
    "gdtrain.diagnose(telemetry).verdict": "Verdict",
    "gdtrain.find_learning_rate(model, x, x).suggestion": "float | None",
    "gdtrain.curvature(model, x, x).stable_learning_rate": "float | None",
    "gdtrain.landscape(model, x, x)": "LossSurface",
    "gdtrain.sweep(lambda: model, x, x, learning_rates=[1])": "SweepResult",
    "gdtrain.from_keras(model)": "Sequential",
    "gdtrain.images.fine_tune(photos, 'MobileNetV3Large')": "PhotoClassifier",
    "gdtrain.images.load('model.keras').class_names": "list[str]",
    "gdtrain.plots.loss(telemetry)": "Figure",
}
RESULTS = """\
import gdtrain
import numpy as np
x = np.ones([4, 1])
model = gdtrain.Sequential()
telemetry = gdtrain.callbacks.Telemetry()
photos = gdtrain.images.read_folder("photos")
"""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Checks a program; `(report, exit status)`. The second check is fast."""
    folder = tmp_path_factory.mktemp("program")
    settings = folder / "mypy.ini"
    settings.write_text(SETTINGS.replace("CACHE", str(folder / "cache")))

    def check(program):
        (folder / "program.py").write_text(program)
        arguments = ["--config-file", str(settings), str(folder / "program.py")]
        report, errors, status = api.run(arguments)
        assert not errors
        return report, status

    return check


def test_program_is_well_typed(check):
    report, status = check(PROGRAM)
    assert status == 0, report


def test_wrong_arguments_are_found(check):
    program = "import gdtrain\n" + "".join(f"{line}\n" for line in WRONG)
    report, status = check(program)
    found = {}
    for line in report.splitlines():
        place, _, message = line.partition(": error: ")
        if message:
            number = int(place.rpartition(":")[2])
            found[list(WRONG)[number - 2]] = message.split()[-1]
    assert found == WRONG, report


def test_results_have_types(check):
    program = RESULTS + "".join(f"reveal_type({line})\n" for line in TYPES)
    report, status = check(program)
    assert status == 0, report
    revealed = re.findall(r'Revealed type is "(.*)"', report)
    names = [re.sub(r"[\w.]+\.", "", name) for name in revealed]
    assert names == list(TYPES.values())
