"""Several writers as one."""

from gdtrain.writers import failures, states


class SeveralWriters:
    """Passes everything on to each of several writers.

    If one raises, the others still get everything; it is told of once, in a
    warning, and left out from then on.

    Args:
        writers: A list of writers; see `gdtrain.writers`.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> one, two = MemoryWriter(), MemoryWriter()
    >>> writer = SeveralWriters([one, two])
    >>> writer.write([1], ["loss"], [[0.5]])
    >>> one["loss"].tolist(), two["loss"].tolist()
    ([0.5], [0.5])
    """

    def __init__(self, writers):
        self._writers = list(writers)
        self._goes_on = [True for _ in self._writers]  # Which did not raise

    def write(self, steps, names, values, measured=None):
        """Adds steps to each. See `gdtrain.writers`."""
        self._each("write", steps, names, values, measured)

    def flush(self):
        """Flushes each."""
        self._each("flush")

    def close(self):
        """Closes each."""
        self._each("close")

    def get_state(self):
        """What each says of itself; `None` for one that cannot."""
        return [
            self._attempt(index, states.get, writer)
            for index, writer in enumerate(self._writers)
        ]

    def set_state(self, state):
        """Passes on to each what it said."""
        for index, writer in enumerate(self._writers):
            self._attempt(index, states.put, writer, state[index])

    def _each(self, method, *args):
        """Calls a method of each that has not raised."""
        for index, writer in enumerate(self._writers):
            if self._goes_on[index]:
                self._attempt(index, getattr(writer, method), *args)

    def _attempt(self, index, do, *args):
        """Does something with a writer; `None` if that raises."""
        try:
            return do(*args)
        except Exception as error:
            if self._goes_on[index]:
                failures.warn(
                    f"`{type(self._writers[index]).__name__}` is left out "
                    "from here on",
                    error,
                    "The other writers go on, and so does training.",
                )
            self._goes_on[index] = False
            return None
