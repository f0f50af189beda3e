"""Fine-tuning: a backbone learns the classes of some photos."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks import TensorBoard
from gdtrain.common import checks
from gdtrain.common.failures import FailureReporter
from gdtrain.images.activations import Activations, Seen, activations_below
from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.backbones import Backbone, open_backbone
from gdtrain.images.classifier import PhotoClassifier
from gdtrain.images.head import check_labels
from gdtrain.images.none_of_these import NoneOfThese
from gdtrain.images.phases import Candidate, Heads, Phases
from gdtrain.images.photos import Photos
from gdtrain.images.reporting import Report, report
from gdtrain.images.top import Training
from gdtrain.state import variables

BLOCKS = 2  # That are trained by default
EPOCHS = 2


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

    Example:

    >>> tuned = ["conv_1", "conv_2"]
    >>> print(FineTuning(0.9, 0.95, True, tuned, np.zeros([20, 2]), 1))
    cross-validated accuracy 0.900, with 2 layers of the backbone trained
    0.950: kept
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

    Example:

    >>> from gdtrain import images
    >>> photos = np.repeat([[[[20]]], [[[230]]]], 10, 0) + np.zeros([8, 8, 3])
    >>> labelled = images.from_arrays(
    ...     photos.astype("uint8"), ["night"] * 10 + ["day"] * 10
    ... )
    >>> backbone = keras.Sequential([
    ...     keras.Input([8, 8, 3]), keras.layers.GlobalAveragePooling2D()
    ... ])
    >>> model = images.fine_tune(labelled, backbone, verbose=0)
    >>> answer = model.describe(photos[0].astype("uint8"))
    night (0.9...
    """
    training = Training(
        epochs=checks.positive_integer("epochs", epochs),
        batch_normalization=checks.one_of(
            "batch_normalization", batch_normalization, ("inference", "train")
        ),
    )
    RandomPhotoChanges(augmentation)  # Refuses a strength out of its range
    _check_one_replica()
    check_labels(photos.training.labels, photos.class_names)
    height, width, _ = photos.shape
    opened = open_backbone(backbone, size=(height, width), weights=weights)
    if log_dir is not None:
        callbacks = [*callbacks, TensorBoard(log_dir)]
    say = print if verbose else _say_nothing
    with variables.keep_random_state():
        keras.utils.set_random_seed(seed)
        seen = activations_below(  # 1
            opened,
            BLOCKS if unfreeze is True else int(unfreeze),
            augmentation,
            functools.partial(
                Activations,
                photos=photos,
                seed=seed,
                cache_dir=cache_dir,
                verbose=verbose,
            ),
        )
        phases = Phases(
            photos.training.labels,
            photos.class_names,
            class_weight,
            seed,
            callbacks,
            backup_dir,
            key=f"{opened.fingerprint} {seen.key}",
        )
        heads = phases.solve_head(seen.features)  # 2
        best, features, found = _better(phases, heads, seen, training, say)  # 3
    model = PhotoClassifier.from_parts(  # 4
        opened.model,
        best.kernel,
        best.bias,
        photos.class_names,
        size=(height, width),
        fit=photos.fit,
        temperature=best.temperature(phases.labels),
        none_of_these=NoneOfThese(features, phases.labels),
    )
    model.history = phases.history
    model.fine_tuning = dataclasses.replace(  # 5
        found,
        report=_report(model, photos, found.cross_validated, log_dir, say),
    )
    return model


def _check_one_replica() -> None:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "`fine_tune` trains on one replica. Received: a strategy with "
            f"{replicas}. Call it outside of the strategy's scope; the "
            "classifier's file can be loaded within it."
        )


def _better(
    phases: Phases,
    heads: Heads,
    seen: Seen,
    training: Training,
    say: Callable[[str], None],
) -> tuple[Candidate, np.ndarray, FineTuning]:
    """Trains the top, and keeps it if it is better than the head alone.

    Returns:
        What is better, features of the photos by it, and how it was chosen.
    """
    labels = phases.labels
    best = frozen = heads.candidate
    features = heads.features
    accuracy, tuned_accuracy, trained = frozen.score(labels)[0], None, []
    say(f"Head: accuracy {accuracy:.3f}, cross-validated.")
    if seen.parts is not None:
        top, tuned = phases.train_top(seen, heads, training)
        tuned_accuracy, trained = tuned.score(labels)[0], top.trained
        if tuned.is_better_than(frozen, labels):
            best, features = tuned, seen.features()
        else:
            top.undo()
        say(
            f"Top of the backbone trained: {tuned_accuracy:.3f}, "
            f"{'not kept' if best is frozen else 'kept'}."
        )
    logits = np.where(
        best.known[:, np.newaxis], best.cross_validated, frozen.cross_validated
    )
    found = FineTuning(
        frozen_accuracy=accuracy,
        tuned_accuracy=tuned_accuracy,
        is_kept=best is not frozen,
        trained=trained,
        cross_validated=logits / best.temperature(labels),
        head_epochs=len(heads.loss),
    )
    return best, features, found


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
