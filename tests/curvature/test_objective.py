"""The loss as a function of the weights, against Keras and TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gdtrain
from gdtrain.curvature.objective import Objective
from tests.curvature import models
from tests.models import distance

layers = keras.layers


def of_kind(make):
    return pytest.mark.parametrize("make", make, ids=lambda f: f.__name__)


def vectors_like(objective, seed=5):
    return [
        models.numbers(*weight.shape, seed=seed) for weight in objective.weights
    ]


def assert_near(found, expected):
    """Both lists agree, but for rounding of the largest in float32."""
    largest = max(np.max(np.abs(one)) for one in expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * largest)


def loss_by_hand(model, x, y, training=False):
    """The loss as a step finds it, from the weights in their variables."""
    y = tf.nest.map_structure(tf.convert_to_tensor, y)
    return model.compute_loss(x, y, model(x, training=training))


def product_by_hand(model, x, y, vectors):
    """The Hessian times a vector by forward differentiation of a gradient."""
    weights = [w.value for w in model.trainable_variables]
    vectors = [tf.cast(v, w.dtype) for v, w in zip(vectors, weights)]
    with tf.autodiff.ForwardAccumulator(weights, vectors) as forward:
        with tf.GradientTape() as tape:
            loss = loss_by_hand(model, x, y)
        gradients = [
            tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)
        ]
    return [forward.jvp(gradient).numpy() for gradient in gradients]


@pytest.mark.mostly_long("several", "convolutional", "recurrent")
@of_kind(models.KINDS)
def test_gradient_is_that_of_a_tape(make):
    model, x, y = make()
    loss, gradient = Objective(model, x, y, batch_size=4).gradient()
    with tf.GradientTape() as tape:
        expected = loss_by_hand(model, x, y)
    by_tape = tape.gradient(expected, model.trainable_weights)
    assert float(loss) == pytest.approx(float(expected), rel=2e-6)
    assert_near(gradient, [tf.convert_to_tensor(one) for one in by_tape])


@pytest.mark.mostly_long("4-convolutional", "256-several")
@of_kind([models.convolutional, models.several])
@pytest.mark.parametrize("batch_size", [4, 256])
def test_loss_is_what_evaluate_finds(make, batch_size):
    model, x, y = make()
    loss = Objective(model, x, y, batch_size=batch_size).loss()
    expected = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert float(loss) == pytest.approx(expected, rel=2e-6)


# Forward differentiation does not get through the loop of a recurrent layer.
@pytest.mark.mostly_long("double", "several")
@of_kind([models.smooth, models.double, models.convolutional, models.several])
def test_product_is_that_of_forward_differentiation(make):
    model, x, y = make()
    objective = Objective(model, x, y, batch_size=4)
    vectors = vectors_like(objective)
    found = objective.hessian_vector_product(vectors)
    expected = product_by_hand(model, x, y, vectors)
    assert_near(found, expected)


def test_product_of_a_recurrent_network_is_a_difference_of_gradients():
    model, x, y = models.recurrent()
    objective = Objective(model, x, y)
    vectors, now = vectors_like(objective), objective.values()
    (_, after), (_, before) = (
        objective.gradient([w + step * v for w, v in zip(now, vectors)])
        for step in (3e-3, -3e-3)
    )
    found = objective.hessian_vector_product(vectors)
    for one, plus, minus in zip(found, after, before, strict=True):
        # The error of the difference is of the order of step ** 2.
        np.testing.assert_allclose(one, (plus - minus) / 6e-3, atol=1e-3)
    assert max(np.max(np.abs(one)) for one in found) > 0.3


def test_line_has_the_closed_form():
    model, x, y = models.line()
    objective = Objective(model, x, y, batch_size=30)
    w, b = 2.0, -1.0
    loss, (of_w, of_b) = objective.gradient([[[w]], [b]])
    error = (w * x + b - y).astype("float64")
    assert float(loss) == pytest.approx(np.mean(error**2), rel=1e-6)
    assert float(of_w[0, 0]) == pytest.approx(np.mean(2 * error * x), rel=1e-6)
    assert float(of_b[0]) == pytest.approx(np.mean(2 * error), rel=1e-6)
    along_w, along_b = objective.hessian_vector_product([[[1.0]], [0.0]])
    assert float(along_w[0, 0]) == pytest.approx(2 * np.mean(x**2), rel=1e-6)
    assert float(along_b[0]) == pytest.approx(2 * np.mean(x), rel=1e-6)


def test_sample_weights_count():
    model, x, y = models.several()
    weights = np.random.default_rng(3).random(11).astype("float32")
    by_output = {"a": weights, "b": weights[::-1].copy()}
    objective = Objective(model, x, y, by_output, batch_size=4)
    expected = model.evaluate(
        x, y, sample_weight=by_output, verbose=0, return_dict=True
    )["loss"]
    assert float(objective.loss()) == pytest.approx(expected, rel=2e-6)


def test_some_examples_are_spread_evenly():
    model, x, y = models.line()
    some = Objective(model, x, y, examples=4)
    rows = [0, 25, 50, 75]
    assert some.examples == 4
    assert float(some.loss()) == pytest.approx(
        model.evaluate(x[rows], y[rows], verbose=0), rel=1e-6
    )
    tensors = Objective(model, tf.constant(x), tf.constant(y), examples=4)
    assert float(tensors.loss()) == float(some.loss())
    assert Objective(model, x, y, examples=1000).examples == 100


def test_first_examples_of_a_dataset_are_taken():
    model, x, y = models.line()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    whole = Objective(model, dataset)
    assert whole.examples == 100
    assert float(whole.loss()) == float(Objective(model, x, y).loss())
    first = Objective(model, dataset.repeat(), examples=10)
    assert first.examples == 10
    assert float(first.loss()) == float(Objective(model, x[:10], y[:10]).loss())


@pytest.mark.mostly_long("True")
@pytest.mark.parametrize("training", [False, True])
def test_nothing_of_the_model_changes(training):
    model, x, y = models.convolutional()
    model.fit(x, y, batch_size=4, verbose=0)
    before = models.everything(model)
    objective = Objective(model, x, y, batch_size=4, training=training)
    objective.gradient()
    objective.hessian_vector_product(vectors_like(objective))
    assert models.everything(model) == before


def test_model_that_never_trained_trains_as_if_it_had_not_been_looked_at():
    results = []
    for looks in (False, True):
        keras.utils.set_random_seed(1)
        model, x, y = models.several()
        if looks:
            Objective(model, x, y).gradient()
        history = model.fit(x, y, verbose=0, epochs=2).history
        results.append((history, [w.tobytes() for w in model.get_weights()]))
    assert results[0] == results[1]


def test_training_mode_uses_the_statistics_of_the_batch():
    model, x, y = models.convolutional()
    model.layers[4].rate = 0.0
    objective = Objective(model, x, y, training=True)
    moved = float(loss_by_hand(model, x, y, training=True))
    assert float(objective.loss()) == pytest.approx(moved, rel=1e-6)
    other = float(Objective(model, x, y).loss())
    assert abs(other - moved) > 0.01 * moved


def test_training_mode_drops_out_the_same_units_at_each_call():
    model, x, y = models.convolutional()
    objective = Objective(model, x, y, training=True, batch_size=4)
    losses = {float(objective.loss()) for _ in range(3)}
    model.fit(x, y, verbose=0)  # Moves the state of the generator
    model.set_weights([0.5 * weight for weight in model.get_weights()])
    values = objective.values()
    losses.add(float(objective.loss(values)))
    assert len(losses) == 2
    assert len({float(objective.loss(values)) for _ in range(3)}) == 1


def test_parts_drop_out_other_units():
    inputs = keras.Input([1000])
    model = gdtrain.Model(inputs, layers.Dropout(0.5)(inputs))
    model = gdtrain.Sequential([model, layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mae")
    model.build([None, 1000])
    x = np.ones([2, 1000], "float32")
    objective = Objective(
        model, x, np.zeros([2, 1]), training=True, batch_size=1
    )
    _, (gradient,) = objective.gradient([np.ones([1000, 1], "float32")])
    # Two independent masks: 0, 1 or 2 of them keep a unit.
    shares = np.unique(gradient.numpy(), return_counts=True)[1] / 1000
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.06)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_computed_in_float32(policy):
    def network(dtype):
        keras.utils.set_random_seed(0)
        model = gdtrain.Sequential(
            [
                keras.Input([3]),
                layers.Dense(4, "tanh", dtype=dtype),
                layers.Dense(1, dtype=dtype),
            ]
        )
        model.compile("sgd", "mse")
        return model

    x, y = models.numbers(20, 3), models.numbers(20, 1)
    half, single = network(policy), network("float32")
    found = Objective(half, x, y).gradient()[1]
    expected = Objective(single, x, y).gradient()[1]
    assert distance(found, expected) < 1e-6
    assert {layer.compute_dtype for layer in half.layers} == {policy[6:]}


def test_values_are_those_of_their_time():
    model, x, y = models.line()
    objective = Objective(model, x, y)
    values, loss = objective.values(), float(objective.loss())
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert float(objective.loss(values)) == loss
    assert float(objective.loss()) != loss


def test_weight_that_the_loss_does_not_depend_on_has_zeros():
    inputs = keras.Input([1])
    used = layers.Dense(1, name="used")(inputs)
    unused = layers.Dense(1, name="unused")(inputs)
    model = gdtrain.Model(inputs, {"used": used, "unused": unused})
    model.compile("sgd", {"used": "mse"})
    x = models.numbers(5, 1)
    objective = Objective(model, x, {"used": x})
    products = objective.hessian_vector_product(vectors_like(objective))
    by_name = {
        weight.path: np.abs(product).max()
        for weight, product in zip(objective.weights, products)
    }
    assert by_name["unused/kernel"] == by_name["unused/bias"] == 0
    assert by_name["used/kernel"] > 0.1


def test_loss_and_layers_of_the_users_own_count():
    class Own(gdtrain.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(initializer="ones")
            self.seen = keras.metrics.Mean("seen")

        def call(self, x):
            self.add_loss(3 * self.w**2)
            return self.w * x

        def compute_loss(self, x, y, y_pred, sample_weight=None):
            self.seen.update_state(1.0)
            return tf.reduce_mean((y - y_pred) ** 2) + sum(self.losses)

    model, x = Own(), np.array([[1.0], [2.0]], "float32")
    model.compile("sgd")
    model(x)
    objective = Objective(model, x, 0 * x)
    assert float(objective.loss([2.0])) == pytest.approx(4 * (2.5 + 3))
    assert float(objective.hessian_vector_product([1.0])[0]) == 11.0
    assert float(model.seen.total) == 0


def test_eager_model_is_looked_at_eagerly():
    class Eager(keras.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight(initializer="ones")

        def call(self, x):
            return self.w * float(x[0, 0])  # No graph can do this.

    model = Eager()
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.full([2, 1], 3.0, "float32")
    model(x)
    product = Objective(model, x, x).hessian_vector_product([1.0])
    assert float(product[0]) == pytest.approx(18.0)


def test_model_made_under_replicas_is_read_from_the_first(two_replicas):
    keras.utils.set_random_seed(0)
    plain, x, y = models.smooth()
    keras.utils.set_random_seed(0)
    with two_replicas.scope():
        model, *_ = models.smooth()
    expected = Objective(plain, x, y).gradient()
    for inside in (False, True):
        objective = Objective(model, x, y, batch_size=7)
        if inside:
            with two_replicas.scope():
                loss, gradient = objective.gradient()
        else:
            loss, gradient = objective.gradient()
        assert float(loss) == pytest.approx(float(expected[0]), rel=1e-6)
        assert distance(gradient, expected[1]) < 1e-6


def test_model_that_is_not_compiled_or_built_is_refused():
    model = keras.Sequential([keras.Input([1]), layers.Dense(1)])
    x = np.ones([2, 1])
    with pytest.raises(RuntimeError, match="which is not compiled"):
        Objective(model, x, x)
    model.compile("sgd")
    with pytest.raises(ValueError, match="must have a loss.*loss=None"):
        Objective(model, x, x).loss()
    later = keras.Sequential([layers.Dense(1)])
    later.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="which is not built"):
        Objective(later, x, x)
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must have trainable weights"):
        Objective(model, x, x)


def test_sum_over_several_parts_is_refused():
    model, x, y = models.line()
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(ValueError, match="must be a mean.*reduction='sum'"):
        Objective(model, x, y, batch_size=99)
    whole = Objective(model, x, y, batch_size=100)
    assert float(whole.loss([[[0.0]], [0.0]])) == pytest.approx(
        np.sum(y**2), rel=1e-6
    )


def test_data_that_cannot_be_used_are_refused():
    model, x, y = models.line()
    with pytest.raises(TypeError, match="`x` must be arrays"):
        Objective(model, ((x, y) for _ in range(2)))
    with pytest.raises(ValueError, match="must have at least one example"):
        Objective(model, x[:0], y[:0])
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    with pytest.raises(ValueError, match="The dataset has no end"):
        Objective(model, dataset.repeat())
    with pytest.raises(ValueError, match="dataset must have at least one"):
        Objective(model, dataset.take(0))
    for name in ("examples", "batch_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive"):
            Objective(model, x, y, **{name: 0})
