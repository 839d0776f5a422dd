"""How good predicted risks are where people are censored, from counts by cell of risk and cell of time.

G is Kaplan-Meier of the time to censoring, events going before censorings. In cells with d events, c censorings, n at
risk at the left edge it falls by the factor ((n - d - c)/n)^(c/(d + c)), and what happens in a cell is taken to happen
in its middle; with exact times the factor is 1 - c/(n - d), and G is that just before the time. Events weigh 1/G there,
who is still followed at a horizon t weighs 1/G(t):

- AUC(t) (cumulative cases, dynamic controls): Uno et al., JASA 2007;102:527; with competing causes the controls are all
  who have not had the event by t, also those with another cause: Blanche, Dartigues & Jacqmin-Gadda, Stat Med
  2013;32:5381. R `timeROC`, `riskRegression::Score`.
- concordance truncated at the horizon: Uno et al., Stat Med 2011;30:1105; with competing causes Wolbers et al.,
  Biostatistics 2014;15:526. R `survival::concordance(timewt = "n/G2")`, `pec::cindex`.
- Brier(t): Graf et al., Stat Med 1999;18:2529; Gerds & Schumacher, Biom J 2006;48:1029; its mean over times as
  scikit-survival's `integrated_brier_score`.

Standard errors are by influence functions over people: what a person adds at its own place, and what it adds through G.
With h_l the cumulative hazard of censoring in cell l and R_l the derivative of an estimate by h_l, a person who leaves
in cell m adds sum_{l <= m} R_l dh_l/dn_l, and R_m dh_m/dc_m or R_m dh_m/dd_m. They sum to 0 over all people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Citation
from confrere.rounds import Array, Ints

UNO = Citation(
    "Uno H, Cai T, Pencina MJ, D'Agostino RB, Wei LJ. On the C-statistics for evaluating overall adequacy of "
    "risk prediction procedures with censored survival data. Stat Med 2011;30:1105-1117",
    "10.1002/sim.4154",
)
BLANCHE = Citation("Blanche P, Dartigues JF, Jacqmin-Gadda H. Estimating and comparing time-dependent areas under "
                   "receiver operating characteristic curves for censored event times with competing risks. Stat Med "
                   "2013;32:5381-5397", "10.1002/sim.5958")  # fmt: skip
WOLBERS = Citation("Wolbers M, Blanche P, Koller MT, Witteman JC, Gerds TA. Concordance for prognostic models with "
                   "competing risks. Biostatistics 2014;15:526-539", "10.1093/biostatistics/kxt059")  # fmt: skip
GRAF = Citation("Graf E, Schmoor C, Sauerbrei W, Schumacher M. Assessment and comparison of prognostic classification "
                "schemes for survival data. Stat Med 1999;18:2529-2545",
                "10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5")  # fmt: skip


class Estimated(NamedTuple):
    """An estimate and its standard error."""

    estimate: float
    std_error: float


class Added(NamedTuple):
    """What somebody adds to an estimate who leaves in a cell by the event, another cause, or censored: (B, M) each."""

    event: Array
    other: Array
    censored: Array


@dataclass(frozen=True, eq=False)
class Leaving:
    """People by cell of risk (B, the lowest first) and of time (M): by the event, by another cause, censored.

    The last cell of time is of those who are followed beyond the horizon, as censored there. `right` (M,) are
    the right edges; `exact` marks exact times.
    """

    right: Array
    event: Array
    other: Array
    censored: Array
    exact: bool

    @property
    def people(self) -> float:
        """Everybody."""
        return float(self.event.sum() + self.other.sum() + self.censored.sum())

    @property
    def at_risk(self) -> Array:
        """People at risk at the left edges (B, M)."""
        out = self.event + self.other + self.censored
        return np.asarray(np.cumsum(out[:, ::-1], axis=1)[:, ::-1])

    def until(self, time: float) -> int:
        """How many cells end by a time."""
        return int(np.searchsorted(self.right[:-1], time * (1 + 1e-12), side="right"))

    def censoring(self) -> Censoring:
        """The censoring of everybody."""
        e, c, n = (self.event + self.other).sum(axis=0), self.censored.sum(axis=0), self.at_risk.sum(axis=0)
        e, c, n = e[:-1], c[:-1], n[:-1]  # in the last cell everybody is beyond the horizon
        out = np.minimum(e + c, n)
        left = np.maximum(n - out, 1e-9 * np.maximum(n, 1.0))
        n = np.maximum(n, left)
        some = c > 0
        h, by_n, by_c, by_e = (np.zeros_like(n) for _ in range(4))
        if self.exact:
            before = np.maximum(n - e, left)
            h[some] = -np.log(left / before)[some]
            by_n[some] = -(c / (before * left))[some]
            by_c[some] = (1 / left)[some]
            by_e[some] = -by_n[some]
        else:
            share = np.divide(c, e + c, out=np.zeros_like(c), where=some)
            fall = np.log(n / left)
            h = share * fall
            by_n = share * (1 / n - 1 / left)
            by_c = np.divide(e * fall, (e + c) ** 2, out=np.zeros_like(c), where=some) + share / left
            by_e = -np.divide(c * fall, (e + c) ** 2, out=np.zeros_like(c), where=some) + share / left
        whole = np.concatenate([[0.0], np.cumsum(h)])
        return Censoring(
            np.exp(whole[:-1] + (0.0 if self.exact else h / 2)), np.exp(whole), by_n, by_c, by_e, self.exact
        )


def beyond(counts: Array, maps: Ints, followed: Array) -> tuple[Array, Ints]:
    """Censorings, with who is followed beyond the horizon in the open last cell of time."""
    maps, wide = maps.copy(), np.pad(counts, ((0, 0), (0, 1)))
    maps[:, -1] = maps[:, -2] + 1
    wide[np.arange(len(wide)), maps[:, -1]] = followed
    return wide, maps


@dataclass(frozen=True, eq=False)
class Censoring:
    """1/G where what happens in a cell happens (M - 1,), and at the edges (M,); derivatives of the hazards of cells by
    who is at risk, is censored and has an event (M - 1,)."""

    inside: Array
    edge: Array
    by_n: Array
    by_c: Array
    by_e: Array
    exact: bool

    def added(self, inside: Array, edge: Array) -> tuple[Array, Array, Array]:
        """What a person adds through G by leaving with an event, or censored, in a cell, (M - 1,) each, and beyond.

        `inside` and `edge` are the derivatives of an estimate by the logarithms of 1/G within cells and at edges.
        """
        later = np.cumsum(inside[::-1])[::-1]
        r = later - (inside if self.exact else inside / 2) + np.cumsum(edge[::-1])[::-1][1:]
        being = np.cumsum(r * self.by_n)
        return being + r * self.by_e, being + r * self.by_c, being[-1:]


def _less(weights: Array) -> Array:
    """Of each cell the weights of the cells below it, along the first axis."""
    return np.asarray(np.cumsum(weights, axis=0) - weights)


def _variance(people: Leaving, added: Added) -> float:
    return float(
        sum((n * a**2).sum() for n, a in zip((people.event, people.other, people.censored), added, strict=True))
    )


def spread_of(people: Leaving, added: Added) -> float:
    """The standard error of an estimate to which people add so much."""
    return float(np.sqrt(_variance(people, added)))


def auc_at(people: Leaving, time: float) -> Estimated | None:
    """The area under the ROC curve at a horizon; None where there are no cases, or no controls."""
    added = auc_added(people, time)
    if added is None:
        return None
    estimate, influence = added
    return Estimated(estimate, spread_of(people, influence))


def cases_and_controls(people: Leaving, time: float) -> tuple[Array, Array] | None:
    """Weights (B,) of who has had the event by a horizon, and of who has not; None where there is nobody."""
    g, j = people.censoring(), people.until(time)
    inside = g.inside[:j]
    cases = people.event[:, :j] @ inside
    controls = people.other[:, :j] @ inside + people.at_risk[:, j] * g.edge[j]
    return (cases, controls) if cases.sum() > 0 and controls.sum() > 0 else None


def auc_added(people: Leaving, time: float) -> tuple[float, Added] | None:
    """The area, and what people add to it."""
    found = cases_and_controls(people, time)
    if found is None:
        return None
    cases, controls = found
    one, none = float(cases.sum()), float(controls.sum())
    theta = float(cases @ (_less(controls) + controls / 2)) / one / none
    case = (_less(controls) + controls / 2) / none / one - theta / one
    above = one - np.cumsum(cases)
    control = (above + cases / 2) / one / none - theta / none
    return theta, _of_both(people, time, case, control)


def told_at(people: Leaving, time: float, at: int) -> tuple[Estimated, Estimated] | None:
    """Sensitivity and specificity at a horizon of the risks from cell `at` up; None where there are no cases, or no
    controls."""
    found = cases_and_controls(people, time)
    if found is None:
        return None
    estimates, above = [], (np.arange(len(found[0])) >= at).astype(float)
    for i, (weights, right) in enumerate(zip(found, (above, 1 - above), strict=True)):
        share = float(weights @ right / weights.sum())
        own = [np.zeros_like(right), np.zeros_like(right)]
        own[i] = (right - share) / weights.sum()
        estimates.append(Estimated(share, spread_of(people, _of_both(people, time, *own))))
    return estimates[0], estimates[1]


def _of_both(people: Leaving, time: float, case: Array, control: Array) -> Added:
    """What people add to an estimate to which a unit of the weights of cases and of controls adds so much (B,)."""
    g, j = people.censoring(), people.until(time)
    inside, still = np.where(np.arange(g.inside.size) < j, g.inside, 0.0), people.at_risk[:, j] * g.edge[j]
    q = inside * (case @ people.event[:, :-1] + control @ people.other[:, :-1])
    q_edge = np.zeros(g.edge.size)
    q_edge[j] = control @ still
    by_event, by_censoring, beyond = g.added(q, q_edge)
    late = (np.arange(people.right.size) >= j) * g.edge[j]
    shape = people.event.shape
    event = np.broadcast_to(np.concatenate([by_event, beyond]), shape) + control[:, None] * late
    censored = np.broadcast_to(np.concatenate([by_censoring, beyond]), shape) + control[:, None] * late
    weight = np.append(inside, 0.0)
    return Added(event + case[:, None] * weight, event + control[:, None] * weight, censored)


def concordance(people: Leaving, *, weighted: bool) -> Estimated | None:
    """Concordance up to the horizon, Harrell's or, `weighted` against censoring, Uno's; None without pairs."""
    found = concordance_added(people, weighted=weighted)
    return None if found is None else Estimated(found[0], spread_of(people, found[1]))


def concordance_added(people: Leaving, *, weighted: bool) -> tuple[float, Added] | None:
    """The concordance, and what people add to it."""
    g = people.censoring()
    w = g.inside if weighted else np.ones_like(g.inside)
    d, o, c = (x[:, :-1] for x in (people.event, people.other, people.censored))
    half = 1.0 if people.exact else 0.5  # of a cell, what lies before or after what happens in it
    later = people.at_risk[:, :-1] - half * (d + o) - (0.0 if people.exact else c / 2)
    gone = np.cumsum(o * w, axis=1) - (1 - half) * o * w
    rivals = w * later + gone
    pairs = d * w
    total = float((pairs * rivals.sum(axis=0)).sum())
    if total <= 0:
        return None
    good = _less(rivals) + rivals / 2
    theta = float((pairs * good).sum()) / total
    case = w * (good - theta * rivals.sum(axis=0)) / total  # by a person with the event (B, M - 1)
    every = pairs.sum(axis=0)
    rival = (every - np.cumsum(pairs, axis=0) + pairs / 2 - theta * every) / total  # by a unit of rivals
    before = np.cumsum(w * rival, axis=1)
    earlier = before - w * rival  # as somebody at risk in the cells before one's own
    after = rival.sum(axis=1, keepdims=True) - np.cumsum(rival, axis=1)
    by_event = earlier + (1 - half) * w * rival
    by_censoring = earlier + half * w * rival if not people.exact else before
    other = by_event + w * (after + half * rival)
    event, censored = by_event + case, by_censoring
    beyond = before[:, -1:]
    if weighted:
        q = (d * case).sum(axis=0) + w * (rival * later).sum(axis=0) + w * (o * (after + half * rival)).sum(axis=0)
        through, through_censored, through_beyond = g.added(q, np.zeros(g.edge.size))
        event, other, censored = event + through, other + through, censored + through_censored
        beyond = beyond + through_beyond
    return theta, Added(*(np.hstack([part, beyond]) for part in (event, other, censored)))


class Powers(NamedTuple):
    """Sums over the people of each cell of time (M, 4) of the first four powers of their risk at a horizon."""

    event: Array
    other: Array
    censored: Array


def brier(people: Leaving, powers: Powers, time: float) -> Estimated:
    """The Brier score at a horizon."""
    estimate, added = brier_added(people, powers, time)
    return Estimated(estimate, float(np.sqrt(sum(added))))


def brier_added(people: Leaving, powers: Powers, time: float) -> tuple[float, tuple[float, float, float]]:
    """The Brier score, and the sums of squares of what people who leave by each kind add to it."""
    g, j, n = people.censoring(), people.until(time), people.people
    inside = np.append(np.where(np.arange(g.inside.size) < j, g.inside, 0.0), 0.0)
    late = (np.arange(people.right.size) >= j) * g.edge[j]
    counts = [x.sum(axis=0) for x in (people.event, people.other, people.censored)]
    loss, square = [p[:, 1] for p in powers], [p[:, 3] for p in powers]  # sums of p^2 and of p^4
    missed, missed_square = _misses(counts[0], powers.event)
    # an event by the horizon was to be foreseen; a later one was not
    sums = [np.where(inside > 0, missed, loss[0]), loss[1], loss[2]]
    squares = [np.where(inside > 0, missed_square, square[0]), square[1], square[2]]
    weights = [inside + late, inside + late, late]
    estimate = float(sum(w @ s for w, s in zip(weights, sums, strict=True))) / n
    q = (inside * (sums[0] + sums[1]))[:-1] / n
    q_edge = np.zeros(g.edge.size)
    q_edge[j] = float(late @ (sums[0] + sums[1] + sums[2])) / n
    by_event, by_censoring, beyond = g.added(q, q_edge)
    common = [np.concatenate([by, beyond]) - estimate / n for by in (by_event, by_event, by_censoring)]
    parts = [
        float((w**2 * s2 / n**2 + 2 * w * s * e / n + m * e**2).sum())
        for w, s, s2, m, e in zip(weights, sums, squares, counts, common, strict=True)
    ]
    return estimate, (parts[0], parts[1], parts[2])


def brier_cells(people: Leaving, risks: Array, time: float) -> tuple[float, Added]:
    """The Brier score at a horizon of one risk (B,) for everybody in a cell of risk, and what people add to it."""
    g, j, n = people.censoring(), people.until(time), people.people
    early = np.arange(people.right.size) < j
    inside, late = np.where(early, np.append(g.inside, 0.0), 0.0), np.where(early, 0.0, g.edge[j])
    hit, missed = (1 - risks[:, None]) ** 2, risks[:, None] ** 2
    own = [inside * hit + late * missed, (inside + late) * missed, late * missed]
    counts = (people.event, people.other, people.censored)
    estimate = float(sum((m * o).sum() for m, o in zip(counts, own, strict=True))) / n
    sums = [m * o / n for m, o in zip(counts, own, strict=True)]
    q = np.where(early, (sums[0] + sums[1]).sum(axis=0), 0.0)[:-1]
    q_edge = np.zeros(g.edge.size)
    q_edge[j] = float(sum(part[:, j:].sum() for part in sums))
    by_event, by_censoring, beyond = g.added(q, q_edge)
    through = [np.concatenate([by, beyond]) - estimate / n for by in (by_event, by_event, by_censoring)]
    return estimate, Added(*(o / n + t for o, t in zip(own, through, strict=True)))


def brier_at(people: Leaving, risks: Array, time: float) -> Estimated:
    """The Brier score at a horizon of one risk (B,) for everybody in a cell of risk."""
    estimate, added = brier_cells(people, risks, time)
    return Estimated(estimate, spread_of(people, added))


def integrated(people: Leaving, risks: Array, times: Array) -> Estimated:
    """The mean of the Brier score over times (T,) by the trapezoidal rule, from risks (T, B).

    The standard error is that of the sum of what everybody adds at all times.
    """
    gaps = np.diff(times) / (times[-1] - times[0])
    weights = np.append(gaps, 0.0) / 2 + np.insert(gaps, 0, 0.0) / 2
    found = [brier_cells(people, at, t) for at, t in zip(risks, times.tolist(), strict=True)]
    whole = [sum(w * added[i] for w, (_, added) in zip(weights, found, strict=True)) for i in range(len(Added._fields))]
    estimate = float(sum(w * e for w, (e, _) in zip(weights, found, strict=True)))
    return Estimated(estimate, spread_of(people, Added(*map(np.asarray, whole))))


def _misses(n: Array, p: Array) -> tuple[Array, Array]:
    """Sums of (1 - p)^2 and of (1 - p)^4."""
    return n - 2 * p[:, 0] + p[:, 1], n - 4 * p[:, 0] + 6 * p[:, 1] - 4 * p[:, 2] + p[:, 3]
