"""Pieces of the page of a report, as HTML: tables, photos, names."""

import base64
import io
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from gdtrain.common.notebook import escape
from gdtrain.images.photos import LabelledImages
from gdtrain.images.report_numbers import ListedPhoto

_MAX_NAME = 80  # Characters
_MAX_SIDE = 240  # Pixels of a photo on the page


def photo_grid(
    note: str,
    part: LabelledImages,
    listed: list[ListedPhoto],
    captions: Iterable[Sequence[str]],
) -> str:
    """Photos, each with lines on it and its file, and a list of the paths."""
    figures = []
    for one, lines in zip(listed, captions, strict=True):
        # The last two parts of the path: mostly folder of the class and file.
        short = "/".join(pathlib.PurePath(one.file).parts[-2:])
        spans = "".join(f"<span>{line}</span>" for line in lines)
        figures.append(
            f'<figure><img alt="{escape(short)}" '
            f'src="{_data(part.images[one.position])}"/><figcaption>{spans}'
            f'<span class="file" title="{escape(one.file)}">'
            f"{escape(_cut(short))}</span></figcaption></figure>"
        )
    paths = "\n".join(one.file for one in listed)
    return remark(note) + (
        f'<div class="photos">{"".join(figures)}</div>'
        f"<details><summary>Their paths</summary><pre>{escape(paths)}</pre>"
        "</details>"
    )


def _data(image: np.ndarray) -> str:
    """A photo as the address of an image that is within it."""
    grey = image.shape[2] == 1
    photo = Image.fromarray(np.asarray(image[:, :, 0] if grey else image))
    photo.thumbnail((_MAX_SIDE, _MAX_SIDE))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{data}"


def remark(text: str) -> str:
    """A paragraph in a fainter color."""
    return f'<p class="faint">{escape(text)}</p>'


def said_of(words: str, name: str, probability: float | None = None) -> str:
    """What was said of a photo, in its caption."""
    number = "" if probability is None else f" ({probability:.2f})"
    return f'<span class="said">{words} {in_caption(name)}{number}</span>'


def in_caption(name: str) -> str:
    """The name of a class in a caption, which may be written leftwards."""
    return f'<bdi title="{escape(name)}">{escape(_cut(name))}</bdi>'


def in_table(name: str) -> str:
    """The name of a class in a table."""
    return (
        f'<span class="name" title="{escape(name)}">{escape(_cut(name))}</span>'
    )


def _cut(name: str) -> str:
    """The same name, its middle cut out if it is very long."""
    if len(name) <= _MAX_NAME:
        return name
    half = _MAX_NAME // 2
    return f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[1 - half :]}"


def table(header: list[str], rows: list[list[str]], texts: int) -> str:
    """A table whose first columns are texts, and the others numbers."""

    def cells(tag: str, row: list[str]) -> str:
        kinds = (
            "" if at < texts else ' class="number"' for at in range(len(row))
        )
        return "".join(
            f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{cells("th", header)}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def bar(share: float, color: str) -> str:
    """A number between 0 and 1, and its bar."""
    if np.isnan(share):
        return "\N{EN DASH}"
    return (
        f'{share:.2f}<span class="bar"><span style="width: {share:.1%}; '
        f'background: var(--{color})"></span></span>'
    )
