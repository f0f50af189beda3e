"""Threads do each thing once, and a bar shows where that takes long."""

import math
import re
import threading
import time

import pytest

from gdtrain.images import parallel, read_folder
from gdtrain.images.parallel import Progress, in_parallel
from tests.images.photos import make_photos


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(parallel, "SILENT_SECONDS", 0)


@pytest.mark.parametrize("count", [0, 1, 8, 1001])
def test_each_item_is_taken_once(count):
    taken, done = [], []
    in_parallel(taken.append, count, done.append)
    assert sorted(taken) == list(range(count))
    assert done == sorted(done) and done[-1:] == [count] * bool(count)


def test_an_error_ends_the_others():
    taken = []

    def fail(number):
        taken.append(number)
        if number == 20:
            raise RuntimeError("a mistake")
        threading.Event().wait(0.001)

    with pytest.raises(RuntimeError, match="a mistake"):
        in_parallel(fail, 10**4)
    assert len(taken) < 10**4


def test_what_is_fast_has_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(parallel, "SILENT_SECONDS", math.inf)
    with Progress(2, "photo") as bar:
        bar.update(1)
    assert capsys.readouterr().out == ""


def test_bar_measures_from_the_beginning(monkeypatch, capsys):
    """Not from when it shows, which would say that little is left."""
    now = [100.0]
    for clock in "time", "monotonic":  # Of Keras, and of our own
        monkeypatch.setattr(time, clock, lambda: now[0])
    monkeypatch.setattr(parallel, "SILENT_SECONDS", 0.5)
    with Progress(4, "photo") as bar:
        bar.update(1)
        now[0] += 0.5
        bar.update(2)
        shown = capsys.readouterr().out
    found = re.search(r"2/4.*?(\d+)ms/photo", shown)
    assert found and int(found[1]) == 250


def test_bar_ends_its_line(impatient, capsys):
    with Progress(2, "photo") as bar:
        bar.update(1)
    shown = capsys.readouterr().out
    assert "1/2" in shown and "2/2" in shown and shown.endswith("\n")


def test_bar_ends_its_line_after_an_error(impatient, capsys):
    with pytest.raises(RuntimeError), Progress(2, "photo") as bar:
        bar.update(1)
        raise RuntimeError
    shown = capsys.readouterr().out
    assert "2/2" not in shown and shown.endswith("\n")


def test_reading_many_photos_shows_how_many_are_done(
    impatient, capsys, tmp_path
):
    folder = make_photos(tmp_path / "data", 12)
    arguments = {"size": 8, "cache_dir": tmp_path / "cache"}
    read_folder(folder, **arguments)
    shown = capsys.readouterr().out
    assert shown.count("24/24") == 2  # Files are found, photos are decoded.
    assert "/photo" in shown and "/file" in shown
    read_folder(folder, **arguments)  # Nothing is decoded.
    shown = capsys.readouterr().out
    assert "/photo" not in shown and "/file" in shown
    read_folder(folder, verbose=0, **arguments)
    assert capsys.readouterr().out == ""
