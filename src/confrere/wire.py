"""Plain data and named arrays as bounded, canonical bytes.

    confrere | version u32 | header length u32 | header, zeros to 8 | array, zeros to 8 | array ... |

The header is MessagePack: None, booleans, integers, floats, text, bytes, tuples, and dicts with sorted
text keys. An array stands in it as an extension (type 1: a byte for the dtype, then its shape as u64
each), and its bytes follow the header, in the order in which the arrays stand in it. Offsets are not
written, so they cannot be wrong, overlap or leave gaps. All numbers are little-endian.

Canonical: a value has one form, and `unpack` refuses every other (it encodes the header again and
compares, and checks what that leaves open), so a digest of bytes is a digest of the value. True, 1 and
1.0 differ. A list is the same value as a tuple. Only data come out: no classes, no code.

Bounded: whole message, header, depth, arrays and dimensions; and no array is larger than the bytes
that are there. Whatever the bytes, `unpack` returns a value or raises WireError.
"""

from __future__ import annotations

import hashlib
import math
import struct
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from confrere.errors import WireError

VERSION: Final = 1
LIMIT: Final = 256 << 20  # bytes of a message, unless the caller says otherwise
HEADER_LIMIT: Final = 1 << 20  # bytes of the header: what is large belongs in an array
DEPTH_LIMIT: Final = 32  # tuples in dicts in tuples ...
ARRAY_LIMIT: Final = 1 << 14  # arrays in a message
NDIM_LIMIT: Final = 8
PART_DEPTH: Final = 4  # no part stands deeper in a message

_MAGIC: Final = b"confrere"
_PREFIX: Final = struct.Struct("<8sII")  # magic, version, header length
_ALIGNMENT: Final = 8
_NATIVE: Final = "<=|" if sys.byteorder == "little" else "<|"  # byte orders that need no change
_ARRAY: Final = 1  # MessagePack extension type
_DTYPES: Final = tuple(np.dtype(name) for name in ("<f8", "<i8", "<u8", "?", "u1"))  # place = code on the wire
_FLOATS: Final = frozenset([float])
_TEXT: Final = frozenset([str])
_LEAVES: Final = frozenset([str, int, bool, bytes, type(None)])  # most values, looked at first
_NAN: Final = struct.pack("<d", math.nan)
_NAMES: Final = "float64, int64, uint64, bool, uint8"

Array = NDArray[Any]


@cache
def release() -> str:
    """The release of this package, read once: a process that runs while another is installed is still of its own.

    Hospitals and coordinator must be of one: they follow the same flow, to the bit.
    """
    return version("confrere")


class Part:
    """A value that stands in many messages, encoded once: `pack` takes it for the value. WireError as `pack`."""

    def __init__(self, value: object) -> None:
        self.header, self.arrays = _encode(value, PART_DEPTH)


class Read:
    """What `unpack` gave, whose arrays nobody can write to: to a cache the same as long as it stands where it does."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Read) and self.value is other.value


def pack(value: object, *, limit: int = LIMIT) -> bytes:
    """The value as bytes, at most `limit` of them.

    Takes None, bool, int (-2^63 to 2^64 - 1), float, str, bytes, tuple (also named), list, dict with str
    keys, numpy scalars and arrays of float64, int64, uint64, bool or uint8. WireError for anything else.
    """
    header, arrays = _encode(value)
    buffers = [_bytes_of(array) for array in arrays]
    size = _padded(_PREFIX.size + len(header)) + sum(_padded(len(buffer)) for buffer in buffers)
    if size > limit:
        raise WireError(f"the message would have {size} bytes, and {limit} are allowed")
    parts: list[bytes | memoryview] = [_PREFIX.pack(_MAGIC, VERSION, len(header)) + header, *buffers]
    return b"".join(piece for part in parts for piece in (part, bytes(-len(part) % _ALIGNMENT)))


def unpack(data: bytes, *, limit: int = LIMIT) -> Any:
    """The value of `pack`: tuples for lists, arrays read-only, in C order, over the message's own bytes.

    WireError when the bytes are more than `limit`, of another version, or not exactly what `pack` gives.
    """
    if len(data) > limit:
        raise WireError(f"the message has {len(data)} bytes, and {limit} are allowed")
    data = bytes(data)
    header, at = _read_header(data)
    reader, tree = _Reader(data, at), _decode(header)
    value = reader.value(tree, 0)
    if reader.at != len(data):
        raise WireError(f"{len(data) - reader.at} bytes follow the last array of the message")
    if msgspec.msgpack.encode(tree) != header:
        raise WireError("the header is not in canonical form (order of keys, shortest numbers, one NaN)")
    return value


def digest(value: object) -> bytes:
    """SHA-256 (32 bytes) of the packed value: the same for the same value, on every machine."""
    return hashlib.sha256(pack(value)).digest()


def _encode(value: object, depth: int = 0) -> tuple[bytes, list[Array]]:
    """The header of a value, and its arrays in order."""
    arrays: list[Array] = []
    tree = _tree(value, arrays, depth)
    try:
        header = msgspec.msgpack.encode(tree)
    except (OverflowError, UnicodeEncodeError) as error:
        raise WireError(f"an integer is beyond 64 bits, or text is not Unicode: {error}") from error
    if len(header) > HEADER_LIMIT:
        raise WireError(f"{len(header)} bytes outside arrays, and {HEADER_LIMIT} are allowed: use arrays")
    return header, arrays


def _tree(value: object, arrays: list[Array], depth: int) -> object:
    """The value as MessagePack data; its arrays are appended to `arrays`."""
    if isinstance(value, np.generic):
        value = _scalar(value)
    if type(value) in _LEAVES:
        return value
    if type(value) is float:
        return value if value == value else math.nan  # one NaN: sign and payload mean nothing
    if isinstance(value, (tuple, list)):  # a union is slower to look through
        if _FLOATS.issuperset(map(type, value)):  # many numbers, such as coefficients, at once
            return [one if one == one else math.nan for one in value]
        _check_depth(depth)
        return [one if type(one) in _LEAVES else _tree(one, arrays, depth + 1) for one in value]
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)):
            raise WireError("a dict's keys must be text")
        _check_depth(depth if value else 0)
        items = ((key, value[key]) for key in sorted(value))
        return {key: one if type(one) in _LEAVES else _tree(one, arrays, depth + 1) for key, one in items}
    if type(value) is np.ndarray:
        return _reference(value, arrays)
    if type(value) is Part and depth <= PART_DEPTH and len(arrays) + len(value.arrays) <= ARRAY_LIMIT:
        arrays += value.arrays
        return msgspec.Raw(value.header)
    raise WireError(f"a {type(value).__name__} cannot be sent: only plain data and arrays can")


def _check_depth(depth: int) -> None:
    """WireError where what is in a tuple or a dict at this depth is too deep. Leaves are looked at in their loop."""
    if depth >= DEPTH_LIMIT:
        raise WireError(f"values are nested deeper than {DEPTH_LIMIT}")


def _scalar(value: np.generic) -> object:
    if value.dtype not in _DTYPES:
        raise WireError(f"a number of type {value.dtype} cannot be sent: use {_NAMES}")
    return value.item()


def _reference(array: Array, arrays: list[Array]) -> msgspec.msgpack.Ext:
    """The extension that stands for an array in the header."""
    dtype = array.dtype.newbyteorder("<")
    if array.dtype.hasobject or dtype not in _DTYPES:
        raise WireError(f"an array of type {array.dtype} cannot be sent: use {_NAMES}")
    if array.ndim > NDIM_LIMIT or len(arrays) == ARRAY_LIMIT:
        raise WireError(f"an array of more than {NDIM_LIMIT} dimensions, or more than {ARRAY_LIMIT} arrays")
    _check_size(array.shape, dtype)
    arrays.append(array)
    return msgspec.msgpack.Ext(_ARRAY, struct.pack(f"<B{array.ndim}Q", _DTYPES.index(dtype), *array.shape))


def _bytes_of(array: Array) -> memoryview:
    """An array's elements, little-endian and in C order, where they lie if they lie so; a boolean is 0 or 1."""
    if array.dtype == np.bool_:
        array = array.view(np.uint8) != 0
    if array.flags.c_contiguous and array.dtype.byteorder in _NATIVE:
        return array.reshape(-1).view(np.uint8).data
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The bytes of an array. WireError for shapes numpy could not hold, also where a dimension is 0."""
    size = math.prod(shape) * dtype.itemsize
    if (size or math.prod(max(one, 1) for one in shape) * dtype.itemsize) >= 1 << 62:
        raise WireError(f"an array of shape {shape} is beyond any bound")
    return size


def _padded(size: int) -> int:
    return size + -size % _ALIGNMENT


def _read_header(data: bytes) -> tuple[bytes, int]:
    """The header and the offset of the first array."""
    if len(data) < _PREFIX.size or not data.startswith(_MAGIC):
        raise WireError(f"{len(data)} bytes that do not begin like a message of ours")
    _, version, length = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise WireError(f"the message is of version {version}, and this package reads version {VERSION}")
    end = _PREFIX.size + length
    if length > HEADER_LIMIT or _padded(end) > len(data):
        raise WireError(f"a header of {length} bytes is over the bound of {HEADER_LIMIT}, or cut off")
    if any(data[end : _padded(end)]):
        raise WireError("the bytes between header and arrays are not zero")
    return data[_PREFIX.size : end], _padded(end)


def _decode(header: bytes) -> object:
    try:
        return msgspec.msgpack.decode(header)
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError, TypeError) as error:
        raise WireError(f"the header is not MessagePack: {error}") from error


def _check_nan(numbers: Sequence[float]) -> None:
    """WireError for a NaN that `pack` does not write: it is kept as it is when it is encoded again."""
    if any(one != one and struct.pack("<d", one) != _NAN for one in numbers):
        raise WireError("the header is not in canonical form (one NaN)")


class _Reader:
    """Turns a decoded header into values, taking arrays from the bytes behind it in order."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._arrays = 0
        self.at = at  # where the next array starts

    def value(self, tree: object, depth: int) -> object:
        """The value of a part of the header. WireError for what `pack` does not write."""
        if type(tree) in _LEAVES:
            return tree
        if isinstance(tree, list):
            if _FLOATS.issuperset(map(type, tree)):
                _check_nan(tree)
                return tuple(tree)
            _check_depth(depth)
            return tuple([one if type(one) in _LEAVES else self.value(one, depth + 1) for one in tree])
        if isinstance(tree, dict):
            if not _TEXT.issuperset(map(type, tree)):
                raise WireError("a dict's keys must be text")
            # Not sorted here: an order that pack would not write must show when packed again.
            if list(tree) != sorted(tree):
                raise WireError("a dict's keys are not in order")
            _check_depth(depth if tree else 0)
            items = tree.items()
            return {key: one if type(one) in _LEAVES else self.value(one, depth + 1) for key, one in items}
        if isinstance(tree, msgspec.msgpack.Ext):
            return self._array(tree)
        if type(tree) is float:
            _check_nan((tree,))
            return tree
        raise WireError(f"a {type(tree).__name__} in the header is not plain data")

    def _array(self, reference: msgspec.msgpack.Ext) -> Array:
        dtype, shape = self._shape(reference)
        size = _check_size(shape, dtype)
        end = self.at + _padded(size)
        if end > len(self._data):
            raise WireError(f"an array of shape {shape} needs {size} bytes, more than the message has")
        if any(self._data[self.at + size : end]):
            raise WireError("the bytes between two arrays are not zero")
        array = np.frombuffer(self._data, dtype, math.prod(shape), self.at) if size else np.empty(0, dtype)
        array.flags.writeable = False
        if dtype == np.bool_ and size and array.view(np.uint8).max() > 1:
            raise WireError("a boolean of an array is neither 0 nor 1")
        self.at = end
        return array.reshape(shape)

    def _shape(self, reference: msgspec.msgpack.Ext) -> tuple[np.dtype[Any], tuple[int, ...]]:
        self._arrays += 1
        code = bytes(reference.data)
        ndim, rest = divmod(len(code) - 1, 8)
        if reference.code != _ARRAY or rest or not 0 <= ndim <= NDIM_LIMIT or code[0] >= len(_DTYPES):
            raise WireError("an extension in the header is not an array of ours")
        if self._arrays > ARRAY_LIMIT:
            raise WireError(f"more than {ARRAY_LIMIT} arrays")
        return _DTYPES[code[0]], struct.unpack(f"<{ndim}Q", code[1:])
