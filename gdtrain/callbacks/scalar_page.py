"""The page "Gradient descent" of TensorBoard's tab Custom Scalars.

What tells most comes first. TensorBoard draws all curves of a run in one
colour, so that each curve of a run has a chart of its own, but for those that
are compared, such as training and validation.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from gdtrain.writers import summaries

_TITLE = "Gradient descent"
_OPEN = 12  # Most charts of layers that are shown unasked

# Titles of charts, and patterns of what they draw together, in their order.
# Metrics of the step come after the loss.
_LOSS = {"loss": ["loss"]}
_CHARTS = {
    "learning rate": ["learning_rate(/.*)?", "stable_learning_rate"],
    "gradient norm": ["gradient_norm"],
    "stability: learning rate over its limit, 1": ["stability"],
    "stability: sharpness": ["sharpness"],
    "stability: cosine to the gradient before": ["gradient_cosine"],
    "best multiple of the learning rate": ["best_multiple"],
    "loss at multiples of the learning rate": ["what_if/.*"],
    "change of the loss, predicted and real": [
        "predicted_loss_change",
        "loss_change",
    ],
}
_LAST = {"nonfinite_count": "numbers that are not finite"}
_LAYERS = ["update_ratio", "gradient_norm", "weight_norm"]  # Others follow

Charts = list[tuple[str, list[str]]]


def page(measured: Iterable[tuple[str, str | None]]):
    """The page, a `Summary`.

    Args:
        measured: `(name, quantity)` of each number of a step, in the order of
            the table; `None` for those that the step itself returned.
    """
    return summaries.custom_scalars(categories(measured))


def categories(
    measured: Iterable[tuple[str, str | None]],
) -> list[tuple[str, bool, Charts]]:
    """The charts of the page: `(title, whether it is closed, charts)`.

    Args:
        measured: As in `page`.

    Example:

    >>> for title, closed, charts in categories(
    ...     [
    ...         ("loss", "loss"),
    ...         ("gradient_norm", "gradient_norm"),
    ...         ("gradient_norm/one", "gradient_norm"),
    ...         ("gradient_norm/two", "gradient_norm"),
    ...         ("accuracy", None),
    ...     ]
    ... ):
    ...     print(title, [name for name, tags in charts])
    Gradient descent ['loss', 'accuracy', 'gradient norm']
    Gradient norm of each layer ['one', 'two']
    """
    whole: list[tuple[str, str]] = []  # (update, name without it)
    layers: dict[str, Charts] = {name: [] for name in _LAYERS}
    own: Charts = []
    for name, quantity in measured:
        update, word, part = _parted(name, quantity)
        if quantity is None and not _is_known(name):
            own.append((name, [_tag(name), _evaluated(name)]))
        elif part and not _is_known(word):
            chart = _titled(part, update), [_tag(name)]
            layers.setdefault(quantity or word, []).append(chart)
        else:
            whole.append((update, word))
    first = [*_known(whole, _LOSS), *own, *_known(whole, _CHARTS)]
    first += _others(whole, lambda name: name not in _LAST)
    last = _others(whole, lambda name: name in _LAST)
    pages: list[tuple[str, bool, Charts]] = [(_TITLE, False, first)]
    for quantity, charts in layers.items():
        words = quantity.replace("_", " ")
        if len(charts) == 1:  # No layers to compare
            page = first if quantity == _LAYERS[0] else last
            page += [(words, tags) for _, tags in charts]
        else:
            closed = quantity != _LAYERS[0] or len(charts) > _OPEN
            title = f"{words.capitalize()} of each layer"
            pages.append((title, closed, charts))
    pages.append(("More", True, last))
    return [category for category in pages if category[-1]]


def _parted(name: str, quantity: str | None) -> tuple[str, str, str]:
    """The update, the name without it, and the part of a quantity."""
    if quantity is None:
        return "", name, ""
    word = re.escape(quantity)
    match = re.fullmatch(f"(?:(.+?)/)?({word}(?:/(.+))?)", name, re.DOTALL)
    if match is None:  # A quantity may call its numbers what it likes.
        return "", name, ""
    update, found, part = match.groups(default="")
    return update, found, part


def _is_known(name: str) -> bool:
    """Whether a chart with a title of its own draws a name."""
    return any(
        re.fullmatch(pattern, name)
        for patterns in (_LOSS | _CHARTS).values()
        for pattern in patterns
    )


def _known(
    whole: list[tuple[str, str]], titles: dict[str, list[str]]
) -> Iterator[tuple[str, list[str]]]:
    """Charts that have titles of their own, of each update."""
    updates = list(dict.fromkeys(update for update, _ in whole))
    for title, patterns in titles.items():
        for update in updates:
            names = [
                name
                for pattern in patterns
                for one, name in whole
                if one == update and re.fullmatch(pattern, name)
            ]
            tags = [_tag(_joined(update, name)) for name in names]
            if names == ["loss"] and not update:
                tags.append(_evaluated("loss"))
            if tags:
                yield _titled(title, update), tags


def _others(
    whole: list[tuple[str, str]], is_wanted: Callable[[str], bool]
) -> Charts:
    """Charts of what has no title of its own, of each update."""
    return [
        (
            _titled(_LAST.get(name, name.replace("_", " ")), update),
            [_tag(_joined(update, name))],
        )
        for update, name in whole
        if not _is_known(name) and is_wanted(name)
    ]


def _titled(title: str, update: str) -> str:
    """A title, of one update of several."""
    return f"{title}: {update}" if update else title


def _joined(update: str, name: str) -> str:
    """The name of a number of one update of several."""
    return f"{update}/{name}" if update else name


def _tag(name: str) -> str:
    """A regular expression for the tag of a number of a step."""
    return f"step/{re.escape(name)}$"


def _evaluated(name: str) -> str:
    """A regular expression for the tag of a number of evaluations."""
    return f"evaluation_{re.escape(name)}_vs_iterations$"
