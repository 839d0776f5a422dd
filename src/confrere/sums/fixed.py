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

WORD: Final = 64  # bits of a limb
LIMBS: Final = (1, 2)
BITS: Final = (32, 64, 128)  # of a number
# Within these scales every element of a 128-bit ring decodes to a normal float: no overflow, no
# subnormal, hence no second rounding.
SMALLEST_SCALE: Final = -896
LARGEST_SCALE: Final = 1022


def encode(values: ArrayLike, scale: int, parties: int, *, bits: int = 128) -> Ring:
    """The values (any shape, flattened in C order) times 2^scale as integers: (size, 2), (size, 1), or two in a limb.

    Rounding is exact, halves to even. `parties` is how many contributions will be added.
    RangeError: a value is not finite or is an integer that no float holds; |y| >= 2^(bits-1)/parties
    (overflow); values that are not all zero all become zero (underflow).
    """
    check_scale(scale)
    floats = _floats(values)
    # A power of two scales without rounding; what falls below the smallest float is far below one half.
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.rint(np.ldexp(floats, scale))
    magnitude = np.abs(scaled)
    _check_range(floats, magnitude, scale, (_bits(bits), parties))
    if bits == 32:
        return _paired(scaled)
    if bits == WORD:  # the machine's own integers: large arrays come this way
        return scaled.astype(np.int64).view(np.uint64)[:, None]
    ring = np.zeros((magnitude.size, bits // WORD), dtype=np.uint64)
    # Sign and magnitude apart: floor of a negative float would borrow from bits it does not have.
    high = np.floor(np.ldexp(magnitude, -WORD))
    ring[:, 1] = high
    ring[:, 0] = magnitude - np.ldexp(high, WORD)  # exact: both are multiples of the last bit
    return _negated_where(ring, scaled < 0)


def _paired(integers: Floats) -> Ring:
    """Integers (n,) of less than 32 bits, two in a limb: ((n + 1) // 2, 1)."""
    halves = np.zeros((integers.size + 1) // 2 * 2, dtype=np.int64)
    halves[: integers.size] = integers
    return (halves[::2] + (halves[1::2] << 32)).astype(np.uint64)[:, None]


def _apart(ring: Ring) -> Floats:
    """The two integers of each limb, one after the other, shape (2 n,)."""
    word = ring[:, 0].astype(np.int64)
    low = word.astype(np.int32).astype(np.int64)
    return np.stack([low, (word - low) >> 32], axis=1).astype(np.float64).ravel()


def decode(ring: Ring, scale: int, size: int | None = None, bits: int = 128) -> Floats:
    """The elements times 2^-scale as floats, shape (n,): the float nearest to each, halves to even.

    Of numbers of 32 `bits`, `size` says how many there are: the last limb may hold one.
    """
    check_scale(scale)
    check_ring(ring)
    if bits == 32:
        return np.ldexp(_apart(ring)[:size], -scale)
    if ring.shape[1] == 1:  # the machine rounds so too
        return np.ldexp(ring[:, 0].astype(np.int64).astype(np.float64), -scale)
    negative = _negative(ring)
    magnitude = _negated_where(ring, negative)
    low, high = magnitude.T
    # The 64 leading bits in one word, and in its last bit whether anything was cut off: converting
    # that word rounds once, and rightly. (A shift by a whole word gives 0 in numpy, as wanted here.)
    shift = np.frexp(high.astype(np.float64))[1].astype(np.uint64)
    back = np.uint64(WORD) - shift
    top = (high << back) | (low >> shift) | ((low << back) != 0)
    floats: Floats = np.ldexp(top.astype(np.float64), shift.astype(np.int64) - scale)
    floats[negative] *= -1.0
    return floats


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
    _check_alike(result, other)
    result[:, 0] += other[:, 0]
    if result.shape[1] == 2:
        carry = result[:, 0] < other[:, 0]
        result[:, 1] += other[:, 1]
        result[:, 1] += carry


def subtract_into(result: Ring, other: Ring) -> None:
    """result -= other in the ring, in place."""
    _check_alike(result, other)
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
    return array.astype(np.float64).ravel()


def _check_range(floats: Floats, magnitude: Floats, scale: int, size: tuple[int, int]) -> None:
    """RangeError for what the ring of `size` (bits, parties) cannot hold. Names no value."""
    bits, parties = size
    if parties < 1:
        raise RangeError(f"{parties} parties: a sum has one contribution at least")
    if not np.isfinite(floats).all():
        raise RangeError(f"{int((~np.isfinite(floats)).sum())} of {floats.size} values are not finite numbers")
    largest = magnitude.max(initial=0.0)
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


def _negative(ring: Ring) -> NDArray[np.bool_]:
    """Which elements have the sign bit set, shape (n,)."""
    negative: NDArray[np.bool_] = ring[:, -1] >> np.uint64(WORD - 1) != 0
    return negative


def _negated_where(ring: Ring, where: NDArray[np.bool_]) -> Ring:
    """The ring with the elements where `where` (n,) holds negated."""
    return np.where(where[:, None], negate(ring), ring)


def _check_alike(a: Ring, b: Ring) -> None:
    check_ring(a)
    check_ring(b)
    if a.shape != b.shape:
        raise ProtocolError(f"ring arrays of shapes {a.shape} and {b.shape} cannot be added")
