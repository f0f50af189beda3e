"""How the example scripts meet their user: errors, imports, files."""

import argparse
import contextlib
import importlib
import os
import pathlib
import shlex
import sys
import tempfile


class InputError(Exception):
    """What a user gave cannot be used: what was found, and what to do."""


def run(main):
    """Runs `main()` and returns the exit code.

    It is 0; 2 after an `InputError`, which becomes one line on stderr; 130
    after Ctrl-C, as in a shell.
    """
    try:
        main()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return 130
    return 0


def log_lines(log_folder, logs):
    """Where TensorBoard's log is, and how to look at it: two lines.

    Args:
        log_folder: The folder of the run.
        logs: The folder above it, whose runs TensorBoard compares.
    """
    return (
        f"Log: {log_folder}. To see it at "
        "http://localhost:6006/#custom_scalars:\n"
        f"  tensorboard --logdir {shlex.quote(logs)}"
    )


def positive_integer(text):
    """Reads an integer of 1 or more, for argparse."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(
            f"must be a positive integer. Received: {text!r}"
        )
    return int(text)


def import_quietly(name):
    """Imports a module that imports TensorFlow, without its log lines."""
    # `TF_CPP_MIN_LOG_LEVEL` alone does not reach what TensorFlow 2.21 logs
    # on being imported (tensorflow/tensorflow issue 100442).
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        return importlib.import_module(name)
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            return importlib.import_module(name)
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def make_folder(path):
    """Makes a folder if need be; an `InputError` if that is not possible."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {path}: {error.strerror}. Name another."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to the folder {path}. Name another.")
    return pathlib.Path(path)


@contextlib.contextmanager
def complete_file(path):
    """Gives a name to write to, which becomes `path` when that is done."""
    path = pathlib.Path(path)
    # The ending stays, because Matplotlib tells the format from it.
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
