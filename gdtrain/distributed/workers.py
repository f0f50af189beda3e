"""The processes that train one model together."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.distributed import membership

_Result = TypeVar("_Result")


class Workers:
    """The processes of a strategy.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Attributes:
        count: How many there are.
        name: The name of this process; empty if it is the only one.
        index: Which of them this one is; they count from 0, a chief first.
        names: Those of all, in that order.
        is_first: Whether this process prints for all of them.

    Example:

    >>> workers = Workers(tf.distribute.get_strategy())
    >>> workers.count, workers.index, workers.numbers(7)
    (1, 0, [7])
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        # Strategies of one process have none.
        resolver = strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict() if resolver else {}
        self.count = sum(map(len, tasks.values())) if tasks else 1
        self.name, self.index = "", 0
        self.names = [""]
        if resolver and self.count > 1:
            self.name = f"{resolver.task_type}-{resolver.task_id}"
            self.names = [
                f"{kind}-{number}"
                for kind in ("chief", "worker")
                for number in range(len(tasks.get(kind, ())))
            ]
            self.index = self.names.index(self.name)
        self.is_first = self.index == 0

    def numbers(self, number: int) -> list[int]:
        """The number of each process; waits for all of them."""
        if self.count == 1:
            return [number]
        own = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([number], tf.int64)
        )
        with membership.waiting():
            found = self._gathered(own).numpy().tolist()
        return found[:: len(found) // self.count]  # One of each's replicas

    @functools.cached_property
    def _gathered(self) -> Callable[[Any], tf.Tensor]:
        """Gathers from all replicas; TensorFlow's own traces at each call."""
        # A `partial` is a function of its own for each object. TensorFlow would
        # count a method of several as one that is traced again and again.
        gather = functools.partial(self._strategy.gather, axis=0)
        return tf.function(gather, autograph=False)

    def longest(self, seconds: float) -> float:
        """The longest of some time on each process; waits for all of them."""
        if self.count == 1:
            return seconds
        return max(self.numbers(int(1e6 * seconds))) / 1e6

    def any(self, flag: bool) -> bool:
        """Whether any process has a true `flag`; waits for all of them."""
        return bool(max(self.numbers(int(flag))))

    def together(self, action: Callable[[], _Result]) -> _Result:
        """Does something that must not fail in some processes only.

        Args:
            action: A function that each process calls.

        Returns:
            What it returned.

        Raises:
            Exception: what it raised; waits for all processes first.
            RuntimeError: if it raised in another process only.
        """
        error: Exception | None = None
        try:
            result = action()
        except Exception as raised:
            error = raised
        failed = [i for i, n in enumerate(self.numbers(int(bool(error)))) if n]
        if error is not None:
            raise error
        if failed:
            raise RuntimeError(
                "All workers must be able to begin. Received: an error of "
                f"{listed(failed)}, whose own message says what to do."
                + more("workers-differ")
            )
        return result


def listed(indices: list[int]) -> str:
    """Some workers in words.

    Example:

    >>> listed([1]), listed([1, 3])
    ('worker 1', 'workers 1 and 3')
    """
    numbers = [str(index) for index in indices]
    if len(numbers) == 1:
        return f"worker {numbers[0]}"
    return f"workers {', '.join(numbers[:-1])} and {numbers[-1]}"
