"""The tables of weighted curves: risks at times and restricted means, what they differ by, and the curves themselves.

Differences and ratios of the arms rest on the covariance of their pairs: both lean on one propensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from confrere.analyses.coarse import Seen, between, coarse, followed
from confrere.analyses.competing_risks import ends_of
from confrere.analyses.curves import Cellwise, Curve, cellwise, limits, suppressed
from confrere.analyses.effects import measures
from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.risks import Read, Risks, by_counts
from confrere.analyses.effects.weighted import By
from confrere.analyses.effects.weighted_curves import Followed, Spread, WeightedFollowUp
from confrere.analyses.finding import Caution, Record, count
from confrere.analyses.follow_up import Table
from confrere.analyses.kaplan_meier import curve_records, estimated, grid_notes, grid_words, hidden, worded
from confrere.rounds import Array, Flow, Ints, Verdict
from confrere.study.ground import Ground

BANDS = 24  # places of a curve that have limits
AMPLE = 4  # times what the limits of curves take of the budget
SPAN = 1.959963984540054


class Curves(NamedTuple):
    """What the curves give a finding."""

    effects: list[Record]
    tables: dict[str, list[Record]]
    notes: tuple[str, ...]
    warnings: tuple[Caution, ...]
    grid: str = ""  # of times, in words


class AtTimes(Protocol):
    """A study that asks for risks at `times`, and for the mean until `tau` or the last of them."""

    @property
    def times(self) -> tuple[float, ...]: ...

    @property
    def tau(self) -> float | None: ...

    @property
    def about(self) -> Ground: ...


class Wanted(NamedTuple):
    """A value that all arms have: at a `time`, the risk of a cause (-1: any) or the mean until then."""

    kind: str  # "risk" or "RMST"
    time: float
    cause: int


class Place(NamedTuple):
    """A place of an arm's curve that has limits: the right edge of a cell."""

    arm: int
    cell: int
    cause: int


class Drawn(NamedTuple):
    """The curves of the arms: people who leave, what is read off, by how many people; causes and arms by name."""

    effect: AtTimes
    table: Table
    risks: tuple[Risks, ...]
    people: tuple[Cellwise, ...]
    causes: tuple[str, ...]
    arms: tuple[str, ...] = ARMS

    @property
    def numbers(self) -> Sequence[int]:
        """The causes by number; -1 where none compete."""
        return range(len(self.causes)) if self.causes[0] else (-1,)

    def ends(self, arm: int, cause: int) -> Ints:
        """The cells at whose right edge a curve is told: where the cause's own merged cells end."""
        cells = self.people[arm]
        return cells.ends if cause < 0 else ends_of(self.table, arm, cause, cells)

    def name(self, cause: int) -> Record:
        """The cause as a field of a record; none where none compete."""
        return {} if cause < 0 else {"cause": self.causes[cause]}

    def read(self, arm: int, wanted: Wanted) -> Read:
        """A value of an arm."""
        risks = self.risks[arm]
        return risks.mean(wanted.time) if wanted.kind == "RMST" else risks.risk(wanted.time, wanted.cause)

    @property
    def wanted(self) -> list[Wanted]:
        """What the study asks to be read off."""
        effect = self.effect
        if not effect.times and effect.tau is None:
            return []
        tau = effect.tau if effect.tau is not None else effect.times[-1]
        found = [Wanted("risk", t, cause) for cause in self.numbers for t in effect.times]
        return found + ([] if self.causes[0] else [Wanted("RMST", tau, -1)])

    def reads(self, wanted: Sequence[Wanted], places: Sequence[Place]) -> list[tuple[int, Read]]:
        """Arm and value of everything that is read off: each value arm by arm, then places."""
        found = [(arm, self.read(arm, w)) for w in wanted for arm in range(len(self.arms))]
        ends = ((p, float(self.people[p.arm].right[p.cell])) for p in places)
        return found + [(p.arm, self.risks[p.arm].risk(end, p.cause)) for p, end in ends]


def curves(by: By, causes: tuple[str, ...], verdict: Verdict) -> Flow[Curves]:
    """The flow of the curves of an effect; of each of the `causes` (one without a name where none compete)."""
    effect, ground = by.effect, by.effect.about
    follow = WeightedFollowUp(by.formula, "propensity", ground, by)
    got = yield from follow.followed()
    left = [arm for g, arm in enumerate(ARMS) if suppressed(got.weighted, g)]
    if left:
        return Curves([], {"suppressed": [hidden(arm) for arm in left]}, grid_notes(ground), ())
    drawn = drawn_of(effect, got, causes)
    wanted = drawn.wanted
    places = places_of(drawn, verdict.budget // AMPLE // (1 + len(by.model.beta)) - 2 * len(wanted))
    spread = yield from follow.spread(derivatives(drawn, got.weighted, wanted, places), len(wanted))
    return told(drawn, wanted, places, spread)


def drawn_of(effect: AtTimes, got: Followed, causes: tuple[str, ...], arms: tuple[str, ...] = ARMS) -> Drawn:
    """The curves of arms none of which is suppressed."""
    fine, each = effect.about.fine, range(len(arms))
    weighted, people = ([cellwise(table, g, fine) for g in each] for table in (got.weighted, got.people))
    risks = tuple(Risks(cells) for cells in weighted if cells is not None)
    return Drawn(effect, got.people, risks, tuple(cells for cells in people if cells is not None), causes, arms)


def beyond(drawn: Drawn, wanted: Sequence[Wanted]) -> list[float]:
    """Times at which nobody of an arm is followed any more, and nothing may be read off."""
    end = min(followed(cells) for cells in drawn.people)
    return sorted({w.time for w in wanted if w.time > end + 1e-9})


def places_of(drawn: Drawn, most: int) -> list[Place]:
    """Evenly many places of each curve, if that many numbers may be asked; else none."""
    found = [
        Place(arm, int(j), cause)
        for arm in range(len(drawn.people))
        for cause in drawn.numbers
        for j in _some(drawn.ends(arm, cause))
    ]
    return found if len(found) <= most else []


def _some(ends: Ints) -> Ints:
    """At most BANDS of the ends, evenly spaced."""
    return np.asarray(ends[np.unique(np.linspace(0, len(ends) - 1, min(len(ends), BANDS)).round().astype(int))])


def derivatives(drawn: Drawn, table: Table, wanted: Sequence[Wanted], places: Sequence[Place]) -> Array:
    """The derivatives of all values by the weighted counts, (values, kinds * arms * cells)."""
    reads = drawn.reads(wanted, places)
    width = next(iter(table.counts.values())).shape[1]
    out = np.zeros((len(reads), len(table.kinds), len(drawn.arms), width))
    for row, (arm, read) in zip(out, reads, strict=True):
        row[:, arm] = by_counts(table, arm, read)
    return out.reshape(len(reads), -1)


def told(drawn: Drawn, wanted: Sequence[Wanted], places: Sequence[Place], spread: Spread) -> Curves:
    """Effects of two arms, and tables."""
    late = beyond(drawn, wanted)
    effects: list[Record] = []
    for i, w in enumerate(wanted):
        if w.time not in late:
            value = np.array([drawn.read(arm, w).value for arm in range(len(ARMS))])
            effects += _effects(drawn, w, value, spread.among(len(ARMS), i))
    return tables(drawn, wanted, places, spread.variance)._replace(effects=effects)


def tables(drawn: Drawn, wanted: Sequence[Wanted], places: Sequence[Place], variance: Array) -> Curves:
    """Risks, means and curves of the arms, by the variance of each value arm by arm, then of the places; no effects."""
    ground, late, arms = drawn.effect.about, beyond(drawn, wanted), range(len(drawn.arms))
    found: dict[str, list[Record]] = {"risks": [], "rmst": []}
    for i, w in enumerate(wanted):
        name, row = ("rmst", _mean) if w.kind == "RMST" else ("risks", _risk)
        if w.time not in late:
            v = variance[len(arms) * i : len(arms) * (i + 1)]
            found[name] += [row(drawn, arm, w, float(drawn.read(arm, w).value), float(v[arm])) for arm in arms]
    known = {p: float(v) for p, v in zip(places, variance[len(arms) * len(wanted) :], strict=True)} if places else {}
    found["incidence" if drawn.causes[0] else "curve"] = [
        row for arm in arms for cause in drawn.numbers for row in _curve(drawn, arm, cause, known)
    ]
    seen = [_seen(drawn, arm, cause) for arm in arms for cause in drawn.numbers]
    said = () if ground.fine else coarse(seen, ground.unit)
    grid = grid_words(drawn.table, ground)
    notes = tuple(f"Nobody of an arm is followed until {t:g}: nothing is read off the curves there." for t in late)
    notes += _eventless(drawn, [w for w in wanted if w.time not in late])
    return Curves([], {k: v for k, v in found.items() if v}, (*grid_notes(ground), *notes), said, grid)


def _eventless(drawn: Drawn, wanted: Sequence[Wanted]) -> tuple[str, ...]:
    """Times by which nobody of an arm has the event, or has that of a cause."""
    none = {(w.time, w.cause) for w in wanted if min(r.risk(w.time, w.cause).value for r in drawn.risks) == 0}
    return tuple(
        f"By {t:g} nobody of an arm has the event: no ratio is told there, and nothing between two such arms."
        if i < 0
        else f"By {t:g} nobody of an arm has {drawn.causes[i]}: no ratio is told there, and nothing between two such."
        for t, i in sorted(none)
    )


def _effects(drawn: Drawn, w: Wanted, value: Array, vcov: Array) -> list[Record]:
    """What the arms differ by: of risks also their ratio, where both are positive."""
    if not vcov.any():  # nobody has the event yet
        return []
    ratio = ["risk ratio"] if w.kind == "risk" and value.min() > 0 else []
    rows = measures.effects([f"{w.kind} difference", *ratio], value, vcov)
    return [{"measure": row.pop("measure"), **drawn.name(w.cause), "time": w.time, **row} for row in rows]


def _risk(drawn: Drawn, arm: int, w: Wanted, value: float, variance: float) -> Record:
    """The risk of an arm at a time."""
    cells = drawn.people[arm]
    low, high = (np.nan, np.nan) if value <= 0 else limits(np.array(value), np.array(variance / value**2), "log")
    place = {"group": drawn.arms[arm], **drawn.name(w.cause), "time": w.time}
    return (
        place | estimated(value, np.sqrt(variance), low, high) | between(cells, drawn.ends(arm, w.cause), w.time).fields
    )


def _mean(drawn: Drawn, arm: int, w: Wanted, value: float, variance: float) -> Record:
    """The restricted mean of an arm."""
    se = float(np.sqrt(variance))
    return {"group": drawn.arms[arm], "tau": w.time, **estimated(value, se, value - SPAN * se, value + SPAN * se)}


def _curve(drawn: Drawn, arm: int, cause: int, known: dict[Place, float]) -> list[Record]:
    """The curve of an arm: survival, or the incidence of a cause. Counts are people."""
    cells, risks, k = drawn.people[arm], drawn.risks[arm], _least(drawn)
    if cause < 0:
        s = risks.survival
        variance = np.array([known.get(Place(arm, j, cause), np.nan) for j in range(s.size)])
        logs = np.divide(variance, s**2, out=np.full(s.size, np.nan), where=s > 0)
        return curve_records(drawn.arms[arm], Curve(cells, s, logs), "log", k)
    records, first = [], 0
    for j in drawn.ends(arm, cause):
        events = float(cells.events[cause, first : j + 1].sum())
        if first and not events and not cells.exact:  # the curve stays as it is
            continue
        f = risks.risk(float(cells.right[j]), cause).value
        se = np.sqrt(known.get(Place(arm, int(j), cause), np.nan))
        low, high = (np.nan, np.nan) if f <= 0 else limits(np.array(f), np.array((se / f) ** 2), "log")
        counts = count("at_risk", float(cells.at_risk[first]), k) | count("events", events, k)
        place = {"group": drawn.arms[arm], **drawn.name(cause), "time": float(cells.right[j])}
        records.append(place | counts | estimated(f, se, low, high))
        first = int(j) + 1
    return records


def _least(drawn: Drawn) -> int:
    """The least people that a shown count rests on."""
    return 0 if drawn.effect.about.fine else drawn.table.verdict.k


def _seen(drawn: Drawn, arm: int, cause: int) -> Seen:
    """What a caution needs to know of a curve."""
    cells, risks = drawn.people[arm], drawn.risks[arm]
    events = cells.all_events if cause < 0 else cells.events[cause]
    name = drawn.arms[arm] if cause < 0 else f"{drawn.causes[cause]}, {drawn.arms[arm]}"

    def value(t: float) -> float:
        risk = risks.risk(t, cause).value
        return 1 - risk if cause < 0 else risk

    return Seen(name, cells, drawn.ends(arm, cause), events, value, {worded(t): t for t in drawn.effect.times})
