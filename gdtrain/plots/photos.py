"""How good a classifier of photos is, and which photos to look at."""

import math
import os
from collections.abc import Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gdtrain.plots import canvas

Listed = tuple[str, str, str, float, int]  # See `most_wrong`

COLUMNS = 5
MAX_CLASSES = 40  # Whose names can be read in one picture


def reliability(
    bins: Sequence[tuple[float, float, float, float, int]],
    path: canvas.Path = None,
) -> Figure:
    """Draws whether what is said with probability 0.9 is right at 0.9.

    Points on the diagonal are calibrated; below it, the model is too sure.

    Args:
        bins: Photos of about the same confidence: `(mean probability of what
            was said, share that is right, its interval from low, to high,
            photos)`, as `reliability` of the report of `gdtrain.images`.
        path: Where to save the picture too, for example `"reliability.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> figure = reliability([(0.6, 0.5, 0.1, 0.9, 2), (0.9, 1, 0.4, 1, 6)])
    >>> figure.axes[0].get_title("left")
    'Reliability: on the line, 0.9 is right nine times in ten'
    """
    figure, axes = canvas.new_axes(5.2, 5.0)
    confidence, accuracy, low, high, photos = np.array(bins, np.float64).T
    title = "Reliability: on the line, 0.9 is right nine times in ten"
    canvas.dress(axes, title, "share that is right")
    axes.set_xlabel("probability of what was said (below: how many photos)")
    axes.plot([0, 1], [0, 1], color=canvas.GREY, linewidth=1, linestyle="--")
    axes.vlines(confidence, low, high, color=canvas.BLUE, alpha=0.45)
    axes.scatter(
        confidence, accuracy, 20 + 180 * photos / photos.sum(), canvas.BLUE
    )
    for across, down, count in zip(confidence, low, photos, strict=True):
        place = {"xycoords": "data", "color": canvas.INK, "ha": "center"}
        canvas.note(axes, f"{count:,.0f}", (across, down), (0, -7), **place)
    axes.set(xlim=(min(0.5, confidence.min() - 0.1), 1.02), ylim=(-0.06, 1.03))
    return canvas.finish(figure, path)


def precision_recall(
    class_names: Sequence[str],
    precision: ArrayLike,
    recall: ArrayLike,
    path: canvas.Path = None,
) -> Figure:
    """Draws precision and recall of each class.

    Of more than 40 classes, those of the lowest recall.

    Args:
        class_names: The name of each class.
        precision: Of those taken for a class, the share that are of it, float
            `[classes]`; NaN is not drawn.
        recall: Of those of a class, the share that are taken for it, as
            `precision`.
        path: Where to save the picture too.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> axes = precision_recall(["cat", "dog"], [1, 0.5], [0.5, 1]).axes[0]
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['cat', 'dog']
    """
    precision, recall = np.asarray(precision), np.asarray(recall)
    shown = np.arange(len(class_names))
    title = "Precision and recall of each class"
    if len(shown) > MAX_CLASSES:
        # NaN comes last.
        shown = np.argsort(recall, kind="stable")[:MAX_CLASSES]
        title = f"The {MAX_CLASSES} classes of {len(recall):,} of least recall"
    figure, axes = canvas.new_axes(6.5, 1.2 + 0.32 * len(shown))
    canvas.dress(axes, title, ruled=False)
    places = np.arange(len(shown))
    for values, color, marker, label in (
        (precision, canvas.BLUE, "o", "precision: right of those taken for it"),
        (recall, canvas.ORANGE, "D", "recall: found of those that are it"),
    ):
        axes.plot(
            values[shown],
            places,
            marker,
            color=color,
            markersize=6,
            markerfacecolor=color if marker == "o" else "none",
            markeredgewidth=1.5,
            label=label,
            clip_on=False,
        )
    axes.hlines(places, 0, 1, color=canvas.FAINT, linewidth=0.8, zorder=0)
    names = [_called(class_names[int(at)], 24) for at in shown]
    axes.set_yticks(places, names)
    axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))
    axes.xaxis.set_major_locator(ticker.MultipleLocator(0.2))
    figure.legend(
        loc="outside lower center",
        fontsize=canvas.SMALL,
        frameon=False,
        labelcolor=canvas.INK,
    )
    return canvas.finish(figure, path)


def most_wrong(
    images: np.ndarray,
    listed: Sequence[Listed],
    path: canvas.Path = None,
) -> Figure:
    """Draws photos with what they are, and what they were taken for.

    Args:
        images: uint8 `[n, height, width, channels]`, at least one.
        listed: Of each `(file, class that it is, class that was said,
            probability of that, position)`, as `most_wrong` of the report of
            `gdtrain.images`.
        path: Where to save the picture too, for example `"most_wrong.png"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> images = np.zeros([1, 8, 8, 3], np.uint8)
    >>> figure = most_wrong(images, [("photos/7.jpg", "cat", "dog", 0.9, 0)])
    >>> print(figure.axes[0].get_title())
    is cat
    said dog (0.90)
    """
    caption = "is {given}\nsaid {said} ({probability:.2f})"
    figure = _grid(images, listed, caption, "The most wrong photos")
    return canvas.finish(figure, path)


def most_suspect(
    images: np.ndarray,
    listed: Sequence[Listed],
    path: canvas.Path = None,
) -> Figure:
    """Draws photos whose labels may be mistakes.

    Args:
        images, path: As in `most_wrong`.
        listed: Of each `(file, class that it is labelled with, class that it
            looks like, probability of the label, position)`, as
            `most_suspect` of the report of `gdtrain.images`.

    Returns:
        A `matplotlib.figure.Figure`.

    Example:

    >>> images = np.zeros([1, 8, 8, 3], np.uint8)
    >>> figure = most_suspect(images, [("photos/7.jpg", "cat", "dog", 0.1, 0)])
    >>> print(figure.axes[0].get_title())
    labelled cat (0.10)
    looks like dog
    """
    caption = "labelled {given} ({probability:.2f})\nlooks like {said}"
    figure = _grid(images, listed, caption, "The most suspect labels")
    return canvas.finish(figure, path)


def _grid(
    images: np.ndarray, listed: Sequence[Listed], caption: str, heading: str
) -> Figure:
    """Photos in rows, each with its caption and the name of its file."""
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    figure = canvas.new_figure(max(2.3 * columns, 4.5), 2.9 * rows + 0.4)
    figure.suptitle(
        heading, fontsize=canvas.MEDIUM, color=canvas.INK, weight="bold"
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(images) :]:
        axes.set_axis_off()
    for axes, image, photo in zip(grid.flat, images, listed, strict=False):
        file, given, said, probability, _ = photo
        shown = image[:, :, 0] if image.shape[2] == 1 else image
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
        title = caption.format(
            given=_called(given), said=_called(said), probability=probability
        )
        axes.set_title(title, fontsize=canvas.SMALL, color=canvas.INK, pad=3)
        name = _called(os.path.basename(file), 28)
        axes.set_xlabel(name, fontsize=canvas.SMALL - 1, color=canvas.GREY)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _called(name: str, max_length: int = 16) -> str:
    """A name as it is written in a picture."""
    return canvas.plain(canvas.shorten(name, max_length))
