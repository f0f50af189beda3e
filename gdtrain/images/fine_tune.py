"""Fine-tuning: a backbone learns the classes of some photos."""

import dataclasses
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from gdtrain.callbacks import BackupAndRestore, TensorBoard
from gdtrain.common import checks
from gdtrain.data import choice
from gdtrain.images import calibration, store
from gdtrain.images.activations import Cut, Views, batched, cut
from gdtrain.images.backbones import Backbone, open_backbone
from gdtrain.images.classifier import PhotoClassifier
from gdtrain.images.head import fit_head
from gdtrain.images.photos import Photos
from gdtrain.images.top import Top, Training
from gdtrain.state import variables

BLOCKS = 2  # That are trained by default
EPOCHS = 2
VIEWS = 2  # Of each photo, changed at random
ENOUGH = 1000  # Photos by which to choose: no further fold is trained


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A head, and how good it is on what it did not learn from.

    Args:
        kernel, bias: Of the head, `[d, classes]` and `[classes]`.
        cross_validated: Logits of the training photos, each by a model that
            did not learn from it, `[n, classes]`; NaN where there is none.
    """

    kernel: np.ndarray
    bias: np.ndarray
    cross_validated: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Which photos were cross-validated, bool `[n]`."""
        return np.isfinite(self.cross_validated).all(axis=1)

    def score(
        self, labels: np.ndarray, where: np.ndarray | None = None
    ) -> tuple[float, float]:
        """Accuracy and calibrated log loss of cross-validated photos.

        Args:
            labels: Of the training photos `[n]`.
            where: Which photos count, bool `[n]`. Defaults to `known`.

        Example:

        >>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> one = Candidate(np.eye(2), np.zeros(2), logits)
        >>> round(one.score(np.array([0, 1, 1]))[0], 3)
        0.667
        """
        where = self.known if where is None else where
        logits, labels = self.cross_validated[where], labels[where]
        logits = logits / calibration.temperature(logits, labels)
        losses = np.logaddexp.reduce(logits, axis=1)
        losses -= logits[np.arange(len(labels)), labels]
        accuracy = np.mean(logits.argmax(1) == labels)
        return float(accuracy), float(np.mean(losses))

    def is_better_than(self, other: "Candidate", labels: np.ndarray) -> bool:
        """Whether its log loss is lower, and its accuracy not."""
        accuracy, loss = self.score(labels)
        other_accuracy, other_loss = other.score(labels, self.known)
        return bool(accuracy >= other_accuracy and loss < other_loss)


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
    """

    frozen_accuracy: float
    tuned_accuracy: float | None
    is_kept: bool
    trained: list[str]
    cross_validated: np.ndarray
    head_epochs: int

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
    backbone: str | os.PathLike | keras.Model = "MobileNetV3Large",
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

    1. Features of the training photos by the frozen backbone, computed once:
       they are kept in `cache_dir`, by content of photos and backbone.
    2. A head on them: a convex problem, solved to its proven optimum.
    3. The top of the backbone is trained with the head, on views of the
       photos that are changed at random, at rates that fall with depth. It is
       kept only if it is better than 2 by cross-validation in the training
       photos: the held-out ones have no part in the choice.
    4. Probabilities are calibrated, by the same cross-validation.

    Phases 2 and 3 are one run for `History` and TensorBoard, without the
    trainings of the cross-validation. One that was interrupted, in any phase,
    continues from `backup_dir` and ends with the bits of one left alone: the
    head, which takes seconds, begins again, and what follows continues.

    Args:
        photos: Of `gdtrain.images.read_folder`, for example.
        backbone, weights: As in `gdtrain.images.open_backbone`.
        epochs: Of phase 3, each over all views of the photos.
        unfreeze: How many blocks of the backbone phase 3 trains: `True` for
            the default, `False` for none.
        seed: Of the folds, the changes at random and the order.
        log_dir: As in `gdtrain.callbacks.TensorBoard`. Defaults to `None`, no
            event files.
        backup_dir: A folder for checkpoints. Defaults to `None`, none.
        cache_dir: Where features are kept; see `read_folder`.
        class_weight: As in `keras.Model.fit`. For classes of unequal size,
            `photos.class_weight()`.
        batch_normalization: In phase 3: `"inference"` for the averages that
            the backbone has, `"train"` for those of each batch.
        augmentation: Strength of the changes at random, as in
            `gdtrain.images.augmentation`. Write 0, for none, where a mirrored
            photo shows something else, as of digits.
        callbacks: For phases 2 and 3.
        verbose: 0 for no output. Defaults to `"auto"`, a line for each phase.

    Returns:
        The classifier. Its `fine_tuning` is a `FineTuning`, its `history` the
        `History` of all epochs.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
    """
    epochs = checks.positive_integer("epochs", epochs)
    checks.one_of(
        "batch_normalization", batch_normalization, ("inference", "train")
    )
    learned, labels = photos.training, photos.training.labels
    height, width, _ = photos.shape
    size = height, width
    opened = open_backbone(backbone, size=size, weights=weights)
    parts = _parts(opened, unfreeze, len(learned))
    training = Training(epochs=epochs, batch_normalization=batch_normalization)
    say = print if verbose else _say_nothing
    with variables.keep_random_state():
        keras.utils.set_random_seed(seed)
        views = Views(opened, parts, learned, augmentation, seed, cache_dir)
        plain = views.plain()
        run = _Run(
            photos,
            views,
            class_weight,
            seed,
            log_dir,
            backup_dir,
            callbacks,
        )

        def features_now() -> np.ndarray:
            return plain if parts is None else batched(parts.top)(plain)

        frozen, features = run.solve_head(features_now)
        best = frozen
        accuracy = frozen.score(labels)[0]
        say(f"Head: accuracy {accuracy:.3f}, cross-validated.")
        tuned, trained = None, []
        if parts is not None:
            top, tuned = run.train_top(parts, training, plain)
            trained = top.trained
            if tuned.is_better_than(frozen, labels):
                best, features = tuned, features_now()
            else:
                top.undo()
            say(
                f"Top of the backbone trained: {tuned.score(labels)[0]:.3f}, "
                f"{'kept' if best is tuned else 'not kept'}."
            )
    known = best.known
    temperature = calibration.temperature(
        best.cross_validated[known], labels[known]
    )
    model = PhotoClassifier.from_parts(
        opened.model,
        best.kernel,
        best.bias,
        photos.class_names,
        size=size,
        fit=photos.fit,
        temperature=temperature,
        none_of_these=calibration.NoneOfThese(features, labels),
    )
    model.history = run.history
    model.fine_tuning = FineTuning(
        frozen_accuracy=accuracy,
        tuned_accuracy=None if tuned is None else tuned.score(labels)[0],
        is_kept=best is tuned,
        trained=trained,
        cross_validated=np.where(
            known[:, np.newaxis], best.cross_validated, frozen.cross_validated
        )
        / temperature,
        head_epochs=run.head_epochs,
    )
    return model


def _say_nothing(text: str) -> None:
    pass


def _parts(backbone: Backbone, unfreeze: bool | int, photos: int) -> Cut | None:
    """The backbone, cut below the blocks to train; `None` if there are none."""
    count = BLOCKS if unfreeze is True else int(unfreeze)
    if count < 1:
        return None
    parts = cut(backbone.model, backbone.trainable_blocks[:count])
    size = 4 * photos * math.prod(parts.base.output_shape[1:])
    if (1 + VIEWS) * size > choice.memory_limit():
        warnings.warn(
            "The top of the backbone is not trained: what it would be trained "
            f"on takes {(1 + VIEWS) * size / 2**30:.1f} GiB, and there is "
            f"memory for {choice.memory_limit() / 2**30:.1f} GiB. Write "
            "`unfreeze=1`, or give fewer or smaller photos.",
            stacklevel=3,
        )
        return None
    return parts


class _History(keras.callbacks.History):
    """A `History` of several fits, of which not all have the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Keeps the epochs of fits before."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds an epoch."""
        super().on_epoch_end(epoch, logs)
        for name, values in self.history.items():
            missing = len(self.epoch) - len(values)
            # Of a number that is new, or is not there any more
            where = len(values) if name not in (logs or {}) else 0
            values[where:where] = [math.nan] * missing

    def get_arrays(self) -> dict[str, np.ndarray]:
        """The epochs of all fits, by name."""
        return {f"history {n}": np.array(v) for n, v in self.history.items()}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Sets all epochs to those that `get_arrays` gave."""
        for name, values in arrays.items():
            if name.startswith("history "):
                self.history[name.removeprefix("history ")] = values.tolist()
                self.epoch = list(range(len(values)))


class _Run:
    """The phases that train, each finished one kept in the backup folder."""

    def __init__(
        self,
        photos: Photos,
        views: Views,
        class_weight: Mapping[int, float] | None,
        seed: int,
        log_dir: str | os.PathLike | None,
        backup_dir: str | os.PathLike | None,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        self._labels = photos.training.labels
        self._classes = photos.class_names
        self._class_weight, self._seed = class_weight, seed
        self._views = views
        self._key = (
            f"{views.key} {views.strength} {seed} {class_weight} "
            f"{self._labels.tolist()}"
        )
        self._backup_dir = backup_dir
        self.history = _History()
        self._callbacks = [self.history, *callbacks]
        if log_dir is not None:
            self._callbacks.append(TensorBoard(log_dir))
        self._folds = np.zeros(0, int)
        self._heads: list[tuple[np.ndarray, np.ndarray]] = []
        self.head_epochs = 0

    def solve_head(
        self, features_now: Callable[[], np.ndarray]
    ) -> tuple[Candidate, np.ndarray]:
        """Phase 2; returns the features, too."""

        def make() -> dict[str, np.ndarray]:
            features = features_now()
            head = fit_head(
                features,
                self._labels,
                classes=self._classes,
                class_weight=self._class_weight,
                seed=self._seed,
                callbacks=self._callbacks,
            )
            solved = [(head.kernel, head.bias), *head.by_fold]
            return {
                "kernels": np.stack([kernel for kernel, _ in solved]),
                "biases": np.stack([bias for _, bias in solved]),
                "folds": head.folds,
                "cross_validated": head.cross_validated,
                "features": features,
            } | self.history.get_arrays()

        found = self._kept("head", make)
        self.history.set_arrays(found)
        self.head_epochs = len(self.history.epoch)
        self._folds = found["folds"]
        self._heads = list(zip(found["kernels"], found["biases"], strict=True))
        kernel, bias = self._heads[0]
        frozen = Candidate(kernel, bias, found["cross_validated"])
        return frozen, found["features"]

    def train_top(
        self,
        parts: Cut,
        training: Training,
        plain: np.ndarray,
    ) -> tuple[Top, Candidate]:
        """Phase 3: all photos, and then without each fold."""
        x = np.concatenate([self._views.changed(i) for i in range(VIEWS)])
        y = np.tile(self._labels, VIEWS)
        given = self._class_weight or {}
        weights = np.array([given.get(int(label), 1.0) for label in y])
        top = Top(
            parts,
            len(self._classes),
            training,
            examples=len(x),
            first_step=self.head_epochs,
            first_epoch=self.head_epochs,
        )

        def trained(number: int, seen: np.ndarray) -> list[np.ndarray]:
            kernel, bias = self._heads[number]
            name = f"fold {number}" if number else "top"
            return top.fit(
                x,
                y,
                weights * np.tile(seen, VIEWS),
                kernel=kernel,
                bias=bias,
                repetition=number,
                callbacks=self._backup(name)
                + ([] if number else self._callbacks),
                verbose=0,
            )

        def make() -> dict[str, np.ndarray]:
            weights = trained(0, np.ones(len(plain), bool))
            arrays = {f"weights {i}": w for i, w in enumerate(weights)}
            return arrays | self.history.get_arrays()

        found = self._kept(f"top {training}", make)
        self.history.set_arrays(found)
        weights_found = [found[f"weights {i}"] for i in range(top.count)]
        cross_validated = np.full([len(plain), len(self._classes)], np.nan)
        logits = batched(top.model)
        for fold in range(self._folds.max() + 1):
            if np.isfinite(cross_validated[:, 0]).sum() >= ENOUGH:
                break
            held_out = self._folds == fold

            def make_fold() -> dict[str, np.ndarray]:
                top.set_weights(trained(1 + fold, ~held_out))
                return {"logits": logits(plain[held_out])}

            found = self._kept(f"fold {fold} {training}", make_fold)
            cross_validated[held_out] = found["logits"]
        top.set_weights(weights_found)
        kernel, bias = weights_found[-2:]
        return top, Candidate(kernel, bias, cross_validated)

    def _backup(self, name: str) -> list[keras.callbacks.Callback]:
        if self._backup_dir is None:
            return []
        return [BackupAndRestore(os.path.join(self._backup_dir, name))]

    def _kept(
        self, name: str, make: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """What a phase gives, of an earlier run if it has finished it."""
        if self._backup_dir is None:
            return make()
        return store.kept(
            f"{self._key} {name}", make, cache_dir=self._backup_dir
        )
