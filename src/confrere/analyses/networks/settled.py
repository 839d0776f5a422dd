"""Whether there is anything to learn, a network's training had come to rest, and it orders people at all: from what
was told anyway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from confrere.analyses.finding import Caution, Record
from confrere.errors import ModelError

if TYPE_CHECKING:
    from confrere.analyses.networks.network import Network

LAST = 5  # the last fifth of the rounds is compared with the fifth before
CLEAR = 0.06  # of all that the loss fell; with settings that serve on tables of some hundred people it is 0.05 at most
HIGHER = 0.01  # of the loss of the first round
COIN = 0.5
AREAS = ("AUC", "concordance")


def still_learning(losses: Sequence[float]) -> tuple[Caution, ...]:
    """The caution of a training loss (rounds,) that still falls in the last rounds, or that rose; of one round none.

    It falls clearly where the mean of the last fifth of the rounds is below that of the fifth before by `CLEAR` of all
    that the loss fell, and no loss of the one is above any of the other.
    """
    if len(losses) < 2:
        return ()
    many = max(1, len(losses) // LAST)
    late, before = np.array(losses[-many:]), np.array(losses[-2 * many : -many])
    if losses[-1] - losses[0] > HIGHER * abs(losses[0]):
        text = (
            f"The training loss rose from {losses[0]:.3g} in the first round to {losses[-1]:.3g} in the last. Set a "
            f"smaller learning_rate, or fewer steps."
        )
        return (Caution("still-learning", text),)
    whole, fell = losses[0] - min(losses), float(before.mean() - late.mean())
    if whole <= 0 or fell <= CLEAR * whole or late.max() >= before.min():
        return ()
    text = (
        f"The training loss still fell in the last of {len(losses)} rounds, by {fell / whole:.0%} of all that it fell. "
        f"Set more rounds or steps, as long as people held out are predicted better by it."
    )
    return (Caution("still-learning", text),)


def near_chance(rows: Iterable[Record]) -> tuple[Caution, ...]:
    """Cautions of areas among people who were not trained on whose limits reach down to those of a coin.

    `rows` are of the table `metrics`, by sample, or of `left_out`, by group of hospitals.
    """
    found = []
    for row in rows:
        whom = row.get("left_out") or row.get("sample")
        if row["metric"] in AREAS and whom != "training" and row["conf_low"] is not None and row["conf_low"] <= COIN:
            text = (
                f"{row['metric']}, {whom}: {row['estimate']:.2f} ({row['conf_low']:.2f} to {row['conf_high']:.2f}). "
                f"That the network orders people better than a coin, 0.5, is not shown."
            )
            found.append(Caution("near-chance", text))
    return tuple(found)


def check_outcome(of: Network, total: float, n: float) -> None:
    """ModelError where nobody of training has the event, everybody a binary outcome, or all counts are 0: `total` is
    the sum of the outcome of the `n` people of training."""
    if of.goal in ("cox", "discrete") and total < 0.5:
        raise ModelError(f"nobody has the event of {of.outcome}: there is nothing to learn; check the column")
    if (of.goal in ("binary", "poisson") and total < 0.5) or (of.goal == "binary" and total > n - 0.5):
        raise ModelError(f"{of.outcome!r} does not vary, and there is nothing to learn; give another outcome")
