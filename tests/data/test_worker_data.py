"""Data that are a worker's own part: as given, and from where they were."""

import weakref

import grain
import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.checkpoint import files
from gdtrain.data import choice
from gdtrain.data.iterators import NoPosition
from gdtrain.data.worker_data import WorkerData, WorkerSource
from tests.data.test_pipeline_positions import EPOCHS, PIPELINES, take

X = np.random.default_rng(0).normal(size=[22, 3]).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, 22, 4)]


class Counted:
    """Iterators with a state, as a library's may have."""

    def __iter__(self):
        return Counting()


class Counting:
    def __init__(self):
        self.count = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.count == len(BATCHES):
            raise StopIteration
        self.count += 1
        return BATCHES[self.count - 1]

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def map_dataset():
    # An order for each epoch, as Grain has it: by repeating
    examples = grain.MapDataset.source(np.arange(22)).shuffle(seed=3).repeat(3)
    return examples.map(lambda i: (X[i], Y[i])).batch(4)


def loader():
    return grain.DataLoader(
        data_source=np.arange(22),
        sampler=grain.samplers.IndexSampler(22, shuffle=True, seed=3),
        operations=[Pair(), grain.transforms.Batch(4)],
        worker_count=0,
    )


class Pair(grain.transforms.Map):
    def map(self, element):
        return X[element], Y[element]


# What is given, and steps of an epoch
DATA = {
    "MapDataset": (map_dataset, 5),
    "IterDataset": (lambda: map_dataset().to_iter_dataset(), 5),
    "DataLoader": (loader, 5),
    "states": (lambda: WorkerData(Counted()), None),
}


def network():
    model = gdtrain.Sequential(
        [keras.Input([3]), keras.layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile(gdtrain.GradientDescent(0.1, momentum=0.9), "mse")
    return model


def weights_of(x, strategy=None, **arguments):
    with (strategy or tf.distribute.get_strategy()).scope():
        model = network()
    model.fit(x, epochs=3, verbose=0, shuffle=False, **arguments)
    return model.get_weights()


def test_iterables_train_as_the_same_batches_of_tensorflow(two_replicas):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    expected = weights_of(dataset)
    for given in (BATCHES, lambda: iter(BATCHES), dataset):
        np.testing.assert_array_equal(
            weights_of(WorkerData(given))[0], expected[0]
        )
        np.testing.assert_allclose(
            weights_of(WorkerData(given), two_replicas)[0],
            expected[0],
            rtol=1e-5,
        )


class Stop(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_batch_end(self, batch, logs=None):
        self.batches -= 1
        if self.batches == 0:
            raise Stop


def test_training_on_grain_resumes_exactly(tmp_path):
    expected = weights_of(map_dataset(), steps_per_epoch=5)

    def backup():
        return gdtrain.callbacks.BackupAndRestore(tmp_path, every_steps=3)

    with pytest.raises(Stop):
        weights_of(
            map_dataset(),
            steps_per_epoch=5,
            callbacks=[backup(), StopAt(9)],
        )
    resumed = weights_of(map_dataset(), steps_per_epoch=5, callbacks=[backup()])
    np.testing.assert_array_equal(resumed[0], expected[0])


class Joined(WorkerSource):
    """Its batches are those of all replicas together; of pairs, `x`."""

    def block_inputs(self, epoch, step, steps, room=None):
        inputs = super().block_inputs(epoch, step, steps, room)
        results = self._strategy.experimental_local_results
        joined = (
            tf.concat(results(tf.nest.flatten(batch)[0]), 0)
            for batch in inputs.iterator
        )
        return inputs._replace(iterator=joined)


def check_positions(make, steps_per_epoch, strategy, every):
    """From each of some steps, a new source gives what the first one gave."""

    def source_of():
        keras.utils.set_random_seed(3)
        given = make()
        given = given.data if isinstance(given, WorkerData) else given
        data_source = Joined(given, strategy, steps_per_epoch)
        data_source.position()  # As before training
        return data_source

    expected = []
    take(source_of(), expected)
    assert len(expected) >= 2 * EPOCHS
    for most in range(0, len(expected), every):
        data_source, found = source_of(), []
        place = take(data_source, found, most=most)
        # A checkpoint
        position = files.unpack(*files.pack(data_source.position()))
        data_source = source_of()
        data_source.go_to(*place, position)
        take(data_source, found, *place)
        assert found == expected


@pytest.mark.mostly_long("MapDataset", "states")
@pytest.mark.parametrize("name", DATA)
def test_from_steps_of_each_pass(name, two_replicas):
    one = tf.distribute.get_strategy()
    make, steps = DATA[name]
    check_positions(
        make, steps, two_replicas if name == "DataLoader" else one, 7
    )


@pytest.mark.mostly_long("repeated")
@pytest.mark.parametrize("name", ["read to its end", "repeated"])
def test_pipelines_of_several_replicas_resume_where_they_were(
    name, two_replicas
):
    """As those of a worker do: TensorFlow cannot save its iterator of them."""
    check_positions(*PIPELINES[name], two_replicas, 5)


def test_text_and_ragged_arrays_are_part_of_a_position(two_replicas):
    text = tf.constant(["a", "bc", "", "d"])
    ragged = tf.ragged.constant([[1], [], [2, 3], [4]])
    dataset = tf.data.Dataset.from_tensor_slices((text, ragged)).batch(2)

    def parts(data_source):
        data_source.begin_epoch(0, 0)
        results = two_replicas.experimental_local_results
        return [
            [tf.nest.map_structure(lambda a: results(a)[i], b) for i in (0, 1)]
            for b in data_source._iterator
        ]

    first = WorkerSource(dataset, two_replicas)
    expected = parts(first)
    assert [len(batch) for batch in expected] == [2, 2]
    first._seen = 0  # All was read ahead, and none trained on.
    second = WorkerSource(dataset, two_replicas)
    second.go_to(0, 0, first.position())
    for one, other in zip(parts(second), expected, strict=True):
        assert str(one) == str(other)


@pytest.mark.parametrize("given", [BATCHES, lambda: iter(BATCHES)])
def test_others_resume_at_epochs_only(given, tmp_path):
    data_source = choice.data_source(
        WorkerData(given), strategy=tf.distribute.get_strategy()
    )
    with pytest.raises(NoPosition, match="has no `get_state"):
        data_source.position()
    with pytest.raises(ValueError, match="Received: a .* has no `get_state"):
        weights_of(
            WorkerData(given),
            callbacks=[gdtrain.callbacks.BackupAndRestore(tmp_path)],
        )


def test_pass_that_is_abandoned_takes_nothing_from_the_next():
    made = []

    def batches():
        made.append(len(made))
        yield from BATCHES

    data_source = WorkerSource(batches, tf.distribute.get_strategy())
    for epoch in range(3):
        data_source.go_to(epoch, 0, None)
        data_source.begin_epoch(epoch, 0)
        found = [x.numpy() for x, _ in data_source._iterator]
        np.testing.assert_array_equal(np.concatenate(found), X)
    assert made == [0, 1, 2]  # The first batches were not read twice.


@pytest.mark.parametrize("replicas", [1, 2])
def test_source_is_freed_with_its_last_reference(replicas, two_replicas):
    """Freed later, its iterators' threads may take a minute to end."""
    one = tf.distribute.get_strategy()
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    data_source = WorkerSource(dataset, one if replicas == 1 else two_replicas)
    data_source.begin_epoch(0, 0)
    assert len(list(data_source._iterator)) == 6
    if replicas == 1:  # Then it has no such thread.
        assert not data_source._iterator._dataset.options().autotune.enabled
    found = weakref.ref(data_source)
    del data_source
    assert found() is None


@pytest.mark.parametrize(
    "given", [(X, Y), X, iter(BATCHES), {"x": X}, 3, "text"]
)
def test_what_is_no_data_of_batches_is_refused(given):
    with pytest.raises(TypeError, match="`WorkerData` (takes|needs)"):
        WorkerData(given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": Y}, "`y` must be part of the batches"),
        ({"class_weight": {0: 1.0}}, "`class_weight` needs arrays or a"),
    ],
)
def test_what_batches_cannot_have_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        network().fit(WorkerData(BATCHES), verbose=0, **arguments)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        network().fit(WorkerData([]), verbose=0)


def test_none_in_place_of_weights_is_left_out():
    with_none = [(x, y, None) for x, y in BATCHES]
    np.testing.assert_array_equal(
        weights_of(WorkerData(with_none))[0],
        weights_of(WorkerData(BATCHES))[0],
    )


def test_evaluate_and_predict_take_it():
    model = network()
    part = WorkerData(BATCHES)
    assert model.evaluate(part, verbose=0) == pytest.approx(
        model.evaluate(X, Y, verbose=0)
    )
    np.testing.assert_allclose(
        model.predict(part, verbose=0), model.predict(X, verbose=0), rtol=1e-5
    )
