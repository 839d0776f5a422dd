"""How well the risks of a new model fit among the people on whom it is measured, from the counts by score that leave
anyhow: nothing more is asked.

Everybody of a cell of scores is taken to have one risk (`middles`), on a ladder 0.05 wide on the logit scale. Of
cells that were merged so far that the mean risk is not known (`vague`) nothing is said. An `evaluate` study has the
curve.

Source: Van Calster et al., BMC Med 2019;17:230 (weak calibration); Debray et al., BMJ 2017;356:i6460 (limits of the
ratio).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from confrere.analyses.finding import Record
from confrere.analyses.learning.evaluate_line import climbed
from confrere.analyses.learning.evaluate_risk import middles
from confrere.analyses.learning.vague import Crowd
from confrere.rounds import Array

Z = float(special.ndtri(0.975))


def calibrated(counts: Array, edges: Array) -> list[Record]:
    """Observed over expected, and the slope of the logit of the risk (1 is right, below it risks are too extreme).

    counts (2, cells) are people without and with the outcome, `edges` (cells - 1,) between the cells in logits.
    """
    if not len(edges) or not counts.sum(axis=1).all():
        return []
    n = counts.sum(axis=0)
    at = middles(edges, n)
    expected, events = float(n @ special.expit(at)), float(counts[1].sum())
    if Crowd("", "", n, edges, expected / float(n.sum())).vague:
        return []
    reach = np.exp(Z * np.sqrt((1 - events / n.sum()) / events))
    ratio = events / expected
    rows = [_row("observed/expected", ratio, ratio / reach, ratio * reach)]
    found = slope(counts, at)
    if found is not None:
        beta, se = found
        rows.append(_row("calibration slope", beta, beta - Z * se, beta + Z * se))
    return rows


def slope(counts: Array, at: Array) -> tuple[float, float] | None:
    """The slope of a logistic regression on `at` (cells,) with an intercept, and its standard error; None without a
    maximum, as where all with the outcome are above all others."""
    x, n = np.column_stack([np.ones(len(at)), at]), counts.sum(axis=0)

    def likely(beta: Array) -> tuple[Array, Array]:
        p = special.expit(x @ beta)
        return x.T @ (counts[1] - n * p), x.T @ (x * (n * p * (1 - p))[:, None])

    found = climbed(likely, 2)
    return None if found is None else (float(found[1]), float(np.sqrt(np.linalg.inv(likely(found)[1])[1, 1])))


def _row(metric: str, estimate: float, low: float, high: float) -> Record:
    return {"metric": metric, "estimate": float(estimate), "conf_low": float(low), "conf_high": float(high)}
