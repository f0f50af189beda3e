"""What a classifier takes images for, and what it confuses."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from gdtrain.common.probabilities import probabilities
from gdtrain.plots import canvas

MAX_IMAGES = 16
COLUMNS, SAMPLE_ROWS = 8, 3
MAX_COUNTED = 30  # Classes; the counts of more could not be read
MAX_CLASSES = 60  # Whose names can be read


class Predictions:
    """The same few images, each with its predicted class and confidence.

    Where labels are given, right ones are green with a tick, wrong ones red
    with a cross.

    Args:
        images: `[n, h, w]`, `[n, h, w, 1]` or `[n, h, w, 3]`, as the model
            takes them, in any range. The first 16 are shown.
        labels: Right classes, int `[n]` or `[n, 1]`, or `None`.
        class_names: A list of strings. Defaults to the numbers of the classes.
        name: What the picture is called in TensorBoard.
        from_logits: Whether the model's outputs are logits, `True`, or
            probabilities, `False`. By default guessed from the outputs; say it
            for a model with a single logit, which may be between 0 and 1.

    Raises:
        ValueError: if shapes do not fit.

    Example:

    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    ... )
    >>> picture = Predictions(np.zeros([3, 8, 8]), labels=[0, 0, 1])
    >>> seen = picture.look(model)
    >>> seen.tolist()
    [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    >>> picture.draw(seen).get_suptitle()
    'Predictions with their confidence: 2 of 3 right'
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "predictions",
        from_logits: bool | None = None,
    ) -> None:
        self.name = name
        self.from_logits = from_logits
        shown = _images(images)
        self._images = shown[:MAX_IMAGES].copy()
        self._labels = None
        if labels is not None:
            self._labels = _flat(labels, len(shown))[:MAX_IMAGES]
        self._class_names = class_names

    def look(self, model: keras.Model) -> np.ndarray:
        """Predicts, on the training thread.

        Args:
            model: A Keras model whose output is `[n, classes]`.

        Returns:
            Probabilities, float64 `[n, classes]`.

        Raises:
            ValueError: if the output has a different shape.
        """
        predicted = model(self._images, training=False)
        return probabilities(np.asarray(predicted), self.from_logits)

    def draw(self, seen: np.ndarray) -> Figure:
        """Draws what `look` returned, on any thread.

        Args:
            seen: Probabilities, float `[n, classes]`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        columns = math.ceil(math.sqrt(len(seen)))
        rows = math.ceil(len(seen) / columns)
        figure = canvas.new_figure(
            max(1.35 * columns + 0.4, 4), 1.7 * rows + 0.4
        )
        shown = self._images, seen, self._labels, self._class_names
        _draw_grid(figure, columns, *shown)
        title = "Predictions with their confidence"
        if self._labels is not None:
            right = int((_guesses(seen) == self._labels).sum())
            title = f"{title}: {right} of {len(seen)} right"
        _write_title(figure, title)
        return figure


def predictions(
    images: ArrayLike,
    labels: ArrayLike,
    outputs: ArrayLike,
    class_names: Sequence[str] | None = None,
    path: canvas.Path = None,
    *,
    seed: int = 0,
) -> Figure:
    """Draws a random sample of images, and the most confident mistakes.

    Args:
        images: As in `gdtrain.plots.Predictions`, all of a test set.
        labels: Right classes, int `[n]` or `[n, 1]`.
        outputs: What the model predicted, logits or probabilities
            `[n, classes]`.
        class_names: A list of strings. Defaults to the numbers of the classes.
        path: Where to save the picture too, for example `"predictions.png"`.
        seed: Draws the sample.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if shapes do not fit.

    Example:

    >>> outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> figure = predictions(np.zeros([3, 8, 8]), [0, 1, 1], outputs)
    >>> [part.get_suptitle() for part in figure.subfigs]
    ['3 of 3 images', 'The most confident of 1 mistakes']
    """
    images, shares = _images(images), probabilities(outputs)
    labels = _flat(labels, len(images))
    groups = _chosen(labels, shares, seed)
    rows = [math.ceil(len(at) / COLUMNS) for _, at in groups]
    heights = [0.4 + 1.7 * count for count in rows]  # Inches, with a title
    figure = canvas.new_figure(11, sum(heights))
    parts = figure.subfigures(len(rows), height_ratios=heights, squeeze=False)
    for (title, at), part in zip(groups, parts.flat, strict=True):
        _write_title(part, title)
        shown = images[at], shares[at], labels[at], class_names
        _draw_grid(part, COLUMNS, *shown)
    return canvas.finish(figure, path)


def confusion(
    labels: ArrayLike,
    outputs: ArrayLike,
    class_names: Sequence[str] | None = None,
    path: canvas.Path = None,
) -> Figure:
    """Draws how many images of each class were taken for which class.

    Of more than 60 classes, those that are confused most often.

    Args:
        labels: Right classes, int `[n]` or `[n, 1]`.
        outputs: What the model predicted, logits or probabilities
            `[n, classes]`.
        class_names: A list of strings. Defaults to the numbers of the classes.
        path: Where to save the picture too, for example `"confusion.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: if shapes do not fit.

    Example:

    >>> outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> axes = confusion([0, 1, 1], outputs, ["cat", "dog"]).axes[0]
    >>> axes.get_title("left"), [text.get_text() for text in axes.texts]
    ('2 of 3 are right', ['1', '1', '1'])
    """
    shares = probabilities(outputs)
    labels = _flat(labels, len(shares))
    table = np.zeros([shares.shape[1]] * 2, int)
    np.add.at(table, (labels, shares.argmax(1)), 1)
    of_class = table / np.maximum(table.sum(1, keepdims=True), 1)
    title = f"{np.trace(table):,} of {len(labels):,} are right"
    shown = np.arange(len(table))
    if len(table) > MAX_CLASSES:
        mistakes = table.sum(0) + table.sum(1) - 2 * np.diagonal(table)
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_CLASSES])
        title += f"; of {len(table):,} classes, the {MAX_CLASSES} most confused"
    table, of_class = (of[np.ix_(shown, shown)] for of in (table, of_class))
    side = min(3 + 0.45 * len(table), 20)
    figure, axes = canvas.new_axes(side, side)
    axes.imshow(of_class, "Blues", vmin=0, vmax=1)
    called = [_call(int(label), class_names, 24) for label in shown]
    axes.set_xticks(range(len(table)), called)
    axes.set_yticks(range(len(table)), called)
    axes.set_xlabel("taken for")
    canvas.dress(axes, title, "is", ruled=False)
    if len(table) > 4 or max(map(len, called)) > 16:
        axes.tick_params(axis="x", rotation=90)
    if len(table) <= MAX_COUNTED:
        for row, column in np.argwhere(table):
            count = f"{table[row, column]:,}"
            color = "white" if of_class[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=color)
    return canvas.finish(figure, path)


def _guesses(shares: np.ndarray) -> np.ndarray:
    """The predicted classes, int `[n]`; -1 where the model is broken."""
    return np.where(np.isnan(shares).any(1), -1, shares.argmax(1))


def _chosen(
    labels: np.ndarray, shares: np.ndarray, seed: int
) -> list[tuple[str, np.ndarray]]:
    """The images to draw: titles and positions."""
    order = np.random.default_rng(seed).permutation(len(labels))
    sample = order[: SAMPLE_ROWS * COLUMNS]
    groups = [(f"{len(sample)} of {len(labels):,} images", sample)]
    wrong = np.flatnonzero(_guesses(shares) != labels)
    if len(wrong):
        surest = np.argsort(-shares[wrong].max(1), kind="stable")[:COLUMNS]
        title = f"The most confident of {len(wrong):,} mistakes"
        groups.append((title, wrong[surest]))
    return groups


def _draw_grid(
    figure: Figure | SubFigure,
    columns: int,
    images: np.ndarray,
    shares: np.ndarray,
    labels: np.ndarray | None,
    class_names: Sequence[str] | None,
) -> None:
    """Draws images in rows; black and white mean the same in all of them."""
    rows = math.ceil(len(images) / columns)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_axis_off()
    low, high = np.nanmin(images), np.nanmax(images)
    for i, (axes, image) in enumerate(zip(grid.flat, images, strict=False)):
        image = image.astype(np.float64)
        is_grey = image.ndim == 3 and image.shape[2] == 1
        shades = (image[:, :, 0] if is_grey else image) - low
        axes.imshow(shades / (high - low or 1), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        label = None if labels is None else int(labels[i])
        text, color = _caption(shares[i], label, class_names)
        axes.set_title(text, fontsize=canvas.SMALL, color=color, pad=3)
        for spine in axes.spines.values():
            spine.set(color=color, linewidth=1.5)


def _caption(
    shares: np.ndarray, label: int | None, class_names: Sequence[str] | None
) -> tuple[str, str]:
    """What an image was taken for, and the color that says whether rightly."""
    text, color = "NaN", canvas.RED
    if not np.isnan(shares).any():
        guess = int(shares.argmax())
        text = f"{_call(guess, class_names)}  {shares[guess]:.0%}"
        color = canvas.INK
        if label is not None:
            text += "  \N{CHECK MARK}" if guess == label else "  \N{BALLOT X}"
            color = canvas.GREEN if guess == label else canvas.RED
    if label is not None and color == canvas.RED:
        text += f"\nis {_call(label, class_names)}"
    return text, color


def _call(
    label: int, class_names: Sequence[str] | None, max_length: int = 14
) -> str:
    """The name of a class."""
    if class_names is None:
        return str(label)
    return canvas.plain(canvas.shorten(str(class_names[label]), max_length))


def _write_title(figure: Figure | SubFigure, title: str) -> None:
    figure.suptitle(
        title, fontsize=canvas.MEDIUM, color=canvas.INK, weight="bold"
    )


def _images(images: ArrayLike) -> np.ndarray:
    """The images as an array."""
    images = np.asarray(images)
    if not images.size or not (
        images.ndim == 3 or images.ndim == 4 and images.shape[3] in (1, 3)
    ):
        raise ValueError(
            "`images` must be [n, h, w], [n, h, w, 1] or [n, h, w, 3], "
            f"with n at least 1. Received: shape {list(images.shape)}."
        )
    return images


def _flat(labels: ArrayLike, count: int) -> np.ndarray:
    """The labels of so many images, int `[n]`."""
    labels = np.asarray(labels)
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"`labels` must be one class an image: {count} whole numbers. "
            f"Received: shape {list(labels.shape)}. For one-hot labels write "
            "labels.argmax(1)."
        )
    return labels.reshape(-1).astype(np.int64)
