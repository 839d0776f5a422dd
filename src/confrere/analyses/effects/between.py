"""Whether the effect differs between hospitals: a test over sums, and the share of variation that is theirs (I2).

At the common estimate what people move it by, phi_i, sums to 0 over all hospitals; over one hospital it sums to about 0
if the effect there is the common one. With U and V the sums of phi and of phi^2 over a hospital's people, the sum of

    U^2 / V

over hospitals is Cochran's Q of one-step estimates. It is held against a chi-square with a degree of freedom less than
hospitals, which it has, if effects are equal and hospitals large, where V is the same multiple of the information I in
every hospital. Elsewhere the common estimate is not the one that makes Q least: Q is too large by
(sum U I/V)^2 / (sum I^2/V), on average (sum V) (sum I^2/V) / (sum I)^2 - 1, and equal effects are rejected too often.
To take this off would need two more sums: with those of U, V and I, six for the six unknowns of two other hospitals.

One number of each hospital goes into a secure sum of three or more, and no estimate of a hospital leaves it: Cochran's
own sums, of weights, estimates and squares, would tell two hospitals' estimates to a third one. Hospitals that treat by
other habits than the propensity says differ too (`hospital_effects`).

Sources: Cochran, Biometrics 1954;10:101; Higgins & Thompson, Stat Med 2002;21:1539 (I2); Rao's score test in the form
of Boos, Am Stat 1992;46:327.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.distributions import chi2_sf
from confrere.analyses.finding import Citation
from confrere.errors import ModelError
from confrere.rounds import Array, People, Sum, Verdict

LEAST = 3  # hospitals: of two, each would know the other's
HIGGINS = Citation(
    "Higgins JPT, Thompson SG. Quantifying heterogeneity in a meta-analysis. Stat Med 2002;21:1539-1558",
    "10.1002/sim.1186",
)


class Between(NamedTuple):
    """A hospital's U^2 / V."""

    statistic: Sum  # ()


def between(people: People, phi: Array) -> Between:
    """The body of a step: of what people move the effect by (n,)."""
    square = float(phi @ phi)
    return Between(people.derived(np.array(phi.sum() ** 2 / square if square > 0 else 0.0)))


def enough(verdict: Verdict) -> None:
    """ModelError unless hospitals are enough to compare them."""
    if verdict.hospitals < LEAST:
        raise ModelError(
            f"heterogeneity compares at least {LEAST} hospitals, and {verdict.hospitals} take part: leave it out"
        )


def facts(statistic: float, hospitals: int) -> dict[str, Any]:
    """Q as `heterogeneity`, its p value, and I2: the share of Q that chance does not explain."""
    df = hospitals - 1
    return {
        "heterogeneity": statistic,
        "heterogeneity_p": float(chi2_sf(statistic, df)),
        "i2": max(0.0, 1 - df / statistic) if statistic > 0 else 0.0,
    }
