"""Folders of photos are read whole, and what is wrong in them is named."""

import os
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import gdtrain
from gdtrain.common.explained import without_more
from gdtrain.images import (
    DamagedImage,
    decode,
    finding,
    read_folder,
    splitting,
    store,
)
from tests.images.photos import (
    KINDS,
    draw_photo,
    encoded,
    make_photos,
    make_random_photos,
    png,
    random_photo,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos") / "data")


def paths_of(part):
    return {os.path.relpath(file.path, start=".") for file in part.files}


# --------------------------------------------------------- what is held out


def test_what_is_held_out_is_not_learned_from(photos):
    data = read_folder(photos)
    learned = {image.tobytes() for image in data.training.images}
    held_out = {image.tobytes() for image in data.held_out.images}
    assert len(learned) + len(held_out) == 24
    assert not learned & held_out
    # At least half and at most twice of what is expected, 2.4.
    assert all(1 <= n <= 4 for n in np.bincount(data.held_out.labels))


def test_each_image_has_its_file_and_its_label(photos):
    data = read_folder(photos, size=(8, 6))
    for part, name in (data.training, "training"), (data.held_out, "held out"):
        assert len(part.images) == len(part.labels) == len(part.files)
        for image, label, file in zip(part.images, part.labels, part.files):
            np.testing.assert_array_equal(image, decode(file.path, size=(8, 6)))
            assert file.class_name == data.class_names[label]
            assert file.path.split(os.sep)[-2].replace("_", " ") == (
                file.class_name
            )
            assert (file.part, file.status, file.reason) == (name, "read", "")
    assert data.files == data.training.files + data.held_out.files


def test_the_seed_draws_what_is_held_out(photos):
    first, again, other = (
        read_folder(photos, seed=seed).held_out.images for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_photos_stay_held_out_when_others_are_added(tmp_path):
    folder = make_random_photos(tmp_path / "data", {"cat": 40, "dog": 40})
    before = paths_of(read_folder(folder, size=8).held_out)
    for i in range(40):
        random_photo(5000 + i).save(folder / "cat" / f"new {i}.png")
    after = paths_of(read_folder(folder, size=8).held_out)
    assert before < after
    assert all("new" in path for path in after - before)


def test_a_small_class_keeps_a_picture_on_either_side(tmp_path):
    data = read_folder(make_photos(tmp_path / "data", 2))
    assert sorted(data.training.labels) == [0, 1]
    assert sorted(data.held_out.labels) == [0, 1]


@pytest.mark.parametrize(
    "share, low, high", [(0.0, 1, 1), (0.5, 3, 11), (1.0, 11, 11)]
)
def test_each_class_has_images_on_either_side_of_any_share(
    photos, share, low, high
):
    data = read_folder(photos, size=(4, 6), held_out=share)
    assert data.shape == (4, 6, 3)
    assert all(low <= n <= high for n in np.bincount(data.held_out.labels))


# ------------------------------------------------------------ what is found


def test_all_kinds_are_read_whatever_their_names(tmp_path):
    for name in "a", "b":
        (tmp_path / name).mkdir()
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
    for i, kind in enumerate(kinds):
        for name in f"{i}", f"{i}.png", f"{i}.dat":
            for j, folder in enumerate("ab"):
                photo = random_photo(100 * i + 10 * len(name) + j)
                (tmp_path / folder / name).write_bytes(encoded(photo, kind))
    data = read_folder(tmp_path, size=8)
    assert len(data.files) == 2 * 3 * len(kinds)
    assert {file.status for file in data.files} == {"read"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_photos_are_read_as_decode_reads_them(photos, fit, channels):
    arguments = {"size": (5, 9), "fit": fit, "channels": channels}
    data = read_folder(photos, **arguments)
    for image, file in zip(data.held_out.images, data.held_out.files):
        np.testing.assert_array_equal(image, decode(file.path, **arguments))
    assert data.fit == fit


def test_one_number_is_height_and_width(photos):
    assert read_folder(photos, size=7).shape == (7, 7, 3)
    assert read_folder(photos).shape == (224, 224, 3)


def test_hidden_and_other_files_are_left_alone(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    (folder / ".git").mkdir()
    shutil.copytree(folder / "hot_dog", folder / "__MACOSX")
    (folder / "licence.txt").write_text("free")
    (folder / "hot_dog" / "notes.txt").write_text("tasty")
    (folder / "hot_dog" / "._0.jpg").write_text("of macOS")
    (folder / "hot_dog" / "more.jpg").mkdir()
    (folder / "hot_dog" / "Thumbs.db").write_text("of Windows")
    (folder / "hot_dog" / "desktop.ini").write_text("of Windows")
    data = read_folder(folder)
    assert data.class_names == ["hot dog", "not hot dog"]
    assert len(data.training) + len(data.held_out) == 6
    text = str(data)
    assert "2 files that are no pictures (2 .txt)" in text
    assert not re.search(r"\._0|\.db|\.ini|MACOSX", text)


def test_jpeg_has_other_endings_too(tmp_path):
    folder = make_photos(tmp_path / "data", 2)
    for i, ending in enumerate((".jfif", ".JFIF", ".jpe")):
        path = folder / "hot_dog" / f"saved_{i}{ending}"
        draw_photo(True, (30 + i, 30), "RGB").save(path, "JPEG")
    data = read_folder(folder)
    assert len(data.files) == 7
    assert "Skipped" not in str(data)


def test_what_is_left_out_is_told(tmp_path):
    folder = make_photos(tmp_path / "data", 2)
    lost = [folder / "lost.jpg", folder / "lost too"]
    for path in lost:
        draw_photo(True, (30, 30), "RGB").save(path, "JPEG")
    for name in ("a.svg", "b.SVG", "c.psd", "readme"):
        (folder / "hot_dog" / name).write_bytes(b"")
    data = read_folder(folder)
    text = str(data)
    assert "2 pictures not in the folder of a class" in text
    assert all(str(path) in text for path in lost)
    assert "(2 .svg, 1 .psd, 1 without an ending)" in text
    assert sum(file.status == "skipped" for file in data.files) == 6


def test_folders_below_a_class_are_of_the_class(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    (folder / "hot_dog" / "2020" / "may").mkdir(parents=True)
    random_photo(0).save(folder / "hot_dog" / "2020" / "may" / "a.png")
    data = read_folder(folder, size=8)
    counts = [
        sum(f.class_name == n for f in data.files) for n in data.class_names
    ]
    assert counts == [4, 3]


def test_linked_folders_are_read_once(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    (folder / "hot_dog").rename(tmp_path / "elsewhere")
    (folder / "hot_dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "above").symlink_to(folder)
    data = read_folder(folder, size=8)
    assert data.class_names == ["hot dog", "not hot dog"]
    assert len(data.files) == 6


def test_a_pipe_does_not_wait(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    os.mkfifo(folder / "hot_dog" / "pipe")
    assert "1 file that is no picture" in str(read_folder(folder, size=8))
    os.mkfifo(folder / "hot_dog" / "pipe.jpg")
    with pytest.raises(DamagedImage, match="pipe.jpg: it is no file"):
        read_folder(folder)


def test_folders_say_what_is_held_out(tmp_path):
    for part, count in ("train", 3), ("validation", 2), ("test", 1):
        folder = make_random_photos(
            tmp_path / part, {"cat": count, "small_dog": count + 1}
        )
        for i, path in enumerate(folder.rglob("*.png")):
            random_photo(10_000 * count + i).save(path)
    data = read_folder(tmp_path, size=8)
    assert data.class_names == ["cat", "small dog"]
    assert np.bincount(data.training.labels).tolist() == [5, 7]
    assert np.bincount(data.held_out.labels).tolist() == [1, 2]
    assert all(f"{os.sep}test{os.sep}" in f.path for f in data.held_out.files)
    assert "`test` is held out; `validation` is learned" in str(data)
    shutil.rmtree(tmp_path / "test")
    data = read_folder(tmp_path, size=8)
    assert np.bincount(data.held_out.labels).tolist() == [2, 3]


def test_class_that_is_held_out_only_is_an_error(tmp_path):
    make_random_photos(tmp_path / "train", {"cat": 2, "dog": 2})
    make_random_photos(tmp_path / "test", {"cat": 2, "cow": 2})
    with pytest.raises(ValueError, match="none of 'cow'.*test.cow"):
        read_folder(tmp_path)


# ------------------------------------------------------------------- copies


@pytest.fixture
def parts(tmp_path):
    """Photos in `train` and `test`, which has four that `train` has."""
    make_random_photos(tmp_path / "train", {"cat": 5, "dog": 5})
    make_random_photos(tmp_path / "test", {"cat": 1, "dog": 1})
    for folder in "cat", "dog":
        random_photo(len(folder) + ord(folder[0]) * 50).save(
            tmp_path / "test" / folder / "0.png"
        )
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.copy(train / "cat" / "1.png", test / "cat" / "same bytes.png")
    for name, (width, height) in (
        ("again.jpg", (150, 100)),
        ("small.webp", (75, 50)),
    ):
        with Image.open(train / "dog" / "2.png") as image:
            image.resize((width, height)).save(test / "dog" / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned by a quarter.
    with Image.open(train / "dog" / "3.png") as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(test / "dog" / "turned.jpg", exif=exif)
    return tmp_path


def test_photos_that_are_learned_are_not_held_out(parts):
    data = read_folder(parts, size=32)
    assert len(data.training) == 10 and len(data.held_out) == 2
    found = {
        (os.path.basename(file.path), file.reason)
        for file in data.files
        if file.status == "duplicate"
    }
    dog = parts / "train" / "dog" / "2.png"
    assert found == {
        (
            "same bytes.png",
            f"the same picture as {parts / 'train' / 'cat' / '1.png'}",
        ),
        ("again.jpg", f"the same picture as {dog}"),
        ("small.webp", f"the same picture as {dog}"),
        ("turned.jpg", f"the same picture as {dog.with_name('3.png')}"),
    }
    text = str(data)
    assert "since it is learned as well: 4 pictures" in text
    assert re.search(r"^class +learned +held out +copies$", text, re.M)
    assert re.search(r"^dog +5 +1 +3$", text, re.M)


def test_copies_are_found_where_the_content_says_what_is_held_out(tmp_path):
    folder = make_random_photos(tmp_path / "data", {"cat": 30, "dog": 30})
    for i in range(30):
        with Image.open(folder / "cat" / f"{i}.png") as image:
            image.save(folder / "cat" / f"{i}.jpg", quality=70)
    data = read_folder(folder, size=32)
    stems = [
        {os.path.splitext(path)[0] for path in paths_of(part)}
        for part in (data.training, data.held_out)
    ]
    assert not stems[0] & stems[1]
    dropped = [file for file in data.files if file.status == "duplicate"]
    assert dropped and len(data.files) == 90
    for file in dropped:
        original = file.reason.removeprefix("the same picture as ")
        assert os.path.splitext(original)[0] == os.path.splitext(file.path)[0]


def test_class_of_nothing_but_copies_is_an_error(tmp_path):
    folder = make_random_photos(tmp_path / "data", {"cat": 1, "dog": 5})
    shutil.copy(folder / "cat" / "0.png", folder / "cat" / "1.png")
    with pytest.raises(ValueError, match="cat must have two or more.*has 1"):
        read_folder(folder)


def test_picture_in_two_classes_is_told(tmp_path):
    folder = make_random_photos(tmp_path / "data", {"cat": 5, "dog": 5})
    same = folder / "cat" / "0.png", folder / "dog" / "x.png"
    shutil.copy(*same)
    for seed in range(3):
        text = str(read_folder(folder, size=32, seed=seed))
        cat, dog = (f"{path}" for path in same)
        assert (
            f"in two classes: {cat} (cat) = {dog} (dog)" in text
            or f"{dog} (the same picture as {cat}, which is" in text
            or f"{cat} (the same picture as {dog}, which is" in text
        )


# ------------------------------------------------------------------ damages


def damage(folder):
    """Damages three of the photos, each in another way."""
    contents = {"0.jpg": b"", "1.JPEG": b"<html>", "2.png": png()[:50]}
    for name, content in contents.items():
        (folder / "hot_dog" / name).write_bytes(content)
    (folder / "hot_dog" / "gone.jpg").symlink_to(folder / "nowhere")


def test_all_damaged_pictures_are_named_at_once(tmp_path):
    folder = make_photos(tmp_path / "data", 6)
    damage(folder)
    with pytest.raises(ValueError) as caught:
        read_folder(folder)
    text, page = without_more(str(caught.value))
    assert page.endswith("explain unreadable-photos")
    assert text.startswith("4 of 13 pictures cannot be read")
    assert "0.jpg (it is empty)" in text
    assert "1.JPEG (it is neither JPEG nor PNG" in text
    assert "2.png (it is damaged" in text
    assert "gone.jpg (No such file" in text
    assert "\n" not in text and 'on_error="skip"' in text


def test_damaged_pictures_are_skipped_if_asked(tmp_path):
    folder = make_photos(tmp_path / "data", 6)
    damage(folder)
    for _ in range(2):  # The second time, from the cache folder
        data = read_folder(folder, on_error="skip", size=16)
        assert len(data.training) + len(data.held_out) == 9
        text = str(data)
        assert "Left out: 4 damaged pictures" in text
        assert "0.jpg (it is empty)" in text and "2.png (it is dam" in text
        table = re.search(r"^hot dog +(\d+) +(\d+) +4$", text, re.M)
        assert int(table[1]) + int(table[2]) == 3
        for part in data.training, data.held_out:
            for image, file in zip(part.images, part.files, strict=True):
                expected = decode(file.path, size=(16, 16))
                np.testing.assert_array_equal(image, expected)


def test_class_with_nothing_but_damages_is_an_error(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    for path in (folder / "hot_dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 6 pictures cannot be read"):
        read_folder(folder)
    with pytest.raises(ValueError, match="hot_dog must have.*It has 0"):
        read_folder(folder, on_error="skip")
    for path in (folder / "not_hot_dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="6 of 6 pictures cannot be read"):
        read_folder(folder)


def test_photo_that_is_deleted_afterwards_is_not_missed(tmp_path):
    folder = make_photos(tmp_path / "data", 3)
    data = read_folder(folder, size=8)
    before = data.training.images.copy()
    shutil.rmtree(folder)
    np.testing.assert_array_equal(data.training.images, before)


def test_photo_that_vanishes_while_it_is_read_is_named(tmp_path, monkeypatch):
    folder = make_photos(tmp_path / "data", 3)
    check_counts = splitting.check_counts

    def delete(*arguments):
        (folder / "hot_dog" / "1.JPEG").unlink()
        check_counts(*arguments)

    monkeypatch.setattr(splitting, "check_counts", delete)
    with pytest.raises(ValueError, match="1.JPEG was there when"):
        read_folder(folder, size=8, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("change", ["delete", "delete all", "overwrite"])
def test_photos_that_vanish_while_they_are_read_are_skipped_if_asked(
    tmp_path, monkeypatch, change
):
    folder = make_photos(tmp_path / "data", 6)
    decoded = store.decoded
    changed = {folder / "hot_dog" / "1.JPEG"}
    if change == "delete all":
        changed |= {folder / "hot_dog" / "0.jpg", folder / "hot_dog" / "2.png"}

    def decoded_later(files, **arguments):
        for path in changed:
            if change == "overwrite":
                path.write_bytes(png())
            else:
                path.unlink(missing_ok=True)
        return decoded(files, **arguments)

    monkeypatch.setattr(store, "decoded", decoded_later)
    data = read_folder(
        folder, size=8, cache_dir=tmp_path / "cache", on_error="skip"
    )
    left_out = [file for file in data.files if file.status == "damaged"]
    assert {file.path for file in left_out} == set(map(str, changed))
    assert len(data.training) + len(data.held_out) == 12 - len(changed)
    assert f"Left out: {len(changed)} damaged picture" in str(data)
    for part in data.training, data.held_out:
        for image, file in zip(part.images, part.files, strict=True):
            expected = decode(file.path, size=(8, 8))
            np.testing.assert_array_equal(image, expected)


def test_training_goes_on_without_photos_and_cache_folder(
    tmp_path, monkeypatch
):
    folder = make_photos(tmp_path / "data", 6)
    monkeypatch.setattr(store, "_fits_in_memory", lambda size_bytes: False)
    monkeypatch.setattr("gdtrain.data.choice.memory_limit", lambda: 0)

    def losses(*callbacks):
        data = read_folder(folder, size=8, cache_dir=tmp_path / "cache")
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
        model = gdtrain.Sequential([keras.Input([8, 8, 3]), *layers])
        model.compile(keras.optimizers.SGD(1e-6), "mse")
        x, y = data.training.images, data.training.labels
        assert isinstance(x, np.memmap)
        done = model.fit(
            x, y, batch_size=2, epochs=3, verbose=0, callbacks=callbacks
        )
        return done.history["loss"]

    class Delete(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                shutil.rmtree(folder)
                shutil.rmtree(tmp_path / "cache")

    assert losses() == losses(Delete())
    assert not folder.exists()


def test_kinds_of_made_up_photos_are_all_read():
    assert {ending.lower() for _, ending in KINDS} == {"jpg", "jpeg", "png"}
    assert set(finding.ENDINGS) >= {".jpg", ".jpeg", ".png", ".avif"}


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
        (lambda folder: add_class(folder, "a.gif"), "It has 1"),
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
    assert "\n" not in without_more(str(caught.value))[0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"size": 0}, "`size` must be a positive integer"),
        ({"size": (4, 5, 6)}, "`size` must be a number of pixels, or"),
        ({"size": "big"}, "`size` must be a number of pixels, or"),
        ({"held_out": 1.5}, "`held_out` must be a share from 0 to 1"),
        ({"held_out": 20}, "`held_out` must be a share from 0 to 1"),
        ({"held_out": None}, "`held_out` must be a share from 0 to 1"),
        ({"seed": -1}, "`seed` must be an integer"),
        ({"seed": None}, "`seed` must be an integer"),
        ({"fit": "squeeze"}, "`fit` must be one of"),
        ({"channels": 4}, "`channels` must be one of"),
        ({"on_error": "ignore"}, "`on_error` must be one of"),
    ],
)
def test_bad_argument_is_an_error_before_files_are_read(arguments, message):
    with pytest.raises(ValueError, match=message):
        read_folder("no such folder", **arguments)


@pytest.mark.parametrize("train, test", [("TRAIN", "Validation")])
def test_parts_are_found_in_any_case(tmp_path, train, test):
    for part, count in (train, 3), (test, 2):
        make_random_photos(tmp_path / part, {"cat": count, "dog": count})
    data = read_folder(tmp_path, size=8)
    assert (len(data.training), data.class_names) == (6, ["cat", "dog"])


def test_names_may_be_long_strange_or_those_of_photos(tmp_path):
    """Also one that is no text in UTF-8, which could not be printed."""
    names = ["été 🌭", "a.jpg", "x" * 255]
    make_random_photos(tmp_path, dict.fromkeys(names, 2))
    photos = ["日本.png", "y" * 251 + ".png", "a 'b' \"c\".png"]
    for i, name in enumerate(photos):
        random_photo(100 + i).save(tmp_path / names[0] / name)
    bad = os.fsencode(tmp_path / names[1]) + b"/\xff.png"
    with open(bad, "wb") as file:
        file.write(b"no picture")
    data = read_folder(tmp_path, size=8, on_error="skip")
    assert data.class_names == sorted(names)
    assert len(data.training) + len(data.held_out) == 9
    assert "1 damaged picture" in str(data)
    str(data).encode()
    data._repr_html_().encode()
    with pytest.raises(ValueError, match="dcff.png") as caught:
        read_folder(tmp_path, size=8)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["1.png", "1"])
def test_file_that_may_not_be_read_is_named(tmp_path, monkeypatch, name):
    """By a system that refuses it: to an administrator, none does."""
    make_random_photos(tmp_path, {"cat": 3, "dog": 3})
    path = tmp_path / "cat" / name
    (tmp_path / "cat" / "1.png").rename(path)
    open_file = open

    def refuse(file, *arguments, **keywords):
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(file))
        return open_file(file, *arguments, **keywords)

    monkeypatch.setattr("builtins.open", refuse)
    data = read_folder(tmp_path, size=8, on_error="skip")
    assert len(data.training) + len(data.held_out) == 5
    assert str(path) in str(data) and "Permission denied" in str(data)


def test_every_file_is_in_the_table(tmp_path):
    """But not what is hidden, or of the system."""
    folder = make_random_photos(tmp_path / "data", {"cat": 5, "dog": 5})
    cat = folder / "cat"
    (cat / "empty").touch()
    (cat / "empty.png").touch()
    (cat / "notes.txt").write_text("Cats.")
    (cat / "link.png").symlink_to(cat / "1.png")
    (cat / "broken.png").symlink_to(cat / "nowhere")
    (cat / "inner.png").mkdir()
    random_photo(100).save(cat / "inner.png" / "inner", "PNG")  # By content
    random_photo(101).save(folder / "above.png")
    os.mkfifo(cat / "pipe")
    (cat / ".hidden.png").touch()
    (cat / "Thumbs.db").touch()
    data = read_folder(folder, size=8, on_error="skip")
    status = {file.path: file.status for file in data.files}
    listed = {
        os.path.join(path, name)
        for path, _, names in os.walk(folder)
        for name in names
    }
    listed -= {str(cat / ".hidden.png"), str(cat / "Thumbs.db")}
    assert status.keys() == listed
    for name, expected in {
        "empty": "skipped",
        "empty.png": "damaged",
        "notes.txt": "skipped",
        "broken.png": "damaged",
        "inner.png/inner": "read",
        "../above.png": "skipped",
        "pipe": "skipped",
    }.items():
        assert status[os.path.normpath(cat / name)] == expected
    assert status[str(cat / "link.png")] in ("read", "duplicate")
    counts = re.search(r"^all +(\d+) +(\d+) +(\d+) +(\d+)", str(data), re.M)
    assert sum(map(int, counts.groups())) <= len(listed)


# -------------------------------------------------------------------- cache


def test_the_second_time_nothing_is_decoded(tmp_path, monkeypatch):
    folder = make_photos(tmp_path / "data", 3)
    arguments = {"size": 16, "cache_dir": tmp_path / "cache"}
    first = read_folder(folder, **arguments)

    def fail(*arguments, **keywords):
        raise AssertionError("decoded again")

    monkeypatch.setattr("gdtrain.images.decoding._loaded", fail)
    monkeypatch.setattr("gdtrain.images.copies.thumbnail", fail)
    again = read_folder(folder, **arguments)
    np.testing.assert_array_equal(again.training.images, first.training.images)
    np.testing.assert_array_equal(again.held_out.images, first.held_out.images)
    assert str(again) == str(first)


def test_photos_that_do_not_fit_in_memory_are_a_memory_map(
    tmp_path, monkeypatch
):
    folder = make_photos(tmp_path / "data", 3)
    expected = read_folder(folder, size=16, cache_dir=tmp_path / "a")
    monkeypatch.setattr(
        "gdtrain.images.store._fits_in_memory", lambda size_bytes: False
    )
    data = read_folder(folder, size=16, cache_dir=tmp_path / "b")
    for part, other in (
        (data.training, expected.training),
        (data.held_out, expected.held_out),
    ):
        assert isinstance(part.images, np.memmap)
        np.testing.assert_array_equal(part.images, other.images)


def test_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """By a system that refuses it: to an administrator, none does."""
    folder = make_photos(tmp_path / "data", 3)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("not_hot_dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match="hot_dog: Permission denied. Give"):
        read_folder(folder)
