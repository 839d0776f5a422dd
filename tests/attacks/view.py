"""The coordinator's whole view of a run: every total that every hospital's gate let pass, and every verdict.

Supports are blinded from the coordinator, so they are no part of it; the verdict on them (people, people left out
by reason, grids) is public and is. `View.of_site` answers a hospital's part of the same asks, with the same public
arguments and verdicts, from other records: how every attack in this folder differentiates the view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attacks.people import Table, pooled
from confrere.hospital.gate import Gate, Policy, Support, Violation, support_of
from confrere.rounds import Ask, Flow, Site, Sum, Verdict, added, drive, leaves, name_of, supported


@dataclass
class View:
    """What was asked of `tables`, and what came back; `values` (m,) by `labels`, each hospital's `parts` (h, m)."""

    tables: Mapping[str, Table]
    policy: Policy
    events: list[tuple[Ask, Verdict | None]] = field(default_factory=list)
    sums: list[tuple[Ask, Any]] = field(default_factory=list)
    finding: Any = None
    gates: dict[str, Gate] = field(default_factory=dict)
    alone: tuple[str, ...] = ()  # members that let their own sums leave

    def __post_init__(self) -> None:
        self.part_in: set[str] = set()  # hospitals that took part in some design

    @property
    def labels(self) -> list[str]:
        """Analysis, step, sum and place of every number of the view."""
        return [label for a, s in self.sums for label, _ in _named(a, s)]

    @property
    def values(self) -> np.ndarray:
        """The totals (m,)."""
        return _flat([s for _, s in self.sums])

    @property
    def public(self) -> list[tuple[str, float]]:
        """Counts that verdicts say in the clear: people, and people left out by reason."""
        said = []
        for a, v in self.events:
            if v is not None:
                said.append((f"{name_of(a.analysis)}.{a.step}: n", float(v.n)))
                said += [(f"{name_of(a.analysis)}.{a.step}: {r}", float(c)) for r, c in v.left_out if c is not None]
        return said

    def of_site(self, table: Table) -> np.ndarray:
        """A hospital's part (m,) of every total, from these records; grids and arguments as they were."""
        site = Site(table)
        parts = []
        for a, verdict in self.events:
            if verdict is not None:
                site.design(a)
                site.settle(a, verdict)
            elif a.kind == "keep":
                site.run(a)
            else:
                parts.append(site.run(a))
        return _flat(parts)

    def people(self, name: str) -> list[tuple[str, np.ndarray]]:
        """(label, 0/1 per row) of the counts in `public`, for the rows of one hospital."""
        site, rows = Site(self.tables[name]), []
        for a, verdict in self.events:
            # a comparison that may still leave people out does not say how many they are
            if verdict is not None and verdict.n:
                d = site.design(a, self.policy.enough)
                inside = np.zeros(len(self.tables[name].frame))
                if d.n:
                    inside[d.rows] = _shown(d, verdict)
                rows.append((f"{name_of(a.analysis)}.{a.step}: n", inside))
        return rows


def _shown(design: Any, verdict: Verdict) -> np.ndarray:
    """Whom the verdict's number of people counts (n,): not those in cells that were dropped."""
    shown = np.ones(design.n)
    for name, c in design.cells.items():
        if c.rule == "drop":
            grid = np.broadcast_to(verdict.grids[name], c.shape).ravel()
            shown[(c.index >= 0) & (grid[np.maximum(c.index, 0)] < 0)] = 0.0
    return shown


def record(
    flow: Flow[Any], tables: Mapping[str, Table], policy: Policy | None = None, columns: int = 0,
    alone: tuple[str, ...] = (),
) -> View:  # fmt: skip
    """Drive a flow over hospitals, each behind its own gate, and write down the view. `Violation` if one refuses.

    `columns` is what the budget of numbers counts; by default the columns of the tables. Members that are `alone` let
    their own sums leave.
    """
    policy = policy or Policy()
    view = View(dict(tables), policy, alone=alone)
    width = columns or pooled(tables).shape[1]
    sites = {name: Site(t) for name, t in tables.items()}
    view.gates = {name: Gate(policy, width) for name in tables}

    def one(a: Ask) -> Any:
        got = _settled(view, sites, a) if a.kind == "support" else _asked(view, sites, a)
        view.events.append((a, got if a.kind == "support" else None))
        if a.kind == "ask":
            view.sums.append((a, got))
        return got

    view.finding = drive(supported(flow), lambda asks: tuple(one(a) for a in asks))
    return view


def _settled(view: View, sites: Mapping[str, Site], a: Ask) -> Verdict:
    designs = {name: s.design(a, view.policy.enough) for name, s in sites.items()}
    view.part_in |= {name for name, d in designs.items() if d.n}
    parts = [support_of(d, Policy(alone=name in view.alone)) for name, d in designs.items()]
    total = Support(*(np.sum([getattr(p, f) for p in parts], axis=0) for f in Support._fields))
    verdicts = [view.gates[name].settle(a, designs[name], total) for name in sites]
    for site in sites.values():
        site.settle(a, verdicts[0])
    return verdicts[0]


def _asked(view: View, sites: Mapping[str, Site], a: Ask) -> Any:
    parts = {name: s.run(a) for name, s in sites.items()}
    if a.kind == "keep":
        return None
    for name, part in parts.items():
        view.gates[name].admit(a, part, sites[name].people(a))
    return added(list(parts.values()))


def refused(flow: Flow[Any], tables: Mapping[str, Table], policy: Policy | None = None, columns: int = 0) -> str:
    """Why the gate refuses a run; empty if it lets the whole of it pass."""
    try:
        record(flow, tables, policy, columns)
    except Violation as reason:
        return str(reason)
    return ""


def _named(a: Ask, sums: Any) -> list[tuple[str, Sum]]:
    head = f"{name_of(a.analysis)}.{a.step}"
    return [(f"{head}.{name}[{i}]", s) for name, s in leaves(a, sums) for i in range(s.numbers().size)]


def _flat(answers: list[Any]) -> np.ndarray:
    return np.concatenate([np.empty(0), *(s.numbers() for sums in answers for s in sums)])
