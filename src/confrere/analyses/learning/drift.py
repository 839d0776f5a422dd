"""Whether a risk score still fits: its people, its inputs and its performance in later periods, beside the first.

Of the risk and of each input, the population stability index of a later period: sum over cells of (q - p) log(q / p),
p and q being the shares of people of the first and of the later one (Kullback's symmetric divergence; Siddiqi 2006
calls up to 0.1 stable, over 0.25 a shift). Where nothing has moved it is (1/n + 1/m) times a chi-square of as many
degrees as there are cells less one (Yurdakul & Naranjo 2020), of which the 95 % limit is told. Cells of the risk are
runs of those of the evaluation with about a tenth of the first period each; cells of inputs are declared levels, or
between cuts that the study names. The gate merges them until each period has nobody or k people in each.

What changed in performance is the difference of two independent estimates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from confrere.analyses.distributions import chi2_ppf
from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_risk import even, predicted
from confrere.analyses.learning.scored import Z
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support
from confrere.study.rows import TableRows

GROUPS, SHIFT, SURE = 10, 0.25, 3.0  # cells of the risk; the index of a shift; standard errors of a change
BEYOND = 3  # the kind of who is followed beyond the horizon; others are 0 to 2, as `Predicted` has them
MOST = 200_000  # cells by which risks and inputs are held against one another
WATCHED = ("AUC", "Uno's concordance", "Brier score", "calibration in the large", "calibration slope")
INDEX = "population stability index"
YURDAKUL = Citation("Yurdakul B, Naranjo J. Statistical properties of the population stability index. J Risk Model "
                    "Validation 2020;14(4)", "10.21314/JRMV.2020.227")  # fmt: skip


class Counted(NamedTuple):
    """People by period and cell of each input; inputs with fewer cells end in zeros, those not told are zeros."""

    people: Sum  # (inputs, periods, cells)


@register("_inputs")
@dataclass(frozen=True)
class Inputs:
    """Counts of the inputs of a score, by period."""

    of: Evaluate

    def cells(self, people: People, shown: tuple[int, ...]) -> Design:
        """Everybody's cell of each input, by period; periods with too few people are one."""
        made = predicted(self.of, people)
        row, given = self.of.row(made.data.level, shown), TableRows(people.table.frame, self.of.ground.schema, {})
        found = {}
        for name, cuts in self.of.inputs.items():
            levels = self.of.ground.schema.levels(name)
            at = np.searchsorted(cuts, given.numbers(name), side="right") if levels is None else given.codes(name)
            many = len(cuts) + 1 if levels is None else len(levels)
            index = row * many + np.asarray(at, dtype=np.int64)[made.rows]
            found[name] = Cells(index, (self.of.rows, many), rule="align", family=name)
        return replace(made, x=np.empty((made.n, 0)), names=(), flags={}, cells=found)

    def near(self, people: People, shown: tuple[int, ...], edges: tuple[float, ...], told: tuple[Ints, ...]) -> Design:
        """Whether counts of risks and of inputs, combined, rest on few people.

        `edges` are those of the cells of risk that are told, `told` the merged cells (periods, cells) of each input.
        """
        made = self.cells(people, shown)
        data, wide = made.data, len(edges) + 1
        kind = data.outcome if data.time is None else np.where(data.time > self.of.horizon, BEYOND, data.outcome)
        row = self.of.row(data.level, shown)
        place = (kind * self.of.rows + row) * wide + np.searchsorted(edges, data.logit, side="right")
        atom, sizes = row, [int(grid.max(initial=-1)) + 2 for grid in told]  # the last of each: nowhere
        for cells, grid, many in zip(made.cells.values(), told, sizes, strict=True):
            at = grid.ravel()[cells.index]
            atom = atom * many + np.where(at < 0, many - 1, at)
        atoms, places = self.of.rows * int(np.prod(sizes)), (BEYOND + 1) * self.of.rows * wide
        if places * atoms > MOST:
            return replace(made, cells={}, data=None)
        near = Cells(place * atoms + atom, (places, atoms), rule="near", sets=self._sets(sizes))
        return replace(made, cells={"inputs": near}, data=None)

    def _sets(self, sizes: Sequence[int]) -> tuple[Bools, ...]:
        """Which atoms, a period and a cell of each input, are in each cell of an input by period: all that are told."""
        row, *at = np.indices((self.of.rows, *sizes)).reshape(1 + len(sizes), -1)
        each = product(range(len(sizes)), range(self.of.rows))
        return tuple((row == r) & (at[j] == cell) for j, r in each for cell in range(sizes[j] - 1))

    @local(on="cells")
    def counted(self, people: People, kept: tuple[str, ...]) -> Counted:
        """People by period and cell of each input.

        0 for what is not `kept`.
        """
        each = [people.cells(name).value * (name in kept) for name in self.of.inputs]
        bounds = (len(each), self.of.rows, max(self.of.sizes.values()))
        out = np.zeros((len(each), self.of.rows, max(c.shape[1] for c in each)))
        for place, count in zip(out, each, strict=True):
            place[:, : count.shape[1]] = count
        return Counted(people.derived(out, dims=("inputs", "periods", "cells"), bounds=bounds, scale=0))

    def flow(self, shown: tuple[int, ...], edges: Array) -> Flow[Mapping[str, Array]]:
        """People (periods, cells) of each input that is told; `edges` are those of the cells of risk."""
        if not self.of.inputs:
            return {}
        cells = yield from support(self.cells, shown)
        told = tuple(cells.grids[name] for name in self.of.inputs)
        near = yield from support(self.near, shown, tuple(map(float, edges)), told)
        kept = self._kept(near.grids["inputs"][0] > 0, told) if near.grids else ()
        if not kept:
            return {}
        got = yield from ask(self.counted, kept)
        return {name: people for name, people in zip(self.of.inputs, got.people.value, strict=True) if name in kept}

    def _kept(self, close: Bools, told: Sequence[Ints]) -> tuple[str, ...]:
        """The inputs that are told: of which no set, in the order of `_sets`, is close to what is told before."""
        ends = np.cumsum([self.of.rows * (int(grid.max(initial=-1)) + 1) for grid in told])
        parts = np.split(close, ends[:-1])
        return tuple(name for name, part in zip(self.of.inputs, parts, strict=True) if not part.any())


class Drifted(NamedTuple):
    """The table `drift`, and what a reader must know."""

    rows: list[Record]
    cautions: tuple[Caution, ...]


def drifted(
    evaluate: Evaluate, risks: Mapping[str, Array], inputs: Mapping[str, Array], metrics: Sequence[Record]
) -> Drifted:
    """What moved after the first period that is told.

    `risks` are people (cells,) by risk, of each period that is told, in order; `inputs` people (periods, cells) of
    each input, the rows in the order of the declared periods.
    """
    if len(risks) < 2:
        return Drifted([], ())
    first, *later = risks
    starts = even(risks[first], GROUPS)
    rows: list[Record] = []
    for period in later:
        counts = np.add.reduceat(np.array([risks[first], risks[period]]), starts, axis=1)
        rows.append(_moved("risk", period, counts))
        places = [evaluate.subgroups.index(p) for p in (first, period)]
        rows += [_moved(name, period, people[places]) for name, people in inputs.items()]
        rows += list(_changed(first, period, metrics))
    found = [_named(r) for r in rows if _beyond(r)]
    cautions = [Caution("model-drift", _text(first, found))] if found else []
    if blind := list(dict.fromkeys(r["what"] for r in rows if r["measure"] == INDEX and r["estimate"] is None)):
        cautions.append(Caution("coarse-score", _blind(blind)))
    if silent := [name for name in evaluate.inputs if name not in inputs]:
        cautions.append(Caution("inputs-not-told", _silent(silent)))
    return Drifted(rows, tuple(cautions))


def _text(first: str, found: Sequence[str]) -> str:
    return (
        f"Since {first} there is {'; '.join(found)}. Evaluate the model among the people of today, and "
        f"recalibrate or replace it."
    )


def _blind(names: Sequence[str]) -> str:
    return (
        f"Whether {', '.join(names)} moved cannot be seen: the cells were merged into one, since a period has few "
        f"people of some kind in each. Ask more people, or fewer and longer periods, or an outcome without follow-up."
    )


def _silent(names: Sequence[str]) -> str:
    return (
        f"The distribution of {', '.join(names)} is not told: beside that of the risk, or of another input, it would "
        f"tell a few people apart, or there are too many cells to see whether it does. Take fewer or other cuts, or an "
        f"evaluation in a study of its own."
    )


def _named(row: Record) -> str:
    return f"drift of {row['what']} in {row['level']}"


def _beyond(row: Record) -> bool:
    """Whether an index tells of a shift, and not of chance; or a calibration changed by more than chance."""
    if row["estimate"] is None:
        return False
    if row["measure"] == INDEX:
        return bool(row["estimate"] > max(SHIFT, row["if_same"]))
    return bool(row["what"].startswith("calibration") and abs(row["estimate"]) > SURE * row["std_error"])


def _moved(what: str, period: str, counts: Array) -> Record:
    """The index of people (2, cells) of the first and of a later period, and its 95 % limit where nothing moved."""
    whole = stability(counts)
    return {"what": what, "level": period, "measure": INDEX, **whole, "std_error": None, "conf_low": None,
            "conf_high": None, "n": round(float(counts[1].sum()))}  # fmt: skip


def stability(counts: Array) -> dict[str, float | None]:
    """`estimate`, the population stability index of people (2, cells), and `if_same`, its 95 % limit where nothing
    moved; None where all are in one cell. A cell that is empty in either period goes with its neighbour."""
    starts = [0]
    for end in range(1, counts.shape[1] + 1):
        if (counts[:, starts[-1] : end].sum(axis=1) > 0).all() and (counts[:, end:].sum(axis=1) > 0).all():
            starts.append(end)
    merged = np.add.reduceat(counts, [s for s in starts if s < counts.shape[1]], axis=1)
    n, m = merged.sum(axis=1)
    p, q = merged[0] / n, merged[1] / m
    if merged.shape[1] == 1:  # nobody could be seen to move
        return {"estimate": None, "if_same": None}
    index = float(((q - p) * np.log(q / p)).sum())
    return {"estimate": index, "if_same": float(chi2_ppf(0.95, merged.shape[1] - 1) * (1 / n + 1 / m))}


def _changed(first: str, period: str, metrics: Sequence[Record]) -> Iterator[Record]:
    """Differences of what is told with a standard error in both periods."""
    for name in WATCHED:
        both = [next((r for r in metrics if r["metric"] == name and r["level"] == p), None) for p in (first, period)]
        before, now = both
        if before is None or now is None or None in (before["std_error"], now["std_error"]):
            continue
        change, se = now["estimate"] - before["estimate"], float(np.hypot(now["std_error"], before["std_error"]))
        yield {"what": name, "level": period, "measure": "change", "estimate": change, "if_same": None, "std_error": se,
               "conf_low": change - Z * se, "conf_high": change + Z * se, "n": None}  # fmt: skip
