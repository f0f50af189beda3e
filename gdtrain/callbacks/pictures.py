"""Pictures of a model as it changes, for TensorBoard."""

import io

from gdtrain.cadence import OneTwoFive
from gdtrain.writers import failures, summaries


class Pictures:
    """Draws pictures at steps 1, 2, 5, 10, 20, 50, ... and wherever asked.

    Args:
        pictures: A list of objects with a `name`, `look(model)`, which is
            called on the training thread, and `draw(seen)`, which is given
            what that returned, on the writing thread, and returns a
            Matplotlib figure.
    """

    def __init__(self, pictures):
        self._pictures = list(pictures)
        self._cadence = OneTwoFive()
        self._left_out = []  # Those that could not be drawn
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
        return [(picture, picture.look(model)) for picture in self._pictures]

    def draw(self, looked):
        """Draws what was seen, on the writing thread.

        One that cannot be drawn is told of once, in a warning, and left out
        from then on.

        Args:
            looked: What `look` returned.

        Returns:
            A list of `Summary`.
        """
        drawn = []
        for picture, seen in looked:
            if any(one is picture for one in self._left_out):
                continue
            try:
                drawn.append(_image(picture.name, picture.draw(seen)))
            except Exception as error:  # A user's own may raise anything.
                self._left_out.append(picture)
                failures.warn(
                    f"The picture {picture.name!r} is left out from here on",
                    error,
                    "All else is written, and training goes on.",
                )
        return drawn


def _image(name, figure):
    """A Matplotlib figure as a `Summary`."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=figure.dpi)
    width, height = (int(n) for n in figure.bbox.size)
    return summaries.image(name, [png.getvalue()], width, height)
