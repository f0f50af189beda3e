"""Pictures of a model as it changes, for TensorBoard."""

import io

from gdtrain.cadence import OneTwoFive
from gdtrain.writers import failures, summaries


class Pictures:
    """Draws pictures at steps 1, 2, 5, 10, 20, 50, ... and wherever asked.

    One that raises is left out at that step alone, and told of once.

    Args:
        pictures: A list of objects with a `name`, `look(model)`, which is
            called on the training thread, and `draw(seen)`, which is given
            what that returned, on the writing thread, and returns a
            Matplotlib figure.
    """

    def __init__(self, pictures):
        self._pictures = list(pictures)
        self._cadence = OneTwoFive()
        self._parts = failures.Parts()
        self._seen_at = None  # The last step at which they looked

    def next_look(self, step):
        """The next step at which they must see the model, or `None`."""
        return self._cadence.next(step) if self._pictures else None

    def is_due(self, first_step, last_step):
        """Whether they must look after some steps."""
        return self._cadence.next(first_step - 1) <= last_step

    def look(self, model, step):
        """What they see, on the training thread.

        Args:
            model: The model.
            step: The number of the step that is done.

        Returns:
            A list of `(picture, seen)`; empty if they looked at this step.
        """
        if step == self._seen_at:
            return []
        self._seen_at = step
        looked = []
        for picture in self._pictures:
            with self._alone(picture):
                looked.append((picture, picture.look(model)))
        return looked

    def draw(self, looked):
        """Draws what was seen, on the writing thread.

        Args:
            looked: What `look` returned.

        Returns:
            A list of `Summary`.
        """
        drawn = []
        for picture, seen in looked:
            with self._alone(picture):
                drawn.append(_image(picture.name, picture.draw(seen)))
        return drawn

    def _alone(self, picture):
        """Lets a picture fail alone."""
        return self._parts.alone(
            f"The picture {_name(picture)!r} cannot be drawn",
            "It is tried again at later steps; all else is written, and "
            "training goes on.",
        )


def _name(picture):
    """The name of a picture; of its class if it has none."""
    try:
        return picture.name
    except Exception:  # A property of a user's own may raise anything.
        return type(picture).__name__


def _image(name, figure):
    """A Matplotlib figure as a `Summary`."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=figure.dpi)
    width, height = (int(n) for n in figure.bbox.size)
    return summaries.image(name, [png.getvalue()], width, height)
