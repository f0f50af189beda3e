"""What writers remember, so that a run can be gone on with exactly."""

from gdtrain.common import failures


def state_of(writer):
    """What a writer says of itself, or `None` if it says nothing."""
    return writer.get_state() if hasattr(writer, "get_state") else None


def put_state(writer, state):
    """Makes a writer what said this of itself; drops what came later.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> one, other = MemoryWriter(), MemoryWriter()
    >>> one.write([1], ["loss"], [[0.5]])
    >>> put(other, get(one))
    >>> other["loss"].tolist()
    [0.5]
    """
    if state is not None and hasattr(writer, "set_state"):
        writer.set_state(state)


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
            self._attempt(index, state_of, writer)
            for index, writer in enumerate(self._writers)
        ]

    def set_state(self, state):
        """Passes on to each what it said."""
        for index, writer in enumerate(self._writers):
            self._attempt(index, put_state, writer, state[index])

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
