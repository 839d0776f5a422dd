"""A propensity by the lasso or by ridge regression, its penalty by cross-validation over sums (`penalised`).

At the maximum the scores sum z (a - e) equal the pull of the penalty, lambda (alpha sign(b) + (1 - alpha) b), and not
0; each person's part of it is taken off. By the coefficients these equations have the derivative -(I + R), the
information with lambda (1 - alpha) on its diagonal: the variance of influence functions has (I + R)^-1 where that of a
propensity without a penalty has I^-1. Of the lasso R is 0, and the pull does not move: the equations are those of the
terms that it keeps, given these and their signs, and the terms left out move nothing. The penalty is taken as known,
and so is which terms a lasso keeps: standard errors do not account for the choice. Where both models of `aipw` are near
the truth, that does not matter to first order (Farrell; Belloni et al.).

Sources: Hoerl & Kennard, Technometrics 1970;12:55 (ridge); Shortreed & Ertefaie, Biometrics 2017;73:1111 (lasso
propensities); Farrell, J Econom 2015;189:1; Belloni, Chernozhukov & Hansen, Rev Econ Stud 2014;81:608. Equals R's
`cv.glmnet` with its `foldid`, at `lambda.min`, `alpha` 1 or 0.
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

ALPHAS = {"lasso": 1.0, "ridge": 0.0}  # of the settings of `propensity` that choose a penalty


@register("_penalised_propensity")
@dataclass(frozen=True)
class PenalisedPropensity(Penalised):
    """A penalised regression of a binomial outcome among the people of an effect."""

    among: Among = Among()

    def __hash__(self) -> int:
        return hash((super().__hash__(), self.among))

    @property
    def linked(self) -> Glm:
        """The model without its penalty, of those whom the fit is about."""
        return Nuisance(self.formula, self.family, ridge=1.0, ground=self.ground, among=self.among)


def learned(propensity: PenalisedPropensity) -> Flow[Learned]:
    """Fit the propensity, and keep what the steps that follow need."""
    try:
        fit: Fit = yield from propensity.fit()
    except ModelError as error:
        raise ModelError(
            f"the propensity ({propensity.formula}): {error}. Or take propensity 'logistic'", about=error.about
        ) from None
    stage, best, n = fit.stage, fit.best, fit.verdict.n
    treated = float(stage.events or 0)
    if min(treated, n - treated) < 2:
        raise ModelError("an arm has one person: there is nothing to compare. Ask about more people")
    kept = np.flatnonzero((best.at != 0) | (np.arange(len(best.at)) < stage.one))
    steep = best.information + np.diag(stage.penalty(fit.path.values[fit.at]).second)
    inverse, pull = np.zeros_like(steep), np.zeros_like(best.at)
    inverse[np.ix_(kept, kept)] = np.linalg.inv(steep[np.ix_(kept, kept)])
    pull[kept] = best.score[kept]
    model = Fitted(propensity.formula, propensity.family, tuple(best.at.tolist()), stage.frame)
    mean = means_of(stage.having, treated, stage.frame)
    records = shrunk(propensity.names, estimates(stage.frame, best.at), "odds_ratio")
    return Learned(model, inverse, pull, n, treated / n, mean, propensity.names, records)
