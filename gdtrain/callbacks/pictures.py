"""Pictures and profiles of training, for TensorBoard."""

import io
import logging

import tensorflow as tf

from gdtrain.common import checks, failures, forks
from gdtrain.common.cadence import OneTwoFive
from gdtrain.writers import summaries


class Pictures:
    """Draws pictures at steps 1, 2, 5, 10, 20, 50, ... and wherever asked.

    One that raises is left out at that step alone, and told of once.

    Args:
        pictures: A list of objects with a `name`, `look(model)`, which is
            called on the training thread, and `draw(seen)`, which is given
            what that returned, on the writing thread, and returns a
            Matplotlib figure.
    """

    def __init__(self, pictures):
        self._pictures = list(pictures)
        self._cadence = OneTwoFive()
        self._parts = failures.FailureReporter()
        self._seen_at = None  # The last step at which they looked

    def next_sync(self, step):
        """The next step at which they must see the model, or `None`."""
        return self._cadence.next(step) if self._pictures else None

    def is_due(self, first_step, last_step):
        """Whether they must look after some steps."""
        return self._cadence.next(first_step - 1) <= last_step

    def look(self, model, step):
        """What they see, on the training thread.

        Args:
            model: The model.
            step: The number of the step that is done.

        Returns:
            A list of `(picture, seen)`; empty if they looked at this step.
        """
        if step == self._seen_at:
            return []
        self._seen_at = step
        looked = []
        for picture in self._pictures:
            with self._alone(picture):
                looked.append((picture, picture.look(model)))
        return looked

    def draw(self, looked):
        """Draws what was seen, on the writing thread.

        Args:
            looked: What `look` returned.

        Returns:
            A list of `Summary`.
        """
        drawn = []
        for picture, seen in looked:
            with self._alone(picture):
                drawn.append(_image(picture.name, picture.draw(seen)))
        return drawn

    def _alone(self, picture):
        """Lets a picture fail alone."""
        return self._parts.catch(
            f"The picture {_name(picture)!r} cannot be drawn",
            "It is tried again at later steps; all else is written, and "
            "training goes on.",
        )


def _name(picture):
    """The name of a picture; of its class if it has none."""
    try:
        return picture.name
    except Exception:  # A property of a user's own may raise anything.
        return type(picture).__name__


def _image(name, figure):
    """A Matplotlib figure as a `Summary`."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=figure.dpi)
    width, height = (int(n) for n in figure.bbox.size)
    return summaries.image(name, [png.getvalue()], width, height)


_log = logging.getLogger("gdtrain")


class Profile(forks.ForkAware):
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
        self._parts = failures.FailureReporter()
        if steps is not None:
            first, last = _two_steps(steps)
            self._first = checks.positive_integer("profile[0]", first)
            self._last = checks.positive_integer("profile[1]", last)
            if last < first:
                raise ValueError(
                    "`profile` must be (first step, last step). Received: "
                    f"profile={steps!r}. Write the smaller one first."
                )

    def __getstate__(self):
        return {**vars(self), "_is_running": False}

    def next_sync(self, step):
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
            with self._parts.catch("The profile was not written"):
                tf.profiler.experimental.stop()

    def after_fork_in_child(self) -> None:
        """Leaves the profile to the parent."""
        self._is_running = False

    def _start(self):
        with self._parts.catch("There is no profile"):
            try:
                tf.profiler.experimental.start(self._log_dir)
                self._is_running = True
                forks.register(self)
            except tf.errors.AlreadyExistsError:
                _log.warning("There is no profile: another one is running.")


def _two_steps(steps):
    """The argument as two values."""
    if not isinstance(steps, (list, tuple)) or len(steps) != 2:
        raise TypeError(
            "`profile` must be (first step, last step). Received: "
            f"profile={steps!r}. For a single step, write it twice."
        )
    return steps
