"""A fingerprint is the same in each process, and differs if the fit does."""

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from gdtrain.data import data_fingerprint
from gdtrain.state import fingerprint
from gdtrain.state.description import Description
from tests.state.described import described


def leaves(value):
    description = Description()
    description.add("value", value)
    return description.leaves


def test_another_process_has_the_same_fingerprint():
    for _ in range(3):  # So that names are counted otherwise
        keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    printed = subprocess.run(
        [sys.executable, "-m", "tests.state.described"],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    there = json.loads(printed.strip().splitlines()[-1])
    for before, now in zip(there, json.loads(json.dumps(described()))):
        now["random"] = before["random"]  # Tests set a seed
        assert fingerprint.differences(before, now, {}) == {}
        assert fingerprint.not_compared(before, now) == []


@dataclasses.dataclass
class Settings:
    rate: float = 0.5
    table: np.ndarray | None = None


class Counted:
    """An object without a config."""

    def __init__(self, number):
        self.number = number
        self.generator = np.random.default_rng()


@pytest.mark.parametrize(
    "one, other",
    [
        (Settings(), Settings(0.25)),
        (Settings(table=np.zeros(2)), Settings(table=np.ones(2))),
        (Counted(1), Counted(2)),
        ({"a": [1, (2, None)]}, {"a": [1, (2, 3)]}),
        ({1, 2}, {1, 3}),
        (b"a", b"b"),
        (float("nan"), float("inf")),
        (np.float32(0.5), 0.25),
        (lambda x=1: x, lambda x=2: x),
        (keras.layers.Dense(2), keras.layers.Dense(2, trainable=False)),
        (keras.metrics.AUC(num_thresholds=3), keras.metrics.AUC()),
    ],
)
def test_others_differ_and_the_same_do_not(one, other):
    assert leaves(one) == leaves(one)
    assert leaves(one) != leaves(other)
    json.dumps([leaves(one), leaves(other)], allow_nan=False)


def test_names_that_keras_counts_and_seeds_that_it_draws_tell_nothing():
    keras.utils.clear_session()
    one = leaves(keras.layers.RandomRotation(0.5))
    assert leaves(keras.layers.RandomRotation(0.5)) == one
    assert leaves(keras.layers.RandomRotation(0.25)) != one


def test_what_cannot_be_compared_is_named():
    unknown = leaves([1, collections.Counter, iter([2])])
    here = {"python": {}, "data": unknown}
    assert fingerprint.not_compared(here, here) == [
        "value[2] (builtins.list_iterator)"
    ]


def test_code_of_another_python_is_named():
    there = {"python": {"version": "3.9"}, "data": {}}
    here = {"python": {"version": "3.11"}, "data": {}}
    assert fingerprint.not_compared(there, here) == [
        "code (by another version of Python)"
    ]


def test_what_holds_itself_ends():
    one: list = [1, {}]
    one[1]["again"] = one
    assert leaves(one) == {"value[0]": 1}


def test_a_large_array_is_compared_by_rows_all_over_it():
    large = np.zeros([2**21, 9], "float32")  # 72 MiB
    before = data_fingerprint.content(large)
    large[2**20 : 2**20 + 2**10] = 1
    assert data_fingerprint.content(large) != before


def test_many_differences_are_counted():
    found = fingerprint.Differences(
        {("fit", str(n)): f"{n} differs" for n in range(14)}
    )
    assert found.listed().endswith("9 differs; and 4 more")
