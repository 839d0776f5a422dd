"""What follows for people whose risk is at or above a threshold, where they are followed: ROC, decisions, confusion.

Cases are who has had the event by the horizon, controls all others, weighted against censoring (`evaluate_censored`);
predictive values are observed risks of the people on either side, and net benefit is of these: with a share s of the
people above a threshold of the odds o, and their observed risk r, it is s (r - o (1 - r)), whose variance is that of s
and of r, which do not hang together. Limits of sensitivity and specificity are on the logit scale, those of predictive
values log-log as of all observed risks.

Source: Vickers et al., BMC Med Inform Decis Mak 2008;8:53; Blanche et al., Stat Med 2013;32:5381.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.curves import Cellwise
from confrere.analyses.finding import Record
from confrere.analyses.incidence import Estimate, estimate, incidence
from confrere.analyses.learning.coarse import Shares
from confrere.analyses.learning.evaluate_censored import Estimated, Leaving, cases_and_controls, told_at
from confrere.analyses.learning.scored import Z
from confrere.rounds import Array


class Bins(NamedTuple):
    """What the flow knows of some people: their leaving by bin of risk; mean powers of their risks (3 kinds, B,
    4) by kind as in `Leaving`, and of those beyond the horizon (B, 4); mean scores (B,)."""

    subgroup: str
    level: str
    leaving: Leaving
    left: Array
    powers: Array
    beyond: Array
    scores: Array
    counts: Array  # (B,)
    cuts: Array  # (B - 1,) between the bins, in logits
    shares: Shares


def said(part: Bins) -> Record:
    """Whose numbers they are."""
    return {"subgroup": part.subgroup, "level": part.level}


def finite(*values: float) -> tuple[float | None, ...]:
    """Values, None where there are none."""
    return tuple(float(v) if np.isfinite(v) else None for v in values)


def observed(part: Bins, time: float, bins: Any = slice(None)) -> Estimate:
    """The observed risk by a time of the people of some bins."""
    people = part.leaving
    events = np.array([people.event[bins].sum(axis=0), people.other[bins].sum(axis=0)])
    cells = Cellwise(
        part.left, people.right, people.at_risk[bins].sum(axis=0), events, people.censored[bins].sum(axis=0),
        people.exact, np.arange(people.right.size), np.arange(people.right.size),
    )  # fmt: skip
    with np.errstate(over="ignore"):  # limits of a handful of people
        found = estimate(incidence(cells).at(time), 0, "log-log")
    # from 0 to 1 is no interval: where nobody, or everybody, has had the event there is none
    return found if 0 < found.estimate < 1 else found._replace(low=np.nan, high=np.nan)


def _shares(part: Bins, time: float) -> tuple[Array, Array] | None:
    """Of cases and of controls at a horizon, the share with a risk at or above each cut: (cuts + 2,), 1 to 0."""
    found = cases_and_controls(part.leaving, time)
    if found is None:
        return None
    above = [np.append(np.cumsum(w[::-1])[::-1] / w.sum(), 0.0) for w in found]
    return above[0], above[1]


def roc(part: Bins, time: float) -> list[Record]:
    """The ROC curve of cumulative cases and dynamic controls; the first is nobody, the last everybody.
    None of bins that are too coarse for an area."""
    shares = _shares(part, time)
    if shares is None or not part.shares.fine:
        return []
    thresholds = [0.0, *special.expit(part.cuts).tolist(), 1.0]
    about = said(part) | {"time": time}
    return [
        about | {"threshold": t, "true_positive_rate": float(a), "false_positive_rate": float(b)}
        for t, a, b in zip(thresholds[::-1], shares[0][::-1], shares[1][::-1], strict=True)
    ]


def decision(part: Bins, time: float) -> list[Record]:
    """Net benefit at a horizon of treating whose risk is at or above the threshold, and of treating all."""
    records, whole, n = [], observed(part, time).estimate, part.counts.sum()
    for i, t in enumerate(special.expit(part.cuts).tolist(), 1):
        share, odds = float(part.counts[i:].sum() / n), t / (1 - t)
        risk = observed(part, time, slice(i, None)) if share else Estimate(0.0, 0.0, 0.0, 0.0)
        gain = risk.estimate - odds * (1 - risk.estimate)
        se = float(np.hypot(gain * np.sqrt(share * (1 - share) / n), share * (1 + odds) * risk.std_error))
        benefit = share * gain
        records.append(said(part) | {
            "time": time, "threshold": t, "net_benefit": benefit,
            **_limits(se, benefit - Z * se, benefit + Z * se), "treat_all": whole - odds * (1 - whole),
        })  # fmt: skip
    return records


def confusion(part: Bins, time: float, threshold: float) -> list[Record]:
    """Sensitivity and specificity at a horizon, and predictive values, at the cut nearest to a threshold."""
    if not part.cuts.size:
        return []
    at = int(np.argmin(np.abs(part.cuts - special.logit(threshold)))) + 1
    both = told_at(part.leaving, time, at)
    if both is None:
        return []
    kinds = {"sensitivity": _logit(both[0]), "specificity": _logit(both[1])}
    if part.counts[at:].sum() and part.counts[:at].sum():
        ill, well = observed(part, time, slice(at, None)), observed(part, time, slice(None, at))
        kinds["positive predictive value"] = ill
        kinds["negative predictive value"] = Estimate(1 - well.estimate, well.std_error, 1 - well.high, 1 - well.low)
    edge = float(special.expit(part.cuts[at - 1]))
    about = said(part) | {"time": time, "threshold": threshold,
                          "edge": threshold if abs(edge - threshold) < 1e-9 else edge}  # fmt: skip
    return [
        about | {"measure": name, "estimate": found.estimate, **_limits(found.std_error, found.low, found.high)}
        for name, found in kinds.items()
    ]


def _limits(se: float, low: float, high: float) -> Record:
    return dict(zip(("std_error", "conf_low", "conf_high"), finite(se, low, high), strict=True))


def _logit(found: Estimated) -> Estimate:
    """A share with limits on the logit scale; none where it is 0 or 1."""
    share, se = found
    if not 0 < share < 1:
        return Estimate(share, np.nan, np.nan, np.nan)
    away = Z * se / (share * (1 - share))
    low, high = special.expit(special.logit(share) + np.array([-away, away]))
    return Estimate(share, se, float(low), float(high))
