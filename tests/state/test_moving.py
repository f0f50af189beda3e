"""Values of variables are moved to another number of replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gdtrain.state import moving, variables
from gdtrain.state.moving import Move

ONE = tf.distribute.get_strategy()
RULES = tf.VariableAggregation


def read_together(rule, initial=0.0):
    """A variable that each replica writes by itself."""
    return tf.Variable(
        initial,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=rule,
    )


def state(*values, workers=1, replicas=1):
    return {
        "variables": {"other": list(values)},
        "random": {},
        "callbacks": {},
        "saved_by": {"workers": workers, "replicas": replicas},
    }


def of_replicas(*numbers):
    return tuple(map(np.float32, numbers))


def moved(strategy, variable, saved):
    """What a variable is on each replica, and read, after a move."""
    values = saved["variables"]["other"]
    found = Move(saved, strategy).values([variable], values)
    variables.assign([variable], found, strategy)
    each = [float(one) for one in variables.parts(variable, strategy)]
    return each, float(variable.numpy())


@pytest.mark.parametrize(
    "rule, each",
    [
        (RULES.SUM, 9.0),
        (RULES.MEAN, 3.0),
        (RULES.ONLY_FIRST_REPLICA, 2.0),
    ],
)
def test_what_is_read_together_stays(two_replicas, rule, each):
    saved = state(of_replicas(2.0, 3.0, 4.0), replicas=3)
    assert moved(ONE, read_together(rule), saved) == ([each], each)
    with two_replicas.scope():
        variable = read_together(rule)
    on_each, whole = moved(two_replicas, variable, saved)
    assert whole == each
    assert on_each == [each, 0.0 if rule == RULES.SUM else each]


def test_equal_parts_of_a_sum_are_summed_too(two_replicas):
    saved = state(np.float32(2.0), replicas=3)
    assert moved(ONE, read_together(RULES.SUM), saved) == ([6.0], 6.0)


def test_other_variables_are_equal_on_all(two_replicas):
    saved = state(np.float32(2.0), replicas=3)
    with two_replicas.scope():
        variable = tf.Variable(0.0, aggregation=RULES.SUM)
    assert moved(two_replicas, variable, saved) == ([2.0, 2.0], 2.0)


def test_metrics_of_four_workers_go_to_one():
    """Their confusion matrices and totals, for any metric of Keras."""
    metrics = [keras.metrics.AUC(), keras.metrics.Mean()]
    parts = [keras.metrics.AUC() for _ in range(4)]
    means = [keras.metrics.Mean() for _ in range(4)]
    random = np.random.default_rng(0)
    for part, mean in zip(parts, means, strict=True):
        labels, scores = random.integers(0, 2, 9), random.uniform(size=9)
        for metric in (part, metrics[0]):
            metric.update_state(labels, scores)
        for metric in (mean, metrics[1]):
            metric.update_state(scores)
    expected = [float(metric.result()) for metric in metrics]
    some = [v for metric in metrics for v in metric.variables]
    saved = [
        state(
            *variables.values([*part.variables, *mean.variables], ONE),
            workers=4,
        )
        for part, mean in zip(parts, means, strict=True)
    ]
    whole = moving.joined(iter(saved), index=0)
    for metric in metrics:
        metric.reset_state()
    values = Move(whole, ONE).values(some, whole["variables"]["other"])
    variables.assign(some, values, ONE)
    found = [float(metric.result()) for metric in metrics]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_is_different_on_each_replica_is_refused_by_name():
    variable = tf.Variable(0.0, name="memory")
    for value, replicas, is_refused in [
        (of_replicas(1.0, 2.0), 2, True),
        (np.float32(1.0), 2, False),
        (np.float32(1.0), 1, False),
    ]:
        move = Move(state(replicas=replicas), ONE)
        text = move.difference("other", [variable], [value])
        assert (text is not None) == is_refused
        if text:
            assert "'memory:0' is different on each replica" in text
            assert "saved by 2 replicas, now 1" in text


def test_joined_workers_have_a_state_for_each_replica():
    first, last = of_replicas(1.0, 2.0), np.float32(3.0)
    saved = [
        state(first, np.float32(5.0), workers=2, replicas=2)
        | {"random": index, "callbacks": index}
        for index, first in enumerate([first, last])
    ]
    for index, expected in enumerate([0, 1, 0]):
        whole = moving.joined(iter(saved), index)
        assert whole["saved_by"] == {"workers": 2, "replicas": 4}
        values, equal = whole["variables"]["other"]
        assert values == of_replicas(1.0, 2.0, 3.0, 3.0)
        assert equal == np.float32(5.0)
        assert whole["random"] == whole["callbacks"] == expected


def test_the_same_number_of_replicas_in_all_has_the_same_values(two_replicas):
    """Two workers of a replica each become one of two."""
    saved = [state(of, workers=2) for of in of_replicas(1.0, 2.0)]
    whole = moving.joined(iter(saved), index=0)
    for rule in (RULES.SUM, RULES.MEAN):
        with two_replicas.scope():
            variable = read_together(rule)
        assert moved(two_replicas, variable, whole)[0] == [1.0, 2.0]


def test_a_state_of_an_earlier_version_is_of_the_same_replicas():
    saved = state(np.float32(1.0))
    del saved["saved_by"]
    assert not Move(saved, ONE).is_needed
