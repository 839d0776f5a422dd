"""Atoms of sets of people, and which sets hang on others once small atoms are left out.

Every person is in some of the sets and not in others; people with the same pattern are an *atom*. A combination of
sums over the sets is worth the same for all people of an atom, so that a table sets x atoms of 0 and 1 says all there
is to say about what combinations rest on. A combination that is 0 on every large atom rests on people of small ones
alone.

Atoms are found by hashing (Zobrist): each set has a random word of 64 bits, a person's pattern is the exclusive or of
the words of its sets. That costs the people of the sets once, not 2^sets; two patterns of a million collide with
probability 3e-8. Ranks are over the field of 2^31 - 1 elements: products fit in 64 bits and nothing is rounded. A
table of more atoms than sets is multiplied by a random matrix first, which keeps every rank but for a chance under
1e-6 (Schwartz-Zippel; Saunders, Storjohann & Villard, JSC 2004;37:71).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

PRIME = 2**31 - 1
SPARE = 32  # columns more than rows, so that a random matrix keeps the rank
NOTHING = 1e-9  # of orthonormal rows
MOST = 20_000  # combinations of few atoms that are looked at
AT_ONCE = 4096  # atoms multiplied at a time: sums of 2^12 numbers under 2^31 are exact in float64


class Atoms(NamedTuple):
    """The distinct patterns: how many people each has (a,), and one of them (a,)."""

    sizes: Ints
    one: Ints


class Hanging(NamedTuple):
    """Rows that are combinations of rows before them, and these combinations.

    rows          places of the rows, ascending
    combinations  (len(rows), all rows) modulo PRIME: each times the table is 0; empty unless they were asked for
    """

    rows: Ints
    combinations: Ints


def members(people: BitMap) -> NDArray[np.uint32]:
    """The people of a set, ascending."""
    return np.frombuffer(people.to_array(), dtype=np.uint32) if len(people) else np.empty(0, dtype=np.uint32)


def atoms(sets: Sequence[BitMap], everyone: int) -> Atoms:
    """The atoms of the sets among people 0 to everyone - 1; who is in no set is an atom too."""
    words = np.random.default_rng().integers(0, 2**64, len(sets), dtype=np.uint64)
    pattern = np.zeros(everyone, dtype=np.uint64)
    for people, word in zip(sets, words, strict=True):
        # who is in it, or who is not: the same two sides, and one of them is cheaper to go through
        side = people if 2 * len(people) <= everyone else people.flip(0, everyone)
        pattern[members(side)] ^= word
    _, one, sizes = np.unique(pattern, return_index=True, return_counts=True)
    return Atoms(sizes.astype(np.int64), one.astype(np.int64))


def table(sets: Sequence[BitMap], one: Ints) -> Bools:
    """(sets, atoms) who is in what; `one` names a person of each atom."""
    order = np.argsort(one)
    some, ascending = BitMap(one[order].astype(np.uint32)), one[order]
    made = np.zeros((len(sets), len(one)), dtype=bool)
    for row, people in zip(made, sets, strict=True):
        row[order[np.searchsorted(ascending, members(people & some))]] = True
    return made


def narrowed(made: Bools) -> Ints:
    """A table of the same ranks, of any of its rows, with no more columns than rows and some to spare."""
    n, width = made.shape
    if width <= n + SPARE:
        return made.astype(np.int64)
    rng, total = np.random.default_rng(), np.zeros((n, n + SPARE), dtype=np.int64)
    for low in range(0, width, AT_ONCE):
        part = made[:, low : low + AT_ONCE].astype(np.float64)
        dealt = rng.integers(0, PRIME, (part.shape[1], n + SPARE)).astype(np.float64)
        total = (total + (part @ dealt).astype(np.int64)) % PRIME
    return total


def hanging(made: Ints, combinations: bool = False) -> Hanging:
    """Which rows (n, width) hang on those before them, modulo PRIME. Gaussian elimination; the order of rows stays."""
    n, width = made.shape
    work = np.hstack([made % PRIME, np.eye(n, n if combinations else 0, dtype=np.int64)])
    found: list[int] = []
    done = 0  # columns that have had their turn, moved to the left
    for i in range(n):
        left = np.flatnonzero(work[i, done:width])
        if not left.size:
            found.append(i)
            continue
        work[:, [done, done + left[0]]] = work[:, [done + left[0], done]]
        factors = work[i + 1 :, done] * pow(int(work[i, done]), -1, PRIME) % PRIME
        below = i + 1 + np.flatnonzero(factors)
        done += 1
        times = factors[below - i - 1, None]
        work[below, done:] = (work[below, done:] - times * work[i, done:]) % PRIME
    rows = np.array(found, dtype=np.int64)
    return Hanging(rows, work[rows, width:])


def resting(sets: Sequence[BitMap], combinations: Ints, everyone: int) -> Bools:
    """(everyone,) on whom some of the combinations (t, sets) rest: one random mix of them, modulo PRIME, is not 0."""
    worth = np.zeros(everyone, dtype=np.int64)
    mix = np.random.default_rng().integers(1, PRIME, len(combinations))
    weights = (
        sum((m * c % PRIME for m, c in zip(mix, combinations, strict=True)), np.zeros(len(sets), np.int64)) % PRIME
    )
    for people, weight in zip(sets, weights, strict=True):
        if weight:
            worth[members(people)] += weight
    return np.asarray(worth % PRIME != 0)


class Crossing(NamedTuple):
    """What a new study adds to earlier ones. `rows` (c,) marks the earlier cohorts concerned, where it is refused."""

    refused: bool
    rows: Bools


def crossing(sets: Sequence[BitMap], shared: int, old: int, k: int, strict: bool = False) -> Crossing:
    """Whether new sets make a small combination with old ones that neither have by themselves (`differencing`).

    sets    (c,) the `shared` ones, asked earlier and again; up to `old` those asked earlier alone; then the new
    k       people in a large atom
    strict  whether the new study may not make such a combination by itself either
    """
    everyone, nobody = 1 + max((people.max() for people in sets if people), default=-1), np.zeros(len(sets), dtype=bool)
    found = atoms(sets, everyone)
    made = narrowed(table(sets, found.one[found.sizes >= k]))
    again = np.r_[0:shared, old : len(sets)]
    rows, alone = hanging(made).rows, hanging(made[again], combinations=True)
    fresh = alone.combinations[alone.rows >= shared]
    crossed = np.count_nonzero(rows >= old) > len(fresh)
    if not crossed and not len(fresh):
        return Crossing(False, nobody)
    both = hanging(made, combinations=True)  # twice the work, for the few studies that need it
    late, earlier = both.combinations[rows >= old], both.combinations[rows < old]
    if crossed:
        return Crossing(True, late[np.argmin(_touched(late, shared, old))] != 0)
    own = np.zeros((len(fresh), len(sets)), dtype=np.int64)
    own[:, again] = fresh
    here = resting(sets, own, everyone)
    if (here & resting(sets, earlier, everyone)).any():
        return Crossing(True, (earlier != 0).any(axis=0))
    if strict and here.any():
        return Crossing(True, (own != 0).any(axis=0))
    return Crossing(False, nobody)


def _touched(combinations: Ints, shared: int, old: int) -> Ints:
    """(t,) how many earlier sets a combination has; those without any last."""
    many = (combinations[:, shared:old] != 0).sum(axis=1)
    return np.asarray(np.where(many, many, combinations.shape[1] + 1))


def across(owned: Sequence[Bools], large: Bools, few: Bools) -> bool:
    """Whether sets of several owners make a combination that rests on few people, and that no owner makes alone.

    owned       of each owner (sets, atoms)
    large, few  (atoms,) which atoms have many people, and which have some, but few

    A set that several owners have is nobody's own: one may tell it where the other merges it. Two owners whose small
    combinations rest on the same people are refused too, as in `crossing`.
    """
    owned = [sets[:, large | few] for sets in owned]
    large, few = large[large | few], few[large | few]
    rows = [{row.tobytes() for row in sets} for sets in owned]
    shared = {row for i, one in enumerate(rows) for other in rows[:i] for row in one & other}
    own = (sets[[row.tobytes() not in shared for row in sets]] for sets in owned)
    alone = [_small(sets, large, few) for sets in own]
    both = _small(np.unique(np.concatenate(owned), axis=0), large, few)
    if not both.size:
        return False
    touched = np.sum([(rest != 0).any(axis=0) for rest in alone], axis=0)
    return bool(np.linalg.matrix_rank(both) > np.linalg.matrix_rank(np.concatenate(alone)) or (touched > 1).any())


def on_few(sets: Bools, counts: NDArray[np.float64], k: int) -> bool:
    """Whether a combination of sets (sets, atoms), and of everybody, rests on 1 to k-1 people in all.

    Such a one is 0 on every atom of k people or more, and so on atoms that have k people together and on which every
    combination that is left is worth the same, but for a factor. Of those left, the ones that are 0 on as many atoms as
    can be are looked at, each: exact. Where they are more than `MOST`, one is taken to rest on few.
    """
    sets, counts = sets[:, counts > 0], counts[counts > 0]
    large = counts >= k
    while True:
        few = np.flatnonzero(~large)
        basis = _rows(_small(sets, large, ~large))
        kind, columns = _alike(basis)
        people = np.bincount(kind[kind >= 0], counts[few][kind >= 0], columns.shape[1])
        if not (people >= k).any():
            break
        large[few[(kind >= 0) & (people >= k)[kind]]] = True
    if len(columns) and math.comb(columns.shape[1], len(columns) - 1) > MOST:
        return True
    resting = (np.abs(_extreme(columns)) > NOTHING) @ people
    return bool(((resting > 0) & (resting < k)).any())


def _rows(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal rows of the same span."""
    _, s, basis = np.linalg.svd(worth, full_matrices=False)
    return np.asarray(basis[s > NOTHING])


def _alike(basis: NDArray[np.float64]) -> tuple[Ints, NDArray[np.float64]]:
    """(atoms,) which have the same column but for a factor, -1 where it is 0; and a column of each kind."""
    length = np.linalg.norm(basis, axis=0)
    some = length > NOTHING
    unit = basis[:, some] / length[some]
    first = (np.abs(unit) > 1e-6).argmax(axis=0) if unit.size else np.zeros(unit.shape[1], dtype=np.int64)
    unit = unit * np.sign(unit[first, np.arange(unit.shape[1])]) if unit.size else unit
    _, at, of = np.unique(np.round(unit, 6), axis=1, return_index=True, return_inverse=True)
    kind = np.full(len(length), -1, dtype=np.int64)
    kind[some] = of.ravel()
    return kind, unit[:, at]


def _extreme(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(., atoms) combinations of the rows that are 0 on as many atoms as can be chosen, by these atoms."""
    if len(basis) <= 1:
        return basis
    chosen = np.array(list(itertools.combinations(range(basis.shape[1]), len(basis) - 1)))
    u, _, _ = np.linalg.svd(np.moveaxis(basis[:, chosen], 1, 0))
    return np.asarray(u[:, :, -1] @ basis)


def _small(sets: Bools, large: Bools, few: Bools) -> NDArray[np.float64]:
    """(t, few atoms) what combinations of sets, and of everybody, that are 0 on large atoms are worth on few ones."""
    rows = np.concatenate([sets, np.ones((1, len(large)), dtype=bool)]).astype(float)
    u, s, _ = np.linalg.svd(rows[:, large], full_matrices=True)
    rank = int(np.count_nonzero(s > 1e-9 * max(1.0, s.max(initial=0.0))))
    worth = u[:, rank:].T @ rows[:, few]
    return np.where(np.abs(worth) > 1e-9, worth, 0.0)  # 1e-17 would be a rank
