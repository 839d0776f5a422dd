"""What the differencing guard costs: studies refused of plausible histories, and seconds to judge.

    python -m benchmarks.differencing     # 100 histories of 25 studies over 2,000 people; 1,000 cohorts of a million

A hospital's table has columns without gaps, columns that few people miss, columns that many miss, and panels that
are missing together. Each study needs two to six of them. Rules are run beside one another on the same histories; a
history is *open* if a combination of what was answered was found that rests on 1 to k-1 people.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pyroaring import BitMap

from confrere.hospital.atoms import PRIME, atoms, crossing, hanging, table
from confrere.hospital.differencing import Answered
from confrere.hospital.populations import Cohort

K = 11
TRIES = 20  # random orders in the search for open histories
COMPLETE, NEARLY, GAPPED, PANELS = 10, 4, 10, 2  # columns of each kind; panels of three columns


class Asked(NamedTuple):
    """A cohort of a history: its people, its columns, and those of them that anybody misses."""

    people: BitMap
    columns: frozenset[int]
    gapped: frozenset[int]


Rule = Callable[[Sequence[Asked], Asked], bool]


def missing(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, columns) who misses what."""
    gaps = [np.zeros(n, dtype=bool) for _ in range(COMPLETE)]
    gaps += [np.isin(np.arange(n), rng.choice(n, rng.integers(1, K), replace=False)) for _ in range(NEARLY)]
    gaps += [rng.random(n) < share for share in rng.uniform(0.01, 0.4, GAPPED)]
    for share in rng.uniform(0.1, 0.4, PANELS):
        whole = rng.random(n) < share  # the panel was not measured
        gaps += [whole | (rng.random(n) < 0.01) for _ in range(3)]  # or one of its values was lost
    return np.array(gaps).T


def studies(gaps: np.ndarray, many: int, rng: np.random.Generator) -> list[Asked]:
    """The cohorts of `many` studies of one analysis each."""
    found = []
    for _ in range(many):
        columns = rng.choice(gaps.shape[1], rng.integers(2, 7), replace=False)
        inside = ~gaps[:, columns].any(axis=1)
        gapped = frozenset(int(c) for c in columns if gaps[:, c].any())
        found.append(Asked(BitMap(np.flatnonzero(inside).astype(np.uint32)), frozenset(columns.tolist()), gapped))
    return found


def pairwise(least: int) -> Rule:
    """Refuse what differs from an answered cohort by `least` to k-1 people, unless its columns are the same."""
    return lambda past, new: any(
        least <= len(p.people ^ new.people) < K and p.gapped != new.gapped for p in past
    )  # fmt: skip


def ranked(definition: Callable[[Asked], frozenset[int]]) -> Rule:
    """The guard, on definitions of columns."""

    def refused(past: Sequence[Asked], new: Asked) -> bool:
        known = {definition(p): p.people for p in past}
        return definition(new) not in known and crossing([*known.values(), new.people], 0, len(known), K).refused

    return refused


def exact(past: Sequence[Asked], new: Asked) -> bool:
    """The rank alone: what differs by nobody passes, what differs by a few does not, so that a refusal tells which."""
    known = {p.people.serialize(): p.people for p in past}
    return new.people.serialize() not in known and crossing([*known.values(), new.people], 0, len(known), K).refused


def literal(past: Sequence[Asked], new: Asked) -> bool:
    """Refuse where any combination would rest on small atoms alone, also on k people or more in several of them."""
    sets = list({a.people.serialize(): a.people for a in (*past, new)}.values())
    found = atoms(sets, 1 + max(s.max() for s in sets))
    return len(hanging(table(sets, found.one[found.sizes >= K])).rows) > 0


RULES: dict[str, Rule] = {
    "nothing": lambda past, new: False,
    "pairs that differ by 1 to k-1": pairwise(1),
    "rank, no combination of small atoms": literal,
    "rank, nobody told from few": exact,
    "rank, alike (this guard)": ranked(lambda a: a.gapped),
    "rank, alike, columns without gaps count": ranked(lambda a: a.columns),
}


def fewest(answered: Sequence[Asked], tries: int, rng: np.random.Generator) -> int:
    """People under the smallest combination of small atoms that was found; 0 where there is none.

    The sparsest is NP-hard to find; elimination in random orders of the atoms finds sparse ones (information sets:
    Prange, IRE Trans. Inf. Theory 1962;8:5), so that a history may be open where none was found.
    """
    sets = list({a.people.serialize(): a.people for a in answered}.values())
    found = atoms(sets, 1 + max(s.max() for s in sets))
    small = found.sizes < K
    none = hanging(table(sets, found.one[~small]), combinations=True).combinations
    rests = none @ table(sets, found.one[small]).astype(np.int64) % PRIME
    sizes = found.sizes[small]
    supports = [int(sizes[row != 0].sum()) for _ in range(tries) for row in _reduced(rests.copy(), rng) if row.any()]
    return min(supports, default=0)


def _reduced(rests: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows, reduced modulo PRIME by pivots in a random order of columns."""
    done = 0
    for column in rng.permutation(rests.shape[1]):
        if done == len(rests):
            break
        if not (at := np.flatnonzero(rests[done:, column])).size:
            continue
        rests[[done, done + at[0]]] = rests[[done + at[0], done]]
        rests[done] = rests[done] * pow(int(rests[done, column]), -1, PRIME) % PRIME
        others = np.flatnonzero((np.arange(len(rests)) != done) & (rests[:, column] != 0))
        rests[others] = (rests[others] - rests[others, column, None] * rests[done]) % PRIME
        done += 1
    return rests


def histories(times: int, many: int, people: int) -> dict[str, tuple[float, float, float]]:
    """For each rule: studies refused of `many`; shares of histories with a combination of small atoms, and open."""
    told: dict[str, list[tuple[float, bool, bool]]] = {name: [] for name in RULES}
    for seed in range(times):
        rng = np.random.default_rng(seed)
        asked = studies(missing(people, rng), many, rng)
        for name, rule in RULES.items():
            past: list[Asked] = []
            for new in asked:
                if not rule(past, new):
                    past.append(new)
            few = fewest(past, TRIES, rng)
            told[name].append((many - len(past), few > 0, 0 < few < K))
    return {name: tuple(np.mean(t, axis=0).tolist()) for name, t in told.items()}


def seconds(cohorts: int, people: int, folder: Path) -> dict[str, float]:
    """Of the processor, to judge one study after `cohorts` others of `people`, and to record these."""
    rng = np.random.default_rng(3)
    gaps = np.array([rng.random(people) < share for share in rng.uniform(0.0005, 0.2, 30)]).T
    who = np.array([f"person {i}" for i in range(people)], dtype=object)
    answered, past = Answered(folder / "answered.sqlite", bytes(32)), []
    while len(past) < cohorts + 1:
        columns = sorted(rng.choice(30, 3, replace=False).tolist())
        rows = ~gaps[:, columns].any(axis=1)
        if (definition := json.dumps(columns)) not in {c.definition for c in past}:
            past.append(Cohort("a", definition, "", ("a", "b", "c"), "cut", who, rows))
    begin = time.process_time()
    answered.record("earlier", past[:-1])
    kept = time.process_time() - begin
    begin = time.process_time()
    answered.judge(past[-1:], K)
    judged = time.process_time() - begin
    size = sum(file.stat().st_size for file in folder.iterdir())
    return {"record_all": kept, "judge": judged, "bytes": float(size)}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.differencing", description=__doc__)
    for name, value in {"times": 100, "studies": 25, "people": 2_000, "cohorts": 1_000, "most": 1_000_000}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given: Any = parser.parse_args()
    print(f"| rule | refused of {given.studies} | combination of small atoms | open |\n| --- | --- | --- | --- |")
    for name, (refused, small, opened) in histories(given.times, given.studies, given.people).items():
        print(f"| {name} | {refused:.1f} | {small:.0%} | {opened:.0%} |")
    with tempfile.TemporaryDirectory() as folder:
        took = seconds(given.cohorts, given.most, Path(folder))
    print(
        f"\n{given.cohorts:,} cohorts of {given.most:,} people: judged in {took['judge']:.1f} s of processor,", end=" "
    )
    print(f"recorded in {took['record_all']:.1f} s, {took['bytes'] / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
