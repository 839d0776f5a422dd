"""How far the risks of a learned model may be off where hospitals take everybody in a cell to have one.

Whoever writes a model may give any people any risk, so that everybody in a merged cell counts with the one that the
counts say people have there (`evaluate_risk.rough`). In narrow cells this moves a mean risk hardly; in one wide cell
everybody has the same, and whatever is made of the size of risks would be of that one. So where the mean risk of some
people could be off by more than `MOST` of itself (or of what it lacks to 1), wherever they are in their cells, nothing
is told that rests on it: of these people mean risk, observed over expected, Brier scores, calibration and its line are
null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.finding import Caution, Record
from confrere.analyses.learning.evaluate_risk import middles
from confrere.rounds import Array

MOST = 0.4
SURE = ("AUC", "observed share", "observed risk", "Harrell's concordance", "Uno's concordance", "Wolbers's concordance")
VALUES = ("estimate", "std_error", "conf_low", "conf_high")


class Crowd(NamedTuple):
    """Some people by cell of risk (cells,), the edges between these (cells - 1,) in logits, and their mean risk."""

    subgroup: str
    level: str
    counts: Array
    edges: Array
    mean: float

    @property
    def vague(self) -> bool:
        """Whether the mean risk may be off by too much."""
        return reach(self.counts, self.edges) > MOST * min(self.mean, 1 - self.mean)


class Sure(NamedTuple):
    """Tables without what risks are too vague for, whether that is so of everybody, and what a reader must know."""

    tables: dict[str, list[Record]]
    vague: bool
    cautions: tuple[Caution, ...]


def reach(counts: Array, edges: Array) -> float:
    """By how much the mean risk of people (cells,) may be off, whose cells have these edges (cells - 1,), in logits."""
    ends = np.concatenate([[0.0], special.expit(edges), [1.0]])
    middle = special.expit(middles(edges, counts)) if len(edges) else np.array([0.5])
    return float(counts @ np.maximum(middle - ends[:-1], ends[1:] - middle) / counts.sum())


def sure(tables: Mapping[str, list[Record]], crowds: Iterable[Crowd]) -> Sure:
    """The tables of an evaluation of a learned model, of everybody first, as far as risks are known."""
    given = list(crowds)
    vague = {(c.subgroup, c.level) for c in given if c.vague}
    if not vague:
        return Sure(dict(tables), False, ())
    made = {name: [_known(r) if _of(r) in vague else r for r in rows] for name, rows in tables.items()}
    made["calibration"] = [r for r in tables["calibration"] if _of(r) not in vague]
    whom = "; ".join(f"{c.subgroup} {c.level}" if c.subgroup else "everybody" for c in given if c.vague)
    text = (
        f"{whom}: the cells of the learned model's risks are too coarse to say how large these are. Mean predicted "
        f"risk, observed over expected, Brier score and calibration are not told. Ask more people, or about everybody "
        f"without subgroups or periods; or have hospitals predict, and evaluate the column."
    )
    return Sure(made, given[0].vague, (Caution("coarse-score", text),))


def _of(record: Record) -> tuple[str, str]:
    return record.get("subgroup", ""), record.get("level", "")


def _known(record: Record) -> Record:
    """A record without its values, where it is a measure that knows the size of risks."""
    if "metric" not in record or record["metric"] in SURE:
        return record
    return record | dict.fromkeys(VALUES)
