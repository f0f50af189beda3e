"""TensorFlow's profile of given steps."""

import logging

import tensorflow as tf

from gdtrain import checks, forks
from gdtrain.writers import failures

_log = logging.getLogger("gdtrain")


class Profile:
    """Profiles from one step to another, for TensorBoard's tab Profile.

    Args:
        steps: `(first, last)`, numbers of steps; `None` for no profile.
        log_dir: Where to write it.

    Raises:
        TypeError, ValueError: if `steps` are no such numbers.
    """

    def __init__(self, steps, log_dir):
        self._log_dir = log_dir
        self._is_running = False
        self._first = self._last = None
        self._parts = failures.Parts()
        if steps is not None:
            first, last = _two(steps)
            self._first = checks.positive_integer("profile[0]", first)
            self._last = checks.positive_integer("profile[1]", last)
            if last < first:
                raise ValueError(
                    "`profile` must be (first step, last step). Received: "
                    f"profile={steps!r}. Write the smaller one first."
                )

    def __getstate__(self):
        return {**vars(self), "_is_running": False}

    def next_look(self, step):
        """The next step at whose end `at` must be called, or `None`."""
        if self._is_running:
            return max(self._last, step + 1)
        if self._first is not None and self._first - 1 > step:
            return self._first - 1
        return None

    def at(self, step):
        """Begins or ends the profile, if it is time.

        Args:
            step: The number of the step that is done.
        """
        if self._is_running and step >= self._last:
            self.stop()
        elif self._first is not None and step >= self._first - 1:
            if step < self._last:
                self._start()
            self._first = None  # Once is enough.

    def stop(self):
        """Ends the profile and writes it, if it is running."""
        if self._is_running:
            self._is_running = False
            forks.unregister(self)
            with self._parts.alone("The profile was not written"):
                tf.profiler.experimental.stop()

    def after_fork_in_child(self) -> None:
        """Leaves the profile to the parent."""
        self._is_running = False

    def _start(self):
        with self._parts.alone("There is no profile"):
            try:
                tf.profiler.experimental.start(self._log_dir)
                self._is_running = True
                forks.register(self)
            except tf.errors.AlreadyExistsError:
                _log.warning("There is no profile: another one is running.")


def _two(steps):
    """The argument as two values."""
    if not isinstance(steps, (list, tuple)) or len(steps) != 2:
        raise TypeError(
            "`profile` must be (first step, last step). Received: "
            f"profile={steps!r}. For a single step, write it twice."
        )
    return steps
