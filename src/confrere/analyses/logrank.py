"""Log-rank tests and their weighted variants over all hospitals, from the same counts as the curves.

At each time with d events of which d_g in group g, n at risk of which n_g, and weight w: O - E = sum w (d_g - d n_g/n),
variance sum w^2 d (n - d)/(n - 1) (n_g/n delta_gh - n_g n_h/n^2). Strata are summed. Sources: Mantel 1966; Peto &
Peto, JRSS A 1972;135:185; Harrington & Fleming, Biometrika 1982;69:553 (S(t-)^rho (1 - S(t-))^gamma); Tarone & Ware
1977 (sqrt n); Gehan 1965 (n). With exact times equals R survival::survdiff; on a coarse ladder events and censorings
are spread evenly over their cells, and a cell's number at risk is that of its middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from confrere.analyses.curves import cellwise, own_edges, suppressed
from confrere.analyses.finding import Citation, Finding, Record, attrition, chi_square
from confrere.analyses.follow_up import FollowUp, Table
from confrere.analyses.kaplan_meier import grid_note, grid_words
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Array, Flow, register
from confrere.study.formulas import model
from confrere.study.ground import Ground

CITE = (Citation("Harrington DP, Fleming TR. A class of rank test procedures for censored survival data. "
                 "Biometrika 1982;69:553-566", "10.1093/biomet/69.3.553"),)  # fmt: skip
TESTS = {"logrank": "log-rank", "gehan": "Gehan-Breslow", "tarone-ware": "Tarone-Ware", "peto": "Peto-Peto"}


@register("logrank")
@dataclass(frozen=True)
class LogRank:
    """Compare survival between groups: `Surv(time, event) ~ group`, with `strata(column)` if wanted.

    `test` is `logrank`, `gehan`, `tarone-ware` or `peto`; or give Fleming and Harrington's `rho` and `gamma`.

    Finding: tables `test` (chi-square) and `groups` (n at risk at the start, observed, expected), `attrition`.
    """

    formula: str
    test: str = "logrank"
    rho: float = 0.0
    gamma: float = 0.0
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        if self.test not in TESTS:
            raise StudyError(f"test is {self.test!r}; it must be one of {', '.join(TESTS)}")
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

    def flow(self) -> Flow[Finding]:
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
            raise ModelError("fewer than two groups have enough people and events to be compared")
        observed, expected = np.zeros(len(names)), np.zeros(len(names))
        variance, size = np.zeros((len(names), len(names))), np.zeros(len(names))
        for stratum in sorted(set(strata)):
            at = [(used[i], names.index(groups[i])) for i in range(len(used)) if strata[i] == stratum]
            d, n, start = counts(table, [g for g, _ in at], self.ground.fine)
            place = [j for _, j in at]
            o, e, v = self._sums(d, n)
            observed[place] += o
            expected[place] += e
            variance[np.ix_(place, place)] += v
            size[place] += start
        difference = (observed - expected)[:-1]
        statistic = float(difference @ np.linalg.pinv(variance[:-1, :-1]) @ difference)
        return Finding(
            method="logrank", n=table.verdict.n, events=round(observed_events(table, used)),
            hospitals=table.verdict.hospitals, tables={
                "test": [chi_square(self.title, statistic, len(names) - 1)],
                "groups": self._groups(names, size, observed, expected), "attrition": attrition(table.verdict),
            },
            facts={"grid": grid_words(table, self.ground)}, notes=(grid_note(self.ground),), cite=CITE,
        )  # fmt: skip

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
        groups = [", ".join(p for p, s in zip(row, of, strict=True) if not s) for row, of in zip(parts, is_stratum, strict=True)]
        levels = [", ".join(p for p, s in zip(row, of, strict=True) if s) for row, of in zip(parts, is_stratum, strict=True)]
        return [g.split("=", 1)[1] if ", " not in g else g for g in groups], levels

    def _sums(self, d: Array, n: Array) -> tuple[Array, Array, Array]:
        """Weighted observed and expected (G,) and variance (G, G) from events and at risk (G, T)."""
        all_d, all_n = d.sum(axis=0), n.sum(axis=0)
        live = (all_d > 0) & (all_n > 0)
        d, n, all_d, all_n = d[:, live], n[:, live], all_d[live], all_n[live]
        w = self._weight(all_d, all_n)
        share = n / all_n
        tied = w**2 * all_d * ((all_n - all_d) / np.maximum(all_n - 1, 1) if self.ground.fine else 1.0)
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
