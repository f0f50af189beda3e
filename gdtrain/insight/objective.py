"""The loss of a model over data, as a function of its weights."""

import keras
import tensorflow as tf

from gdtrain import checks, keras_bridge
from gdtrain.engine import variables
from gdtrain.insight import examples as examples_of_data


class Objective:
    """The compiled loss of a model over data, as a function of its weights.

        loss(w) = mean over examples of loss(example, w) + regularisation(w)

    as `fit` would report it for one batch of all the examples. It touches
    nothing: neither weights, moving averages, metrics nor random generators,
    and not the optimizer.

    The data are worked on `batch_size` examples at a time, so that memory
    does not grow with them (they themselves are kept on the device). The mean
    over parts weighs each by its examples: exact for losses that are a mean
    over examples, whatever `batch_size` is.

    Models of mixed precision are computed in float32.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        x, y, sample_weight: The data, as in `keras.Model.fit`: arrays or
            tensors, also in lists and dicts; or for `x` alone a
            `tf.data.Dataset` of batches, which is read once.
        examples: How many examples to look at: of arrays, ones spread evenly;
            of a dataset, the first. Defaults to `None`, all.
        batch_size: How many examples are worked on at a time. Defaults to
            256: large enough to be fast, small enough for most memories.
        training: The mode of layers such as dropout and batch normalization.
            Defaults to `False`: nothing is dropped out, and moving averages
            are used, so that the loss is a function of the weights alone. If
            `True`, each part of `batch_size` examples is normalized by its
            own statistics, and what is dropped out is the same at each call.

    Raises:
        RuntimeError: if the model is not compiled or not built.
        ValueError: if it has no loss or no trainable weights, a loss is a sum
            and there are several parts, or the data have no examples.
        TypeError: if the data are of another kind.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = tf.constant([[0.0], [2.0]])
    >>> objective = Objective(model, x, 3 * x)
    >>> loss, gradient = objective.gradient([[[1.0]], [0.0]])
    >>> [g.numpy().tolist() for g in gradient]
    [[[-8.0]], [-4.0]]
    >>> product = objective.hessian_vector_product([[[1.0]], [0.0]])
    >>> [p.numpy().tolist() for p in product]
    [[[4.0]], [2.0]]
    """

    def __init__(
        self,
        model,
        x,
        y=None,
        sample_weight=None,
        *,
        examples=None,
        batch_size=256,
        training=False,
    ):
        self._check_model(model)
        self._model = model
        self._training = bool(training)
        batch_size = checks.positive_integer("batch_size", batch_size)
        self._data = examples_of_data.take(
            x, y, sample_weight, examples=examples, batch_size=batch_size
        )
        #: How many examples the loss is a mean over, an `int`.
        self.examples = examples_of_data.count_of(self._data)
        self._size = min(batch_size, self.examples)
        self._check_parts()
        #: The trainable weights, a list of `keras.Variable`.
        self.weights = list(model.trainable_variables)
        is_double = any(w.dtype == "float64" for w in self.weights)
        #: What is computed in: float32, or float64 where weights are.
        self.dtype = tf.float64 if is_double else tf.float32
        self._seeds = [
            (variable, variable.numpy())
            for variable in keras_bridge.random_states(model)
        ]
        self._compiled = {
            function: function if model.run_eagerly else tf.function(
                function, autograph=False
            )
            for function in (self._loss, self._gradient, self._product)
        }

    def _check_model(self, model):
        """Refuses a model whose loss cannot be had."""
        if not getattr(model, "compiled", False) or not model.built:
            state = "built" if getattr(model, "compiled", False) else "compiled"
            raise RuntimeError(
                "The model must be built and compiled with a loss. Received: "
                f"model {model.name!r}, which is not {state}. Call "
                "`model.compile(optimizer, loss)`, and `model(x[:1])`."
            )
        plain = type(model).compute_loss is keras.Model.compute_loss
        if plain and not model.loss and not model.losses:
            raise ValueError(
                "The model must be compiled with a loss. Received: model "
                f"{model.name!r} with loss={model.loss!r}. Call "
                "`model.compile(optimizer, loss)`, or override "
                "`compute_loss`."
            )
        if not model.trainable_variables:
            raise ValueError(
                "The model must have trainable weights. Received: model "
                f"{model.name!r} with none. Set `trainable = True` on a layer."
            )

    def _check_parts(self):
        """Refuses a sum where a mean over parts is taken."""
        if self._size == self.examples:
            return
        for loss in keras.tree.flatten(self._model.loss):
            if getattr(loss, "reduction", None) == "sum":
                raise ValueError(
                    "A loss over several parts must be a mean over examples. "
                    f"Received: {type(loss).__name__}(reduction='sum') with "
                    f"{self.examples} examples and batch_size={self._size}. "
                    f"Pass batch_size={self.examples}, or compile with "
                    "reduction='sum_over_batch_size'."
                )

    def values(self):
        """The values of the weights now.

        Returns:
            A list of tensors of `dtype`, one for each of `weights`: of the
            first replica's, where there are several.
        """
        strategy = self._model.distribute_strategy
        return [
            tf.cast(variables.parts(weight, strategy)[0], self.dtype)
            for weight in self.weights
        ]

    def loss(self, values=None):
        """The loss.

        Args:
            values: Values of the weights, a list of tensors of their shapes.
                Defaults to `None`, the values now.

        Returns:
            A scalar of `dtype`.
        """
        return self._call(self._loss, self._given(values))[0]

    def gradient(self, values=None):
        """The loss, and its gradient with respect to each weight.

        Args:
            values: As in `loss`.

        Returns:
            `(loss, gradient)`: a scalar, and a list of tensors of the shapes
            of the weights; zeros for a weight that it does not depend on.
        """
        loss, *gradient = self._call(self._gradient, self._given(values))
        return loss, gradient

    def hessian_vector_product(self, vectors, values=None):
        """The Hessian of the loss times a vector.

            product = d/dw sum(gradient(w) * vector)

        It takes about four times as long as the loss.

        Args:
            vectors: The vector: a list of tensors of the shapes of the
                weights.
            values: As in `loss`.

        Returns:
            A list of tensors of the shapes of the weights.
        """
        vectors = [tf.cast(vector, self.dtype) for vector in vectors]
        return self._call(self._product, self._given(values), vectors)

    def _given(self, values):
        if values is None:
            return self.values()
        return [tf.cast(value, self.dtype) for value in values]

    def _call(self, function, *arguments):
        return self._compiled[function](*arguments)

    def _loss(self, values):
        return self._mean(lambda start: [self._part(values, start)], [()])

    def _gradient(self, values):
        def gradient(start):
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss = self._part(values, start)
            return [loss, *_gradient(tape, loss, values)]

        return self._mean(gradient, [(), *(v.shape for v in values)])

    def _product(self, values, vectors):
        def product(start):
            with tf.GradientTape() as outer:
                outer.watch(values)
                with tf.GradientTape() as tape:
                    tape.watch(values)
                    loss = self._part(values, start)
                slope = tf.add_n(
                    [
                        tf.reduce_sum(gradient * vector)
                        for gradient, vector in zip(
                            _gradient(tape, loss, values), vectors, strict=True
                        )
                    ]
                )
            return _gradient(outer, slope, values)

        return self._mean(product, [v.shape for v in values])

    def _mean(self, function, shapes):
        """The mean of a function of parts, weighted by their examples."""
        if self._size == self.examples:
            return function(0)

        def add(start, totals):
            count = tf.minimum(self._size, self.examples - start)
            share = tf.cast(count, self.dtype) / self.examples
            return start + self._size, [
                total + share * tensor
                for total, tensor in zip(totals, function(start), strict=True)
            ]

        zeros = [tf.zeros(shape, self.dtype) for shape in shapes]
        _, totals = tf.while_loop(
            lambda start, totals: start < self.examples,
            add,
            (0, zeros),
            parallel_iterations=1,  # The memory of one part
        )
        return totals

    def _part(self, values, start):
        """The loss of the part that begins with example `start`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            keras.tree.map_structure(
                lambda leaf: self._rows(leaf, start), self._data
            )
        )
        state = [*zip(self.weights, values, strict=True)]
        state += [
            # A part of its own for each part, the same at each call.
            (seed, tf.cast([0, start], value.dtype) + value)
            for seed, value in self._seeds
        ]
        # In it, whatever layers and metrics assign is dropped on leaving.
        with (
            keras_bridge.computing_in_float32(self._model),
            keras_bridge.loss_scaling(_same, _same),
            keras.StatelessScope(state, collect_losses=True),
        ):
            y_pred = self._model(x, training=self._training)
            loss = keras_bridge.compute_loss(
                self._model, x, y, y_pred, sample_weight, self._training
            )
        return tf.cast(loss, self.dtype)

    def _rows(self, leaf, start):
        """The rows of a part."""
        if leaf is None or self._size == self.examples:
            return leaf
        rows = leaf[start : start + self._size]
        if self.examples % self._size == 0:
            rows.set_shape([self._size, *leaf.shape[1:]])
        return rows


def _same(loss):
    return loss


def _gradient(tape, target, values):
    """The gradient as dense tensors, with zeros where there is none."""
    gradients = tape.gradient(
        target, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
