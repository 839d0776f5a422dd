"""The flow of boosted trees, one after the other, from sums alone: what everybody who follows it does alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from confrere.analyses.ladder import horizon_of
from confrere.analyses.learning import followed, ladders
from confrere.analyses.learning.followed import Hazards
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.growing import Growing
from confrere.analyses.learning.splits import Cells as Bins
from confrere.analyses.learning.splits import Rules
from confrere.analyses.learning.state import Scale, scale_of
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Flow, Ints, Verdict, ask, support

if TYPE_CHECKING:
    from confrere.analyses.learning.boosting import Boosting

Before = tuple[Ints, Array, Array]  # the last splits, the last tree's leaves; of times, A and B where a tree begins
UNTIMED = np.zeros((2, 0))


class Agreed(NamedTuple):
    """What the hospitals agree on before the first tree.

    verdict  on who takes part
    cuts     of each term, its cut points (c,)
    times    the ladder of times, if there are any
    bins     of each term, people who train (c + 1,) between its cut points; who misses it is in none
    """

    verdict: Verdict
    cuts: tuple[Array, ...]
    times: tuple[float, ...]
    bins: tuple[Array, ...]


class Grown(NamedTuple):
    """A model; of times, A and B (2, cells) after its trees, on the grid of who trains."""

    forest: Forest
    hazards: Array


def learned(of: Boosting) -> Flow[tuple[Agreed, int, Grown]]:
    """Agree on cuts, and grow the trees: what was agreed on, how many train, and the model."""
    made = yield from agreed(of)
    begun = yield from ask(of.begin, made.cuts)
    n, outcome = round(float(begun.people.value)), begun.outcome.value
    if not any(len(c) for c in made.cuts):
        raise ModelError("no feature varies among enough people; give other features")
    trees = yield from grown(of, made.verdict.k, made.cuts, scale_for(of, n, outcome), outcome)
    return made, n, trees


def agreed(of: Boosting) -> Flow[Agreed]:
    """The cut points of all terms, from the counts on two ladders; and the ladder of times, if there are any."""
    verdict = yield from support(of.first)
    placed = yield from ask(of.placed)
    for term, counts in zip(of.terms, placed.cells.value, strict=True):
        if not counts.any():
            raise ModelError(f"feature {term!r} is missing for everybody; correct the column, or leave it out")
    second = tuple(
        ladders.second(verdict.grids[f"{i}: {name}"][0], counts, of.bins)
        for i, (name, counts) in enumerate(zip(of.terms, placed.cells.value, strict=True))
    )
    times = followed.edges_of(of.ground, horizon_of(verdict.grids["span"], of.ground)) if of.timed else ()
    verdict = yield from support(of.design, second, times)
    if of.timed:
        followed.usable(verdict)
    counted = yield from ask(of.counted, second)
    cuts = tuple(
        ladders.cuts(ladder.edges, verdict.grids[f"{i}: {name}"][0], counts, of.bins)
        for i, (name, ladder, counts) in enumerate(zip(of.terms, second, counted.cells.value, strict=True))
    )
    bins = tuple(
        ladders.between(ladder.edges, verdict.grids[f"{i}: {name}"][0], counts, edges)
        for i, (name, ladder, counts, edges) in enumerate(zip(of.terms, second, counted.cells.value, cuts, strict=True))
    )
    return Agreed(verdict, cuts, times, bins)


def scale_for(of: Boosting, n: int, outcome: Array) -> Scale:
    """Where scores begin, and the scale of gradients: of whole numbers alone, or rounded, so that they do not depend on
    the deal. ModelError where the outcome does not vary."""
    if of.timed:
        if not np.split(outcome, 2)[0].any():
            raise ModelError(f"nobody has the event of {of.outcome}: there is nothing to learn; check the column")
        return scale_of(of.about, n, 1.0, (0.0,))
    if of.objective == "multiclass":
        rarest = float(outcome[outcome > 0].min()) / n
        return scale_of(of.about, n, 1.0, (0.0,) * of.classes, rarest)
    mean = float(outcome[0]) / n
    varies = 0 < mean < 1 if of.objective == "binary" else mean > 0 if of.objective == "poisson" else True
    spread = np.sqrt(max(0.0, outcome[1] / n - mean**2)) if of.objective == "squared" else mean
    if not (varies and spread > 1e-9 * abs(mean)):
        raise ModelError(f"{of.outcome!r} does not vary, and there is nothing to learn; give another outcome")
    if of.objective == "binary":
        return scale_of(of.about, n, 1.0, (float(np.float32(np.log(mean / (1 - mean)))),), min(mean, 1 - mean))
    base = mean if of.objective == "squared" else np.log(mean)
    return scale_of(of.about, n, 2.0 ** round(np.log2(spread)), (float(np.float32(f"{base:.6e}")),))


def units_of(of: Boosting, scale: Scale) -> tuple[float, float]:
    """What a gain and a Hessian of one are worth in the units of the outcome."""
    return {"squared": (scale.unit**2, 1.0), "poisson": (scale.unit, scale.unit)}.get(of.objective, (1.0, 1.0))


def rules_of(of: Boosting, k: int, scale: Scale, allowed: Bools) -> Rules:
    """The settings in the units of the sums."""
    unit, per = units_of(of, scale)
    turns = np.array([of.monotone.get(term, 0) for term in of.terms])
    return Rules(of.penalty / per, of.gain / unit, of.hessian / per, float(max(1, k)), allowed, turns)


def grown(of: Boosting, k: int, cuts: tuple[Array, ...], scale: Scale, outcome: Array) -> Flow[Grown]:
    """The trees, one after the other, until there are enough or none gets better."""
    made: list[Tree] = []
    before: Before = (np.empty((0, 4), dtype=np.int64), np.zeros((1, 2)), UNTIMED)
    seen: list[Hazards] = []
    step = of.learning_rate * (scale.unit if of.objective == "squared" else 1.0)
    drawn, table = columns_drawn(of), ladders.table(cuts, of.bins)
    for t in range(of.trees * of.classes):
        if (of.patience or of.timed) and t % of.classes == 0:
            seen.append((yield from _seen(of, t, before, scale, outcome)))
            if of.patience and len(seen) - 1 - _best(seen) >= of.patience:
                break
            before = (*before[:2], seen[-1].sums)
        tree = Growing(of.depth, step, table, rules_of(of, k, scale, drawn[t // of.classes]))
        while not tree.done:
            got = yield from ask(of.histogram, (t, tree.level), before, tree.build, scale)
            g, h = (s * 2.0**-power for s, power in zip(got.sums.value, (scale.g, scale.h), strict=False))
            tree.learn(Bins(g, h, got.sums.value[2] if of.about.counted else h / of.about.h))
            before = (tree.splits, np.zeros((1, 2)), UNTIMED)
        before = (tree.splits, tree.leaves, UNTIMED)
        made.append(tree.finished(*units_of(of, scale)))
    if (of.patience or of.timed) and len(made) == of.trees * of.classes:
        seen.append((yield from _seen(of, len(made), before, scale, outcome)))
    rounds = max(1, _best(seen)) if of.patience else len(made) // of.classes
    forest = Forest(of.objective, of.terms, scale.base, tuple(made[: rounds * of.classes]))
    return Grown(forest, seen[rounds].sums if of.timed else UNTIMED)


def _best(seen: list[Hazards]) -> int:
    """After how many rounds the loss of who is held out was smallest."""
    return int(np.argmin([s.loss for s in seen]))


def _seen(of: Boosting, tree: int, before: Before, scale: Scale, outcome: Array) -> Flow[Hazards]:
    """The loss of who is held out by the trees before this one; of times, the risk sets too."""
    if not of.timed:
        got = yield from ask(of.lost, tree, before, scale)
        return Hazards(UNTIMED, float(got.loss.value))
    sets = yield from ask(of.risks, tree, before, scale)
    trained, held_out = np.split(outcome, 2)
    own, others = sets.sums.value
    exact = of.ground.fine
    late = followed.lost(others, held_out, float(sets.linear.value), exact)
    return Hazards(followed.hazards(own, trained, exact), late)


def columns_drawn(of: Boosting) -> Bools:
    """(trees, terms) which features each tree may use."""
    rng, p = np.random.default_rng(of.seed), len(of.terms)
    drawn = np.zeros((of.trees, p), dtype=bool)
    for row in drawn:
        row[rng.permutation(p)[: max(1, round(of.columns * p))]] = True
    return drawn
