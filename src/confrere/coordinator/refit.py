"""Counts that a saturated regression gives back: as many parameters as groups, so that fitted values are the data.

Of a group with linear predictor eta and variance v = x'Vx there are n = dispersion / (v w) people, where w is the
weight of one person in the fit, (dmu/deta)^2 / V(mu); of a binomial outcome n mu of them have it. Whether numbers are
columns of 0 and 1 is not known here, and need not be: if the counts come out whole and add up to everybody, they are
counts.

McCullagh P, Nelder JA. Generalized Linear Models. 2nd ed. Chapman and Hall 1989, section 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from scipy import special

from confrere.analyses.distributions import norm_cdf, norm_pdf
from confrere.analyses.finding import Finding
from confrere.rounds import Array

MOST = 64  # groups that are tried
_LEVEL = re.compile(r"(?P<variable>.+)\[(?P<treatment>T\.)?(?P<level>.*)\]")
_WHOLE = 0.02  # people by which a count may be off a whole number: fits end when they are near enough
Inverse = Callable[[Array], tuple[Array, Array]]  # eta -> (mu, dmu/deta)
INVERSES: Mapping[str, Inverse] = {
    "identity": lambda eta: (eta, np.ones_like(eta)),
    "log": lambda eta: (np.exp(eta), np.exp(eta)),
    "logit": lambda eta: (special.expit(eta), special.expit(eta) * special.expit(-eta)),
    "probit": lambda eta: (norm_cdf(eta), norm_pdf(eta)),
}
VARIANCES: Mapping[str, Callable[[Array], Array]] = {
    "gaussian": np.ones_like,
    "binomial": lambda mu: mu * (1 - mu),
    "poisson": lambda mu: mu,
    "gamma": lambda mu: mu**2,
}


def fitted_counts(finding: Finding) -> dict[str, float]:
    """People of every group, with and without the outcome where it is one, by words; empty if none come out."""
    family = "gaussian" if finding.method == "linear" else str(finding.facts.get("family", ""))
    link = "identity" if finding.method == "linear" else str(finding.facts.get("link", ""))
    if family not in VARIANCES or link not in INVERSES or not {"estimate", "vcov"} <= finding.arrays.keys():
        return {}
    made = _groups([str(r["term"]) for r in finding.tables.get("coefficients", [])])
    if made is None:
        return {}
    names, x = made
    mu, slope = INVERSES[link](x @ finding.arrays["estimate"])
    spread = np.einsum("gp,pq,gq->g", x, finding.arrays["vcov"], x)
    with np.errstate(divide="ignore", invalid="ignore"):
        n = float(finding.facts.get("dispersion", 1.0)) * VARIANCES[family](mu) / (spread * slope**2)
    if not _are_counts(n) or round(n.sum()) != finding.n:
        return {}
    if family != "binomial":
        return dict(zip(names, np.round(n).tolist(), strict=True))
    with_it = np.round(n * mu)
    sides = {"with the outcome": with_it, "without it": np.round(n) - with_it}
    return {f"{g}, {side}": float(c[i]) for side, c in sides.items() for i, g in enumerate(names)}


def _are_counts(n: Array) -> bool:
    return bool(np.isfinite(n).all() and (n > 0.5).all() and (np.abs(n - np.round(n)) < _WHOLE).all())


def _groups(terms: Sequence[str]) -> tuple[list[str], Array] | None:
    """Groups in words and the design of a person of each (groups, terms); None if there are not as many as terms.

    A number counts as 0 or 1.
    """
    levels: dict[str, list[str]] = {}
    for part in (p for term in terms if term != "Intercept" for p in term.split(":")):
        match = _LEVEL.fullmatch(part)
        variable, level = (match["variable"], match["level"]) if match else (part, "1")
        known = levels.setdefault(variable, [] if match and not match["treatment"] else ["reference" if match else "0"])
        if level not in known:
            known.append(level)
    if not levels or np.prod([len(v) for v in levels.values()]) != len(terms) or len(terms) > MOST:
        return None
    groups = [dict(zip(levels, chosen, strict=True)) for chosen in product(*levels.values())]
    x = np.array([[_value(term, group) for term in terms] for group in groups])
    if np.linalg.matrix_rank(x) < len(terms):
        return None
    return [", ".join(f"{v} {level}" for v, level in group.items()) for group in groups], x


def _value(term: str, group: Mapping[str, str]) -> float:
    """A term for a person of a group."""
    if term == "Intercept":
        return 1.0
    matches = [(_LEVEL.fullmatch(part), part) for part in term.split(":")]
    return float(all(group[m["variable"]] == m["level"] if m else group[part] == "1" for m, part in matches))
