"""Folders of photos are read whole, and what is wrong in them is named."""

import shutil

import numpy as np
import pytest
from PIL import Image

from gdtrain.images import read_folder
from tests.images.photos import draw_photo, make_photos, png


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos") / "data")


def test_what_is_held_out_is_not_learned_from(photos):
    data = read_folder(photos)
    learned = {image.tobytes() for image in data.training.images}
    held_out = {image.tobytes() for image in data.held_out.images}
    assert len(learned) == 20 and len(held_out) == 4
    assert not learned & held_out
    assert np.bincount(data.held_out.labels).tolist() == [2, 2]


def test_the_seed_draws_what_is_held_out(photos):
    first, again, other = (
        read_folder(photos, seed=seed).held_out.images for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_small_class_keeps_a_picture_on_either_side(tmp_path):
    data = read_folder(make_photos(tmp_path / "data", 2))
    assert sorted(data.training.labels) == [0, 1]
    assert sorted(data.held_out.labels) == [0, 1]


def test_hidden_and_other_files_are_left_alone(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    (folder / ".git").mkdir()
    (folder / "licence.txt").write_text("free")
    (folder / "hot_dog" / "notes.txt").write_text("tasty")
    (folder / "hot_dog" / "._0.jpg").write_text("of macOS")
    (folder / "hot_dog" / "more.jpg").mkdir()
    (folder / "hot_dog" / "Thumbs.db").write_text("of Windows")
    data = read_folder(folder)
    assert data.class_names == ["hot dog", "not hot dog"]
    assert len(data.training) + len(data.held_out) == 6
    assert "(2 .txt)" in data.description
    assert "._0" not in data.description and ".db" not in data.description


def test_jpeg_has_other_endings_too(tmp_path):
    folder = make_photos(tmp_path / "data", 2)
    for i, ending in enumerate((".jfif", ".JFIF", ".jpe")):
        path = folder / "hot_dog" / f"saved_{i}{ending}"
        draw_photo(True, (30, 30), "RGB").save(path, "JPEG")
    data = read_folder(folder)
    assert len(data.training) + len(data.held_out) == 7
    assert "Skipped" not in data.description


def test_what_is_left_out_is_told(tmp_path):
    folder = make_photos(tmp_path / "data", 2)
    lost = [folder / "lost.jpg", folder / "hot_dog" / "2020" / "a.png"]
    lost[1].parent.mkdir()
    for path in lost:
        draw_photo(True, (30, 30), "RGB").save(path)
    for name in ("a.webp", "b.WEBP", "c.bmp", "readme"):
        (folder / "hot_dog" / name).write_bytes(b"")
    text = read_folder(folder).description
    assert "2 pictures that do not lie in the folder of a class" in text
    assert all(str(path) in text for path in lost)
    assert "(2 .webp, 1 .bmp, 1 without an ending)" in text


def test_all_damaged_pictures_are_named_at_once(tmp_path):
    folder = make_photos(tmp_path / "data", 6)
    contents = {"0.jpg": b"", "1.JPEG": b"<html>", "2.png": png()[:50]}
    for name, content in contents.items():
        (folder / "hot_dog" / name).write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_folder(folder)
    text = str(caught.value)
    assert text.startswith("3 of 12 pictures cannot be read")
    assert "0.jpg (it is empty)" in text
    assert "1.JPEG (it is neither JPEG nor PNG)" in text
    assert "2.png (it is damaged" in text


@pytest.mark.parametrize("share, count", [(0.0, 1), (0.5, 6), (1.0, 11)])
def test_each_class_has_images_on_either_side_of_any_share(
    photos, share, count
):
    data = read_folder(photos, size=(4, 6), held_out=share)
    assert data.shape == (4, 6, 3)
    assert np.bincount(data.held_out.labels).tolist() == [count, count]


def overwrite(folder, content):
    path = folder / "not_hot_dog" / "0.jpg"
    path.write_bytes(content(path.read_bytes()))
    return path


def remove_second_class(folder):
    shutil.rmtree(folder / "not_hot_dog")
    return folder


def add_class(folder, *files):
    (folder / "cat").mkdir()
    for name in files:
        Image.new("L", (5, 5)).save(folder / "cat" / name)
    return folder / "cat"


def add_namesake(folder):
    (folder / "hot dog").mkdir()
    for name in ("0.png", "1.png"):
        Image.new("L", (5, 5)).save(folder / "hot dog" / name)
    return folder / "hot_dog"


def add_huge(folder):
    path = folder / "hot_dog" / "huge.png"
    Image.new("1", (10000, 10000)).save(path)
    return path


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


def replace_by_file(folder):
    shutil.rmtree(folder)
    folder.write_text("PK")
    return folder


def remove(folder):
    shutil.rmtree(folder)
    return folder


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda folder: overwrite(folder, lambda _: b""), "it is empty"),
        (
            lambda folder: overwrite(folder, lambda _: b"hello"),
            "neither JPEG nor PNG",
        ),
        (lambda folder: overwrite(folder, lambda all: all[:-100]), "damaged"),
        (add_huge, "too large"),
        (remove_second_class, "two or more folders"),
        (lambda folder: add_class(folder), "It has 0"),
        (lambda folder: add_class(folder, "a.png"), "It has 1"),
        (lambda folder: add_class(folder, "a.gif", "b.gif"), "JPEG or PNG"),
        (add_namesake, "Rename"),
        (empty, "It has 0"),
        (replace_by_file, "Not a directory"),
        (remove, "No such file"),
    ],
)
def test_folder_that_cannot_be_used_is_named_with_the_reason(
    tmp_path, change, reason
):
    folder = make_photos(tmp_path / "data", 3)
    named = change(folder)
    with pytest.raises(ValueError) as caught:
        read_folder(folder)
    assert reason in str(caught.value) and str(named) in str(caught.value)
