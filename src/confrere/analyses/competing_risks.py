"""Competing risks over all hospitals: how often each cause comes first, and how terms change it.

Three models of a formula whose event column has levels (the first is censoring):

- `incidence`: cumulative incidence of every cause by group (Aalen-Johansen), from the counts of `follow_up`;
- `cause-specific`: Cox's model of one cause, the others censored: the rate among those still free of every event;
- `fine-gray`: Fine and Gray's model of one cause: its cumulative incidence (see `fine_gray`).

Sources: Aalen & Johansen, Scand J Stat 1978;5:141; Marubini & Valsecchi 1995, equation 10.12 (variance); Prentice et
al., Biometrics 1978;34:541 (cause-specific hazards); Fine & Gray, JASA 1999;94:496. Matches R survival's survfit with a
factor event (estimates and standard errors, without weights), coxph(Surv(time, event == cause) ~ ...), finegray.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from confrere.analyses.causes import cause_number, causes_of
from confrere.analyses.coarse import Seen, between, coarse
from confrere.analyses.cox import Cox
from confrere.analyses.curves import Cellwise, cellwise
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, chi_square, count
from confrere.analyses.fine_gray import FINE_GRAY_CITE, NOTE, FineGray
from confrere.analyses.follow_up import FollowUp, Table
from confrere.analyses.incidence import Incidence, estimate, incidence
from confrere.analyses.kaplan_meier import called, estimated, grid_notes, grid_words, hidden, worded
from confrere.errors import StudyError
from confrere.rounds import Flow, Ints, register
from confrere.study.ground import Ground

MODELS = ("incidence", "cause-specific", "fine-gray")
AALEN_JOHANSEN = (
    Citation("Aalen OO, Johansen S. An empirical transition matrix for non-homogeneous Markov chains based on censored "
             "observations. Scand J Stat 1978;5:141-150", ""),
    Citation("Marubini E, Valsecchi MG. Analysing survival data from clinical trials and observational studies. "
             "Wiley 1995", ""),
)  # fmt: skip
PRENTICE = Citation("Prentice RL, Kalbfleisch JD, Peterson AV, et al. The analysis of failure times in the presence of "
                    "competing risks. Biometrics 1978;34:541-554", "10.2307/2530374")  # fmt: skip


@register("competing_risks")
@dataclass(frozen=True)
class CompetingRisks:
    """Competing risks: `Surv(time, event) ~ group` (incidence) or `~ terms` (regressions), event a column with levels.

    `model` is `incidence`, `cause-specific` or `fine-gray`; the regressions need a `cause`. `times` (reporting times)
    and `conf_type` (`log`, `log-log`, `plain`) are of the incidence; `ties` and `baseline` of the regressions, as in
    `cox`. `weights` names a column of case weights; in the incidence a weight counts as so many people.

    Finding: `incidence` has tables `incidence` (group, cause, time) and `at_times`; the regressions have
    `coefficients` (log hazard ratios; of the subdistribution for `fine-gray`), `tests`, `proportional_hazards`; all
    have `attrition`. With exact times or a baseline per hospital equal to R. Errors: StudyError for a cause that is no
    level and for an event without levels, ModelError for no events.
    """

    formula: str
    model: str = "incidence"
    cause: str = ""
    times: tuple[float, ...] = ()
    conf_type: str = "log"
    ties: str = "efron"
    baseline: str = "per hospital"
    weights: str = ""
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", tuple(sorted(float(t) for t in self.times)))
        if self.model not in MODELS:
            raise StudyError(f"model is {self.model!r}; it must be one of {', '.join(map(repr, MODELS))}")
        if any(not 0 < t < np.inf for t in self.times):
            raise StudyError(f"times are {list(self.times)}; reporting times are positive numbers")
        if self.conf_type not in ("log", "log-log", "plain"):
            raise StudyError(f"conf_type is {self.conf_type!r}; it must be 'log', 'log-log' or 'plain'")
        if self.model != "incidence" and self.times:
            raise StudyError(f'times are those of a curve, and model = "{self.model}" has none; leave them out')
        if self.model == "incidence" and self.cause:
            raise StudyError('model = "incidence" shows every cause; leave cause out, or choose a regression')
        self.regression.__post_init__()

    def check(self) -> None:
        """The formula and the cause, against the levels that the study declares."""
        if self.model == "incidence":
            causes_of(self.formula, self.ground)
            self.follow_up.check()
        else:
            cause_number(self.formula, self.ground, self.cause)
            self.regression.check()

    @property
    def follow_up(self) -> FollowUp:
        """Who leaves when, and by which cause."""
        return FollowUp(self.formula, self.weights, self.ground.marked(*self.times))

    @property
    def regression(self) -> Cox:
        """The regression of the cause. With case weights the variance is robust, as in R."""
        kind, robust = (FineGray, True) if self.model == "fine-gray" else (Cox, bool(self.weights))
        return kind(
            self.formula, self.ties, self.baseline, self.weights, robust=robust, cause=self.cause, ground=self.ground
        )

    def flow(self) -> Flow[Finding]:
        """The counts of the curves, or the flow of the regression."""
        self.check()
        if self.model == "incidence":
            table = yield from self.follow_up.flow()
            return self.curves(table)
        return self.told((yield from self.regression.flow()))

    def told(self, found: Finding) -> Finding:
        """The finding of a regression, in the terms of competing risks."""
        tests, vcov = list(found.tables["tests"]), found.arrays.get("robust_vcov")
        if vcov is not None:
            beta = found.arrays["estimate"]
            tests.append(chi_square("robust Wald", float(beta @ np.linalg.solve(vcov, beta)), beta.size))
        gray = self.model == "fine-gray"
        specific = f"Events of other causes than {self.cause!r} are censored: ratios are of cause-specific hazards."
        return replace(
            found, method="competing_risks", tables={**found.tables, "tests": tests},
            facts={"model": self.model, "cause": self.cause, **found.facts},
            notes=(NOTE if gray else specific, *found.notes),
            cite=(FINE_GRAY_CITE if gray else PRENTICE, *found.cite),
        )  # fmt: skip

    # cumulative incidence

    def curves(self, table: Table) -> Finding:
        """Incidence of every cause, by group, and at the reporting times."""
        incidences: list[Record] = []
        at_times: list[Record] = []
        left_out, events, seen = list(table.hidden), 0.0, list[Seen]()
        for g, group in enumerate(table.groups):
            cells = cellwise(table, g, self.ground.fine)
            if cells is None:
                left_out.append(group)
                continue
            events += cells.all_events.sum()
            curve = incidence(cells)
            incidences += self._curve(table, g, curve)
            for cause, ends in enumerate(ends_of(table, g, j, cells) for j in range(len(cells.events))):
                at_times += [self._at(table, g, curve, t, cause) | between(cells, ends, t).fields for t in self.times]
                seen.append(self._seen(group, curve, cause, ends))
        tables = {"incidence": incidences, "at_times": at_times, "suppressed": [hidden(group) for group in left_out]}
        return Finding(
            method="competing_risks", n=table.verdict.n, events=round(events), hospitals=table.verdict.hospitals,
            tables={**{name: rows for name, rows in tables.items() if rows}, "attrition": attrition(table.verdict)},
            facts={"model": self.model, "grid": grid_words(table, self.ground), "conf_type": self.conf_type},
            notes=grid_notes(self.ground), cite=AALEN_JOHANSEN, warnings=self._coarse(seen),
        )  # fmt: skip

    def _curve(self, table: Table, g: int, curve: Incidence) -> list[Record]:
        """A record per cause and time with exits (exact), or per cell of events of the cause, at its right edge.

        A later cell without events has none: the curve stays as it is.
        """
        causes, cells, k = causes_of(self.formula, self.ground), curve.cells, self._least(table)
        records: list[Record] = []
        for cause, name in enumerate(causes):
            first = 0
            for j in ends_of(table, g, cause, cells):
                events = float(cells.events[cause, first : j + 1].sum())
                if first and not events and not cells.exact:
                    continue
                time = {"group": table.groups[g], "cause": name, "time": float(cells.right[j])}
                counts = count("at_risk", float(cells.at_risk[first]), k) | count("events", events, k)
                records.append(time | counts | estimated(*estimate(curve.states[j + 1], cause, self.conf_type)))
                first = int(j) + 1
        return records

    def _seen(self, group: str, curve: Incidence, cause: int, ends: Ints) -> Seen:
        """What a caution needs to know of a curve."""
        name = f"{causes_of(self.formula, self.ground)[cause]}, {called(group, self.follow_up.columns)}"
        times = {worded(t): t for t in self.times}
        return Seen(
            name, curve.cells, ends, curve.cells.events[cause], lambda t: float(curve.at(t).incidence[cause]), times
        )

    def _coarse(self, seen: list[Seen]) -> tuple[Caution, ...]:
        """The caution of curves on few cells, and of times within one."""
        return () if self.ground.fine else coarse(seen, self.ground.unit)

    def _at(self, table: Table, g: int, curve: Incidence, time: float, cause: int) -> Record:
        names, k = causes_of(self.formula, self.ground), self._least(table)
        place = {"group": table.groups[g], "cause": names[cause], "time": time}
        counts = count("at_risk", curve.at_risk(time), k)
        return place | counts | estimated(*estimate(curve.at(time), cause, self.conf_type))

    def _least(self, table: Table) -> int:
        """The least people that a shown count rests on."""
        return 0 if self.ground.fine else table.verdict.k


def ends_of(table: Table, g: int, cause: int, cells: Cellwise) -> Ints:
    """The cells at whose right edge a cause is reported: where its own merged cells end; all exits if exact."""
    if cells.exact:
        return np.flatnonzero(cells.all_events + cells.censored > 0)
    grid = table.maps[f"cause {cause + 1}"][g]
    times = np.append(0.0, table.edges)[np.flatnonzero(np.diff(grid, prepend=-1) > 0)]
    inner = np.searchsorted(cells.left, times[1:]) - 1
    return np.append(inner, cells.left.size - 1)
