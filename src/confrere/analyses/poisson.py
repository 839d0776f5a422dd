"""Poisson regression: the generalised linear model of counts with the log link, which see (`glm`).

With `offset(log(years))` it is a model of rates. For a 0 or 1 outcome with `robust` its rate ratios are risk ratios
(Zou, Am J Epidemiol 2004;159:702). Source: Frome, Biometrics 1983;39:665. Matches R `glm(family = poisson)`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from confrere.analyses.finding import Citation, Finding
from confrere.analyses.glm import Glm
from confrere.rounds import Flow, register
from confrere.study.ground import Ground
from confrere.study.imputation import Missing

FROME = Citation(
    "Frome EL. The analysis of rates using Poisson regression models. Biometrics 1983;39:665-674", "10.2307/2531094"
)


@register("poisson")
@dataclass(frozen=True)
class Poisson:
    """Poisson regression: `count ~ terms`, `count ~ terms + offset(log(years))` for rates.

    Settings, tables and errors are those of `Glm`; the coefficients come with `rate_ratio` and its limits. What leaves
    a hospital is what `glm` sends.
    """

    formula: str
    weights: str = ""
    robust: bool = False
    ridge: float = 0.0
    missing: Missing = "complete"
    ground: Ground = Ground()

    def check(self) -> None:
        """The formula, against the levels that the study declares."""
        self.glm.check()

    @property
    def glm(self) -> Glm:
        """The same model as a `Glm`."""
        return Glm(self.formula, "poisson", "log", self.weights, self.robust, self.ridge, self.missing, self.ground)

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients, `Intercept` first."""
        return self.glm.names

    def flow(self) -> Flow[Finding]:
        """The flow of the `Glm`."""
        found = yield from self.glm.flow()
        return dataclasses.replace(found, method="poisson", cite=(FROME, *found.cite))
