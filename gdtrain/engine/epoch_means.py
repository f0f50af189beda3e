"""Means over an epoch of the scalars that a step returned, or last values."""

import numpy as np


class EpochMeans:
    """Example-weighted means of scalars, for epochs that end anywhere.

        mean = sum over steps (examples * value) / sum (examples)

    in float64. Of columns that are `states`, the value of the last step that
    has examples is given instead.

    Example:

    >>> means = EpochMeans()
    >>> rows = np.array([[4, 1.0], [2, 4.0], [4, 5.0]], "float32")
    >>> means.add(rows, width=1, lengths=[2, 1])  # An epoch, and one begun
    array([[2.]])
    >>> means.so_far()
    array([5.])
    """

    def __init__(self):
        self._sums = None  # Of the epoch that has begun; examples first

    def add(self, rows, width, lengths, states=()):
        """Adds steps.

        Args:
            rows: Of shape `[steps, 1 + width or more]`: the number of examples
                of each step, its scalars, and others.
            width: How many scalars there are.
            lengths: How many of the steps are in each epoch; the last is one
                that has not ended, and may be of length 0.
            states: Indices of those scalars of which the last value counts.

        Returns:
            Means of the epochs that ended, `[epochs, width]`.
        """
        sums = np.zeros([len(lengths), 1 + width])
        lengths = np.asarray(lengths)
        numbers = np.asarray(rows, np.float64)[:, : 1 + width]
        weighted = numbers * numbers[:, :1]
        weighted[:, 0] = numbers[:, 0]
        present = lengths > 0
        starts = (np.cumsum(lengths) - lengths)[present]
        sums[present] = np.add.reduceat(weighted, starts, axis=0)
        if self._sums is not None:
            sums[0] += self._sums
        if states:
            self._keep_last(sums, numbers, lengths, [1 + i for i in states])
        self._sums = sums[-1]
        return _means(sums[:-1])

    def _keep_last(self, sums, numbers, lengths, columns):
        """Makes the last value of some columns the mean that comes out."""
        ends = np.cumsum(lengths)
        for epoch, (count, end) in enumerate(zip(lengths, ends, strict=True)):
            counted = np.flatnonzero(numbers[end - count : end, 0])
            if len(counted):
                last = numbers[end - count + counted[-1], columns]
            elif epoch == 0 and self._sums is not None:
                last = self._sums[columns] / self._sums[0]
            else:
                continue
            sums[epoch, columns] = last * sums[epoch, 0]

    def get_state(self):
        """The sums of the epoch that has begun, or `None`."""
        return self._sums

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self._sums = state

    def so_far(self):
        """Means of the epoch that has begun, `[width]`; starts anew."""
        sums, self._sums = self._sums, None
        return None if sums is None else _means(sums)


def _means(sums):
    with np.errstate(invalid="ignore"):
        return sums[..., 1:] / sums[..., :1]
