"""Every fast path has a slow obvious twin, and generated inputs on which they agree."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from confrere.analyses import risksets, scaling
from confrere.analyses.concordance import Exits, late_pairs, pairs
from confrere.analyses.cox import Likelihood, Sets
from confrere.analyses.families import FAMILIES, LINKS, Mean
from confrere.analyses.glm import Glm
from confrere.analyses.likelihood import answerable, by_family, yes_or_no
from confrere.analyses.outcomes import Cases, Frame
from confrere.analyses.risksets import risk_sets
from confrere.analyses.scaling import Centred, Standard
from confrere.hospital import gate
from confrere.hospital.gate import support_of
from confrere.rounds import Array, Cells, Design, People
from confrere.study.ground import Rows
from confrere.sums import fixed, masks
from confrere.sums.frames import frames
from confrere.testing.runs import table

SEEDS = st.integers(0, 2**32 - 1)


# --- what a design rests on ------------------------------------------------------------------------------


def slow_support(design: Design) -> list[Array]:
    """All tables at once, as the fields of `Support` say."""
    x, n = design.x, design.n
    flags = np.array([design.flags[f] for f in sorted(design.flags)], dtype=float).reshape(len(design.flags), n).T
    marks = np.hstack([(x != 0).astype(float), flags])
    middle = np.median(x, axis=0) if n else np.zeros(x.shape[1])
    weights = np.ones((n, 1)) if design.weights is None else design.weights[:, None]
    sized = np.hstack([(x - middle) * weights, flags * weights, weights])
    rarer = [slow_rarer(column) for column in x.T]
    about = [(x != 0).sum(0), ((x != 0) & (x != 1)).sum(0), (x != middle).sum(0), rarer]
    sides = [(x != 0).any(0), (x == 0).any(0)] * 2
    behind = [(flags != 0).any(0), (flags == 0).any(0)] * 2
    cells = [np.bincount(c.index[c.index >= 0], minlength=c.shape[0] * c.shape[1]) for c in design.cells.values()]
    return [
        np.array([n, n > 0, False, n > 0]), np.array([*about, *sides], dtype=float),
        np.array([flags.sum(0), *behind], dtype=float), marks.T @ marks,
        np.array([np.abs(sized).sum(0), np.square(sized).sum(0)]), np.concatenate([*cells, []]),
        np.empty((3, 0)), np.empty(0), cells[1] > 0,
    ]  # fmt: skip


def slow_objects(design: Design, k: int) -> bool:
    """Whether anything of this hospital alone rests on 1 to k-1 people: its people, sides of a mark, cells, values."""
    x, n, sizes = design.x, design.n, [design.n]
    for column in x.T:
        zero = int((column == 0).sum())
        two = set(np.unique(column)) <= {0.0, 1.0}
        sizes += [zero, n - zero] if two else [n - zero, int((column != np.median(column)).sum()), slow_rarer(column)]
    for mark in design.flags.values():
        sizes += [int(mark.sum()), int((~mark).sum())]
    for c in design.cells.values():
        sizes += np.bincount(c.index[c.index >= 0], minlength=c.shape[0] * c.shape[1]).tolist()
    return any(0 < size < k for size in sizes)


def slow_rarer(column: Array) -> int:
    counts = sorted(np.unique(column, return_counts=True)[1])
    return column.size if len(counts) > gate.FEW_VALUES else sum(counts[:-2])


def drawn_design(seed: int, n: int, p: int) -> Design:
    rng = np.random.default_rng(seed)
    kinds = [rng.integers(0, 2, n), rng.integers(-1, 4, n), rng.normal(size=n), np.zeros(n), np.round(rng.random(n), 1)]
    x = np.column_stack([kinds[i] for i in rng.integers(0, len(kinds), p)]) if p else np.empty((n, 0))
    return Design(
        n=n, rows=np.ones(n, dtype=bool), x=np.asarray(x, dtype=float), names=tuple(f"x{j}" for j in range(p)),
        flags={name: rng.random(n) < 0.4 for name in ("b", "a")[: rng.integers(0, 3)]},
        weights=rng.random(n) if rng.random() < 0.5 else None,
        cells={"c": Cells(rng.integers(-1, 6, n), (2, 3)), "d": Cells(rng.integers(-1, 4, n), (1, 4), "spread")},
    )  # fmt: skip


@given(SEEDS, st.integers(0, 40), st.integers(0, 5), st.sampled_from([3, 4096]))
@settings(max_examples=150, deadline=None)
def test_support(seed: int, n: int, p: int, block: int) -> None:
    design = drawn_design(seed, n, p)
    with patch.object(gate, "BLOCK", block):
        got = support_of(design)
    for ours, wanted in zip(got, slow_support(design), strict=True):
        assert ours.shape == wanted.shape
        assert np.allclose(ours, wanted, rtol=1e-13, atol=1e-13)


@given(SEEDS, st.integers(1, 120), st.integers(0, 3), st.integers(2, 12))
@settings(max_examples=150, deadline=None)
def test_a_hospital_of_the_stricter_scope_objects(seed: int, n: int, p: int, k: int) -> None:
    design = drawn_design(seed, n, p)
    assert support_of(design, gate.Policy(k=k, own=True)).here[2] == slow_objects(design, k)
    assert support_of(design, gate.Policy(k=k)).here[2] == 0


def test_a_column_of_many_values_is_a_measurement() -> None:
    rng = np.random.default_rng(5)
    many, few = rng.normal(size=30_000), rng.integers(0, 5, 30_000).astype(float)
    late = np.concatenate([np.zeros(gate.SAMPLE), many])  # too late to be looked at: counted in full, and the same
    for column in (many, few, late):
        design = Design(n=column.size, rows=np.ones(column.size, dtype=bool), x=column[:, None], names=("x",))
        assert support_of(design).columns[3, 0] == slow_rarer(column)


# --- concordance -----------------------------------------------------------------------------------------


def slow_pairs(people: Exits, entry: Array, risk: Array, weights: Array) -> Array:
    """By looking at all pairs (3, n)."""
    t, e, s = people.time, people.event, people.strata
    at_once = (t[:, None] == t[None]) & ~e[None]
    first = e[:, None] & ((t[:, None] < t[None]) | at_once) & (entry[None] < t[:, None])
    first &= np.True_ if s is None else s[:, None] == s[None]
    above, level = risk[:, None] > risk[None], risk[:, None] == risk[None]
    kinds = (first & above, first & ~above & ~level, first & level)
    return np.array([weights * (k @ weights + k.T @ weights) for k in kinds])


@given(SEEDS, st.integers(1, 60), st.integers(1, 40), st.booleans())
@settings(max_examples=200, deadline=None)
def test_concordance(seed: int, n: int, times: int, strata: bool) -> None:
    rng = np.random.default_rng(seed)
    exits = Exits(
        rng.integers(1, times + 1, n).astype(float), rng.random(n) < 0.5, rng.integers(0, 3, n) if strata else None
    )
    entry = np.floor(exits.time * rng.random(n))
    risk, weights = np.round(rng.normal(size=n), int(rng.integers(0, 3))), rng.integers(1, 5, n).astype(float)
    got = pairs(exits.time, exits.event, risk, weights, exits.strata)
    assert np.array_equal(got, slow_pairs(exits, np.zeros(n), risk, weights))
    assert np.array_equal(late_pairs(exits, entry, risk, weights), slow_pairs(exits, entry, risk, weights))


def test_concordance_of_a_hundred_thousand_who_leave_at_once() -> None:
    """Follow-up that ends on one day for many is usual; pairs of people in memory would be 10 GB here."""
    n = 100_000
    time, event = np.where(np.arange(n) < 1000, 1.0, 2.0), np.arange(n) < 1000
    got = pairs(time, event, -np.arange(n, dtype=float), np.ones(n))
    assert got.concordant.sum() == 2 * 1000 * (n - 1000)
    assert got.discordant.sum() == got.tied.sum() == 0


# --- Cox -------------------------------------------------------------------------------------------------


class Slow:
    """Cox's likelihood, one event time of one stratum after the other, one tie after the other."""

    def __init__(self, rows: Rows, z: Array, beta: Array, weights: Array, efron: bool) -> None:
        assert rows.time is not None
        assert rows.event is not None
        p = len(beta)
        self.loglik, self.score, self.information = 0.0, np.zeros(p), np.zeros((p, p))
        eta, entry = z @ beta, np.full(len(z), -np.inf) if rows.entry is None else rows.entry
        r, strata = weights * np.exp(eta), np.zeros(len(z)) if rows.strata is None else rows.strata
        happened = (rows.event > 0) & (weights > 0)
        for g, t in sorted({(g, t) for g, t, e in zip(strata, rows.time, happened, strict=True) if e}):
            dead = happened & (rows.time == t) & (strata == g)
            risk = (rows.time >= t) & (entry < t) & (strata == g)
            self.loglik += float(weights[dead] @ eta[dead])
            self.score += weights[dead] @ z[dead]
            for tie in range(dead.sum()):
                share = r * risk - (tie / dead.sum() if efron else 0.0) * r * dead
                mean, each = share @ z / share.sum(), weights[dead].sum() / dead.sum()
                self.loglik -= each * float(np.log(share.sum()))
                self.score -= each * mean
                self.information += each * ((z * share[:, None]).T @ z / share.sum() - np.outer(mean, mean))


@given(SEEDS, st.integers(1, 30), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_cox_likelihood(seed: int, n: int, efron: bool, late: bool, strata: bool) -> None:
    rng = np.random.default_rng(seed)
    time, x = rng.integers(1, 12, n).astype(float), np.asfortranarray(rng.normal(5, 2, size=(n, 2)))
    entry, groups = np.floor(time * rng.random(n)) if late else None, rng.integers(0, 3, n) if strata else None
    weights, beta, standard = rng.integers(0, 3, n) / 2, rng.normal(size=2), Standard((5.1, 4.9), (2.1, 1.9))
    rows = Rows(x, time, (rng.random(n) < 0.5).astype(float), entry, None, groups, None, None)
    sets = risk_sets(time, rows.event, entry, groups, weights)  # type: ignore[arg-type]
    design = Design(n=n, rows=np.ones(n, dtype=bool), data=Sets(rows, sets, weights))
    # three terms' blocks of 66 people, and of as few event times as can be
    with patch.object(scaling, "BLOCK", 200), patch.object(risksets, "STRETCH", 3):
        ours = Likelihood.at(design, tuple(beta), standard, efron)
        got = (ours.loglik, ours.score(), ours.information(), ours.score_residuals().sum(axis=0))
    slow = Slow(rows, standard.of(x), beta, weights, efron)
    for mine, wanted in zip(got, (slow.loglik, slow.score, slow.information, slow.score), strict=True):
        assert np.allclose(mine, wanted, rtol=1e-10, atol=1e-10)


@given(SEEDS, st.integers(0, 300), st.integers(1, 4), st.sampled_from([1950.0, 30.0]))
@settings(max_examples=50, deadline=None)
def test_blocks_of_standardised_terms(seed: int, n: int, p: int, about: float) -> None:
    rng = np.random.default_rng(seed)
    x, w, beta = rng.normal(about, 20, size=(n, p)), rng.normal(size=n), rng.normal(size=p)
    s = Standard(tuple(rng.normal(about, 1, p).tolist()), tuple(rng.uniform(10, 30, p).tolist()))
    with patch.object(scaling, "BLOCK", 64 * (p + 1)):
        got = (s.times(x, beta.tolist()), s.sums(x, w), s.products(x, w))
    z = s.of(x)
    columns = np.array([column.copy() for column in s.weighed(x, w)]).T
    assert np.allclose(columns, z * w[:, None], rtol=1e-12, atol=1e-12)
    for ours, wanted in zip(got, (z @ beta, z.T @ w, (z * w[:, None]).T @ z), strict=True):
        assert np.allclose(ours, wanted, rtol=1e-12, atol=1e-11)


# --- generalised linear models ---------------------------------------------------------------------------


@given(st.lists(st.floats(-600, 600), min_size=1, max_size=20), SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_logit_and_its_deviance(etas: list[float], seed: int) -> None:
    eta, rng = np.array(etas), np.random.default_rng(seed)
    mu, other = special.expit(eta), special.expit(-eta)
    got, twin = LINKS["logit"].mean(eta), Mean(mu, other, mu * other)
    for ours, wanted in zip(got, twin, strict=True):
        assert np.allclose(ours, wanted, rtol=1e-13, atol=0.0)
    assert np.allclose(LINKS["logit"].bend(eta, got), mu * other * (other - mu), rtol=1e-13, atol=1e-16)
    for y in (rng.integers(0, 2, eta.size).astype(float), rng.random(eta.size)):
        slow = special.xlogy(y, y / mu) + special.xlogy(1 - y, (1 - y) / other)
        assert np.allclose(FAMILIES["binomial"].half_deviance(y, twin), slow, rtol=1e-12, atol=1e-12)


def test_the_logit_far_out_and_shares_of_weights() -> None:
    far = LINKS["logit"].mean(np.array([-np.inf, -800.0, 800.0, np.inf]))
    assert not FAMILIES["binomial"].inside(far)
    y, w = np.array([0.0, 1.0, 0.25, 0.5]), np.array([3.0, 2.0, 4.0, 2.0])
    ways = np.log([1.0, 1.0, 4.0, 2.0])
    parts = [0.0, 0.0, 4 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75)), 2 * np.log(0.5)]
    assert FAMILIES["binomial"].constant(y, w) == pytest.approx((ways + parts).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("family", "link"), [("binomial", "logit"), ("binomial", "probit"), ("poisson", "log"), ("gamma", "log")]
)
@pytest.mark.parametrize("wanted", ["", "expected", "observed"])
def test_a_likelihood_by_blocks_is_that_of_all_people(family: str, link: str, wanted: str) -> None:
    rng = np.random.default_rng(3)
    n, frame = 500, Frame((0.1, 0.2), (1.1, 0.9), 0.1, 0.5, 2.0, True)
    y = {"binomial": rng.integers(0, 2, n), "poisson": rng.poisson(2, n), "gamma": rng.gamma(2, size=n)}[family]
    cases = Cases(rng.normal(size=(n, 2)), y.astype(float), rng.random(n), rng.normal(size=n))
    model, beta = Glm("y ~ a + b", family, link), (0.2, -0.3, 0.4)
    whole = model.local_of(cases, beta, frame, wanted)
    with patch.object(scaling, "BLOCK", 300):
        parts = model.local_of(cases, beta, frame, wanted)
    for ours, twin in zip(parts, whole, strict=True):
        assert np.allclose(ours, twin, rtol=1e-12, atol=1e-12)
    slopes = [model.local_of(cases, tuple(np.add(beta, step)), frame).loglik for step in 1e-5 * np.eye(3)]
    assert np.allclose((np.array(slopes) - whole.loglik) / 1e-5, whole.score, rtol=1e-3)


@given(SEEDS, st.integers(1, 40), st.sampled_from([1.0, 30.0, 500.0]), st.sampled_from(["", "expected", "observed"]))
@settings(max_examples=100, deadline=None)
def test_the_likelihood_of_yes_or_no_is_that_of_the_family(seed: int, n: int, wide: float, wanted: str) -> None:
    rng = np.random.default_rng(seed)
    frame, model = Frame((), (), 0.0, 0.7, 0.2, True), (FAMILIES["binomial"], LINKS["logit"])
    cases = Cases(np.empty((n, 0)), rng.integers(0, 2, n).astype(float), rng.random(n), np.zeros(n))
    eta = rng.uniform(-wide, wide, n)
    fast, slow = yes_or_no(cases, eta, frame, wanted), by_family(cases, eta, frame, model, wanted)
    assert slow is not None
    for name in fast._fields:
        ours, twin = (np.asarray(getattr(one, name)) for one in (fast, slow))
        assert np.allclose(ours, twin, rtol=1e-9 if name == "pearson" else 1e-12, atol=1e-11), name


def test_shares_and_odds_beyond_a_float_are_not_yes_or_no() -> None:
    yes = np.array([0.0, 1.0])
    assert answerable(yes, np.array([-600.0, 600.0]))
    assert not answerable(yes, np.array([0.0, 601.0]))
    assert not answerable(yes, np.array([0.0, np.nan]))
    assert not answerable(np.array([0.0, 0.5]), np.zeros(2))


@given(SEEDS, st.integers(1, 300), st.integers(0, 4), st.sampled_from([0.0, 5.0, 2000.0]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_sums_of_raw_terms_are_those_of_standardised_ones(
    seed: int, n: int, p: int, away: float, intercept: bool
) -> None:
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.5, 20, p)
    mean = rng.uniform(-1, 1, p) * away * sd if intercept else np.zeros(p)
    x, w = np.asfortranarray(mean + sd * rng.normal(size=(n, p))), rng.normal(size=n) if n % 2 else np.full(n, 0.3)
    z = np.hstack([np.ones((n, int(intercept))), (x - mean) / sd])
    beta, before = rng.normal(size=z.shape[1]), x.copy()
    terms = Centred.of(tuple(mean), tuple(sd), intercept)
    eta, sums, products = np.empty(n), np.zeros(beta.size), np.zeros((beta.size, beta.size))
    with patch.object(scaling, "BLOCK", 64 * (p + 1)):
        for rows, part in terms.blocks(x):
            eta[rows] = terms.times(part, beta)
            sums += terms.sums(part, w[rows])
            products += terms.products(part, w[rows])
    got = (eta, sums @ terms.to, terms.to.T @ products @ terms.to)
    for ours, wanted in zip(got, (z @ beta, w @ z, (z * w[:, None]).T @ z), strict=True):
        assert np.allclose(ours, wanted, rtol=1e-9, atol=1e-9)
    assert np.array_equal(x, before)


def test_one_block_that_cannot_be_is_nowhere() -> None:
    frame = Frame((0.0,), (1.0,), 0.0, 1.0, 1.0, True)
    x = np.zeros((200, 1))
    x[150] = 1e6
    cases = Cases(x, np.ones(200), np.ones(200), np.zeros(200))
    with patch.object(scaling, "BLOCK", 190):
        got: Any = Glm("y ~ a", "binomial", "log").local_of(cases, (-1.0, 1.0), frame, "expected")
    assert got.loglik == -1e15
    assert not got.score.any()
    assert not got.information.any()
    assert np.array_equal(got.weights[0], cases.w)
    whole = replace(Glm("y ~ a", "binomial", "log")).local_of(cases._replace(x=x * 0), (-1.0, 1.0), frame)
    assert whole.loglik > -1e15


# --- masks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [0, 1, 8191, 8192, 8193, 20_000])
def test_a_key_stream_by_pieces_is_the_cipher_of_zeros(words: int) -> None:
    whole = Cipher(ChaCha20(bytes(range(32)), bytes(16)), mode=None).encryptor().update(bytes(8 * words))
    stream, got = masks.Stream(bytes(range(32))), np.empty(words, dtype=np.uint64)
    for part in (got[: words // 3], got[words // 3 :]):
        assert stream.next(part) is part
    assert got.astype("<u8").tobytes() == whole


@given(SEEDS, st.lists(st.integers(0, 5), max_size=4), st.sampled_from([1, 2]))
def test_bytes_of_rings_in_pieces_are_their_frames(seed: int, sizes: list[int], limbs: int) -> None:
    rng = np.random.default_rng(seed)
    rings = [rng.integers(0, 1 << 64, (size, limbs), dtype=np.uint64) for size in sizes]
    slow = frames(*(bytes([limbs]) + ring.astype("<u8").tobytes() for ring in rings))
    assert fixed.to_bytes(rings) == slow


@given(SEEDS, st.integers(0, 40), st.integers(0, 9), st.sampled_from([1, 2]))
@settings(deadline=None)
def test_streams_together_are_streams_one_by_one(seed: int, size: int, many: int, limbs: int) -> None:
    rng = np.random.default_rng(seed)
    ring = rng.integers(0, 1 << 64, (size, limbs), dtype=np.uint64)
    signs = [(bytes([i]) * 32, bool(rng.integers(2))) for i in range(many)]
    slow = ring
    for key, adding in signs:
        words = masks.Stream(key).next(np.empty_like(ring))
        slow = (fixed.add if adding else fixed.subtract)(slow, words)
    for lying in (ring, np.asfortranarray(ring)):
        with patch.object(masks, "_PIECE", 7):
            (got,) = masks._with_streams([lying], [(masks.Stream(key), adding) for key, adding in signs])
        assert np.array_equal(got, slow)


@given(SEEDS, st.integers(0, 20), st.sampled_from([1, 2, 9, 130, 300]), st.sampled_from([1, 2]))
@settings(deadline=None)
def test_the_adder_adds_as_one_by_one(seed: int, size: int, many: int, limbs: int) -> None:
    rng = np.random.default_rng(seed)
    answers = [[rng.integers((1 << 64) - 9, 1 << 64, (size, limbs), dtype=np.uint64)] for _ in range(many)]
    slow = answers[0][0]
    for (ring,) in answers[1:]:
        slow = fixed.add(slow, ring)
    with patch.object(masks, "_PIECE", 7):
        (got,) = masks.add_masked([[np.asfortranarray(ring)] for (ring,) in answers])
    assert np.array_equal(got, slow)


def test_a_ring_that_cannot_be_masked_in_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        masks._mix(np.zeros((5, 2), dtype=np.uint64, order="F"), [(masks.Stream(bytes(32)), True)])


# --- the words of people ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [["p1", "p2", "é", ""], [1, 2, 3, 30], [1.0, 2.5, 3.0, 1e6], pd.Series(["a", None, "c", "d"], dtype="str"),
     pd.Series([1.0, 2.0, np.nan, 4.0]), np.arange(4)],
)  # fmt: skip
def test_the_words_of_ids_are_their_keyed_hashes(ids: Any) -> None:
    def slow(one: object) -> int:
        text = str(int(one)) if isinstance(one, float) and one.is_integer() else str(one)
        made = hashlib.blake2b(text.encode(), digest_size=8, key=b"k" * 32, person=b"folds")
        return int.from_bytes(made.digest(), "little")

    made = People(None, key=b"k" * 32).words("folds", ids)
    assert made.tolist() == [slow(one) for one in ids]


def test_what_is_found_of_people_is_found_once_and_not_of_others() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    people, made = People(table(frame)), iter(range(3))
    assert [one.once("name", lambda: next(made)) for one in (people, people, people.with_column("y", np.zeros(2)))] == [
        0, 0, 1,
    ]  # fmt: skip
    assert list(people.table.frame) == ["x"]
