"""Rates of events by person-time, ratios of two of them, shares of people, and standardised rates. Pure.

Limits of a rate: exact (Garwood F. Biometrika 1936;28:437; Ulm K. Am J Epidemiol 1990;131:373), as R's poisson.test.
Ratio of two rates: exact given the sum of events (Clopper-Pearson), as R's poisson.test of two counts. Over strata:
Mantel-Haenszel, with the variance of Greenland S, Robins JM. Biometrics 1985;41:55. Share: Wilson's limits, as R's
prop.test(correct = FALSE). Standardised rate: direct, with the gamma limits of Fay MP, Feuer EJ. Stat Med 1997;16:791,
as R's epitools::ageadjust.direct.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from confrere.analyses.distributions import chi2_ppf, norm_ppf, norm_sf
from confrere.analyses.finding import Citation
from confrere.rounds import Array

ULM = Citation("Ulm K. A simple method to calculate the confidence interval of a standardized mortality ratio (SMR). "
               "Am J Epidemiol 1990;131:373-375", "10.1093/oxfordjournals.aje.a115507")  # fmt: skip
WILSON = Citation("Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc "
                  "1927;22:209-212", "10.1080/01621459.1927.10502953")  # fmt: skip
FAY = Citation("Fay MP, Feuer EJ. Confidence intervals for directly standardized rates: a method based on the gamma "
               "distribution. Stat Med 1997;16:791-801",
               "10.1002/(SICI)1097-0258(19970415)16:7<791::AID-SIM500>3.0.CO;2-#")  # fmt: skip
GREENLAND = Citation("Greenland S, Robins JM. Estimation of a common effect parameter from sparse follow-up data. "
                     "Biometrics 1985;41:55-68", "10.2307/2530643")  # fmt: skip


class Limits(NamedTuple):
    """An estimate and its confidence limits; the upper one None where it is infinite, all None where undefined."""

    estimate: float | None
    conf_low: float | None
    conf_high: float | None


NOTHING = Limits(None, None, None)


def rate(events: float, time: float, level: float = 0.95) -> Limits:
    """Events per unit of person-time."""
    if time <= 0:
        return NOTHING
    tail = (1 - level) / 2
    low = chi2_ppf(tail, 2 * events) / 2 if events else 0.0
    high = chi2_ppf(1 - tail, 2 * (events + 1)) / 2
    return Limits(events / time, float(low) / time, float(high) / time)


def share(cases: float, people: float, level: float = 0.95) -> Limits:
    """The share of people who are cases."""
    if people <= 0:
        return NOTHING
    z, p = norm_ppf((1 + level) / 2), cases / people
    middle = (p + z**2 / (2 * people)) / (1 + z**2 / people)
    reach = z / (1 + z**2 / people) * np.sqrt(p * (1 - p) / people + z**2 / (4 * people**2))
    return Limits(p, float(max(0.0, middle - reach)), float(min(1.0, middle + reach)))


class Ratio(NamedTuple):
    """A ratio of two rates with its limits and the two-sided P value of equal rates."""

    limits: Limits
    p_value: float | None


def ratio(events: Array, time: Array, level: float = 0.95) -> Ratio:
    """The rate of the first of two (2,) over that of the second; exact given the sum of events."""
    total = float(events.sum())
    if not total or (time <= 0).any():
        return Ratio(NOTHING, None)
    tail, odds = (1 - level) / 2, float(time[1] / time[0])
    low = float(scipy.stats.beta.ppf(tail, events[0], events[1] + 1)) if events[0] else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, events[0] + 1, events[1])) if events[1] else 1.0
    estimate = None if not events[1] else float(events[0] / events[1]) * odds
    limits = Limits(estimate, low / (1 - low) * odds, None if high == 1.0 else high / (1 - high) * odds)
    p = scipy.stats.binomtest(round(events[0]), round(total), float(time[0] / time.sum())).pvalue
    return Ratio(limits, float(p))


def mantel_haenszel(events: Array, time: Array, level: float = 0.95) -> Ratio:
    """The common ratio of the rates of two groups over strata; `events` and `time` (strata, 2)."""
    whole = time.sum(axis=1)
    use = (time > 0).all(axis=1)
    (a, b), (t1, t0), whole = events[use].T, time[use].T, whole[use]
    above, below = float((a * t0 / whole).sum()), float((b * t1 / whole).sum())
    if not above or not below:
        return Ratio(NOTHING, None)
    se = np.sqrt(float(((a + b) * t1 * t0 / whole**2).sum()) / (above * below))
    z, middle = norm_ppf((1 + level) / 2), np.log(above / below)
    low, high = np.exp([middle - z * se, middle + z * se])
    return Ratio(Limits(above / below, float(low), float(high)), float(2 * norm_sf(abs(middle) / se)))


def standardised(events: Array, time: Array, weights: Array, level: float = 0.95) -> Limits:
    """The mean of the rates of bands (b,) by the weights of a standard population."""
    if (time <= 0).any():
        return NOTHING
    each = weights / weights.sum() / time
    mean, variance = float(each @ events), float(each**2 @ events)
    tail, most = (1 - level) / 2, float(each.max())
    low = variance / (2 * mean) * float(chi2_ppf(tail, 2 * mean**2 / variance)) if mean else 0.0
    spread, middle = variance + most**2, mean + most
    high = spread / (2 * middle) * float(chi2_ppf(1 - tail, 2 * middle**2 / spread))
    return Limits(mean, low, high)
