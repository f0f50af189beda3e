"""One training with several callbacks, compared in time."""

import gc
import statistics
import time

import keras

import gdtrain
from tests.benchmarks import peers_keras


class Variant:
    """A model that is trained with some callbacks again and again."""

    def __init__(self, job, jit_compile, callbacks, **how):
        base = keras.Sequential if jit_compile is None else gdtrain.Sequential
        if jit_compile is not None:
            how["jit_compile"] = jit_compile
        self._job = job
        self._model = peers_keras.model(base, job, **how)
        self._callbacks = callbacks

    def seconds(self, epochs, clock=time.perf_counter):
        """How long an epoch takes, from the first weights on, by a clock.

        What was trained for long has gradients so small that processors are
        slow with them.
        """
        self._model.set_weights(self._job.weights)
        for variable in self._model.optimizer.variables:
            if variable is not self._model.optimizer.learning_rate:
                variable.assign(keras.ops.zeros_like(variable))
        callbacks = self._callbacks()
        gc.collect()
        gc.disable()
        start = clock()
        self._model.fit(
            self._job.x,
            self._job.y,
            batch_size=self._job.batch_size,
            epochs=epochs,
            verbose=0,
            callbacks=callbacks,
        )
        seconds = clock() - start
        gc.enable()
        return seconds / epochs


def repeated(variants, epochs, repeats, clock=time.perf_counter):
    """Seconds of an epoch, and ratios to the first: two dicts of lists.

    The first variant is trained before and after each other one, whose time
    is compared with the mean of both: the speed of a machine drifts.

    Args:
        variants: By name, each a `Variant`.
        epochs: By name, how many to train.
        repeats: How often.
        clock: Returns seconds; `time.process_time` for those of the processor.
    """
    first, *others = variants
    times = {name: [] for name in variants}
    ratios = {name: [] for name in others}
    for repeat in range(1 + repeats):  # The first one warms up
        before = variants[first].seconds(epochs[first], clock)
        for name in others:
            seconds = variants[name].seconds(epochs[name], clock)
            after = variants[first].seconds(epochs[first], clock)
            if repeat:
                times[name].append(seconds)
                times[first].append(before)
                ratios[name].append(2 * seconds / (before + after))
            before = after
    return times, ratios


def measure(variants, epochs, repeats):
    """The medians of what `repeated` returns, the first's ratio 1."""
    times, ratios = repeated(variants, epochs, repeats)
    return (
        {name: statistics.median(values) for name, values in times.items()},
        dict.fromkeys(list(variants)[:1], 1.0)
        | {name: statistics.median(r) for name, r in ratios.items()},
    )
