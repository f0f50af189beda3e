"""The loss of a model over data, as a function of its weights."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.keras_bridge import data as keras_data
from gdtrain.keras_bridge import layers, losses, patches, randomness
from gdtrain.state import variables

#: One tensor for each weight.
Tensors = list[tf.Tensor]
#: The same as a caller may pass them: whatever TensorFlow makes tensors of.
Arrays = Sequence[Any]
#: The first example of a part
Start: TypeAlias = int | tf.Tensor


def gradient_of(
    function: Callable[[], tf.Tensor], values: Tensors
) -> tuple[tf.Tensor, Tensors]:
    """The value of a function, and its gradient.

    Args:
        function: Without arguments, returns a scalar made from `values`.
        values: A list of tensors.

    Returns:
        `(value, gradient)`: a scalar, and a list of dense tensors of the
        shapes of `values`; zeros for one that it does not depend on.

    Example:

    >>> w = tf.constant([1.0, 2.0])
    >>> value, gradients = gradient_of(lambda: tf.reduce_sum(w**3), [w])
    >>> float(value), gradients[0].numpy().tolist()
    (9.0, [3.0, 12.0])
    """
    with tf.GradientTape() as tape:
        tape.watch(values)
        value = function()
    gradients = tape.gradient(
        value, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    # Those of embeddings are indexed slices.
    return value, [tf.convert_to_tensor(one) for one in gradients]


def hessian_vector_product(
    function: Callable[[], tf.Tensor], values: Tensors, vectors: Tensors
) -> Tensors:
    """The Hessian of a function times a vector.

        product = d/dw sum(gradient(w) * vector)

    Args:
        function: Without arguments, returns a scalar made from `values`.
        values: A list of tensors.
        vectors: The vector: a list of tensors of their shapes.

    Returns:
        A list of dense tensors of the shapes of `values`.

    Example:

    >>> w = tf.constant([1.0, 2.0])
    >>> hessian_vector_product(
    ...     lambda: tf.reduce_sum(w**3), [w], [tf.constant([1.0, 1.0])]
    ... )[0].numpy().tolist()
    [6.0, 12.0]

    References:
        Pearlmutter, Fast Exact Multiplication by the Hessian, Neural
        Computation, 1994.
    """

    def slope() -> tf.Tensor:
        _, gradients = gradient_of(function, values)
        pairs = zip(gradients, vectors, strict=True)
        return tf.add_n([tf.reduce_sum(one * by) for one, by in pairs])

    return gradient_of(slope, values)[1]


def check_model(model: keras.Model) -> None:
    """Refuses a model whose loss cannot be computed.

    Raises:
        RuntimeError: if it is not compiled or not built.
        ValueError: if it has no trainable weights.
    """
    if not model.compiled or not model.built:
        raise RuntimeError(
            "The model must be built and compiled with a loss. Received: "
            f"model {model.name!r}, which is not "
            f"{'built' if model.compiled else 'compiled'}. Call "
            "`model.compile(optimizer, loss)`, and `model(x[:1])`."
            + more("curvature")
        )
    if not model.trainable_variables:
        raise ValueError(
            "The model must have trainable weights. Received: model "
            f"{model.name!r} with none. Set `trainable = True` on a layer."
        )


def check_parts(model: keras.Model, examples: int, batch_size: int) -> None:
    """Refuses a loss that is a sum where a mean over parts is taken.

    Raises:
        ValueError: if there is one, and there are several parts.
    """
    if examples <= batch_size:
        return
    for loss in keras.tree.flatten(model.loss):
        if isinstance(loss, keras.losses.Loss) and loss.reduction == "sum":
            raise ValueError(
                "A loss over several parts must be a mean over examples. "
                f"Received: {type(loss).__name__}(reduction='sum') with "
                f"{examples} examples and batch_size={batch_size}. Pass "
                f"batch_size={examples}, or compile with "
                "reduction='sum_over_batch_size'." + more("curvature")
            )


def _check_loss(model: keras.Model) -> None:
    """Refuses a model without a loss; layers have added theirs by now."""
    is_plain = type(model).compute_loss is keras.Model.compute_loss
    if is_plain and not model.loss and not model.losses:
        raise ValueError(
            f"The model must have a loss. Received: model {model.name!r}, "
            f"compiled with loss={model.loss!r}. Call "
            "`model.compile(optimizer, loss)`, or override `compute_loss`."
            + more("curvature")
        )


def _undivided(loss: tf.Tensor) -> tf.Tensor:
    """A loss as it is, also within the scope of several replicas."""
    return loss


def take(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    examples: int | None = None,
) -> Any:
    """All examples of some data, or a number of them, as tensors.

    Of arrays with n examples, example i of those taken is number
    i * n // examples, so that they are spread evenly and are the same at each
    call. Of a dataset they are the first ones; it is read once, here.

    Args:
        x, y, sample_weight: As in `keras.Model.fit`: arrays or tensors, also
            in lists and dicts, or for `x` alone a `tf.data.Dataset` of
            batches.
        examples: How many to take, at most. Defaults to `None`, all.

    Returns:
        A structure of tensors of shape `[examples, ...]`: a batch as
        `train_step` receives it.

    Raises:
        TypeError: if the data are neither arrays nor a dataset.
        ValueError: if there are no examples, or the dataset has no end and
            `examples` is not given.

    Example:

    >>> x = take(tf.range(10), examples=4)
    >>> x.numpy().tolist()
    [0, 2, 5, 7]
    """
    if examples is not None:
        examples = checks.positive_integer("examples", examples)
    if isinstance(x, tf.data.Dataset):
        return _first(x, examples)
    adapter = keras_data.data_adapter(x, y, sample_weight, batch_size=1)
    arrays = keras_data.arrays_of(adapter)
    if arrays is None:
        raise TypeError(
            "`x` must be arrays, dense tensors or a `tf.data.Dataset`. "
            f"Received: x of type {type(x).__name__}. Pass some examples as "
            "NumPy arrays." + more("curvature")
        )
    count = _count_of(arrays)
    if not count:
        raise ValueError(
            "The data must have at least one example. Received: none."
        )
    rows = None
    if examples is not None and examples < count:
        rows = [i * count // examples for i in range(examples)]
    return keras.tree.map_structure(lambda leaf: _gathered(leaf, rows), arrays)


def _gathered(array: Any, rows: list[int] | None) -> tf.Tensor | None:
    """Some rows of an array as a tensor; all for `None`."""
    if array is None:
        return None
    if rows is None:
        return tf.convert_to_tensor(array)
    if tf.is_tensor(array):
        return tf.gather(array, rows)
    return tf.convert_to_tensor(array[rows])


def _first(dataset: tf.data.Dataset, examples: int | None) -> Any:
    """The first examples of a dataset of batches."""
    endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    if examples is None and endless:
        raise ValueError(
            "The dataset has no end. Pass `examples` to take its first ones, "
            "for example examples=1000." + more("curvature")
        )
    batches, count = [], 0
    for batch in dataset:
        batches.append(batch)
        count += _count_of(batch)
        if examples is not None and count >= examples:
            break
    if not count:
        raise ValueError(
            "The dataset must have at least one example. Received: none."
        )
    return keras.tree.map_structure(
        lambda *leaves: tf.concat(leaves, 0)[:examples], *batches
    )


def _count_of(data: Any) -> int:
    """Number of examples: the length of the first array."""
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    return len(leaves[0])


class Objective:
    """The compiled loss of a model over data, as a function of its weights.

        loss(w) = mean over examples of loss(example, w) + regularisation(w)

    as `fit` would report it for one batch of all the examples. It touches
    nothing: neither weights, moving averages, metrics nor random generators,
    and not the optimizer.

    The data are worked on `batch_size` examples at a time, so that memory
    does not grow with them (they themselves are kept on the device). The mean
    over parts weighs each by its examples: exact for losses that are a mean
    over examples, whatever `batch_size` is; not for those that divide by what
    masks or sample weights of a batch add up to.

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
            own statistics, and dropout is the same at each call.

    Raises:
        RuntimeError: if the model is not compiled or not built.
        ValueError: if it has no trainable weights, a loss is a sum and there
            are several parts, or the data have no examples; at the first
            call, if it has no loss.
        TypeError: if the data are of a wrong type.

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
        model: keras.Model,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        examples: int | None = None,
        batch_size: int = 256,
        training: bool = False,
    ) -> None:
        check_model(model)
        #: The model.
        self.model = model
        self._training = bool(training)
        batch_size = checks.positive_integer("batch_size", batch_size)
        self._data = take(x, y, sample_weight, examples=examples)
        #: How many examples the loss is a mean over, an `int`.
        self.examples = _count_of(self._data)
        self._part_size = min(batch_size, self.examples)
        check_parts(model, self.examples, batch_size)
        #: The trainable weights, a list of `keras.Variable`.
        self.weights = list(model.trainable_variables)
        self._shapes = [weight.shape for weight in self.weights]
        self._sizes = [shape.num_elements() for shape in self._shapes]
        #: How many numbers they are, an `int`.
        self.size = sum(self._sizes)
        is_double = any(w.dtype == "float64" for w in self.weights)
        #: Of the computation: float32, or float64 where weights are.
        self.dtype = tf.float64 if is_double else tf.float32
        self._seeds = [
            (variable, variable.numpy())
            for variable in randomness.random_states(model)
        ]
        self._compiled_loss = self.compiled(self._loss)
        self._compiled_gradient = self.compiled(self._gradient)
        self._compiled_product = self.compiled(self._product)

    def compiled(self, function: Callable) -> Callable:
        """A function as a program, unless the model is to run eagerly."""
        if self.model.run_eagerly:
            return function
        # As a `partial`, each is a function of its own. TensorFlow counts a
        # method of several objects as one that is traced again and again.
        return tf.function(functools.partial(function), autograph=False)

    def values(self) -> Tensors:
        """The values of the weights now.

        Returns:
            A list of tensors of `dtype`, one for each of `weights`: of the
            first replica's, where there are several.
        """
        strategy = self.model.distribute_strategy
        first = [variables.parts(w, strategy)[0] for w in self.weights]
        # Of a variable, `tf.cast` alone would give back the variable itself.
        return [tf.cast(tf.convert_to_tensor(v), self.dtype) for v in first]

    def loss(self, values: Arrays | None = None) -> tf.Tensor:
        """The loss.

        Args:
            values: Values of the weights, a list of tensors of their shapes.
                Defaults to `None`, the values now.

        Returns:
            A scalar of `dtype`.
        """
        return self._compiled_loss(self._given(values))[0]

    def gradient(
        self, values: Arrays | None = None
    ) -> tuple[tf.Tensor, Tensors]:
        """The loss, and its gradient with respect to each weight.

        Args:
            values: As in `loss`.

        Returns:
            `(loss, gradient)`: a scalar, and a list of tensors of the shapes
            of the weights; zeros for a weight that it does not depend on.
        """
        loss, *gradient = self._compiled_gradient(self._given(values))
        return loss, gradient

    def hessian_vector_product(
        self, vectors: Arrays, values: Arrays | None = None
    ) -> Tensors:
        """The Hessian of the loss times a vector.

            product = d/dw sum(gradient(w) * vector)

        It takes 3 times as long as the loss for large dense layers, 8 times
        for convolutions.

        Args:
            vectors: The vector: a list of tensors of the shapes of the
                weights.
            values: As in `loss`.

        Returns:
            A list of tensors of the shapes of the weights.
        """
        vectors = [tf.cast(vector, self.dtype) for vector in vectors]
        return self._compiled_product(self._given(values), vectors)

    def split(self, vector: tf.Tensor) -> Tensors:
        """A vector `[size]` as tensors of the shapes of the weights."""
        return [
            tf.reshape(part, shape)
            for part, shape in zip(
                tf.split(vector, self._sizes), self._shapes, strict=True
            )
        ]

    def _given(self, values: Arrays | None) -> Tensors:
        """Values of the weights as tensors, those now for `None`."""
        if values is None:
            return self.values()
        return [
            tf.cast(tf.convert_to_tensor(value), self.dtype) for value in values
        ]

    def _loss(self, values: Tensors) -> Tensors:
        return self._mean(lambda start: [self._part(values, start)], [()])

    def _gradient(self, values: Tensors) -> Tensors:
        def gradient(start: Start) -> Tensors:
            loss, gradients = gradient_of(
                lambda: self._part(values, start), values
            )
            return [loss, *gradients]

        return self._mean(gradient, [(), *(v.shape for v in values)])

    def _product(self, values: Tensors, vectors: Tensors) -> Tensors:
        def product(start: Start) -> Tensors:
            return hessian_vector_product(
                lambda: self._part(values, start), values, vectors
            )

        return self._mean(product, [v.shape for v in values])

    def _mean(
        self, function: Callable[[Start], Tensors], shapes: list
    ) -> Tensors:
        """The mean of a function over parts, weighted by their examples.

            mean = sum over parts (examples of part / examples * function)

        One part at a time, so that only one is in memory.

        Args:
            function: Takes the first example of a part, returns a list of
                tensors of `dtype`.
            shapes: Their shapes, a list.
        """
        examples, size = self.examples, self._part_size
        if size == examples:
            return function(0)

        def add(start: tf.Tensor, totals: Tensors) -> tuple:
            count = tf.minimum(size, examples - start)
            share = tf.cast(count, self.dtype) / examples
            return start + size, [
                total + share * tensor
                for total, tensor in zip(totals, function(start), strict=True)
            ]

        _, totals = tf.while_loop(
            lambda start, totals: start < examples,
            add,
            (0, [tf.zeros(shape, self.dtype) for shape in shapes]),
            parallel_iterations=1,
        )
        return totals

    def _rows(self, leaf: tf.Tensor | None, start: Start) -> tf.Tensor | None:
        """What a part has of one of the arrays."""
        size = self._part_size
        if leaf is None or size == self.examples:
            return leaf
        rows = leaf[start : start + size]
        if self.examples % size == 0 and tf.is_tensor(start):
            rows.set_shape([size, *leaf.shape[1:]])
        return rows

    def _part(self, values: Tensors, start: Start) -> tf.Tensor:
        """The loss of the part that begins with example `start`."""
        state = [*zip(self.weights, values, strict=True)]
        state += [
            # Other random numbers for each part, the same at each call.
            (seed, tf.cast([0, start], value.dtype) + value)
            for seed, value in self._seeds
        ]
        batch = keras.tree.map_structure(
            lambda leaf: self._rows(leaf, start), self._data
        )
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        model, training = self.model, self._training
        # Whatever layers and metrics assign in the scope is dropped on leaving.
        with (
            layers.compute_in_float32(model),
            patches.loss_scaling(_undivided, _undivided),
            keras.StatelessScope(state, collect_losses=True),
        ):
            y_pred = model(x, training=training)
            _check_loss(model)
            loss = losses.compute_loss(
                model, x, y, y_pred, sample_weight, training
            )
        return tf.cast(loss, self.dtype)
