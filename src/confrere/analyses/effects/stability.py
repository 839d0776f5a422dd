"""Whether what was learnt and tested is the same over splits: other deals of the people, roles of hospitals swapped.

Each split learns in some people and tests in others. A rule that was found in few splits has p = 1 in the others; twice
the median of a rule's p values (by Holm within each split) is a p value whatever their dependence, as in every split
the chance of one under alpha is alpha at most.

Sources: Meinshausen, Meier & Buehlmann, JASA 2009;104:1671 (twice the median: its equation 2.2 with gamma = 1/2);
Chernozhukov, Demirer, Duflo & Fernandez-Val, NBER 24678, 2018 (medians over splits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from confrere.analyses.finding import Citation, Record

ALPHA = 0.05
MEINSHAUSEN = Citation(
    "Meinshausen N, Meier L, Buehlmann P. P-values for high-dimensional regression. J Am Stat Assoc 2009;104:1671-1681",
    "10.1198/jasa.2009.tm08647",
)
Tables = Mapping[str, list[Record]]


def splits(names: Sequence[str], found: Sequence[Tables]) -> list[Record]:
    """A record per split: average effect, slope of calibration, ranking, rules; None where there is none."""
    return [{"split": name, **_split(tables)} for name, tables in zip(names, found, strict=True)]


def _split(tables: Tables) -> Record:
    average, slope = tables["effects"][-1], tables.get("calibration", [{}, {}])[1]
    autoc = tables.get("ranking", [{}])[0]
    benefit = [row["rule"] for row in tables.get("subgroups", ()) if row["benefits"]]
    return {
        "average": average["estimate"], "average_se": average["std_error"], "slope": slope.get("estimate"),
        "slope_se": slope.get("std_error"), "slope_p": slope.get("p_value"), "autoc": autoc.get("estimate"),
        "autoc_se": autoc.get("std_error"), "rules": "; ".join(benefit),
    }  # fmt: skip


def rules(found: Sequence[Tables]) -> list[Record]:
    """A record per rule that any split found: in how many it was found and benefits, its median effect, p over all."""
    leaves: dict[str, list[Record]] = {}
    for tables in found:
        for row in tables.get("subgroups", ()):
            if row["p_holm"] is not None:
                leaves.setdefault(row["rule"], []).append(row)
    return [_rule(rule, rows, len(found)) for rule, rows in sorted(leaves.items(), key=lambda r: (-len(r[1]), r[0]))]


def _rule(rule: str, rows: Sequence[Record], many: int) -> Record:
    p = [row["p_holm"] for row in rows] + [1.0] * (many - len(rows))
    over = min(1.0, 2 * float(np.median(p)))
    benefits = sum(bool(row["benefits"]) for row in rows)
    return {
        "rule": rule, "splits": many, "found": len(rows), "benefits": benefits,
        "estimate": float(np.median([row["estimate"] for row in rows])), "p_value": over,
        "holds": over < ALPHA and 2 * benefits > many,
    }  # fmt: skip
