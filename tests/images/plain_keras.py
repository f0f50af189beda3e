"""Models of photos in a process that has Keras, and cannot import gdtrain."""

import subprocess
import sys

import numpy as np

_SCRIPT = """
import sys
sys.modules["gdtrain"] = None  # Its import fails.
import keras
import numpy as np
data = np.load("x.npz")
model = keras.saving.load_model("model.keras")
found = model.predict(data["photos"], verbose=0)
np.testing.assert_array_equal(found, data["expected"])
assert type(model).__module__.startswith("keras.")
print("all equal")
"""


def assert_predicts_the_same(model, photos, folder):
    """Saves a model in a folder; loaded by plain Keras, it is the same."""
    model.save(folder / "model.keras")
    expected = model.predict(photos, verbose=0)
    np.savez(folder / "x.npz", photos=photos, expected=expected)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("all equal\n"), done.stderr
