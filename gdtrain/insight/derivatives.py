"""First and second derivatives of a function of several tensors."""

import tensorflow as tf


def gradient(function, values):
    """The value of a function, and its gradient.

    Args:
        function: Without arguments, returns a scalar made from `values`.
        values: A list of tensors.

    Returns:
        `(value, gradient)`: a scalar, and a list of dense tensors of the
        shapes of `values`; zeros for one that it does not depend on.

    Example:

    >>> w = tf.constant([1.0, 2.0])
    >>> value, gradients = gradient(lambda: tf.reduce_sum(w**3), [w])
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


def hessian_vector_product(function, values, vectors):
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

    def slope():
        _, gradients = gradient(function, values)
        pairs = zip(gradients, vectors, strict=True)
        return tf.add_n([tf.reduce_sum(one * by) for one, by in pairs])

    return gradient(slope, values)[1]
