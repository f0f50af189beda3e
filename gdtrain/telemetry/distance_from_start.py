"""How far training has come from where it began."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Parts, Quantity


class DistanceFromStart(Quantity):
    """Euclidean distance of the weights from those at the start.

        distance_from_start = norm(w_after - w_start)

    For the whole model, and for each layer. The start is where the weights
    were when a model was first trained with this; a second `fit` goes on from
    there. Steady noise makes it grow with the root of the number of steps, a
    slope with the number itself.

    Cost: a copy of the weights that is kept, and one pass over it; some 16% of
    a small MLP's step, within the noise of a convolutional network's.

    References:
        Hoffer, Hubara and Soudry, NeurIPS 2017, arXiv:1705.08741, section 4.

    Example:

    >>> DistanceFromStart().name
    'distance_from_start'
    """

    name = "distance_from_start"
    sums_squares = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        start = record.keep(
            self.name, lambda: [tf.cast(w, tf.float32) for w in record.weights]
        )
        moved = [
            tf.cast(w, tf.float32) - tf.identity(variable)
            for w, variable in zip(record.weights_after, start, strict=True)
        ]
        squares = norms.squared_norms(moved)
        names, sums = norms.whole_and_by_layer(squares, record.layers)
        return {self.name: Parts(names, tf.sqrt(sums))}
