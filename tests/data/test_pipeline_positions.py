"""A `tf.data` pipeline goes on where it was, in this pass and the next."""

import keras
import pytest
import tensorflow as tf

from gdtrain.data.adapted import AdaptedData
from gdtrain.data.iterators import NoPosition
from gdtrain.keras_bridge import data

EPOCHS = 3
NUMBERS = tf.data.Dataset.range(12)

# How it is made, and steps of an epoch
PIPELINES = {
    "in order": (lambda: NUMBERS.batch(3).prefetch(2), None),
    "read ahead": (lambda: NUMBERS.shuffle(9).batch(3).prefetch(2), None),
    "read to its end": (lambda: NUMBERS.shuffle(9).batch(3).prefetch(9), None),
    "repeated": (lambda: NUMBERS.shuffle(9).repeat().batch(3), 3),
    "repeated twice": (
        lambda: NUMBERS.shuffle(9).repeat(2).batch(3).prefetch(9),
        4,
    ),
    "filtered": (
        lambda: NUMBERS.shuffle(9).filter(lambda x: x % 3 > 0).batch(3),
        None,
    ),
    "same each time": (
        lambda: (
            NUMBERS.shuffle(9, reshuffle_each_iteration=False)
            .batch(3)
            .prefetch(9)
        ),
        None,
    ),
}


def source_of(make, steps_per_epoch=None):
    """A new data source, as in another process that set the same seed."""
    keras.utils.set_random_seed(3)
    adapter = data.data_adapter(
        make(), None, None, None, steps_per_epoch, False, None
    )
    return AdaptedData(adapter, tf.distribute.get_strategy(), steps_per_epoch)


def take(data_source, found, epoch=0, step=0, most=None):
    """Adds batches to `found`; `(epoch, step)`, where it has `most`."""
    while epoch < EPOCHS:
        while (
            data_source.steps_per_epoch is None
            or step < data_source.steps_per_epoch
        ):
            if len(found) == most:
                return epoch, step
            batch = next(
                data_source.block_inputs(epoch, step, 1).iterator, None
            )
            if batch is None:
                break
            found.append(batch.numpy().tolist())
            step += 1
        data_source.end_epoch(step, ran_out=data_source.steps_per_epoch != step)
        epoch, step = epoch + 1, 0
    return epoch, step


@pytest.mark.mostly_long("repeated", "filtered")
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.filterwarnings("ignore:Your input ran out")
def test_from_each_step_of_each_pass(name):
    expected = []
    take(source_of(*PIPELINES[name]), expected)
    assert len(expected) >= 2 * EPOCHS
    for most in range(len(expected)):
        data_source, found = source_of(*PIPELINES[name]), []
        data_source.position()  # As before training
        place = take(data_source, found, most=most)
        position = data_source.position()
        data_source = source_of(*PIPELINES[name])
        data_source.position()
        data_source.go_to(*place, position)
        take(data_source, found, *place)
        assert found == expected


def test_shuffling_what_was_shuffled_is_refused():
    def twice():
        return NUMBERS.shuffle(9).batch(3).shuffle(2)

    def beside():
        return tf.data.Dataset.zip(NUMBERS.shuffle(9), NUMBERS.shuffle(9))

    with pytest.raises(NoPosition, match="shuffles twice"):
        source_of(twice).position()
    source_of(beside).position()
