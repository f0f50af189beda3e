"""Photos are decoded once and kept, whatever happens to the cache folder."""

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from gdtrain.images import cache, store
from tests import waiting
from tests.full_disk import files_up_to

SIZE = (6, 8)


class Damaged(ValueError):
    reason = "it ends too early"


class Decoder:
    """Makes an image of each content; remembers what it was given."""

    def __init__(self):
        self.contents = []

    def __call__(self, content, *, size, channels, fit):
        self.contents.append(content)
        if content.startswith(b"damaged"):
            raise Damaged
        seed = int.from_bytes(hashlib.sha256(content).digest()[:4], "big")
        random = np.random.default_rng(seed)
        return random.integers(0, 256, [*size, channels], "uint8")


@pytest.fixture
def on_disk(monkeypatch):
    """No image fits in memory."""
    monkeypatch.setattr(store, "_fits_in_memory", lambda size_bytes: False)


def make_files(folder, *contents):
    folder.mkdir(exist_ok=True)
    return [make_file(folder, content) for content in contents]


def make_file(folder, content):
    path = folder / f"{len(os.listdir(folder))}.jpg"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return SimpleNamespace(path=str(path), digest=digest)


def decoded(files, tmp_path, decoder=None, size=SIZE, **arguments):
    arguments = {"cache_dir": tmp_path / "cache", **arguments}
    return store.decoded(
        files, size=size, decode=decoder or Decoder(), **arguments
    )


def no_decoding(content, **arguments):
    raise AssertionError("It was decoded already.")


def kept_files(tmp_path):
    return sorted(os.listdir(tmp_path / "cache"))


def test_images_come_in_the_order_of_the_files(tmp_path):
    contents = [b"%d" % i for i in range(200)]
    files = make_files(tmp_path / "photos", *contents)
    found = decoded(files, tmp_path)
    assert found.rows.shape == (200, 6, 8, 3)
    assert found.rows.dtype == np.uint8 and not found.failed
    for content, image in zip(contents, found.rows, strict=True):
        wanted = Decoder()(content, size=SIZE, channels=3, fit="")
        np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_each_content_is_decoded_once(tmp_path, monkeypatch, where):
    monkeypatch.setattr(store, "_fits_in_memory", lambda _: where == "memory")
    files = make_files(tmp_path / "photos", b"a", b"b", b"damaged", b"c")
    first, decoder = decoded(files, tmp_path), Decoder()
    assert isinstance(first.rows, np.memmap)
    again = decoded(files, tmp_path, no_decoding)
    np.testing.assert_array_equal(first.rows, again.rows)
    files = make_files(tmp_path / "photos", b"new") + files[::-1]
    more = decoded(files, tmp_path, decoder)
    assert decoder.contents == [b"new"]
    assert isinstance(more.rows, np.memmap) == (where == "disk")
    np.testing.assert_array_equal(more.rows[1:], first.rows[::-1])
    assert more.failed == first.failed


def test_a_part_of_what_is_kept_is_not_kept_twice(tmp_path):
    files = make_files(tmp_path / "photos", b"a", b"b", b"damaged", b"c")
    whole = decoded(files, tmp_path)
    part = decoded(files[1:], tmp_path, no_decoding)
    np.testing.assert_array_equal(part.rows, whole.rows[1:])
    assert part.failed == whole.failed
    assert len(kept_files(tmp_path)) == 1


def test_damaged_photos_have_no_row_and_a_reason(tmp_path):
    files = make_files(tmp_path / "photos", b"a", b"damaged", b"b")
    for decoder in (Decoder(), no_decoding):
        found = decoded(files, tmp_path, decoder)
        assert len(found.rows) == 2
        assert found.failed == {files[1].digest: "it ends too early"}


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_all_photos_may_be_damaged(tmp_path, monkeypatch, where):
    monkeypatch.setattr(store, "_fits_in_memory", lambda _: where == "memory")
    files = make_files(tmp_path / "photos", b"damaged", b"damaged too")
    for decoder in (Decoder(), no_decoding):
        found = decoded(files, tmp_path, decoder)
        assert found.rows.shape == (0, 6, 8, 3) and len(found.failed) == 2


@pytest.mark.parametrize(
    "other", [{"size": (8, 6)}, {"channels": 1}, {"fit": "crop"}]
)
def test_images_of_another_kind_are_others(tmp_path, other):
    files = make_files(tmp_path / "photos", b"a")
    decoder = Decoder()
    decoded(files, tmp_path, decoder)
    decoded(files, tmp_path, decoder, **other)
    assert len(decoder.contents) == 2


def test_what_does_not_fit_in_memory_is_a_map_that_can_be_sliced(
    tmp_path, on_disk
):
    files = make_files(tmp_path / "photos", b"a", b"b", b"c")
    images = decoded(files, tmp_path).rows
    assert isinstance(images[:2], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_what_is_kept_is_a_file_of_numpy(tmp_path):
    files = make_files(tmp_path / "photos", b"a", b"b")
    images = decoded(files, tmp_path).rows
    (name,) = kept_files(tmp_path)
    assert name.startswith("photos-stretch-6x8x3-uint8-")
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / name), images)


def test_a_map_outlives_the_cache_folder(tmp_path, on_disk):
    files = make_files(tmp_path / "photos", b"a", b"b")
    images = decoded(files, tmp_path).rows
    shutil.rmtree(tmp_path / "cache")
    again = decoded(files, tmp_path).rows
    np.testing.assert_array_equal(images, again)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"hello",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
    ],
)
def test_a_damaged_file_in_the_cache_is_replaced(tmp_path, change):
    files = make_files(tmp_path / "photos", b"a", b"b", b"c")
    first = np.array(decoded(files, tmp_path).rows)  # No longer the file
    path = tmp_path / "cache" / kept_files(tmp_path)[0]
    path.write_bytes(change(path.read_bytes()))
    decoder = Decoder()
    again = decoded(files, tmp_path, decoder)
    assert len(decoder.contents) == 3
    np.testing.assert_array_equal(first, again.rows)
    decoded(files, tmp_path, no_decoding)


def test_a_file_that_is_gone_or_changed_is_named(tmp_path):
    files = make_files(tmp_path / "photos", b"a", b"b")
    os.remove(files[0].path)
    with pytest.raises(ValueError, match="0.jpg was there .* No such file"):
        decoded(files, tmp_path)
    with open(files[1].path, "wb") as file:
        file.write(b"c")
    with pytest.raises(ValueError, match="1.jpg was there .* it has changed"):
        decoded(files[1:], tmp_path)
    assert not kept_files(tmp_path)


def no_folder(tmp_path):
    (tmp_path / "cache").write_text("a file")


def test_images_stay_in_memory_if_the_folder_cannot_be_written(tmp_path):
    no_folder(tmp_path)
    files = make_files(tmp_path / "photos", b"a")
    with pytest.warns(UserWarning, match="Nothing is kept in .*cache") as said:
        found = [decoded(files, tmp_path).rows for _ in range(2)]
    assert len(said) == 1
    np.testing.assert_array_equal(*found)


def test_images_stay_in_memory_if_the_disk_is_full(tmp_path):
    files = make_files(tmp_path / "photos", *(b"%d" % i for i in range(64)))
    with pytest.warns(UserWarning, match="Nothing is kept in"):
        with files_up_to(4000):
            found = decoded(files, tmp_path)
    assert len(found.rows) == 64
    assert not kept_files(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_disk_that_is_full_at_the_last_byte_leaves_nothing(
    tmp_path, monkeypatch, where, number
):
    monkeypatch.setattr(store, "_fits_in_memory", lambda _: where == "memory")
    files = make_files(tmp_path / "photos", b"a", b"damaged")

    def fail(file):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", fail)
        if where == "memory":
            with pytest.warns(UserWarning, match="Nothing is kept in"):
                found = decoded(files, tmp_path)
            assert len(found.rows) == len(found.failed) == 1
        else:
            why = re.escape(os.strerror(number))
            with pytest.raises(ValueError, match=f"cannot be kept.*{why}"):
                decoded(files, tmp_path)
        assert not kept_files(tmp_path)
    assert len(decoded(files, tmp_path).rows) == 1
    assert len(kept_files(tmp_path)) == 1


def test_too_many_images_for_the_disk_are_an_error(
    tmp_path, on_disk, monkeypatch
):
    files = make_files(tmp_path / "photos", *(b"%d" % i for i in range(64)))
    with pytest.raises(ValueError, match="The photos are .* Choose a smaller"):
        with files_up_to(4000):
            decoded(files, tmp_path)
    assert not kept_files(tmp_path)
    usage = SimpleNamespace(free=64 * 6 * 8 * 3 - 1)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match="No space left on device"):
        decoded(files, tmp_path, no_decoding)


def test_too_many_images_without_a_folder_are_an_error(tmp_path, on_disk):
    no_folder(tmp_path)
    files = make_files(tmp_path / "photos", b"a")
    with pytest.raises(ValueError, match="cannot be kept in .* `cache_dir`"):
        decoded(files, tmp_path, no_decoding)


def test_two_may_decode_the_same_photos_at_once(tmp_path, on_disk):
    files = make_files(tmp_path / "photos", b"a", b"b")
    both_decode = threading.Barrier(2, timeout=waiting.SECONDS)
    found = []

    def work():
        decoder = Decoder()

        def decode(content, **arguments):
            if not decoder.contents:
                both_decode.wait()
            return decoder(content, **arguments)

        found.append(decoded(files[:1], tmp_path, decode).rows)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(*found)
    (name,) = kept_files(tmp_path)
    assert name.endswith(".npy")


PROCESS = """
    import os, pathlib, signal, sys, time, types
    from gdtrain.images import cache, parallel, store
    from tests.images.test_store import Decoder

    decoder = Decoder()

    def kill(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    def decode(content, **arguments):
        if content == b"killed" and {step!r} == "decoding":
            kill()
        return decoder(content, **arguments)

    if {step!r} == "writing":
        cache.json = types.SimpleNamespace(dumps=kill)
    store._fits_in_memory = lambda size_bytes: {in_memory}
    parallel._ITEMS = 1
    store._PART_BYTES = 6 * 8 * 3
    files = [types.SimpleNamespace(path=p, digest=d) for p, d in {files}]
    for _ in range({times}):
        started = pathlib.Path({cache!r}).with_name(f"started {{os.getpid()}}")
        started.touch()
        while len(list(started.parent.glob("started *"))) < {processes}:
            time.sleep(0.01)
        found = store.decoded(
            files, size=(6, 8), decode=decode, cache_dir={cache!r}
        )
    print(store.hashlib.sha256(found.rows).hexdigest(), len(decoder.contents))
"""


def start(tmp_path, files, in_memory, step="", processes=1, times=1):
    """Starts a process that decodes files, together with other processes."""
    code = textwrap.dedent(PROCESS).format(
        files=[(file.path, file.digest) for file in files],
        cache=str(tmp_path / "cache"),
        in_memory=in_memory,
        step=step,
        processes=processes,
        times=times,
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "step, in_memory",
    [("decoding", False), ("writing", False), ("writing", True)],
)
def test_what_a_killed_process_leaves_is_not_read(tmp_path, step, in_memory):
    contents = [b"%d" % i for i in range(20)] + [b"killed"]
    files = make_files(tmp_path / "photos", *contents)
    process = start(tmp_path, files, in_memory, step)
    process.communicate(timeout=waiting.SECONDS)
    assert process.returncode == -signal.SIGKILL
    (part,) = kept_files(tmp_path)
    assert part.endswith(".part")
    decoder = Decoder()
    found = decoded(files, tmp_path, decoder)
    assert len(found.rows) == len(decoder.contents) == 21
    for content, image in zip(contents, found.rows, strict=True):
        wanted = Decoder()(content, size=SIZE, channels=3, fit="")
        np.testing.assert_array_equal(image, wanted)


@pytest.mark.long
@pytest.mark.parametrize("in_memory", [True, False])
def test_processes_may_decode_the_same_photos_at_once(tmp_path, in_memory):
    contents = [b"%d" % i for i in range(300)] + [b"damaged"]
    files = make_files(tmp_path / "photos", *contents)
    processes = [
        start(tmp_path, files[100 * i :], in_memory, processes=3, times=2)
        for i in range(2)
    ]
    processes.append(start(tmp_path, files, in_memory, processes=3, times=2))
    for process, first in zip(processes, (0, 100, 0), strict=True):
        shown, _ = process.communicate(timeout=waiting.SECONDS)
        digest, count = shown.split()
        alone = decoded(
            files[first:], tmp_path, no_decoding
        )  # All of it is kept.
        assert hashlib.sha256(alone.rows).hexdigest() == digest
        assert len(alone.rows) == 300 - first
        assert int(count) <= 301 - first  # Each decodes a content once.
    assert all(name.endswith(".npy") for name in kept_files(tmp_path))


def test_unfinished_files_are_deleted_after_a_day(tmp_path):
    files = make_files(tmp_path / "photos", b"a", b"b")
    (tmp_path / "cache").mkdir()
    part = tmp_path / "cache" / "tmp1234.part"
    part.write_bytes(b"half")
    decoded(files, tmp_path)
    assert part.exists()  # It may still be written.
    old = time.time() - 2 * 24 * 3600
    os.utime(part, (old, old))
    decoded(make_files(tmp_path / "photos", b"c"), tmp_path)
    assert not part.exists()


def test_an_error_of_the_decoder_is_raised(tmp_path, on_disk):
    files = make_files(tmp_path / "photos", b"a", b"b")

    def decode(content, **arguments):
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        decoded(files, tmp_path, decode)
    assert not kept_files(tmp_path)


def test_memory_is_shared_with_all_else():
    assert store._fits_in_memory(2**20)
    assert not store._fits_in_memory(2**50)


def test_arrays_are_made_once(tmp_path):
    made = {
        "features": np.random.default_rng(0).normal(size=[3, 4]),
        "small": np.float16([1, np.nan]),
        "none": np.empty([0, 7], "int32"),
    }
    folder = tmp_path / "cache"
    for make in (lambda: made, no_decoding):
        found = store.kept("key", make, cache_dir=folder)
        assert found.keys() == made.keys()
        for name, array in found.items():
            assert array.dtype == made[name].dtype
            np.testing.assert_array_equal(array, made[name])
    other = store.kept(
        "other key", lambda: {"a": made["none"]}, cache_dir=folder
    )
    assert list(other) == ["a"]


@pytest.mark.parametrize(
    "change", [lambda c: b"", lambda c: c[:-1], lambda c: c.replace(b"7", b"8")]
)
def test_damaged_arrays_are_made_again(tmp_path, change):
    folder = tmp_path / "cache"
    made = {"a": np.frombuffer(b"7" * 100, np.uint8)}
    store.kept("key", lambda: made, cache_dir=folder)
    path = folder / kept_files(tmp_path)[0]
    path.write_bytes(change(path.read_bytes()))
    again = store.kept("key", lambda: made, cache_dir=folder)
    np.testing.assert_array_equal(again["a"], made["a"])


def test_arrays_are_made_if_they_cannot_be_kept(tmp_path):
    no_folder(tmp_path)
    with pytest.warns(UserWarning, match="Nothing is kept"):
        found = store.kept(
            "key", lambda: {"a": np.ones(1)}, cache_dir=tmp_path / "cache"
        )
    assert found["a"] == 1


def test_the_cache_folder_follows_the_system(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.folder() == "/caches/gdtrain"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache.folder() == "/home/ada/.cache/gdtrain"
    assert cache.folder("~/mine") == "/home/ada/mine"


def rows_of(digests, tmp_path, made=None, **arguments):
    """Rows of the ASCII code of a letter; "x" has none."""

    def make(positions, rows):
        assert rows.shape == (len(positions), 2) and rows.dtype == "float32"
        for i, row in zip(positions, rows, strict=True):
            row[:] = ord(digests[i])
        if made is not None:
            made.extend(digests[i] for i in positions)
        return {i: "an x" for i in positions if digests[i] == "x"}

    kept = {"kind": "codes", "shape": (2,), "dtype": "float32"}
    return store.kept_rows(
        digests, make, **kept, cache_dir=tmp_path / "cache", **arguments
    )


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("part_bytes", [8, 24, 1000])
def test_only_new_rows_are_made(tmp_path, monkeypatch, where, part_bytes):
    monkeypatch.setattr(store, "_fits_in_memory", lambda _: where == "memory")
    monkeypatch.setattr(store, "_PART_BYTES", part_bytes)
    for digests, expected in (
        ("abxc", "abxc"),
        ("cab", ""),
        ("cdxa", "d"),
        ("dcba", ""),
        ("x", ""),
        ("", ""),
    ):
        made = []
        found = rows_of(digests, tmp_path, made)
        codes = [ord(letter) for letter in digests if letter != "x"]
        assert found.rows.shape == (len(codes), 2)
        assert found.rows.dtype == "float32"
        assert found.rows[:, 1].tolist() == codes
        assert found.failed == {"x": "an x" for _ in range("x" in digests)}
        assert made == list(expected)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_the_same_content_may_come_twice(tmp_path, monkeypatch, where):
    monkeypatch.setattr(store, "_fits_in_memory", lambda _: where == "memory")
    for _ in range(2):
        found = rows_of("abxaxb", tmp_path)
        assert "".join(chr(int(code)) for code in found.rows[:, 0]) == "abab"
        assert found.failed == {"x": "an x"}


def test_maps_of_a_growing_collection_are_replaced(tmp_path, on_disk):
    contents = [b"a", b"b", b"damaged", b"c", b"d"]
    files = make_files(tmp_path / "photos", *contents)
    small = decoded(files[:3], tmp_path).rows
    before = small.copy()
    decoded(files[3:4], tmp_path, size=(3, 4))  # Of another size
    whole = decoded(files, tmp_path).rows
    assert len(kept_files(tmp_path)) == 2
    np.testing.assert_array_equal(small, before)
    for _ in range(2):  # A part that is needed later is kept beside it.
        decoded(files[1:], tmp_path, no_decoding)
        again = decoded(files, tmp_path, no_decoding)
        np.testing.assert_array_equal(again.rows, whole)
    assert len(kept_files(tmp_path)) == 3


def test_what_is_added_takes_no_more_room_than_itself(tmp_path):
    digests = [chr(code) for code in range(100, 1100)]
    rows_of(digests, tmp_path)
    (before,) = kept_files(tmp_path)
    rows_of([*digests, "A"], tmp_path)
    (added,) = {*kept_files(tmp_path)} - {before}
    assert os.path.getsize(tmp_path / "cache" / added) < 1000


def test_packs_of_another_shape_are_left_alone(tmp_path):
    assert cache.read_pack(str(tmp_path / "none.npy")) is None
    np.save(tmp_path / "photos.npy", np.zeros([2, 3, 4, 3], "uint8"))
    assert cache.read_pack(str(tmp_path / "photos.npy")) is None
