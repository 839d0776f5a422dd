"""Kaplan-Meier survival curves over all hospitals, on a public ladder of times.

Sources: Kaplan & Meier, JASA 1958;53:457; Greenwood 1926; Brookmeyer & Crowley, Biometrics 1982;38:29 (limits of the
median). With exact times (class `fine_times`) equals R survival::survfit; else the estimate at reporting times is
that of events and censorings spread evenly over cells of at least k people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from confrere.analyses.coarse import Seen, between, coarse, last_supported
from confrere.analyses.curves import Curve, cellwise, knots, limits, spread, survival
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, count
from confrere.analyses.follow_up import FollowUp, Table
from confrere.errors import StudyError
from confrere.rounds import Flow, register
from confrere.study.ground import DAYS, Ground

CITE = (
    Citation("Kaplan EL, Meier P. Nonparametric estimation from incomplete observations. JASA 1958;53:457-481",
             "10.1080/01621459.1958.10501452"),
    Citation("Greenwood M. The natural duration of cancer. Reports on Public Health 33. HMSO 1926", ""),
)  # fmt: skip
CELL = ("cell_low", "cell_high")


@register("kaplan_meier")
@dataclass(frozen=True)
class KaplanMeier:
    """Survival by group: `Surv(time, event) ~ group`, also `Surv(entry, time, event)`, `~ 1` for everybody.

    `times` are reporting times, `tau` ends the restricted mean survival time (default: the last reporting time),
    `conf_type` is `log`, `log-log` or `plain`, `weights` names a column of case weights.

    Finding: tables `curve` (per group and cell; `estimate` is S, `std_error` of S by Greenwood), `survival` at
    `times`, `median`, `rmst`, `attrition`; a group with fewer than k people, events or censorings is in `suppressed`.
    """

    formula: str
    times: tuple[float, ...] = ()
    tau: float | None = None
    conf_type: str = "log"
    weights: str = ""
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", tuple(sorted(float(t) for t in self.times)))
        if any(not 0 < t < np.inf for t in self.times):
            raise StudyError(f"times are {list(self.times)}; reporting times are positive numbers")
        if self.conf_type not in ("log", "log-log", "plain"):
            raise StudyError(f"conf_type is {self.conf_type!r}; it must be 'log', 'log-log' or 'plain'")

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        self.follow_up.check()

    @property
    def follow_up(self) -> FollowUp:
        """Who leaves when; shared with the tests of the same curves."""
        tau = () if self.tau is None else (self.tau,)
        return FollowUp(self.formula, self.weights, self.ground.marked(*self.times, *tau))

    def flow(self) -> Flow[Finding]:
        """One table of exits; everything else is a function of it."""
        table = yield from self.follow_up.flow()
        if len([k for k in table.kinds if k.startswith("cause")]) > 1:
            raise StudyError(f"{self.formula!r}: the event has several causes; use method competing_risks")
        return self.finding(table)

    def finding(self, table: Table) -> Finding:
        """Curves and what is read off them."""
        tables: dict[str, list[Record]] = {k: [] for k in ("curve", "survival", "risk", "median", "rmst")}
        left_out, curves = list(table.hidden), dict[str, Curve]()
        events, k = 0.0, 0 if self.ground.fine else table.verdict.k
        for g, group in enumerate(table.groups):
            cells = cellwise(table, g, self.ground.fine)
            if cells is None:
                left_out.append(group)
                continue
            events += cells.all_events.sum()
            curve = survival(cells)
            tables["curve"] += curve_records(group, curve, self.conf_type, k)
            tables["survival"] += [self._at(group, curve, t, k) for t in self.times]
            curves[group] = curve
            tables["median"].append(self._median(group, curve))
            tables["rmst"] += self._rmst(group, curve)
        times = ticks(list(curves.values()), self.ground)
        tables["risk"] = [
            {"group": group, "time": t, **count("at_risk", at_risk(curve, t), k)}
            for group, curve in curves.items()
            for t in times
            if t <= last_supported(curve.cells) + 1e-9
        ]
        tables["suppressed"] = [hidden(group) for group in left_out]
        return Finding(
            method="kaplan_meier", n=table.verdict.n, events=round(events), hospitals=table.verdict.hospitals,
            tables={**{k: v for k, v in tables.items() if v}, "attrition": attrition(table.verdict)},
            facts={"grid": grid_words(table, self.ground), "conf_type": self.conf_type},
            arrays={"curves": knots(list(curves.values()))}, notes=grid_notes(self.ground), cite=CITE,
            warnings=self._coarse(curves, tables["median"]),
        )  # fmt: skip

    def _coarse(self, curves: dict[str, Curve], medians: list[Record]) -> tuple[Caution, ...]:
        """The caution of curves on few cells, and of times within one."""
        if self.ground.fine:
            return ()
        middle = {r["group"]: {"median": r["estimate"]} for r in medians if r["estimate"] is not None}
        return coarse([self._seen(g, c, middle.get(g, {})) for g, c in curves.items()], self.ground.unit)

    def _seen(self, group: str, curve: Curve, median: dict[str, float]) -> Seen:
        """What a caution needs to know of a curve."""
        cells, times = curve.cells, median | {worded(t): t for t in self.times}
        name = called(group, self.follow_up.columns)
        return Seen(name, cells, cells.ends, cells.all_events, lambda t: curve.at(t)[0], times)

    def _at(self, group: str, curve: Curve, time: float, k: int) -> Record:
        s, variance = curve.at(time)
        low, high = limits(np.array(s), np.array(variance), self.conf_type)
        left = count("at_risk", at_risk(curve, time), k)
        cell = between(curve.cells, curve.cells.ends, time).fields
        return {"group": group, "time": time, **left, **estimated(s, spread(s, variance), low, high), **cell}

    def _median(self, group: str, curve: Curve) -> Record:
        median, low, high = curve.quantile(0.5, self.conf_type)
        cell = dict.fromkeys(CELL) if median is None else between(curve.cells, curve.cells.ends, median).fields
        return {"group": group, "estimate": median, "conf_low": low, "conf_high": high, **cell}

    def _rmst(self, group: str, curve: Curve) -> list[Record]:
        taus = ([] if self.tau is None else [float(self.tau)]) or list(self.times[-1:])
        records = []
        for tau in taus:
            area, se = curve.area(tau)
            low, high = area - 1.959963984540054 * se, area + 1.959963984540054 * se
            records.append({"group": group, "tau": tau, **estimated(area, se, low, high)})
        return records


def curve_records(group: str, curve: Curve, kind: str, k: int) -> list[Record]:
    """A record per time (exact) or per cell of events, at its right edge, with the people at risk at its left one.

    Censorings have cells of their own and are spread evenly over them. On cells the curve ends with the last one that
    has events, or with its first: how long people were followed beyond it is not known.
    """
    cells, (low, high) = curve.cells, curve.limits(kind)
    first, end = 0, last_supported(curve.cells)
    records = []
    for j in cells.ends:
        if first and cells.right[j] > end + 1e-9:
            break
        d, c = cells.all_events[first : j + 1].sum(), cells.censored[first : j + 1].sum()
        if (not cells.exact and cells.at_risk[first] > 1e-6) or d > 0 or c > 0:
            counts = count("at_risk", cells.at_risk[first], k) | count("events", d, k) | count("censored", c, k)
            s, se = curve.survival[j], spread(curve.survival[j], curve.variance[j])
            time = {"group": group, "time": float(cells.right[j])}
            records.append(time | counts | estimated(s, se, low[j], high[j]))
        first = j + 1
    return records


def estimated(estimate: Any, se: Any, low: Any, high: Any) -> Record:
    """Estimate, standard error and limits; None where they do not exist."""
    values = {"estimate": estimate, "std_error": se, "conf_low": low, "conf_high": high}
    return {k: float(v) if np.isfinite(v) else None for k, v in values.items()}


def hidden(group: str) -> Record:
    """The record of a group that is left out."""
    reason = "fewer people, events or censorings than may be shown"
    return {"group": group, "estimate": None, "suppressed": True, "reason": reason}


def called(group: str, columns: Sequence[str]) -> str:
    """A group in words: `sex: 2`."""
    return f"{columns[0]}: {group}" if len(columns) == 1 else group if columns else "everybody"


def worded(time: float) -> str:
    """A reporting time in words."""
    return f"time {time:g}"


def ticks(curves: list[Curve], ground: Ground) -> list[float]:
    """Round times for the numbers at risk, at most nine, in half or whole years; none where follow-up is short."""
    year = 365.25 / DAYS[ground.unit]
    last = max((last_supported(c.cells) for c in curves), default=0.0)
    step = next((s * year for s in (0.5, 1, 2, 5, 10) if last / (s * year) <= 8), 20 * year)
    times = [float(t) for t in np.arange(0, last + 1e-9, step)]
    return times if len(times) >= 3 else []


def at_risk(curve: Curve, time: float) -> float:
    """People at risk just before a time, on a coarse grid between its edges."""
    cells = curve.cells
    if cells.exact:
        later = np.flatnonzero(cells.right >= time)
        return float(cells.at_risk[later[0]]) if later.size else 0.0
    end = cells.at_risk[-1] - cells.all_events[-1] - cells.censored[-1]
    return float(np.interp(time, np.append(cells.left, cells.right[-1]), np.append(cells.at_risk, end)))


def grid_words(table: Table, ground: Ground) -> str:
    """The grid in words."""
    if ground.fine:
        return f"exact times, to {ground.width:g} {ground.unit}"
    cells = [int(table.maps[k].max()) + 1 for k in table.kinds if k.startswith("cause")]
    return f"ladder of {len(table.edges)} cells up to {table.edges[-1]:g} {ground.unit}, merged to {max(cells)}"


def grid_note(ground: Ground) -> str:
    """What the grid means for the reader."""
    if ground.fine:
        return "Times are exact on the network: the stewards approved the class fine_times."
    return (
        f"Times are coarsened: events and censorings are counted in cells of at least {ground.width:g} {ground.unit} "
        f"that hold nobody or at least k people, and are spread evenly within a cell."
    )


def grid_notes(ground: Ground) -> tuple[str, ...]:
    """The same of curves, and where they end."""
    end = "A curve ends with its last cell that has events: how long people were followed beyond it is not known."
    return (grid_note(ground),) if ground.fine else (grid_note(ground), end)
