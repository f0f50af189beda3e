"""Which batches callbacks hear of where data run out."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from tests.contracts.fit_cases import Calls, Descent, X, Y, close, linear, rows

BATCHES = rows(8)  # Five of them
RAN_OUT = "ignore:Your input ran out of data"


class Batches(keras.utils.PyDataset):
    """Batches of `X` and `Y`, of which there are so many in each epoch."""

    def __init__(self, counts=(5,), **arguments):
        super().__init__(**arguments)
        self.counts = counts
        self.told = []

    @property
    def num_batches(self):
        return self.counts[min(self.told.count("end"), len(self.counts) - 1)]

    def __getitem__(self, index):
        batch = BATCHES[index % 5]
        return X[batch], Y[batch]

    def on_epoch_begin(self):
        self.told.append("begin")

    def on_epoch_end(self):
        self.told.append("end")


def pipeline():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)


def generator():
    for batch in BATCHES:
        yield X[batch], Y[batch]


SOURCES = {
    "unknown length": lambda: pipeline().filter(lambda x, y: True),
    "known length": pipeline,
    "generator": generator,
    "PyDataset": Batches,
    "arrays": lambda: X,
}


def told(calls, part):
    """Of which batches `calls` was told: `[(begin, end), ...]`, in pairs."""
    noted = [call for call in calls.calls if f"{part}_batch" in call[0]]
    begins, ends = noted[::2], noted[1::2]
    assert [call[0] for call in begins] == [f"{part}_batch_begin"] * len(ends)
    assert [call[0] for call in ends] == [f"{part}_batch_end"] * len(ends)
    return [(a[1], b[1]) for a, b in zip(begins, ends, strict=True)]


ONE = [(i, i) for i in range(5)]
TWO = [(0, 1), (2, 3), (4, 5)]


@pytest.mark.mostly_long(
    "one-arrays", "one-unknown length", "two-PyDataset", "eager-generator"
)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "arguments, pairs",
    [
        ({}, ONE),
        ({"steps_per_execution": 2}, TWO),
        ({"steps_per_execution": 2, "run_eagerly": True}, TWO),
    ],
    ids=["one", "two", "eager"],
)
@pytest.mark.filterwarnings(RAN_OUT)
def test_begin_and_end_are_of_steps_that_run(source, arguments, pairs):
    calls = Calls()
    model = linear(gdtrain, **arguments)
    quiet = {"verbose": 0, "callbacks": [calls]}
    epochs = 1 if source == "generator" else 2
    make = SOURCES[source]
    of_arrays = {"batch_size": 8}
    given = {"y": Y, **of_arrays} if source == "arrays" else {}
    model.fit(make(), epochs=epochs, shuffle=False, **given, **quiet)
    assert told(calls, "train") == pairs * epochs
    assert int(model.optimizer.iterations) == 5 * epochs
    close(model.get_weights()[0], Descent([BATCHES] * epochs).weights[-1])
    model.evaluate(make(), **given, **quiet)
    assert told(calls, "test") == pairs
    given = of_arrays if source == "arrays" else {}
    assert model.predict(make(), **given, **quiet).shape == (40, 1)
    assert told(calls, "predict") == pairs


@pytest.mark.mostly_long("arrays-7-expected1", "unknown length-3-expected0")
@pytest.mark.parametrize("steps, expected", [(3, [3, 2, 3]), (7, [5, 5, 5])])
@pytest.mark.parametrize("source", ["arrays", "unknown length", "PyDataset"])
def test_fewer_batches_than_steps_per_epoch(source, steps, expected):
    calls, model = Calls(), linear(gdtrain)
    arrays = {"y": Y, "batch_size": 8} if source == "arrays" else {}
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit(
            SOURCES[source](),
            epochs=3,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[calls],
            **arrays,
        )
    pairs = [(i, i) for count in expected for i in range(count)]
    assert told(calls, "train") == pairs
    assert int(model.optimizer.iterations) == sum(expected)


def test_no_data_are_no_batch():
    calls, model = Calls(), linear(gdtrain)
    with pytest.warns(UserWarning, match="ran out of data after 0 steps"):
        model.fit(
            SOURCES["unknown length"]().take(0), verbose=0, callbacks=[calls]
        )
    assert told(calls, "train") == []
    with pytest.raises(ValueError, match="nothing to predict"):
        model.predict(pipeline().take(0), verbose=0, callbacks=[calls])
    assert told(calls, "predict") == []


def test_stopping_takes_no_batch_too_many():
    class Stop(Calls):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.model.stop_training = batch == 1

    calls, model, data = Stop(), linear(gdtrain), generator()
    model.fit(data, steps_per_epoch=5, verbose=0, callbacks=[calls])
    assert told(calls, "train") == [(0, 0), (1, 1)]
    close(model.get_weights()[0], Descent([BATCHES]).weights[1])


def test_on_two_replicas(two_replicas):
    calls = Calls()
    with two_replicas.scope():
        model = linear(gdtrain)
    data = SOURCES["unknown length"]()
    model.fit(data, epochs=2, verbose=0, callbacks=[calls])
    assert told(calls, "train") == ONE * 2
    close(model.get_weights()[0], Descent([BATCHES] * 2).weights[-1])
    model.evaluate(data, verbose=0, callbacks=[calls])
    assert told(calls, "test") == ONE


@pytest.mark.mostly_long("True-1-more", "False-2-less")
@pytest.mark.parametrize("counts", [(2, 3, 5), (5, 3, 2)], ids=["more", "less"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("noted", [True, False])
def test_a_py_dataset_of_another_length_is_trained_whole(
    counts, workers, noted
):
    calls, model = Calls(), linear(gdtrain)
    data = Batches(counts, workers=workers)
    valid = Batches((1, 2, 3), workers=workers)
    model.fit(
        data,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=valid,
        callbacks=[calls] if noted else [],
    )
    expected = Descent([BATCHES[:count] for count in counts])
    close(model.get_weights()[0], expected.weights[-1])
    assert int(model.optimizer.iterations) == sum(counts)
    assert data.told == valid.told == ["begin", "end"] * 3
    if noted:
        assert told(calls, "train") == [
            (i, i) for count in counts for i in range(count)
        ]
        assert told(calls, "test") == [
            (i, i) for count in (1, 2, 3) for i in range(count)
        ]


def test_a_growing_py_dataset_is_shuffled_whole_and_resumed(tmp_path):
    class Broken(Exception):
        """Ends the first of two runs."""

    class Visited(Batches):
        """Notes which batches it gives."""

        def __init__(self, counts):
            super().__init__(counts)
            self.visited = []

        def __getitem__(self, index):
            self.visited.append(index)
            return super().__getitem__(index)

    def run(step=None, data=None):
        class Break(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if int(self.model.optimizer.iterations) == step:
                    raise Broken

        keras.utils.set_random_seed(1)
        model = linear(gdtrain)
        backup = gdtrain.callbacks.BackupAndRestore(
            tmp_path / str(step), every_steps=1
        )
        data = data or Visited((2, 3, 5))
        model.fit(data, epochs=3, verbose=0, callbacks=[backup, Break()])
        return model.get_weights()[0]

    data = Visited((2, 3, 5))
    whole = run(data=data)
    last = data.visited[-5:]
    assert sorted(last) == [0, 1, 2, 3, 4] and last != sorted(last)
    for step in (1, 3, 5, 7):
        with pytest.raises(Broken):
            run(step)
        (tmp_path / str(step)).rename(tmp_path / "None2")
        (tmp_path / "None").rename(tmp_path / f"whole{step}")
        (tmp_path / "None2").rename(tmp_path / "None")
        assert np.array_equal(run(), whole)


def test_the_progress_bar_counts_to_what_there_is(capsys):
    linear(gdtrain).fit(Batches((2, 3, 5)), epochs=3, verbose=2)
    found = re.findall(r"(\d+/\d+) - ", capsys.readouterr().out)
    assert found == ["2/2", "3/3", "5/5"]
