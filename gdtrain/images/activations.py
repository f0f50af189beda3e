"""Activations of photos where a backbone is cut, each computed once.

What is below the cut stays as it is in fine-tuning. So only the layers above
it run in training, on the activations of several views of each photo.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.images import store
from gdtrain.images.augmentation import augmentation
from gdtrain.images.backbones import Backbone
from gdtrain.images.photos import LabelledImages

Blocks = Sequence[Sequence[keras.layers.Layer]]  # From the top down

_BATCH = 32  # Photos that go through a model at once


@dataclasses.dataclass(frozen=True)
class Cut:
    """A backbone in two models that share its layers.

    Args:
        base: Photos, 0 to 255 `[n, height, width, channels]`, to activations.
        top: Activations to features `[n, d]`.
        blocks: Blocks of layers of the top, from the top down.
    """

    base: keras.Model
    top: keras.Model
    blocks: Blocks


def cut(backbone: keras.Model, blocks: Blocks) -> Cut:
    """Cuts a backbone below some of its blocks, where one tensor passes.

    Args:
        backbone: A functional model of photos to features.
        blocks: The blocks that the top must have.

    Raises:
        ValueError: if it cannot be cut there.

    Example:

    >>> high = keras.layers.Dense(2)
    >>> inputs = keras.Input([4])
    >>> outputs = high(keras.layers.Dense(3)(inputs))
    >>> parts = cut(keras.Model(inputs, outputs), [[high]])
    >>> parts.base.output_shape, parts.top.output_shape
    ((None, 3), (None, 2))
    """
    wanted = {id(layer) for block in blocks for layer in block}
    # In an order in which they could be called
    layers = backbone.layers
    first = min(
        (i for i, layer in enumerate(layers) if id(layer) in wanted), default=0
    )
    for layer in reversed(layers[:first]):
        try:
            top = keras.Model(layer.output, backbone.output)
        except ValueError:  # Other tensors pass there, too.
            continue
        if wanted <= {id(part) for part in top.layers}:
            base = keras.Model(backbone.input, layer.output)
            return Cut(base, top, blocks)
    raise ValueError(
        f"The backbone {backbone.name} cannot be cut below the top "
        f"{len(blocks):,} of its blocks. Write `unfreeze=False` to train the "
        "head alone."
    )


class Views:
    """Activations of the training photos at the cut, each computed once.

    Args:
        backbone: The backbone.
        parts: The same, cut; `None` if no part of it is trained.
        learned: The training photos.
        strength, seed: Of the changes at random; see `augmentation`.
        cache_dir: Where activations are kept.
    """

    def __init__(
        self,
        backbone: Backbone,
        parts: Cut | None,
        learned: LabelledImages,
        strength: float,
        seed: int,
        cache_dir: str | os.PathLike | None,
    ) -> None:
        base = backbone.model if parts is None else parts.base
        self._images = learned.images
        self.strength = strength
        self._seed, self._cache_dir = seed, cache_dir
        self._program = batched(base)
        digest = hashlib.sha256(backbone.fingerprint.encode())
        digest.update(f"{base.output_shape} {learned.images.shape}".encode())
        if learned.files:
            digest.update("".join(f.digest for f in learned.files).encode())
        else:
            digest.update(np.ascontiguousarray(learned.images).data)
        #: Of photos, backbone and where it is cut
        self.key = digest.hexdigest()

    def plain(self) -> np.ndarray:
        """Of the photos as they are."""
        return self._kept("plain", lambda images: images)

    def changed(self, number: int) -> np.ndarray:
        """Of the photos changed at random, differently by number."""
        if not self.strength:
            return self.plain()
        seed = 1000 * self._seed + number
        layers = keras.Sequential(augmentation(self.strength, seed=seed))
        return self._kept(
            f"changed {self.strength} {seed}",
            lambda images: layers(images, training=True),
        )

    def _kept(self, name: str, change: Callable[[Any], Any]) -> np.ndarray:
        found = store.kept(
            f"{self.key} {name}",
            lambda: {"activations": self._computed(change)},
            cache_dir=self._cache_dir,
        )
        return found["activations"]

    def _computed(self, change: Callable[[Any], Any]) -> np.ndarray:
        return self._program(self._images, change)


def batched(model: keras.Model) -> Callable[..., np.ndarray]:
    """A function of arrays of any length that runs a model, in inference."""
    spec = tf.TensorSpec([None, *model.input_shape[1:]])
    program = tf.function(lambda inputs: model(inputs, training=False), [spec])

    def run(
        inputs: np.ndarray, change: Callable[[Any], Any] = lambda some: some
    ) -> np.ndarray:
        parts = []
        for start in range(0, len(inputs), _BATCH):
            part = inputs[start:][:_BATCH]
            changed = change(tf.cast(part, tf.float32))
            parts.append(program(changed).numpy())
        return np.concatenate(parts)

    return run
