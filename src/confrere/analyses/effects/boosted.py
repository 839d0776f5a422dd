"""A propensity by boosted trees (`boosting`): the score of the trees stands where a linear predictor does.

The trees are grown on the terms of the confounders, among the people of an effect, or those of other folds; they are
the same for any deal. What a person's record moves them by has no derivative, so nothing leans on them: with folds the
variance of augmented weighting does not need it to first order (Chernozhukov et al.); of weighting alone it is that of
known weights. Needs the disclosure class `histograms`, as `boosting` does.

Sources: McCaffrey, Ridgeway & Morral, Psychol Methods 2004;9:403 (boosted propensities, R `twang`); Lee, Lessler &
Stuart, Stat Med 2010;29:337; Chernozhukov et al., Econometrics J 2018;21:C1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from confrere.analyses.effects.effect import Effect, Growth
from confrere.analyses.effects.nuisance import Among, Fitted, Learned, Nuisance, means_of
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.grown import learned as grown
from confrere.analyses.learning.scored import importance
from confrere.errors import ModelError
from confrere.rounds import Array, Bools, Flow, People, ask, register
from confrere.study.ground import design_of, model_of


@register("_boosted")
@dataclass(frozen=True)
class Boosted(Boosting):
    """Boosted trees of a mark on the terms of a `formula`, whose left side it is, among the people of an effect.

    `features` are the columns that the terms are made of.
    """

    formula: str = ""
    among: Among = Among()

    def __hash__(self) -> int:
        return hash((super().__hash__(), self.formula, self.among))

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms of the formula."""
        return model_of(self.formula, self.ground).names

    def values(self, frame: Any) -> list[Array]:
        """The values (N,) of each term."""
        pooled = {name: (mean, sd) for name, mean, sd in self.ground.pooled}
        return list(model_of(self.formula, self.ground).evaluate(frame, pooled).x.T)

    def _whom(self, people: People) -> tuple[Bools, int | None]:
        """Whom the fit is about (N,), and how many would be without folds."""
        people = self.among.seen(people, self.ground)
        made = design_of(people, self.formula, self.ground)
        taught = self.among.taught(people, made, self.ground, self.formula)
        return taught.rows, taught.crowd


def boosted(effect: Effect, among: Among) -> Boosted:
    """The trees of an effect's propensity among some people, none held out."""
    growth, ground = effect.growth or Growth(), effect.about
    columns = model_of(f"~ {effect.confounders}", ground).columns
    return Boosted(
        effect.treatment, columns, trees=growth.trees, depth=growth.depth, learning_rate=growth.learning_rate,
        bins=growth.bins, holdout=0.0, ground=ground, formula=effect.treating, among=among,
    )  # fmt: skip


def learned(trees: Boosted) -> Flow[Learned]:
    """Grow the propensity, and keep what the steps that follow need; its terms are standardised for the balance."""
    glm = Nuisance(trees.formula, "binomial", ridge=1.0, ground=trees.ground, among=trees.among)
    try:
        start = yield from ask(glm.start)
        _, n, made = yield from grown(trees)
    except ModelError as error:
        raise ModelError(f"the propensity ({trees.formula}): {error}", about=error.about) from None
    frame, treated = glm.frame_of(start, n), float(start.outcome.value[0])
    model = Fitted(trees.formula, "binomial", (), frame, forest=made.forest)
    mean = means_of(start.cross.value, treated, frame)
    records = [{"term": r.pop("feature"), **r} for r in importance(made.forest)]
    return Learned(model, np.empty((0, 0)), np.empty(0), n, treated / n, mean, trees.terms, records)
