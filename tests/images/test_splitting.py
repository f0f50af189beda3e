"""What is held out depends on contents."""

import dataclasses
import hashlib

import numpy as np
import pytest

from gdtrain.images import splitting
from gdtrain.images.photos import PhotoFile


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
