"""What `make_predict_function` makes."""

import time

import keras
import tensorflow as tf

from gdtrain.engine import settings
from gdtrain.engine.predict_block import PredictBlock
from gdtrain.engine.programs import Programs
from gdtrain.engine.speed import Speed


class PredictFunction:
    """Predicts by blocks; a program is made for each kind of feed.

    Args:
        model: A `DescentTrainer`.
    """

    def __init__(self, model):
        self._model = model
        self._programs = Programs()
        self._on_batches = {}  # By settings

    def run(self, feed, step, pace, left):
        """Runs a block.

        Args:
            feed: The feed.
            step: Where it begins.
            pace: The `Pace`.
            left: How many steps are left; `None` if unknown.

        Returns:
            `(outputs, steps)`.
        """
        block, speed = self._programs.of(
            feed.plan,
            settings.of(self._model),
            lambda: (PredictBlock(self._model, feed.plan), Speed()),
        )
        start = time.perf_counter()
        steps = min(pace.steps(speed, left, left), feed.most_steps)
        outputs, count = [], 0
        while count < steps:
            most = steps - count
            some, more = block(feed.source(0, step + count, most), most)
            if more:
                outputs.append(some)
            count += more
            if not more or not block.has_one_batch or pace.counted is None:
                break
        speed.add(count, time.perf_counter() - start)
        return _joined(outputs), count

    def __call__(self, data):
        """Predicts batches that are at hand, as Keras calls it.

        Args:
            data: A list of batches.
        """
        key = settings.of(self._model)
        if key not in self._on_batches:
            self._on_batches[key] = PredictBlock(self._model)
        return _joined([self._on_batches[key].step(batch) for batch in data])


def _joined(outputs):
    """Outputs of batches, one after another; `None` if there are none."""
    if len(outputs) < 2:
        return outputs[0] if outputs else None
    return keras.tree.map_structure(
        lambda *leaves: tf.concat(leaves, 0), *outputs
    )
