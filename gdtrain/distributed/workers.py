"""The processes that train one model together."""

import tensorflow as tf


class Workers:
    """The processes of a strategy.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Attributes:
        count: How many there are.
        name: The name of this process; empty if it is the only one.
        is_first: Whether this process prints for all of them.

    Example:

    >>> workers = Workers(tf.distribute.get_strategy())
    >>> workers.count, workers.name, workers.numbers(7)
    (1, '', [7])
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        # Strategies of one process have none.
        resolver = strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict() if resolver else {}
        self.count = sum(map(len, tasks.values())) if tasks else 1
        self.name = ""
        self.is_first = True
        if resolver and self.count > 1:
            chief = "chief" in tasks
            self.is_first = resolver.task_id == 0 and (
                resolver.task_type == "chief" or not chief
            )
            self.name = f"{resolver.task_type}-{resolver.task_id}"

    def numbers(self, number: int) -> list[int]:
        """The number of each process; waits for all of them."""
        if self.count == 1:
            return [number]
        strategy = self._strategy
        own = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([number], tf.int64)
        )
        return strategy.gather(own, axis=0).numpy().tolist()

    def any(self, flag: bool) -> bool:
        """Whether any process has a true `flag`; waits for all of them."""
        return bool(max(self.numbers(int(flag))))
