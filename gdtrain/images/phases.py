"""The phases of fine-tuning that learn, each kept once it is finished."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from gdtrain.callbacks import BackupAndRestore
from gdtrain.images import calibration, store
from gdtrain.images.activations import Seen, batched
from gdtrain.images.head import fit_head
from gdtrain.images.top import Top, Training

ENOUGH = 1000  # Photos by which to choose: no further fold is trained

_Arrays = dict[str, Any]  # NumPy arrays by name


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

    def temperature(self, labels: np.ndarray) -> float:
        """What calibrates the cross-validated logits."""
        return calibration.temperature(
            self.cross_validated[self.known], labels[self.known]
        )

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
class Heads:
    """A head of all photos, and those that did not learn from a fold.

    Args:
        features: Of the photos `[n, d]`.
        kernels, biases: `[1 + folds, d, classes]`, `[1 + folds, classes]`;
            the first of all photos.
        folds: In which fold each photo was held out, int `[n]`.
        cross_validated: As in `Candidate`.
        loss: Of each epoch.
    """

    features: np.ndarray
    kernels: np.ndarray
    biases: np.ndarray
    folds: np.ndarray
    cross_validated: np.ndarray
    loss: np.ndarray

    @property
    def candidate(self) -> Candidate:
        """The head of all photos."""
        return Candidate(self.kernels[0], self.biases[0], self.cross_validated)


@dataclasses.dataclass
class Phases:
    """The phases that learn, resumed where an earlier run was interrupted.

    Args:
        labels: Of the photos, int `[n]`.
        class_names: The name of each class.
        class_weight: As in `keras.Model.fit`.
        seed: Of the folds.
        callbacks: For all epochs but those of the cross-validation.
        backup_dir: Where each finished phase is kept, and checkpoints of the
            one that is not; `None` for nowhere.
        key: A text that differs where the photos or the backbone do.

    Attributes:
        history: The epochs of all phases; NaN where one has no such number.
    """

    labels: np.ndarray
    class_names: Sequence[str]
    class_weight: Mapping[int, float] | None
    seed: int
    callbacks: Sequence[keras.callbacks.Callback]
    backup_dir: str | os.PathLike | None
    key: str

    def __post_init__(self) -> None:
        self.history = keras.callbacks.History()
        self.history.epoch = []

    def solve_head(self, features: Callable[[], np.ndarray]) -> Heads:
        """Solves the head on features, which are computed if it was not."""

        def make() -> _Arrays:
            found = features()
            head = fit_head(
                found,
                self.labels,
                classes=self.class_names,
                class_weight=self.class_weight,
                seed=self.seed,
                callbacks=self.callbacks,
            )
            solved = [(head.kernel, head.bias), *head.by_fold]
            return {
                "features": found,
                "kernels": np.stack([kernel for kernel, _ in solved]),
                "biases": np.stack([bias for _, bias in solved]),
                "folds": head.folds,
                "cross_validated": head.cross_validated,
                "loss": np.array(head.history),
            }

        heads = Heads(**self._kept("head", make))
        self._add_epochs({"loss": heads.loss})
        return heads

    def train_top(
        self, seen: Seen, heads: Heads, training: Training
    ) -> tuple[Top, Candidate]:
        """Trains the top with the head, and again without each fold.

        Args:
            seen: Activations of the photos, where the backbone is cut.
            heads: What the head begins with.
            training: How it is trained.

        Returns:
            The top, with the weights learned from all photos, and its head.
        """
        assert seen.parts is not None
        top = Top(
            seen.parts,
            len(self.class_names),
            training,
            examples=seen.views.shape[0] * seen.views.shape[1],
            first_step=len(heads.loss),
            first_epoch=len(heads.loss),
        )

        def make() -> _Arrays:
            epochs = self._fit(top, seen, heads)
            learned = enumerate(top.model.get_weights())
            return {
                f"epochs {name}": np.array(numbers)
                for name, numbers in epochs.items()
            } | {f"weight {i}": weight for i, weight in learned}

        found = self._kept(f"top {training}", make)
        epochs, learned = (
            {k.removeprefix(s): v for k, v in found.items() if k.startswith(s)}
            for s in ("epochs ", "weight ")
        )
        self._add_epochs(epochs)
        cross_validated = self._cross_validated(top, seen, heads)
        top.model.set_weights(list(learned.values()))
        kernel, bias = list(learned.values())[-2:]
        return top, Candidate(kernel, bias, cross_validated)

    def _cross_validated(
        self, top: Top, seen: Seen, heads: Heads
    ) -> np.ndarray:
        """As in `Candidate`, of a top that is trained again for each fold."""
        found = np.full([len(self.labels), len(self.class_names)], np.nan)
        logits = batched(top.model)
        for fold in range(heads.folds.max() + 1):
            if np.isfinite(found[:, 0]).sum() >= ENOUGH:
                break
            at = np.flatnonzero(heads.folds == fold)

            def make() -> _Arrays:
                self._fit(top, seen, heads, without=fold)
                return {"logits": logits(seen.plain, at)}

            kept = self._kept(f"fold {fold} {top.training}", make)
            found[at] = kept["logits"]
        return found

    def _fit(
        self, top: Top, seen: Seen, heads: Heads, without: int | None = None
    ) -> dict[str, list[float]]:
        """Trains the top, without the photos of a fold; see `Top.fit`."""
        given = self.class_weight or {}
        weights = np.array([given.get(int(y), 1.0) for y in self.labels])
        number, name, callbacks = 0, "top", self.callbacks
        if without is not None:
            weights *= heads.folds != without
            number, callbacks = 1 + without, ()
            name = f"fold {number}"
        if self.backup_dir is not None:
            folder = os.path.join(self.backup_dir, name)
            callbacks = [BackupAndRestore(folder), *callbacks]
        views = seen.views.shape[1]
        return top.fit(
            seen.views.reshape(-1, *seen.views.shape[2:]),
            np.repeat(self.labels, views),
            np.repeat(weights, views),
            kernel=heads.kernels[number],
            bias=heads.biases[number],
            repetition=number,
            callbacks=callbacks,
            verbose=0,
        )

    def _add_epochs(self, numbers: Mapping[str, np.ndarray]) -> None:
        """Adds the epochs of a phase to the history."""
        before, history = len(self.history.epoch), self.history.history
        after = before + len(numbers["loss"])
        self.history.epoch = list(range(after))
        for name in {**history, **numbers}:
            values = history.get(name, [math.nan] * before)[:before]
            values += np.asarray(numbers.get(name, ())).tolist()
            history[name] = values + [math.nan] * (after - len(values))

    def _kept(self, name: str, make: Callable[[], _Arrays]) -> _Arrays:
        """What a phase gives, of an earlier run if it has finished it."""
        if self.backup_dir is None:
            return make()
        facts = self.seed, self.class_weight, self.labels.tolist(), name
        key = " ".join(map(str, [self.key, *facts]))
        return store.kept(key, make, cache_dir=self.backup_dir)
