"""What a network minimises: a mean over people of a loss of their scores (n, outputs) and outcome.

| objective | outcome (n, ...) | loss of a person |
| `binary` | 0 or 1 | log(1 + exp(s)) - y s |
| `multiclass` | which level | minus the logarithm of its share in softmax(s) |
| `squared` | a number, standardised over the network | (s - y)^2 / 2 |
| `poisson` | a count | exp(s) - y s |
| `cox` | time, event | minus Cox's log partial likelihood within the batch (Breslow's for ties), over its people |
| `discrete` | time, event | minus the log likelihood of logistic hazards in the intervals that were lived through |

The partial likelihood compares people of one batch, and so of one hospital: all of its people where `batch` is 0, a
model stratified by hospital (Kvamme, Borgan & Scheel, JMLR 2019;20:129; Faraggi & Simon, Stat Med 1995;14:73). In
discrete time (Gensheimer & Narasimhan, PeerJ 2019;7:e6257) hospitals need not be compared; who is censored within an
interval counts for those before it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from confrere.rounds import Array


def each(objective: str, score: Tensor, y: Tensor) -> Tensor:
    """Losses (n,) of people whose losses are their own: of all objectives but `cox`.

    `y` is (n,), or of `discrete` (n, 2, intervals): which intervals count, and in which the event was.
    """
    if objective == "binary":
        return functional.binary_cross_entropy_with_logits(score[:, 0], y, reduction="none")
    if objective == "multiclass":
        return functional.cross_entropy(score, y.long(), reduction="none")
    if objective == "squared":
        return (score[:, 0] - y) ** 2 / 2
    if objective == "poisson":
        return torch.exp(score[:, 0]) - y * score[:, 0]
    counts, event = y[:, 0], y[:, 1]
    return (functional.softplus(score) * counts - score * event).sum(dim=1)


def partial(score: Tensor, time: Tensor, event: Tensor) -> Tensor:
    """Minus Cox's log partial likelihood (Breslow) of a batch, over its people: all (n,), one number."""
    order = torch.argsort(time, descending=True, stable=True)
    s, t, e = score[order], time[order], event[order]
    within = torch.logcumsumexp(s, dim=0)
    last = torch.searchsorted(-t, -t, right=True) - 1  # who leaves at the same time is at risk
    return -(e * (s - within[last])).sum() / len(s)


def mean(objective: str, score: Tensor, y: Tensor) -> Tensor:
    """The loss of a batch: one number. Of `cox`, y (n, 2) is time and event."""
    if objective == "cox":
        return partial(score[:, 0], y[:, 0], y[:, 1])
    return each(objective, score, y).mean()


def lived(time: Array, event: Array, intervals: tuple[float, ...]) -> Array:
    """(n, 2, intervals) which intervals of (0, t1], (t1, t2], ... count for a person, and where the event was.

    What happens after the last interval is censored at its end.
    """
    right = np.array(intervals)
    at = np.searchsorted(right, time, side="left")
    whole = np.arange(len(right))[None, :] < at[:, None]
    here = (np.arange(len(right))[None, :] == at[:, None]) & (event > 0)[:, None]
    # who is censored just at the end of an interval has lived through it
    whole |= (right[None, :] == time[:, None]) & ~(event > 0)[:, None]
    return np.stack([whole | here, here], axis=1).astype(float)
