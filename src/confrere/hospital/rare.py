"""Which columns and marks of a design rest on too few people, or hospitals: every reason at once, with all its names.

A researcher who leaves out what is named here meets no further refusal of this kind. Reasons are words of the gate: the
network's coordinator does not see them, and they stand in a hospital's log, or in a run in one process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from confrere.rounds import Array, Bools, Design
from confrere.study.counted import counted

if TYPE_CHECKING:
    from confrere.hospital.gate import Policy, Support

CONSENT = """\
Where they are a trial sponsor's own people: name that member in [disclosure] alone of the study (alone= in Python) \
and, at the sponsor, the study's hash in [policy] alone"""
PAIRS = 10  # that a reason names; all of them are in the columns that it says to leave out
MERGE = "Leave it out or merge its levels", "Leave them out or merge their levels"


def reasons(design: Design, total: Support, policy: Policy) -> Iterator[str]:
    """Every reason to refuse a design for its columns, marks, pairs of them, and weights."""
    n, columns, flags = total.here[0], total.columns.T, total.flags.T
    names, last = [*design.names, *sorted(design.flags)], len(columns)
    thin = [any(policy.few(side) for side in sides(n, *one[:4])) for one in columns]
    if found := [name for name, few in zip(names, thin, strict=False) if few]:
        yield (
            f"column{'s' if len(found) > 1 else ''} {_listed(found)} {'rest' if len(found) > 1 else 'rests'} on fewer "
            f"than {policy.k} people on one side. {MERGE[len(found) > 1]}"
        )
    thin += [bool(policy.few(count) or policy.few(n - count)) for count, *_ in flags]
    if found := [name for name, few in zip(names[last:], thin[last:], strict=True) if few]:
        yield f"fewer than {policy.k} people are on one side of {_listed(found)}. Ask about more people"
    marks: Bools = np.append(columns[:, 1] == 0, np.ones(len(flags), dtype=bool))
    fine = ~np.array(thin, dtype=bool)
    what = [*(f"column {name!r}" for name in names[:last]), *map(repr, names[last:])]
    behind = [*(one[4:] for one in columns), *(one[1:] for one in flags)]
    yield from _hospitals([(what[j], behind[j]) for j in np.flatnonzero(marks & fine)], policy)
    yield from _pairs(names, last, _rarely(total, marks, policy) & fine & fine[:, None], policy)
    yield from _carried(names, total.sizes * np.append(fine, True), policy)


def sides(n: float, present: float, other: float, off: float, rarer: float) -> tuple[float, ...]:
    """People on each side of a column: of three values, n, the sum and the sum of squares give how many have each."""
    return (present, n - present) if other == 0 else (present, off, rarer)


def _hospitals(held: Sequence[tuple[str, Array]], policy: Policy) -> Iterator[str]:
    """On either side of a mark stand enough hospitals, or none; not counted are those whose own sums may leave, and be
    subtracted. `held` is of each mark (4,) in how many hospitals people have it, and lack it; the same of those
    others.
    """
    if "per_hospital" in policy.allow:
        return
    found = [
        f"{what} has people {side}in {counted(bound, 'hospital')} only"
        for what, behind in held
        for side, bound in (("", behind[2]), ("without it ", behind[3]))
        if 0 < bound < policy.hospitals
    ]
    if found:
        remedy = MERGE[len(found) > 1] if found[0].startswith("column") else "Ask about more people, or more hospitals"
        yield f"{'; '.join(found)}; a sum needs {policy.hospitals}. {remedy}. {CONSENT}"


def _rarely(total: Support, marks: Bools, policy: Policy) -> Bools:
    """(p + q, p + q) which columns and marks meet in too few people."""
    alone, n = np.diag(total.pairs), total.here[0]
    # both, one alone, neither: the difference of two marks is a cell too; a measurement has no other side
    told = (total.pairs, alone[:, None] - total.pairs, n - alone[:, None] - alone[None, :] + total.pairs)
    few = [(s > 0.5) & (s < policy.pairs - 0.5) for s in told]
    return np.asarray(few[0] | (marks & marks[:, None] & (few[1] | few[1].T | few[2])))


def _pairs(names: Sequence[str], columns: int, rarely: Bools, policy: Policy) -> Iterator[str]:
    """The pairs that meet in too few people, and columns without which none of them is left."""
    found = [(int(i), int(j)) for i, j in np.argwhere(np.triu(rarely, 1))]
    if found and "small_cells" not in policy.allow:
        met = ", ".join(f"{names[i]!r} and {names[j]!r}" for i, j in found[:PAIRS])
        met += f", and {len(found) - PAIRS} other pairs" if len(found) > PAIRS else ""
        out = "one" if len(found) == 1 else _listed([names[j] for j in _cover(found, columns)])
        yield f"{met} meet in fewer than {policy.pairs} people. Leave {out} out or merge levels"


def _cover(found: Sequence[tuple[int, int]], columns: int) -> list[int]:
    """Places without which none of the pairs is left, the one in most of them first; of columns, where one is there."""
    left, out = list(found), list[int]()
    while left:
        many = Counter(j for pair in left for j in pair if j < columns or min(pair) >= columns)
        out.append(many.most_common(1)[0][0])
        left = [pair for pair in left if out[-1] not in pair]
    return sorted(out)


def _carried(names: Sequence[str], sizes: Array, policy: Policy) -> Iterator[str]:
    """What a few people carry, by the effective number; `sizes` (2, names + 1) are sums of |a| and of a^2, last of the
    case weights, which are named where nothing else is: those of a few weigh in the columns too."""
    numbers = np.square(sizes[0]) / np.where(sizes[1] > 0, sizes[1], np.inf)
    few = (numbers > 0) & (numbers < policy.effective * (1 - 1e-9))
    found = [name for name, thin in zip(names, few, strict=False) if thin] or ["the case weights"] * int(few[-1])
    if found and "small_cells" not in policy.allow:
        one = len(found) == 1
        yield (
            f"{_listed(found)} {'has' if one else 'have'} an effective number under {policy.effective:g}: a few people "
            f"carry {'it' if one else 'them'}. Declare a plausible range, take "
            f"{'its logarithm, or leave it out' if one else 'logarithms, or leave them out'}"
        )


def _listed(names: Sequence[str]) -> str:
    head, last = ", ".join(map(repr, names[:-1])), repr(names[-1])
    return f"{head} and {last}" if head else last
