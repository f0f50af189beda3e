"""States to save, ways to damage a checkpoint, and ways to be stopped."""

import builtins
import contextlib
import os

import numpy as np

STAGES = ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync", "open")


def state(number):
    """A small state that tells of which step it is."""
    return {"step": number, "weights": [np.full(3, number, np.float32)]}


def files_of(folder):
    """The names of all files in a checkpoint."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


class Killed(BaseException):
    """The process would be gone here."""


@contextlib.contextmanager
def stop(monkeypatch, at, error, forever):
    """Raises at the `at`-th call to the disk, and at all later ones too if
    it is forever, as after the end of a process nothing is done any more.

    Yields a list of the calls."""
    calls: list[str] = []

    def stopping(name, function):
        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == at or (forever and len(calls) > at):
                raise error
            # Waiting for the disk would take most of a test's time.
            return None if name == "fsync" else function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in STAGES:
            patch.setattr(os, name, stopping(name, getattr(os, name)))
        patch.setattr(builtins, "open", stopping("open file", open))
        yield calls
