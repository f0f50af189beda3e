"""The page of a report: HTML that needs no other file, and no network.

It is well-formed as XML, too, as what a notebook shows.
"""

import importlib.resources

import numpy as np

from gdtrain.common.notebook import escape
from gdtrain.images.html_pieces import (
    bar,
    in_caption,
    in_table,
    photo_grid,
    remark,
    said_of,
    table,
)
from gdtrain.images.report_numbers import ReportNumbers

MAX_COLUMNS = 15  # Of the confusion matrix; of more classes, pairs are listed
MAX_PAIRS = 12
MAX_ROWS = 30  # Classes
_SIDE = 300  # Units of the diagram

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = importlib.resources.files(__package__).joinpath("report.css")


def page(numbers: ReportNumbers) -> str:
    """The whole page, as HTML.

    Args:
        numbers: A report.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f"<title>{escape(_title(numbers))}</title>"
        "<style>body { margin: 0; }</style></head>"
        f"<body>{content(numbers)}</body></html>\n"
    )


def content(numbers: ReportNumbers) -> str:
    """What the page shows, for a place in another one.

    Args:
        numbers: A report.
    """
    low, high = numbers.interval
    parts = [
        f"<h1>{escape(_title(numbers))}</h1>",
        f"<p>Accuracy {numbers.accuracy:.3f}, 95% interval {low:.3f} to "
        f"{high:.3f}. Expected calibration error "
        f"{numbers.expected_calibration_error:.3f}.</p>",
        '<div class="top"><div>',
        "<h2>What was taken for what</h2>",
        _confusion(numbers.confusion, numbers.class_names),
        "<h2>Precision and recall of each class</h2>",
        _classes(numbers),
        "</div><div>",
        "<h2>Is 0.9 right nine times in ten?</h2>",
        _reliability(numbers),
        "</div></div>",
        "<h2>The most wrong photos</h2>",
        _most_wrong(numbers),
        "<h2>The most suspect labels</h2>",
        _most_suspect(numbers),
        "<h2>The photos</h2>",
        f"<pre>{escape(numbers.photos)}</pre>",
    ]
    return (
        f'<div class="gdtrain-report"><style>{_STYLE.read_text()}</style>'
        f'<div class="inner">{"".join(parts)}</div></div>'
    )


def _title(numbers: ReportNumbers) -> str:
    of = f"{numbers.right:,} of {len(numbers.labels):,}"
    return f"{of} held-out photos are right"


def _confusion(counts: np.ndarray, names: list[str]) -> str:
    """The confusion matrix, or of many classes the pairs confused most."""
    if len(names) <= MAX_COLUMNS:
        return _matrix(counts, names)
    wrong = counts * ~np.eye(len(names), dtype=bool)
    if not wrong.any():
        return "<p>No photo was taken for another class.</p>"
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    rows = [
        [
            in_table(names[given]),
            in_table(names[said]),
            f"{wrong[given, said]:,}",
        ]
        for given, said in (divmod(int(at), len(names)) for at in order)
        if wrong[given, said]
    ]
    return remark(
        f"{len(names):,} classes are too many for a matrix. These are the "
        f"most frequent of {wrong.sum():,} mistakes."
    ) + table(["is", "taken for", "photos"], rows, texts=2)


def _matrix(counts: np.ndarray, names: list[str]) -> str:
    """The confusion matrix, each row colored by shares of its class."""
    of_class = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    upright = len(names) > 4 or max(map(len, names)) > 20

    def cell(row: int, column: int) -> str:
        count, percent = counts[row, column], round(70 * of_class[row, column])
        kind = "own" if row == column else "other" if count else "none"
        return (
            f'<td class="{kind}" style="background: color-mix(in srgb, '
            f'var(--blue) {percent}%, transparent)">{count:,}</td>'
        )

    head = "".join(f'<th scope="col">{in_table(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{in_table(name)}</th>'
        f"{''.join(cell(row, column) for column in range(len(names)))}</tr>"
        for row, name in enumerate(names)
    )
    return remark("Rows: what a photo is. Columns: what it was taken for.") + (
        f'<div class="wide"><table class="matrix{" upright" * upright}"><thead>'
        f"<tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _classes(numbers: ReportNumbers) -> str:
    """The table of classes."""
    counts = numbers.confusion.sum(1)
    order = np.arange(len(counts))
    note = (
        "Precision: of those taken for it, the share that are it. Recall: of "
        "those that are it, the share that was found."
    )
    if len(order) > MAX_ROWS:
        order = np.argsort(numbers.recall, kind="stable")[:MAX_ROWS]
        note += f" The {MAX_ROWS} classes of least recall, of {len(counts):,}."
    rows = [
        [
            in_table(numbers.class_names[at]),
            f"{counts[at]:,}",
            bar(numbers.precision[at], "blue"),
            bar(numbers.recall[at], "orange"),
        ]
        for at in order
    ]
    header = ["class", "photos", "precision", "recall"]
    return remark(note) + table(header, rows, texts=1)


def _reliability(numbers: ReportNumbers) -> str:
    """The reliability diagram, as SVG."""
    marks = []
    for one in numbers.reliability:
        across, up = one.confidence * _SIDE, (1 - one.accuracy) * _SIDE
        radius = 3 + 6 * (one.photos / len(numbers.labels)) ** 0.5
        marks.append(
            f'<line x1="{across:.1f}" x2="{across:.1f}" '
            f'y1="{(1 - one.low) * _SIDE:.1f}" '
            f'y2="{(1 - one.high) * _SIDE:.1f}" '
            'stroke="var(--blue)" stroke-opacity="0.5" stroke-width="2"/>'
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="{radius:.1f}" '
            'fill="var(--blue)">'
            f"<title>{one.photos:,} photos: said with probability "
            f"{one.confidence:.2f}, right {one.accuracy:.2f} "
            f"({one.low:.2f} to {one.high:.2f})</title></circle>"
        )
    ticks = "".join(
        f'<text x="{share * _SIDE:.0f}" y="{_SIDE + 16}" '
        f'text-anchor="middle">{share:.1f}</text>'
        f'<text x="-6" y="{(1 - share) * _SIDE + 4:.0f}" '
        f'text-anchor="end">{share:.1f}</text>'
        f'<line x1="0" x2="{_SIDE}" y1="{(1 - share) * _SIDE:.0f}" '
        f'y2="{(1 - share) * _SIDE:.0f}" stroke="var(--line)"/>'
        for share in np.linspace(0, 1, 6)
    )
    return remark(
        "Photos by the probability of what was said, and the share of them "
        "that is right, with its 95% interval. Larger points are more photos. "
        "On the dashed line, probabilities can be taken at their word; below "
        "it, they are too high."
    ) + (
        f'<svg viewBox="-40 -12 {_SIDE + 60} {_SIDE + 56}" role="img" '
        'aria-label="Reliability diagram">'
        f'{ticks}<line x1="0" y1="{_SIDE}" x2="{_SIDE}" y2="0" '
        'stroke="var(--faint)" stroke-dasharray="5 4"/>'
        f"{''.join(marks)}"
        f'<text x="{_SIDE / 2}" y="{_SIDE + 36}" text-anchor="middle">'
        "probability of what was said</text>"
        f'<text transform="translate(-30 {_SIDE / 2}) rotate(-90)" '
        'text-anchor="middle">share that is right</text></svg>'
    )


def _most_wrong(numbers: ReportNumbers) -> str:
    count, listed = len(numbers.labels) - numbers.right, numbers.most_wrong
    if not count:
        return "<p>No held-out photo was taken for another class.</p>"
    note = (
        f"{len(listed):,} of {count:,} held-out photos that were taken for "
        "another class, the surest mistakes first, with the probability of "
        "what was said."
    )
    captions = [
        (
            f"is {in_caption(one.given)}",
            said_of("said", one.said, one.probability),
        )
        for one in listed
    ]
    return photo_grid(note, numbers.photos.held_out, listed, captions)


def _most_suspect(numbers: ReportNumbers) -> str:
    if numbers.cross_validated is None:
        return (
            "<p>They were not looked for: that takes probabilities of the "
            "photos to learn from, cross-validated.</p>"
        )
    listed = numbers.most_suspect
    if not listed:
        return "<p>All labels of the photos to learn from are as expected.</p>"
    note = (
        "Photos to learn from that a model which did not learn from them "
        "takes for another class, with the probability of the label. Look "
        "whether the label is a mistake, or the photo is hard."
    )
    captions = [
        (
            f"labelled {in_caption(one.given)} ({one.probability:.2f})",
            said_of("looks like", one.said),
        )
        for one in listed
    ]
    return photo_grid(note, numbers.photos.training, listed, captions)
