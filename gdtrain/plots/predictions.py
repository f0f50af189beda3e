"""What a classifier takes some pictures for, as it learns."""

import math

import numpy as np

from gdtrain.plots import canvas, names, outputs

MOST = 16


class Predictions:
    """The same few pictures, each with its predicted class and confidence.

    Where labels are given, right ones are green with a tick, wrong ones red
    with a cross.

    Args:
        images: `[n, h, w]`, `[n, h, w, 1]` or `[n, h, w, 3]`, as the model
            takes them, in any range. The first 16 are shown.
        labels: Right classes, int `[n]` or `[n, 1]`, or `None`.
        class_names: A list of strings. Defaults to the numbers of the classes.
        name: What the picture is called in TensorBoard.
        from_logits: Whether the model's outputs are logits, `True`, or
            probabilities, `False`. By default told from the outputs; say it
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
        images,
        labels=None,
        class_names=None,
        name="predictions",
        from_logits=None,
    ):
        self.name = name
        self.from_logits = from_logits
        images = np.asarray(images)
        if not len(images) or not (
            images.ndim == 3 or images.ndim == 4 and images.shape[3] in (1, 3)
        ):
            raise ValueError(
                "`images` must be [n, h, w], [n, h, w, 1] or [n, h, w, 3], "
                f"with n at least 1. Received: shape {list(images.shape)}."
            )
        self._images = images[:MOST].copy()
        self._labels = None if labels is None else _flat(labels, len(images))
        self._class_names = class_names

    def look(self, model):
        """Predicts, on the training thread.

        Args:
            model: A Keras model whose output is `[n, classes]`.

        Returns:
            Probabilities, float64 `[n, classes]`.

        Raises:
            ValueError: if the output has another shape.
        """
        predicted = model(self._images, training=False)
        return outputs.probabilities(np.asarray(predicted), self.from_logits)

    def draw(self, seen):
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
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(seen) :]:
            axes.set_axis_off()
        for place, axes in zip(range(len(seen)), grid.flat, strict=False):
            self._draw_image(axes, place)
            self._judge(axes, place, seen[place])
        figure.suptitle(
            self._title(seen),
            fontsize=canvas.MEDIUM,
            color=canvas.INK,
            weight="bold",
        )
        return figure

    def _draw_image(self, axes, place):
        """Draws an image; black and white mean the same in all of them."""
        low, high = np.nanmin(self._images), np.nanmax(self._images)
        image = self._images[place].astype(np.float64)
        grey = image.ndim == 3 and image.shape[2] == 1
        shades = ((image[:, :, 0] if grey else image) - low) / (high - low or 1)
        axes.imshow(shades, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])

    def _judge(self, axes, place, shares):
        """Writes above an image what it was taken for."""
        text, colour = "NaN", canvas.RED
        if not np.isnan(shares).any():
            guess = int(shares.argmax())
            text = f"{self._call(guess)}  {shares[guess]:.0%}"
            colour = canvas.INK
            if self._labels is not None:
                right = guess == self._labels[place]
                text += "  \N{CHECK MARK}" if right else "  \N{BALLOT X}"
                colour = canvas.GREEN if right else canvas.RED
        if self._labels is not None and colour == canvas.RED:
            text += f"\nis {self._call(self._labels[place])}"
        axes.set_title(text, fontsize=canvas.SMALL, color=colour, pad=3)
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=1.5)

    def _call(self, label):
        """The name of a class."""
        if self._class_names is None:
            return str(label)
        return canvas.plain(names.shorten(str(self._class_names[label]), 14))

    def _title(self, seen):
        title = "Predictions with their confidence"
        if self._labels is None:
            return title
        guesses = np.where(np.isnan(seen).any(1), -1, seen.argmax(1))
        right = int((guesses == self._labels).sum())
        return f"{title}: {right} of {len(seen)} right"


def _flat(labels, count):
    """The labels that belong to the images shown, int `[n]`."""
    labels = np.asarray(labels)
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"`labels` must be one class an image: {count} whole numbers. "
            f"Received: shape {list(labels.shape)}. For one-hot labels write "
            "labels.argmax(1)."
        )
    return labels.reshape(-1)[:MOST].astype(np.int64)
