"""How person-trials are followed and weighed on the way (`trials`): as they were assigned, or for as long as they keep
to it, censored when they do not (per protocol).

A person-trial is followed in stretches in which its weight is the same. Of who is untreated in trial k, and still is
when the period of a later trial ends, the weight grows there by the inverse probability of that (Robins), which is the
propensity of that trial: e_j of who is followed beyond period j, untreated before it. So in the stretch after period l,

    W = w_k / prod over k < j <= l of (1 - e_j),      d log W / d eta_j = e_j

with w_k the weight by the propensity of the trial itself. Whoever starts in a period is followed as untreated until its
end, where they leave. The treated stay treated, with one stretch; or, where stops are looked at, they leave at the end
of the period in which they stop, and e_j of them is the chance of stopping in period j, of who is treated before it and
followed beyond it. A weight so grows by the inverse probability of no change.

Sources: Danaei et al., Stat Methods Med Res 2013;22:70; Keogh et al., Stat Med 2023;42:2191; Robins & Finkelstein,
Biometrics 2000;56:779. As the weights of R `TrialEmulation` with `estimand_type = "PP"`, of a treatment that stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.effects.weighting import Weighting, Weights
from confrere.analyses.families import Mean
from confrere.rounds import Array, Bools, Ints


class Stretches(NamedTuple):
    """One row per stretch (s,): whose person-trial, ends of how many further periods it lies behind, times from the
    beginning of the trial, and whether it ends with the event.
    """

    row: Ints
    passed: Ints
    begin: Array
    end: Array
    event: Bools


class Chained(NamedTuple):
    """Weights of stretches (s,), and what they are made of, by person-trial (m,).

    `first` are weights in a trial with their slopes by the log odds; `later` the slope of a weight's logarithm by the
    log odds of a later trial that it lies behind.
    """

    w: Array
    of: Stretches
    product: Array
    first: Weights
    later: Array

    def by_odds(self, part: Array) -> Array:
        """The derivative (m,) of the sum of weights times `part` (s,) by everybody's log odds of each trial."""
        row, m = self.of.row, len(self.later)
        made = np.bincount(row, part * self.product, minlength=m) * self.first.slope
        for ahead in range(1, int(self.of.passed.max(initial=0)) + 1):
            behind = self.of.passed >= ahead
            at = row[behind] + ahead
            made += np.bincount(at, (part * self.w)[behind] * self.later[at], minlength=m)
        return np.asarray(made)


def stretches(trial: Ints, kept: Bools, until: Array, event: Bools, periods: Array) -> Stretches:
    """How person-trials (m,) are followed, `until` (m,) a time from the beginning of each; `kept` (m,) are those whose
    weights grow as further periods end.
    """
    begins = periods[trial]
    made = []
    for ahead in range(len(periods)):
        here = trial + ahead
        some = (here < len(periods)) & (kept | (ahead == 0))
        begin = np.where(some, periods[np.minimum(here, len(periods) - 1)] - begins, np.inf)
        following = np.append(periods, np.inf)[np.minimum(here + 1, len(periods))] - begins
        end = np.where(kept, np.minimum(until, following), until)
        at = np.flatnonzero(end > begin)
        made.append(Stretches(at, np.full(len(at), ahead), begin[at], end[at], event[at] & (end[at] == until[at])))
    return Stretches(*(np.concatenate(parts) for parts in zip(*made, strict=True)))


def chained(of: Stretches, m: Mean, treated: Bools, weighting: Weighting) -> Chained:
    """The weights of stretches, by the chances `m` of a change in rows (m,), a person's in the order of periods."""
    first = weighting.of(m, treated, 0.5)
    e, later = m.mu, m.mu
    if len(weighting.truncate) == 2:
        low, high = weighting.truncate
        e = np.clip(e, low, high)
        later = np.where((m.mu > low) & (m.mu < high), e, 0.0)
    stayed = np.cumsum(-np.log1p(-e))
    product = np.exp(stayed[of.row + of.passed] - stayed[of.row])
    return Chained(first.w[of.row] * product, of, product, first, later)
