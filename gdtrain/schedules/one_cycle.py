"""One rise and one fall of the learning rate."""

import keras
from keras import ops

from gdtrain.common import checks


@keras.saving.register_keras_serializable(package="gdtrain")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Up in a line, down in a line, then far down: one cycle for a whole run.

        start = peak / 10, last = start / 100
        start -> peak -> start -> last
        (1 - tail) / 2 of the steps each for up and down, tail for the rest

    From step `steps` on the rate stays `last`. Smith lets the momentum go the
    other way meanwhile; here it stays as it is.

    Args:
        peak: The largest rate, a positive number; as large as training
            bears, see `gdtrain.find_learning_rate`.
        steps: Length of the run, a positive integer, in steps: epochs times
            steps of an epoch.
        start: The rate at step 0, a positive number. Defaults to `peak / 10`.
        last: The rate in the end, a positive number. Defaults to
            `start / 100`.
        tail: Share of the steps in which the rate goes from `start` to
            `last`, from 0 to 1. Defaults to 0.1.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> rate = OneCycle(1.0, steps=10, tail=0.2)
    >>> [round(float(rate(step)), 3) for step in (0, 2, 4, 6, 8, 10, 11)]
    [0.1, 0.55, 1.0, 0.55, 0.1, 0.001, 0.001]

    References:
        Smith, A disciplined approach to neural network hyper-parameters,
        2018, arXiv:1803.09820, section 4; Smith and Topin, Super-Convergence,
        2018, arXiv:1708.07120, section 3.
    """

    def __init__(self, peak, steps, *, start=None, last=None, tail=0.1):
        super().__init__()
        remedy = "Write a number such as 0.1."
        self.peak = checks.positive_number("peak", peak, remedy)
        self.steps = checks.positive_integer("steps", steps)
        start = self.peak / 10 if start is None else start
        self.start = checks.positive_number("start", start, remedy)
        last = self.start / 100 if last is None else last
        self.last = checks.positive_number("last", last, remedy)
        if not 0 <= tail < 1:
            raise ValueError(
                "`tail` must be a share of the steps, 0 or more and below 1. "
                f"Received: tail={tail!r}. Write 0.1 for the last tenth."
            )
        self.tail = float(tail)

    def __call__(self, step):
        """The rate at a step, a float32 scalar.

        Args:
            step: Its number, an integer or an integer scalar, from 0.
        """
        done = ops.cast(step, "float32")
        half = self.steps * (1 - self.tail) / 2
        rest = self.steps - 2 * half
        up = ops.clip(done / half, 0.0, 1.0)
        down = ops.clip(done / half - 1.0, 0.0, 1.0)
        # Without a tail, it falls from `start` to `last` at the last step.
        end = ops.clip((done - 2 * half) / max(rest, 1e-6), 0.0, 1.0)
        low = self.start * (1.0 - end) + self.last * end
        return low + (self.peak - self.start) * (up - down)

    def get_config(self):
        """The arguments that make it again, as a dict."""
        return {
            "peak": self.peak,
            "steps": self.steps,
            "start": self.start,
            "last": self.last,
            "tail": self.tail,
        }
