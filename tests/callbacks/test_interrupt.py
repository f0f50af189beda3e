"""Ctrl-C, from outside, in a process of its own: where it comes is chance."""

import signal
import subprocess
import sys
import textwrap
import time

from tests import waiting
from tests.writers.test_tensorboard import read

PROGRAM = """
    import os, signal, sys
    # A process in the background may have been told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import keras, numpy as np, gdtrain
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    telemetry = gdtrain.callbacks.Telemetry()
    started = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print("epoch", flush=True)
    )
    observers = [telemetry, gdtrain.callbacks.TensorBoard(sys.argv[1])]
    x, y = np.ones([320, 3]), np.ones([320, 1])
    try:
        observers.append(started)
        model.fit(x, y, epochs=10**6, verbose=0, callbacks=observers)
    except KeyboardInterrupt:
        iterations = int(model.optimizer.iterations.numpy())
        print("stopped", len(telemetry.steps), iterations, flush=True)
        model.fit(x, y, verbose=0)
"""


def test_ctrl_c_loses_no_step_and_leaves_a_model_that_trains(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(3):
        assert process.stdout.readline() == "epoch\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=waiting.SECONDS)
    assert process.returncode == 0, errors
    words = output.split()
    kept, iterations = map(int, words[words.index("stopped") + 1 :])
    # The step in which Ctrl-C came may have moved the weights unseen.
    assert kept >= 30 and iterations - kept in (0, 1)
    points = read(tmp_path)["step/loss"]
    assert [step for step, _ in points] == list(range(1, kept + 1))
