"""A report on a classifier of photos: a page, pictures, TensorBoard."""

import importlib
import math
import os
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from gdtrain.common import failures, notebook
from gdtrain.common.explained import more
from gdtrain.common.probabilities import probabilities as as_probabilities
from gdtrain.common.whole_files import written_aside
from gdtrain.images import report_page
from gdtrain.images.photos import LabelledImages, Photos
from gdtrain.images.report_numbers import ReportNumbers
from gdtrain.writers import TensorBoardWriter, summaries, tensorboard_runs


class Report(ReportNumbers):
    """How good a classifier is on held-out photos; see `report`.

    A notebook shows it as the page that `save_html` saves.

    Example:

    >>> few = LabelledImages(np.zeros([2, 8, 8, 3], "u1"), np.array([0, 1]), [])
    >>> photos = Photos(["cat", "dog"], few, few, [], "Two photos.")
    >>> found = report([[0.9, 0.1], [0.6, 0.4]], photos)
    >>> found.accuracy, found.most_wrong[0].position
    (0.5, 1)
    """

    def figures(self) -> dict[str, Any]:
        """Pictures by name, each a `matplotlib.figure.Figure`.

        Raises:
            ImportError: if there is no Matplotlib.
        """
        # Imported only for pictures: Matplotlib is an extra.
        plots = importlib.import_module("gdtrain.plots")
        found = {
            "confusion": plots.confusion(
                self.labels, self.probabilities, self.class_names
            ),
            "precision_recall": plots.precision_recall(
                self.class_names, self.precision, self.recall
            ),
            "reliability": plots.reliability(self.reliability),
        }
        for draw, part, listed in (
            (plots.most_wrong, self.photos.held_out, self.most_wrong),
            (plots.most_suspect, self.photos.training, self.most_suspect),
        ):
            if listed:
                images = part.images[[photo.position for photo in listed]]
                found[draw.__name__] = draw(images, listed)
        return found

    def save_png(self, folder: str | os.PathLike) -> list[str]:
        """Saves the pictures as `confusion.png`, `reliability.png` and so on.

        Args:
            folder: Where to; made if it is missing.

        Returns:
            The paths of the files.

        Raises:
            ImportError: if there is no Matplotlib.
        """
        os.makedirs(folder, exist_ok=True)
        paths = []
        for name, figure in self.figures().items():
            paths.append(os.path.join(folder, f"{name}.png"))
            figure.savefig(paths[-1], dpi=150)
        return paths

    def save_html(self, path: str | os.PathLike) -> None:
        """Saves one page that needs no other file, and no network.

        Args:
            path: Where to, for example `"report.html"`; overwritten, whole or
                not at all.
        """
        page = report_page.page(self)
        with written_aside(path, ".html") as aside:
            aside.write_text(page, encoding="utf-8")

    def save_for_tensorboard(self, log_dir: str | os.PathLike) -> None:
        """Writes what `write` does, in the place of an earlier report.

        Args:
            log_dir: The folder of a run that nothing writes to now.

        Raises:
            OSError: if it cannot be written.
        """
        tensorboard_runs.drop_stale(
            log_dir,
            lambda tag: 0 if tag.split("/")[0] == "report" else math.inf,
        )
        writer = TensorBoardWriter(log_dir)
        self.write(writer)
        writer.close()

    def write(self, writer: TensorBoardWriter, step: int = 0) -> None:
        """Writes numbers and pictures for TensorBoard, under `report/`.

        Args:
            writer: Where to; it stays open.
            step: The step that they belong to.
        """
        low, high = self.interval
        numbers = {
            "report/accuracy": self.accuracy,
            "report/accuracy_low": low,
            "report/accuracy_high": high,
            "report/expected_calibration_error": (
                self.expected_calibration_error
            ),
        }
        writer.write([step], list(numbers), [list(numbers.values())])
        writer.add(step, summaries.text("report", f"```\n{self}\n```"))
        try:
            figures = self.figures()
        except ImportError as error:
            what = "TensorBoard gets no pictures of the report"
            failures.warn(
                what,
                error,
                "Its numbers are written." + more("writing-stopped"),
            )
            return
        for name, figure in figures.items():
            writer.add(step, summaries.figure(f"report/{name}", figure))

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            f"{self.right:,} of {len(self.labels):,} held-out photos are "
            f"right: accuracy {self.accuracy:.3f} (95% interval {low:.3f} to "
            f"{high:.3f}), expected calibration error "
            f"{self.expected_calibration_error:.3f}."
        ]
        for listed, words in (
            (self.most_wrong, "Most wrong: {0.file} is {0.given}, said "
             "{0.said} ({0.probability:.2f})."),
            (self.most_suspect, "Most suspect label: {0.file} is labelled "
             "{0.given} ({0.probability:.2f}), and looks like {0.said}."),
        ):  # fmt: skip
            lines += [words.format(photo) for photo in listed[:1]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The page, in a notebook."""
        return notebook.show(self, lambda: report_page.content(self))


def report(
    model_or_probabilities: keras.Model | ArrayLike,
    photos: Photos,
    *,
    cross_validated: ArrayLike | None = None,
    path: str | os.PathLike | None = None,
    log_dir: str | os.PathLike | None = None,
) -> Report:
    """Finds out how good a classifier is on photos that it did not learn from.

    Args:
        model_or_probabilities: A model that takes photos, uint8
            `[n, height, width, channels]`, or what it outputs for the held-out
            photos: probabilities or logits, `[n, classes]`.
        photos: The photos, of which `held_out` must have one or more.
        cross_validated: Probabilities or logits of the photos to learn from,
            each by a model that did not learn from it, `[m, classes]`, as the
            head's `cross_validated`: with them, suspect labels are found.
        path: Where to save the page, for example `"report.html"`.
        log_dir: A folder to which numbers and pictures are written for
            TensorBoard.

    Returns:
        `Report`, which a notebook shows as the page.

    Raises:
        ValueError: if there are no held-out photos, or outputs do not fit the
            photos or are not finite.

    Example:

    >>> few = LabelledImages(np.zeros([2, 8, 8, 3], "u1"), np.array([0, 1]), [])
    >>> photos = Photos(["cat", "dog"], few, few, [], "Two photos.")
    >>> print(report([[0.9, 0.1], [0.6, 0.4]], photos))
    1 of 2 held-out photos are right: accuracy 0.500 (95% interval 0.095 to
    0.905), expected calibration error 0.350.
    Most wrong: held out 1 is dog, said cat (0.60).
    """
    if not len(photos.held_out.labels):
        raise ValueError(
            "A report must have held-out photos to be about. Received: "
            f"{len(photos.training.labels):,} photos to learn from and none "
            "held out. Read the photos with `held_out=0.2`."
        )
    outputs = model_or_probabilities
    if isinstance(outputs, keras.Model):
        outputs = outputs.predict(photos.held_out.images, verbose=0)
    classes = len(photos.class_names)
    found = Report(
        photos,
        _checked("outputs", outputs, photos.held_out, classes),
        None
        if cross_validated is None
        else _checked(
            "cross_validated", cross_validated, photos.training, classes
        ),
    )
    if path is not None:
        found.save_html(path)
    if log_dir is not None:
        found.save_for_tensorboard(log_dir)
    return found


def _checked(
    name: str, outputs: ArrayLike, part: LabelledImages, classes: int
) -> np.ndarray:
    """The probabilities of photos, if they are these."""
    shares = as_probabilities(np.asarray(outputs))
    expected = (len(part.labels), classes)
    if shares.shape != expected:
        raise ValueError(
            f"`{name}` must be one row a photo and one column a class: "
            f"{list(expected)}. Received: shape {list(shares.shape)}. Give "
            "the model, or its outputs for these photos."
        )
    broken = np.flatnonzero(~np.isfinite(shares).all(1))
    if len(broken):
        raise ValueError(
            f"`{name}` must be finite. Received: {len(broken):,} rows with "
            f"NaN or infinity, the first at {broken[0]:,}. The model is "
            "broken; train it with a lower learning rate."
        )
    return shares
