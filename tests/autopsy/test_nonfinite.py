"""Each part of a step, planted as not finite, is found and named."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.autopsy import nonfinite
from gdtrain.autopsy.cause import Cause, describe
from tests.models import network, regression_data

layers = keras.layers


def variables_of(model):
    return [
        *model.variables,
        *model.metrics_variables,
        *model.optimizer.variables,
    ]


def find(model, *data):
    """The cause; checks that all variables are left as they were."""
    before = [(v, v.numpy().tobytes()) for v in variables_of(model)]
    cause = nonfinite.find(model, data)
    assert before
    for variable, value in before:
        assert variable.numpy().tobytes() == value, variable.path
    return cause


def found(model, *data):
    cause = find(model, *data)
    return cause.where, cause.name, cause.kind, cause.examples


def compiled(model, loss="mse", optimizer=None, **kwargs):
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, **kwargs)
    return model


def positive(name="positive"):
    """Passes numbers on through a weight of 1, so that 0 stays 0."""
    return layers.Dense(1, use_bias=False, kernel_initializer="ones", name=name)


def column(*numbers):
    return np.array(numbers, "float32")[:, np.newaxis]


def functional(computation, **kwargs):
    """positive -> computation -> head."""
    x = keras.Input([1])
    inside = computation(positive()(x))
    return compiled(
        gdtrain.Model(x, layers.Dense(1, name="head")(inside)), **kwargs
    )


def two_headed(loss):
    a, b = keras.Input([2], name="a"), keras.Input([1], name="b")
    joined = layers.Concatenate(name="joined")([a, b])
    left = layers.Dense(1, name="left")(joined)
    right = layers.Dense(1, name="right")(joined)
    model = gdtrain.Model({"a": a, "b": b}, {"left": left, "right": right})
    return compiled(model, {"left": "mse", "right": loss})


def two_headed_data(examples=4):
    x = {"a": np.ones([examples, 2], "float32"), "b": column(*[1] * examples)}
    return x, {name: column(*[1] * examples) for name in ("left", "right")}


def test_healthy_step_is_nowhere():
    x, y = regression_data(8)
    cause = find(compiled(network()), x, y)
    assert cause.where == "nowhere"
    assert cause.kind == ""
    assert cause.examples == ()


def test_nan_in_one_example():
    x, y = regression_data(8)
    x[5, 1] = np.nan
    assert found(compiled(network()), x, y) == ("data", "x", "NaN", (5,))


def test_infinity_in_labels_and_weights_of_examples():
    x, y = regression_data(8)
    y[[1, 2]] = np.inf
    y[2] = np.nan
    model = compiled(network())
    assert found(model, x, y) == ("data", "y", "NaN and infinity", (1, 2))
    weight = np.ones(8)
    weight[7] = -np.inf
    y = np.zeros_like(y)
    expected = "data", "sample_weight", "infinity", (7,)
    assert found(model, x, y, weight) == expected


def test_part_of_nested_data_is_named():
    x, y = two_headed_data()
    model = two_headed("mse")
    y["right"][2] = np.nan
    assert found(model, x, y) == ("data", "y['right']", "NaN", (2,))
    x["b"][0] = np.nan
    assert found(model, x, y) == ("data", "x['b']", "NaN", (0,))


def test_integers_strings_ragged_and_sparse_data():
    model = compiled(NoCall())
    ragged = tf.ragged.constant([[1.0], [np.nan, 1.0], []])
    sparse = tf.SparseTensor([[0, 0], [2, 1]], [1.0, np.inf], [3, 2])
    for leaf, examples in ((ragged, (1,)), (sparse, (2,))):
        cause = find(model, tf.constant([1, 2, 3]), tf.constant(["a"]), leaf)
        assert (cause.where, cause.name) == ("data", "sample_weight")
        assert cause.examples == examples


def test_weight_that_was_bad_before():
    x, y = regression_data(8)
    model = compiled(network())
    kernel = model.get_layer("output").kernel
    kernel.assign(tf.fill(kernel.shape, np.nan))
    assert found(model, x, y) == ("weights", kernel.path, "NaN", ())


def test_infinite_constant_is_no_bad_weight():
    x, y = regression_data(8)
    model = network()
    model.add_weight(name="m", initializer="zeros", trainable=False).assign(
        -np.inf
    )
    assert find(compiled(model), x, y).where == "nowhere"


@pytest.mark.parametrize(
    "computation",
    [keras.ops.log, layers.Lambda(keras.ops.log, name="log")],
    ids=["operation", "layer"],
)
def test_logarithm_of_zero(computation):
    model = functional(computation)
    expected = "output", "log", "infinity", (1, 3)
    assert found(model, column(1, 0, 2, 0), column(1, 1, 1, 1)) == expected


def test_logarithm_in_a_model_in_a_model():
    x = keras.Input([1])
    inner = keras.Model(x, keras.ops.log(positive()(x)), name="inner")
    model = compiled(gdtrain.Sequential([inner, layers.Dense(1)]))
    model.build([None, 1])
    expected = "output", "log", "infinity", (1,)
    assert found(model, column(1, 0), column(1, 1)) == expected


def test_logarithm_in_a_call_names_the_model():
    class Log(gdtrain.Model):
        def __init__(self):
            super().__init__(name="subclass")
            self.dense = positive()

        def call(self, x):
            return keras.ops.log(self.dense(x))

    model = compiled(Log())
    model(column(1, 0))
    expected = "output", "subclass", "infinity", (0,)
    assert found(model, column(0, 1), column(1, 1)) == expected


def test_infinity_that_is_swallowed_is_not_blamed():
    def attention(x):
        masked = keras.ops.where(x > 1, x, -np.inf)
        other = keras.ops.log(x)
        return keras.ops.add(keras.ops.exp(masked), other)

    model = functional(attention)
    x, y = column(3, 0.5, 0), column(1, 1, 1)
    assert found(model, x, y)[1:] == ("log", "infinity", (2,))
    assert find(model, x[:2], y[:2]).where == "nowhere"


def test_overflow_of_float16():
    wide = layers.Dense(
        1, dtype="mixed_float16", kernel_initializer="ones", name="wide"
    )
    model = gdtrain.Sequential([keras.Input([2]), wide, layers.Dense(1)])
    x = np.array([[1, 1], [6e4, 6e4], [1, 1]], "float32")
    cause = find(compiled(model), x, column(1, 1, 1))
    assert (cause.name, cause.kind) == ("wide", "infinity")
    assert cause.examples == (1,)
    assert "float16 ends at 65504" in describe(cause, 1)


def test_loss_scaling_is_left_as_it_was():
    x, y = regression_data(8)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    model = compiled(network(), optimizer=optimizer)
    model.train_on_batch(x, y)
    assert find(model, x, y).where == "nowhere"


def cross_entropy(y, p):
    return -keras.ops.mean(y * keras.ops.log(p), axis=-1)


def test_loss_names_the_loss_and_its_examples():
    model = compiled(
        gdtrain.Sequential([keras.Input([1]), positive()]), cross_entropy
    )
    x = column(1, 1, 0, 1, 0)
    expected = "loss", "cross_entropy", "infinity", (2, 4)
    assert found(model, x, column(1, 1, 1, 1, 1)) == expected
    # 0 * log(0)
    cause = find(model, x, column(1, 1, 1, 1, 0))
    assert (cause.kind, cause.examples) == ("NaN", (2, 4))


def test_loss_of_one_of_two_outputs():
    def reciprocal(y, p):
        return keras.ops.mean(1 / y, axis=-1)

    x, y = two_headed_data()
    y["right"][3] = 0
    expected = "loss", "right_loss", "infinity", (3,)
    model = two_headed(reciprocal)
    assert found(model, x, y) == expected
    for variable in model.metrics_variables:  # Of steps before
        variable.assign(tf.fill(variable.shape, np.nan))
    assert found(model, x, y) == expected


def test_loss_that_layers_add():
    class Adds(layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.log(0.0 * keras.ops.sum(x)))
            return x

    model = functional(Adds())
    expected = "loss", "added by layers", "infinity", ()
    assert found(model, column(1, 2), column(1, 1)) == expected


def test_gradient_of_a_root_of_zero_names_what_it_is_of():
    def root(x):
        return keras.ops.sqrt(keras.ops.relu(x))

    model = functional(root)
    model.get_layer("head").kernel.assign([[1.0]])
    expected = "gradient", "relu", "infinity", (2,)
    assert found(model, column(1, 4, 0), column(3, 3, 3)) == expected


def test_gradient_of_a_weight_without_layers():
    class Root(gdtrain.Model):
        def __init__(self):
            super().__init__(name="root")
            self.w = self.add_weight(name="w", initializer="ones")

        def call(self, x):
            return keras.ops.sqrt(self.w * x)

    model = compiled(Root())
    x, y = column(1, 0, 2, 3, 0, 1, 1), column(3, 3, 3, 3, 3, 3, 3)
    where, name, _, examples = found(model, x, y)
    assert (where, name, examples) == ("gradient", model.w.path, (1, 4))


def test_examples_are_tried_from_the_state_before_the_step():
    class OnlyOnce(gdtrain.Model):
        def __init__(self):
            super().__init__(name="only_once")
            self.w = self.add_weight(name="w", initializer="ones")
            self.calls = self.add_weight(
                name="calls", initializer="zeros", trainable=False
            )

        def call(self, x):
            self.calls.assign_add(1.0)
            x = self.w * x
            return keras.ops.sqrt(x) if self.calls == 1 else x

    model = compiled(OnlyOnce())
    assert found(model, column(1, 0), column(3, 3))[3] == (1,)


def test_gradient_at_the_end_names_the_last_layer():
    def distance(y, p):
        return keras.ops.sqrt(keras.ops.mean((y - p) ** 2, axis=-1))

    model = compiled(
        gdtrain.Sequential([keras.Input([1]), positive()]), distance
    )
    expected = "gradient", "positive", "NaN", (1,)
    assert found(model, column(1, 2), column(3, 2)) == expected


def test_layer_that_traces_what_is_within_is_named_itself():
    class Traced(layers.Layer):
        def __init__(self):
            super().__init__(name="traced")
            self.inner = positive("inner")
            self.inner.build([None, 1])

        def call(self, x):
            return tf.function(lambda x: keras.ops.log(self.inner(x)))(x)

    model = functional(Traced())
    expected = "output", "traced", "infinity", (1,)
    assert found(model, column(1, 0), column(1, 1)) == expected


def test_update_that_overflows():
    x, y = regression_data(8)
    optimizer = keras.optimizers.SGD(3e38, momentum=0.9)
    model = compiled(network(), optimizer=optimizer)
    cause = find(model, 10 * x, 10 * y)
    assert cause.where == "update"
    assert cause.name in [w.path for w in model.trainable_variables]
    text = describe(cause, 3)
    assert "A learning rate that is too large does this" in text
    assert cause.largest["path"] in text


def test_clipping_keeps_an_update_finite():
    x, y = regression_data(8)
    model = compiled(
        network(), optimizer=keras.optimizers.SGD(1e37), global_clipnorm=0.1
    )
    assert find(model, 10 * x, 10 * y).where == "nowhere"


def test_weights_that_grew_too_large_give_the_advice():
    model = functional(lambda x: x)
    model.get_layer("positive").kernel.assign([[1e30]])
    cause = find(model, column(1, 2), column(1, 1))
    assert cause.where == "loss"
    assert cause.examples == (0, 1)
    assert "the largest weight is 1e+30 in 'positive/kernel'" in describe(
        cause, 9
    )


def test_random_numbers_are_those_of_the_step():
    seen = []

    def spy(x):
        if tf.executing_eagerly():
            seen.append(x.numpy())
        return x

    model = network(
        gdtrain.Sequential,
        layers.BatchNormalization(),
        layers.Dropout(0.5, seed=1),
        layers.Lambda(spy),
    )
    x, y = regression_data(8)
    compiled(model, run_eagerly=True, metrics=["mae"])
    x, y = tf.constant(x), tf.constant(y)
    model.train_on_batch(x, y)
    assert find(model, x, y).where == "nowhere"
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(seen[-1], seen[-2])


def test_layers_called_in_a_loop_are_followed():
    model = compiled(
        gdtrain.Sequential(
            [
                keras.Input([3, 1]),
                layers.LSTM(2, name="lstm"),
                layers.Dense(1),
                layers.Lambda(lambda x: x / 0.0, name="divide"),
            ]
        )
    )
    x, y = np.ones([2, 3, 1]), column(1, 1)
    assert found(model, x, y)[:2] == ("output", "divide")


class OwnStep(gdtrain.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = positive()
        self.log = layers.Lambda(keras.ops.log, name="log")

    def call(self, x):
        return self.log(self.dense(x))

    def train_step(self, data):
        raise AssertionError("not repeated")


def test_step_of_ones_own_is_looked_at_up_to_its_outputs():
    model = compiled(OwnStep())
    model(column(1, 1))
    assert found(model, column(1, 0))[:2] == ("output", "log")
    assert find(model, column(1, 1)).where == "nowhere"
    assert find(model, (column(1, 1),) * 3).where == "nowhere"


def test_model_under_a_strategy(two_replicas):
    with two_replicas.scope():
        model = functional(keras.ops.log)
    x, y = column(1, 0, 2), column(1, 1, 1)
    assert found(model, x, y) == ("output", "log", "infinity", (1,))
    assert find(model, x + 1, y).where == "nowhere"


@pytest.mark.parametrize(
    "cause, indices, words",
    [
        (
            Cause("data", "x", "NaN", (0, 2), 3),
            np.array([7, 8, 9]),
            "x has NaN for 2 of 3 examples: 7 and 9 in the data. Look at "
            "where x comes from.",
        ),
        (
            Cause("output", "log", "NaN", tuple(range(10)), 32),
            None,
            "the output of 'log' has NaN for 10 of 32 examples: number 0, 1, "
            "2, 3, 4, 5, 6, 7 and 2 more of the batch. Look at these "
            "examples, and at what 'log' computes.",
        ),
        (
            Cause("gradient", "relu", "infinity", (1,), 32),
            None,
            "the gradient at 'relu' has infinity for 1 of 32 examples: number "
            "1 of the batch. Look at these examples, and at what is computed "
            "from 'relu'.",
        ),
        (
            Cause("loss", "mse", "NaN", (0, 1), 2),
            None,
            "the loss 'mse' is NaN for all 2 examples. Look at what 'mse' "
            "computes, such as a logarithm of 0; or try a smaller learning "
            "rate, or `global_clipnorm`.",
        ),
        (
            Cause("weights", "w", "NaN"),
            None,
            "variable 'w' had NaN before it. Look at the steps before, or at "
            "where it was loaded from.",
        ),
    ],
    ids=lambda value: getattr(value, "where", ""),
)
def test_description(cause, indices, words):
    text = describe(cause, 41, indices)
    assert text == f"Step 41 was not finite: {words}"


def test_description_of_nothing_found():
    assert describe(Cause("nowhere"), 2).startswith("Step 2 was not finite. ")


def grown(factor=1e25):
    """A model whose weights have grown, a batch, and the weights before."""
    x, y = regression_data(8)
    model = compiled(network(), optimizer=keras.optimizers.SGD(1e6))
    start = [w.numpy() for w in model.trainable_variables]
    for weight in model.trainable_variables:
        weight.assign(factor * weight)
    return model, (x, y), start


def test_weights_that_grew_are_blamed_on_the_rate_not_on_the_data():
    model, batch, start = grown()
    cause = nonfinite.find(model, batch, start)
    assert (cause.where, cause.name, cause.kind) == (
        "growth",
        "1e+06",
        "too large",
    )
    assert cause.examples == ()
    text = describe(cause, 5)
    assert "the learning rate 1e+06 is too large. Since training" in text
    assert "with those from then, the same batch is finite. A learn" in text


def test_data_are_blamed_where_weights_before_do_not_help():
    model, (x, y), start = grown()
    x[5, 1] = np.nan
    cause = nonfinite.find(model, (x, y), start)
    assert (cause.where, cause.name) != ("growth", "1e+06")
    model, (x, y), start = grown(101.0)
    x[5, 1] = np.nan
    cause = nonfinite.find(model, (x, y), start)
    assert (cause.where, cause.name, cause.examples) == ("data", "x", (5,))
    assert cause.evidence == "With 0 in its place, the same step is finite."


def test_weights_that_decay_has_made_grow_are_blamed_on_it():
    model, batch, start = grown()
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=50.0), "mse")
    cause = nonfinite.find(model, batch, start)
    text = describe(cause, 5)
    assert "0.1 is too large for `weight_decay` of 50. Since" in text
    assert "Make `weight_decay` of 50 times the learning rate less" in text


def test_nan_that_the_model_fills_is_not_blamed():
    class Fill(layers.Layer):
        def call(self, x):
            return tf.where(tf.math.is_nan(x), 1.0, x)

    x = keras.Input([1])
    inside = keras.ops.log(positive()(Fill()(x)))
    model = compiled(gdtrain.Model(x, layers.Dense(1)(inside)))
    data = column(np.nan, 1, 0, np.nan)
    assert found(model, data, column(1, 1, 1, 1)) == (
        "output",
        "log",
        "infinity",
        (2,),
    )
    data[2] = 1
    assert find(model, data, column(1, 1, 1, 1)).where == "nowhere"


def masked(y, p):
    """A loss that leaves labels of NaN out, but not their gradient."""
    return tf.reduce_mean(tf.where(tf.math.is_nan(y), 0.0, (y - p) ** 2), -1)


def test_nan_that_the_loss_fills_forward_alone_is_named_with_its_gradient():
    model = compiled(gdtrain.Sequential([keras.Input([1]), positive()]), masked)
    cause = find(model, column(1, 2, 3), column(1, np.nan, 1))
    assert (cause.where, cause.name, cause.examples) == (
        "gradient",
        "positive",
        (1,),
    )
    assert cause.evidence == (
        "There, y has NaN. Without these examples, the same step is finite."
    )


def test_of_two_parts_with_nan_the_guilty_one_is_named():
    model = compiled(
        gdtrain.Sequential(
            [
                keras.Input([1]),
                layers.Lambda(lambda x: tf.where(tf.math.is_nan(x), 1.0, x)),
                positive(),
            ]
        )
    )
    x, y = column(np.nan, 1, 1), column(1, np.nan, 1)
    assert found(model, x, y) == ("data", "y", "NaN", (1,))


def test_all_rows_with_nan_are_proven_by_zeros():
    x, y = regression_data(4)
    x[:, 0] = np.nan
    cause = find(compiled(network()), x, y)
    assert (cause.name, cause.examples) == ("x", (0, 1, 2, 3))
    assert cause.evidence == "With 0 in its place, the same step is finite."


def test_averages_of_a_batch_with_nan_are_not_blamed():
    x, y = regression_data(4)
    x[2, 0] = np.nan
    model = network(gdtrain.Sequential, layers.BatchNormalization())
    assert found(compiled(model), x, y) == ("data", "x", "NaN", (2,))


def test_statistics_of_nan_are_named():
    x, y = regression_data(4)
    normalize = layers.Normalization()
    normalize.adapt(np.full([2, 3], np.nan))
    model = compiled(
        gdtrain.Sequential([keras.Input([3]), normalize, layers.Dense(1)])
    )
    cause = find(model, x, y)
    assert (cause.where, cause.name) == ("weights", normalize.variables[0].path)


class NoNumber(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return tf.constant(np.nan)


@pytest.mark.parametrize("rate", [NoNumber(), np.nan, np.inf])
def test_learning_rate_that_is_no_number(rate):
    x, y = regression_data(4)
    optimizer = keras.optimizers.SGD(rate)
    cause = find(compiled(network(), optimizer=optimizer), x, y)
    assert cause.where == "learning rate"
    kind = "infinity" if rate is np.inf else "NaN"
    assert f"the learning rate is {kind}. Look at the sch" in describe(cause, 1)


def evidence_of(optimizer, x, y):
    model = gdtrain.Sequential([keras.Input([3]), layers.Dense(1)])
    compiled(model, optimizer=optimizer)
    model.optimizer.build(model.trainable_variables)
    cause = find(model, x, y)
    assert cause.where == "update"
    settings = model.optimizer.get_config()
    assert settings == type(optimizer).from_config(settings).get_config()
    return describe(cause, 1)


def test_reason_of_an_update_is_found_by_making_it_otherwise():
    x, y = regression_data(8)
    text = evidence_of(keras.optimizers.SGD(3e38, momentum=0.9), 10 * x, y)
    assert "rate is 3e+38; with 0.001, the same update is finite" in text
    text = evidence_of(keras.optimizers.AdamW(1e3, weight_decay=1e38), x, y)
    assert "Without `weight_decay` (1e+38), the same update is f" in text
    x[:, 0] = 0
    text = evidence_of(keras.optimizers.Adam(epsilon=0.0), x, y)
    assert "epsilon of 1e-7 in the place of 0, the same update is" in text
    text = evidence_of(keras.optimizers.Adam(), 1e12 * x, y)
    assert "for a gradient of norm 1, the same update is finite. Write" in text


def test_labels_outside_of_the_classes_are_named():
    model = compiled(
        gdtrain.Sequential([keras.Input([1]), layers.Dense(3, "softmax")]),
        "sparse_categorical_crossentropy",
    )
    x, y = column(1, 2, 3, 4), np.array([0, 3, 2, -1])
    cause = find(model, x, y)
    assert (cause.where, cause.name, cause.examples) == ("data", "y", (1, 3))
    assert cause.kind == "labels outside of 0 to 2"


def test_weights_of_examples_that_overflow_are_named():
    x, y = regression_data(4)
    weights = np.array([1, 1, 3e38, 1], "float32")
    model = compiled(network())
    cause = find(model, x, 1e5 + y, weights)
    assert (cause.where, cause.name) == ("data", "sample_weight")
    assert "`class_weight`" in describe(cause, 1)


def test_regularizer_is_named():
    def logarithm(w):
        return tf.reduce_sum(tf.math.log(w - w))

    model = compiled(
        gdtrain.Sequential(
            [keras.Input([1]), layers.Dense(1, kernel_regularizer=logarithm)]
        )
    )
    cause = find(model, column(1, 2), column(1, 1))
    path = model.trainable_variables[0].path
    assert (cause.where, cause.name) == ("loss", f"regularizer of {path}")


def test_slot_that_was_bad_before():
    x, y = regression_data(4)
    model = compiled(network(), optimizer=keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    slot = model.optimizer.variables[-1]
    slot.assign(tf.fill(slot.shape, np.inf))
    assert found(model, x, y) == ("weights", slot.path, "infinity", ())


def test_search_that_fails_says_why():
    class OnlyInGraphs(layers.Layer):
        def call(self, x):
            if isinstance(x, tf.Tensor) and tf.executing_eagerly():
                raise RuntimeError("It is made for graphs. And so on")
            return x

    x, y = regression_data(4)
    model = compiled(network(gdtrain.Sequential, OnlyInGraphs()))
    cause = find(model, x, y)
    assert cause.where == "nowhere"
    assert "it raised RuntimeError: It is made for graphs" in cause.reason
    assert "all of it was finite" not in describe(cause, 1)


def test_batch_that_is_gone_is_said():
    cause = nonfinite.find(compiled(network()), None)
    assert describe(cause, 3) == (
        "Step 3 was not finite. Its batch is no longer available."
    )


class NoCall(gdtrain.Model):
    """As a GAN, it never calls itself."""

    def __init__(self):
        super().__init__(name="no_call")
        self.part = network()

    def train_step(self, data):
        raise AssertionError("not repeated")


def test_of_a_model_without_a_call_data_and_weights_are_searched():
    x, y = regression_data(4)
    model = compiled(NoCall())
    start = [w.numpy() for w in model.trainable_variables]
    cause = find(model, x, y)
    assert (
        "Its data, weights and learning rate are finite, its outputs are "
        "not known (Model NoCall does not have" in cause.reason
    )
    y[2] = np.nan
    assert found(model, x, y) == ("data", "y", "NaN", (2,))
    for weight in model.trainable_variables:
        weight.assign(1e9 * weight)
    y[2] = 0
    cause = nonfinite.find(model, (x, y), start)
    assert (cause.where, cause.kind) == ("growth", "too large")
    assert "same batch" not in cause.evidence
