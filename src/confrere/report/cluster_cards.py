"""Cards of clusters: each in a sentence, by the columns in which it differs most from everybody else.

    Cluster 1 (480 people, 48.0%): higher age (mean 71.2; others 58.0), more often sex: male (62.0%; others 40.4%).

Columns go by their standardised difference; of a category the level that differs most. Three to five are told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from confrere.report.schema import Record
from confrere.report.terms import read
from confrere.report.words import Words

CLEAR, SMALL = 0.2, 0.1  # standard deviations: worth a mention; worth one if little else is
FEWEST, MOST = 3, 5  # columns of a card


def cards(analysis: Mapping[str, Any], words: Words) -> list[str]:
    """A sentence for each cluster of an analysis; none where it has no clusters."""
    tables = analysis["tables"]
    if not (tables.get("clusters") and tables.get("profiles")):
        return []
    return [_card(record, tables["profiles"], words) for record in tables["clusters"]]


def _card(cluster: Record, profiles: list[Record], words: Words) -> str:
    own = [r for r in profiles if r["cluster"] == cluster["cluster"]]
    traits = [_trait(r, words) for r in chosen(own)] or [words("no column differs from the others by 0.1 SD")]
    share = words.numbers.percent(cluster.get("share", cluster.get("weight")))
    said = words("Cluster {number} ({n} people, {share})", number=cluster["cluster"],
                 n=words.numbers.count(cluster["n"]), share=share)  # fmt: skip
    return f"{said}{words.colon}{', '.join(traits)}."


def chosen(records: list[Record]) -> list[Record]:
    """The columns of one cluster that its card tells, the farthest from the others first."""
    ranked = sorted(records, key=lambda r: (-_away(r), r["mean"] < r["rest_mean"]))
    by_column = {read(r["term"]).variable: r for r in reversed(ranked)}  # the first of each category
    kept = [r for r in ranked if by_column[read(r["term"]).variable] is r]
    clear = [r for r in kept if _away(r) >= CLEAR][:MOST]
    return clear if len(clear) >= FEWEST else [r for r in kept[:FEWEST] if _away(r) >= SMALL]


def _away(r: Record) -> float:
    """How far a column of a cluster is from the others; without end where neither varies, and they differ."""
    if r["smd"] is not None:
        return round(abs(float(r["smd"])), 9)
    return math.inf if r["mean"] != r["rest_mean"] else 0.0


def _trait(r: Record, words: Words) -> str:
    term, more, forms = read(r["term"]), r["mean"] > r["rest_mean"], words.numbers
    name = term.said(words.colon)
    if _is_share(r["mean"], r["std_dev"]) and _is_share(r["rest_mean"], r["rest_std_dev"]):
        text = "more often {name} ({mean}; others {rest})" if more else "less often {name} ({mean}; others {rest})"
        return words(text, name=name, mean=forms.percent(r["mean"]), rest=forms.percent(r["rest_mean"]))
    text = "higher {name} (mean {mean}; others {rest})" if more else "lower {name} (mean {mean}; others {rest})"
    return words(text, name=name, mean=forms.significant(r["mean"]), rest=forms.significant(r["rest_mean"]))


def _is_share(mean: float, std_dev: float) -> bool:
    """Whether a column is 0 or 1 throughout: its variance follows from its mean."""
    return 0 <= mean <= 1 and math.isclose(std_dev**2, mean * (1 - mean), rel_tol=1e-6, abs_tol=1e-9)
