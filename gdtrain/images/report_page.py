"""The page of a report: HTML that needs no other file, and no network.

It is well-formed as XML, too, as what a notebook shows.
"""

import base64
import io
import pathlib

import numpy as np
from PIL import Image

from gdtrain.common.notebook import escape
from gdtrain.images import report_tables
from gdtrain.images.photos import LabelledImages
from gdtrain.images.report_numbers import ListedPhoto, ReportNumbers

_MAX_SIDE = 240  # Pixels of a photo on the page
_SIDE = 300  # Units of the diagram

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
.gdtrain-report {
  color-scheme: light dark;
  --ink: #222; --faint: #6a6a6a; --line: #ddd; --paper: #fff; --blue: #1f6fb4;
  --orange: #d1701a; --wrong: #b3202f;
  color: var(--ink); background: var(--paper); padding: 1rem;
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere;
}
@media (prefers-color-scheme: dark) {
  .gdtrain-report {
    --ink: #e6e6e6; --faint: #a3a3a3; --line: #3c3c3c; --paper: #161616;
    --blue: #64acec; --orange: #f0a050; --wrong: #ff8b8b;
  }
}
.gdtrain-report h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.3rem 0; }
.gdtrain-report h2 { font-size: 1.15rem; margin: 2rem 0 0.3rem; }
.gdtrain-report p { margin: 0.3rem 0 0.8rem; max-width: 46rem; }
.gdtrain-report .faint { color: var(--faint); font-size: 0.9rem; }
.gdtrain-report .wide { overflow-x: auto; }
.gdtrain-report table { border-collapse: collapse; font-size: 0.9rem; }
.gdtrain-report th { font-weight: 600; text-align: left; }
.gdtrain-report th, .gdtrain-report td {
  padding: 0.3rem 0.6rem; background: none; color: inherit;
}
.gdtrain-report tr { background: none; }
.gdtrain-report thead th { vertical-align: bottom; color: var(--faint); }
.gdtrain-report .number { text-align: right; white-space: nowrap; }
.gdtrain-report .name {
  display: block; min-width: 4.5rem; max-width: 11rem; max-height: 4.4em;
  overflow: hidden;
}
.gdtrain-report .matrix td {
  border: 1px solid var(--line); min-width: 1.9rem; text-align: center;
  padding: 0.3rem;
}
.gdtrain-report .matrix thead td { border: none; }
.gdtrain-report .matrix .own { font-weight: 700; }
.gdtrain-report .matrix .none { color: var(--faint); }
.gdtrain-report .matrix tbody th {
  position: sticky; left: 0; background: var(--paper);
}
.gdtrain-report tr > :first-child { padding-left: 0; }
.gdtrain-report .upright thead th { padding: 0.3rem 0; }
.gdtrain-report .upright thead .name {
  writing-mode: vertical-rl; white-space: nowrap; text-overflow: ellipsis;
  min-width: 0; max-height: 8rem; margin: 0 auto; line-height: 1.2;
}
.gdtrain-report .bar {
  display: block; height: 0.35rem; margin-left: auto;
  width: clamp(3rem, 14vw, 6rem);
  background: var(--line); border-radius: 0.2rem; overflow: hidden;
}
.gdtrain-report .bar span { display: block; height: 100%; }
.gdtrain-report .photos {
  display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
}
.gdtrain-report figure { margin: 0; font-size: 0.9rem; line-height: 1.35; }
.gdtrain-report figure img {
  display: block; width: 100%; height: auto; border-radius: 0.3rem;
  margin: 0 0 0.3rem;
}
.gdtrain-report .file {
  color: var(--faint); font-size: 0.8rem; display: block; max-height: 2.7em;
  overflow: hidden;
}
.gdtrain-report .class {
  display: inline-block; vertical-align: top; max-height: 4em;
  overflow: hidden;
}
.gdtrain-report .said { color: var(--wrong); }
.gdtrain-report svg { width: 100%; max-width: 27rem; display: block; }
.gdtrain-report svg text { fill: var(--ink); font-size: 11px; }
.gdtrain-report pre { overflow-x: auto; font-size: 0.8rem; line-height: 1.35; }
@media (min-width: 60rem) {
  .gdtrain-report .inner { max-width: 68rem; margin: 0 auto; }
  .gdtrain-report pre { white-space: pre-wrap; }
  .gdtrain-report .top {
    display: grid; gap: 0 3rem;
    grid-template-columns: minmax(0, 3fr) minmax(0, 2fr);
  }
}
"""


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
    photos = numbers.photos
    parts = [
        f"<h1>{escape(_title(numbers))}</h1>",
        f"<p>Accuracy {numbers.accuracy:.3f}, 95% interval {low:.3f} to "
        f"{high:.3f}. Expected calibration error "
        f"{numbers.expected_calibration_error:.3f}.</p>",
        '<div class="top"><div>',
        "<h2>What was taken for what</h2>",
        report_tables.confusion(numbers),
        "<h2>Precision and recall of each class</h2>",
        report_tables.classes(numbers),
        "</div><div>",
        "<h2>Is 0.9 right nine times in ten?</h2>",
        _reliability(numbers),
        "</div></div>",
        "<h2>The most wrong photos</h2>",
        _most_wrong(numbers),
        "<h2>The most suspect labels</h2>",
        _most_suspect(numbers),
        "<h2>The photos</h2>",
        f"<pre>{escape(photos)}</pre>",
    ]
    return (
        f'<div class="gdtrain-report"><style>{_STYLE}</style>'
        f'<div class="inner">{"".join(parts)}</div></div>'
    )


def _title(numbers: ReportNumbers) -> str:
    of = f"{numbers.right:,} of {len(numbers.labels):,}"
    return f"{of} held-out photos are right"


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
    return (
        '<p class="faint">Photos by the probability of what was said, and the '
        "share of them that is right, with its 95% interval. Larger points "
        "are more photos. On the dashed line, probabilities can be taken at "
        "their word; below it, they are too high.</p>"
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
    """The grid of the most wrong photos."""
    count = len(numbers.labels) - numbers.right
    if not count:
        return "<p>No held-out photo was taken for another class.</p>"
    listed = numbers.most_wrong
    captions = [
        f'is {_class(one.given)}, <span class="said">said '
        f"{_class(one.said)} ({one.probability:.2f})</span>"
        for one in listed
    ]
    return (
        f'<p class="faint">{len(listed):,} of {count:,} held-out photos that '
        "were taken for another class, the surest mistakes first, with the "
        "probability of what was said.</p>"
        + _grid(numbers.photos.held_out, listed, captions)
    )


def _most_suspect(numbers: ReportNumbers) -> str:
    """The grid of the most suspect labels."""
    if numbers.cross_validated is None:
        return (
            "<p>They were not looked for: that takes probabilities of the "
            "photos to learn from, cross-validated.</p>"
        )
    listed = numbers.most_suspect
    if not listed:
        return "<p>All labels of the photos to learn from are as expected.</p>"
    captions = [
        f"labelled {_class(one.given)} ({one.probability:.2f}), "
        f'<span class="said">looks like {_class(one.said)}</span>'
        for one in listed
    ]
    return (
        '<p class="faint">Photos to learn from that a model which did not '
        "learn from them takes for another class, with the probability of the "
        "label. Look whether the label is a mistake, or the photo is hard.</p>"
        + _grid(numbers.photos.training, listed, captions)
    )


def _class(name: str) -> str:
    """The name of a class in a caption, cut off if it is very long."""
    return f'<span class="class" title="{escape(name)}">{escape(name)}</span>'


def _grid(
    part: LabelledImages, listed: list[ListedPhoto], captions: list[str]
) -> str:
    """Photos, each with its caption and file."""
    figures = []
    for one, caption in zip(listed, captions, strict=True):
        # The last two parts of the path: mostly folder of the class and file.
        short = "/".join(pathlib.PurePath(one.file).parts[-2:])
        figures.append(
            f'<figure><img alt="{escape(short)}" '
            f'src="{_data(part.images[one.position])}"/><figcaption>{caption}'
            f'<span class="file" title="{escape(one.file)}">{escape(short)}'
            "</span></figcaption></figure>"
        )
    return f'<div class="photos">{"".join(figures)}</div>'


def _data(image: np.ndarray) -> str:
    """A photo as the address of an image that is within it."""
    grey = image.shape[2] == 1
    photo = Image.fromarray(np.asarray(image[:, :, 0] if grey else image))
    photo.thumbnail((_MAX_SIDE, _MAX_SIDE))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(
        "ascii"
    )
