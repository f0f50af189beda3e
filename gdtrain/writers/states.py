"""What writers remember, so that a run can be gone on with exactly."""


def get(writer):
    """What a writer says of itself, or `None` if it says nothing."""
    return writer.get_state() if hasattr(writer, "get_state") else None


def put(writer, state):
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
