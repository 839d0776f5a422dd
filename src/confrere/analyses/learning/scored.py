"""How good a model's scores are, from counts of people by score and from sums of losses.

Scores of a binary outcome are counted in cells of a public ladder, 0.05 wide on the logit scale, which the gate merges
until each holds nobody or at least k people of either outcome. The area under the ROC curve is that of the cells, pairs
in one cell counting one half; its standard error is DeLong's (Biometrics 1988;44:837), exact on the cells. Of cells
that are too coarse there is none (`coarse`). Of a loss the mean and its standard error follow from two sums. Whose
likeliest class of several is another is a count of people, told where no combination with their classes is about a few
(`rounds.Cells`, `known`); their cells are told at the end (`scored_classes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.learning.calibrated import calibrated
from confrere.analyses.learning.coarse import Shares, cautions_of, shares, wide
from confrere.analyses.learning.evaluate_risk import starts_of
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.ladders import NEEDS
from confrere.analyses.learning.objectives import OBJECTIVES, expit, loss
from confrere.rounds import Array, Bools, Cells, Design, Flow, Ints, People, Sum, ask, local, register, support

EDGES = np.round(np.arange(-12, 12.001, 0.05), 2)
LOSSES = 2.0 ** np.arange(-20, 20.01, 0.25)  # edges of cells of losses, 19 % wide, where scores have no cells
SAMPLES = ("training", "held out")
NO_AREA: Record = {"metric": "AUC", "estimate": None, "conf_low": None, "conf_high": None}
Z = float(special.ndtri(0.975))
DELONG = Citation(
    "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating "
    "characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845", "10.2307/2531595"
)  # fmt: skip


def apparent(of: Any) -> Caution:
    """The caution of an analysis that held nobody out, with what to do about it."""
    unnamed = (
        "The metrics are of the very people on whom the model was trained, and too good. Name the person's column, and "
        "a share of the people is held out."
    )
    unasked = (
        "The metrics are of the very people on whom the model was trained, and too good. Set holdout = 0.2, and a "
        "fifth of the people is held out."
    )
    return Caution("apparent-performance", unasked if of.ground.person else unnamed)


class Measured(NamedTuple):
    """Sums of people, losses and their squares, by sample; and people by cell of their score."""

    people: Sum  # (samples,)
    losses: Sum  # (samples, 2 losses, 2 powers); of classes one loss
    outcome: Sum  # (samples, 2 powers)
    cells: Sum  # (outcomes x samples, cells) of scores; (samples, cells) of losses of a number or a count


class Erred(NamedTuple):
    """People whose likeliest class is not theirs, by sample; 0 where that is not told."""

    people: Sum  # (samples,)


@register("_scored")
@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a model's own people. `of` is the analysis that grew the forest."""

    of: Any
    forest: Forest

    def design(self, people: People) -> Design:
        """Everybody's score in its cell, by outcome and by whether they were trained on."""
        made: Design = self.of.people(people)
        y, values, train = made.data[:3]
        score = self.of.scores(people, self.forest, values)
        sample = (~train).astype(np.int64)
        cells, needs = dict(made.cells), self.needs
        if self.forest.objective == "binary":
            at = np.searchsorted(EDGES, score, side="right")
            index = (sample * 2 + y.astype(np.int64)) * (len(EDGES) + 1) + at
            cells["scores"] = Cells(index, (2 * self.samples, len(EDGES) + 1), rule="align", needs=needs)
        elif self.samples > 1 and self.forest.objective != "multiclass":
            each = losses(self.forest, score, y)[:, -1]
            index = sample * (len(LOSSES) + 1) + np.searchsorted(LOSSES, each, side="right")
            cells["scores"] = Cells(index, (self.samples, len(LOSSES) + 1), rule="align", needs=needs)
        return replace(made, cells=cells, data=(y, score, sample))

    @property
    def needs(self) -> str:
        """The disclosure class of counts by score."""
        return str(getattr(self.of, "needs", NEEDS))

    @property
    def samples(self) -> int:
        """Who was trained on, and who was held out if anybody was."""
        return 2 if self.of.share else 1

    def lost(self, score: Array, data: Any, who: Bools) -> Array:
        """The loss of some of the people (m,) at their scores; `data` is that of everybody."""
        return losses(self.forest, score, data[0][who])[:, 0]

    @local(on="design")
    def measured(self, people: People) -> Measured:
        """Counts and sums of losses."""
        y, score, sample = people.design.data
        many = self.samples
        each = losses(self.forest, score, y)
        powers = np.stack([each, each**2], axis=2)
        total = np.stack([powers[sample == s].sum(axis=0) for s in range(many)])
        raw = np.stack([y, y**2], axis=1)
        outcome = np.stack([raw[sample == s].sum(axis=0) for s in range(many)])
        counted = people.cells("scores") if "scores" in people.design.cells else people.derived(np.zeros((0, 0)))
        dims = ("samples", "losses", "powers")
        return Measured(
            people.derived(np.bincount(sample, minlength=many).astype(float), dims=dims[:1], scale=0, known=True),
            people.derived(total, dims=dims), people.derived(outcome, dims=(dims[0], dims[2])), counted,
        )  # fmt: skip

    def erring(self, people: People) -> Design:
        """Whose likeliest class is not theirs, by class."""
        made = self.design(people)
        y, score, sample = made.data
        index, kinds = (sample * score.shape[1] + y.astype(np.int64)) * 2 + erring(score, y), score.shape[1]
        atoms = self.samples * kinds * 2
        rest, wrong = np.divmod(np.arange(atoms), 2)
        inside = [rest // kinds == s for s in range(self.samples)]
        known = (*inside, *(rest == r for r in range(self.samples * kinds)))  # told already, by the outcome's sums
        sets = (*known, *((wrong == 1) & some for some in inside))
        errors = Cells(index, (1, atoms), rule="known", needs=self.needs, sets=sets)
        return replace(made, cells={**made.cells, "errors": errors}, data=None)

    @local(on="erring")
    def erred(self, people: People) -> Erred:
        """People whose likeliest class is not theirs, where that may be told."""
        cells = people.design.cells["errors"]
        may = people.grid("errors")[0, -self.samples :] >= 0
        wrong = np.array(cells.sets[-self.samples :]) & may[:, None]
        counted = np.asarray(wrong @ np.bincount(cells.index, minlength=cells.shape[1]), dtype=float)
        return Erred(people.derived(counted, dims=("samples",), scale=0, known=True, needs=self.needs))


def erring(score: Array, y: Array) -> Bools:
    """(n,) whose likeliest class by scores (n, K) is not theirs, y (n,)."""
    return np.asarray(score.argmax(axis=1) != y)


def losses(forest: Forest, score: Array, y: Array) -> Array:
    """(n, 2): the loss that was minimised, and a second one on the scale of predictions; of classes the first alone,
    as how many the likeliest class is wrong of is a count of people."""
    first = loss(OBJECTIVES[forest.objective], score, y)
    if forest.objective == "multiclass":
        return first[:, None]
    second = (expit(score) - y) ** 2 if forest.objective == "binary" else np.abs(forest.prediction(score) - y)
    return np.stack([first, second], axis=1)


def margins(objective: str, score: Array) -> Array:
    """(n, K) the logits of each class against all others, of scores (n,), or (n, K) of three classes or more."""
    if objective == "binary":
        one = score.reshape(len(score))
        return np.stack([-one, one], axis=1)
    others = [special.logsumexp(np.delete(score, j, axis=1), axis=1) for j in range(score.shape[1])]
    return np.asarray(score - np.stack(others, axis=1))


NAMES: Mapping[str, tuple[str, ...]] = {
    "binary": ("log loss", "Brier score"),
    "multiclass": ("log loss",),
    "squared": ("mean squared error", "mean absolute error"),
    "poisson": ("Poisson loss", "mean absolute error"),
}


class Told(NamedTuple):
    """What is told of a model: the tables `metrics` and, of a binary outcome, `roc`; and what a reader must know."""

    tables: dict[str, list[Record]]
    events: int | None  # people with a binary outcome, trained on or not
    cautions: tuple[Caution, ...]
    cells: Array  # as in `Measured`, where people are held out; else none
    grid: Ints  # (ladder cells,) the merged cell of each
    people: tuple[int, ...] = ()  # (samples,)
    errors: tuple[bool, ...] = ()  # (samples,) of which, of several classes, how many err was told


def trained(scored: Scored) -> Flow[Told]:
    """How good the model is, among who is held out first."""
    verdict = yield from support(scored.design)
    found = yield from ask(scored.measured)
    metrics: list[Record] = []
    curve: list[Record] = []
    fine: dict[str, Shares] = {}
    binary = scored.forest.objective == "binary"
    errors = yield from _errors(scored)
    for s in reversed(range(scored.samples)):
        n, sample = float(found.people.value[s]), {"sample": SAMPLES[s]}
        if not n:
            continue
        counts = found.cells.value[2 * s : 2 * s + 2]
        if binary and counts.any(axis=1).all():
            grid = verdict.grids["scores"][2 * s]
            of = fine[SAMPLES[s]] = shares(counts[0], counts[1], wide(grid, counts.shape[1]))
            metrics.append((_auc(counts, limits=of.sure) if of.fine else NO_AREA) | sample)
            curve += [r | sample for r in roc(counts, grid)] if of.fine else []
            edges = EDGES[starts_of(grid)[1:] - 1]
            metrics += [r | sample for r in calibrated(counts[:, : len(edges) + 1], edges)]
        for name, (total, square) in zip(NAMES[scored.forest.objective], found.losses.value[s], strict=True):
            metrics.append(mean_record(name, total, square, n) | sample)
        if errors:
            metrics.append(_error_rate(errors[s], n) | sample)
        if scored.forest.objective == "squared":
            total, square = found.outcome.value[s]
            spread = square - total**2 / n
            left = float(found.losses.value[s, 0, 0] / spread) if spread > 0 else 1.0
            metrics.append({"metric": "R2", "estimate": 1 - left, "conf_low": None, "conf_high": None} | sample)
    tables = {"metrics": metrics} | ({"roc": curve} if curve else {})
    events = round(float(found.outcome.value[:, 0].sum())) if binary else None
    about = tuple(round(float(n)) for n in found.people.value), tuple(e is not None for e in errors)
    rough = cautions_of(fine)
    if scored.of.share and not errors:
        return Told(tables, events, rough, found.cells.value, verdict.grids["scores"][0], *about)
    nobody = np.zeros((0, 0)), np.zeros(0, dtype=np.int64)
    return Told(tables, events, rough if scored.of.share else (apparent(scored.of), *rough), *nobody, *about)


def _errors(scored: Scored) -> Flow[list[float | None]]:
    """Of an outcome of classes, people whose likeliest class is not theirs, by sample; None where it is not told."""
    if scored.forest.objective != "multiclass":
        return []
    verdict = yield from support(scored.erring)
    found = yield from ask(scored.erred)
    told = verdict.grids["errors"][0, -scored.samples :] >= 0
    return [float(n) if may else None for n, may in zip(found.people.value, told, strict=True)]


def _error_rate(wrong: float | None, n: float) -> Record:
    if wrong is None:
        return {"metric": "error rate", "estimate": None, "conf_low": None, "conf_high": None, "suppressed": True}
    return mean_record("error rate", wrong, wrong, n)


def mean_record(name: str, total: float, square: float, n: float) -> Record:
    """The mean of n people, from their sum and that of squares."""
    mean = float(total) / n
    se = float(np.sqrt(max(0.0, square / n - mean**2) / n))
    return {"metric": name, "estimate": mean, "conf_low": mean - Z * se, "conf_high": mean + Z * se}


def _auc(counts: Array, *, limits: bool) -> Record:
    estimate, se = auc(counts[0], counts[1])
    low, high = (max(0.0, estimate - Z * se), min(1.0, estimate + Z * se)) if limits else (None, None)
    return {"metric": "AUC", "estimate": estimate, "conf_low": low, "conf_high": high}


def roc(counts: Array, grid: Ints) -> list[Record]:
    """The ROC curve, a record per edge of the merged cells, from counts (2, cells) of people without and with the
    outcome: of whose prediction is at or above `threshold`. The first is above all, the last everybody."""
    starts = np.flatnonzero(np.diff(grid, prepend=-1) > 0)
    edges = [float(expit(EDGES[start - 1])) for start in starts[1:]]
    above = np.cumsum(counts[:, : len(starts)][:, ::-1], axis=1) / counts.sum(axis=1, keepdims=True)
    shares = np.hstack([np.zeros((2, 1)), above])
    thresholds = [1.0, *edges[::-1], 0.0]
    return [
        {"threshold": t, "true_positive_rate": float(having), "false_positive_rate": float(without)}
        for t, without, having in zip(thresholds, *shares, strict=True)
    ]


def auc(without: Array, having: Array) -> tuple[float, float]:
    """Area under the ROC curve and DeLong's standard error, of people (cells,) without and with the outcome."""
    n0, n1 = without.sum(), having.sum()
    beaten = (np.cumsum(without) - without / 2) / n0  # of each cell with the outcome, the share of the others below
    beating = (n1 - np.cumsum(having) + having / 2) / n1
    area = float(having @ beaten / n1)
    v1 = having @ (beaten - area) ** 2 / max(1, n1 - 1)
    v0 = without @ (beating - area) ** 2 / max(1, n0 - 1)
    return area, float(np.sqrt(v1 / n1 + v0 / n0))


def importance(forest: Forest) -> list[Record]:
    """The table `importance`: total gain of each feature, and its share."""
    gains = forest.gains()
    total = sum(gains.values())
    order = sorted(gains, key=lambda f: -gains[f])
    return [{"feature": f, "total_gain": gains[f], "share": gains[f] / total} for f in order]
