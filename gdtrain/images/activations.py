"""Activations of photos where a backbone is cut, each computed once.

What is below the cut stays as it is in fine-tuning. So only the layers above
it run in training, on the activations of several views of each photo.
"""

import dataclasses
import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more, without_more
from gdtrain.images import features, store
from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.backbones import Backbone
from gdtrain.images.parallel import Progress
from gdtrain.images.photos import Photos

VIEWS = 2  # Of each photo, changed at random

Blocks = Sequence[Sequence[keras.layers.Layer]]  # From the top down

_BATCH = 32  # Photos that go through a model at once
_VERSION = 1  # Of what rows are; those of another are not read.


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


class Activations:
    """What a model makes of the training photos, each computed once.

    They are kept by the content of each photo, and of the model: of photos
    that are added, theirs alone are computed.

    Args:
        model: Photos to activations.
        photos: The photos.
        seed: Of changes at random, which follow from it and from the content
            of a photo.
        cache_dir: Where activations are kept; see `store.kept_rows`.
        verbose: 0 for no progress bar.
    """

    def __init__(
        self,
        model: keras.Model,
        photos: Photos,
        *,
        seed: int = 0,
        cache_dir: str | os.PathLike | None = None,
        verbose: Any = 0,
    ) -> None:
        learned = photos.training
        self._model, self._images = model, learned.images
        self._seed, self._cache_dir = seed, cache_dir
        self._verbose = verbose
        self._run = batched(model)
        #: Of the content of each photo
        self.digests = [file.digest for file in learned.files] or [
            hashlib.sha256(image).hexdigest() for image in learned.images
        ]
        self._kind = f"{features.fingerprint(model)} {photos.fit} "
        self._kind += f"{photos.shape}"

    @property
    def key(self) -> str:
        """Differs where the model or the photos do."""
        return hashlib.sha256(
            "\n".join([self._kind, *self.digests]).encode()
        ).hexdigest()

    def plain(self) -> np.ndarray:
        """Of the photos as they are, `[n, ...]`."""
        return self._kept("plain", 1, lambda images, at: [images])[:, 0]

    def changed(self, strength: float, views: int) -> np.ndarray:
        """Of each photo, changed at random in several ways.

        Args:
            strength: Of the changes; see `augmentation`.
            views: How many there are of each photo.

        Returns:
            `[n, views, ...]`.
        """
        layer = RandomPhotoChanges(strength)

        def change(
            images: tf.Tensor, digests: Sequence[str]
        ) -> Iterator[tf.Tensor]:
            for view in range(views):
                numbers = [
                    _random_numbers(f"{self._seed} {view} {digest}")
                    for digest in digests
                ]
                yield layer.changed(images, np.stack(numbers))

        return self._kept(f"changed {strength} {self._seed}", views, change)

    def _kept(
        self, name: str, views: int, change: Callable[..., Iterable[tf.Tensor]]
    ) -> np.ndarray:
        """Activations `[n, views, ...]`, found or made."""

        def make(positions: Sequence[int], rows: np.ndarray) -> dict[int, str]:
            for start in range(0, len(positions), _BATCH):
                at = positions[start:][:_BATCH]
                images = tf.cast(self._images[at], tf.float32)
                digests = [self.digests[i] for i in at]
                for view, changed in enumerate(change(images, digests)):
                    found = self._run(np.asarray(changed))
                    rows[start:][: len(at), view] = found
                bar.update(at[-1] + 1)
            return {}

        key = hashlib.sha256(f"{self._kind} {name}".encode()).hexdigest()
        with Progress(len(self.digests), "photo", self._verbose) as bar:
            return store.kept_rows(
                self.digests,
                make,
                kind=f"activations-{_VERSION}-{key[:32]}",
                shape=(views, *self._model.output_shape[1:]),
                dtype="float32",
                cache_dir=self._cache_dir,
            ).rows


def _random_numbers(text: str) -> np.ndarray:
    """Uniform random numbers that follow from a text, float32."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest())
    random = np.random.default_rng(seed)
    return random.random(RandomPhotoChanges.NUMBERS, np.float32)


def batched(model: keras.Model) -> Callable[..., np.ndarray]:
    """A function of an array of any length that runs a model, in inference.

    It takes the array, and positions in it if not all of it is meant. All
    batches are of one size, so that what an example gives does not depend on
    how many there are.
    """
    spec = tf.TensorSpec([_BATCH, *model.input_shape[1:]])
    # A `partial` is a function of its own for each model. TensorFlow would
    # count a lambda of several as one that is traced again and again.
    call = functools.partial(lambda inputs: model(inputs, training=False))
    program = tf.function(call, [spec])

    def run(inputs: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        at = np.arange(len(inputs)) if at is None else at
        parts = []
        for start in range(0, len(at), _BATCH):
            part = np.zeros(spec.shape, np.float32)
            taken = inputs[at[start:][:_BATCH]]
            part[: len(taken)] = taken
            parts.append(program(part).numpy()[: len(taken)])
        return np.concatenate(parts)

    return run


class Seen(NamedTuple):
    """What is learned from: activations where the backbone is cut.

    Attributes:
        key: Differs where the activations do.
        plain: Of the photos as they are `[n, ...]`.
        views: Of the photos changed at random `[n, views, ...]`.
        parts: The backbone; `None` if none of it is trained: activations are
            features then.
    """

    key: str
    plain: np.ndarray
    views: np.ndarray
    parts: Cut | None

    def features(self) -> np.ndarray:
        """Of the photos `[n, d]`, by the backbone as it is now."""
        if self.parts is None:
            return self.plain
        return batched(self.parts.top)(self.plain)


def activations_below(
    backbone: Backbone,
    blocks: int,
    augmentation: float,
    activations: Callable[[keras.Model], Activations],
) -> Seen:
    """Computes activations below the blocks that are trained."""
    parts = None
    if blocks > 0 and backbone.trainable_blocks:
        parts = cut(backbone.model, backbone.trainable_blocks[:blocks])
        below = activations(parts.base)
        key = f"{below.key} {augmentation}"
        try:
            if augmentation:  # First: if there is no room, at once
                views = below.changed(augmentation, VIEWS)
            plain = below.plain()
            if not augmentation:
                views = plain[:, np.newaxis]
            return Seen(key, plain, views, parts)
        except store.NoRoom as error:
            why, _ = without_more(str(error))
            warnings.warn(
                "The top of the backbone is not trained: there is no room for "
                f"what it would be trained on. {why} Or write "
                "`unfreeze=False`." + more("photo-cache"),
                stacklevel=3,
            )
    whole = activations(backbone.model)
    plain = whole.plain()
    return Seen(whole.key, plain, plain[:, np.newaxis], None)
