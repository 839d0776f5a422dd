"""Events and person-time before, during and after an exposure that comes and goes: the table behind a safety study.

Everybody is followed until the outcome, or to the end of observation (`at_risk`). Stays in the cohort `exposure` open
windows of risk, from `lag` days after their first day to `carry_over` days after their last. Each day at risk is in one
state: before the first window, in a window, or after one. Rates by state, the ratio of exposed to unexposed (before and
after) crude and over strata of age and sex by Mantel-Haenszel (Greenland S, Robins JM. Biometrics 1985;41:55).

Strata are joined with their neighbours until neither their events nor their time rest on few people in any state. All
of them are told, so that nobody is in the whole who is in no stratum. Where even the whole has a state of few people or
events, before and after are told together, and what is still few is not told: the exposed, or the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses import beside, rates
from confrere.analyses.at_risk import NO_SEX, YEAR, AtRisk, Source, check_bands, check_level, followed, sexless, stays
from confrere.analyses.finding import Finding, FlowFinding, Record, attrition
from confrere.analyses.lexis import Axes
from confrere.analyses.lines_of_treatment import Stays
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, Verdict, ask, local, register, support
from confrere.study.circe import Definition
from confrere.study.ground import Ground
from confrere.study.omop import SEX, TOLD_SEXES

STATES = ("before", "exposed", "after")
EXPOSED = 1
MOST_BANDS = 10
APART = ((0,), (1,), (2,))
UNEXPOSED = (0, 2)
JOINED = "Strata in which too few people are in a state, or have the outcome there, are told together with a neighbour."
TOGETHER = "Too few people are before or after the exposure, or have the outcome there: the two are told together."
UNTOLD = "A state in which too few people are, or have the outcome, is not told, nor what compares it with the others."

Groups = tuple[tuple[int, ...], ...]  # which of the finest strata, or which states, are told together
Settled = tuple[Groups, Groups]  # strata, and states


class Sums(NamedTuple):
    """Sums over people by stratum and state."""

    days: Sum  # (strata * states that are told,)
    events: Sum  # (strata * states that are told,)


class Contributions(NamedTuple):
    """What each person contributes to each stratum and state, (n, strata * states)."""

    days: Array
    events: Array

    def of(self, states: Groups) -> Contributions:
        """Those to single states (n, 3), as those to the states that are told (n, states)."""
        return Contributions(*(np.stack([m[:, list(s)].sum(axis=1) for s in states], axis=1) for m in self))


@register("person_time")
@dataclass(frozen=True)
class PersonTime:
    """Rates of cohort `outcome` by state of `exposure`, a cohort of which every stay counts, in everybody or in the
    cohort `among`.

    `lag` and `carry_over` are days from the first day of a stay to the first at risk, and from its last day to the last
    at risk. `ages` are the first years of bands of age (on the first day at risk) and, with `sexes`, make the strata.
    `washout` days of observation come before anybody counts.

    Finding: tables `rates` (`state`, `stratum`, `events`, `person_years`, `estimate` per person-year, limits), `ratios`
    (`measure`, `rate_ratio`, `rr_low`, `rr_high`, `p_value`: exposed against before and after) and `attrition`. What
    rests on few people is null with `suppressed`. Errors: StudyError for settings; ModelError where no state may be
    told.
    """

    outcome: str
    exposure: str
    among: str = ""
    lag: int = 0
    carry_over: int = 30
    ages: tuple[int, ...] = (0,)
    sexes: bool = False
    washout: int = 0
    conf_level: float = 0.95
    ground: Ground = Ground()
    everybody = True  # `among` names whom it is about

    def __post_init__(self) -> None:
        object.__setattr__(self, "ages", tuple(self.ages))

    # public

    @property
    def eras(self) -> tuple[Definition, ...]:
        """The exposure, of which every stay counts."""
        return (self.ground.cohort(self.exposure),)

    @property
    def cohorts(self) -> tuple[Definition, ...]:
        """The outcome, the exposure, and whom it is counted in."""
        return tuple(self.ground.cohort(name) for name in (self.outcome, self.exposure, self.among) if name)

    @property
    def source(self) -> Source:
        """Whom to follow, and when."""
        outcome, _, *within = self.cohorts
        return Source(outcome, within[0] if within else None, self.among, self.washout, (), self.ages[0])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns read."""
        exposure = self.eras[0]
        return (*self.source.reads, exposure.start, exposure.end, *((SEX,) if self.sexes else ()))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns that nobody may miss: not the days of outcome and exposure."""
        return (*self.source.requires, *((SEX,) if self.sexes else ()))

    @property
    def about(self) -> str:
        """The words for whom it is about."""
        of = " in ".join(d.column for d in (self.cohorts[0], *self.cohorts[2:]))
        since = f"from {self.ages[0]} years, after {self.washout} days{', female or male' if self.sexes else ''}"
        return f"at risk of {of}, {since}"

    @property
    def strata(self) -> tuple[str, ...]:
        """The finest strata: bands of age, in each the sexes."""
        bands = [Axes((), self.ages, ()).label("ages", i) for i in range(len(self.ages))]
        return tuple(f"{band}, {sex}" for band in bands for sex in TOLD_SEXES) if self.sexes else tuple(bands)

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about, twice: by columns that somebody may miss, and as everybody of its own."""
        return self.about, f"all {self.about}"

    def check(self) -> None:
        """Settings, before anything is asked."""
        check_bands(self.ages, MOST_BANDS)
        for name in ("washout", "carry_over"):
            if getattr(self, name) < 0:
                raise StudyError(f"{name} is {getattr(self, name)}; give a number of days, 0 or more")
        check_level(self.conf_level)
        if self.outcome == self.exposure:
            raise StudyError(f"outcome and exposure are both '{self.outcome}'; name two cohorts")
        _ = self.cohorts

    # inside each hospital

    def whom(self, frame: Any) -> Bools:
        """(N,) whom it is about."""
        return np.asarray(~np.any([*self._reasons(frame).values()], axis=0))

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """The same for the guard across studies: the words, the columns that select, and who (N,) they are."""
        who = self.whom(frame)
        yield from zip(self.selecting, (self.requires, ()), (who, who), strict=True)

    def _reasons(self, frame: Any) -> dict[str, Bools]:
        """(N,) who does not count, by reason."""
        found = self.source.whom(frame, self.ground)
        if self.sexes:
            found[NO_SEX] = sexless(frame)
        return found

    def design(self, people: People, together: Groups, states: Groups) -> Design:
        """Days and events of everybody by stratum and state, and on how many people they rest."""
        frame = people.table.frame
        rows, left = followed(people.table, self._reasons(frame), self.ground)
        risk = self.source.read(frame, self.ground, rows)
        place = np.full(len(frame), -1)
        place[rows] = np.arange(int(rows.sum()))
        windows = stays(people.table, self.eras[0]).of(rows)
        made = contributions(risk, windows._replace(row=place[windows.row]), self.lag, self.carry_over)
        merged = np.zeros(len(self.strata), dtype=np.int64)
        for group, places in enumerate(together):
            merged[list(places)] = group
        data = by_stratum(made.of(states), merged[self._stratum(frame, rows, risk)], len(together))
        return Design(
            n=int(rows.sum()), rows=rows, data=data, columns=self.reads, left_out=left,
            cells=_supports(data, len(states)),
        )  # fmt: skip

    def contributions(self, people: People, settled: Settled) -> Array:
        """(N, numbers) what everybody contributes to each number that is told."""
        together, states = settled
        made = self.design(people, together, states)
        days, events = (m.reshape(made.n, len(together), len(states)) for m in made.data)
        # by stratum, and in all
        own = [values for m in (days, events) for values in (m.reshape(made.n, -1), m.sum(axis=1))]
        found = np.zeros((len(made.rows), sum(values.shape[1] for values in own)))
        found[made.rows] = np.hstack(own)
        return found

    def _stratum(self, frame: Any, rows: Bools, risk: AtRisk) -> Ints:
        """(n,) the finest stratum of each person, by age on the first day at risk."""
        age = np.floor((risk.start - risk.birth) / YEAR)
        band = np.maximum(np.searchsorted(np.array(self.ages), age, side="right") - 1, 0)
        if not self.sexes:
            return np.asarray(band, dtype=np.int64)
        return np.asarray(len(TOLD_SEXES) * band + np.asarray(frame[SEX] == TOLD_SEXES[1])[rows], dtype=np.int64)

    @local(on="design")
    def summed(self, people: People) -> Sums:
        """Days and events by stratum and state, which are whole numbers."""
        most = len(self.strata) * len(STATES)
        return Sums(*(people.derived(m.sum(axis=0), dims=("strata and states",), bounds=(most,), scale=0)
                      for m in people.design.data))  # fmt: skip

    # sums only

    def flow(self) -> FlowFinding:
        """Join strata until all may be told, then states; then sum."""
        (together, states), verdict = yield from self._settled()
        got = yield from ask(self.summed)
        days, events = (s.value.reshape(len(together), len(states)) for s in (got.days, got.events))
        whole = {s for places in states for s in places} == set(range(len(STATES)))
        names = ["; ".join(self.strata[i] for i in places) for places in together]
        records = self._rates("", states, events.sum(axis=0), days.sum(axis=0))
        if len(together) > 1:
            records += [r for g, name in enumerate(names) for r in self._rates(name, states, events[g], days[g])]
        tables = {"rates": records, "ratios": self._ratios(states, events, days), "attrition": attrition(verdict)}
        notes = [JOINED] if len(together) < len(self.strata) else []
        notes += [TOGETHER] if UNEXPOSED in states else []
        notes += [] if whole else [UNTOLD]
        cite = (rates.ULM, rates.GREENLAND) if len(together) > 1 else (rates.ULM,)
        return Finding("person_time", verdict.n, verdict.hospitals, tables, round(events.sum()) if whole else None,
                       notes=tuple(notes), cite=cite)  # fmt: skip

    def settling(self) -> Flow[Settled]:
        """What will be told."""
        settled, _ = yield from self._settled()
        return settled

    def _settled(self) -> Flow[tuple[Settled, Verdict]]:
        """The finest strata that may be told side by side, and the states."""
        together: Groups = tuple((i,) for i in range(len(self.strata)))
        states: Groups = APART
        while True:
            verdict = yield from support(self.design, together, states)
            pairs = beside.few(verdict)
            if not pairs:
                return (together, states), verdict
            if len(together) > 1:
                low = self._neighbour(together, min(i // len(states) for i, _ in pairs))
                together = (*together[:low], together[low] + together[low + 1], *together[low + 2 :])
                continue
            states = fewer(states, pairs)
            if not states:
                raise ModelError(
                    f"too few people have '{self.outcome}' before, during or after '{self.exposure}', or are at risk "
                    f"there; take a longer carry_over, a commoner outcome, or more hospitals"
                )

    def _neighbour(self, together: Groups, place: int) -> int:
        """The left one of two places to join, one of them this: within a band of age if it can be, else the next."""
        wide = len(TOLD_SEXES) if self.sexes else 1
        bands = [{i // wide for i in one} for one in together]
        if place and (bands[place - 1] & bands[place] or place + 1 == len(together)):
            return place - 1
        return place

    def _rates(self, stratum: str, states: Groups, events: Array, days: Array) -> list[Record]:
        """A record of each state, those that are told together as one; `events` and `days` (states that are told,)."""
        told = {places: i for i, places in enumerate(states)}
        joined = {s for places in states for s in places}
        records = []
        for places in sorted([*states, *((s,) for s in range(len(STATES)) if s not in joined)]):
            record: Record = {"stratum": stratum, "state": " and ".join(STATES[s] for s in places)}
            if (i := told.get(places)) is None:
                nothing = {"events": None, "person_years": None} | rates.NOTHING._asdict()
                records.append(record | nothing | {"suppressed": True})
                continue
            record |= {"events": round(events[i]), "person_years": days[i] / YEAR}
            records.append(record | rates.rate(events[i], days[i] / YEAR, self.conf_level)._asdict())
        return records

    def _ratios(self, states: Groups, events: Array, days: Array) -> list[Record]:
        """Exposed against before and after, crude and over strata; `events` and `days` (strata, states)."""
        other = [i for i, places in enumerate(states) if places != (EXPOSED,)]
        if (EXPOSED,) not in states or not other:
            nothing = dict.fromkeys(("rate_ratio", "rr_low", "rr_high", "p_value"))
            return [{"measure": "crude", **nothing, "suppressed": True}]
        exposed = states.index((EXPOSED,))
        e, t = (np.stack([m[:, exposed], m[:, other].sum(axis=1)], axis=1) for m in (events, days))
        found = {"crude": rates.ratio(e.sum(axis=0), t.sum(axis=0), self.conf_level)}
        if len(e) > 1:
            found["Mantel-Haenszel"] = rates.mantel_haenszel(e, t, self.conf_level)
        return [
            {"measure": name, "rate_ratio": r.limits.estimate, "rr_low": r.limits.conf_low,
             "rr_high": r.limits.conf_high, "p_value": r.p_value}
            for name, r in found.items()
        ]  # fmt: skip


def fewer(states: Groups, pairs: set[beside.Pair]) -> Groups:
    """The states told where sums of some rest on few people, (i, i), or few people tell two of them apart, (i, j).

    What concerns before and after alone joins the two; once they are one, what is few among them is left out. The
    exposed are left out where they are few, or few people tell them from others.
    """
    few = {(states[i], states[j]) for i, j in pairs}
    others = {places for pair in few for places in pair} - {(EXPOSED,)}
    alone = {pair for pair in few if (EXPOSED,) not in pair}
    if alone and UNEXPOSED not in states:
        return tuple(s for s in (UNEXPOSED, (EXPOSED,)) if s == UNEXPOSED or s in states)
    gone: set[tuple[int, ...]] = {(EXPOSED,)} if any((EXPOSED,) in pair for pair in few) else set()
    return tuple(s for s in states if s not in gone | (others if alone else set()))


def contributions(risk: AtRisk, windows: Stays, lag: int, carry_over: int) -> Contributions:
    """Days (n, 3) in each state, and the state of the event (n, 3), of people whose stays are `windows`."""
    open_ = Stays(windows.row, windows.start + lag, windows.end + carry_over)
    open_ = open_.clipped(risk.start, risk.stop - 1).joined()
    n, length = risk.start.size, open_.end - open_.start + 1
    exposed = np.bincount(open_.row, length, minlength=n)
    first, last = risk.stop.copy(), np.full(n, -np.inf)
    np.minimum.at(first, open_.row, open_.start)
    np.maximum.at(last, open_.row, open_.end)
    before = first - risk.start
    days = np.stack([before, exposed, risk.stop - risk.start - before - exposed], axis=1)
    event_day = risk.stop - 1
    state = np.where(last == event_day, EXPOSED, np.where(event_day < first, 0, 2))
    return Contributions(days, (state[:, None] == np.arange(len(STATES))) & risk.event[:, None])


def by_stratum(made: Contributions, stratum: Ints, strata: int) -> Contributions:
    """The same in the columns of each person's stratum: (n, strata * states)."""
    own = (stratum[:, None] == np.arange(strata)).astype(float)
    return Contributions(*((own[:, :, None] * m[:, None, :]).reshape(len(own), strata * m.shape[1]) for m in made))


def _supports(data: Contributions, states: int) -> dict[str, Cells]:
    """On how many people each number rests, and each difference of two of a stratum; and all the time in its states."""
    made: dict[str, Cells] = {}
    for first in range(0, data.days.shape[1], states):
        own = slice(first, first + states)
        made |= beside.cells("days", data.days[:, own], first=first) | beside.cells(
            "events", data.events[:, own], first=first
        )
        # days in all states together: of those who have another number than is usual
        whole = data.days[:, own].sum(axis=1)
        made[f"whole {first}:{first}"] = beside.anyone((whole != 0) & (whole != beside.usual(whole)))
    return made
