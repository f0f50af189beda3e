"""Pictures and profiles of training, for TensorBoard."""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import keras
import tensorflow as tf
from tensorboard.compat.proto.summary_pb2 import Summary

from gdtrain.common import cadence, checks, failures, forks
from gdtrain.writers import summaries


class Picture(Protocol):
    """A picture of what a model does, as those of `gdtrain.plots`."""

    name: str

    def look(self, model: keras.Model) -> Any:
        """What it needs of the model, on the training thread."""

    def draw(self, seen: Any) -> Any:
        """A Matplotlib figure of what `look` gave, on the writing thread."""


Look = tuple[Picture, Any]  # A picture, and what its `look` gave


class Pictures:
    """Draws pictures at steps 1, 2, 5, 10, 20, 50, ... and when asked to.

    One that raises is excluded at that step alone, with one warning.

    Args:
        pictures: The pictures.
    """

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self._pictures = list(pictures)
        self._parts = failures.FailureReporter()
        self._seen_at: int | None = None  # The last step of `look`

    def next_sync(self, step: int) -> int | None:
        """The next step at which they must see the model, or `None`."""
        return cadence.next_of_1_2_5(step) if self._pictures else None

    def is_due(self, first_step: int, last_step: int) -> bool:
        """Whether `look` is due after some steps."""
        return cadence.next_of_1_2_5(first_step - 1) <= last_step

    def look(self, model: keras.Model, step: int) -> list[Look]:
        """What they need of the model, on the training thread.

        Args:
            model: The model.
            step: The number of the step that is done.

        Returns:
            For each picture; empty if this step was looked at before.
        """
        if step == self._seen_at:
            return []
        self._seen_at = step
        looked = []
        for picture in self._pictures:
            with self._alone(picture):
                looked.append((picture, picture.look(model)))
        return looked

    def draw(self, looked: list[Look]) -> list[Summary]:
        """Draws what `look` returned, on the writing thread."""
        drawn = []
        for picture, seen in looked:
            with self._alone(picture):
                name, figure = picture.name, picture.draw(seen)
                drawn.append(summaries.figure(name, figure))
        return drawn

    def _alone(self, picture: Picture) -> AbstractContextManager[None]:
        """Lets a picture fail alone."""
        return self._parts.catch(
            f"The picture {_name(picture)!r} cannot be drawn",
            "It is tried again at later steps; all else is written, and "
            "training continues.",
        )


def _name(picture: Picture) -> str:
    """The name of a picture; of its class if it has none."""
    try:
        return picture.name
    except Exception:  # A property of a user's own may raise anything.
        return type(picture).__name__


_log = logging.getLogger("gdtrain")


class Profile(forks.ForkAware):
    """Profiles from one step to another, for TensorBoard's tab Profile.

    Args:
        steps: `(first, last)`, numbers of steps; one step; 0 for no profile.
        log_dir: Where to write it.

    Raises:
        TypeError, ValueError: if `steps` are no such numbers.
    """

    def __init__(self, steps: int | tuple[int, int], log_dir: str) -> None:
        self._log_dir = log_dir
        self._is_running = False
        self._first, self._last = _two_steps(steps)
        self._is_done = not self._last
        self._parts = failures.FailureReporter()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_is_running": False}

    def next_sync(self, step: int) -> int | None:
        """The next step at whose end `at` must be called, or `None`."""
        if self._is_running:
            return max(self._last, step + 1)
        if not self._is_done and self._first - 1 > step:
            return self._first - 1
        return None

    def at(self, step: int) -> None:
        """Starts or stops the profile, if it is time.

        Args:
            step: The number of the step that is done.
        """
        if self._is_running and step >= self._last:
            self.stop()
        elif not self._is_done and step >= self._first - 1:
            self._is_done = True  # Once is enough.
            if step < self._last:
                self._start()

    def stop(self) -> None:
        """Stops the profile and writes it, if it is running."""
        if self._is_running:
            self._is_running = False
            forks.unregister(self)
            with self._parts.catch("The profile was not written"):
                tf.profiler.experimental.stop()

    def after_fork_in_child(self) -> None:
        """Leaves the profile to the parent."""
        self._is_running = False

    def _start(self) -> None:
        with self._parts.catch("There is no profile"):
            try:
                tf.profiler.experimental.start(self._log_dir)
                self._is_running = True
                forks.register(self)
            except tf.errors.AlreadyExistsError:
                _log.warning("There is no profile: another one is running.")


def _two_steps(steps: int | tuple[int, int]) -> tuple[int, int]:
    """The first step of a profile and the last; both are 0 for none."""
    if isinstance(steps, int) and steps == 0:
        return 0, 0
    if isinstance(steps, int):
        steps = steps, steps
    if not isinstance(steps, (list, tuple)) or len(steps) != 2:
        raise TypeError(
            "`profile_batch` must be (first step, last step), or one step. "
            f"Received: profile_batch={steps!r}."
        )
    first = checks.positive_integer("profile_batch[0]", steps[0])
    last = checks.positive_integer("profile_batch[1]", steps[1])
    if last < first:
        raise ValueError(
            "`profile_batch` must be (first step, last step). Received: "
            f"profile_batch={steps!r}. Write the smaller one first."
        )
    return first, last
