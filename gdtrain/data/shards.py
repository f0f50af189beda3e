"""Shards of examples: files that are read from any of their examples on."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.data import plans
from gdtrain.data.protocols import Structure

_HEADER, _FOOTER = 12, 4  # Bytes of a record around its data
# What says, in a message of TensorFlow's, where an operation stands
_PLACES = re.compile(
    r"Error in user-defined function passed to \S+ transformation with "
    r"iterator: \S+: |Graph execution error:|Detected at node .*|\s*File .*|"
    r"<stack traces unavailable>|\s*\[\[.*"
)
_COMPRESSED = b"\x1f\x8b", b"\x78\x9c"  # Of GZIP and ZLIB; or of a length


class Shard(Protocol):
    """A part of the examples, such as a file.

    Attributes:
        name: What errors call it.

    Example:

    >>> class Squares(Shard):
    ...     name = "squares"
    ...     def __len__(self):
    ...         return 10
    ...     def read(self, begin, end):
    ...         return np.arange(begin, end) ** 2
    >>> Squares().read(2, 5)
    array([ 4,  9, 16])
    """

    name: str

    def __len__(self) -> int:
        """How many examples it has."""

    def read(self, begin: int, end: int) -> Structure:
        """Examples as a structure of arrays, whose first axis counts them.

        May be called on several threads.
        """


class ShardError(ValueError):
    """Why a shard cannot be read; names it and the record.

    Example:

    >>> ArrayShard((np.zeros(6), np.zeros(5)))
    Traceback (most recent call last):
        ...
    gdtrain.data.shards.ShardError: All arrays of an ArrayShard must have as
    many examples. Received: [5, 6].
    """


class ArrayShard(Shard):
    """A shard of arrays, or of `.npy` files, which stay on disk.

    Args:
        arrays: A structure of arrays, or of paths of `.npy` files.
        name: What errors call it. Defaults to the first path.

    Example:

    >>> shard = ArrayShard((np.arange(6.0), np.arange(6) % 2))
    >>> len(shard), shard.read(2, 4)
    (6, (array([2., 3.]), array([0, 1])))
    """

    def __init__(self, arrays: Structure, name: str | None = None) -> None:
        given = plans.leaves(arrays)
        paths = [
            str(one) for one in given if isinstance(one, str | os.PathLike)
        ]
        self.name = name or (paths[0] if paths else "an ArrayShard")
        opened = [
            np.load(one, mmap_mode="r")
            if isinstance(one, str | os.PathLike)
            else one
            for one in given
        ]
        lengths = {len(array) for array in opened}
        if len(lengths) != 1:
            raise ShardError(
                f"All arrays of {self.name} must have as many examples. "
                f"Received: {sorted(lengths)}."
            )
        self._arrays = arrays
        self._opened = opened

    def __len__(self) -> int:
        return len(self._opened[0])

    def read(self, begin: int, end: int) -> Structure:
        return plans.pack(self._arrays, [a[begin:end] for a in self._opened])


class TFRecordShards(Sequence[Shard]):
    """The shards that some TFRecord files are.

    Where the records of a file begin is found once, by reading their lengths
    only, and kept in memory.

    Args:
        paths: Of the files, which are not compressed.
        parse: Makes an example of a record, a string tensor, as in
            `tf.data.Dataset.map`: a structure of tensors, `(x, y)` for
            example. Random changes belong into layers of the model, as those
            in it are others when a run is resumed.
        batched: Whether `parse` takes a vector of records, as
            `tf.io.parse_example` does, which takes less time.

    Raises:
        ShardError: if a file is missing, compressed, or damaged.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/numbers"
    >>> with tf.io.TFRecordWriter(path) as writer:
    ...     for number in range(5):
    ...         writer.write(str(number).encode())
    >>> shards = TFRecordShards([path], tf.strings.to_number)
    >>> len(shards[0]), shards[0].read(1, 4)
    (5, array([1., 2., 3.], dtype=float32))
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike],
        parse: Callable[[tf.Tensor], Structure],
        batched: bool = False,
    ) -> None:
        @tf.function(autograph=False)
        def read(path: tf.Tensor, offset: tf.Tensor, count: tf.Tensor) -> Any:
            records = tf.data.experimental.from_variant(
                tf.raw_ops.TFRecordDatasetV2(
                    filenames=path[tf.newaxis],
                    compression_type="",
                    buffer_size=tf.constant(2**18, tf.int64),
                    byte_offsets=offset[tf.newaxis],
                ),
                tf.TensorSpec([], tf.string),
            ).take(count)
            if batched:
                examples = records.batch(count).map(parse)
            else:
                examples = records.map(parse).batch(count)
            return tf.data.experimental.get_single_element(examples)

        self._shards = [_TFRecordShard(os.fspath(p), read) for p in paths]

    def __getitem__(self, index: Any) -> Any:
        return self._shards[index]

    def __len__(self) -> int:
        return len(self._shards)


class _TFRecordShard(Shard):
    """One file of `TFRecordShards`, whose `read` it gets."""

    def __init__(self, path: str, read: Callable[..., Any]) -> None:
        self.name = path
        self._read = read
        self._offsets = np.fromiter(_offsets(path), np.int64)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, begin: int, end: int) -> Structure:
        try:
            return self._examples(begin, end)
        except tf.errors.NotFoundError as error:
            raise ShardError(
                f"{self.name!r} is gone since training began."
            ) from error
        except tf.errors.OpError as error:
            record = next(
                (r for r in range(begin, end) if self._fails(r)), begin
            )
            place = f"Record {record} of {self.name!r}, at byte "
            place += f"{self._offsets[record]},"
            why = _PLACES.sub("", error.message).strip().partition("\n")[0]
            if isinstance(error, tf.errors.DataLossError):
                raise ShardError(
                    f"{place} must be as it was written. Received: {why}. The "
                    "file is damaged or was changed since training began: "
                    "write it again, or leave it out." + more("record-files")
                ) from error
            raise ShardError(
                f"{place} must be one that `parse` can use. Received: {why}. "
                "Change `parse`, or write the file again."
                + more("record-files")
            ) from error

    def _examples(self, begin: int, end: int) -> Structure:
        found = self._read(
            tf.constant(self.name),
            tf.constant(self._offsets[begin]),
            tf.constant(end - begin, tf.int64),
        )
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), found)

    def _fails(self, record: int) -> bool:
        try:
            self._examples(record, record + 1)
        except tf.errors.OpError:
            return True
        return False


def _is_damaged(path: str) -> bool:
    """Whether TensorFlow cannot read the first record of a file as it is."""
    try:
        next(iter(tf.data.TFRecordDataset(path)))
    except tf.errors.DataLossError:
        return True
    return False


def _offsets(path: str) -> Iterator[int]:
    """Where each record begins, then where the last one ends."""
    try:
        size = tf.io.gfile.stat(path).length
        is_remote = "://" in path
        file = tf.io.gfile.GFile(path, "rb") if is_remote else open(path, "rb")
    except (OSError, tf.errors.OpError) as error:
        raise ShardError(
            f"{path!r} cannot be opened: {error}" + more("record-files")
        ) from error
    with file:
        offset = number = 0
        while offset < size:
            yield offset
            file.seek(offset)
            header = file.read(_HEADER)
            if offset == 0 and header[:2] in _COMPRESSED and _is_damaged(path):
                raise ShardError(
                    f"{path!r} must not be compressed, to be read from any "
                    "record on. Decompress it; or pass a "
                    "`tf.data.TFRecordDataset` of this worker's files in "
                    "`gdtrain.data.WorkerData`." + more("record-files")
                )
            length = int.from_bytes(header[:8], "little")
            end = offset + _HEADER + length + _FOOTER
            if len(header) < _HEADER or end > size:
                raise ShardError(
                    f"{path!r} is damaged or incomplete: record {number} "
                    f"begins at byte {offset} and should end at byte {end}, "
                    f"but the file has {size} bytes." + more("record-files")
                )
            offset, number = end, number + 1
        yield offset
