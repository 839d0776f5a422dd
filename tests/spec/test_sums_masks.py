"""Masks: they cancel in the total, and leave nothing but the total to see."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from confrere.errors import KeysError, ProtocolError
from confrere.sums import fixed, masks
from confrere.sums.fixed import Ring
from confrere.sums.masks import Context

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
NAMES = ("curie", "lyon", "rennes", "toulouse", "ärzte")
Mask = Callable[[Sequence[Ring], Context, str, Mapping[str, bytes]], list[Ring]]


def context(members: tuple[str, ...] = NAMES[:3], **changes: object) -> Context:
    base = Context(b"study", bytes(32), 1, 5, 0, members, bytes(32), masks.SUM)
    return base._replace(**changes)  # type: ignore[arg-type]


def secrets_of(me: str, members: tuple[str, ...] = NAMES, seed: int = 0) -> dict[str, bytes]:
    """Pair secrets without a key exchange: the same for both of a pair, another for every seed."""
    pairs = {other: f"{seed} {sorted((me, other))}" for other in members if other != me}
    return {other: hashlib.sha256(pair.encode()).digest() for other, pair in pairs.items()}


def rings_of(rng: np.random.Generator, sizes: Sequence[int], limbs: int = 2) -> list[Ring]:
    return [rng.integers(0, 1 << 64, size=(size, limbs), dtype=np.uint64) for size in sizes]


@SETTINGS
@given(st.integers(0, 2**32), st.integers(3, 5), st.lists(st.integers(0, 9), max_size=4), st.sampled_from([1, 2]))
def test_masked_equals_clear_to_the_last_bit(seed: int, count: int, sizes: list[int], limbs: int) -> None:
    rng = np.random.default_rng(seed)
    members = tuple(sorted(rng.permutation(NAMES)[:count].tolist()))
    clear = {name: rings_of(rng, sizes, limbs) for name in members}
    sent = [masks.masked(clear[me], context(members), me, secrets_of(me)) for me in members]
    for answers in (sent, sent[::-1]):
        totals = masks.add_masked(answers)
        expected = [fixed.total([clear[me][i] for me in members]) for i in range(len(sizes))]
        assert [t.tobytes() for t in totals] == [e.tobytes() for e in expected]


@pytest.mark.parametrize("sizes", [(3, 0, 7), (40_000,)], ids=["short", "too long to wait"])
@pytest.mark.parametrize("limbs", [1, 2])
def test_streams_made_once_for_a_pair_mask_as_those_made_twice(sizes: tuple[int, ...], limbs: int) -> None:
    """And nothing of them stays; also where one masks the same twice, as after a message that was lost."""
    rng, members, pairs = np.random.default_rng(3), NAMES[:4], masks.Pairs()
    clear = {name: rings_of(rng, sizes, limbs) for name in members}
    for number in range(3):
        at = context(members, round=number)
        for me in members:
            apart = masks.masked(clear[me], at, me, secrets_of(me))
            together = masks.masked(clear[me], at, me, secrets_of(me), pairs)
            assert [r.tobytes() for r in apart] == [r.tobytes() for r in together]
    assert not pairs._waiting
    assert pairs._held == 0
    for _ in range(2):
        assert (
            masks.masked(clear["lyon"], at, "lyon", secrets_of("lyon"), pairs)[0].tobytes()
            == masks.masked(clear["lyon"], at, "lyon", secrets_of("lyon"))[0].tobytes()
        )


def test_pairs_of_many_threads_leave_nothing_behind() -> None:
    rng, pairs = np.random.default_rng(4), masks.Pairs()
    clear = {name: rings_of(rng, (50,)) for name in NAMES}

    def one(me: str) -> list[Ring]:
        made = [masks.masked(clear[me], context(NAMES, round=i), me, secrets_of(me), pairs)[0] for i in range(200)]
        return [fixed.total(made)]

    with ThreadPoolExecutor(len(NAMES)) as pool:
        sent = list(pool.map(one, NAMES))
    expected = fixed.total([clear[me][0] for me in NAMES for _ in range(200)])
    assert masks.add_masked(sent)[0].tobytes() == expected.tobytes()
    assert not pairs._waiting
    assert pairs._held == 0


def test_masking_changes_no_array_of_the_caller() -> None:
    ring = fixed.encode([1.0, 2.0], 10, 3)
    before = ring.tobytes()
    masks.masked([ring], context(), "curie", secrets_of("curie"))
    masks.blind([ring], context(), bytes(32))
    masks.add_masked([[ring], [ring]])
    assert ring.tobytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"study": b"study 2"},
        {"run": b"\x01" * 32},
        {"epoch": 2},
        {"round": 6},
        {"attempt": 1},
        {"members": NAMES[:4]},
        {"digest": b"\x01" * 32},
        {"label": masks.BLINDED},
    ],
)
def test_every_field_of_the_context_changes_every_stream(change: dict[str, object]) -> None:
    zero = [np.zeros((64, 2), np.uint64)]
    streams = [masks.masked(zero, c, "curie", secrets_of("curie"))[0] for c in (context(), context(**change))]
    assert (streams[0] != streams[1]).all()
    blinds = [masks.blind(zero, c, bytes(32))[0] for c in (context(), context(**change))]
    assert (blinds[0] != blinds[1]).all()


def test_contexts_that_read_alike_when_joined_have_other_bytes() -> None:
    alike = [
        context(study=b"a", run=b"bc"),
        context(study=b"ab", run=b"c"),
        context(members=("a", "bc", "d")),
        context(members=("ab", "c", "d")),
        context(members=("a", "b", "c", "d")),
        context(round=1, attempt=0),
        context(round=0, attempt=1),
    ]
    assert len({c.encoded() for c in alike}) == len(alike)


def test_no_stream_is_used_twice_within_a_message() -> None:
    zero = [np.zeros((100, 2), np.uint64), np.zeros((100, 2), np.uint64)]
    sent = masks.masked(zero, context(), "curie", secrets_of("curie"))
    assert len(set(np.concatenate(sent).ravel().tolist())) == 400


def test_another_member_list_does_not_cancel() -> None:
    """All minus all-but-one would be one hospital: a mask for four is no mask for three."""
    zero = [np.zeros((4, 2), np.uint64)]
    three = [masks.masked(zero, context(NAMES[:3]), me, secrets_of(me)) for me in NAMES[:2]]
    four = [masks.masked(zero, context(NAMES[:4]), me, secrets_of(me)) for me in NAMES[2:3]]
    assert masks.add_masked(three + four)[0].all()


def test_blinding_is_undone_with_the_group_secret_and_nothing_else() -> None:
    rings = rings_of(np.random.default_rng(1), [5, 0, 3])
    blinded = masks.blind(rings, context(), b"g" * 32)
    assert (blinded[0] != rings[0]).all()
    back = masks.unblind(blinded, context(), b"g" * 32)
    assert [b.tobytes() for b in back] == [r.tobytes() for r in rings]
    for wrong in (context(round=6), context(attempt=1)):
        assert masks.unblind(blinded, wrong, b"g" * 32)[0].tobytes() != rings[0].tobytes()
    assert masks.unblind(blinded, context(), b"h" * 32)[0].tobytes() != rings[0].tobytes()


def test_wrong_calls_name_the_rule() -> None:
    ring = fixed.encode([1.0], 10, 3)
    with pytest.raises(KeysError, match="not among the members"):
        masks.masked([ring], context(), "toulouse", secrets_of("toulouse"))
    with pytest.raises(KeysError, match="shares no secret with 'lyon'"):
        masks.masked([ring], context(), "curie", {"rennes": bytes(32)})
    with pytest.raises(ProtocolError, match="sent 1 arrays and another 2"):
        masks.add_masked([[ring], [ring, ring]])
    with pytest.raises(ProtocolError, match="cannot be added"):
        masks.add_masked([[ring], [fixed.encode([1.0, 2.0], 10, 3)]])
    with pytest.raises(ProtocolError, match="no answers"):
        masks.add_masked([])


def test_the_stream_is_chacha20_of_rfc_8439() -> None:
    """Key stream of RFC 8439, A.1, test vector 1: key and nonce of zeros, counter 0."""
    words = np.empty(8, dtype=np.uint64)
    masks.Stream(bytes(32)).next(words)
    assert words.astype("<u8").tobytes()[:32].hex() == (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    )


# What the coordinator sees says nothing but the total. Two worlds have the same total, and one
# hospital's contribution differs. The whole view of two rounds is compared between the worlds, byte
# position by byte position: each message, each sum of two messages, each difference of two rounds.

ELEMENTS = 20_000  # per array, so per world and byte position
ALPHA = 1e-6  # per test of 144: a true mask fails in one of 7,000 choices of seed


def contributions(world: int, round: int) -> dict[str, list[Ring]]:
    """Same total in both worlds. In world 1 a constant moves from curie to lyon, growing with the round."""
    rng = np.random.default_rng(round)
    values = {name: rng.normal(size=ELEMENTS) for name in NAMES[:3]}
    moved = 3.0 * world * round
    values["curie"] += moved
    values["lyon"] -= moved
    return {name: [fixed.encode(v, 60, 3)] for name, v in values.items()}


def view(world: int, mask: Mask) -> dict[str, Ring]:
    """What a coordinator can compute from two rounds, masked with secrets of their own in each world."""
    sent: dict[tuple[str, int], Ring] = {}
    for round in (1, 2):
        for name, rings in contributions(world, round).items():
            secrets = secrets_of(name, NAMES[:3], seed=world)
            sent[name, round] = mask(rings, context(round=round), name, secrets)[0]
    seen = {f"message of {name}": sent[name, 1] for name in NAMES[:3]}
    for a, b in (("curie", "lyon"), ("curie", "rennes"), ("lyon", "rennes")):
        seen[f"{a} + {b}"] = fixed.add(sent[a, 1], sent[b, 1])
    for name in NAMES[:3]:
        seen[f"{name}, round 2 - round 1"] = fixed.subtract(sent[name, 2], sent[name, 1])
    return seen


def histograms(ring: Ring) -> np.ndarray:
    """Counts of byte values by byte position, (16, 256)."""
    columns = np.ascontiguousarray(ring).view(np.uint8).reshape(-1, 16)
    return np.stack([np.bincount(columns[:, p], minlength=256) for p in range(16)])


def what_tells_worlds_apart(mask: Mask) -> list[str]:
    """The parts of the view whose bytes differ in distribution (two-sample chi-square, 255 degrees)."""
    worlds = [view(world, mask) for world in (0, 1)]
    found = []
    for part in worlds[0]:
        a, b = (histograms(w[part]).astype(float) for w in worlds)
        # Equal sizes: sum (a - b)^2 / (a + b) is chi-square with 255 degrees when the laws are equal.
        statistic = ((a - b) ** 2 / np.maximum(a + b, 1)).sum(axis=1)
        if (stats.chi2.sf(statistic, 255) < ALPHA).any():
            found.append(part)
    return found


def test_a_changed_contribution_leaves_the_coordinators_view_alike() -> None:
    """Power: a byte that is constant in 2 % of the elements (another constant in each world) would be
    found with probability over 0.999, as the next test computes."""
    assert what_tells_worlds_apart(masks.masked) == []


def test_the_power_of_this_comparison_is_as_stated() -> None:
    share = 0.02
    cell = (share + (1 - share) / 256, (1 - share) / 256)
    # Noncentrality: the two constants' cells each add n (p - q)^2 / (p + q).
    noncentral = 2 * ELEMENTS * (cell[0] - cell[1]) ** 2 / (cell[0] + cell[1])
    critical = stats.chi2.isf(ALPHA, 255)
    assert stats.ncx2.sf(critical, 255, noncentral) > 0.999


def high_limb_bare(rings: Sequence[Ring], c: Context, me: str, secrets: Mapping[str, bytes]) -> list[Ring]:
    result = masks.masked(rings, c, me, secrets)
    result[0][:, 1] = rings[0][:, 1]
    return result


def short_masks(rings: Sequence[Ring], c: Context, me: str, secrets: Mapping[str, bytes]) -> list[Ring]:
    """Masks of 48 bits, wide enough to look like noise beside values of 60."""
    mask = masks.masked([np.zeros_like(rings[0])], c, me, secrets)[0]
    mask[:, 0] &= np.uint64((1 << 48) - 1)
    mask[:, 1] = 0
    return [fixed.add(rings[0], mask)]


def one_mask_for_all_rounds(rings: Sequence[Ring], c: Context, me: str, secrets: Mapping[str, bytes]) -> list[Ring]:
    return masks.masked(rings, c._replace(round=0), me, secrets)


def one_in_ten_bare(rings: Sequence[Ring], c: Context, me: str, secrets: Mapping[str, bytes]) -> list[Ring]:
    result = masks.masked(rings, c, me, secrets)
    result[0][::10] = rings[0][::10]
    return result


def only_lyon_masks_with_curie(rings: Sequence[Ring], c: Context, me: str, secrets: Mapping[str, bytes]) -> list[Ring]:
    """Without the pairs with rennes: curie + lyon is bare."""
    return masks.masked(rings, c._replace(members=NAMES[:2]), me, secrets) if me != "rennes" else list(rings)


@pytest.mark.parametrize(
    ("mask", "where"),
    [
        (high_limb_bare, "message of curie"),
        (short_masks, "message of lyon"),
        (one_mask_for_all_rounds, "curie, round 2 - round 1"),
        (one_in_ten_bare, "message of curie"),
    ],
)
def test_the_comparison_catches_a_broken_mask(mask: Mask, where: str) -> None:
    assert where in what_tells_worlds_apart(mask)


def test_without_one_pair_a_sum_of_two_is_bare() -> None:
    """The control for the sums of two messages: not a difference of worlds here, but plain text."""
    seen = view(0, only_lyon_masks_with_curie)["curie + lyon"]
    clear = contributions(0, 1)
    assert seen.tobytes() == fixed.add(clear["curie"][0], clear["lyon"][0]).tobytes()
