"""Do two ways of measuring the same people agree? Lin's concordance correlation, and Bland and Altman's limits.

concordance = 2 s12 / (s11 + s22 + (m1 - m2)^2), limits by Fisher's z, variance of Lin, Biometrics 1989;45:255
(corrected 2000;56:324). Limits of agreement: Bland & Altman, Stat Methods Med Res 1999;8:135. As R's epiR::epi.ccc.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from confrere.analyses.finding import Citation, Finding, Record, attrition
from confrere.errors import FormulaError, ModelError
from confrere.rounds import Array, Design, Flow, People, Sum, ask, local, register, support
from confrere.study.ground import Ground, design_of, model_of

LIN = Citation("Lin LI. A concordance correlation coefficient. Biometrics 1989;45:255-268", "10.2307/2532051")


class Means(NamedTuple):
    people: Sum  # one number
    first: Sum  # (2,) sums of the two measurements


class Spread(NamedTuple):
    second: Sum  # (2, 2) products of distances from the means


@register("agreement")
@dataclass(frozen=True)
class Agreement:
    """Agreement of two measurements, `one ~ other`. Finding: the table `agreement` by `measure`, with 95 % limits."""

    formula: str
    ground: Ground = Ground()

    def check(self) -> None:  # called before anything is asked
        if len(model_of(self.formula, self.ground).names) != 1:
            raise FormulaError(f"{self.formula}: give one numeric column on each side, such as 'pat.karno ~ ph.karno'")

    def design(self, people: People) -> Design:  # raw columns; made once, never leaves
        made = design_of(people, self.formula, self.ground)
        return replace(made, x=np.column_stack([made.data.value, made.x]), names=("left side", *made.names))

    @local(on="design")  # runs inside each hospital
    def means(self, people: People) -> Means:
        return Means(people.count(), people.moments(people.design.x, y=np.ones(people.design.n)))

    @local(on="design")
    def spread(self, people: People, mean: tuple[float, float]) -> Spread:
        return Spread(people.moments(people.design.x - np.array(mean)))

    def flow(self) -> Flow[Finding]:  # runs everywhere, on totals
        verdict = yield from support(self.design)
        means = yield from ask(self.means)
        n, mean = float(means.people.value), means.first.value / means.people.value
        spread = yield from ask(self.spread, tuple(mean.tolist()))
        rows = [concordance(n, mean, spread.second.value / n), *differences(n, mean, spread.second.value / (n - 1))]
        tables = {"agreement": rows, "attrition": attrition(verdict)}
        return Finding("agreement", verdict.n, verdict.hospitals, tables, cite=(LIN,))


def concordance(n: float, mean: Array, s: Array) -> Record:
    """The concordance correlation of two measurements with these means (2,) and covariances (2, 2)."""
    product = np.sqrt(s[0, 0] * s[1, 1])
    if n < 4 or not 0 < abs(s[0, 1]) < product * (1 - 1e-12):
        raise ModelError("agreement needs 4 people, and two measurements that vary and differ; check the columns")
    shift = (mean[0] - mean[1]) ** 2
    c, r, u = 2 * s[0, 1] / (s.trace() + shift), s[0, 1] / product, shift / product
    variance = (1 - r**2) * c**2 / r**2 + 2 * c**3 * (1 - c) * u / r / (1 - c**2) - (c**2 * u / r) ** 2 / 2 / (1 - c**2)
    reach = stats.norm.ppf(0.975) * np.sqrt(variance / (1 - c**2) / (n - 2))
    return record("concordance correlation", c, *np.tanh(np.arctanh(c) + np.array([-reach, reach])))


def differences(n: float, mean: Array, s: Array) -> list[Record]:
    """The mean difference (left less right), and the limits between which 95 % of the differences lie."""
    sd, t = np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1]), stats.t.ppf(0.975, n - 1)
    rows = []
    for name, z in (("mean difference", 0.0), ("lower limit of agreement", -1.96), ("upper limit of agreement", 1.96)):
        at, reach = mean[0] - mean[1] + z * sd, t * sd * np.sqrt(1 / n + z**2 / (2 * (n - 1)))
        rows.append(record(name, at, at - reach, at + reach))
    return rows


def record(measure: str, estimate: float, low: float, high: float) -> Record:
    """A row of the table."""
    return {"measure": measure, "estimate": float(estimate), "conf_low": float(low), "conf_high": float(high)}
