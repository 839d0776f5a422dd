"""The hazard ratio of a treatment: Cox's model of the treatment alone, people weighed by their propensity.

Ties by Efron weigh as in R `coxph(weights = w)`. The score as a function of the weights has the derivative g_i = L_i,
the score residual of a person with weight 1 (Therneau & Grambsch 2000, section 4.6; with Efron's ties too), so that
`weighted` gives a variance that accounts for the estimated propensity: I^-1 (sum phi_i^2) I^-1. Taking weights as known
(Lin & Wei; Binder, Biometrika 1992;79:139) is far too wide for ATE, and may be too narrow elsewhere.

Sources: Cole & Hernan, Comput Methods Programs Biomed 2004;75:45; Shu, Young, Toh & Wang, Biometrics 2021;77:1101.
Estimates match R `coxph(Surv(time, event) ~ a, weights = w)`, with `strata(hospital)` for a baseline per hospital.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from confrere.analyses.causes import cause_number, one_cause
from confrere.analyses.cox import Beta, Cox, Likelihood, Meat
from confrere.analyses.cox_shared import Facts, SharedBaseline
from confrere.analyses.effects.arms import ARMS
from confrere.analyses.effects.between import Between, between, enough, facts
from confrere.analyses.effects.weighted import (
    By,
    Derivatives,
    Leaning,
    influences,
    leaning,
    leans,
    per_weight,
    weighed,
    weighed_of,
)
from confrere.analyses.finding import Finding
from confrere.analyses.newton import Peak
from confrere.analyses.risksets import Tied
from confrere.analyses.scaling import Standard
from confrere.errors import StudyError
from confrere.rounds import Array, Design, Flow, People, Verdict, ask, local, register


@register("_weighted_cox")
@dataclass(frozen=True)
class WeightedCox(Cox):
    """Cox's model of the treatment, people weighed `by` their propensity; made by `weighted_cox`."""

    by: By | None = None

    def rows(self, people: People) -> Design:
        """Treatment, outcome and weights; where `cause` is named, only its events are events."""
        made = weighed(people, self.whom, self.ground)
        return one_cause(made, cause_number(self.formula, self.ground, self.cause)) if self.cause else made

    @property
    def whom(self) -> By:
        """What people are weighed by."""
        if self.by is None:
            raise StudyError("a weighted Cox model needs to know by what: use weighted_cox")
        return self.by

    @local(on="design")
    def derivatives(self, people: People, beta: Beta, standard: Standard) -> Derivatives:
        """Derivatives of the score by the propensity's coefficients."""
        return leans(people, iter([self._by_weight(people, beta, standard)]), 1)

    @local(on="design")
    def squares(self, people: People, beta: Beta, standard: Standard, lean: Leaning) -> Meat:
        """Sum of squares of what people move the score by."""
        return squared(people, self._by_weight(people, beta, standard), lean)

    @local(on="design")
    def between(self, people: People, beta: Beta, standard: Standard, lean: Leaning) -> Between:
        """How far this hospital's score is from 0."""
        (phi,) = influences(people, iter([self._by_weight(people, beta, standard)]), 1, lean)
        return between(people, phi[:, 0])

    def _by_weight(self, people: People, beta: Beta, standard: Standard) -> Array:
        """The derivative of the score by each person's weight (n, 1)."""
        return people.design.once(f"score by weight at {beta}", lambda: self._divided(people, beta, standard))

    def _divided(self, people: People, beta: Beta, standard: Standard) -> Array:
        likelihood = Likelihood.at(people.design, beta, standard, self.ties == "efron")
        return per_weight(likelihood.score_residuals(), likelihood.weights)

    def flow(self) -> Flow[Finding]:
        """As Cox's."""
        if self.baseline == "shared":
            return (yield from WeightedShared(self).flow())
        return (yield from super().flow())

    def _squares(self, peak: Peak, z: Standard, verdict: Verdict) -> Flow[tuple[Array, dict[str, Any]]]:
        beta = tuple(peak.beta.tolist())
        lean = yield from leaning(self.whom, (yield from ask(self.derivatives, beta, z)))
        meat = (yield from ask(self.squares, beta, z, lean)).meat.value
        if not self.whom.effect.heterogeneity:
            return meat, {}
        enough(verdict)
        apart = yield from ask(self.between, beta, z, lean)
        return meat, facts(float(apart.statistic.value), verdict.hospitals)


@register("_weighted_cox_shared")
@dataclass(frozen=True)
class WeightedShared(SharedBaseline):
    """The steps of a weighted Cox model with a shared baseline; `cox` is a `WeightedCox`."""

    def grid(self, people: People, edges: tuple[float, ...]) -> Design:
        """Cells hold nobody or enough people of either arm: with one mark as a term, sums per cell tell the arms."""
        made = super().grid(people, edges)
        if self.cox.ground.fine:
            return made
        treated = weighed_of(made).treated
        by_arm = {
            f"{kind}, {arm}": replace(c, index=np.where(mine, c.index, -1))
            for kind, c in made.cells.items()
            if kind in self.used
            for arm, mine in zip(ARMS, (~treated, treated), strict=True)
        }
        return replace(made, cells={**made.cells, **by_arm})

    @local(on="grid")
    def derivatives(self, people: People, beta: Beta, z: Standard, a: Array, c: Array, means: Array) -> Derivatives:
        """Derivatives of the score by the propensity's coefficients."""
        return leans(people, iter([self._by_weight(people, beta, z, a, c, means)]), 1)

    @local(on="grid")
    def squares(self, people: People, beta: Beta, z: Standard, sums: tuple[Array, Array, Array], lean: Leaning) -> Meat:
        """Sum of squares of what people move the score by."""
        return squared(people, self._by_weight(people, beta, z, *sums), lean)

    def _by_weight(self, people: People, beta: Beta, z: Standard, *sums: Array) -> Array:
        """The derivative of the score by each person's weight (n, 1)."""
        return per_weight(self._residuals(people, beta, z, *sums), people.design.data.weights)

    def _squares(self, peak: Peak, z: Standard, t: Tied, means: Array, *more: Array) -> Flow[tuple[Array, Facts]]:
        beta = tuple(peak.beta.tolist())
        whom = self.cox.whom if isinstance(self.cox, WeightedCox) else None
        if whom is None:
            raise StudyError("a weighted Cox model needs to know by what: use weighted_cox")
        lean = yield from leaning(whom, (yield from ask(self.derivatives, beta, z, t.a, t.c, means)))
        return (yield from ask(self.squares, beta, z, (t.a, t.c, means), lean)).meat.value, {}


def squared(people: People, by_weight: Array, lean: Leaning) -> Meat:
    """The body of a step: the sum of squares (1, 1) of what people move the score by."""
    (phi,) = influences(people, iter([by_weight]), 1, lean)
    return Meat(people.moments(phi))


def weighted_cox(by: By) -> WeightedCox:
    """The Cox model of an effect. Its robust variance accounts for the estimated propensity."""
    effect = by.effect
    return WeightedCox(
        by.formula, effect.ties, effect.baseline, weights="propensity", robust=True, diagnostics=False,
        cause=effect.cause, ground=effect.about, by=by,
    )  # fmt: skip
