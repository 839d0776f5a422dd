"""What a score predicts for every person of a hospital, and the public ladder of risks on which people are counted.

The ladder has equal steps on the logit scale. It is the finer the larger the budget of numbers is, and holds the logits
of thresholds. The gate merges its cells until each holds nobody or at least k people of each outcome. People in one
cell count as tied: area, ROC, curves and confusion are exact on the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.causes import cause_number
from confrere.analyses.learning.coarse import wide
from confrere.errors import DataError
from confrere.rounds import Array, Bools, Cells, Design, Ints, People, Sum
from confrere.study.ground import design_of, narrowed
from confrere.study.rows import TableRows

if TYPE_CHECKING:
    from confrere.analyses.learning.evaluate import Evaluate

LOW, HIGH = -7.0, 5.0  # the ladder, in logits: from 0.0009 to 0.993
SAME = 1e-7  # between two means of the same risk, in logits
FINE = 0.25  # people in one cell have one risk, nearly, if it is no wider, in logits
STEPS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # in logits
PARTS, STEADY, REACH = 50, 1.5, 9.0  # of a cell; normal scores next to its edge, and as far as anybody is
LEAST = 1e-6  # risks of 0 and 1 are moved here: their logits are infinite
ENDS = (float(special.logit(LEAST)), float(special.logit(1 - LEAST)))
ONE_CELL = (
    "all risks fell into one cell, so that nobody can be told apart: too few people of some subgroup, or too few who "
    "leave in some way, have high or low risks. Leave out by or over, merge their levels, or ask more hospitals"
)
MOST = round((HIGH - LOW) / STEPS[0]) + 2  # cells of the finest ladder, thresholds aside


class Predicted(NamedTuple):
    """Of each person (n,): the risk, the outcome (0 or 1; with follow-up the kind of event: 0 none, 1 the one that is
    predicted, 2 another cause), the time or None, the level of the subgroups."""

    risk: Array
    outcome: Ints
    time: Array | None
    level: Ints

    @property
    def logit(self) -> Array:
        """The risk that people are ranked by, on the logit scale (n,)."""
        return np.asarray(special.logit(self.risk))


def predicted(evaluate: Evaluate, people: People) -> Design:
    """The people with an outcome, a risk and levels; the design's data are `Predicted`."""
    ground = replace(evaluate.ground, complete=tuple(dict.fromkeys((*evaluate.ground.complete, *evaluate.requires))))
    made = imaged(evaluate, people, design_of(people, evaluate.formula, ground))
    rows = made.data
    risk = _within(chances(evaluate, people))[made.rows] if evaluate.learnt else _risk(evaluate, made)
    risk = certain(risk[:, None])[:, 0]
    zero = np.zeros(made.n, dtype=np.int64)
    level = _codes(evaluate, people, evaluate.columns[0])[made.rows] if evaluate.parted else zero
    outcome = _outcome(evaluate, rows.value if rows.time is None else rows.event)
    data = Predicted(risk, outcome, rows.time, level)
    x = np.column_stack([rows.x, risk]) if evaluate.model else risk[:, None]
    named = (*made.names, "risk") if evaluate.model else ("risk",)
    columns = tuple(sorted({*made.columns, *evaluate.reads}))
    return replace(made, x=x, names=named, flags={"outcome": outcome == 1}, data=data, columns=columns)


def _risk(evaluate: Evaluate, made: Design) -> Array:
    """The predicted risk (n,). DataError where the column holds something else."""
    x: Array = made.data.x
    if evaluate.risk and (bad := int(((x < 0) | (x > 1)).sum())):
        raise DataError(
            f"risk = {evaluate.risk!r}: {bad} of {made.n} people have a risk outside 0 to 1; it must be a probability. "
            f"Correct the column, or give the model with its coefficients"
        )
    return risk_of(evaluate, x)


def risk_of(evaluate: Evaluate, x: Array) -> Array:
    """The predicted risk (n,) of people with terms x (n, p), or of the column x (n, 1), within [LEAST, 1 - LEAST]."""
    if not evaluate.model:
        return np.asarray(np.clip(x[:, 0], LEAST, 1 - LEAST))
    given = evaluate.coefficients
    eta = x @ np.array([given[name] for name in evaluate.terms.names], dtype=float) + given.get("Intercept", 0.0)
    if evaluate.baseline is None:
        return np.asarray(np.clip(special.expit(eta), LEAST, 1 - LEAST))
    hazard = -np.log(evaluate.baseline)
    return np.asarray(np.clip(-np.expm1(-np.exp(np.clip(eta, -50, 50)) * hazard), LEAST, 1 - LEAST))


def learnt_risk(evaluate: Evaluate, seen: Any) -> Array:
    """The risk (N,) that a learned model predicts, within [LEAST, 1 - LEAST]; NaN where a value is missing. `seen` are
    the rows of a table; of a network of images the table, with its bags."""
    return _within(_predicted(evaluate, seen))


def certain(chance: Array) -> Array:
    """Probabilities (n, K) of people who miss no value: even ones where a model has none.

    Numbers too large for it have none, so that whoever writes a model chooses of whom: an error would tell that
    somebody is there.
    """
    none = np.isnan(chance).any(axis=1, keepdims=True)
    return np.where(none, 1 / max(2, chance.shape[1]), chance)


def chances(evaluate: Evaluate, people: People) -> Array:
    """What a learned model predicts of everybody (N,), or of classes (N, K); NaN where a value is missing."""
    seen = people.table if evaluate.bags else people.table.frame
    return people.once(("predicted", evaluate.learnt, evaluate.baseline), lambda: _predicted(evaluate, seen))


def imaged(evaluate: Evaluate, people: People, made: Design) -> Design:
    """A design of who has images in the bags that a network reads; as it is where it reads none."""
    if not evaluate.bags:
        return made
    bags, ids = _bags(evaluate, people.table)
    return narrowed(made, np.asarray(bags.known(ids))[made.rows], f"no bag of {evaluate.bags}")


def _predicted(evaluate: Evaluate, seen: Any) -> Array:
    from confrere.analyses.learning.released import risks

    if not evaluate.bags:
        return risks(evaluate.opened, seen, evaluate.baseline)
    return risks(evaluate.opened, seen.frame, evaluate.baseline, *_bags(evaluate, seen))


def _bags(evaluate: Evaluate, table: Any) -> tuple[Any, Any]:
    """The bags that a network reads, and the ids (N,) of the people of the table."""
    name, net = evaluate.bags, evaluate.opened
    if name not in table.bags:
        raise DataError(f"the table has no bags {name!r}; name them in the study, [data] bags = [...]")
    return table.bags[name].fit(name, net.sizes.bag, net.bag_recipe), table.frame[evaluate.person].to_numpy()


def _within(risk: Array) -> Array:
    return np.asarray(np.clip(risk, LEAST, 1 - LEAST))


class Rough(NamedTuple):
    """Cells of risk, in logits: the edges between them (e,), and where the people of each are taken to be (e + 1,);
    none where everybody has the own risk."""

    edges: tuple[float, ...] = ()
    middles: tuple[float, ...] = ()

    @classmethod
    def of(cls, edges: Array, counts: Array) -> Rough:
        """The cells between edges (e,), from people by cell (e + 1,)."""
        return cls(tuple(edges.tolist()), tuple(middles(edges, counts).tolist()))


EXACT = Rough()  # everybody has the own risk


def rough(data: Predicted, within: Rough) -> Predicted:
    """The same people with one risk for everybody in a cell; as they are where there are no cells.

    Whoever writes a learned model may give any people any risk, and read from a sum of exact ones how many there are of
    every kind within a cell, were it one alone. What edges and counts decide says no more than the counts of cells.
    """
    if not within.edges:
        return data
    places = np.searchsorted(np.array(within.edges), data.logit, side="right")
    return data._replace(risk=special.expit(np.array(within.middles))[places])


def middles(edges: Array, counts: Array) -> Array:
    """Where the people of the cells between edges (e,) are, (e + 1,): the logit of their mean risk, from the counts.

    In the middle of a cell no wider than `FINE`. Otherwise logits are taken to be normal between two edges: their
    normal score is a line through the shares of people below both. Beyond the last edges it goes on as over the
    `STEADY` before; of two cells alone it rises by 1 for each logit.
    """
    low, high = np.append(-np.inf, edges), np.append(edges, np.inf)
    out = np.where(high - low <= FINE, (low + high) / 2, np.clip(low, *ENDS))
    whole = np.append(0.0, np.cumsum(counts) / counts.sum())
    share, first = np.unique(whole[1:-1], return_index=True)
    inside = (share > 0) & (share < 1)
    if not inside.any():
        return np.asarray(out)
    known, score = np.asarray(edges)[first[inside]], special.ndtri(share[inside])
    line = [known[0] - REACH * _slope(known, score), *known, known[-1] + REACH * _slope(-known[::-1], -score[::-1])]
    at = [score[0] - REACH, *score, score[-1] + REACH]
    parts = (np.arange(PARTS) + 0.5) / PARTS
    for i in np.flatnonzero((counts > 0) & (high - low > FINE)):
        place = np.interp(special.ndtri(whole[i] + (whole[i + 1] - whole[i]) * parts), at, line)
        out[i] = special.logit(special.expit(np.clip(place, max(low[i], ENDS[0]), min(high[i], ENDS[1]))).mean())
    return np.asarray(out)


def _slope(known: Array, score: Array) -> float:
    """Logits for each normal score beyond the first of some edges, as over the `STEADY` next to it."""
    far = int(np.searchsorted(score, score[0] + STEADY))
    far = min(far, len(known) - 1)
    return float((known[far] - known[0]) / (score[far] - score[0])) if far else 1.0


def _outcome(evaluate: Evaluate, values: Any) -> Ints:
    """The kind of outcome of each person (n,). DataError where a plain column holds anything but 0 and 1."""
    if evaluate.competes:
        number = cause_number(f"{evaluate.outcome} ~ 1", evaluate.ground, evaluate.cause)
        return np.where(values == number, 1, np.where(values > 0, 2, 0))
    if bad := int((~np.isin(values, (0, 1))).sum()):
        raise DataError(
            f"outcome = {evaluate.outcome!r}: {bad} values are not 0 or 1; correct the column, or compare it"
        )
    return np.asarray(values, dtype=np.int64)


def _codes(evaluate: Evaluate, people: People, column: str) -> Ints:
    """The level (N,) of everybody in a column of subgroups."""
    given = TableRows(people.table.frame, evaluate.ground.schema, {})
    if evaluate.ground.schema.levels(column) is not None:
        return np.asarray(given.codes(column))
    values = given.numbers(column)
    known = values[~np.isnan(values)]
    if bad := int((~np.isin(known, np.arange(10))).sum()):
        raise DataError(
            f"column {column!r} makes subgroups but declares no levels, and {bad} of its values are not whole numbers "
            f"from 0 to 9. Declare them: [data.columns.{column}] levels = [...]"
        )
    return np.where(np.isnan(values), -1, values).astype(np.int64)


def ladder(budget: int, rows: int, thresholds: Sequence[float]) -> tuple[float, ...]:
    """Inner edges of the ladder of `rows` rows of cells that the budget allows, in logits, thresholds among them."""
    most = budget / 6 / rows
    step = next((s for s in STEPS if (HIGH - LOW) / s + 2 + len(thresholds) <= most), STEPS[-1])
    even = np.round(np.arange(LOW, HIGH + step / 2, step), 2)
    return tuple(float(e) for e in np.unique([*even, *special.logit(np.array(thresholds, dtype=float))]))


def marks_of(edges: Sequence[float], thresholds: Sequence[float]) -> tuple[int, ...]:
    """The ladder cells that begin at thresholds, of those that are among the edges."""
    wanted, own = special.logit(np.array(thresholds, dtype=float)), np.array(edges, dtype=float)
    return tuple(int(i) + 1 for i in np.flatnonzero((np.abs(own[:, None] - wanted[None, :]) < 1e-9).any(axis=1)))


def starts_of(grid: Ints) -> Ints:
    """The first ladder cell of each merged cell."""
    return np.flatnonzero(np.diff(grid, prepend=-1) > 0)


def merged(edges: Sequence[float], grid: Ints) -> Bools:
    """Which merged cells (cells,) hold risks that differ: those of several of the ladder, or of a ladder of few."""
    return np.asarray(wide(grid) | (np.median(np.diff(edges)) > FINE))


def levelled(
    evaluate: Evaluate, index: Ints, shape: tuple[int, int], edges: Sequence[float], row: Ints
) -> dict[str, Cells]:
    """The ladder of risks of each level, from the kind of outcome and place in `shape` (n,), and the level `row` (n,).

    Each has a grid of its own, or all have the same. They part the people, so that no difference is about a few.
    """
    kind: dict[str, Any] = {"rule": "align", "marks": marks_of(edges, evaluate.thresholds)}
    kind["bound"] = MOST + len(evaluate.thresholds)
    return {
        name: Cells(np.where(row == j, index, -1), shape, family=name if evaluate.apart else "risks", **kind)
        for j, name in enumerate(level_names(evaluate))
    }


def level_names(evaluate: Evaluate) -> tuple[str, ...]:
    """The names of the cells of risk of each level."""
    return tuple(f"risks{j:02d}" for j in range(evaluate.rows))


class Cut(NamedTuple):
    """How the risks of a level are cut, in logits: edges of its cells, cuts between its bins, which bins hold risks
    that differ (bins,)."""

    cells: Array
    cuts: Array
    wide: Bools

    @property
    def spans(self) -> Array:
        """From where to where each bin is (2, bins)."""
        return np.array([[-np.inf, *self.cuts], [*self.cuts, np.inf]])


def cut_of(people: Array, grid: Ints, edges: Array, most: int, thresholds: Sequence[float]) -> Cut:
    """Bins of about as many people, `most` of them and at the thresholds, from people by merged cell of the ladder."""
    own = edges[starts_of(grid)[1:] - 1]
    counts = people[: len(own) + 1]
    marked = [own[m - 1] for m in marks_of(own.tolist(), thresholds)]
    cuts = np.unique([*own[even(counts, most)[1:] - 1], *marked])
    place = np.searchsorted(cuts, np.append(-np.inf, own), side="right")
    return Cut(own, cuts, mixed(place[counts > 0], merged(edges.tolist(), grid)[counts > 0], len(cuts) + 1))


def stacked(sums: Sequence[Sum]) -> Sum:
    """Sums over cells (groups, cells, ...) one after the other, those of fewer cells filled with nobody."""
    width = max(s.value.shape[1] for s in sums)
    rows = [np.pad(s.value, ((0, 0), (0, width - s.value.shape[1]))) for s in sums]
    return replace(sums[0], value=np.vstack(rows), bounds=(sum(s.bounds[0] for s in sums), *sums[0].bounds[1:]))


def in_order(people: Array, risks: Array) -> tuple[Ints, Array]:
    """Cells of several levels as those of one score, which is the mean risk of a cell, from people and the sums of
    their risks (cells,).

    Gives the place of each cell (cells,), those of the same mean together, -1 for cells of nobody; and the means in
    that order, in logits.
    """
    some = np.flatnonzero(people > 0)
    mean = special.logit(np.clip(risks[some] / people[some], LEAST, 1 - LEAST))
    order = np.argsort(mean, kind="stable")
    first = np.diff(mean[order], prepend=-np.inf) > SAME
    place = np.full(len(people), -1)
    place[some[order]] = np.cumsum(first) - 1
    return place, mean[order][first]


def between(means: Array, spans: Array, thresholds: Sequence[float]) -> Array:
    """Edges (m - 1,) between means (m,) in order: the middle, or a threshold that divides none of the cells, which
    have `spans` (2, cells). All in logits."""
    (low, high), edges = spans, (means[1:] + means[:-1]) / 2
    for t in special.logit(np.array(thresholds, dtype=float)):
        at = int(np.searchsorted(means, t)) - 1
        if 0 <= at < len(edges) and not ((low < t - SAME) & (high > t + SAME)).any():
            edges[at] = t
    return np.asarray(edges)


def mixed(place: Ints, wide: Bools, bins: int) -> Bools:
    """Which bins (bins,) hold risks that differ: people of several cells, or of a wide one; of cells with people."""
    return np.asarray((np.bincount(place, minlength=bins) > 1) | (np.bincount(place, wide, bins) > 0))


def even(counts: Array, most: int) -> Ints:
    """Starts of at most `most` runs of cells with about as many people each, from counts (cells,): the first is 0."""
    some = np.flatnonzero(counts > 0)
    if len(some) <= most:
        return np.array([0, *some[1:]], dtype=np.int64)
    total = np.cumsum(counts)
    wanted = counts.sum() * np.arange(1, most) / most
    at = np.searchsorted(total, wanted - 0.5 * counts.mean()) + 1
    inside = [int(a) for a in np.unique(at) if 0 < a < len(counts) and total[a - 1] > 0 and total[a - 1] < total[-1]]
    return np.array([0, *inside], dtype=np.int64)
