"""Advice is followed as it says, and judged by what comes of it."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.verdict import Change
from tests.zoo import folder, following, halves
from tests.zoo.bench import Bench
from tests.zoo.conftest import LINE
from tests.zoo.following import changed, follow
from tests.zoo.sweep import Labelled
from tests.zoo.training import SCHEDULES, Examples


def run_at(runs, place):
    return next(kept for kept in runs if kept.recipe.place == place)


@pytest.mark.parametrize(
    ("place", "factor", "result"),
    [
        ("best x 0.01", 100, "better"),
        ("best x 32", 1 / 32, "better"),
        ("best x 1", 1, "same"),
        ("best x 1", 100, "worse"),
    ],
)
def test_advice_is_followed_from_the_start(runs, bench, place, factor, result):
    kept = run_at(runs, place)
    advice = Change("learning_rate", kept.recipe.rate * factor)
    assert follow(kept, bench, [advice]) == result


def test_no_advice_is_not_followed(runs, bench):
    assert follow(run_at(runs, "best x 0.01"), bench, []) == ""


def test_scaled_targets_are_compared_in_their_own_units(runs, bench):
    kept = run_at(runs, "best x 1")
    assert follow(kept, bench, [Change("scale_targets")]) == "same"


def kept_with(tmp_path, rate, **spoiled):
    """A run of the line that is spoiled, and its bench."""
    setup = spoiled.pop("setup", LINE)
    training = dataclasses.replace(halves.training_of(setup), **spoiled)
    bench = Bench(training)
    run = Labelled(bench.train(rate, 0), "fault", ("fault",), 0.0, "")
    folder.keep(str(tmp_path / "run"), setup, run)
    return folder.load(str(tmp_path / "run")), bench


def far_away(draw, seed):
    x, y, held = draw(seed)
    return Examples(100 * x + 500, y, held)


def test_scaled_inputs_learn_at_another_rate(tmp_path):
    draw = functools.partial(far_away, halves.training_of(LINE).draw)
    kept, bench = kept_with(tmp_path, 1e-7, draw=draw)
    advice = [Change("scale_inputs"), Change("learning_rate", 0.1)]
    assert follow(kept, bench, advice) == "better"


def offset(draw, seed):
    x, y, held = draw(seed)
    return Examples(x, y + 1000, held)


def test_gain_begins_below_the_loss_of_a_constant(tmp_path):
    """A start that is far off makes a difference no smaller."""
    draw = functools.partial(offset, halves.training_of(LINE).draw)
    kept, bench = kept_with(tmp_path, 0.03, draw=draw)
    assert kept.recipe.end < 0.01 * kept.recipe.first
    assert follow(kept, bench, [Change("learning_rate", 0.1)]) == "better"


def test_logits_are_judged_as_what_they_are(tmp_path):
    setup = dataclasses.replace(LINE, task="blobs relu_net")
    loss = "sparse_categorical_crossentropy"
    kept, bench = kept_with(tmp_path, 0.1, setup=setup, loss=loss)
    assert follow(kept, bench, [Change("from_logits", True)]) == "better"


def decaying(rate):
    return keras.optimizers.AdamW(rate, weight_decay=5.0)


def penalized(strength):
    x = keras.Input([8])
    penalty = keras.regularizers.L2(strength)
    outputs = keras.layers.Dense(1, kernel_regularizer=penalty)(x)
    return gdtrain.Model(x, outputs)


@pytest.mark.mostly_long("spoiled1")
@pytest.mark.parametrize(
    "spoiled",
    [
        {"optimizer": decaying},
        {"build": functools.partial(penalized, 3.0)},
    ],
)
def test_weight_decay_is_taken_away(tmp_path, spoiled):
    kept, bench = kept_with(tmp_path, 0.1, **spoiled)
    assert follow(kept, bench, [Change("weight_decay", 0.0)]) == "better"


def test_a_training_is_changed_as_advice_says():
    cosine = SCHEDULES["cosine"]
    training = dataclasses.replace(
        halves.training_of(LINE), schedule=cosine, shuffle=False
    )
    new = changed(
        training,
        [
            Change("constant_learning_rate", 0.1),
            Change("shuffle"),
        ],
    )
    assert (new.schedule, new.shuffle) == ("constant", True)
    assert changed(training, [Change("learning_rate", 0.1)]) == training


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "binary_crossentropy",
        keras.losses.CategoricalCrossentropy(),
    ],
)
def test_losses_get_logits(loss):
    assert following.of_logits(loss, True).get_config()["from_logits"]
    both = following.of_logits({"a": loss, "b": "mse"}, True)
    assert both["a"].get_config()["from_logits"]
    assert both["b"] == "mse"


def test_only_what_compiles_to_another_program_is_compiled(bench):
    training = bench.training
    shuffled = changed(training, [Change("shuffle")])
    assert following.bench_for(shuffled, bench).model is bench.model
    decayed = changed(training, [Change("weight_decay", 0.0)])
    assert following.bench_for(decayed, bench).model is not bench.model


def test_words_and_labels_are_not_scaled():
    words, labels = np.array([[1, 2], [3, 4]]), {"kind": np.array([0, 1])}
    data = following.with_scaled(Examples(words, labels), True, True)
    np.testing.assert_array_equal(data.x, words)
    np.testing.assert_array_equal(data.y["kind"], labels["kind"])
    values = np.array([[1.0], [3.0]])
    data = following.with_scaled(Examples(words, values), False, True)
    np.testing.assert_array_equal(data.y, [[-1.0], [1.0]])
    np.testing.assert_array_equal(following.unscaled(data.y, values), values)
