"""What the processes that train one model together must agree on."""

from typing import Any

import tensorflow as tf


class Workers:
    """The processes of a strategy.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Example:

    >>> workers = Workers(tf.distribute.get_strategy())
    >>> workers.count, workers.name, workers.numbers(7)
    (1, '', [7])
    """

    def __init__(self, strategy):
        self._strategy = strategy
        resolver: Any = getattr(strategy, "cluster_resolver", None)
        tasks = resolver.cluster_spec().as_dict() if resolver else {}
        self.count = sum(map(len, tasks.values())) if tasks else 1
        #: The name of this process, empty if it is the only one
        self.name = ""
        #: Whether it speaks for all
        self.is_first = True
        if self.count > 1:
            chief = "chief" in tasks
            self.is_first = resolver.task_id == 0 and (
                resolver.task_type == "chief" or not chief
            )
            self.name = f"{resolver.task_type}-{resolver.task_id}"

    def numbers(self, number):
        """The numbers that all of them say, a list; each waits for all."""
        if self.count == 1:
            return [number]
        strategy = self._strategy
        own = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant([number], tf.int64)
        )
        return strategy.gather(own, axis=0).numpy().tolist()

    def any(self, flag):
        """Whether any of them says yes."""
        return bool(max(self.numbers(int(flag))))
