"""A forked process leaves to its parent what the parent has begun."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import keras
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.callbacks.pictures import Profile
from gdtrain.common import forks
from gdtrain.common.signals import Interrupts, StopSignals
from gdtrain.writers import reading
from gdtrain.writers.background import Background
from gdtrain.writers.folder_lock import FolderLock
from gdtrain.writers.tensorboard import TensorBoardWriter
from tests import models

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="This system has no forks."
)
X, Y = models.regression_data(40)


def network(**settings):
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", **settings)
    return model


def fit(model, *callbacks, epochs=3):
    model.fit(X, Y, 10, epochs=epochs, verbose=0, callbacks=[*callbacks])


def forked(do):
    """The number of a process that calls `do()`: 0 is its exit code, or 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of threads
        process = os.fork()
    if process:
        return process
    signal.alarm(300)  # Rather than wait for ever, if it hangs
    code = 1
    try:
        do()
        code = 0
    finally:
        os._exit(code)


def code_of(do):
    """The exit code of a process that calls `do()`."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(do), 0)[1])


def test_forked_process_ends_by_signals_that_its_parent_notes():
    signals = StopSignals()
    signals.begin()
    signals.received = signal.SIGTERM
    try:
        for number in (signal.SIGTERM, signal.SIGINT):

            def child(number=number):
                assert signals.received is None
                signals.end()  # Has nothing to do
                signal.raise_signal(number)

            expected = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 1}
            assert code_of(child) == expected[number]
        assert signal.getsignal(signal.SIGTERM) == signals._note
    finally:
        signals.received = None
        signals.end()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_process_that_a_thread_forks_within_a_block_heeds_ctrl_c():
    codes = []

    def child():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=lambda: codes.append(code_of(child)))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with Interrupts().held_back():
        thread.start()
        thread.join()
    assert codes == [0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


def test_signal_that_comes_as_soon_as_a_process_is_forked_ends_it():
    signals = StopSignals()
    signals.begin()
    try:
        for _ in range(20):
            process = forked(signal.pause)
            os.kill(process, signal.SIGTERM)
            status = os.waitpid(process, 0)[1]
            assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    finally:
        signals.end()


def test_signal_handler_of_the_users_own_stays():
    def own(number, frame):
        pass

    signals = StopSignals()
    signals.begin()
    try:
        signal.signal(signal.SIGTERM, own)
        signals.end()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_jobs_in_a_forked_process_are_dropped_until_close():
    done, gate = [], threading.Event()
    background = Background(flush=lambda: done.append("flush"))
    background.do(gate.wait)
    background.do(done.append, "of the parent")

    def child():
        background.do(done.append, "of the child")
        background.wait()
        background.close()
        assert done == []
        background.do(done.append, "anew")
        background.close()
        assert done == ["anew", "flush"]

    assert code_of(child) == 0
    gate.set()
    background.close()
    assert done == ["of the parent", "flush"]


def test_forked_process_writes_nothing_to_an_event_file_of_its_parent(
    tmp_path,
):
    writer = TensorBoardWriter(tmp_path)
    writer.write([1], ["loss"], [[0.5]])

    def child():
        ctypes.CDLL(None).fflush(None)  # As the end of a process does
        writer.close()
        writer.write([7], ["loss"], [[7.0]])
        writer.close()

    assert code_of(child) == 0
    writer.write([2], ["loss"], [[0.25]])
    writer.close()
    assert len(reading.paths(tmp_path)) == 2
    steps, values = reading.scalars(tmp_path)["loss"]
    assert sorted(zip(steps, values)) == [(1, 0.5), (2, 0.25), (7, 7.0)]


def test_fork_waits_for_what_must_not_be_cut_in_two():
    order, is_held, gate = [], threading.Event(), threading.Event()

    def hold():
        with forks.no_fork:
            is_held.set()
            gate.wait()
            order.append("written")

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    threading.Timer(0.1, gate.set).start()

    def child():
        assert order == ["written"]
        with forks.no_fork:  # Nobody holds it here.
            pass

    assert code_of(child) == 0
    holder.join()


def test_one_owner_that_raises_keeps_none_from_being_told():
    class Owner(forks.ForkAware):
        told = False

        def after_fork_in_child(self):
            self.told = True
            raise ValueError("of an owner")

    owners = Owner(), Owner()
    for owner in owners:
        forks.register(owner)

    def child():
        assert all(owner.told for owner in owners)

    assert code_of(child) == 0
    for owner in owners:
        forks.unregister(owner)


def test_lock_stays_when_a_forked_process_releases_it(tmp_path):
    lock = FolderLock(tmp_path)

    def child():
        lock.release()
        with pytest.raises(RuntimeError, match=f"process {os.getppid()} is"):
            FolderLock(tmp_path)

    assert code_of(child) == 0
    with pytest.raises(RuntimeError, match="this one"):
        FolderLock(tmp_path)
    lock.release()


def test_lock_ends_with_its_process_though_a_child_lives_on(tmp_path):
    end, keep = os.pipe()  # What is read ends when `keep` is closed.

    def parent():
        lock = FolderLock(tmp_path)
        assert lock._file is not None

        def child():
            os.close(keep)
            os.read(end, 1)

        forked(child)

    try:
        assert code_of(parent) == 0
        FolderLock(tmp_path).release()
    finally:
        os.close(keep)
        os.close(end)


def test_profile_is_the_parents(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(tf.profiler.experimental, "start", lambda folder: None)
    monkeypatch.setattr(
        tf.profiler.experimental, "stop", lambda: ended.append(1)
    )
    profile = Profile((1, 2), tmp_path)
    profile.at(0)

    def child():
        profile.stop()
        assert not ended

    assert code_of(child) == 0
    profile.stop()
    assert ended == [1]


def test_compiled_programs_are_refused_in_a_forked_process():
    model = network(jit_compile=False)
    model.evaluate(X, Y, verbose=0)  # TensorFlow has begun.

    def child():
        for run in (
            lambda: fit(model),
            lambda: fit(network(jit_compile=True)),
            lambda: model.evaluate(X, Y, verbose=0),
            lambda: model.predict(X, verbose=0),
            lambda: model.train_on_batch(X, Y),
        ):
            with pytest.raises(RuntimeError, match='"spawn"'):
                run()

    assert code_of(child) == 0


class Child(BaseException):
    """Ends `fit` in a forked process."""


class Fork(keras.callbacks.Callback):
    """Forks as an epoch begins, and calls `child()` there."""

    def __init__(self, child, epoch=1):
        super().__init__()
        self.child, self.epoch = child, epoch
        self.code = None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.code = code_of(self.child)


def test_fit_in_a_forked_process_runs_eagerly(tmp_path):
    model = network(run_eagerly=True)
    names = "loss", "learning_rate"

    def child():
        telemetry = gdtrain.callbacks.Telemetry(names)
        tensorboard = gdtrain.callbacks.TensorBoard(tmp_path / "child", names)
        fit(network(run_eagerly=True), telemetry, tensorboard)
        assert len(telemetry["loss"]) == 12
        assert len(reading.read(tmp_path / "child").steps) == 12

    fork = Fork(child)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path / "parent", names)
    fit(model, tensorboard, fork)
    assert fork.code == 0
    assert len(reading.read(tmp_path / "parent").steps) == 12


def test_forked_process_cannot_go_on_with_the_training(tmp_path):
    class GoesOn(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.process = os.fork()

    goes_on, parent = GoesOn(), os.getpid()
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    backup = gdtrain.callbacks.BackupAndRestore(tmp_path / "b", every_steps=1)
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path / "t", ["loss"])
    code = 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            model = network(run_eagerly=True)
            fit(model, telemetry, backup, tensorboard, goes_on)
    except RuntimeError as error:
        # Unless it is the child, where all has been closed by now
        assert os.getpid() != parent and f"process {parent}" in str(error)
        code = 0
    finally:
        if os.getpid() != parent:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(goes_on.process, 0)[1])
    assert ended == 0
    steps = list(range(1, 13))
    assert telemetry.steps.tolist() == steps
    assert reading.read(tmp_path / "t").steps.tolist() == steps
    fit(network(run_eagerly=True), backup)  # It is finished, and not locked.


PROGRAM = """
    import os, signal, sys, time
    import keras, numpy as np, gdtrain

    class Forks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            child = os.fork() if epoch < 4 else None
            if child == 0:
                signal.alarm(300)  # Rather than wait for ever, if it hangs
                if epoch == 0:
                    sys.exit(0)
                if epoch == 1:
                    raise ValueError("of a child")
                if epoch == 2:
                    os._exit(0)
                while True:  # Until SIGTERM
                    time.sleep(0.01)
            if epoch == 3:
                os.kill(child, signal.SIGTERM)
            if child:
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                print(epoch, code, flush=True)

    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    writer = gdtrain.writers.CSVWriter("steps.csv")
    callbacks = [
        gdtrain.callbacks.TensorBoard("logs", ["loss"]),
        gdtrain.callbacks.StepWriter(writer, ["loss"]),
        gdtrain.callbacks.BackupAndRestore("backup", every_steps=1),
        Forks(),
    ]
    x, y = np.ones([200, 3]), np.ones([200, 1])
    model.fit(x, y, 10, epochs=5, verbose=0, callbacks=callbacks)
"""


def test_children_that_end_in_any_way_take_nothing_from_their_parent(
    tmp_path,
):
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == f"0 0\n1 1\n2 0\n3 -{int(signal.SIGTERM)}\n"
    steps = list(range(1, 101))
    assert reading.read(tmp_path / "logs").steps.tolist() == steps
    lines = (tmp_path / "steps.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", *map(str, steps)]
