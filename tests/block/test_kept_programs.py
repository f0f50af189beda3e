"""TensorFlow keeps what XLA has compiled, for the next process."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TRAINING = """
import json
import keras, numpy as np
import gdtrain

keras.utils.set_random_seed(1)
model = gdtrain.Sequential([keras.Input([4]), keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"], jit_compile=True)
x = np.ones([10, 4], "float32")
history = model.fit(
    x, x[:, :1], batch_size=4, epochs=2, verbose=0,
    callbacks=[gdtrain.callbacks.Telemetry()],
)
print(json.dumps(history.history["loss"]))
"""


def losses_of_a_new_process(folder: pathlib.Path) -> list[float]:
    flags = f"--tf_xla_persistent_cache_directory={folder}"
    done = subprocess.run(
        [sys.executable, "-c", TRAINING],
        env=os.environ | {"TF_XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def kept(folder: pathlib.Path) -> dict[str, int]:
    """When each program was written, by its file."""
    return {one.name: one.stat().st_mtime_ns for one in folder.iterdir()}


@pytest.mark.long
def test_a_second_process_compiles_nothing_again(tmp_path):
    losses = losses_of_a_new_process(tmp_path)
    programs = kept(tmp_path)
    assert len(programs) == 1
    # What it had to compile, it would write.
    assert losses_of_a_new_process(tmp_path) == losses
    assert kept(tmp_path) == programs
