"""Tables of files, and arrays of images, become photos as folders do."""

import numpy as np
import pandas
import pytest

from gdtrain.common.explained import without_more
from gdtrain.images import DamagedImage, from_arrays, read_folder, read_table
from tests.images.photos import make_random_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    return make_random_photos(path / "data", {"cat": 5, "dog": 6})


@pytest.fixture
def table(folder):
    paths = sorted(folder.rglob("*.png"))
    return {
        "file": [str(path.relative_to(folder)) for path in paths],
        "label": [path.parent.name for path in paths],
    }


def write_csv(path, table, delimiter=",", encoding="utf-8"):
    rows = [list(table), *zip(*table.values())]
    lines = "".join(delimiter.join(map(str, row)) + "\n" for row in rows)
    path.write_text(lines, encoding=encoding)
    return path


def assert_same(data, other):
    assert data.class_names == other.class_names
    for name in "training", "held_out":
        part, expected = getattr(data, name), getattr(other, name)
        np.testing.assert_array_equal(part.images, expected.images)
        np.testing.assert_array_equal(part.labels, expected.labels)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_file_is_read_as_the_folder_is(folder, table, delimiter, encoding):
    """Of any delimiter, and with the mark that Excel writes."""
    path = write_csv(folder / ".labels.csv", table, delimiter, encoding)
    assert_same(read_table(path, size=8), read_folder(folder, size=8))


def test_data_frame_is_read_as_the_folder_is(folder, table):
    expected = read_folder(folder, size=8)
    for source in table, pandas.DataFrame(table):
        assert_same(read_table(source, root=folder, size=8), expected)


def test_columns_have_any_name(folder, table):
    frame = pandas.DataFrame({"what": table["label"], "where": table["file"]})
    names = {"file_column": "where", "label_column": "what"}
    data = read_table(frame, root=folder, size=8, **names)
    assert data.class_names == ["cat", "dog"]


def test_labels_may_be_numbers(folder, table):
    frame = pandas.DataFrame(table)
    frame["label"] = (frame["label"] == "dog") * 7
    data = read_table(frame, root=folder, size=8)
    assert data.class_names == ["0", "7"]


def test_paths_may_be_absolute(folder, table):
    table["file"] = [str(folder / path) for path in table["file"]]
    assert_same(read_table(table, size=8), read_folder(folder, size=8))


def test_files_that_are_no_photos_are_named_at_once(folder, table, tmp_path):
    (tmp_path / "notes.txt").write_text("tasty")
    table["file"] += ["none.jpg", str(tmp_path / "notes.txt")]
    table["label"] += ["cat", "dog"]
    with pytest.raises(ValueError, match="2 of 13 pictures cannot") as caught:
        read_table(table, root=folder, size=8)
    assert f"{folder / 'none.jpg'} (No such file" in str(caught.value)
    assert "notes.txt (it is neither JPEG" in str(caught.value)
    data = read_table(table, root=folder, size=8, on_error="skip")
    assert sum(file.status == "damaged" for file in data.files) == 2
    table["file"][-1] = table["file"][0]
    with pytest.raises(DamagedImage, match="none.jpg"):
        read_table(table, root=folder, size=8)


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_missing_value_is_an_error(folder, table, missing):
    table["label"][3] = missing
    with pytest.raises(ValueError, match="a label in each row.* row 4"):
        read_table(table, root=folder)


def test_missing_value_of_pandas_is_an_error(folder, table):
    frame = pandas.DataFrame(table).astype("string")
    frame.loc[3, "label"] = pandas.NA
    frame.loc[5, "label"] = pandas.NA
    with pytest.raises(ValueError, match="a label in each row.* row 4, 6"):
        read_table(frame, root=folder)


def test_columns_may_be_arrays_of_numpy(folder, table):
    expected = read_folder(folder, size=8)
    arrays = {name: np.array(column) for name, column in table.items()}
    assert_same(read_table(arrays, root=folder, size=8), expected)
    objects = {name: np.array(c, object) for name, c in table.items()}
    assert_same(read_table(objects, root=folder, size=8), expected)
    table["label"] = np.array([name == "dog" for name in table["label"]], int)
    data = read_table(table, root=folder, size=8)
    assert data.class_names == ["0", "1"]
    np.testing.assert_array_equal(
        data.training.labels, expected.training.labels
    )


def test_columns_of_unequal_length_are_an_error(folder, table):
    table["label"] = table["label"][:-1]
    with pytest.raises(ValueError, match="It has 11 files and 10 labels"):
        read_table(table, root=folder)


def test_column_that_has_no_paths_is_an_error(folder, table):
    table["file"] = list(range(11))
    with pytest.raises(ValueError, match="It has 0 in row 1. Name the right"):
        read_table(table, root=folder)


def test_rows_that_come_again_count_once_and_are_told(folder, table):
    once = read_table(table, root=folder, size=8)
    table = {name: column + column[:4] for name, column in table.items()}
    twice = read_table(table, root=folder, size=8)
    assert_same(twice, once)
    assert "Left out: 4 rows that came before." in str(twice)


def test_file_with_two_labels_is_told(folder, table):
    table["file"].append(table["file"][0])
    table["label"].append("dog")
    text = str(read_table(table, root=folder, size=8))
    assert "The same picture is in two classes" in text
    assert "0.png (cat)" in text and "0.png (dog)" in text


def test_short_row_is_an_error(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("file,label\n1.jpg,cat\n2.jpg\n")
    with pytest.raises(ValueError, match="a label in each row.* row 2"):
        read_table(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot read the table .*: No such file"),
        (b"", "has no column 'file'. It has none"),
        (b"path,label\n1,2\n", "has no column 'file'. It has 'path', 'label'"),
        (b"file,class\n1,2\n", "has no column 'label'"),
        (b"file,label\n", "two or more classes in the column 'label'.* 0"),
        (b"file,label\n1.jpg,cat\n", "two or more classes.* It has 1"),
        (b"file,label\n\xff\xfe,cat\n", "cannot read the table .*UTF-8"),
    ],
)
def test_bad_table_is_an_error(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    text, page = without_more(str(caught.value))
    assert str(path) in text and "\n" not in text
    assert page.endswith("explain photo-tables")


def test_class_with_one_photo_is_an_error(folder, table):
    table["label"][0] = "lion"
    with pytest.raises(ValueError, match="class 'lion' of the table .*has 1"):
        read_table(table, root=folder, size=8)


# ------------------------------------------------------------------- arrays


def make_images(count=60, shape=(4, 5, 3)):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, [count, *shape], np.uint8)


def test_arrays_are_split_by_content():
    images, labels = make_images(), np.arange(60) % 3
    data = from_arrays(images, labels)
    together = np.concatenate([data.training.images, data.held_out.images])
    both = np.concatenate([data.training.labels, data.held_out.labels])
    where = {image.tobytes(): i for i, image in enumerate(images)}
    order = [where[image.tobytes()] for image in together]
    assert sorted(order) == list(range(60))
    np.testing.assert_array_equal(both, labels[order])
    assert data.class_names == ["0", "1", "2"] and data.files == []
    assert data.shape == (4, 5, 3)
    assert "60 pictures of 4 x 5 pixels" in str(data)
    shuffled = np.random.default_rng(1).permutation(60)
    assert_same(from_arrays(images[shuffled], labels[shuffled]), data)
    other = from_arrays(images, labels, seed=1)
    assert not np.array_equal(other.held_out.images, data.held_out.images)


def test_grey_images_get_a_channel():
    assert from_arrays(make_images(9, (4, 4)), [0, 1, 2] * 3).shape == (4, 4, 1)


def test_class_names_give_the_order():
    images, names = make_images(4), ["dog", "cat"]
    by_name = from_arrays(images, ["cat", "dog"] * 2, class_names=names)
    by_number = from_arrays(images, [1, 0] * 2, class_names=names)
    assert by_name.class_names == names
    assert_same(by_name, by_number)


@pytest.mark.parametrize(
    "images, labels, arguments, message",
    [
        (make_images(4) / 255, [0, 1] * 2, {}, "Received: float64 .4, 4, 5, 3"),
        (make_images(4, (5,)), [0, 1] * 2, {}, "`images` must be uint8"),
        (make_images(4, (4, 4, 2)), [0, 1] * 2, {}, "`images` must be uint8"),
        (make_images(4), [0, 1], {}, "each of 4 images.*shape .2,"),
        (make_images(4), np.eye(4), {}, "each of 4 images.*shape .4, 4"),
        (make_images(4), [0.5, 1] * 2, {}, "must be names or integers"),
        (make_images(4), [0] * 4, {}, "two or more classes. Received: 1"),
        (make_images(0), [], {}, "must be names or integers|has 0"),
        (make_images(4), [0, 1, 1, 1], {}, "class '0' of images must.*has 1"),
        (
            make_images(4),
            [0, 1, 2, 2],
            {"class_names": ["a", "b"]},
            "`class_names` must name the class of each label.*such as 2",
        ),
        (
            make_images(4),
            ["a", "b"] * 2,
            {"class_names": ["a", "b", "c"]},
            "class 'c' of images must.*has 0",
        ),
        (make_images(4), ["a", None] * 2, {}, "none at 1, 3"),
        (make_images(4), ["a", "b", "a", np.nan], {}, "a label for each image"),
        (make_images(4), [0, 1] * 2, {"held_out": 2}, "`held_out` must be"),
    ],
)
def test_arrays_that_cannot_be_used_are_an_error(
    images, labels, arguments, message
):
    with pytest.raises(ValueError, match=message):
        from_arrays(images, labels, **arguments)


def test_images_that_are_learned_are_not_held_out():
    """Of one class with more pictures than its share, and one with less."""
    images = make_images(40)
    images[1:] = images[1]
    data = from_arrays(images, [0] * 20 + [1] * 20)
    learned = {image.tobytes() for image in data.training.images}
    held_out = [image.tobytes() for image in data.held_out.images]
    assert not learned & set(held_out) and len(held_out) <= 1
    missing = 40 - len(data.training) - len(data.held_out)
    assert missing and f"is learned as well: {missing} picture" in str(data)


def test_labels_may_be_a_column_of_pandas():
    images, labels = make_images(12), ["cat", "dog"] * 6
    expected = from_arrays(images, labels)
    column = pandas.Series(labels, index=range(7, 19))
    for same in column, column.astype("category"), column.astype("string"):
        assert_same(from_arrays(images, same), expected)
