"""Messages name pages that are there, and pages have messages."""

import ast
import pathlib
import re

import pytest

import gdtrain
from gdtrain.common import explained, notebook

ROOT = pathlib.Path(gdtrain.__file__).parents[1]
FILES = sorted((ROOT / "gdtrain").rglob("*.py"))
OF_NO_MESSAGE = {"arguments"}  # Their messages say all.


def named():
    """Topics that code gives to `more`, each with its places."""
    found = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (
                getattr(node.func, "id", None) == "more"
            ):
                (topic,) = node.args
                assert isinstance(topic, ast.Constant), f"{path}:{node.lineno}"
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                found.setdefault(topic.value, []).append(place)
    return found


def test_each_page_has_a_message_and_each_message_a_page():
    assert set(named()) == set(explained.topics()) - OF_NO_MESSAGE


@pytest.mark.parametrize("topic", explained.topics())
def test_page_has_its_parts(topic):
    text = explained.page(topic)
    title, lead, *_ = text.split("\n\n")
    assert re.fullmatch(r"# [A-Z`].*[^.]", title)
    assert re.search(r"\n(Causes, the most f|F)requent.*:\n\n1\. ", text)
    assert "\nWhat to do:\n\n- " in text
    assert text.count("```text\n") == 1 and text.count("```") == 2
    lines = text.splitlines()
    assert len(lines) <= 60, "more than a screen"
    assert all(len(line) <= 80 for line in lines if "](" not in line)


@pytest.mark.parametrize("topic", explained.topics())
def test_links_lead_somewhere(topic):
    folder = ROOT / "docs" / "reference"
    for target in re.findall(r"\]\(([^)]+)\)", explained.page(topic)):
        assert (folder / target).is_file()


def test_topic_is_written_as_one_word():
    for topic in explained.topics():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", topic)


def test_notebook_runs_the_command_in_a_shell(monkeypatch):
    monkeypatch.setattr(notebook, "is_running", lambda: True)
    assert explained.more("labels") == (
        "\nMore: !python -m gdtrain explain labels"
    )
