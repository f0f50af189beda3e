"""The bytes of events that hold scalars, many at a time."""

import functools
import itertools
import struct

import numpy as np

# An `Event` of one scalar, where each `n:` begins field n of a message:
# 1: wall_time, 2: step, 5: Summary(1: Value(1: tag, 2: simple_value))
_TIME, _STEP, _SUMMARY = b"\x09", b"\x10", b"\x2a"
_VALUE, _TAG, _SIMPLE_VALUE = b"\x0a", b"\x0a", b"\x15"
_STEP_SIZE = 10  # Bytes of the longest varint; shorter ones are padded


def serialize(seconds, steps, names, values, measured=None):
    """Makes an event a step, in protobuf's format, without messages.

    All events of the same names have their numbers at the same places, where
    NumPy puts those of many steps at once.

    Args:
        seconds: The time that the events are marked with.
        steps: Int64 `[n]`.
        names: m tags.
        values: Float32 `[n, m]`.
        measured: Bool `[n, m]`, or `None` if all was measured. What was not
            measured is left out, and so is an event that has nothing else.

    Returns:
        A list of bytes; no more than n.

    Example:

    >>> from tensorboard.compat.proto import event_pb2
    >>> data, = serialize(0.0, [7], ["loss"], [[0.5]])
    >>> event = event_pb2.Event.FromString(data)
    >>> event.step, event.summary.value[0].tag
    (7, 'loss')
    """
    steps = np.asarray(steps, np.int64)
    with np.errstate(over="ignore"):  # What is too large is infinite.
        values = np.asarray(values, np.float32)
    if measured is None:
        return _complete(seconds, steps, tuple(names), values)
    patterns, which = np.unique(
        np.asarray(measured, bool), axis=0, return_inverse=True
    )
    events: list = [None] * len(steps)
    for index, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.reshape(-1) == index)
        chosen = tuple(itertools.compress(names, pattern))
        made = _complete(seconds, steps[rows], chosen, values[rows][:, pattern])
        for row, event in zip(rows, made, strict=False):  # None if no names
            events[row] = event
    return [event for event in events if event is not None]


def readable(name):
    """A name as a tag that TensorBoard can read, a string.

    One that is not UTF-8 would end the reading of its file.

    Args:
        name: Anything; a string as a rule.

    Example:

    >>> readable("caf\u00e9"), readable("caf" + chr(0xDCE9)), readable(7)
    ('café', 'caf?', '7')
    """
    return str(name).encode(errors="replace").decode()


def _complete(seconds, steps, names, values):
    """Events in which every name has a value; none if there are no names."""
    if not names:
        return []
    template, places = _template(names)
    rows = np.tile(template, (len(steps), 1))
    rows[:, 1:9] = np.frombuffer(struct.pack("<d", seconds), np.uint8)
    rows[:, 10 : 10 + _STEP_SIZE] = _varints(steps)
    numbers = np.ascontiguousarray(values, "<f4").view(np.uint8)
    rows[:, places] = numbers
    data, size = rows.tobytes(), len(template)
    return [data[at : at + size] for at in range(0, len(data), size)]


@functools.lru_cache(maxsize=64)
def _template(names):
    """An event with zeros for numbers, uint8, and where its values are."""
    ends, body = [], bytearray()
    for name in names:
        tag = readable(name).encode()
        value = _TAG + _varint(len(tag)) + tag + _SIMPLE_VALUE + bytes(4)
        body += _VALUE + _varint(len(value)) + value
        ends.append(len(body))
    head = _TIME + bytes(8) + _STEP + bytes(_STEP_SIZE)
    head += _SUMMARY + _varint(len(body))
    first = len(head) + np.array(ends) - 4
    places = (first[:, None] + np.arange(4)).reshape(-1)
    return np.frombuffer(head + bytes(body), np.uint8), places


def _varint(number):
    """A length as protobuf writes it."""
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def _varints(numbers):
    """Int64 `[n]` as varints of ten bytes each, uint8 `[n, 10]`."""
    shifts = np.arange(0, 7 * _STEP_SIZE, 7, dtype=np.uint64)
    data = (numbers.view(np.uint64)[:, None] >> shifts).astype(np.uint8)
    data[:, :-1] |= 128  # More follows, if only zeros
    return data
