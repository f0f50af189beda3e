"""Links of the pages, the README and others lead somewhere."""

import re

import pytest

from docs.extensions.public_names import public_names
from tests.docs import sources

FILES = [*sources.pages(), *sources.others()]
ANCHORS = {file.path: file.anchors for file in FILES}
GENERATED = sources.DOCS / "reference" / "generated"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_relative_links_lead_to_a_file_and_an_anchor_in_it(file):
    broken = [
        link.target for link in file.links if not _leads_somewhere(file, link)
    ]
    assert broken == []


def _leads_somewhere(file, link):
    if re.match(r"https?://|mailto:", link.target):
        return True
    name, _, anchor = link.target.partition("#")
    path = (file.path.parent / name).resolve() if name else file.path
    if path in sources.WRITTEN_BY_THE_BUILD:
        return True
    if path.is_relative_to(GENERATED):
        return path.stem in public_names()
    if not path.exists():
        return False
    return not anchor or anchor in ANCHORS.get(path, ())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_pictures_say_what_they_show(file):
    assert all(link.text for link in file.links if link.is_picture)


def test_each_page_is_in_a_table_of_contents():
    found, waiting = set(), [sources.DOCS / "index.md"]
    pages = {page.path: page for page in sources.pages()}
    while waiting:
        path = waiting.pop()
        found.add(path)
        for block in pages[path].blocks:
            if block.info == "{toctree}":
                names = re.findall(r"<(.+)>|^(\S+)$", block.code, re.M)
                entries = {
                    path.parent / f"{named or name}.md" for named, name in names
                }
                waiting += entries - sources.WRITTEN_BY_THE_BUILD
    assert found == set(pages)


def test_what_is_missing_is_found(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("# A title\n\n[a](#a-title) [b](#b) [c](c.md) `[d](d)`\n")
    page = sources.read(path)
    assert [link.target for link in page.links] == ["#a-title", "#b", "c.md"]
    assert page.anchors == {"a-title"}
    assert not _leads_somewhere(page, page.links[2])
