"""A checkpoint is read as it was written, or said to be damaged."""

import errno
import hashlib
import io
import json
import os
import pickle
import stat
import sys
import zipfile

import numpy as np
import pytest

from gdtrain.checkpoint import files, manifest
from gdtrain.checkpoint.manifest import Damaged, WrongFormat
from tests.checkpoint.damage import files_of, state

FILES = ["arrays.npz", "manifest.json", "state.json"]


@pytest.fixture(name="checkpoint")
def _checkpoint(tmp_path):
    folder = tmp_path / "runs" / "step-000000000001"
    files.write(folder, state(1))
    return folder


def sign(folder, **changes):
    """Writes the manifest again, with changes, as if nothing were wrong."""
    (folder / "manifest.json").unlink(missing_ok=True)
    names = [name for name in FILES[::2] if (folder / name).exists()]
    manifest.write(folder, names)
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    text = json.dumps(content | changes)[1:]
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f'{{"sha256": "{digest}",\n{text}')


def test_all_is_read_as_it_was_written(checkpoint):
    tree = files.read(str(checkpoint))
    assert tree["step"] == 1
    np.testing.assert_array_equal(tree["weights"][0], np.ones(3, np.float32))
    assert files_of(checkpoint) == FILES
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def test_manifest_is_json_with_sizes_and_hashes(checkpoint):
    content = json.loads((checkpoint / "manifest.json").read_text())
    assert content["format"] == manifest.FORMAT
    assert sorted(content["files"]) == [n for n in FILES if n[:3] != "man"]
    for name, measured in content["files"].items():
        data = (checkpoint / name).read_bytes()
        assert measured["size"] == len(data)
        assert measured["sha256"] == hashlib.sha256(data).hexdigest()


def test_no_arrays_are_fine(tmp_path):
    files.write(tmp_path / "a", None)
    assert files.read(tmp_path / "a") is None


def test_files_that_came_later_do_not_matter(checkpoint):
    (checkpoint / ".DS_Store").write_text("text")
    assert files.read(checkpoint)["step"] == 1


def test_hash_is_over_all_pieces_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "_PIECE", 7)
    files.write(tmp_path / "a", state(1))
    monkeypatch.undo()
    files.read(tmp_path / "a")


@pytest.mark.parametrize("name", FILES)
def test_cut_file_is_damage(checkpoint, name):
    data = (checkpoint / name).read_bytes()
    for size in (0, 1, len(data) // 2, len(data) - 1):
        (checkpoint / name).write_bytes(data[:size])
        change = "cut" if name == "manifest.json" else "shorter"
        with pytest.raises(Damaged, match=f"{checkpoint}/{name} .*{change}"):
            files.read(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bit_is_damage(checkpoint, name):
    data = (checkpoint / name).read_bytes()
    for place in range(0, len(data), max(1, len(data) // 50)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        (checkpoint / name).write_bytes(changed)
        with pytest.raises(Damaged, match=f"{checkpoint}/{name} .*changed"):
            files.read(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_damage(checkpoint, name):
    (checkpoint / name).unlink()
    with pytest.raises(Damaged, match=f"{checkpoint}/{name} is missing"):
        files.read(checkpoint)
    (checkpoint / name).mkdir()
    with pytest.raises(Damaged, match=f"{checkpoint}/{name} is missing"):
        files.read(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_longer_file_is_damage(checkpoint, name):
    with open(checkpoint / name, "ab") as file:
        file.write(b"x")
    with pytest.raises(Damaged, match=f"{checkpoint}/{name} "):
        files.read(checkpoint)


def test_missing_folder_is_damage(tmp_path):
    with pytest.raises(Damaged, match="manifest.json is missing"):
        files.read(tmp_path / "none")


@pytest.mark.parametrize("name", ["arrays.npz", "state.json"])
@pytest.mark.parametrize("content", [b"", b"text", b"[", b"PK\3\4", b'"\xff'])
def test_signed_nonsense_is_damage(checkpoint, name, content):
    (checkpoint / name).write_bytes(content)
    sign(checkpoint)
    with pytest.raises(Damaged, match=f"{name} cannot be understood"):
        files.read(checkpoint)


@pytest.mark.parametrize(
    "state_text",
    [
        '{"%kind": "array", "array": "99"}',
        '{"%kind": "array", "array": "0", "dtype": "system"}',
        '{"%kind": "array", "array": "0", "dtype": "float99"}',
        '{"%kind": "function"}',
        "[" * 10**5,
    ],
)
def test_signed_marks_of_nothing_are_damage(checkpoint, state_text):
    (checkpoint / "state.json").write_text(state_text)
    sign(checkpoint)
    with pytest.raises(Damaged, match="state.json cannot be understood"):
        files.read(checkpoint)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"files": {"state.json": {}}},
        {"files": {"state.json": 5}},
        {"format": None},
        {"format": "1"},
    ],
)
def test_signed_manifest_of_nothing_is_damage(checkpoint, changes):
    sign(checkpoint, **changes)
    with pytest.raises(Damaged, match="manifest.json is no manifest"):
        files.read(checkpoint)


def test_files_that_the_manifest_must_name_are_needed(checkpoint):
    (checkpoint / "state.json").unlink()
    sign(checkpoint)
    with pytest.raises(Damaged, match="manifest.json is no manifest"):
        files.read(checkpoint)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_reading_runs_no_code(checkpoint, tmp_path):
    trap = tmp_path / "trap"
    pickle.loads(pickle.dumps(Trap(str(trap))))
    assert trap.exists()  # So the trap does work.
    trap.rmdir()
    array = np.array([Trap(str(trap))])
    np.savez(checkpoint / "arrays.npz", **{"0": array})
    sign(checkpoint)
    with pytest.raises(Damaged, match="arrays.npz .*dtype object"):
        files.read(checkpoint)
    (checkpoint / "arrays.npz").write_bytes(pickle.dumps(Trap(str(trap))))
    sign(checkpoint)
    with pytest.raises(Damaged, match="arrays.npz"):
        files.read(checkpoint)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("number", "remedy"), [(1, "Delete it to train"), (99, "Update gdtrain.")]
)
def test_another_format_is_not_damage(checkpoint, number, remedy):
    sign(checkpoint, format=number, files="of another form")
    (checkpoint / "state.json").unlink()
    with pytest.raises(WrongFormat) as caught:
        files.read(checkpoint)
    ours = f"format {manifest.FORMAT} to be read"
    for part in (ours, str(checkpoint), f"of format {number}.", remedy):
        assert part in str(caught.value)


def test_damaged_other_format_is_damage(checkpoint):
    sign(checkpoint, format=99)
    text = (checkpoint / "manifest.json").read_text()
    (checkpoint / "manifest.json").write_text(text.replace("2", "3", 1))
    with pytest.raises(Damaged):
        files.read(checkpoint)


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EIO, Damaged), (errno.EACCES, OSError)]
)
def test_disk_error_is_damage_and_a_lack_of_rights_is_not(
    checkpoint, monkeypatch, number, expected
):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(manifest, "_measured", fail)
    with pytest.raises(expected) as caught:
        files.read(checkpoint)
    assert type(caught.value) in (Damaged, PermissionError)


def test_lack_of_memory_is_not_damage(checkpoint, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", fail)
    with pytest.raises(MemoryError):
        files.read(checkpoint)


def test_bad_tree_leaves_the_old_one(checkpoint):
    with pytest.raises(TypeError, match="Received: bad of type set"):
        files.write(checkpoint, {"bad": set()})
    assert files.read(checkpoint)["step"] == 1
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def test_leftovers_of_a_killed_process_are_replaced(checkpoint):
    for ending in (".part", ".old"):
        left = checkpoint.with_name(checkpoint.name + ending)
        left.mkdir()
        (left / "text").write_text("text")
    files.write(checkpoint, state(2))
    assert files.read(checkpoint)["step"] == 2
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


@pytest.mark.parametrize("what", ["fsync", "open"])
def test_folder_that_cannot_be_synced_is_left_to_the_system(
    tmp_path, monkeypatch, what
):
    function, refused = getattr(os, what), []

    def refuse_folders(file, *args, **kwargs):
        if stat.S_ISDIR(os.stat(file).st_mode):
            refused.append(file)
            raise OSError(errno.EINVAL, "Invalid argument")
        return function(file, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, what, refuse_folders)
        files.write(tmp_path / "a", state(1))
    assert len(refused) == 2  # The new one and the one above
    assert files.read(tmp_path / "a")["step"] == 1


def test_file_that_cannot_be_synced_is_an_error(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.write(tmp_path / "a", state(1))
    assert os.listdir(tmp_path) == []


def npz(path, **members):
    """Writes a zip file of bytes by name, not compressed."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def header(shape, descr="<f4"):
    """What comes before the numbers of an array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"shape": shape, "fortran_order": False, "descr": descr}
    )
    return file.getvalue()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["pipe", "link", "link to nothing"])
def test_no_file_but_a_plain_one_is_opened(checkpoint, tmp_path, name, what):
    path = checkpoint / name
    path.rename(tmp_path / "moved")
    if what == "pipe":
        os.mkfifo(path)  # Opening it would wait for ever.
    else:
        target = "moved" if what == "link" else "none"
        path.symlink_to(tmp_path / target)
    with pytest.raises(Damaged, match=f"{path} must be a plain file"):
        files.read(checkpoint)


@pytest.mark.parametrize("what", ["pipe", "link", "file", "folder"])
def test_what_the_manifest_does_not_name_is_refused(checkpoint, what):
    path = checkpoint / "more"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("/")
    elif what == "file":
        path.write_text("text")
    else:
        path.mkdir()
    with pytest.raises(Damaged, match=str(path)):
        files.read(checkpoint)


def test_link_to_a_checkpoint_is_refused(checkpoint):
    link = checkpoint.with_name("step-000000000009")
    link.symlink_to(checkpoint)
    with pytest.raises(Damaged, match="symbolic link"):
        files.read(link)


DIGEST = {"sha256": "0" * 64}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": float("nan")},
        {"format": True},
        {"format": 0.5},
        {"format": -1},
        {"files": {"../state.json": {"size": 1} | DIGEST}},
        {"files": {"/etc/passwd": {"size": 1} | DIGEST}},
        {"files": {"a//b": {"size": 1} | DIGEST}},
        {"files": {"a\\b": {"size": 1} | DIGEST}},
        {"files": {"state.json": {"size": -1} | DIGEST}},
        {"files": {"state.json": {"size": 1.0} | DIGEST}},
        {"files": {"state.json": {"size": 10**5000} | DIGEST}},
        {"files": {"state.json": {"size": 1, "sha256": "0"}}},
    ],
    ids=range(12),
)
def test_signed_manifest_of_no_files_is_damage(checkpoint, changes):
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)  # To write what is not to be read
    try:
        sign(checkpoint, **changes)
    finally:
        sys.set_int_max_str_digits(limit)
    with pytest.raises(Damaged, match="manifest.json is no manifest"):
        files.read(checkpoint)


def test_nothing_is_read_of_a_file_of_another_size(checkpoint, monkeypatch):
    sign(checkpoint)
    with open(checkpoint / "arrays.npz", "r+b") as file:
        file.truncate(2**40)  # Takes no room on the disk
    monkeypatch.setattr(manifest, "_measured", None)
    with pytest.raises(Damaged, match="arrays.npz is longer"):
        files.read(checkpoint)


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', '{"a": 1, "a": 2}']
    + ['{"a": ' + "9" * 5000 + "}", '{"a": ' * 10**5, "[" * 10**5],
    ids=range(7),
)
def test_signed_json_that_is_never_written_is_damage(checkpoint, text):
    (checkpoint / "state.json").write_text(text)
    sign(checkpoint)
    with pytest.raises(Damaged, match="state.json cannot be understood"):
        files.read(checkpoint)


ARRAYS = {
    "objects": {"0": header((1,), "|O") + b"x" * 8},
    "strings": {"0": header((1,), "<U2") + b"x" * 8},
    "more than there is": {"0": header((2**60,)) + b"x" * 8},
    "less than there is": {"0": header((1,)) + b"x" * 8},
    "negative": {"0": header((-1,)) + b"x" * 8},
    "nothing": {"0": b""},
    "unused": {"0": header((3,)) + b"x" * 12, "1": header((0,))},
}


@pytest.mark.parametrize("arrays", ARRAYS)
def test_signed_arrays_that_are_never_written_are_damage(checkpoint, arrays):
    npz(checkpoint / "arrays.npz", **ARRAYS[arrays])
    sign(checkpoint)
    with pytest.raises(Damaged, match="cannot be understood"):
        files.read(checkpoint)


def test_compressed_arrays_are_damage(checkpoint):
    np.savez_compressed(checkpoint / "arrays.npz", **{"0": np.zeros(9**7)})
    sign(checkpoint)
    with pytest.raises(Damaged, match="compressed"):
        files.read(checkpoint)


def test_bytes_between_arrays_are_damage(checkpoint):
    path = checkpoint / "arrays.npz"
    data = path.read_bytes()
    path.write_bytes(b"\0" * 5000 + data)  # Which `zipfile` skips
    sign(checkpoint)
    with pytest.raises(Damaged, match="what its arrays need"):
        files.read(checkpoint)


def test_state_that_is_too_large_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LARGEST", 100)
    with pytest.raises(ValueError, match="100 bytes .* into arrays"):
        files.write(tmp_path / "a", {"text": "x" * 100})
    files.write(tmp_path / "a", {"text": "x" * 80})
    monkeypatch.setattr(files, "_LARGEST", 80)
    with pytest.raises(Damaged, match="more than 80 bytes"):
        files.read(tmp_path / "a")
