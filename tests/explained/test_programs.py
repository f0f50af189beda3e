"""The message that each page shows is the one that its program brings about."""

import re

import pytest

from gdtrain.common import explained
from tests.explained.programs import PROGRAMS, message_of

_EXAMPLE = re.compile(r"```text\n(.*?)```", re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_page_has_a_program():
    assert set(PROGRAMS) == set(explained.topics())


@pytest.mark.parametrize("topic", PROGRAMS)
def test_example_is_real(topic, request, folder):
    text, command = explained.without_more(message_of(topic, request))
    text = text.replace(str(folder), "/home/me")
    (example,) = _EXAMPLE.findall(explained.page(topic))
    parts = " ".join(example.split()).split("[...]")
    pattern = ".*".join(re.escape(part) for part in parts)
    assert re.fullmatch(pattern, " ".join(text.split()))
    if topic != "arguments":  # Whose messages say all
        assert command.endswith(f" {topic}")
