"""The line by which risks by a horizon would have been right: an intercept, and the calibration slope.

The binomial regression, complementary log-log link, of having the event (of the cause) by the horizon on the
complementary log-log of the risk (van Geloven et al., BMJ 2022;377:e069249, who have pseudo-values). Who has an event
of any cause by the horizon weighs 1/G there, who is followed beyond it 1/G(horizon), who is censored before 0, with G
as in `evaluate_censored` (Blanche, Holt & Scheike, Lifetime Data Anal 2023;29:441). R: `glm(D ~ s, binomial(cloglog),
weights = w)`. The standard error is the sandwich's with the expected information, the weights taken as known.

Everybody has the own risk. All of one kind in one bin of risk have the same weight, the mean of 1/G over those of them
who are counted by time: had they weights by time, sums at several coefficients would tell how many of each risk leave
when (tests/attacks/test_line_weights.py). Within a bin and kind risk and time are taken to be unrelated, as for the
Brier score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.curvature import gaussian
from confrere.analyses.families import LEAST, family_of
from confrere.analyses.finding import Citation
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_censored import Estimated, Leaving, cases_and_controls
from confrere.analyses.learning.evaluate_risk import LEAST as FIRST
from confrere.analyses.learning.evaluate_risk import Predicted, Rough
from confrere.analyses.likelihood import least_weight, likelihood
from confrere.analyses.newton import FAR, Curve, Objective, Slope, maximise
from confrere.analyses.outcomes import INTERCEPT, Cases, Frame, covariance, estimates
from confrere.analyses.separation import NOWHERE, Watch
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Design, Flow, Ints, People, Sum, Verdict, ask, local, together

GELOVEN = Citation("van Geloven N, Giardiello D, Bonneville EF, et al. Validation of prediction models in the presence "
                   "of competing risks: a guide through modern methods. BMJ 2022;377:e069249",
                   "10.1136/bmj-2021-069249")  # fmt: skip
HOLT = Citation("Blanche PF, Holt A, Scheike T. On logistic regression with right censored data, with or without "
                "competing risks, and its use for estimating treatment effects. Lifetime Data Anal 2023;29:441-482",
                "10.1007/s10985-022-09564-6")  # fmt: skip
MODEL = family_of("binomial", "cloglog")
TERMS = (INTERCEPT, "the risk")
REPEATS = 110  # slopes of a line at most: 80 rounds, and the halvings of the last
NARROW = 0.1  # of scores: less than that is no scale for them
STEPS, FLAT, SINGULAR = 50, 1e-9, 1e-12  # of Newton's method; what rounding leaves of a singular matrix
ENDS, HIGH = np.log(-np.log1p(-np.array([FIRST, 1 - FIRST]))), 6.0  # of scores; from where the climb may begin
COST = 60  # numbers of a line, more than most take
WIDE = 20.0  # an intercept or a slope beyond it is none: the outcomes are apart

Beta = tuple[float, ...]


Weights = tuple[tuple[float, ...], ...]  # (kinds, groups): with what everybody of a kind enters, 0 for who does not


class Left(NamedTuple):
    """How people leave by the horizon, as it is told: the ladder of times (T,), people (kinds that leave * groups,
    cells), and the merged cell of each of the ladder (groups, T + 1) by kind."""

    times: Array
    people: Array
    grids: Mapping[str, Ints]


class Spread(NamedTuple):
    """The expected information, and sums of squares of scores, at the maximum."""

    information: Sum  # (2, 2), symmetric
    squares: Sum  # (2, 2), symmetric


class Line(NamedTuple):
    """The complementary log-log of a risk that is right: `intercept` + `slope` times that of the risk."""

    intercept: float
    slope: Estimated


class Derivatives(NamedTuple):
    """The log-likelihood at coefficients of a frame, its score (2,), an information (2, 2), squares of scores (2, 2),
    and the expected information of each person (n,)."""

    loglik: float
    score: Array
    information: Array
    squares: Array
    each: Array


class Lines:
    """The steps that find a line, on the design `table`, which `FollowedRisks` makes."""

    of: Evaluate

    def table(
        self, people: People, cuts: tuple[Beta, ...], edges: Beta, shown: tuple[int, ...], within: Rough
    ) -> Design:
        """Kinds of leaving on the ladder of times, by subgroup and bin of risk; learned risks `within` cells."""
        raise NotImplementedError

    @property
    def lines(self) -> int:
        """How many lines there are at most: of everybody, and of each level of the subgroups."""
        return self.of.rows

    @property
    def slopes(self) -> int:
        """How often `line_slope` may be asked."""
        return REPEATS * self.lines

    @property
    def curves(self) -> int:
        """How often `line_curve` may be asked."""
        return 3 * self.lines

    @local(on="table", repeats="slopes")
    def line_slope(self, people: People, beta: Beta, frame: Frame, weights: Weights) -> Slope:
        """Log-likelihood and score of the line by which the risks would be right."""
        got, each = _local(people, beta, frame, weights)
        return Slope(people.derived(np.asarray(got.loglik), each), people.derived(got.score, each))

    @local(on="table", repeats="curves")
    def line_curve(self, people: People, beta: Beta, frame: Frame, weights: Weights, observed: bool) -> Curve:
        """Log-likelihood, score and information of the line by which the risks would be right."""
        got, each = _local(people, beta, frame, weights, "observed" if observed else "expected")
        return Curve(
            people.derived(np.asarray(got.loglik), each), people.derived(got.score, each),
            people.derived(got.information, each, symmetric=True),
        )  # fmt: skip

    @local(on="table", repeats="lines")
    def line_spread(self, people: People, beta: Beta, frame: Frame, weights: Weights) -> Spread:
        """Expected information and squares of scores of that line, for its standard error."""
        got, each = _local(people, beta, frame, weights, "expected")
        return Spread(people.derived(got.information, each, symmetric=True),
                      people.derived(got.squares, each, symmetric=True))  # fmt: skip


# Inside a hospital --------------------------------------------------------------------------------------------


def _local(
    people: People, beta: Beta, frame: Frame, weights: Weights, wanted: str = ""
) -> tuple[Derivatives, Array | None]:
    """The derivatives of a hospital, and with what weights its people carry them.

    Who has no weight, being censored or of another group, counts there as one whose risk is the mean one: how many
    people of each group and kind there are the counts of cells judge, and this how few of them the risks let carry all.
    """
    w, data = weighted(people, weights), people.design.data
    some = w > 0
    cases = scored(data, people.design.cells["kinds"].index < people.design.cells["kinds"].shape[1], w)
    got = derivatives(Cases(*(values[some] for values in cases)), beta, frame, wanted)
    if got is None:
        return Derivatives(NOWHERE, np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(0)), None
    each = np.full(len(w), least_weight(frame, MODEL) or 0.0) * np.maximum(w, 1.0)
    each[some] += got.each
    return got, each


def weighted(people: People, weights: Weights) -> Array:
    """The weight of each person (n,) of a design of kinds and groups: nothing of a person's own time."""
    kinds = people.design.cells["kinds"]
    kind, group = np.divmod(kinds.index, kinds.shape[1])
    return np.array(weights, dtype=float)[kind, group]


def scored(data: Predicted, having: Bools, w: Array) -> Cases:
    """The cases of the regression: who is `having` the event by the horizon (n,), with weights (n,)."""
    score = np.log(-np.log1p(-data.risk))
    return Cases(score[:, None], np.asarray(having, dtype=float), w, np.zeros(len(w)))


def derivatives(cases: Cases, beta: Beta, frame: Frame, wanted: str = "") -> Derivatives | None:
    """The likelihood of people at coefficients of a frame, with an information if it is `wanted` ("expected" or
    "observed"); None where somebody's risk would be 1."""
    z = np.column_stack([np.ones(len(cases.y)), (cases.x[:, 0] - frame.mean[0]) / frame.sd[0]])
    with np.errstate(all="ignore"):  # numbers may overflow on a trial step; that is what is looked for
        at = likelihood(cases, frame.base + z @ np.array(beta), frame, MODEL, wanted)
    if at is None or not (np.isfinite(at.loglik) and np.isfinite(at.expected.sum()) and at.loglik > NOWHERE):
        return None
    information, squares = ((z * v[:, None]).T @ z for v in (at.information, at.score**2))
    return Derivatives(at.loglik, z.T @ at.score, information, squares, at.expected)


# Of people, or of bins of them, who are all at hand -----------------------------------------------------------


def peak_of(cases: Cases, frame: Frame) -> Array | None:
    """The maximum (2,) of the likelihood of cases in a frame; None where it has none."""

    def at(beta: Array) -> tuple[Array, Array] | None:
        got = derivatives(cases, tuple(beta.tolist()), frame, "expected")
        return None if got is None else (got.score, got.information)

    return climbed(at, 2)


def climbed(at: Callable[[Array], tuple[Array, Array] | None], size: int) -> Array | None:
    """The maximum (size,) by Newton's method, from the score (size,) and information (size, size) `at` coefficients.

    None where it has none, or is farther than `WIDE`.
    """
    beta = np.zeros(size)
    for _ in range(STEPS):
        got = at(beta)
        if got is None:
            return None
        score, information = got
        sizes = np.linalg.eigvalsh(information)
        if sizes[0] <= SINGULAR * sizes[-1] or sizes[-1] <= FLAT:
            return None
        step = np.linalg.solve(information, score)
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(beta).max() > WIDE:
            return None
        if np.abs(step).max() < FLAT:
            return np.asarray(beta)
    return None


# Sums only ----------------------------------------------------------------------------------------------------


def frame_of(scores: Array, cases: Array, controls: Array) -> Frame:
    """The frame of a line, from scores and the weights of who has the event and who has not (m,).

    Any frame has the same line: rough scores will do, and none that differ by less than `NARROW`.
    """
    w = cases + controls
    mean = float(w @ scores / w.sum())
    sd = max(float(np.sqrt(w @ (scores - mean) ** 2 / w.sum())), NARROW)
    return Frame((mean,), (sd,), MODEL[1].of(float(cases.sum() / w.sum())), 1.0, 1.0, True)


def lines_of(
    steps: Lines, parts: Sequence[tuple[Leaving, Array]], whom: Sequence[Bools], left: Left, room: int
) -> Flow[list[Line | None]]:
    """The line of each part, from its leaving and mean scores (B,) by bin: of `whom` among the groups (groups,) of the
    table, whose people are `left`. None where the people do not determine it, or there is no
    `room` in the budget of numbers, which lines of levels leave first."""
    many = len(parts) if room >= COST * len(parts) else int(room >= COST)
    flows = [_line(steps, *part, who, left) for part, who in zip(parts, whom, strict=True)][:many]
    return [*(yield from together(*flows)), *[None] * (len(parts) - many)]


def spent(of: Evaluate, verdicts: Sequence[Verdict], numbers: int) -> int:
    """How many numbers were answered: those of supports as the gate counts them, and `numbers` besides."""
    p = len(of.terms.names) * bool(of.model) + 2  # columns, the risk, the outcome
    free = ("event", "other", "censored") if of.ground.fine else ()
    cells = sum(grid.size for v in verdicts for name, grid in v.grids.items() if name not in free)
    return cells + numbers + sum(p * (p + 1) // 2 + len(v.left_out) + 1 for v in verdicts)


def means(merge: Ints, width: int, inside: Array) -> Array:
    """The mean of 1/G over each merged cell (groups * width,); the last of the ladder, beyond the horizon, is none.

    Cells of the ladder are of one width nearly, and G falls slowly: they count alike.
    """
    at = merge[:, : len(inside)]
    place = (at + width * np.arange(len(at))[:, None])[at >= 0]
    total = np.bincount(place, np.broadcast_to(inside, at.shape)[at >= 0], minlength=width * len(at))
    many = np.bincount(place, minlength=width * len(at))
    return np.asarray(total / np.maximum(many, 1))


def weights_of(people: Leaving, groups: Bools, left: Left) -> Weights:
    """The weights of some groups (groups,): the means of 1/G over who leaves, and 1/G at the horizon of the others."""
    g = people.censoring()
    inside = g.inside[np.minimum(np.searchsorted(people.right, left.times * (1 - 1e-12)), g.inside.size - 1)]
    rows = []
    for name, counts in zip(left.grids, np.split(left.people, len(left.grids)), strict=True):
        width = int(left.grids[name].max(initial=-1)) + 1
        each, n = means(left.grids[name], width, inside).reshape(-1, width), counts.sum(axis=1)
        mean = np.divide((counts[:, :width] * each).sum(axis=1), n, out=np.zeros_like(n), where=n > 0)
        rows.append(np.where(groups, mean, 0.0) if name != "censored" else np.zeros_like(n))
    rows.append(np.where(groups, float(g.edge[-1]), 0.0))
    return tuple(tuple(row.tolist()) for row in rows)


def _line(steps: Lines, people: Leaving, scores: Array, groups: Bools, left: Left) -> Flow[Line | None]:
    found = cases_and_controls(people, float(left.times[-1]))
    if found is None:
        return None
    frame, weights = frame_of(scores, *found), weights_of(people, groups, left)
    watch = Watch(TERMS, True, -float(np.log(2)), [])
    objective = Objective(
        lambda b: watch.slope(ask(steps.line_slope, b, frame, weights)),
        lambda b: watch.curve(lambda last: ask(steps.line_curve, b, frame, weights, last)),
        TERMS, far=FAR,
    )  # fmt: skip
    near = _nearby(frame, scores, *found)
    if near is None:
        near, objective = np.zeros(2), objective._replace(model=gaussian(*MODEL, frame))
    try:
        peak = yield from maximise(near, objective)
    except ModelError:
        return None
    ends = yield from ask(steps.line_spread, tuple(peak.beta.tolist()), frame, weights)
    return told_line(frame, peak.beta, ends.information.value, ends.squares.value)


def _nearby(frame: Frame, scores: Array, cases: Array, controls: Array) -> Array | None:
    """Near where bins say that the line is (2,): the climb is shorter from there. None where somebody's risk may be 1.

    Not there itself: where each bin has one risk that is the maximum, and what is asked must be the same as elsewhere.
    """
    w = cases + controls
    near = peak_of(Cases(scores[:, None], cases / np.maximum(w, LEAST), w, np.zeros(len(w))), frame)
    if near is None:
        return None
    ends = frame.base + near[0] + near[1] * (ENDS - frame.mean[0]) / frame.sd[0]
    return np.round(near, 1) if ends.max() < HIGH else None


def told_line(frame: Frame, beta: Array, information: Array, squares: Array) -> Line:
    """The line in units of the scores, from coefficients (2,) of a frame and matrices (2, 2) there."""
    bread = np.linalg.inv(information)
    intercept, slope = estimates(frame, beta).tolist()
    se = float(np.sqrt(covariance(frame, bread @ squares @ bread)[1, 1]))
    return Line(intercept, Estimated(slope, se))


def facts_of(found: Line | None) -> dict[str, float]:
    """The facts by which `confrere recalibrate` moves a model; none where there is no line."""
    if found is None:
        return {}
    return {"recalibration_intercept": found.intercept, "recalibration_slope": found.slope.estimate}
