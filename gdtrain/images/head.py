"""The head of a classifier of photos: softmax regression on features."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.images.axes import (
    PrincipalAxes,
    principal_axes,
    stratified_folds,
)
from gdtrain.images.calibration import check_pairs
from gdtrain.images.cross_entropy import Proof, log_softmax
from gdtrain.images.softmax_regression import SoftmaxRegressions

FOLDS = 5

# What is tried of l2, times photos / features. Weights of standardized
# features are then expected to give logits of about 0.3 to 30.
STRENGTHS = 10.0 ** np.arange(1, -3.01, -0.5)

# How far from the optimum the objective may be, and how many steps that may
# take: while strengths are compared, and in the end.
_COMPARED = 1e-4, 300
_SOLVED = 1e-9, 2000

# The norm of a gradient that rounding of float32 leaves
_ROUNDING = 1e-5

# Weaker strengths are not tried after so many that were worse by this share.
_WORSE = 1.02
_MAX_WORSE = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """The result of `fit_head`: a linear map from features to logits.

        logits = features @ kernel + bias

    Args:
        kernel: Float64 `[features, classes]`.
        bias: Float64 `[classes]`.
        l2: The strength of L2.
        gradient_norm: Of the objective, at the kernel for standardized
            features. The objective is above its least value by at most
            gradient_norm**2 / (2 l2).
        cross_validated: Logits of each photo by the regression that did not
            see it, float64 `[photos, classes]`.
        folds: In which fold each photo was held out, integers `[photos]`.
        by_fold: Kernel and bias of the regression that did not see a fold.
        log_losses: The cross-validated cross-entropy for each l2 tried.
        history: The loss at each step, over all regressions and strengths.

    Example:

    >>> head = Head(
    ...     kernel=np.array([[1.0, -1.0]]), bias=np.zeros(2), l2=1.0,
    ...     gradient_norm=0.0, cross_validated=np.zeros([1, 2]),
    ...     folds=np.zeros(1, int), log_losses={}, history=[],
    ... )
    >>> head.logits(np.array([[2.0]])).tolist()
    [[2.0, -2.0]]
    """

    kernel: np.ndarray
    bias: np.ndarray
    l2: float
    gradient_norm: float
    cross_validated: np.ndarray
    folds: np.ndarray
    log_losses: dict[float, float]
    history: list[float]
    by_fold: Sequence[tuple[np.ndarray, np.ndarray]] = ()

    @property
    def gap(self) -> float:
        """How far the objective may be above its least value, at most."""
        return self.gradient_norm**2 / (2 * self.l2)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """The logits of photos, float64 `[photos, classes]`.

        Args:
            features: `[photos, features]`.
        """
        return np.asarray(features, np.float64) @ self.kernel + self.bias


def fit_head(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int | Sequence[str],
    l2: float | None = None,
    class_weight: Mapping[int, float] | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Head:
    """Fits softmax regression with L2 to features of photos, to the optimum.

        objective = sum(weight * cross-entropy) / sum(weight)
                    + l2 / 2 * sum(kernel**2)

    for standardized features; the bias is not penalized. It is convex, and
    descended by `gdtrain.Model.fit` with all photos in each step: in the
    principal axes of the features, each scaled to about the same curvature,
    with a learning rate of 1 / sharpness, measured, and Nesterov's momentum,
    restarted where it overshoots. Descent ends when the gradient proves the
    optimum; see `Head`. Equal calls give equal bits.

    Strengths of L2 are compared by stratified 5-fold cross-validation within
    these photos, from strong to weak. Folds are weights of 0: the regression
    of all photos and those without a fold are one model, trained side by
    side. Features are standardized by all photos, without their labels.

    Memory: the features a second time, and some arrays of 6 numbers for each
    photo and class. Time: a step multiplies photos by features by 6 times the
    classes, so that 10,000 photos of 100 classes take minutes; a given `l2`
    takes the fewest steps.

    Args:
        features: Float `[photos, features]`.
        labels: Integers from 0 to below the number of classes, `[photos]`.
        classes: How many classes there are, or their names.
        l2: The strength of L2. Defaults to `None`, the one of the least
            cross-validated cross-entropy.
        class_weight: A weight above 0 for each class. Defaults to `None`, 1
            for all.
        seed: Draws the folds, which depend neither on the order of the photos
            nor on the scale of features.
        callbacks: For each call of `fit`, one for each strength that is tried
            and one to end with; a step is an epoch, and they count on.

    Returns:
        A `Head`.

    Raises:
        TypeError, ValueError: if an argument cannot be used, or a class has
            fewer than two photos.

    Example:

    >>> random = np.random.default_rng(0)
    >>> labels = np.arange(40) % 2
    >>> features = random.normal(size=[40, 3]) + 3 * labels[:, np.newaxis]
    >>> head = fit_head(features, labels, classes=2)
    >>> int(np.sum(head.cross_validated.argmax(1) == labels)), head.gap < 1e-9
    (40, True)

    References:
        Böhning, Annals of the Institute of Statistical Mathematics, 1992
        (the curvature of softmax regression); Nesterov, 1983. The same
        optimum as scikit-learn's `LogisticRegression` with C = 1 / (l2 *
        photos) for three or more classes, and 2 / (l2 * photos) for two.
    """
    names = _names(classes)
    features, labels = np.asarray(features), np.asarray(labels)
    check_pairs(features, labels, "features")
    check_labels(labels, classes)
    if l2 is not None:
        remedy = "Write for example l2=0.1, or leave it out."
        l2 = checks.positive_number("l2", l2, remedy)
    weights = _weights(class_weight, names)[labels]
    axes = principal_axes(features)
    if not len(axes.variances):
        raise ValueError(
            "`features` must differ between photos. Received: the same "
            "features for all of them. Look at the photos, and at what the "
            "backbone makes of them."
        )
    folds = stratified_folds(
        axes.standardize, features, labels, folds=FOLDS, seed=seed
    )
    # The first regression sees all photos.
    seen = np.vstack([folds >= 0, *(folds != fold for fold in range(FOLDS))])
    regressions = SoftmaxRegressions(
        axes.coordinates,
        labels,
        seen * weights / np.sum(seen * weights, axis=1, keepdims=True),
        classes=len(names),
        callbacks=callbacks,
    )
    path = _Path(regressions, labels, folds, weights)
    if l2 is None:
        l2 = path.best(STRENGTHS * features.shape[1] / len(features))
    return path.head(l2, axes)


class _Path:
    """Regressions for one strength of L2 after the other."""

    def __init__(
        self,
        regressions: SoftmaxRegressions,
        labels: np.ndarray,
        folds: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        self._regressions = regressions
        self._labels, self._folds, self._weights = labels, folds, weights
        self._photos = np.arange(len(labels))
        self._log_losses: dict[float, float] = {}

    def best(self, strengths: np.ndarray) -> float:
        """The strength of the least cross-validated cross-entropy.

        Each begins where the one before it ended, and the best one's weights
        are kept.
        """
        losses = self._log_losses
        worse, best, kept = 0, float(strengths[0]), None
        for l2 in map(float, strengths):
            proof = self._regressions.solve(l2, *_COMPARED)
            losses[l2] = self._log_loss(self._held_out(proof))
            if losses[l2] < losses[best] or kept is None:
                best, kept = l2, (self._regressions.kernel, proof.bias)
            worse += losses[l2] > _WORSE * losses[best]
            if worse == _MAX_WORSE:
                break
        assert kept is not None
        every = np.full(1 + FOLDS, True)
        self._regressions.begin(*kept, every)
        return best

    def head(self, l2: float, axes: PrincipalAxes) -> Head:
        """The regression of all photos, solved."""
        tolerance, max_steps = _SOLVED
        tolerance = max(tolerance, _ROUNDING**2 / (2 * l2))
        proof = self._regressions.solve(l2, tolerance, max_steps)
        if proof.gap[0] > tolerance:
            warnings.warn(
                f"The head is not at its optimum: with l2={l2:g}, its "
                f"objective may be {proof.gap[0]:.1g} above the least one. "
                "Use a stronger l2.",
                stacklevel=3,
            )
        held_out = self._held_out(proof)
        self._log_losses[l2] = self._log_loss(held_out)
        kernels = self._regressions.kernel.astype(np.float64)
        (kernel, bias), *by_fold = (
            axes.unturned(kernels[:, i], proof.bias[i])
            for i in range(1 + FOLDS)
        )
        return Head(
            kernel=kernel,
            bias=bias,
            l2=l2,
            gradient_norm=float(proof.gradient_norm[0]),
            cross_validated=held_out,
            folds=self._folds,
            log_losses=self._log_losses,
            history=self._regressions.losses,
            by_fold=by_fold,
        )

    def _held_out(self, proof: Proof) -> np.ndarray:
        """Logits of each photo by the regression that did not see it."""
        return proof.logits[self._photos, 1 + self._folds]

    def _log_loss(self, logits: np.ndarray) -> float:
        logs = log_softmax(logits)[self._photos, self._labels]
        return -float(np.average(logs, weights=self._weights))


def _names(classes: int | Sequence[str]) -> list[str]:
    """The name of each class, for messages."""
    if isinstance(classes, (list, tuple)):
        names = [f"'{name}'" for name in classes]
    else:
        count = checks.positive_integer("classes", classes)
        names = [str(label) for label in range(count)]
    if len(names) < 2:
        raise ValueError(
            f"`classes` must be at least 2. Received: {len(names)}. One class "
            "alone is the answer to every photo."
        )
    return names


def check_labels(labels: np.ndarray, classes: int | Sequence[str]) -> None:
    """Refuses labels that no head can be fitted to.

    Args:
        labels: Integers `[photos]`.
        classes: How many classes there are, or their names.

    Raises:
        ValueError: if a label is of no class, or a class has fewer than two.

    Example:

    >>> check_labels(np.array([0, 0, 1]), ["cat", "dog"])
    Traceback (most recent call last):
        ...
    ValueError: Each class must have two or more photos to learn from, so that
    one can be held out in turn. Received: 'dog' (1). Add photos, or leave the
    class out.
    More: python -m gdtrain explain photo-folders
    """
    names = _names(classes)
    if np.any(labels < 0) or np.any(labels >= len(names)):
        raise ValueError(
            f"`labels` must be from 0 to {len(names) - 1}. Received: from "
            f"{labels.min()} to {labels.max()}."
        )
    counts = np.bincount(labels, minlength=len(names))
    few = [
        f"{name} ({count})"
        for name, count in zip(names, counts, strict=True)
        if count < 2
    ]
    if few:
        raise ValueError(
            "Each class must have two or more photos to learn from, so that "
            f"one can be held out in turn. Received: {', '.join(few[:10])}. "
            "Add photos, or leave the class out." + more("photo-folders")
        )


def _weights(
    class_weight: Mapping[int, float] | None, names: list[str]
) -> np.ndarray:
    """The weight of each class."""
    if class_weight is None:
        return np.ones(len(names))
    if sorted(class_weight) != list(range(len(names))):
        raise ValueError(
            "`class_weight` must have a weight for each class, 0 to "
            f"{len(names) - 1}. Received: class_weight={dict(class_weight)}."
        )
    return np.array(
        [
            checks.positive_number(
                "class_weight", class_weight[label], "Write 1.0 for no weight."
            )
            for label in range(len(names))
        ]
    )
