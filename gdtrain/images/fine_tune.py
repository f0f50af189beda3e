"""Fine-tuning: a backbone learns the classes of some photos."""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks import TensorBoard
from gdtrain.common import checks
from gdtrain.common.failures import FailureReporter
from gdtrain.images import store
from gdtrain.images.activations import Activations, Cut, batched, cut
from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.backbones import Backbone, open_backbone
from gdtrain.images.classifier import PhotoClassifier
from gdtrain.images.none_of_these import NoneOfThese
from gdtrain.images.phases import Phases
from gdtrain.images.photos import Photos
from gdtrain.images.reporting import Report, report
from gdtrain.images.top import Top, Training
from gdtrain.state import variables

BLOCKS = 2  # That are trained by default
EPOCHS = 2
VIEWS = 2  # Of each photo, changed at random


@dataclasses.dataclass(frozen=True, eq=False)
class FineTuning:
    """How a classifier was fine-tuned: its attribute `fine_tuning`.

    Args:
        frozen_accuracy: Of the frozen backbone with its head, cross-validated
            in the training photos.
        tuned_accuracy: The same with the top of the backbone trained; `None`
            if it was not.
        is_kept: Whether the top stayed as trained.
        trained: Names of the layers that were trained.
        cross_validated: Logits of the training photos, each by a model that
            did not learn from it, over the temperature, `[n, classes]`.
        head_epochs: How many of the epochs in `history` are the head's.
        report: On the held-out photos, if it was written; see `fine_tune`.
    """

    frozen_accuracy: float
    tuned_accuracy: float | None
    is_kept: bool
    trained: list[str]
    cross_validated: np.ndarray
    head_epochs: int
    report: Report | None = None

    def __str__(self) -> str:
        text = f"cross-validated accuracy {self.frozen_accuracy:.3f}"
        if self.tuned_accuracy is not None:
            text += (
                f", with {len(self.trained):,} layers of the backbone trained "
                f"{self.tuned_accuracy:.3f}: "
                f"{'kept' if self.is_kept else 'not kept'}"
            )
        return text


def fine_tune(
    photos: Photos,
    backbone: str | os.PathLike | keras.Model | Backbone = "MobileNetV3Large",
    *,
    weights: str | os.PathLike | None = "imagenet",
    epochs: int = EPOCHS,
    unfreeze: bool | int = True,
    seed: int = 0,
    log_dir: str | os.PathLike | None = None,
    backup_dir: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    class_weight: dict[int, float] | None = None,
    batch_normalization: Literal["inference", "train"] = "inference",
    augmentation: float = 1.0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: Any = "auto",
) -> PhotoClassifier:
    """Makes a classifier of photos out of a backbone and some photos.

    1. Activations of the training photos by the part of the backbone that
       stays frozen, computed once: they are kept in `cache_dir`, by content
       of each photo and of the backbone, so that photos that are added take
       their own time alone. What does not fit in memory is read from there.
    2. A head on the features: a convex problem, solved to its proven optimum.
    3. The top of the backbone is trained with the head, on views of the
       photos that are changed at random, at rates that fall with depth. It is
       kept only if it is better than 2 by cross-validation in the training
       photos: the held-out ones have no part in the choice.
    4. Probabilities are calibrated, by the same cross-validation.
    5. With a `log_dir`, a report on the held-out photos is written there, for
       TensorBoard and as `report.html`; see `gdtrain.images.report`.

    Phases 2 and 3 are one run for `History` and TensorBoard, without the
    trainings of the cross-validation. One that was interrupted, in any phase,
    continues from `backup_dir` and ends with the bits of one left alone: the
    head, which takes seconds, begins again, and what follows continues.

    Args:
        photos: Of `gdtrain.images.read_folder`, for example.
        backbone, weights: As in `gdtrain.images.open_backbone`.
        epochs: Of phase 3, each over two views of each photo, or over the
            photos if nothing is changed at random.
        unfreeze: How many blocks of the backbone phase 3 trains: `True` for
            the default, `False` for none. None is if the backbone has none,
            as one of `gdtrain.images.with_close_up`.
        seed: Of the folds, the changes at random and the order.
        log_dir: As in `gdtrain.callbacks.TensorBoard`. Defaults to `None`, no
            event files and no report.
        backup_dir: A folder for checkpoints. Defaults to `None`, none.
        cache_dir: Where activations are kept; see `read_folder`.
        class_weight: As in `keras.Model.fit`. For classes of unequal size,
            `photos.class_weight()`.
        batch_normalization: In phase 3: `"inference"` for the averages that
            the backbone has, `"train"` for those of each batch.
        augmentation: Strength of the changes at random, as in
            `gdtrain.images.augmentation`. Write 0, for none, where a mirrored
            photo shows something else, as of digits.
        callbacks: For phases 2 and 3.
        verbose: 0 for no output. Defaults to `"auto"`, a line for each phase,
            and a progress bar for the first if it takes long.

    Returns:
        The classifier. Its `fine_tuning` is a `FineTuning`, its `history` the
        `History` of all epochs.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
    """
    training = Training(
        epochs=checks.positive_integer("epochs", epochs),
        batch_normalization=checks.one_of(
            "batch_normalization", batch_normalization, ("inference", "train")
        ),
    )
    if (replicas := tf.distribute.get_strategy().num_replicas_in_sync) > 1:
        raise ValueError(
            "`fine_tune` trains on one replica. Received: a strategy with "
            f"{replicas}. Call it outside of the strategy's scope; the "
            "classifier's file can be loaded within it."
        )
    RandomPhotoChanges(augmentation)  # Refuses a strength out of its range
    say = print if verbose else _say_nothing
    labels = photos.training.labels
    height, width, _ = photos.shape
    size = height, width
    opened = open_backbone(backbone, size=size, weights=weights)
    if log_dir is not None:
        callbacks = [*callbacks, TensorBoard(log_dir)]
    with variables.keep_random_state():
        keras.utils.set_random_seed(seed)
        seen = _seen(
            opened,
            BLOCKS if unfreeze is True else int(unfreeze),
            augmentation,
            functools.partial(
                Activations,
                photos=photos,
                seed=seed,
                cache_dir=cache_dir,
                shows_progress=bool(verbose),
            ),
        )
        phases = Phases(
            labels,
            photos.class_names,
            class_weight=class_weight,
            seed=seed,
            callbacks=callbacks,
            backup_dir=backup_dir,
            key=f"{opened.fingerprint} {seen.key}",
        )
        heads = phases.solve_head(seen.features)
        best = frozen = heads.candidate
        features = heads.features
        accuracy = frozen.score(labels)[0]
        say(f"Head: accuracy {accuracy:.3f}, cross-validated.")
        tuned_accuracy, trained = None, []
        if seen.parts is not None:
            top = Top(
                seen.parts,
                len(photos.class_names),
                training,
                examples=len(labels) * seen.views.shape[1],
                first_step=len(heads.loss),
                first_epoch=len(heads.loss),
            )
            trained = top.trained
            tuned = phases.train_top(top, heads, seen.plain, seen.views)
            tuned_accuracy = tuned.score(labels)[0]
            if tuned.is_better_than(frozen, labels):
                best, features = tuned, seen.features()
            else:
                top.undo()
            say(
                f"Top of the backbone trained: {tuned_accuracy:.3f}, "
                f"{'not kept' if best is frozen else 'kept'}."
            )
    temperature = best.temperature(labels)
    model = PhotoClassifier.from_parts(
        opened.model,
        best.kernel,
        best.bias,
        photos.class_names,
        size=size,
        fit=photos.fit,
        temperature=temperature,
        none_of_these=NoneOfThese(features, labels),
    )
    model.history = phases.history
    cross_validated = np.where(
        best.known[:, np.newaxis], best.cross_validated, frozen.cross_validated
    )
    cross_validated = cross_validated / temperature
    model.fine_tuning = FineTuning(
        frozen_accuracy=accuracy,
        tuned_accuracy=tuned_accuracy,
        is_kept=best is not frozen,
        trained=trained,
        cross_validated=cross_validated,
        head_epochs=len(heads.loss),
        report=_report(model, photos, cross_validated, log_dir, say),
    )
    return model


class _Seen(NamedTuple):
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


def _seen(
    backbone: Backbone,
    blocks: int,
    augmentation: float,
    activations: Callable[[keras.Model], Activations],
) -> _Seen:
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
            return _Seen(key, plain, views, parts)
        except store.NoRoom as error:
            warnings.warn(
                "The top of the backbone is not trained: there is no room for "
                f"what it would be trained on. {error} Or write "
                "`unfreeze=False`.",
                stacklevel=3,
            )
    whole = activations(backbone.model)
    plain = whole.plain()
    return _Seen(whole.key, plain, plain[:, np.newaxis], None)


def _report(
    model: PhotoClassifier,
    photos: Photos,
    cross_validated: np.ndarray,
    log_dir: str | os.PathLike | None,
    say: Callable[[str], None],
) -> Report | None:
    """Writes the report, as far as it can be written."""
    if log_dir is None:
        return None
    if not len(photos.held_out):
        say("There is no report, as no photos are held out.")
        return None
    parts = FailureReporter()
    then = "The classifier is returned."
    found = None
    with parts.catch("There is no report", then):
        found = report(model, photos, cross_validated=cross_validated)
        page = os.path.join(log_dir, "report.html")
        with parts.catch("The page of the report is not written", then):
            found.save_html(page)
            say(f"Report: {page}")
        with parts.catch("TensorBoard gets no report", then):
            found.save_for_tensorboard(log_dir)
    return found


def _say_nothing(text: str) -> None:
    pass
