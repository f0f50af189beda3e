"""The Markdown files of the project, read once: blocks, links, anchors."""

import dataclasses
import functools
import pathlib
import re

from docs.extensions import quantities, verdicts

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN_BY_THE_BUILD = {DOCS / "reference" / "errors.md"}
# Pages that extensions fill in
_FILLED = {
    DOCS / f"{quantities.PAGE}.md": quantities.page,
    DOCS / f"{verdicts.PAGE}.md": verdicts.page,
}
_FENCE = re.compile(r"^(`{3,}|:{3,})(.*)$")
_LINK = re.compile(r"(?<!\\)(!?)\[([^]]*)\]\(([^)\s]+)[^)]*\)")
_CODE = re.compile(r"(`+)(.+?)\1", re.S)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        info: What follows the opening fence: a language, or a directive.
        lines: The lines between the fences.
    """

    info: str
    lines: tuple[str, ...]

    @property
    def code(self) -> str:
        """The lines, without the options of a directive."""
        return "\n".join(one for one in self.lines if one[:1] != ":")


@dataclasses.dataclass(frozen=True)
class Link:
    """A link or, if `is_picture`, a picture."""

    target: str
    text: str
    is_picture: bool


@dataclasses.dataclass(frozen=True)
class Source:
    """A file.

    Args:
        path: Where it is.
        blocks: Its fenced blocks.
        prose: All its other lines.
    """

    path: pathlib.Path
    blocks: tuple[Block, ...]
    prose: str

    @property
    def name(self) -> str:
        """The path from the root of the project."""
        return str(self.path.relative_to(ROOT))

    @property
    def inline_code(self) -> list[str]:
        """What is in backticks in the prose."""
        return [code for _, code in _CODE.findall(self.prose)]

    @property
    def links(self) -> list[Link]:
        """Links and pictures of the prose."""
        without_code = _CODE.sub("code", self.prose)
        return [
            Link(target, text, bool(mark))
            for mark, text, target in _LINK.findall(without_code)
        ]

    @property
    def anchors(self) -> set[str]:
        """What `#...` after the name of the file may be."""
        titles = re.findall(r"^#+ (.*)$", self.prose, re.M)
        labels = re.findall(r"^\(([^)]+)\)=$", self.prose, re.M)
        return {*map(slug, titles), *labels}


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it.

    Example:

    >>> slug("What `fit` does, and when")
    'what-fit-does-and-when'
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def read(path: pathlib.Path) -> Source:
    """Reads a file."""
    blocks, prose = [], []
    fence, info, lines = "", "", []
    text = path.read_text(encoding="utf-8")
    for line in _FILLED.get(path, str)(text).splitlines():
        found = _FENCE.match(line)
        if fence and line.rstrip() == fence:
            blocks.append(Block(info, tuple(lines)))
            fence, lines = "", []
        elif fence:
            lines.append(line)
        elif found:
            fence, info = found[1], found[2].strip()
        else:
            prose.append(line)
    assert not fence, f"{path} does not close {fence}{info}"
    return Source(path, tuple(blocks), "\n".join(prose))


@functools.cache
def pages() -> tuple[Source, ...]:
    """The pages of the documentation."""
    return tuple(
        read(path)
        for path in sorted({*DOCS.rglob("*.md")} - WRITTEN_BY_THE_BUILD)
        if not {"_build", "generated"} & set(path.parts)
    )


@functools.cache
def others() -> tuple[Source, ...]:
    """The other files for readers."""
    names = "README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"
    examples = (ROOT / "examples").glob("*.md")
    paths = [*(ROOT / name for name in names), *sorted(examples)]
    return tuple(map(read, paths))
