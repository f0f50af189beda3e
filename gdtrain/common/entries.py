"""What a docstring says, in parts: for pages, and to print."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """What a docstring says of one thing.

    Args:
        title: Its first line.
        text: All that follows, up to the first labelled part: paragraphs, and
            formulas, which are indented.
        parts: By label, the labelled parts.

    Example:

    >>> entry = parse('''Norm of the gradient.
    ...
    ...     gradient_norm = sqrt(sum(gradient ** 2))
    ...
    ... It is 0 at a minimum.
    ...
    ... Cost: one pass over the gradients.
    ... ''', ["Cost"])
    >>> entry.title, entry.formulas
    ('Norm of the gradient.', ['gradient_norm = sqrt(sum(gradient ** 2))'])
    >>> entry.parts["Cost"]
    'one pass over the gradients.'
    """

    title: str
    text: str
    parts: Mapping[str, str]

    @property
    def formulas(self) -> list[str]:
        """The indented paragraphs of the text."""
        return [
            inspect.cleandoc(paragraph)
            for paragraph in _paragraphs(self.text)
            if paragraph.startswith("    ")
        ]

    @property
    def prose(self) -> list[str]:
        """The other paragraphs of the text."""
        return [
            paragraph
            for paragraph in _paragraphs(self.text)
            if not paragraph.startswith("    ")
        ]

    @property
    def markdown(self) -> str:
        """The text as Markdown, with formulas as blocks."""
        return "\n\n".join(
            f"```text\n{inspect.cleandoc(paragraph)}\n```"
            if paragraph.startswith("    ")
            else paragraph
            for paragraph in _paragraphs(self.text)
        )


def parse(docstring: str, labels: Sequence[str]) -> Entry:
    """The parts of a docstring.

    Args:
        docstring: Its first line is the title.
        labels: Of its parts: each begins a line, with a colon behind it.

    Returns:
        The `Entry`.

    Raises:
        ValueError: if two parts have one label.
    """
    title, *lines = inspect.cleandoc(docstring).splitlines()
    label, found = "", {"": list[str]()}
    begins = re.compile(rf"({'|'.join(labels)}):(?: (.*))?")
    for line in lines:
        match = begins.fullmatch(line)
        if match:
            label, line = match[1], match[2] or ""
            if label in found:
                raise ValueError(f"{title!r} has two parts {label!r}.")
            found[label] = []
        found[label].append(line)
    text = "\n".join(found.pop("")).strip("\n")
    parts = {
        name: inspect.cleandoc("\n".join(part)) for name, part in found.items()
    }
    return Entry(title, text, parts)


def _paragraphs(text: str) -> list[str]:
    """Text between blank lines; those of an indented block are one."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        if found and all(
            one.startswith("    ") for one in (paragraph, found[-1])
        ):
            found[-1] += f"\n\n{paragraph}"
        elif paragraph:
            found.append(paragraph)
    return found
