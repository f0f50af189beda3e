"""Sums over a batch whose bits do not depend on the number of replicas.

Float addition is not associative, so that the last bits of a mean over
replicas depend on how many there are. Here a batch has a fixed number k of
parts, one for each *virtual worker*: of B examples, part v has those from
`B * v // k` up to `B * (v + 1) // k`. Each of n replicas computes k / n parts
in turn. What they found is gathered, and added part by part in one order.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.descent import gradients, replicas, settings
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import layers


class VirtualWorkers:
    """The virtual workers of this replica, in one step.

    Args:
        count: How many there are in all, k; a multiple of the replicas.
        batch: This replica's part of a batch, a structure of tensors.

    Attributes:
        count: How many there are in all.
        first: The number of the first one of this replica.
        parts: Their parts of the batch, a list of `(part, share)`, where the
            share is that of this replica's examples.
        shares: Their shares of the whole batch.
    """

    def __init__(self, count: int, batch: Any) -> None:
        self.count = count
        own = count // replicas.count()
        self.first = own * replicas.index()
        examples = gradients.examples_in(batch)
        whole, before = _whole_batch(examples)
        numbers = range(self.first, self.first + own + 1)
        bounds = [whole * number // count - before for number in numbers]
        if replicas.count() > 1 and not isinstance(whole, int):
            bounds = _checked(bounds, examples, count)
        pairs = list(zip(bounds, bounds[1:], strict=False))
        self.parts = [
            (
                keras.tree.map_structure(
                    lambda t, a=a, b=b: gradients.rows(t, a, b), batch
                ),
                _share(b - a, examples),
            )
            for a, b in pairs
        ]
        self.shares = [_share(b - a, whole) for a, b in pairs]
        self._found: list[list[tf.Tensor | None]] = []

    @property
    def latest(self) -> list[tf.Tensor]:
        """What was added last, tensors."""
        return [t for t in (self._found or [[]])[-1] if t is not None]

    def add(self, tensors: Sequence[Any]) -> None:
        """Adds means over the next part.

        Args:
            tensors: Float tensors or indexed slices; `None` stays.
        """
        share = self.shares[len(self._found)]
        self._found.append(weighted(tensors, share))

    def mean(self) -> list[tf.Tensor | None]:
        """The means over the batch, equal on all replicas."""
        return ordered_sums(self._found)


def of(model: keras.Model, batch: Any) -> VirtualWorkers | None:
    """The virtual workers of a model's step; `None` if it has none."""
    count = settings.of(model).reproducible_workers
    return None if count is None else VirtualWorkers(count, batch)


def check(
    count: int,
    microbatches: int,
    jit_compile: Any,
    strategy: tf.distribute.Strategy,
) -> None:
    """Refuses what virtual workers cannot be combined with.

    Args:
        count: How many there are.
        microbatches, jit_compile: As in `compile`.
        strategy: That of the model.

    Raises:
        ValueError: if they cannot.
    """
    number = strategy.num_replicas_in_sync
    if count % number:
        raise ValueError(
            "`reproducible_workers` must be a multiple of the number of "
            f"replicas. Received: reproducible_workers={count} with {number} "
            "replicas. Choose a number that 1, 2 and as many replicas as you "
            "ever want divide." + more("reproducible-workers")
        )
    if microbatches > 1:
        raise ValueError(
            "`reproducible_workers` splits a batch already: a replica runs its "
            f"parts in turn. Received: microbatches={microbatches} as well. "
            "Leave out `microbatches`, and choose `reproducible_workers` so "
            "large that a part fits the memory." + more("reproducible-workers")
        )
    if jit_compile is True:
        raise ValueError(
            "`reproducible_workers` needs a graph: XLA rounds a program by "
            "what else is in it. Received: jit_compile=True. Leave it out."
            + more("reproducible-workers")
        )


def are_used(model: keras.Model) -> bool:
    """Whether a model's steps have virtual workers.

    Raises:
        ValueError: if they are to have them, and cannot.
    """
    chosen = settings.of(model)
    if chosen.reproducible_workers is None:
        return False
    check(
        chosen.reproducible_workers,
        chosen.microbatches,
        chosen.jit_compile,
        model.distribute_strategy,
    )
    stateful = [
        layer.path or layer.name
        for layer in layers.all_layers(model)
        if getattr(layer, "stateful", False)  # Of recurrent layers alone
    ]
    if stateful:
        raise ValueError(
            "`reproducible_workers` needs layers that keep nothing of a batch "
            f"for the next. Received: stateful layers {stateful}. Make them "
            "with stateful=False, or leave out `reproducible_workers`."
            + more("reproducible-workers")
        )
    return True


def threads() -> int:
    """How many threads an operation may use in this process."""
    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    if chosen:
        return int(chosen)
    if hasattr(os, "sched_getaffinity"):  # On Linux alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(model: keras.Model) -> None:
    """Refuses processes whose operations may add in different orders.

    Raises:
        ValueError: if a model has virtual workers, and its processes do not
            have equal numbers of threads.
    """
    if settings.of(model).reproducible_workers is None:
        return
    workers = Workers(model.distribute_strategy)
    each = workers.numbers(threads())
    if len(set(each)) > 1:
        found = dict(zip(workers.names, each, strict=True))
        raise ValueError(
            "With `reproducible_workers`, an operation must have as many "
            "threads on all workers, as it adds in an order that depends on "
            f"their number. Received: {found}. Set one number for all, as by "
            "`gdtrain.distributed.strategy(threads=2)`."
            + more("reproducible-workers")
        )


def weighted(tensors: Sequence[Any], share: Any) -> list[tf.Tensor | None]:
    """`share * tensor` of each. A share of 0 gives 0, even of NaN."""
    return gradients.add_share(None, tensors, share)


def ordered_sums(
    parts: Sequence[Sequence[tf.Tensor | None]],
) -> list[tf.Tensor | None]:
    """Sums over all virtual workers, in the order of their numbers.

    Args:
        parts: For each virtual worker of this replica the same number of
            tensors, each of the same shape for all; `None` stays `None`.

    Returns:
        A tensor for each, equal on all replicas.

    Example:

    >>> ordered_sums([[tf.constant(1.0), None], [tf.constant(2.0), None]])
    [<tf.Tensor: shape=(), dtype=float32, numpy=3.0>, None]
    """
    found = list(parts[0])
    kinds = dict.fromkeys(t.dtype for t in found if t is not None)
    for kind in kinds:
        places = [
            place
            for place, tensor in enumerate(found)
            if tensor is not None and tensor.dtype == kind
        ]
        rows = tf.stack(
            [
                tf.concat([tf.reshape(part[p], [-1]) for p in places], 0)
                for part in parts
            ]
        )
        total = _added(replicas.gathered(rows))
        sizes = [tf.size(found[place]) for place in places]
        for place, some in zip(places, tf.split(total, sizes), strict=True):
            like: Any = found[place]
            some = tf.reshape(some, tf.shape(like))
            found[place] = tf.ensure_shape(some, like.shape)
    return found


def _added(rows: tf.Tensor) -> tf.Tensor:
    """The sum of rows, one after the other: a loop, as TensorFlow may add a
    sum of several tensors in another order, and the rows of a matrix in parts.
    """
    count = tf.shape(rows)[0]
    return tf.while_loop(
        lambda number, _: number < count,
        lambda number, total: (number + 1, total + rows[number]),
        (0, tf.zeros_like(rows[0])),
    )[1]


def _whole_batch(examples: int | tf.Tensor) -> tuple[Any, Any]:
    """Examples of the whole batch, and of the replicas before this one."""
    count, index = replicas.count(), replicas.index()
    # A number that is known while tracing is that of all replicas.
    known = isinstance(examples, int) and not tf.executing_eagerly()
    if count == 1 or known:
        return examples * count, examples * index
    each = replicas.gathered(tf.convert_to_tensor([examples]))
    return tf.reduce_sum(each), tf.reduce_sum(each[:index])


def _checked(bounds: list[Any], examples: Any, count: int) -> list[Any]:
    """The bounds, which must begin and end with this replica's examples."""
    check = tf.debugging.Assert(
        (bounds[0] == 0) & (bounds[-1] == examples),
        # `gdtrain.mistakes.errors` explains it.
        [
            f"reproducible_workers={count}",
            bounds[-1] - bounds[0],
            examples,
        ],
    )
    with tf.control_dependencies([] if check is None else [check]):
        return [tf.identity(bound) for bound in bounds]


def _share(part: Any, examples: Any) -> Any:
    """A part's share of the examples; 0 of none."""
    if isinstance(part, int) and isinstance(examples, int):
        return part / max(examples, 1)
    return tf.math.divide_no_nan(
        tf.cast(part, tf.float64), tf.cast(examples, tf.float64)
    )
