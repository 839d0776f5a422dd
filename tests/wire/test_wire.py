"""Plain data as bytes: what comes back, that it has one form, and that hostile bytes are only an error."""

from __future__ import annotations

import hashlib
import math
import struct
import time
import tracemalloc
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from confrere import wire
from confrere.errors import WireError

SETTINGS = settings(max_examples=300, deadline=None, derandomize=True)
PREFIX = struct.Struct("<8sII")
DTYPES = ["<f8", "<i8", "<u8", "?", "u1"]

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), SHAPES))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6)
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
MESSAGE = wire.pack({"args": (1, 2.5, "x"), "beta": np.arange(5.0), "mask": np.array([True, False, True])})


def same(a: Any, b: Any) -> bool:
    """Equal in type and bits: True, 1 and 1.0 differ, NaN equals NaN, -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)


# What comes back


@SETTINGS
@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert same(wire.unpack(wire.pack(value)), value)


@SETTINGS
@given(VALUES, VALUES)
@example(True, 1)
@example(1, 1.0)
@example(0.0, -0.0)
@example("a", b"a")
@example((), {})
@example((1, 2), ((1, 2),))
@example(np.zeros(3), np.zeros((3, 1)))
@example(np.zeros(1), np.zeros(1, np.int64))
@example(np.zeros((0, 3)), np.zeros((3, 0)))
@example((np.zeros(2), np.ones(2)), (np.ones(2), np.zeros(2)))
def test_two_values_have_the_same_bytes_only_if_they_are_the_same(a: Any, b: Any) -> None:
    assert (wire.pack(a) == wire.pack(b)) == same(a, b)
    assert (wire.digest(a) == wire.digest(b)) == same(a, b)


@SETTINGS
@given(VALUES, VALUES)
def test_a_part_encoded_beforehand_gives_the_bytes_of_its_value(a: Any, b: Any) -> None:
    part, other = wire.Part(a), wire.Part(b)
    for _ in range(2):
        assert wire.pack({"x": (part, b, {"z": other}), "y": part}) == wire.pack({"x": (a, b, {"z": b}), "y": a})


def test_the_same_value_always_has_the_same_bytes() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    assert wire.pack({"b": 1, "a": 2}) == wire.pack({"a": 2, "b": 1})
    assert wire.pack([1, [2]]) == wire.pack((1, (2,)))
    assert wire.pack(np.asfortranarray(grid)) == wire.pack(grid)
    assert wire.pack(np.repeat(grid, 2, axis=1)[:, ::2]) == wire.pack(grid)
    assert wire.pack(grid.astype(">f8")) == wire.pack(grid)
    assert wire.pack(np.array([2, 0], np.uint8).view(bool)) == wire.pack(np.array([True, False]))
    assert wire.pack(-math.nan) == wire.pack(math.nan)
    assert wire.digest(grid) == hashlib.sha256(wire.pack(grid)).digest()


def test_the_bytes_are_pinned() -> None:
    """A message written today is read by every later package of this version."""
    value = {"b": np.array([1, 2], np.uint8), "a": (True, 1, 1.5, None, "é", b"x")}
    assert wire.pack(value) == bytes.fromhex(
        "636f6e6672657265 01000000 24000000 "  # confrere, version, length of the header
        "82 a161 96 c3 01 cb3ff8000000000000 c0 a2c3a9 c40178 "
        "a162 c70901 04 0200000000000000 00000000 "  # extension 1: uint8, shape (2,); zeros to 8
        "0102 000000000000"
    )


class Point(NamedTuple):
    x: float
    n: int


def test_named_tuples_lists_and_numpy_scalars_come_back_as_plain_data() -> None:
    assert wire.unpack(wire.pack(Point(1.5, 2))) == (1.5, 2)
    back = wire.unpack(wire.pack([np.float64(1.5), np.int64(2), np.bool_(True), np.uint64(2**64 - 1)]))
    assert same(back, (1.5, 2, True, 2**64 - 1))


def test_arrays_come_back_read_only_aligned_and_in_c_order() -> None:
    value = (
        np.ones(3, bool),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.ones(3, np.uint8),
        np.array(7),
        np.zeros((0, 2)),
    )
    for array in wire.unpack(wire.pack(value)):
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert not array.flags.writeable


# What cannot be sent


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**64, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        ("\ud800", "not Unicode"),
        (1j, "a complex cannot"),
        ({1, 2}, "a set cannot"),
        ({1: 2}, "keys must be text"),
        (Colour.RED, "a Colour cannot"),
        (print, "cannot be sent"),
        (np.array([object()]), "type object cannot"),
        (np.zeros(2, np.float32), "type float32 cannot"),
        (np.array(["a"]), "type <U1 cannot"),
        (np.zeros(2, [("a", "<f8")]), "cannot be sent"),
        (np.float32(1), "type float32 cannot"),
        (np.ma.masked_array([1.0], [True]), "a MaskedArray cannot"),
        (np.zeros((1,) * 9), "more than 8 dimensions"),
        (np.empty((0, 2**59, 2), np.uint8).reshape(0, 2**62), "beyond any bound"),
        ([np.zeros(0)] * 16385, "more than 16384 arrays"),
        ("x" * (wire.HEADER_LIMIT + 1), "use arrays"),
    ],
)
def test_what_cannot_be_sent_is_named(value: object, message: str) -> None:
    with pytest.raises(WireError, match=message):
        wire.pack({"value": value})


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = (value,)
    return value


def test_depth_is_bounded_on_both_sides() -> None:
    deepest = nested(wire.DEPTH_LIMIT)
    assert wire.unpack(wire.pack(deepest)) == deepest
    endless: list[object] = []
    endless.append(endless)
    for value in (nested(wire.DEPTH_LIMIT + 1), endless):
        with pytest.raises(WireError, match="deeper than 32"):
            wire.pack(value)
    for depth in (wire.DEPTH_LIMIT + 1, 900, 500_000):
        with pytest.raises(WireError, match=r"deeper than 32|not MessagePack"):
            wire.unpack(message_of(b"\x91" * depth + b"\x01"))


def test_parts_are_bounded_too() -> None:
    part = wire.Part((np.zeros(1),) * (wire.ARRAY_LIMIT // 2))
    wire.pack((part, part))
    with pytest.raises(WireError):
        wire.pack((part, part, part))
    deep: Any = wire.Part(1)
    for _ in range(wire.PART_DEPTH):
        deep = (deep,)
    wire.pack(deep)
    with pytest.raises(WireError):
        wire.pack((deep,))


def test_the_limit_holds_on_both_sides() -> None:
    value = np.zeros(1000)
    data = wire.pack(value, limit=8032)
    assert len(data) == 8032
    with pytest.raises(WireError, match="8032 bytes, and 8031 are allowed"):
        wire.pack(value, limit=8031)
    with pytest.raises(WireError, match="8032 bytes, and 8031 are allowed"):
        wire.unpack(data, limit=8031)


# Bytes that are no message


def message_of(header: bytes, buffers: bytes = b"", version: int = wire.VERSION, length: int | None = None) -> bytes:
    prefix = PREFIX.pack(b"confrere", version, len(header) if length is None else length)
    return prefix + header + bytes(-(len(prefix) + len(header)) % 8) + buffers


def reference(code: int, *shape: int) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(1, struct.pack(f"<B{len(shape)}Q", code, *shape)))


def refused(data: bytes) -> bool:
    """Whether the bytes give a WireError; if they give a value, then it is exactly the bytes' value."""
    try:
        value = wire.unpack(data)
    except WireError:
        return True
    assert wire.pack(value) == data
    return False


@SETTINGS
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert refused(data)


@SETTINGS
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_random_headers_and_arrays_give_a_value_with_these_bytes_or_an_error(header: bytes, rest: bytes) -> None:
    refused(message_of(header, rest))


@SETTINGS
@given(VALUES, st.data())
def test_changed_bits_give_another_value_or_an_error(value: Any, data: st.DataObject) -> None:
    packed = bytearray(wire.pack(value))
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, 8 * len(packed) - 1))
        packed[bit // 8] ^= 1 << bit % 8
    refused(bytes(packed))


def test_every_single_bit_of_a_message_matters() -> None:
    for bit in range(8 * len(MESSAGE)):
        changed = bytearray(MESSAGE)
        changed[bit // 8] ^= 1 << bit % 8
        refused(bytes(changed))


def test_every_cut_and_every_addition_is_refused() -> None:
    assert not refused(MESSAGE)
    for cut in range(len(MESSAGE)):
        assert refused(MESSAGE[:cut])
    for more in (b"\0", bytes(8), MESSAGE):
        assert refused(MESSAGE + more)
        assert refused(more + MESSAGE)


def test_another_version_is_named() -> None:
    with pytest.raises(WireError, match="version 2, and this package reads version 1"):
        wire.unpack(message_of(b"\x01", version=2))


@pytest.mark.parametrize(
    ("header", "buffers", "message"),
    [
        (reference(0, 3), bytes(16), "needs 24 bytes"),  # shorter than its shape says
        (reference(0, 1), bytes(16), "8 bytes follow"),  # longer
        (b"\x92" + reference(0, 1) * 2, bytes(8), "needs 8 bytes"),  # two arrays over one buffer
        (reference(0, 2**61), bytes(8), "beyond any bound"),
        (reference(0, 2**63, 2**63), bytes(8), "beyond any bound"),
        (reference(0, 0, 2**63), b"", "beyond any bound"),
        (reference(0, 2**40), bytes(8), "needs"),
        (reference(9, 1), bytes(8), "not an array"),
        (reference(0, *[1] * 9), bytes(8), "not an array"),
        (msgspec.msgpack.encode(msgspec.msgpack.Ext(2, b"\0")), b"", "not an array"),
        (msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"")), b"", "not an array"),
        (msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"\0abc")), b"", "not an array"),
        (reference(3, 2), b"\x01\x02" + bytes(6), "neither 0 nor 1"),
        (reference(4, 2), b"\x01\x02\x03" + bytes(5), "between two arrays are not zero"),
        (b"\xdc\x40\x01" + reference(4, 0) * 16385, b"", "more than 16384 arrays"),
        (b"\x82\xa1b\x01\xa1a\x02", b"", "not in order"),
        (b"\x82\xa1a\x01\xa1a\x02", b"", "canonical"),  # one key twice
        (b"\x81\x01\x02", b"", "keys must be text"),
        (b"\x81\x90\x01", b"", "keys must be text"),
        (b"\xcd\x00\x01", b"", "canonical"),  # 1 in more bytes than it needs
        (b"\xca\x3f\x80\x00\x00", b"", "canonical"),  # 1.0 in 32 bits
        (b"\xcb\xff\xf8" + bytes(6), b"", "canonical"),  # another NaN
        (b"\x92\xcb" + bytes(8) + b"\xcb\xff\xf8" + bytes(6), b"", "canonical"),  # the same among numbers
        (b"\xd9\x01a", b"", "canonical"),
        (b"\xd6\xff\x00\x00\x00\x00", b"", "datetime in the header"),
        (b"\xa1\xff", b"", "not MessagePack"),
        (b"\xc1", b"", "not MessagePack"),
        (b"\x01\x02", b"", "not MessagePack"),
        (b"", b"", "not MessagePack"),
    ],
)
def test_a_wrong_header_is_refused_by_its_rule(header: bytes, buffers: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message):
        wire.unpack(message_of(header, buffers))


def test_a_wrong_frame_is_refused_by_its_rule() -> None:
    with pytest.raises(WireError, match="cut off"):
        wire.unpack(message_of(b"\x01", length=100))
    with pytest.raises(WireError, match="over the bound"):
        wire.unpack(message_of(bytes(wire.HEADER_LIMIT + 8)))
    with pytest.raises(WireError, match="header and arrays are not zero"):
        wire.unpack(message_of(b"\x01")[:-1] + b"\x01")
    with pytest.raises(WireError, match="do not begin like"):
        wire.unpack(b"\x80\x04\x95" + bytes(40))  # a pickle


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",  # 4 billion items
        b"\xdd\x0f\xff\xff\xff\x01",
        b"\xdf\x0f\xff\xff\xff\xa1a",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdd\x00\x01\x00\x00" * 1000,
        reference(0, 2**36),
    ],
)
def test_a_lie_about_size_allocates_nothing(header: bytes) -> None:
    tracemalloc.start()
    try:
        assert refused(message_of(header))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_arrays_are_read_without_copying() -> None:
    """A message of 32 MB is read in the time of a header: its arrays lie over its own bytes."""
    data = wire.pack(np.zeros(4 << 20))
    started = time.perf_counter()
    array = wire.unpack(data)
    assert time.perf_counter() - started < 0.1
    assert not array.flags.owndata
