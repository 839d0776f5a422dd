"""The baseline hazard of a Cox model that all hospitals share, and what predictions from it need.

For a person whose terms are all 0: the cumulative hazard H0(t) = sum of a_j over event times up to t (Efron's or
Breslow's, as the fit), its variance sum of a2_j, and M(t), the sum over the same times of a_j times the mean of the
terms in the risk set. For terms x then H = H0 exp(x b), and

    var log S(t | x) = exp(2 x b) (var H0 + d' V d),    d = x H0(t) - M(t)

Sources: Breslow, Biometrics 1974;30:89; Tsiatis, Ann Stat 1981;9:93; Therneau & Grambsch 2000, section 10.2. Matches R
survival::basehaz(centered = FALSE) and survfit(coxph, newdata).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from confrere.analyses.finding import Record
from confrere.analyses.risksets import Tied
from confrere.analyses.scaling import Standard
from confrere.rounds import Array
from confrere.study.ground import Ground


def baseline(ties: Tied, beta: Array, z: Standard, events: Array, times: Array, means: Array | None) -> Array:
    """Right edge, H0, its variance and M (p,) per stratum and cell: (S, T, 3 + p).

    `ties` and `means` (S T, p) at the standardised coefficients `beta` (p,); `events` (S, T); `times` (T,). Without
    `means` variance and M are NaN; all is where a stratum has no events, since its cells are withheld.
    """
    mean, sd = np.array(z.mean), np.array(z.sd)
    lift = np.exp(-float(np.sum(beta * mean / sd)))
    shape = events.shape
    jumps, squares = ties.a.reshape(shape) * lift, ties.a2.reshape(shape) * lift**2
    over = np.full((*shape, beta.size), np.nan) if means is None else means.reshape(*shape, -1) * sd * lift
    found = np.dstack([
        jumps, np.full(shape, np.nan) if means is None else squares, over + mean * jumps[..., None]
    ]).cumsum(axis=1)  # fmt: skip
    found[events.sum(axis=1) == 0] = np.nan
    return np.concatenate([np.broadcast_to(times[None, :, None], (*shape, 1)), found], axis=2)


def baseline_records(base: Array, events: Array, levels: Sequence[str]) -> list[Record]:
    """The baseline as records, by stratum and cell with events (S, T)."""
    records = []
    for level, row, count in zip(levels, base, events, strict=True):
        jumps = np.diff(row[:, 1], prepend=0.0)
        records += [
            {"group": level, "time": float(time), "hazard": float(h), "cumulative_hazard": float(c),
             "survival": float(np.exp(-c))}
            for time, c, h, d in zip(row[:, 0], row[:, 1], jumps, count, strict=True) if d > 0
        ]  # fmt: skip
    return records


def shared_note(ground: Ground) -> str:
    """What the grid means for the reader."""
    if ground.fine:
        return "One baseline hazard; times are exact on the network: the stewards approved the class fine_times."
    return (
        f"One baseline hazard on a grid of times: a time counts as that of its cell, of at least {ground.width:g} "
        f"{ground.unit}, in which nobody or at least k people have the event, and as many do not. Events of one cell "
        f"are tied."
    )
