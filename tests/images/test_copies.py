"""Copies of photos are found, whatever was done in saving them again."""

import numpy as np
import pytest

from gdtrain.images import copies as finder
from gdtrain.images import decode
from gdtrain.images.photos import PhotoFile
from tests.images.photos import draw_photo, encoded, random_photo


def thumbnails(photos, size):
    images = [decode(photo, size=size) for photo in photos]
    return np.stack([finder.thumbnail(image) for image in images])


def look_hashes(photos, size):
    return finder.look_hashes(thumbnails(photos, size))


def bits_apart(a, b, size):
    a, b = look_hashes([a, b], size)
    return int(a ^ b).bit_count()


def copies(training, held_out, aspects=None, size=(64, 64)):
    """Indices of the photos of `held_out` that are copies, and of which."""
    names = [f"{i}" for i in range(len(training) + len(held_out))]
    files = [PhotoFile(name, "a", "", name, "read") for name in names]
    small = thumbnails([*training, *held_out], size)
    count = len(training)
    found = finder.copies(
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
    monkeypatch.setattr(finder, "_PAIRS", 3)
    photos = [random_photo(seed) for seed in range(40)]
    found = copies(photos[:20], photos[10:])
    assert found == {i: i + 10 for i in range(10)}


@pytest.mark.parametrize("pairs_at_once", [7, 2**20])
@pytest.mark.parametrize("bits", [64, 12])
def test_pairs_are_those_of_a_comparison_of_all(
    monkeypatch, bits, pairs_at_once
):
    """Also of hashes of which many are equal, as those of flat photos are."""
    monkeypatch.setattr(finder, "_PAIRS", pairs_at_once)
    random = np.random.default_rng(bits)
    first = random.integers(0, 2**bits, 300, np.uint64, endpoint=bits < 64)
    second = random.integers(0, 2**bits, 200, np.uint64, endpoint=bits < 64)
    for number in range(9):  # Some differ in 0, 1, ..., 8 bits
        places = random.choice(64, [20, number])
        flips = [sum({1 << int(place) for place in row}) for row in places]
        second[20 * number : 20 * (number + 1)] = first[:20] ^ np.array(
            flips, np.uint64
        )
    expected = [
        [i, j]
        for i, a in enumerate(first.tolist())
        for j, b in enumerate(second.tolist())
        if (a ^ b).bit_count() <= 4
    ]
    assert len(expected) >= 100
    assert finder.near_pairs(first, second).tolist() == expected


def test_without_photos_there_are_no_pairs():
    none, some = np.zeros(0, np.uint64), np.ones(3, np.uint64)
    for first, second in (none, some), (some, none), (none, none):
        assert finder.near_pairs(first, second).shape == (0, 2)


def test_time_is_not_that_of_all_pairs():
    """All 4e9 pairs would take minutes."""
    random = np.random.default_rng(0)
    training = random.integers(0, 2**64, 200_000, np.uint64)
    held_out = training[::10] ^ np.uint64(2**40 + 2**3)
    pairs = finder.near_pairs(held_out, training)
    np.testing.assert_array_equal(pairs[:, 1], 10 * np.arange(20_000))


def test_copy_of_another_class_says_so():
    files = [PhotoFile("1", "cat", "", "x", "read")]
    files += [PhotoFile("2", "dog", "", "x", "read")]
    small = np.zeros([2, 16, 18, 3], np.uint8)
    [found] = finder.copies(files[:1], files[1:], small, {"x": 1.0})
    assert found.reason == "the same picture as 1, which is learned as 'cat'"


@pytest.mark.parametrize("size", [(64, 64)])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "kind, options",
    [
        ("JPEG", {"quality": 40}),
        ("WEBP", {"quality": 50}),
        ("GIF", {}),
        ("PNG", {}),
    ],
)
def test_copies_have_nearly_the_same_look_hash(seed, kind, options, size):
    photo = random_photo(seed, (300, 200))
    copy = encoded(photo.resize((151, 101)), kind, **options)
    assert bits_apart(photo, copy, size) <= 4


def test_other_photos_have_other_look_hashes():
    photos = [random_photo(seed) for seed in range(30)]
    hashes = look_hashes(photos, (72, 64)).tolist()
    apart = [
        (a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]
    ]
    assert min(apart) > 12 and np.mean(apart) == pytest.approx(32, abs=2)


def test_compression_of_a_flat_photo_does_not_change_its_look_hash():
    photo = draw_photo(True, (200, 200), "RGB")
    copy = encoded(photo, "JPEG", quality=30)
    assert bits_apart(photo, copy, (72, 64)) <= 4
