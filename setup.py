"""Makes the README's links work on a package index; setup.cfg has the rest."""

import re

from setuptools import setup
from setuptools.command.egg_info import egg_info

_CODE = re.compile(r"(```.*?```)", re.DOTALL)
_RELATIVE = re.compile(r'(\]\(|(?:href|src)=")(?!\w+:|#)([^)"\s]+)')
_PICTURES = (".gif", ".jpg", ".png", ".svg", ".webp")


def absolute(text: str, source: str, version: str) -> str:
    """A Markdown text whose relative links lead to a version of the source.

    Args:
        text: Markdown, with links relative to the root of the repository.
        source: Address of the repository.
        version: The text is of the tag `v{version}`.

    Returns:
        The text. What is in a block of code stays as it is.
    """

    def link(found: re.Match[str]) -> str:
        before, path = found.groups()
        kind = "raw" if path.endswith(_PICTURES) else "blob"
        return f"{before}{source}/{kind}/v{version}/{path}"

    parts = _CODE.split(text)
    parts[::2] = [_RELATIVE.sub(link, part) for part in parts[::2]]
    return "".join(parts)


class EggInfo(egg_info):
    """Writes the metadata, which the README is a part of."""

    def run(self) -> None:
        metadata = self.distribution.metadata
        metadata.long_description = absolute(
            metadata.long_description,
            metadata.project_urls["Source"],
            metadata.version,
        )
        super().run()


setup(cmdclass={"egg_info": EggInfo})
