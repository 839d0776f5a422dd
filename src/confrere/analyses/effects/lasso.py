"""A propensity by the lasso, its penalty by cross-validation over sums (`penalised`).

Which terms it keeps, and how much it shrinks, are taken as known: given the terms A that it keeps and the signs of
their coefficients, these solve the score equations sum z_A (a - e) = lambda sign(b_A), in which the right side does not
move. So influence functions hold as for a ridge, with the information about the kept terms alone, each person's part of
the pull being taken off; the terms left out move nothing. Standard errors do not account for the choice. Where both
models of `aipw` are near the truth, that does not matter to first order (Farrell; Belloni et al.).

Sources: Shortreed & Ertefaie, Biometrics 2017;73:1111 (lasso propensities); Farrell, J Econom 2015;189:1; Belloni,
Chernozhukov & Hansen, Rev Econ Stud 2014;81:608. Equals R's `cv.glmnet` with its `foldid`, at `lambda.min`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from confrere.analyses.effects.nuisance import Among, Fitted, Learned, Nuisance, means_of
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.learning.penalised_finding import Fit, shrunk
from confrere.analyses.outcomes import estimates
from confrere.errors import ModelError
from confrere.rounds import Flow, register

if TYPE_CHECKING:
    from confrere.analyses.glm import Glm


@register("_lasso")
@dataclass(frozen=True)
class Lasso(Penalised):
    """The lasso on a binomial outcome among the people of an effect."""

    among: Among = Among()

    def __hash__(self) -> int:
        return hash((super().__hash__(), self.among))

    @property
    def linked(self) -> Glm:
        """The model without its penalty, of those whom the fit is about."""
        return Nuisance(self.formula, self.family, ridge=1.0, ground=self.ground, among=self.among)


def learned(lasso: Lasso) -> Flow[Learned]:
    """Fit the propensity, and keep what the steps that follow need."""
    try:
        fit: Fit = yield from lasso.fit()
    except ModelError as error:
        raise ModelError(
            f"the propensity ({lasso.formula}): {error}. Or take propensity 'logistic'", about=error.about
        ) from None
    stage, best, n = fit.stage, fit.best, fit.verdict.n
    treated = float(stage.events or 0)
    if min(treated, n - treated) < 2:
        raise ModelError("an arm has one person: there is nothing to compare. Ask about more people")
    kept = np.flatnonzero((best.at != 0) | (np.arange(len(best.at)) < stage.one))
    inverse, pull = np.zeros_like(best.information), np.zeros_like(best.at)
    inverse[np.ix_(kept, kept)] = np.linalg.inv(best.information[np.ix_(kept, kept)])
    pull[kept] = best.score[kept]
    model = Fitted(lasso.formula, lasso.family, tuple(best.at.tolist()), stage.frame)
    mean = means_of(stage.having, treated, stage.frame)
    records = shrunk(lasso.names, estimates(stage.frame, best.at), "odds_ratio")
    return Learned(model, inverse, pull, n, treated / n, mean, lasso.names, records)
