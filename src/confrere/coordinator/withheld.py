"""Which withheld counts follow from those beside them: the audit of a table with suppressed cells.

Counts are 0 or more and add up along lines to totals. Every withheld count then lies between the ends that two linear
programs find; where these are less than one person apart it is known. The sum of all withheld counts of one line is
known as well, and is itself a count of people.

Fischetti M, Salazar JJ. Models and algorithms for optimizing cell suppression in tabular data with linear constraints.
Journal of the American Statistical Association 2000;95:916-928, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

Key = tuple[str, str]  # table, words
Count = tuple[Key, float | None]  # None is withheld


class Line(NamedTuple):
    """Counts that add up to a total; any of them may be withheld."""

    parts: Sequence[Count]
    total: Count


def follows(lines: Sequence[Line], k: int) -> list[Key]:
    """Withheld counts of 1 to k-1 people that the lines give away, each once, in their order."""
    known = {key: float(value) for line in lines for key, value in (*line.parts, line.total) if value is not None}
    known |= _settled(lines, known)
    found = list(dict.fromkeys([*_sums(lines, known, k), *_ranges(lines, known, k)]))
    withheld = {key for line in lines for key, value in (*line.parts, line.total) if value is None}
    return [key for key in found if key in withheld]


def _settled(lines: Sequence[Line], known: dict[Key, float]) -> dict[Key, float]:
    """Totals that one line says in full, such as the people of a group: known to every reader."""
    return {
        line.total[0]: sum(known[key] for key, _ in line.parts)
        for line in lines
        if line.total[0] not in known and all(key in known for key, _ in line.parts)
    }


def _sums(lines: Sequence[Line], known: dict[Key, float], k: int) -> Iterator[Key]:
    """Withheld parts of a line whose sum is of few people."""
    for line in lines:
        hidden = [key for key, _ in line.parts if key not in known]
        if hidden and line.total[0] in known:
            left = known[line.total[0]] - sum(known[key] for key, _ in line.parts if key in known)
            if 0.5 <= left < k - 0.5:
                yield from hidden


def _ranges(lines: Sequence[Line], known: dict[Key, float], k: int) -> Iterator[Key]:
    """Withheld counts that lie between ends less than one apart."""
    hidden = sorted({key for line in lines for key, _ in (*line.parts, line.total)} - known.keys())
    if not hidden:
        return
    at = {key: j for j, key in enumerate(hidden)}
    matrix, right = np.zeros((len(lines), len(hidden))), np.zeros(len(lines))
    for i, line in enumerate(lines):
        for (key, _), sign in [*((part, 1.0) for part in line.parts), (line.total, -1.0)]:
            if key in at:
                matrix[i, at[key]] += sign
            else:
                right[i] -= sign * known[key]
    used = matrix.any(axis=1)
    for key, j in at.items():
        ends = [_end(matrix[used], right[used], j, sign) for sign in (1.0, -1.0)]
        if None not in ends and ends[1] - ends[0] < 1 - 1e-6 and 0.5 <= sum(ends) / 2 < k - 0.5:  # type: ignore[operator, arg-type]
            yield key


def _end(matrix: np.ndarray, right: np.ndarray, j: int, sign: float) -> float | None:
    """The least (sign 1) or the largest (-1) value of unknown j; None where there is none."""
    cost = np.zeros(matrix.shape[1])
    cost[j] = sign
    solved = linprog(cost, A_eq=matrix, b_eq=right, bounds=(0, None), method="highs")
    return float(sign * solved.fun) if solved.status == 0 else None
