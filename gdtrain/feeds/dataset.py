"""Batches that a `tf.data` pipeline brings, from whatever Keras takes."""

import math
import warnings

import tensorflow as tf

from gdtrain.feeds.iteration import Iteration


class Dataset:
    """A feed of one iterator an epoch. See `gdtrain.feeds`.

    Args:
        adapter: Keras's data adapter: makes the dataset, knows how many
            batches there are, and is told where epochs begin and end.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_per_epoch: How many steps the user wants; `None` for all that
            there are. Then each epoch goes on where the last one ended.
    """

    most_steps = math.inf

    def __init__(self, adapter, strategy, steps_per_epoch=None):
        self._adapter = adapter
        self._wanted = steps_per_epoch
        self._known = adapter.num_batches
        self._seen = 0  # Steps since the iterator was made
        self._iterator = None
        self._epoch = None
        self.batch_spec = None  # Of a batch before it is distributed
        self._dataset = self._distributed(strategy)
        self.plan = Iteration(self._dataset.element_spec)

    def _distributed(self, strategy):
        dataset = self._adapter.get_tf_dataset()
        self.batch_spec = dataset.element_spec
        if isinstance(dataset, tf.distribute.DistributedDataset):
            return dataset
        return strategy.experimental_distribute_dataset(dataset)

    @property
    def steps_per_epoch(self):
        """How many steps an epoch has; `None` if that is not known yet."""
        return self._wanted or self._known

    def source(self, epoch, step, steps, room=None):
        """The iterator that is at this step.

        Args:
            epoch, step: Where the block begins.
            steps: How many steps it has.
            room: Plays no role here.
        """
        if step == 0:
            self._begin(epoch)
        self._seen += steps
        return self._iterator

    def rewind(self):
        """Goes back to the first batch."""
        self._iterator = None

    def _begin(self, epoch):
        self._epoch = epoch
        self._adapter.on_epoch_begin()
        used_up = self._known is not None and self._seen >= self._known
        if self._iterator is None or not self._wanted or used_up:
            self._iterator = iter(self._dataset)
            self._seen = 0

    def end_epoch(self, steps, ran_out):
        """Says that the epoch is over.

        Args:
            steps: How many steps it had.
            ran_out: Whether it ended for want of data.
        """
        if ran_out and (self._wanted or not steps):
            warnings.warn(
                f"Your input ran out of data after {steps} steps of an epoch"
                + (f" of {self._wanted}" if self._wanted else "")
                + ". Give `fit` a dataset that has steps_per_epoch * epochs "
                "batches, for example by `.repeat()`, or a smaller "
                "`steps_per_epoch`.",
                stacklevel=2,
            )
        if ran_out:
            self._iterator = None
        self._adapter.on_epoch_end()
