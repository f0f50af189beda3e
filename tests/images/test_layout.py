"""Folders are understood as classes and parts by their names alone."""

import pathlib

import pytest

from gdtrain.images.layout import understand


def understood(*paths, folders=()):
    """The class and part of each path, "" for those without a class."""
    names = [tuple(path.split("/")) for path in paths]
    folders = [tuple(path.split("/")) for path in folders]
    layout = understand(pathlib.Path("data"), names, folders)
    assert set(layout.places) | set(layout.misplaced) == set(names)
    assert not set(layout.places) & set(layout.misplaced)
    return layout, [layout.places.get(parts, "") for parts in names]


def classes(*paths):
    _, places = understood(*paths)
    return [place and place[0] for place in places]


@pytest.mark.parametrize(
    "paths, expected",
    [
        (["cat/1.jpg", "dog/1.jpg"], ["cat", "dog"]),
        (["hot_dog/1.jpg", "other/1.jpg"], ["hot dog", "other"]),
        # Folders below a class are of the class.
        (["cat/1.jpg", "cat/2020/x/1.jpg", "dog/1.jpg"], ["cat", "cat", "dog"]),
        # Folders of nothing but folders are parts of names,
        (
            ["animals/cat/1.jpg", "animals/dog/1.jpg", "cars/vw/1.jpg"],
            ["animals/cat", "animals/dog", "cars/vw"],
        ),
        (["animals/cat/1.jpg", "cars/1.jpg"], ["animals/cat", "cars"]),
        # unless all classes lie in them, as in most ZIP files.
        (["data/set/cat/1.jpg", "data/set/dog/1.jpg"], ["cat", "dog"]),
        # Photos that lie above have no class.
        (["cover.jpg", "cat/1.jpg", "dog/1.jpg"], ["", "cat", "dog"]),
        (["a/cover.jpg", "a/cat/1.jpg", "b/1.jpg"], ["a", "a", "b"]),
        (["cover.jpg"], [""]),
        ([], []),
    ],
)
def test_classes_are_the_topmost_folders_with_photos(paths, expected):
    assert classes(*paths) == expected


@pytest.mark.parametrize("top", ["", "download/v2/"])
@pytest.mark.parametrize("training", ["train", "training", "Train"])
@pytest.mark.parametrize("held_out", ["validation", "valid", "val", "TEST"])
def test_parts_lie_above_classes(top, training, held_out):
    layout, places = understood(
        f"{top}{training}/cat/1.jpg",
        f"{top}{training}/pets/dog/1.jpg",
        f"{top}{held_out}/cat/x/1.jpg",
        f"{top}{held_out}/pets/dog/1.jpg",
    )
    assert (
        places
        == [
            ("cat", "training"),
            ("pets/dog", "training"),
            ("cat", "held out"),
            ("pets/dog", "held out"),
        ]
        or top == ""
        and places[0] == ("cat", "training")
    )
    assert layout.has_parts and not layout.notes


def test_of_three_parts_test_is_held_out_and_validation_learned():
    layout, places = understood("train/a/1", "val/a/2", "test/a/3")
    assert [part for _, part in places] == ["training", "training", "held out"]
    [note] = layout.notes
    assert "`test` is held out" in note and "`val` is learned" in note


def test_test_without_classes_holds_nothing_out():
    layout, places = understood("train/a/1", "train/b/1", "test/1", "test/2")
    assert places == [("a", ""), ("b", ""), "", ""]
    assert not layout.has_parts
    layout, places = understood("train/a/1", "val/a/1", "test/1")
    assert places == [("a", "training"), ("a", "held out"), ""]


def test_photos_beside_the_parts_are_left_out():
    layout, places = understood("train/a/1", "test/a/1", "more/a/1", "1")
    assert places[2:] == ["", ""]
    assert list(layout.misplaced.values()) == [
        "not in the folders that are learned and held out",
        "not in the folder of a class",
    ]


def test_train_is_a_class_beside_other_vehicles():
    assert classes("train/1", "car/1") == ["train", "car"]
    assert classes("train/steam/1", "car/1") == ["train/steam", "car"]


def test_parts_without_classes_are_an_error():
    with pytest.raises(ValueError, match="data has photos in train and test"):
        understood("train/1.jpg", "test/1.jpg")


def test_two_folders_for_a_class_are_an_error():
    with pytest.raises(ValueError, match="'a b'. Rename data/a_b"):
        understood("a b/1", "a_b/1")


def test_empty_class_is_an_error():
    photos = "x/cat/1", "x/dog/1"
    with pytest.raises(ValueError, match="data/x/cow must have two or more"):
        understood(*photos, folders=["x", "x/cat", "x/cow", "x/dog"])
    understood(*photos, folders=["y", "x/cat/old"])
    parts = "train/cat/1", "train/dog/1", "test/dog/1"
    understood(*parts, folders=["test/cat", "labels"])
    with pytest.raises(ValueError, match="data/train/cow must have"):
        understood(*parts, folders=["train/cow", "test/cow"])
