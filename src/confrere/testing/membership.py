"""How well a model tells the people it was fitted to from others: the area under the curve of an attack on membership.

The attacker knows a whole row and guesses that it took part where its loss is small. 0.5 is a coin. The interval is
that of DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845, as R's pROC::ci.auc. The attack is that of
Yeom S, Giacomelli I, Fredrikson M, Jha S. Privacy risk in machine learning. IEEE CSF 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from confrere.analyses.distributions import norm_ppf
from confrere.errors import StudyError


class Auc(NamedTuple):
    """The probability that a member has the smaller loss, ties counting half, with 95 % limits; in [0, 1]."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.2f} ({self.low:.2f} to {self.high:.2f})"


def membership_auc(members: ArrayLike, others: ArrayLike) -> Auc:
    """From the losses of people who took part (m,) and of people of the same population who did not (n,).

    Exact; O((m + n) log(m + n)). Nothing of a person is kept. StudyError with fewer than two of either, or where a loss
    is no finite number.
    """
    inside, outside = np.asarray(members, dtype=float).ravel(), np.asarray(others, dtype=float).ravel()
    if min(inside.size, outside.size) < 2 or not (np.isfinite(inside).all() and np.isfinite(outside).all()):
        raise StudyError(
            f"{inside.size} losses of members and {outside.size} of others: at least two of each are needed, all finite"
        )
    ranks = scipy.stats.rankdata(np.concatenate([inside, outside]))
    # for each person, the share of the other side on whom the guess would be right
    of_members = 1 - (ranks[: inside.size] - scipy.stats.rankdata(inside)) / outside.size
    of_others = (ranks[inside.size :] - scipy.stats.rankdata(outside)) / inside.size
    auc = float(of_members.mean())
    variance = of_members.var(ddof=1) / inside.size + of_others.var(ddof=1) / outside.size
    reach = float(norm_ppf(0.975) * np.sqrt(variance))
    return Auc(auc, max(0.0, auc - reach), min(1.0, auc + reach))
