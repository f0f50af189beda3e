"""What is held out depends on contents, and holds no copies of the rest."""

import dataclasses
import hashlib

import numpy as np
import pytest

from gdtrain.images import decode, splitting
from gdtrain.images.photos import PhotoFile
from tests.images.photos import encoded, random_photo


def make_files(count, start=0, name="cat"):
    return [
        PhotoFile(
            f"{name}/{i}",
            name,
            "",
            hashlib.sha256(f"{name}{i}".encode()).hexdigest(),
            "read",
        )
        for i in range(start, start + count)
    ]


def held_out_paths(files, share=0.2, seed=0):
    _, held_out = splitting.split(files, share, seed)
    return {file.path for file in held_out}


def test_each_photo_is_in_one_part():
    files = make_files(100) + make_files(50, name="dog")
    training, held_out = splitting.split(files, 0.2, 0)
    assert {file.part for file in training} == {"training"}
    assert {file.part for file in held_out} == {"held out"}
    without = [
        dataclasses.replace(file, part="") for file in training + held_out
    ]
    key = {"key": lambda file: file.path}
    assert sorted(without, **key) == sorted(files, **key)


@pytest.mark.parametrize("seed", range(5))
def test_part_stays_when_photos_are_added_and_removed(seed):
    files = make_files(2000)
    everything = held_out_paths(files, seed=seed)
    for some in files[:1000], files[500:], files[::3]:
        paths = {file.path for file in some}
        assert held_out_paths(some, seed=seed) == everything & paths


def test_part_stays_when_photos_are_renamed_and_sorted():
    files = make_files(100)
    renamed = [dataclasses.replace(f, path=f"x{f.path}") for f in files[::-1]]
    expected = {f"x{path}" for path in held_out_paths(files)}
    assert held_out_paths(renamed) == expected


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_share_is_held_out(share):
    counts = [
        len(held_out_paths(make_files(400), share, seed)) for seed in range(50)
    ]
    # Four standard deviations of a mean of 50 binomial numbers.
    deviation = 4 * np.sqrt(400 * share * (1 - share) / 50)
    assert np.mean(counts) == pytest.approx(400 * share, abs=deviation)


@pytest.mark.parametrize(
    "count, share, low, high",
    [
        (2, 0.0, 1, 1),
        (2, 1.0, 1, 1),
        (9, 0.0, 1, 1),
        (9, 1.0, 8, 8),
        (2, 0.2, 1, 1),
        (10, 0.2, 1, 4),
        (20, 0.2, 2, 8),
    ],
)
def test_small_class_has_photos_on_either_side(count, share, low, high):
    for seed in range(50):
        held_out = held_out_paths(make_files(count), share, seed)
        assert low <= len(held_out) <= high


def test_seed_draws_other_photos():
    files = make_files(100)
    assert held_out_paths(files) == held_out_paths(files)
    assert held_out_paths(files, seed=1) != held_out_paths(files)


def copies(training, held_out, aspects=None, size=(64, 64)):
    """Indices of the photos of `held_out` that are copies, and of which."""
    names = [f"{i}" for i in range(len(training) + len(held_out))]
    files = [PhotoFile(name, "a", "", name, "read") for name in names]
    small = splitting.thumbnails(
        np.stack([decode(photo, size=size) for photo in [*training, *held_out]])
    )
    count = len(training)
    found = splitting.copies(
        files[:count],
        files[count:],
        small,
        aspects or dict.fromkeys(names, 1.5),
    )
    assert all(file.status == "duplicate" for file in found)
    return {int(f.path) - count: int(f.reason.split()[-1]) for f in found}


@pytest.mark.parametrize("size", [(64, 64), (224, 224), (17, 300)])
def test_photos_saved_again_are_found(size):
    photos = [random_photo(seed, (300, 200)) for seed in range(20)]
    saved = [
        encoded(photos[3], "JPEG", quality=50),
        encoded(photos[4].resize((150, 100)), "WEBP"),
        random_photo(100),
        encoded(photos[5].resize((450, 300)), "PNG"),
        random_photo(101),
    ]
    assert copies(photos, saved, size=size) == {0: 3, 1: 4, 3: 5}


def test_photo_of_another_shape_is_no_copy():
    photo = random_photo(0)
    assert copies([photo], [photo], {"0": 1.5, "1": 1.6}) == {}
    assert copies([photo], [photo], {"0": 1.5, "1": 1.52}) == {0: 0}


def test_photo_of_the_same_shapes_in_other_colors_is_no_copy():
    """Look hashes are of grey photos, and would be the same."""
    photo = np.asarray(random_photo(0))
    assert copies([photo], [photo[..., ::-1]]) == {}
    assert copies([photo], [photo // 2]) == {}


def test_many_photos_are_compared(monkeypatch):
    monkeypatch.setattr(splitting, "_ROWS", 7)
    monkeypatch.setattr(splitting, "_PAIRS", 3)
    photos = [random_photo(seed) for seed in range(40)]
    found = copies(photos[:20], photos[10:])
    assert found == {i: i + 10 for i in range(10)}


def test_copy_of_another_class_says_so():
    files = [PhotoFile("1", "cat", "", "x", "read")]
    files += [PhotoFile("2", "dog", "", "x", "read")]
    small = splitting.thumbnails(np.zeros([2, 8, 8, 3], np.uint8))
    [found] = splitting.copies(files[:1], files[1:], small, {"x": 1.0})
    assert found.reason == "the same picture as 1, which is learned as 'cat'"
