"""Fixed point: what goes in is rounded once, what comes out is the nearest float, and sums are exact."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import ProtocolError, RangeError
from confrere.sums import fixed

WORD = 1 << 64
SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
LIMBS = st.sampled_from([1, 2])


# The slow obvious twin: Python's own integers and fractions, one element at a time.


def slow_encode(value: float, scale: int, limbs: int) -> int:
    return round(Fraction(value) * Fraction(2) ** scale) % WORD**limbs


def slow_decode(element: int, scale: int, limbs: int) -> float:
    bits = 64 * limbs
    signed = element - (1 << bits) if element >> (bits - 1) else element
    exact = Fraction(signed) / Fraction(2) ** scale
    return exact.numerator / exact.denominator  # Python divides integers with one right rounding


def elements(ring: fixed.Ring) -> list[int]:
    return [sum(int(limb) << (64 * j) for j, limb in enumerate(row)) for row in ring]


def ring_of(integers: list[int], limbs: int) -> fixed.Ring:
    rows = [[(x >> (64 * j)) % WORD for j in range(limbs)] for x in integers]
    return np.array(rows, dtype=np.uint64).reshape(len(integers), limbs)


@SETTINGS
@given(st.lists(FLOATS, max_size=8), st.integers(0, 20), LIMBS)
def test_encode_equals_its_slow_twin(values: list[float], scale: int, limbs: int) -> None:
    array = np.array([*values, 1.0])  # never all below the last bit
    ring = fixed.encode(array, scale, 3, bits=64 * limbs)
    assert elements(ring) == [slow_encode(v, scale, limbs) for v in array]


@SETTINGS
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8), st.integers(-896, 1022))
def test_encode_equals_its_slow_twin_or_refuses_at_any_scale(values: list[float], scale: int) -> None:
    exact = [round(Fraction(v) * Fraction(2) ** scale) for v in values]
    overflow = any(abs(y) * 3 >= 1 << 127 for y in exact)
    underflow = any(values) and not any(exact)
    if overflow or underflow:
        with pytest.raises(RangeError, match="overflow" if overflow else "underflow"):
            fixed.encode(values, scale, 3)
    else:
        assert elements(fixed.encode(values, scale, 3)) == [y % WORD**2 for y in exact]


@SETTINGS
@given(st.lists(st.integers(0, WORD**2 - 1), min_size=1, max_size=8), st.integers(-896, 1022))
def test_decode_gives_the_nearest_float(integers: list[int], scale: int) -> None:
    decoded = fixed.decode(ring_of(integers, 2), scale)
    assert decoded.tolist() == [slow_decode(x, scale, 2) for x in integers]


@SETTINGS
@given(st.lists(st.integers(0, WORD - 1), min_size=1, max_size=8), st.integers(-60, 60))
def test_decode_gives_the_nearest_float_from_one_limb(integers: list[int], scale: int) -> None:
    assert fixed.decode(ring_of(integers, 1), scale).tolist() == [slow_decode(x, scale, 1) for x in integers]


def around_powers_of_two() -> list[int]:
    """Elements where a carry, a borrow, a tie or a shift by a whole word could go wrong."""
    near = {sign * ((1 << k) + d) for k in range(128) for d in (-2, -1, 0, 1, 2) for sign in (1, -1)}
    ties = {((1 << 53) + 1 << k) + d for k in range(74) for d in (-1, 0, 1)}
    return sorted({x % WORD**2 for x in near | ties})


def test_decode_at_every_boundary_of_the_ring() -> None:
    integers = around_powers_of_two()
    assert fixed.decode(ring_of(integers, 2), 40).tolist() == [slow_decode(x, 40, 2) for x in integers]


def test_add_subtract_negate_at_every_boundary_of_the_ring() -> None:
    integers = around_powers_of_two()
    for other in (1, WORD - 1, WORD, WORD**2 - 1, 1 << 127):
        a, b = ring_of(integers, 2), ring_of([other] * len(integers), 2)
        assert elements(fixed.add(a, b)) == [(x + other) % WORD**2 for x in integers]
        assert elements(fixed.subtract(a, b)) == [(x - other) % WORD**2 for x in integers]
        assert elements(fixed.negate(a)) == [-x % WORD**2 for x in integers]


@SETTINGS
@given(st.data(), LIMBS)
def test_add_equals_its_slow_twin(data: st.DataObject, limbs: int) -> None:
    size = data.draw(st.integers(0, 6))
    integers = st.lists(st.integers(0, WORD**limbs - 1), min_size=size, max_size=size)
    a, b = data.draw(integers), data.draw(integers)
    total = fixed.add(ring_of(a, limbs), ring_of(b, limbs))
    assert elements(total) == [(x + y) % WORD**limbs for x, y in zip(a, b, strict=True)]


@SETTINGS
@given(st.lists(FLOATS, min_size=3, max_size=30), st.randoms(use_true_random=False))
def test_a_sum_is_the_same_to_the_last_bit_in_any_order_and_split(values: list[float], random: object) -> None:
    """And equals the exact sum of the rounded values, where adding floats would depend on the order."""
    values = [v if abs(v) > 1e-8 else 0.0 for v in values]  # below half of the last bit is an error
    parts = [fixed.encode([v], 30, len(values)) for v in values]
    expected = sum(round(Fraction(v) * 2**30) for v in values)
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    cut = len(parts) // 2
    halves = fixed.total([fixed.total(shuffled[:cut]), fixed.total(shuffled[cut:])])
    assert fixed.total(parts).tobytes() == fixed.total(shuffled).tobytes() == halves.tobytes()
    assert elements(halves) == [expected % WORD**2]
    assert fixed.decode(halves, 30)[0] == slow_decode(expected % WORD**2, 30, 2)


def test_floats_added_in_another_order_would_differ() -> None:
    values = [1e16, 1.0, -1e16]
    assert sum(values) != sum([values[0], values[2], values[1]])
    assert fixed.decode(fixed.total([fixed.encode([v], 20, 3) for v in values]), 20)[0] == 1.0


def test_round_trip_loses_at_most_half_of_the_last_bit() -> None:
    values = np.random.default_rng(1).normal(size=1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    back = fixed.decode(fixed.encode(values, 60, 10), 60)
    assert np.abs(back - values).max() <= 2.0**-61
    # With enough bits behind the point nothing is lost at all.
    assert (fixed.decode(fixed.encode(values, 90, 10), 90) == values).all()


def test_small_negative_numbers_keep_their_sign() -> None:
    ring = fixed.encode([-1.0, -(2.0**-30), 2.0**-40], 30, 3)
    assert elements(ring) == [-(1 << 30) % WORD**2, WORD**2 - 1, 0]
    assert fixed.decode(ring, 30).tolist() == [-1.0, -(2.0**-30), 0.0]


def test_shapes_types_and_empty_arrays() -> None:
    assert fixed.encode(np.ones((2, 3)), 10, 3).shape == (6, 2)
    assert fixed.encode(np.array(2.5), 1, 3).tolist() == [[5, 0]]
    assert fixed.encode([True, False], 0, 3).tolist() == [[1, 0], [0, 0]]
    assert fixed.encode(np.zeros((0, 4)), 10, 3).shape == (0, 2)
    assert fixed.decode(fixed.encode([], 10, 3), 10).tolist() == []
    assert fixed.decode(fixed.encode([0.0, -0.0], 10, 3), 10).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(RangeError, match="1 of 3 values are not finite"):
        fixed.encode([1.0, value, 2.0], 20, 3)


@pytest.mark.parametrize("limbs", [1, 2])
@pytest.mark.parametrize("parties", [3, 10])
def test_no_total_of_what_is_let_through_can_wrap(limbs: int, parties: int) -> None:
    bound = Fraction(1 << (64 * limbs - 1), parties)
    below = math.nextafter(float(bound), 0.0)
    assert Fraction(below) < bound
    for value in (below, -below):
        part = fixed.encode([value], 0, parties, bits=64 * limbs)
        assert fixed.decode(fixed.total([part] * parties), 0)[0] == pytest.approx(parties * value, rel=1e-15)
    above = math.nextafter(math.nextafter(float(bound), math.inf), math.inf)
    for value in (above, -above, 1e300):
        with pytest.raises(RangeError, match="overflow"):
            fixed.encode([value, 0.0], 0, parties, bits=64 * limbs)


def test_overflow_of_the_scaling_itself_is_refused_not_infinite() -> None:
    with pytest.raises(RangeError, match="overflow"):
        fixed.encode([1e300], 1000, 3)


def test_underflow_of_a_whole_array_is_refused() -> None:
    with pytest.raises(RangeError, match="underflow: all 2 values"):
        fixed.encode([1e-9, -1e-12], 20, 3)
    with pytest.raises(RangeError, match="underflow"):
        fixed.encode([5e-324], 0, 3)
    assert fixed.encode([1e-9, 1.0], 20, 3)[0].tolist() == [0, 0]  # one small element is no underflow


def test_wrong_arguments_name_the_rule() -> None:
    with pytest.raises(RangeError, match="beyond 2\\^53"):
        fixed.encode(np.array([(1 << 53) + 1]), 0, 3)
    with pytest.raises(RangeError, match="not booleans, integers or floats"):
        fixed.encode(np.array(["1.0"]), 0, 3)
    with pytest.raises(RangeError, match="scale 2\\^5000"):
        fixed.encode([1.0], 5000, 3)
    with pytest.raises(RangeError, match="32, 64 or 128 bits"):
        fixed.encode([1.0], 0, 3, bits=256)
    with pytest.raises(RangeError, match="0 parties"):
        fixed.encode([1.0], 0, 0)
    with pytest.raises(ProtocolError, match="cannot be added"):
        fixed.add(fixed.encode([1.0], 0, 3), fixed.encode([1.0, 2.0], 0, 3))
    with pytest.raises(ProtocolError, match="cannot be added"):
        fixed.add(fixed.encode([1.0], 0, 3), fixed.encode([1.0], 0, 3, bits=64))
    with pytest.raises(ProtocolError, match="uint64 of shape"):
        fixed.decode(np.zeros((2, 2), dtype=np.int64), 0)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="nothing to add"):
        fixed.total([])


def test_bytes_tell_arrays_of_other_shapes_apart() -> None:
    one, two = np.zeros((2, 1), np.uint64), np.zeros((1, 2), np.uint64)
    forms = [[one], [two], [one, two], [two, one], [], [one[:1], one[:1]], [one[:0]]]
    assert len({fixed.to_bytes(rings) for rings in forms}) == len(forms)


@given(st.lists(st.lists(st.integers(-(2**28) + 1, 2**28 - 1), min_size=7, max_size=7), min_size=1, max_size=6))
def test_two_numbers_in_a_limb_add_up_apart(parts: list[list[int]]) -> None:
    """Signed numbers of 32 bits, two in each limb, an odd one alone in the last."""
    rings = [fixed.encode(part, 0, 8, bits=32) for part in parts]
    assert {ring.shape for ring in rings} == {(4, 1)}
    assert fixed.decode(fixed.total(rings), 0, 7, 32).tolist() == [
        float(sum(column)) for column in zip(*parts, strict=True)
    ]


def test_two_numbers_in_a_limb_never_wrap() -> None:
    """What could reach 2^31 with all parties is refused."""
    assert fixed.decode(
        fixed.total([fixed.encode([-(2.0**29) + 1, 2.0**29 - 1], 0, 4, bits=32)] * 4), 0, 2, 32
    ).tolist() == [
        -(2.0**31) + 4,
        2.0**31 - 4,
    ]
    with pytest.raises(RangeError, match="overflow"):
        fixed.encode([2.0**29], 0, 4, bits=32)
