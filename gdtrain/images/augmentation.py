"""Random changes of photos in training."""

from typing import Any

import keras
import tensorflow as tf

_CROPPED = 0.25  # Most that is cut off of height and of width
_BRIGHTNESS = 0.1 * 255
_CONTRAST = 0.2
_BETWEEN_REPLICAS = 0x3C6EF372  # So that seeds 0, 1, 2, ... do not meet
_MAX_STRENGTH = 3.0  # At which a quarter of height and width may remain


def augmentation(
    strength: float = 1.0, *, seed: int | None = None
) -> list[keras.layers.Layer]:
    """Layers that change photos at random in training, and else nothing.

    Args:
        strength, seed: As in `RandomPhotoChanges`. At a strength of 0 there
            are no layers.

    Raises:
        ValueError: if the strength is outside its range.

    Example:

    >>> photos = keras.Input([224, 224, 3], dtype="uint8")
    >>> keras.Sequential(augmentation())(photos).shape
    (None, 224, 224, 3)
    """
    return [RandomPhotoChanges(strength, seed=seed)] if strength else []


@keras.saving.register_keras_serializable("gdtrain")
class RandomPhotoChanges(keras.layers.Layer):
    """Crops, mirrors, brightens and darkens photos at random in training.

    Each photo of a batch is changed on its own. Between nothing and a quarter
    of its height and of its width is cut off, and what remains is resized to
    the whole; half of the photos are mirrored; 25 is added or subtracted at
    most, and differences to the mean are multiplied by 0.8 to 1.2. Values
    stay within 0 to 255.

    It takes one resampling, and a tenth of the time of `RandomFlip`,
    `RandomTranslation`, `RandomZoom`, `RandomBrightness` and `RandomContrast`
    of Keras one after another. Its random state is part of a backup, so that
    training resumes exactly. Each replica of a `tf.distribute.Strategy` draws
    changes of its own.

    Args:
        strength: A factor of all changes but the mirroring, from 0 to 3.
        seed: An integer by which the changes can be repeated. By default they
            follow `keras.utils.set_random_seed`.
        **kwargs: Of `keras.layers.Layer`.

    Input: `[n, height, width, channels]`, 0 to 255, of any dtype.

    Output: the same shape and range, floats.

    Raises:
        ValueError: if the strength is outside its range.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> changes = gdtrain.images.RandomPhotoChanges(seed=0)
    >>> photos = np.full([2, 4, 4, 3], 100, "uint8")
    >>> changes(photos, training=True).shape
    TensorShape([2, 4, 4, 3])
    >>> float(keras.ops.max(changes(photos, training=False)))  # As they are
    100.0
    """

    NUMBERS = 7  # That each photo is changed by

    def __init__(
        self, strength: float = 1.0, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        if not 0 <= strength <= _MAX_STRENGTH:
            raise ValueError(
                "`strength` must be a number from 0, for no changes, to "
                f"{_MAX_STRENGTH:g}. Received: strength={strength}."
            )
        super().__init__(**kwargs)
        self.strength = strength
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # XLA has no `CropAndResize`.

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        photos = tf.convert_to_tensor(inputs)
        if training:
            photos = self.changed(photos, self._numbers(tf.shape(photos)[0]))
        return tf.cast(photos, self.compute_dtype)

    def changed(self, photos: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """Photos changed by given random numbers.

        Args:
            photos: `[n, height, width, channels]`, 0 to 255, of any dtype.
            numbers: From 0 to 1, float32 `[n, NUMBERS]`.

        Returns:
            The same shape and range, float32.
        """
        return self._recolored(
            self._cropped(photos, numbers[:, :5]), 2 * numbers[:, 5:] - 1
        )

    def _cropped(self, photos: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """Photos of which parts fill the whole, some mirrored; float32."""
        cropped = _CROPPED * self.strength * numbers[:, :2]
        first = cropped * numbers[:, 2:4]  # Of the whole: top, left
        last = 1 - cropped + first
        is_mirrored = numbers[:, 4] < 0.5
        left = tf.where(is_mirrored, last[:, 1], first[:, 1])
        right = tf.where(is_mirrored, first[:, 1], last[:, 1])
        boxes = tf.stack([first[:, 0], left, last[:, 0], right], axis=1)
        n, height, width, _ = tf.unstack(tf.shape(photos))
        return tf.image.crop_and_resize(
            photos, boxes, tf.range(n), [height, width]
        )

    def _recolored(self, photos: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """Photos of another brightness and contrast."""
        change = self.strength * numbers[:, tf.newaxis, tf.newaxis]
        factor = 1 + _CONTRAST * change[..., :1]
        mean = tf.reduce_mean(photos, axis=[1, 2, 3], keepdims=True)
        mean_after = mean + _BRIGHTNESS * change[..., 1:]
        return tf.clip_by_value((photos - mean) * factor + mean_after, 0, 255)

    def _numbers(self, n: tf.Tensor) -> tf.Tensor:
        """Random numbers for so many photos, different on each replica."""
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        context = tf.distribute.get_replica_context()
        if context is not None:  # None where a model is only described
            replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
            # The generator counts in the second of the two numbers.
            seed += tf.stack([replica * _BETWEEN_REPLICAS, 0])
        return tf.random.stateless_uniform([n, self.NUMBERS], seed)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"strength": self.strength, "seed": self.seed}
        return super().get_config() | own
