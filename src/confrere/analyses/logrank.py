"""Log-rank tests and their weighted variants over all hospitals, from the same counts as the curves.

At each time with d events of which d_g in group g, n at risk of which n_g, and weight w: O - E = sum w (d_g - d n_g/n),
variance sum w^2 d (n - d)/(n - 1) (n_g/n delta_gh - n_g n_h/n^2). Strata are summed. Stratified by hospital
(`baseline = "per hospital"`) it is exact without any grid: every hospital compares its own people, and only O, E and V
leave. Else it needs the network's times: with exact times it equals R survival::survdiff; on a coarse ladder events and
censorings are spread evenly over their cells, and a cell's number at risk is that of its middle.

Sources: Mantel 1966; Peto & Peto, JRSS A 1972;135:185; Harrington & Fleming, Biometrika 1982;69:553
(S(t-)^rho (1 - S(t-))^gamma); Tarone & Ware 1977 (sqrt n); Gehan 1965 (n).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.curves import cellwise, own_edges, suppressed
from confrere.analyses.finding import Caution, Citation, Finding, Record, attrition, chi_square
from confrere.analyses.follow_up import FEW, FollowUp, Table
from confrere.analyses.kaplan_meier import grid_note, grid_words
from confrere.analyses.risksets import risk_sets
from confrere.analyses.scaling import RAW
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Design, Flow, People, Sum, ask, local, register, support
from confrere.study.formulas import model
from confrere.study.ground import Ground, narrowed

CITE = (Citation("Harrington DP, Fleming TR. A class of rank test procedures for censored survival data. "
                 "Biometrika 1982;69:553-566", "10.1093/biomet/69.3.553"),)  # fmt: skip
FEW_CELLS = 20
TESTS = {"logrank": "log-rank", "gehan": "Gehan-Breslow", "tarone-ware": "Tarone-Ware", "peto": "Peto-Peto"}


class Differences(NamedTuple):
    """What the hospitals' own tests add up to."""

    people: Sum  # (groups,)
    events: Sum  # (groups,)
    weighted: Sum  # (groups,) observed, weighted
    expected: Sum  # (groups,) expected, weighted
    variance: Sum  # (groups, groups), symmetric


@register("logrank")
@dataclass(frozen=True)
class LogRank:
    """Compare survival between groups: `Surv(time, event) ~ group`, with `strata(column)` if wanted.

    `test` is `logrank`, `gehan`, `tarone-ware` or `peto`; or give Fleming and Harrington's `rho` and `gamma`.
    `baseline` is `shared` (the usual test, on the grid of times) or `per hospital` (stratified by hospital, exact).

    Finding: tables `test` (chi-square) and `groups` (n at risk at the start, observed, expected), `attrition`.
    """

    formula: str
    test: str = "logrank"
    rho: float = 0.0
    gamma: float = 0.0
    baseline: str = "shared"
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        if self.test not in TESTS:
            raise StudyError(f"test is {self.test!r}; it must be one of {', '.join(TESTS)}")
        if self.baseline not in ("shared", "per hospital"):
            raise StudyError(f"baseline is {self.baseline!r}; it must be 'shared' or 'per hospital'")
        if not (0 <= self.rho < np.inf and 0 <= self.gamma < np.inf):
            raise StudyError(f"rho and gamma are {self.rho} and {self.gamma}; they must be 0 or positive")

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        self.follow_up.check()
        if not self._columns:
            raise FormulaError(f"{self.formula!r}: a log-rank test compares groups; write Surv(time, event) ~ group")

    @property
    def _columns(self) -> tuple[str, ...]:
        parsed = model(self.formula, self.ground.schema)
        return tuple(c for c in self.follow_up.columns if c not in parsed.strata)

    @property
    def follow_up(self) -> FollowUp:
        """Who leaves when; the same as of the curves."""
        return FollowUp(self.formula, "", self.ground)

    # inside each hospital

    def compared(self, people: People, shown: tuple[int, ...]) -> Design:
        """Membership of each shown group (n, groups), event, and risk sets."""
        made, group = self.follow_up.grouped(people)
        places = list(dict.fromkeys(self._side(i) for i in shown))
        side = np.array([places.index(self._side(i)) if i in shown else -1 for i in range(len(self.follow_up.labels))])
        keep = side[group] >= 0
        made = narrowed(made, keep, FEW)
        rows, x = made.data, np.eye(len(places))[side[group[keep]]]
        sets = risk_sets(rows.time, rows.event, rows.entry, rows.strata, np.ones(len(x)))
        return replace(made, x=x, names=tuple(places), data=sets)

    @local(on="compared")
    def differences(self, people: People) -> Differences:
        """Observed, expected and variance of this hospital and its strata."""
        x, sets = people.design.x, people.design.data
        n, d = sets.at_risk(x), sets.tied(x)
        g = x.shape[1]
        parts = [self._sums(d[a:b].T, n[a:b].T, exact=True) for a, b in sets.slices()]
        o, e = (sum((p[i] for p in parts), np.zeros(g)) for i in (0, 1))
        v = sum((p[2] for p in parts), np.zeros((g, g)))
        kinds: dict[str, Any] = {"dims": ("groups",), "bounds": (g,), "scale": RAW}
        return Differences(
            people.derived(x.sum(axis=0), **kinds), people.derived(d.sum(axis=0), **kinds),
            people.derived(o, **kinds), people.derived(e, **kinds),
            people.derived(v, dims=("groups", "groups"), bounds=(g, g), symmetric=True, scale=RAW),
        )  # fmt: skip

    def _side(self, i: int) -> str:
        """The group that a label belongs to, whatever its stratum."""
        return self._sides([self.follow_up.labels[i]])[0][0]

    # sums only

    def flow(self) -> Flow[Finding]:
        """The counts of the curves, or sums of tests within hospitals."""
        if self.baseline == "per hospital":
            return (yield from self._within())
        return (yield from self._shared())

    def _within(self) -> Flow[Finding]:
        """The test stratified by hospital."""
        shown = yield from self.follow_up.shown()
        verdict = yield from support(self.compared, shown)
        names = list(dict.fromkeys(self._side(i) for i in shown))
        if len(names) < 2:
            raise ModelError("fewer than two groups have enough people to be compared")
        got = yield from ask(self.differences)
        o, e, v = got.weighted.value, got.expected.value, got.variance.value
        return Finding(
            method="logrank", n=verdict.n, events=round(got.events.value.sum()), hospitals=verdict.hospitals,
            tables={
                "test": [self._test(o - e, v)], "groups": self._groups(names, got.people.value, o, e),
                "attrition": attrition(verdict),
            },
            notes=("Stratified by hospital: people are compared with people of their own hospital.",), cite=CITE,
        )  # fmt: skip

    def _test(self, difference: Array, variance: Array) -> Record:
        difference, variance = difference[:-1], variance[:-1, :-1]
        statistic = float(difference @ np.linalg.pinv(variance) @ difference)
        return chi_square(self.title, statistic, len(difference))

    def _shared(self) -> Flow[Finding]:
        """The exits that the curves of the same formula and times ask for."""
        table = yield from self.follow_up.flow()
        if len([k for k in table.kinds if k.startswith("cause")]) > 1:
            raise StudyError(f"{self.formula!r}: the event has several causes; a log-rank test has one")
        return self.finding(table)

    def finding(self, table: Table) -> Finding:
        """The test from counts by group, stratum and cell."""
        used = [g for g in range(len(table.groups)) if not suppressed(table, g)]
        groups, strata = self._sides([table.groups[g] for g in used])
        names = sorted(set(groups), key=groups.index)
        if len(names) < 2:
            raise ModelError(
                "fewer than two groups have enough people and events to be compared; merge groups, or add hospitals"
            )
        observed, expected = np.zeros(len(names)), np.zeros(len(names))
        variance, size = np.zeros((len(names), len(names))), np.zeros(len(names))
        for stratum in sorted(set(strata)):
            at = [(used[i], names.index(groups[i])) for i in range(len(used)) if strata[i] == stratum]
            d, n, start = counts(table, [g for g, _ in at], self.ground.fine)
            place = [j for _, j in at]
            o, e, v = self._sums(d, n, exact=self.ground.fine)
            observed[place] += o
            expected[place] += e
            variance[np.ix_(place, place)] += v
            size[place] += start
        return Finding(
            method="logrank", n=table.verdict.n, events=round(observed_events(table, used)),
            hospitals=table.verdict.hospitals, tables={
                "test": [self._test(observed - expected, variance)],
                "groups": self._groups(names, size, observed, expected), "attrition": attrition(table.verdict),
            },
            facts={"grid": grid_words(table, self.ground)}, notes=(grid_note(self.ground),), cite=CITE,
            warnings=self._coarse(table, used),
        )  # fmt: skip

    def _coarse(self, table: Table, used: list[int]) -> tuple[Caution, ...]:
        """A caution where a group has few cells of events: the test then rests on interpolation."""
        fewest = min(int(table.maps["cause 1"][g].max()) + 1 for g in used)
        if self.ground.fine or fewest >= FEW_CELLS:
            return ()
        text = (
            f'A group has only {fewest} cells of events, so the test is approximate. Exact: baseline = "per hospital", '
            f"or fine_times if the stewards allow it."
        )
        return (Caution("coarse-test", text),)

    @property
    def title(self) -> str:
        """Name of the test."""
        if self.rho or self.gamma:
            return f"Fleming-Harrington ({self.rho:g}, {self.gamma:g})"
        return TESTS[self.test]

    def _groups(self, names: list[str], size: Array, observed: Array, expected: Array) -> list[Record]:
        return [
            {"group": name, "n": round(size[j]), "observed": float(observed[j]), "expected": float(expected[j])}
            for j, name in enumerate(names)
        ]

    def _sides(self, labels: list[str]) -> tuple[list[str], list[str]]:
        """Group and stratum of each label."""
        strata = model(self.formula, self.ground.schema).strata
        if not strata:
            return labels, [""] * len(labels)
        parts = [label.split(", ") for label in labels]
        is_stratum = [[any(p.startswith(f"{s}=") for s in strata) for p in row] for row in parts]
        groups = [
            ", ".join(p for p, s in zip(row, of, strict=True) if not s)
            for row, of in zip(parts, is_stratum, strict=True)
        ]
        levels = [
            ", ".join(p for p, s in zip(row, of, strict=True) if s) for row, of in zip(parts, is_stratum, strict=True)
        ]
        return [g.split("=", 1)[1] if ", " not in g else g for g in groups], levels

    def _sums(self, d: Array, n: Array, *, exact: bool) -> tuple[Array, Array, Array]:
        """Weighted observed and expected (G,) and variance (G, G) from events and at risk (G, T)."""
        all_d, all_n = d.sum(axis=0), n.sum(axis=0)
        live = (all_d > 0) & (all_n > 0)
        d, n, all_d, all_n = d[:, live], n[:, live], all_d[live], all_n[live]
        w = self._weight(all_d, all_n)
        share = n / all_n
        tied = w**2 * all_d * ((all_n - all_d) / np.maximum(all_n - 1, 1) if exact else 1.0)
        variance = np.diag((share * tied).sum(axis=1)) - (share * tied) @ share.T
        return (w * d).sum(axis=1), (w * all_d * share).sum(axis=1), np.asarray(variance)

    def _weight(self, d: Array, n: Array) -> Array:
        """Weight at each time (T,): of the survival just before it, or of the number at risk."""
        rho = 1.0 if self.test == "peto" and not (self.rho or self.gamma) else self.rho
        before = np.concatenate([[1.0], np.cumprod(1 - d / n)[:-1]])
        kinds = {"gehan": n, "tarone-ware": np.sqrt(n)}
        return np.asarray(kinds.get(self.test, before**rho * (1 - before) ** self.gamma))


def counts(table: Table, groups: list[int], exact: bool) -> tuple[Array, Array, Array]:
    """Events and people at risk of groups on the cells between all their edges, (groups, cells); and all people."""
    edges = np.unique(np.concatenate([own_edges(table, g) for g in groups]))
    cells = [c for g in groups if (c := cellwise(table, g, exact, edges)) is not None]
    d = np.array([c.all_events for c in cells])
    out = d + np.array([c.censored for c in cells])
    n = np.array([c.at_risk for c in cells])
    return d, n if exact else np.maximum(n - out / 2, d / 2), out.sum(axis=1)


def observed_events(table: Table, groups: list[int]) -> float:
    """Events of all groups."""
    return float(sum(table.counts["cause 1"][g].sum() for g in groups))
