"""Logistic regression: the binomial generalised linear model with the logit link, which see (`glm`).

Sources: Cox, JRSS B 1958;20:215; Albert & Anderson, Biometrika 1984;71:1 (separation). Matches
R `glm(family = binomial)`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from confrere.analyses.finding import Citation, Finding
from confrere.analyses.glm import Glm
from confrere.analyses.learning.elsewhere import left_out, of_risk
from confrere.analyses.learning.left_out import LeavesOut, listed, wrong
from confrere.errors import StudyError
from confrere.rounds import Flow, register
from confrere.study.ground import Ground
from confrere.study.imputation import Missing

COX = Citation(
    "Cox DR. The regression analysis of binary sequences. J R Stat Soc B 1958;20:215-242",
    "10.1111/j.2517-6161.1958.tb00292.x",
)


@register("logistic")
@dataclass(frozen=True)
class Logistic(LeavesOut):
    """Logistic regression: `outcome ~ terms`, the outcome 0 or 1, or a column of two declared levels (the second is 1).

    Settings, tables and errors are those of `Glm`; the coefficients come with `odds_ratio` and its limits. What leaves
    a hospital is what `glm` sends. `leave_out` are groups of hospitals, three at least: the table `left_out` says how
    good the model of all others is in each, as `evaluate` does.
    """

    formula: str
    weights: str = ""
    robust: bool = False
    ridge: float = 0.0
    missing: Missing = "complete"
    leave_out: tuple[tuple[str, ...], ...] = ()
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", listed(self.leave_out))

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        self.glm.check()
        if found := next(wrong(self), ""):
            raise StudyError(found)

    @property
    def glm(self) -> Glm:
        """The same model as a `Glm`."""
        return Glm(self.formula, "binomial", "logit", self.weights, self.robust, self.ridge, self.missing, self.ground)

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients, `Intercept` first."""
        return self.glm.names

    def flow(self) -> Flow[Finding]:
        """The flow of the `Glm`; with groups, that of all of them, and without each in turn."""
        if self.leave_out:
            return (yield from left_out(self, dataclasses.replace(self, leave_out=()), self.glm, of_risk(self)))
        found = yield from self.glm.flow()
        return dataclasses.replace(found, method="logistic", cite=(COX, *found.cite))
