"""Generated people of whom some are lost by what they are like, and a pooled twin that shares no code with the package.

Two worlds of constant hazards. `marginal`: as `followed`, so that the treatment multiplies everybody's hazard whatever
the confounders. `conditional`: it multiplies the hazard given the confounders, which an outcome model can have right.
In both, who is lost depends on the confounders; without weights or a model, estimates are off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from effects.followed import EFFECT, RATE, People
from effects.twin import Array, glm

TIMES, TAU, STEP, END = (365.0, 730.0), 730.0, 182.5, 1460.0
EDGES = np.arange(STEP, END + 1, STEP)
BETA = np.array([0.5, -0.4])


def lost(world: str, n: int, rng: np.random.Generator, moved: float = 0.0) -> People:
    """n people with two confounders in three hospitals; in every other hospital the effect is `moved`."""
    x, hospital = rng.normal(size=(n, 2)), np.arange(n) % 3
    effect = EFFECT + moved * (hospital - 1)
    if world == "marginal":
        z = rng.normal(size=n)
        x = 0.45 * z[:, None] + np.sqrt(1 - 0.45**2) * x
        lived = -np.log(norm.sf(z))
    else:
        lived = rng.exponential(size=n) * np.exp(-x @ BETA)
    a = (rng.random(n) < expit(x @ np.array([0.5, 0.4]))).astype(float)
    lived *= np.exp(-effect * a) / RATE
    gone = np.minimum(rng.exponential(1200, n) * np.exp(-x @ np.array([0.6, -0.3])), 1400.0)
    return People(x, a, np.minimum(lived, gone), (lived <= gone).astype(float), hospital)


def truth(world: str, measure: str, time: float = 0.0) -> float:
    """What a measure of everybody is."""
    if measure == "hazard ratio":
        return EFFECT
    at, weight = np.polynomial.hermite_e.hermegauss(60)
    spread = float(np.sqrt(BETA @ BETA)) if world == "conditional" else 0.0
    rates = RATE * np.exp(np.add.outer([0.0, EFFECT], spread * at))
    risk = (1 - np.exp(-rates * time)) @ weight / weight.sum()
    if measure == "RMST difference":
        mean = ((1 - np.exp(-rates * time)) / rates) @ weight / weight.sum()
        return float(mean[1] - mean[0])
    return float(risk[1] - risk[0] if measure == "risk difference" else np.log(risk[1] / risk[0]))


# The twin -----------------------------------------------------------------------------------------------------


class Model(NamedTuple):
    """Rates by arm and cell (2, J + 1), the last one open, and coefficients (p,)."""

    rates: Array
    beta: Array


def stays(time: Array, edges: Array) -> Array:
    """Time followed in each cell (n, J + 1), the last one open."""
    left, right = np.append(0.0, edges), np.append(edges, np.inf)
    return np.clip(time[:, None], left, right) - left


def fitted(people: People, event: Array) -> Model:
    """Newton's steps on the coefficients, the rates being events over times."""
    x, spent, beta = people.x, stays(people.time, EDGES), np.zeros(people.x.shape[1])
    cell = np.searchsorted(EDGES, people.time)
    arms = np.array([people.a == 0, people.a == 1], dtype=float)
    d = np.array([np.bincount(cell, event * arm, minlength=EDGES.size + 1) for arm in arms])
    for _ in range(50):
        r = np.exp(x @ beta)
        time = (arms * r) @ spent
        rates = np.divide(d, time, out=np.zeros_like(d), where=time > 0)
        each = rates[people.a.astype(int)]
        expected = r * (spent * each).sum(axis=1)
        first = np.einsum("an,nj,np->ajp", arms * r, spent, x)
        information = (x * expected[:, None]).T @ x
        information -= np.einsum("aj,ajp,ajq->pq", np.divide(rates, time, where=time > 0, out=0 * d), first, first)
        step = np.linalg.solve(information, x.T @ (event - expected))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            return Model(rates, beta)
    raise ArithmeticError("no maximum")


def read(curves: Array) -> dict[str, float]:
    """Measures of two curves (2, J) at the edges."""
    made = {}
    for t in TIMES:
        r0, r1 = 1 - curves[:, int(np.searchsorted(EDGES, t))]
        made |= {f"risk difference {t:g}": float(r1 - r0), f"risk ratio {t:g}": float(np.log(r1 / r0))}
    s = np.column_stack([np.ones(2), curves[:, : int(np.searchsorted(EDGES, TAU)) + 1]])
    fall = np.log(s[:, :-1] / s[:, 1:])
    mean = (np.where(fall == 0, s[:, 1:], (s[:, :-1] - s[:, 1:]) / np.where(fall == 0, 1, fall)) * STEP).sum(axis=1)
    return made | {f"RMST difference {TAU:g}": float(mean[1] - mean[0])}


def measured(people: People, estimator: str) -> dict[str, float]:
    """All measures: by `gformula`, `aipw`, or `iptw` with weights against being lost."""
    spent = stays(people.time, EDGES)[:, :-1]
    one = np.column_stack([np.ones(len(people.a)), people.x])
    e = expit(one @ glm(one, people.a, "binomial"))
    w = 1 / np.where(people.a == 1, e, 1 - e)
    gone = fitted(people, 1 - people.event)
    b = np.maximum(np.exp(people.x @ gone.beta)[:, None] * gone.rates[people.a.astype(int), :-1], 1e-12)
    here = (np.searchsorted(EDGES, people.time)[:, None] == np.arange(EDGES.size)) & (people.event[:, None] == 1)
    if estimator == "iptw":
        start = np.exp(STEP * (np.cumsum(b, axis=1) - b))
        time, event = w[:, None] * start * np.expm1(b * spent) / b, w[:, None] * start * np.exp(b * spent) * here
        d, r = (np.array([v[people.a == arm].sum(axis=0) for arm in (0, 1)]) for v in (event, time))
        by = [people.hospital == h for h in range(3)]
        own = [np.array([[v[(people.a == arm) & h].sum(axis=0) for arm in (0, 1)] for v in (event, time)]) for h in by]
        return {"hazard ratio": log_ratio(own)} | read(np.exp(-STEP * np.cumsum(d / r, axis=1)))
    model, curves = fitted(people, people.event), []
    for arm in (0, 1):
        a = np.exp(people.x @ model.beta)[:, None] * model.rates[arm, :-1]
        s = np.exp(-STEP * np.cumsum(a, axis=1))
        if estimator == "aipw":
            c = a + b
            start = np.exp(STEP * (np.cumsum(c, axis=1) - c))
            x = np.cumsum(start * (here * np.exp(c * spent) - a * np.expm1(c * spent) / c), axis=1)
            s = s * (1 - (w * (people.a == arm))[:, None] * x)
        curves.append(s.mean(axis=0))
    return read(np.array(curves))


def log_ratio(own: list[Array]) -> float:
    """The hazard ratio of weighted events and times (2, 2, J) of each hospital."""
    beta = 0.0
    for _ in range(50):
        score = information = 0.0
        for (d0, d1), (r0, r1) in own:
            p = r1 * np.exp(beta) / np.maximum(r0 + r1 * np.exp(beta), 1e-300)
            score += float(d1.sum() - (d0 + d1) @ p)
            information += float((d0 + d1) @ (p * (1 - p)))
        beta += score / information
        if abs(score / information) < 1e-11:
            return beta
    raise ArithmeticError("no maximum")
