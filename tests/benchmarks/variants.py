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

    def seconds(self, epochs):
        """How long an epoch takes."""
        callbacks = self._callbacks()
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        self._model.fit(
            self._job.x,
            self._job.y,
            batch_size=self._job.batch_size,
            epochs=epochs,
            verbose=0,
            callbacks=callbacks,
        )
        seconds = time.perf_counter() - start
        gc.enable()
        return seconds / epochs


def measure(variants, epochs, repeats):
    """Median seconds of an epoch, and ratio to the first: two dicts.

    The first variant is trained before and after each other one, whose time
    is compared with the mean of both: the speed of a machine drifts.
    """
    first, *others = variants
    times = {name: [] for name in variants}
    ratios = {name: [] for name in others}
    for repeat in range(1 + repeats):  # The first one warms up
        before = variants[first].seconds(epochs[first])
        for name in others:
            seconds = variants[name].seconds(epochs[name])
            after = variants[first].seconds(epochs[first])
            if repeat:
                times[name].append(seconds)
                times[first].append(before)
                ratios[name].append(2 * seconds / (before + after))
            before = after
    return (
        {name: statistics.median(values) for name, values in times.items()},
        {first: 1.0}
        | {name: statistics.median(r) for name, r in ratios.items()},
    )
