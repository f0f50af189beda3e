"""One table says what was read and what was not, and why."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from gdtrain.images import LabelledImages, PhotoFile, Photos
from gdtrain.images.photos import NO_PICTURE


def make_photos(training=(2, 3), held_out=(1, 1), files=()):
    parts = [
        LabelledImages(
            np.zeros([sum(counts), 4, 6, 3], np.uint8),
            np.repeat(np.arange(len(counts)), counts),
        )
        for counts in (training, held_out)
    ]
    return Photos(["cat", "<dog>"], *parts, list(files), "Photos of pets.")


LEFT_OUT = [
    PhotoFile("a.jpg", "cat", "", "", "damaged", "it is empty"),
    PhotoFile("b.jpg", "cat", "", "", "damaged", "it is damaged"),
    PhotoFile("c.jpg", "", "", "", "skipped", "not in a class"),
    PhotoFile("d.txt", "", "", "", "skipped", NO_PICTURE),
    PhotoFile("e.txt", "", "", "", "skipped", NO_PICTURE),
    PhotoFile("f", "", "", "", "skipped", NO_PICTURE),
    PhotoFile("g.jpg", "<dog>", "", "", "duplicate", "the same as h.jpg"),
]


def rows_of(text):
    """The table in a text, without spaces."""
    return [tuple(line.split()) for line in text.splitlines()]


def test_table_counts_each_class():
    rows = rows_of(str(make_photos()))
    assert rows[1:] == [
        ("class", "learned", "held", "out"),
        ("cat", "2", "1"),
        ("<dog>", "3", "1"),
        ("all", "5", "2"),
    ]


def test_table_counts_what_was_left_out_and_says_why():
    text = str(make_photos(files=LEFT_OUT))
    assert rows_of(text)[1:5] == [
        ("class", "learned", "held", "out", "damaged", "skipped", "copies"),
        ("cat", "2", "1", "2", "0", "0"),
        ("<dog>", "3", "1", "0", "0", "1"),
        ("all", "5", "2", "2", "4", "1"),
    ]
    assert text.splitlines()[5:] == [
        "Left out: 2 damaged pictures: a.jpg (it is empty), "
        "b.jpg (it is damaged).",
        "Skipped: 1 picture not in a class: c.jpg.",
        "Skipped: 3 files that are no pictures (2 .txt, 1 without an ending).",
        "Not held out, since it is learned as well: 1 picture: "
        "g.jpg (the same as h.jpg).",
    ]


def test_notebook_shows_the_same_table():
    photos = make_photos(files=LEFT_OUT)
    tree = ElementTree.fromstring(f"<div>{photos._repr_html_()}</div>")
    cells = [
        tuple(" ".join(cell.text for cell in row).split())
        for row in tree.iter("tr")
    ]
    assert cells == rows_of(str(photos))[1:5]
    texts = [paragraph.text for paragraph in tree.iter("p")]
    lines = str(photos).splitlines()
    assert texts == [lines[0], *lines[5:]]


def test_many_files_are_not_all_named():
    files = [
        PhotoFile(f"{i:02}.jpg", "", "", "", "damaged", "it is empty")
        for i in range(12)
    ]
    text = str(make_photos(files=files))
    assert "12 damaged pictures" in text and "09.jpg (it is empty), ..." in text
    assert "10.jpg" not in text


def test_long_names_keep_the_columns():
    few = make_photos().training
    photos = Photos(["cat", "x" * 60], few, few, [], "")
    lines = str(photos).splitlines()[1:]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    "counts, said", [((5, 24), False), ((5, 25), True), ((0, 3), False)]
)
def test_classes_of_very_unequal_size_are_said(counts, said):
    text = str(make_photos(training=counts))
    assert ("very unequal size" in text) == said
    if said:
        assert "'<dog>' (25), 'cat' (5)" in text and "class_weight" in text


def test_class_weights_make_classes_equal():
    weights = make_photos(training=(2, 6)).class_weight()
    assert weights == {0: 2.0, 1: pytest.approx(2 / 3)}
    assert 2 * weights[0] == pytest.approx(6 * weights[1])


def test_repr_is_short():
    assert repr(make_photos()) == (
        "Photos(2 classes, 5 learned, 2 held out, 4 x 6 x 3)"
    )
    assert repr(make_photos().training) == "LabelledImages(5 images, 4 x 6 x 3)"
