"""Fine and Gray's regression of the subdistribution hazard, one baseline per hospital.

Whoever had a competing event stays at risk of the cause afterwards, with the probability of not having been censored
since. With G the Kaplan-Meier curve of censoring (events leave before censorings of the same time), a person with a
competing event at s weighs at t > s

    w(t) = G(t-) / G(s-)        and 1 before; everybody else weighs 1 while followed.

The weight is a product of something at t and something of the person, so that sums over risk sets stay cumulative
sums: S0(t) = sum of r over those followed at t + G(t-) sum over competing events before t of r / G(s-). Everything
else is `cox` as it stands. G is that of the hospital (and stratum), as risk sets are: nothing of it leaves, and times
stay as fine as they are. Exact: equals R survival 3

    long <- finegray(Surv(time, event) ~ . + strata(hospital), etype = cause)
    coxph(Surv(fgstart, fgstop, fgstatus) ~ terms + strata(hospital), long, weights = fgwt, cluster = id)

Sources: Fine & Gray, JASA 1999;94:496 (equations 2-4); Geskus, Biometrics 2011;67:39 (weights and risk sets);
Lin & Wei 1989 (robust variance by person; it takes the weights as known, as R's does).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.causes import cause_number, one_cause
from confrere.analyses.cox import Beta, Cox, Sets
from confrere.analyses.finding import Citation, Finding
from confrere.analyses.risksets import RiskSets, risk_sets
from confrere.analyses.scaling import Standard
from confrere.errors import FormulaError
from confrere.rounds import Array, Bools, Design, Flow, Ints, People, register
from confrere.study.ground import Rows, design_of, model_of

FINE_GRAY_CITE = Citation(
    "Fine JP, Gray RJ. A proportional hazards model for the subdistribution of a competing risk. JASA 1999;94:496-509",
    "10.1080/01621459.1999.10474144",
)
NOTE = (
    "Subdistribution hazards: whoever had a competing event stays at risk with the probability of not having been "
    "censored since. A ratio above 1 means a higher cumulative incidence; it is no ratio of rates."
)


@register("_fine_gray")
@dataclass(frozen=True)
class FineGray(Cox):
    """Cox's steps on the risk sets of the subdistribution. `cause` must be named; the variance is robust."""

    robust: bool = True

    def check(self) -> None:
        """The formula and the cause, against the levels that the study declares."""
        super().check()
        cause_number(self.formula, self.ground, self.cause)
        outcome = model_of(self.formula, self.ground).outcome
        if outcome is not None and outcome.entry is not None:
            raise FormulaError(
                f'{self.formula!r}: Fine and Gray\'s model has no entry times here; use model = "cause-specific", '
                f"which has"
            )

    def design(self, people: People) -> Design:
        """Raw terms, event of the cause, and risk sets in which competing events remain."""
        made = self.rows(people)
        weights = np.ones(made.n) if made.data.weights is None else made.data.weights
        sets = subdistribution(made.data, made.flags["competing"], weights)
        return replace(made, data=Sets(made.data, sets, weights))

    def rows(self, people: People) -> Design:
        """Raw terms and outcome; only events of the cause count, and competing ones have a support of their own.

        Without it the numbers of a cause-specific fit, taken from these, would rest on the competing events alone.
        """
        made = design_of(people, self.formula, self.ground, weights=self.weights)
        number = cause_number(self.formula, self.ground, self.cause)
        competing = (made.data.event > 0) & (made.data.event != number)
        return one_cause(replace(made, flags={"competing": competing}), number)

    def flow(self) -> Flow[Finding]:
        """As Cox's, on other risk sets."""
        if self.baseline == "shared":
            from confrere.analyses.fine_gray_shared import SharedFineGray

            return (yield from SharedFineGray(self).flow())
        return (yield from super().flow())

    def _concordance(self, beta: Beta, z: Standard) -> Flow[dict[str, Any]]:
        """None: Harrell's C takes who had a competing event for censored."""
        yield from ()
        return {}


# Risk sets of the subdistribution -----------------------------------------------------------------------------


class Remaining(NamedTuple):
    """Those with a competing event, after it: at risk at event times `enter` <= j < `stop`, weight now[j] * since.

    `since` is 1/G(s-) per person (n,), 0 without a competing event; `now` is G(t-) at the event times (T,).
    """

    enter: Ints
    stop: Ints
    since: Array
    now: Array


@dataclass(frozen=True, eq=False)
class Subdistribution(RiskSets):
    """Risk sets in which people remain after a competing event, with falling weights."""

    remaining: Remaining

    def at_risk(self, values: Array) -> Array:
        """Sums of values (n,) or (n, p) over those at risk at each event time, weighted: (T,) or (T, p)."""
        enter, stop, since, now = self.remaining
        stay = np.flatnonzero((since > 0) & (enter < stop))
        late = replace(_plain(self), own=_at(self.last.size, stay, enter))
        added = late.tied(_times(values, since))
        for low, high in self.slices():
            added[low:high] = np.cumsum(added[low:high], axis=0)
        return super().at_risk(values) + _times(added, now)

    def during(self, values: Array) -> Array:
        """For each person the sum of values (T,) or (T, p) over the times at which it is at risk, weighted."""
        enter, stop, since, now = self.remaining
        ends = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(_times(values, now), axis=0)])
        return super().during(values) + _times(ends[stop] - ends[np.minimum(enter, stop)], since)


def _times(values: Array, factor: Array) -> Array:
    """Values (m,) or (m, p) times a factor (m,)."""
    return np.asarray(values * factor.reshape(-1, *[1] * (values.ndim - 1)))


def _plain(sets: RiskSets) -> RiskSets:
    """The same risk sets without those who remain."""
    return RiskSets(**{f.name: getattr(sets, f.name) for f in fields(RiskSets)})


def _at(size: int, who: Ints, where: Ints) -> Ints:
    """-1 for everybody but `who`."""
    out = np.full(size, -1)
    out[who] = where[who]
    return out


def subdistribution(rows: Rows, competing: Bools, weights: Array) -> Subdistribution:
    """The risk sets of one hospital; `rows.event` marks the cause, `competing` the other events, weights (n,)."""
    if rows.time is None or rows.event is None:
        raise FormulaError("the outcome must be Surv(time, event)")
    sets = risk_sets(rows.time, rows.event, None, rows.strata, weights)
    happened = (rows.event > 0) | competing
    groups = np.zeros(rows.time.size, dtype=np.int64) if rows.strata is None else rows.strata
    enter, stop = np.zeros((2, rows.time.size), dtype=np.int64)
    since, now = np.zeros(rows.time.size), np.ones(sets.size)
    for g in np.unique(groups[sets.own >= 0]):
        mine = groups == g
        own = sets.own[mine & (sets.own >= 0)]
        low, high = int(own.min()), int(own.max()) + 1
        curve = censoring(rows.time[mine], happened[mine])
        now[low:high] = curve.before(sets.times[low:high])
        stay = mine & competing
        enter[stay], stop[stay] = np.maximum(sets.last[stay] + 1, low), high
        since[stay] = 1 / curve.before(rows.time[stay])
    parts = {f.name: getattr(sets, f.name) for f in fields(RiskSets)}
    return Subdistribution(**parts, remaining=Remaining(enter, stop, since, now))


class Steps(NamedTuple):
    """A curve that falls at `times` (m,) to `values` (m,), 1 at the start."""

    times: Array
    values: Array

    def before(self, t: Array) -> Array:
        """Its value just before t."""
        return np.asarray(np.append(1.0, self.values)[np.searchsorted(self.times, t, side="left")])


def censoring(time: Array, event: Bools) -> Steps:
    """Kaplan-Meier of the time to censoring, people with an event leaving just before; time and event (n,).

    Case weights do not enter, as in R's finegray.
    """
    times, place = np.unique(time, return_inverse=True)
    left = np.bincount(place[event], minlength=times.size).astype(float)
    censored = np.bincount(place[~event], minlength=times.size).astype(float)
    at_risk = np.cumsum((left + censored)[::-1])[::-1] - left
    factor = 1 - np.divide(censored, at_risk, out=np.zeros_like(censored), where=censored > 0)
    return Steps(times, np.cumprod(factor))
