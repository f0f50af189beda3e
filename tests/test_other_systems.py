"""`import gdtrain` works where Python lacks modules of Unix."""

import subprocess
import sys

CODE = """
import os, signal, sys
import keras  # With its own modules, which have Windows in view

# What Windows lacks and gdtrain may use
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for owner, name in [
    (os, "register_at_fork"), (os, "fork"), (os, "sysconf"),
    (signal, "pthread_sigmask"), (signal, "SIGKILL"),
]:
    delattr(owner, name)

import numpy as np
import gdtrain

model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
model.compile(gdtrain.GradientDescent(0.1), "mse")
table = gdtrain.callbacks.Telemetry()
board = gdtrain.callbacks.TensorBoard("logs")
backup = gdtrain.callbacks.BackupAndRestore("backup")
callbacks = [table, board, backup]
model.fit(np.ones([4, 1]), np.ones([4, 1]), verbose=0, callbacks=callbacks)
print("fine", len(table.steps))
"""


def test_a_model_is_trained_without_what_windows_lacks(tmp_path):
    # A fresh process, in which these modules were not imported yet
    result = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "fine 1\n", result.stderr
