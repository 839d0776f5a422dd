"""Generated people followed for an event, with a known effect, and a pooled twin that shares no code with the package.

The treatment multiplies everybody's hazard: T = E exp(-EFFECT a)/RATE with one exponential E per person, on which the
confounders depend. So the marginal hazards are exponential and proportional, whatever the confounders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from effects.twin import Array, glm

RATE, EFFECT = 1 / 800.0, -0.3  # per day; log hazard ratio
TIMES, TAU = (365.0, 730.0), 730.0


class People(NamedTuple):
    """People: confounders (n, p), treatment, days, event, hospital (n,)."""

    x: Array
    a: Array
    time: Array
    event: Array
    hospital: Array

    @property
    def frames(self) -> list[pd.DataFrame]:
        """As the hospitals have them."""
        frame = pd.DataFrame({f"x{j}": column for j, column in enumerate(self.x.T)})
        frame = frame.assign(a=self.a, time=self.time, event=self.event)
        return [frame[self.hospital == h] for h in np.unique(self.hospital)]

    def drawn(self, rows: Array) -> People:
        """The people of these rows."""
        return People(*(v[rows] for v in self))


def followed(n: int, p: int, rng: np.random.Generator, strong: float = 0.35, effect: float = EFFECT) -> People:
    """n people with p confounders, each correlated by about `strong` with how long they live, in three hospitals."""
    z = rng.normal(size=n)
    x = strong * z[:, None] + np.sqrt(1 - strong**2) * rng.normal(size=(n, p))
    a = (rng.random(n) < expit(x @ np.full(p, 0.6 / np.sqrt(p)))).astype(float)
    lived = -np.log(norm.sf(z)) * np.exp(-effect * a) / RATE
    lost = np.minimum(rng.exponential(2500, n), 1500.0)
    time = np.ceil(np.minimum(lived, lost))
    return People(x, a, time, (lived <= lost).astype(float), np.arange(n) % 3)


def right(p: int) -> str:
    """The right side of the propensity."""
    return " + ".join(f"x{j}" for j in range(p))


def truth(measure: str, time: float = 0.0, effect: float = EFFECT) -> float:
    """What a measure of everybody is."""
    if measure == "hazard ratio":
        return effect
    rates = RATE, RATE * np.exp(effect)
    risk = [1 - np.exp(-rate * time) for rate in rates]
    if measure == "RMST difference":
        return float(risk[1] / rates[1] - risk[0] / rates[0])
    return float(risk[1] - risk[0] if measure == "risk difference" else np.log(risk[1] / risk[0]))


# The twin -----------------------------------------------------------------------------------------------------


def weights(people: People, estimand: str) -> Array:
    """Weights by the inverse propensity."""
    x = np.column_stack([np.ones(len(people.a)), people.x])
    e = expit(x @ glm(x, people.a, "binomial"))
    tilt = {"ATE": np.ones_like(e), "ATT": e, "ATO": e * (1 - e), "ATM": np.minimum(e, 1 - e)}[estimand]
    return tilt / np.where(people.a == 1, e, 1 - e)


def log_hazard_ratio(people: People, w: Array) -> float:
    """Cox's weighted model of the treatment with Efron's ties, by hospital: Newton's steps on the score."""
    beta = 0.0
    for _ in range(50):
        parts = [_score(people.drawn(people.hospital == h), w[people.hospital == h], beta) for h in range(3)]
        score, information = np.sum(parts, axis=0)
        beta += score / information
        if abs(score / information) < 1e-10:
            return float(beta)
    raise ArithmeticError("no maximum")


def _score(people: People, w: Array, beta: float) -> tuple[float, float]:
    """Score and information of one hospital."""
    times, place = np.unique(people.time, return_inverse=True)
    r, dead = w * np.exp(beta * people.a), people.event == 1

    def at_risk(v: Array) -> Array:
        return np.cumsum(np.bincount(place, v, times.size)[::-1])[::-1]

    def dying(v: Array) -> Array:
        return np.bincount(place[dead], v[dead], times.size)

    s0, s1, d0, d1 = at_risk(r), at_risk(r * people.a), dying(r), dying(r * people.a)
    count, weight = dying(np.ones_like(w)), dying(w)
    score, information = float(w[dead] @ people.a[dead]), 0.0
    for tie in range(int(count.max())):
        some = count > tie
        f = tie / count[some]
        mean = (s1[some] - f * d1[some]) / (s0[some] - f * d0[some])
        each = weight[some] / count[some]
        score -= float(each @ mean)
        information += float(each @ (mean * (1 - mean)))
    return score, information


def curve(people: People, w: Array, arm: int) -> tuple[list[float], float]:
    """Risks at TIMES and the mean until TAU of an arm, by Kaplan and Meier."""
    mine = people.a == arm
    time, event, v = people.time[mine], people.event[mine], w[mine]
    times, place = np.unique(time, return_inverse=True)
    at_risk = np.cumsum(np.bincount(place, v, times.size)[::-1])[::-1]
    survival = np.cumprod(1 - np.bincount(place, v * event, times.size) / at_risk)
    steps = np.append(1.0, survival)
    inside = times < TAU
    knots = np.concatenate([[0.0], times[inside], [TAU]])
    risks = [1 - float(steps[np.searchsorted(times, t, side="right")]) for t in TIMES]
    return risks, float(steps[: inside.sum() + 1] @ np.diff(knots))


def measured(people: People, estimand: str) -> dict[str, float]:
    """All measures."""
    w = weights(people, estimand)
    (risk0, mean0), (risk1, mean1) = curve(people, w, 0), curve(people, w, 1)
    made = {"hazard ratio": log_hazard_ratio(people, w), f"RMST difference {TAU:g}": mean1 - mean0}
    for t, r0, r1 in zip(TIMES, risk0, risk1, strict=True):
        made |= {f"risk difference {t:g}": r1 - r0, f"risk ratio {t:g}": float(np.log(r1 / r0))}
    return made
