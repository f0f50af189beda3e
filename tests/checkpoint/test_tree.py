"""Trees come back bit for bit."""

import collections
import enum
import io
import json
import math
import random
import struct

import ml_dtypes
import numpy as np
import pytest

from gdtrain.checkpoint.files import pack, unpack

SMALL = sorted(
    name
    for name, thing in vars(ml_dtypes).items()
    if isinstance(thing, type) and name not in ("finfo", "iinfo")
)
DTYPES = [*"?bhilqBHILQefdgFDG", ">f4", ">i8", *SMALL]


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def through_files(tree):
    """The tree after a way through the bytes of JSON and of an npz file."""
    packed, arrays = pack(tree)
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as read:
        return unpack(
            json.loads(json.dumps(packed, allow_nan=False)), dict(read)
        )


def assert_same(left, right):
    """Equal in types, order and bits."""
    if not isinstance(right, np.generic):  # longlong is int64 by its dtype.
        assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        assert_same(list(left.values()), list(right.values()))
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, (np.ndarray, np.generic)):
        assert isinstance(left, np.ndarray) == isinstance(right, np.ndarray)
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        if left.dtype.char in "gG":  # Some of their bytes mean nothing.
            np.testing.assert_array_equal(left, right)
        else:
            assert left.tobytes() == right.tobytes()
    elif isinstance(left, float):
        assert struct.pack(">d", left) == struct.pack(">d", right)
    else:
        assert left == right


def random_array(source):
    dtype = dtype_of(source.choice(DTYPES))
    shape = [source.randrange(4) for _ in range(source.randrange(4))]
    size = math.prod(shape) * dtype.itemsize
    if dtype.char in "?gG" or dtype.name in SMALL:
        # Not each pattern of bits is a value of these.
        values = [source.randrange(2) for _ in range(math.prod(shape))]
        return np.array(values).reshape(shape).astype(dtype)
    return np.frombuffer(source.randbytes(size), dtype).reshape(shape)


def random_float(source):
    bits = source.choice([source.randbytes(8), b"\x7f\xf8" + b"\0" * 6])
    return struct.unpack(">d", bits)[0]


def random_tree(source, depth=4):
    leaves = [
        lambda: None,
        lambda: source.random() < 0.5,
        lambda: source.getrandbits(source.choice([4, 64, 65, 999])),
        lambda: -source.getrandbits(source.choice([4, 64, 65, 999])),
        lambda: random_float(source),
        lambda: "".join(map(chr, source.choices(range(0x11000), k=4))),
        lambda: random_array(source),
        lambda: np.zeros(1, dtype_of(source.choice(DTYPES)))[0],
        lambda: np.float32(source.random()),
    ]
    if not depth or source.random() < 0.3:
        return source.choice(leaves)()
    items = [random_tree(source, depth - 1) for _ in range(source.randrange(5))]
    names = ["%kind", "items", "array", "a/b", "", "0", "file"]
    names = source.sample(names, len(items))
    return source.choice([list, tuple, lambda x: dict(zip(names, x))])(items)


@pytest.mark.parametrize("seed", range(10))
def test_random_trees_come_back(seed):
    source = random.Random(seed)
    for _ in range(30):
        tree = random_tree(source)
        assert_same(through_files(tree), tree)


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_and_scalars_keep_their_dtype(name):
    ones = np.ones([2, 3], dtype_of(name))
    zero_dimensional = ones[0, 0, ...]
    columns, every_other = np.asfortranarray(ones), ones[:, ::2]
    tree = [ones, zero_dimensional, columns, every_other, ones[0, 0], ones[:0]]
    came = through_files(tree)
    assert_same(came, tree)
    assert type(came[1]) is np.ndarray
    came[0][0, 0] = 0  # It can be written to.


def test_bits_of_every_float_come_back():
    bits = "0000000000000001 8000000000000000 7fefffffffffffff 7ff8000000000abc"
    bits += " fff8000000000000 7ff0000000000000 fff0000000000000"
    floats = [struct.unpack(">d", bytes.fromhex(b))[0] for b in bits.split()]
    assert_same(through_files(floats), floats)


def test_bits_of_nan_in_arrays_come_back():
    bits = np.array([0x7FC00ABC, 0xFFC00001, 0x7F800001], np.uint32)
    array = bits.view(np.float32)
    came = through_files({"array": array, "scalar": array[1]})
    np.testing.assert_array_equal(came["array"].view(np.uint32), bits)
    assert came["scalar"].tobytes() == array[1].tobytes()


def test_every_bfloat16_comes_back():
    array = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    assert_same(through_files([array]), [array])


def test_integers_of_any_size_come_back():
    sizes = [63, 64, 65, 15_000]  # 15,000 bits are 4516 digits.
    numbers = [sign * 2**size for sign in (1, -1) for size in sizes]
    assert_same(through_files(numbers), numbers)


def test_dicts_that_look_like_marks_come_back():
    mark = {"%kind": "array", "array": "0"}
    trees = [mark, {"%kind": mark}, {"%kind": {"%kind": "dict", "items": 1}}]
    assert_same(through_files(trees), trees)


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("bad", "received"),
    [
        ({1}, "type set"),
        (b"x", "type bytes"),
        (1j, "type complex"),
        (Color.RED, "type Color"),
        (collections.OrderedDict(), "type OrderedDict"),
        (np.array(["x"]), "type ndarray of dtype <U1"),
        (np.array([b"x"]), "type ndarray of dtype |S1"),
        (np.array([{}]), "type ndarray of dtype object"),
        (np.zeros(1, [("x", "f4")]), "dtype [('x', '<f4')]"),
        (np.datetime64("2020"), "type datetime64 of dtype datetime64[Y]"),
        (np.str_("x"), "type str_ of dtype <U1"),
        (np.ma.zeros(1), "type MaskedArray"),
        ({1: 2}, "type dict with the key 1 of type int"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_types_are_refused_by_path_and_type(bad, received):
    with pytest.raises(TypeError) as caught:
        pack({"callbacks": ({"best": bad},)})
    assert "must be made of dicts with string keys" in str(caught.value)
    assert "Received: callbacks/0/best of " in str(caught.value)
    assert received in str(caught.value)


def test_bad_root_is_named():
    with pytest.raises(TypeError, match="Received: a state of type object"):
        pack(object())
