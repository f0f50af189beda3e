"""What `python -m gdtrain COMMAND` needs before gdtrain imports TensorFlow."""

import importlib
import os
import tempfile
from collections.abc import Sequence


def given(command: Sequence[str]) -> str | None:
    """The command of gdtrain that a process runs.

    Args:
        command: `sys.orig_argv`.

    Returns:
        `""` if none is given; `None` for a program of a user.

    Example:

    >>> given(["python3", "-m", "gdtrain", "explain", "labels"])
    'explain'
    >>> given(["python3", "train.py", "explain"]) is None
    True
    """
    module = command.index("-m") if "-m" in command else len(command)
    name, *arguments = [*command[module + 1 :], ""][:3]
    return arguments[0] if name == "gdtrain" else None


def load_tensorflow_quietly() -> None:
    """Imports TensorFlow without the lines that version 2.21 logs meanwhile.

    A user of a command cannot act on them. They come in spite of
    `TF_CPP_MIN_LOG_LEVEL` (tensorflow/tensorflow issue 100442); with 0 in it,
    nothing is held back, and if the import fails, all is shown.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
            importlib.import_module("keras")
        except Exception:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
