"""A propensity in which every hospital has an intercept of its own, and no hospital is named.

Hospitals treat by different habits. Given the shared coefficients b, a hospital finds its intercept by itself, where
its propensities add up to its number of treated; it is profiled out of what leaves, so that neither it nor the
hospital's number of treated does. With v = e (1 - e) and zbar the mean of the hospital's terms z with weights v,
sums over all hospitals of

    log L,   sum z (A - e),   sum v (z - zbar)(z - zbar)'

are value, score and information of the profile likelihood, whose maximum is that of the logistic regression with an
indicator of each hospital. A hospital in which nobody differs in treatment has no comparison to offer, and takes no
part. Source: Murphy & van der Vaart, JASA 2000;95:449 (profile likelihood). Matches R `glm(treatment ~ terms +
factor(hospital), binomial)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.nuisance import Among, Beta, Fitted, Learned, Local, local_of, means_of
from confrere.analyses.families import FAMILIES
from confrere.analyses.finding import coefficients
from confrere.analyses.newton import Curve, Objective, Peak, Slope, maximise
from confrere.analyses.outcomes import Cases, Frame, Start, enough, penalty, spread, standardised, started
from confrere.analyses.scaling import blocks, products_of
from confrere.analyses.separation import Watch, check_levels
from confrere.errors import ModelError
from confrere.rounds import Array, Design, Flow, People, ask, local, register, support
from confrere.study.ground import Ground, design_of, model_of


class Profile(NamedTuple):
    """A hospital's profile likelihood: value, score (p,), information (p, p), and the information of each person."""

    loglik: float
    score: Array
    information: Array
    weights: Array


@register("_own_intercepts")
@dataclass(frozen=True)
class OwnIntercepts:
    """Logistic regression with an intercept for each hospital, profiled out. `formula` has an intercept."""

    formula: str
    ridge: float = 0.0
    among: Among = Among()
    ground: Ground = Ground()

    @property
    def names(self) -> tuple[str, ...]:
        """The shared coefficients."""
        return model_of(self.formula, self.ground).names

    # inside each hospital

    def design(self, people: People) -> Design:
        """Raw terms and treatment, where it varies."""
        made = design_of(people, self.formula, self.ground)
        made = self.among.taught(people, made, self.ground, self.formula)
        y = made.data.value
        FAMILIES["binomial"].check(y, False)
        cases = Cases(made.x, y, np.ones(made.n), np.zeros(made.n))
        flags = {"outcome": y > 0}
        return Design(
            n=made.n, rows=made.rows, x=made.x, names=made.names, flags=flags, cells=made.cells, data=cases,
            columns=made.columns, left_out=made.left_out, crowd=made.crowd,
        )  # fmt: skip

    @local(on="design")
    def start(self, people: People) -> Start:
        """Raw moments, for standardising."""
        return started(people, people.design.data.y, 0.0)

    @local(on="design", repeats=110)
    def slope(self, people: People, beta: Beta, frame: Frame) -> Slope:
        """Profile log-likelihood and score."""
        return Slope(*self._curve(people, beta, frame)[:2])

    @local(on="design", repeats=3)
    def curve(self, people: People, beta: Beta, frame: Frame) -> Curve:
        """The same, and the information."""
        return self._curve(people, beta, frame)

    def _curve(self, people: People, beta: Beta, frame: Frame) -> Curve:
        cases: Cases = people.design.data
        got = _profile(cases, local_of(cases.x, cases.y, self._fitted(beta, frame)), frame)
        return Curve(
            people.derived(np.asarray(got.loglik), got.weights + 0.25), people.derived(got.score, got.weights + 0.25),
            people.derived(got.information, got.weights, symmetric=True),
        )  # fmt: skip

    def _fitted(self, beta: Beta, frame: Frame) -> Fitted:
        return Fitted(self.formula, "binomial", beta, frame, own=True)

    # sums only

    def flow(self) -> Flow[Learned]:
        """The frame, then the climb on the profile likelihood."""
        verdict = yield from support(self.design)
        s = yield from ask(self.start)
        enough(verdict.n, len(self.names))
        spread(s)
        mean, sd = standardised(s, self.names, True)
        if not self.ridge:
            check_levels(s, self.names, True, "binomial")
        frame = Frame(mean, sd, 0.0, 1.0, 1.0, False)
        peak = yield from self._climbed(frame)
        return self._learned(peak, frame, verdict.n, s)

    def _climbed(self, frame: Frame) -> Flow[Peak]:
        watch = Watch(self.names, not self.ridge, -float(np.log(2)), [])
        objective = Objective(
            lambda beta: watch.slope(ask(self.slope, beta, frame)),
            lambda beta: watch.curve(lambda last: ask(self.curve, beta, frame)),
            self.names,
            penalty(frame, self.ridge),
        )
        try:
            return (yield from maximise(np.zeros(len(self.names)), objective))
        except ModelError as error:
            raise ModelError(f"the propensity ({self.formula}): {error}", about=error.about) from None

    def _learned(self, peak: Peak, frame: Frame, n: int, s: Start) -> Learned:
        ridge, sd = penalty(frame, self.ridge), np.array(frame.sd)
        inverse = np.asarray(np.linalg.inv(peak.information + np.diag(ridge)))
        model = self._fitted(tuple(peak.beta.tolist()), frame)
        records = coefficients(self.names, peak.beta / sd, np.sqrt(np.diag(inverse)) / sd, exponent="odds_ratio")
        share, treated = float(s.outcome.value[0]) / n, means_of(s.cross.value, float(s.outcome.value[0]), frame)
        return Learned(model, inverse, ridge * peak.beta, n, share, treated, self.names, records)


def _profile(cases: Cases, at: Local, frame: Frame) -> Profile:
    """The profile likelihood at propensities in which the hospital's intercept is its own."""
    p = cases.x.shape[1]
    score, information = np.zeros(p), np.zeros((p, p))
    for rows, z in blocks(cases.x, frame.mean, frame.sd):
        score += at.score[rows] @ z
        z -= at.centre
        information += products_of(z, at.m.slope[rows])
    loglik = -float(FAMILIES["binomial"].half_deviance(cases.y, at.m).sum())
    return Profile(loglik, score, information, at.m.slope)
