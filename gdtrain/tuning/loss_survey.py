"""The loss of a model at many places in the space of its weights."""

import numpy as np
import tensorflow as tf

from gdtrain.curvature.objective import Objective


class LossSurvey:
    """Losses at points and over slices, where weights are one vector.

    It touches nothing, as `Objective`.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        x, y, sample_weight: The data, as in `keras.Model.fit`.
        options: `examples`, `batch_size` and `training` of `Objective`.
    """

    def __init__(self, model, x, y=None, sample_weight=None, **options):
        self._objective = Objective(model, x, y, sample_weight, **options)
        #: The model.
        self.model = model
        #: The trainable weights, a list of `keras.Variable`.
        self.weights = self._objective.weights
        self._shapes = [tuple(weight.shape) for weight in self.weights]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        #: How many numbers they are.
        self.size = sum(self._sizes)
        self._slice = self._over
        if not model.run_eagerly:
            dtype = self._objective.dtype
            shapes = [self.size], [2, self.size], [None, 2]
            program = tf.function(self._over, autograph=False)
            # Called by itself, TensorFlow would warn of the fifth survey.
            self._slice = program.get_concrete_function(
                *(tf.TensorSpec(shape, dtype) for shape in shapes)
            )

    def values(self):
        """The values of the weights now, a list of arrays."""
        return [value.numpy() for value in self._objective.values()]

    def point(self):
        """The weights now as one vector, float64 `[weights]`."""
        flat = [value.ravel() for value in self.values()]
        return np.concatenate(flat).astype(np.float64)

    def at(self, points):
        """The loss at each of some points.

        Args:
            points: Float `[n, weights]`.

        Returns:
            Float64 `[n]`.
        """
        dtype = self._objective.dtype
        return np.array(
            [
                float(self._objective.loss(self._shaped(tf.cast(p, dtype))))
                for p in points
            ]
        )

    def over(self, center, vectors, across, up):
        """The loss over a slice, in one program.

            losses[j, i] = loss(center + across[i] vectors[0]
                                + up[j] vectors[1])

        Args:
            center: Float `[weights]`.
            vectors: Float `[2, weights]`.
            across, up: Float vectors.

        Returns:
            Float64 `[len(up), len(across)]`.
        """
        places = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
        dtype = self._objective.dtype
        losses = self._slice(
            tf.constant(center, dtype),
            tf.constant(vectors, dtype),
            tf.constant(places, dtype),
        )
        return losses.numpy().astype(np.float64).reshape(len(up), len(across))

    def _over(self, center, vectors, places):
        """Losses `[n]` at places `[n, 2]` of a slice; traced."""

        def loss(place):
            point = center + tf.linalg.matvec(vectors, place, transpose_a=True)
            return self._objective.loss(self._shaped(point))

        return tf.map_fn(
            loss,
            places,
            fn_output_signature=self._objective.dtype,
            parallel_iterations=1,  # The memory of one model
        )

    def _shaped(self, point):
        """A vector as a list of tensors of the weights' shapes."""
        return [
            tf.reshape(part, shape)
            for part, shape in zip(
                tf.split(point, self._sizes), self._shapes, strict=True
            )
        ]
