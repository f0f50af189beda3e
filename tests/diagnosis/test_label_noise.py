"""Labels that similar examples contradict."""

import keras
import numpy as np
import pytest

from gdtrain.diagnosis.verdicts import label_noise
from tests.diagnosis.tasks import case_with, compiled

RANDOM = np.random.default_rng(0)


def clusters(distance, classes=3, count=600):
    """Points around corners, `x` `[n, classes]`, and their labels."""
    labels = RANDOM.integers(0, classes, count)
    x = distance * np.eye(classes)[labels]
    x = x + RANDOM.normal(size=(count, classes))
    return x.astype("float32"), labels


def judge(x, y, loss="sparse_categorical_crossentropy"):
    units = int(y.max()) + 1 if loss.startswith("sparse") else 1
    last = "softmax" if units > 1 else "sigmoid"
    model = compiled(
        [keras.layers.Dense(units, activation=last)], loss, x.shape[1:]
    )
    return label_noise.judge(case_with(model, x, y))


def spoiled(labels, share):
    """Labels of which a share is another class."""
    classes = labels.max() + 1
    others = (labels + RANDOM.integers(1, classes, len(labels))) % classes
    return np.where(RANDOM.random(len(labels)) < share, others, labels)


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_wrong_labels_are_found(share):
    x, labels = clusters(5)
    (found,) = judge(x, spoiled(labels, share))
    assert found.evidence["share"] == pytest.approx(share, abs=0.08)
    assert found.changes == ()
    assert "either" in found.text


def test_two_classes_of_one_unit():
    x, labels = clusters(5, classes=2)
    y = spoiled(labels, 0.2)[:, np.newaxis].astype("float32")
    (found,) = judge(x, y, "binary_crossentropy")
    assert found.evidence["share"] == pytest.approx(0.2, abs=0.08)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_classes_that_overlap_have_none(distance, classes):
    assert judge(*clusters(distance, classes)) == []


def test_examples_that_are_contradicted_are_named():
    x, labels = clusters(8)
    y = spoiled(labels, 0.2)
    (found,) = judge(x, y)
    named = found.advice.split("examples ")[1].split(".")[0].split(", ")
    assert all(y[int(row)] != labels[int(row)] for row in named)


def test_few_examples_and_numbers_say_nothing():
    x, labels = clusters(5, count=60)
    assert judge(x, spoiled(labels, 0.3)) == []
    model = compiled([keras.layers.Dense(1)], "mse", [3])
    x, _ = clusters(5)
    assert label_noise.judge(case_with(model, x, x[:, :1])) == []
