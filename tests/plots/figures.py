"""What can be read in a picture."""

from matplotlib.axes import Axes


def words(axes: Axes) -> list[str]:
    """What is written on axes, but for titles and labels."""
    return [text.get_text() for text in axes.texts]


def legend(axes: Axes) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in axes.get_legend().get_texts()]
