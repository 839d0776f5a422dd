"""Numbers as integers of a ring, so that a sum is exact, and the same in any order and on any machine.

A value v becomes the integer y = round(v * 2^scale), halves to even, and integers are added modulo
2^128 (two's complement). Addition in a ring is associative where addition of floats is not: the
total does not depend on which hospital came first or on how people were dealt. The only rounding is
that of `encode` (half of 2^-scale at most) and that of `decode` (to the nearest float).

A ring array is a uint64 array of shape (n, limbs): element i is sum_j ring[i, j] * 2^(64 j), so its
bytes in memory are little-endian integers of 64 * limbs bits. Two limbs (128 bits) are the rule. Large arrays whose
range is known travel lighter: one limb a number (64 bits), or one for two numbers (32 bits), y0 + 2^32 y1: totals of
signed halves that fit their 32 bits are told apart whatever was carried or borrowed between them.

What does not fit is an error, never a wrap: with `parties` contributions, each |y| < 2^(bits-1) / parties,
so that no total can leave the signed range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from confrere.errors import ProtocolError, RangeError
from confrere.sums.frames import number

Ring: TypeAlias = NDArray[np.uint64]  # (n, limbs), least significant limb first
Floats: TypeAlias = NDArray[np.float64]
Limb: TypeAlias = NDArray[np.uint64]  # (n,)

WORD: Final = 64  # bits of a limb
LIMBS: Final = (1, 2)
BITS: Final = (32, 64, 128)  # of a number
# Within these scales every element of a 128-bit ring decodes to a normal float: no overflow, no
# subnormal, hence no second rounding.
SMALLEST_SCALE: Final = -896
LARGEST_SCALE: Final = 1022
_PIECE: Final = 1 << 13  # elements at a time


def encode(values: ArrayLike, scale: int, parties: int, *, bits: int = 128) -> Ring:
    """The values (any shape, flattened in C order) times 2^scale as integers: (size, 2), (size, 1), or two in a limb.

    Rounding is exact, halves to even. `parties` is how many contributions will be added.
    RangeError: a value is not finite or is an integer that no float holds; |y| >= 2^(bits-1)/parties
    (overflow); values that are not all zero all become zero (underflow).
    """
    check_scale(scale)
    floats = _floats(values)
    if _bits(bits) == 128:
        _check_finite(floats)
        ring = np.empty((floats.size, 2), dtype=np.uint64)
        largest = 0.0
        for at in range(0, floats.size, _PIECE):
            largest = max(largest, _encode_into(ring[at : at + _PIECE], floats[at : at + _PIECE], scale))
        _check_range(floats, largest, scale, (bits, parties))
        return ring
    scaled = _scaled(floats, scale)
    largest = float(max(scaled.max(initial=0.0), -scaled.min(initial=0.0)))
    if not np.isfinite(largest):  # of the values, or by the scale
        _check_finite(floats)
    _check_range(floats, largest, scale, (bits, parties))
    return _paired(scaled) if bits == 32 else scaled.astype(np.int64).view(np.uint64)[:, None]


def _scaled(floats: Floats, scale: int) -> Floats:
    """The floats times 2^scale, rounded to integers. A power of two scales without rounding of its own."""
    with np.errstate(over="ignore", under="ignore"):  # below the smallest float is far below one half
        return np.rint(floats * 2.0**scale if scale else floats)


def _encode_into(ring: Ring, floats: Floats, scale: int) -> float:
    """Write floats (n,) times 2^scale into a ring (n, 2), which fits a processor's cache; the largest magnitude."""
    scaled = _scaled(floats, scale)
    # Sign and magnitude apart: floor of a negative float would borrow from bits it does not have.
    magnitude = np.abs(scaled)
    with np.errstate(invalid="ignore"):  # what overflows is refused by its magnitude
        high = np.floor(magnitude * 2.0**-WORD)
        low = magnitude - high * 2.0**WORD  # exact: both are multiples of the last bit
        ring[:, 0], ring[:, 1] = _signed(low.astype(np.uint64), high.astype(np.uint64), (scaled < 0).astype(np.uint64))
    return float(magnitude.max(initial=0.0))


def _signed(low: Limb, high: Limb, sign: Limb) -> tuple[Limb, Limb]:
    """The integers of two limbs (n,) each, negated where the sign (n,) is 1 and not 0."""
    flip = np.negative(sign)  # all bits
    low = (low ^ flip) + sign
    return low, (high ^ flip) + (sign & (low == 0))


def _paired(integers: Floats) -> Ring:
    """Integers (n,) of less than 32 bits, two in a limb: ((n + 1) // 2, 1)."""
    halves = np.zeros((integers.size + 1) // 2 * 2, dtype="<i4")
    halves[: integers.size] = integers
    halves[1::2] -= halves[::2] < 0  # a low half below 0 borrows from the high one
    return halves.view("<u8").astype(np.uint64, copy=False)[:, None]


def _apart(ring: Ring) -> Floats:
    """The two integers of each limb, one after the other, shape (2 n,)."""
    halves = np.ascontiguousarray(ring[:, 0], dtype="<u8").view("<i4")
    integers = halves.astype(np.float64)
    integers[1::2] += halves[::2] < 0  # a low half below 0 has borrowed from the high one
    return integers


def decode(ring: Ring, scale: int, size: int | None = None, bits: int = 128) -> Floats:
    """The elements times 2^-scale as floats, shape (n,): the float nearest to each, halves to even.

    Of numbers of 32 `bits`, `size` says how many there are: the last limb may hold one.
    """
    check_scale(scale)
    check_ring(ring)
    if bits == 32:
        integers = _apart(ring)[:size]
        return integers * 2.0**-scale if scale else integers
    if ring.shape[1] == 1:  # the machine rounds so too
        return ring[:, 0].astype(np.int64).astype(np.float64) * 2.0**-scale
    floats = np.empty(len(ring))
    for at in range(0, len(ring), _PIECE):
        floats[at : at + _PIECE] = _decoded(ring[at : at + _PIECE], scale)
    return floats


def _decoded(ring: Ring, scale: int) -> Floats:
    """The floats (n,) of a ring (n, 2), which fits a processor's cache."""
    sign = ring[:, 1] >> np.uint64(WORD - 1)
    low, high = _signed(ring[:, 0], ring[:, 1], sign)
    # The 64 leading bits in one word, and in its last bit whether anything was cut off: converting
    # that word rounds once, and rightly. (A shift by a whole word gives 0 in numpy, as wanted here.)
    shift = np.frexp(high.astype(np.float64))[1].astype(np.uint64)
    back = np.uint64(WORD) - shift
    top = (high << back) | (low >> shift) | ((low << back) != 0)
    floats: Floats = top * np.ldexp(1.0, np.arange(WORD + 1) - scale)[shift.astype(np.intp)]
    return np.where(sign, -floats, floats)


def add(a: Ring, b: Ring) -> Ring:
    """a + b in the ring, as a new array of their shape. ProtocolError when shapes differ."""
    result = a.copy()
    add_into(result, b)
    return result


def subtract(a: Ring, b: Ring) -> Ring:
    """a - b in the ring, as a new array of their shape. ProtocolError when shapes differ."""
    result = a.copy()
    subtract_into(result, b)
    return result


def negate(a: Ring) -> Ring:
    """-a in the ring, as a new array."""
    return subtract(np.zeros_like(a), a)


def total(rings: Sequence[Ring]) -> Ring:
    """The sum of one or more ring arrays of one shape: the same bits in any order."""
    if not rings:
        raise ProtocolError("there is nothing to add up: a total needs one array at least")
    result = rings[0].copy()
    for ring in rings[1:]:
        add_into(result, ring)
    return result


def add_into(result: Ring, other: Ring) -> None:
    """result += other in the ring, in place."""
    check_alike(result, other)
    result[:, 0] += other[:, 0]
    if result.shape[1] == 2:
        carry = result[:, 0] < other[:, 0]
        result[:, 1] += other[:, 1]
        result[:, 1] += carry


def subtract_into(result: Ring, other: Ring) -> None:
    """result -= other in the ring, in place."""
    check_alike(result, other)
    if result.shape[1] == 2:
        borrow = result[:, 0] < other[:, 0]
        result[:, 1] -= other[:, 1]
        result[:, 1] -= borrow
    result[:, 0] -= other[:, 0]


def to_bytes(rings: Sequence[Ring]) -> bytes:
    """Ring arrays as bytes that say their limbs and lengths: what is signed and written down."""
    return b"".join(pieces(rings))


def pieces(rings: Sequence[Ring]) -> Iterator[bytes | memoryview]:
    """The bytes of `to_bytes` piece by piece, those of an array as they lie in memory."""
    for ring in rings:
        check_ring(ring)
        yield number(1 + ring.nbytes) + bytes([ring.shape[1]])  # as `frames` has it
        yield np.ascontiguousarray(ring, dtype="<u8").reshape(-1).view(np.uint8).data


def check_ring(ring: Ring) -> None:
    """ProtocolError unless the array is uint64 of shape (n, 1) or (n, 2)."""
    if ring.dtype != np.uint64 or ring.ndim != 2 or ring.shape[1] not in LIMBS:
        raise ProtocolError(f"a ring array is uint64 of shape (n, 1) or (n, 2), not {ring.dtype} {ring.shape}")


def check_scale(scale: int) -> None:
    """RangeError unless elements at this scale decode to normal floats."""
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise RangeError(f"scale 2^{scale} is outside 2^{SMALLEST_SCALE} to 2^{LARGEST_SCALE}")


def _floats(values: ArrayLike) -> Floats:
    """The values as a flat float array, without losing a bit."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise RangeError(f"values of type {array.dtype} are not booleans, integers or floats of 64 bits")
    if array.dtype.kind in "iu" and array.size and max(abs(int(array.min())), int(array.max())) > 1 << 53:
        raise RangeError("an integer beyond 2^53 has no exact float: divide it or split it before summing")
    return array.astype(np.float64, copy=False).ravel()


def _check_finite(floats: Floats) -> None:
    finite = np.isfinite(floats)
    if not finite.all():
        raise RangeError(f"{int((~finite).sum())} of {floats.size} values are not finite numbers")


def _check_range(floats: Floats, largest: float, scale: int, size: tuple[int, int]) -> None:
    """RangeError for what the ring of `size` (bits, parties) cannot hold. Names no value."""
    bits, parties = size
    if parties < 1:
        raise RangeError(f"{parties} parties: a sum has one contribution at least")
    if not np.isfinite(largest) or int(largest) * parties >= 1 << (bits - 1):
        raise RangeError(
            f"overflow: a value times 2^{scale} reaches 2^{bits - 1} / {parties} parties; "
            "use a smaller scale, or standardise the columns first"
        )
    if largest == 0 and floats.any():
        raise RangeError(f"underflow: all {floats.size} values times 2^{scale} round to zero; use a larger scale")


def _bits(bits: int) -> int:
    if bits not in BITS:
        raise RangeError(f"a number takes 32, 64 or 128 bits of a ring, not {bits}")
    return bits


def check_alike(a: Ring, b: Ring) -> None:
    """ProtocolError unless both are ring arrays of one shape."""
    check_ring(a)
    check_ring(b)
    if a.shape != b.shape:
        raise ProtocolError(f"ring arrays of shapes {a.shape} and {b.shape} cannot be added")
