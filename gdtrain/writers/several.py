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
        """What each says of itself."""
        return [states.get(writer) for writer in self._writers]

    def set_state(self, state):
        """Passes on to each what it said."""
        for writer, one in zip(self._writers, state, strict=False):
            states.put(writer, one)

    def _each(self, method, *args):
        """Calls a method of each, and keeps those that did not raise."""
        kept = []
        for writer in self._writers:
            try:
                getattr(writer, method)(*args)
            except Exception as error:
                failures.warn(
                    f"`{type(writer).__name__}` is left out from here on",
                    error,
                    "The other writers go on, and so does training.",
                )
            else:
                kept.append(writer)
        self._writers = kept
