"""Which pictures there are, and of what."""

from typing import NamedTuple

MAIN = "Gradient descent"
GRADIENTS = "Gradient norm of each layer"
RATIOS = "Update ratio of each layer"
NOT_FINITE = "numbers that are not finite"
MORE = "More"


class Charts(NamedTuple):
    """Charts of the page Custom Scalars, with the names of their curves.

    Args:
        name: Of the picture.
        log_dir: As `tensorboard --logdir` has it, where the page ran.
        charts: Groups and titles of charts.
        is_logarithmic: Whether the y axes are.
        smoothing: As TensorBoard has it, from 0 to 1.
    """

    name: str
    log_dir: str
    charts: list[tuple[str, str]]
    is_logarithmic: bool = False
    smoothing: float = 0.6


class Window(NamedTuple):
    """A part of TensorBoard's window.

    Args:
        name: Of the picture.
        log_dir: As `tensorboard --logdir` has it, where the page ran.
        tab: As TensorBoard's address has it.
        part: Left, top, width and height, in pixels of the page.
        ready: JavaScript that is true when all is there.
    """

    name: str
    log_dir: str
    tab: str
    part: tuple[int, int, int, int]
    ready: str


WHOLE = (0, 0, 1030, 745)
VERDICTS = (305, 125, 870, 510)
TABLE = (0, 0, 1180, 330)
IMAGES = (300, 120, 400, 430)
_TEXTS = "find(`tf-text-loader`).length"
_TABLE = "find(`tf-hparams-table-view`).length"

#: The pictures of each page, by its path below `docs`
SHOTS: dict[str, list[Charts | Window]] = {
    "tutorial/5_tensorboard.md": [
        Window(
            "window",
            "logs/1_healthy",
            "custom_scalars",
            WHOLE,
            "cards().length",
        ),
        Window(
            "verdict",
            "logs/2_diverging",
            "text",
            VERDICTS,
            _TEXTS,
        ),
        Charts(
            "healthy", "logs/1_healthy", [(MAIN, "loss"), (MAIN, "accuracy")]
        ),
        Charts(
            "diverging",
            "logs/2_diverging",
            [(MAIN, "loss"), (MAIN, "gradient norm")],
            is_logarithmic=True,
        ),
        Charts(
            "oscillating",
            "logs/3_oscillating",
            [(MAIN, "loss"), (MORE, "weight norm")],
            smoothing=0,
        ),
        Charts(
            "too_small",
            "logs/4_too_small",
            [(MAIN, "loss"), (RATIOS, "hidden_1")],
        ),
        Charts(
            "dead", "logs/5_dead", [(MAIN, "loss"), (GRADIENTS, "hidden_1")]
        ),
        Charts(
            "vanishing",
            "logs/6_vanishing",
            [(GRADIENTS, "hidden_1"), (GRADIENTS, "digit")],
            is_logarithmic=True,
        ),
        Charts(
            "overfitting",
            "logs/7_overfitting",
            [(MAIN, "loss"), (MAIN, "accuracy")],
        ),
        Charts(
            "decayed",
            "logs/8_decayed",
            [(MAIN, "loss"), (MAIN, "learning rate")],
        ),
        Charts("nan", "logs/9_nan", [(MAIN, "loss"), (MORE, NOT_FINITE)]),
        Charts("loss", "logs/10_loss", [(MAIN, "loss"), (MAIN, "accuracy")]),
    ],
    "how_to/tensorboard.md": [
        Window("line", "logs", "custom_scalars", WHOLE, "cards().length"),
        Window("hparams", "logs", "hparams", TABLE, _TABLE),
        Window(
            "images", "more", "images", IMAGES, "find(`tf-image-loader`)[0]"
        ),
    ],
}
