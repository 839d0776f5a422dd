"""What a model tells of who it was trained on: an attack on membership, carried out before the model is released.

The attacker has a whole row, outcome included, and guesses that it was trained on where the model's loss is small
(Yeom et al., IEEE CSF 2018). People held out are what the guess is tried on beside people of training. The area under
the curve is that of cells of losses, pairs in one cell counting one half, with DeLong's standard error; 0.5 is a coin.
The cells are sums over the hospitals, of k people or nobody, so that the attack asks nothing of anyone alone. Where
they are too coarse (`coarse`) it fails for want of cells: no row is told then, and the airlock asks a person to look.

`confrere.testing.membership` is the same attack on losses of single people, where one has them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.learning.coarse import GUESSED, shares, wide
from confrere.analyses.learning.scored import EDGES, Told, Z, auc
from confrere.rounds import Array, Bools, Ints

COIN, TOO_GOOD, SURE = 0.5, 0.6, 3.0  # by chance; of every five guesses three are right; standard errors
KINDS = ("training", "held out")
YEOM = Citation(
    "Yeom S, Giacomelli I, Fredrikson M, Jha S. Privacy risk in machine learning: analyzing the connection to "
    "overfitting. IEEE Computer Security Foundations 2018:268-282", "10.1109/CSF.2018.00027"
)  # fmt: skip


class Attacked(NamedTuple):
    """The table `attack`, and what a reader must know."""

    rows: list[Record]
    cautions: tuple[Caution, ...]


def attacked(told: Told) -> Attacked:
    """The attack on the people that a model was measured on; nothing where nobody was held out."""
    if not told.grid.size:
        return Attacked([], ())
    if len(told.cells) == len(KINDS):
        return guessed(told.cells[0], told.cells[1], wide(told.grid))
    return guessed(*by_loss(told.cells, told.grid))


def guessed(members: Array, others: Array, merged: Bools | bool = True) -> Attacked:
    """The attack on membership, from people (cells,) of training and held out, by loss from the smallest.

    No row where there are too few of either kind; nor where the cells, of which some are `merged`, are too coarse, and
    the attack does not succeed on them.
    """
    n, m = float(members.sum()), float(others.sum())
    if min(n, m) < 2:
        return Attacked([], ())
    found = told(*auc(members, others), n, m)
    return found if found.cautions or shares(members, others, merged).tied <= GUESSED else Attacked([], ())


def told(estimate: float, se: float, n: float, m: float) -> Attacked:
    """An attack of this area under the curve, and its standard error, on n people of training beside m others."""
    low, high = max(0.0, estimate - Z * se), min(1.0, estimate + Z * se)
    row: Record = {
        "attack": "membership by loss", "estimate": estimate, "std_error": se, "conf_low": low, "conf_high": high,
        "n_members": round(n), "n_others": round(m),
    }  # fmt: skip
    return Attacked([row], (leak(estimate),) if tells(row) else ())


def tells(row: Record) -> bool:
    """Whether a row of the table says that the model tells its people, and not by chance: of many models that are
    released without a leak, one in 700 is three standard errors above a coin."""
    return bool(row["estimate"] > max(TOO_GOOD, COIN + SURE * row["std_error"]))


def leak(estimate: float) -> Caution:
    """The caution of a model that tells who it was trained on."""
    return Caution(
        "membership-attack",
        f"The model tells whom it was trained on: an attacker who has a whole record guesses with an AUC of "
        f"{estimate:.2f}, where 0.5 is a coin. Do not release it: train fewer or shallower trees, or a smaller network "
        f"for fewer rounds, with a larger penalty.",
    )


def by_loss(counts: Array, grid: Ints) -> tuple[Array, Array, Bools]:
    """People (2, cells) of training and held out in the order of their logistic loss, from the smallest; and which
    cells are of several of the ladder.

    `counts` (4, cells) are people of training without and with the outcome, and held out, by merged cell of their
    score; `grid` (ladder cells,) says which cells of the ladder a merged cell has. A merged cell has the
    loss of the middle of its edges; of the outermost, of the edge that there is.
    """
    cells = int(grid.max()) + 1
    starts = np.searchsorted(grid, np.arange(cells))
    ends = np.searchsorted(grid, np.arange(cells), side="right")
    low = np.where(starts > 0, EDGES[np.maximum(starts, 1) - 1], -np.inf)
    high = np.where(ends <= len(EDGES), EDGES[np.minimum(ends, len(EDGES)) - 1], np.inf)
    middle = np.where(np.isfinite(low), np.where(np.isfinite(high), (low + high) / 2, low), high)
    middle[~np.isfinite(middle)] = 0.0  # one cell for everybody
    loss = np.concatenate([np.logaddexp(0, middle), np.logaddexp(0, -middle)])
    kinds, place = np.unique(np.round(loss, 12), return_inverse=True)
    members, others = (
        np.bincount(place, counts[2 * s : 2 * s + 2, :cells].ravel(), len(kinds)).astype(float) for s in (0, 1)
    )
    merged = np.bincount(place, np.tile(wide(grid), 2), len(kinds)) > 0
    return members, others, merged
