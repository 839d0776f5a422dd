"""What a model tells of the outcomes of its people: an attack on reconstruction, carried out before its release.

The attacker has all of somebody's record but the outcome, and takes the model's prediction for it. Of people held out
the prediction tells what it would of anybody; what it tells of people of training beyond that is their own, remembered
(attribute inference: Yeom et al., IEEE CSF 2018, section 4; Fredrikson et al., ACM CCS 2015). So the attack asks no
further number: it is the area under the curve, or the concordance, of both samples, one less the other. Of an outcome
that has neither it is the share by which a loss is smaller among the people of training.

What whoever sees the sums may rebuild of a record is bounded by the gate, and measured by `tests/attacks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.learning.scored import Z

AREAS = ("AUC", "concordance", "deviance explained")  # parts of 1: the more, the better
LOSSES = ("error rate", "Brier score", "mean squared error", "mean absolute error", "Poisson loss", "deviance",
          "log loss")  # fmt: skip
TOO_MUCH = {"area": 0.1, "loss": 0.25}  # more of an area, or of the deviance explained; less of a loss
SURE = 3.0  # standard errors
TRAINED, OTHERS = "training", "held out"
FREDRIKSON = Citation(
    "Fredrikson M, Jha S, Ristenpart T. Model inversion attacks that exploit confidence information and basic "
    "countermeasures. ACM Computer and Communications Security 2015:1322-1333", "10.1145/2810103.2813677"
)  # fmt: skip


class Rebuilt(NamedTuple):
    """The table `reconstruction` by its name, or nothing; what a reader must know; the papers."""

    tables: dict[str, list[Record]]
    cautions: tuple[Caution, ...] = ()
    cite: tuple[Citation, ...] = ()


def rebuilt(metrics: Iterable[Record]) -> Rebuilt:
    """The attack, from the table `metrics`; nothing where no metric is of both people of training and held out."""
    told = {
        (str(row["metric"]), row.get("sample")): row
        for row in metrics
        if row["estimate"] is not None and not row.get("subgroup")
    }
    found = []
    for name in (*AREAS, *LOSSES):
        trained, others = told.get((name, TRAINED)), told.get((name, OTHERS))
        if trained and others and (name in AREAS or others["estimate"] > 0):
            found.append(_row(name, trained, others))
    if not found:
        return Rebuilt({})
    # an area over coarse cells has no limits: of what has some it can be said whether chance explains it
    row = next((one for one in found if one["std_error"] is not None), found[0])
    return Rebuilt({"reconstruction": [row]}, (remembered(row),) if recovers(row) else (), (FREDRIKSON,))


def recovers(row: Record) -> bool:
    """Whether the model remembers outcomes, and not by chance."""
    bound = TOO_MUCH["area" if row["metric"] in AREAS else "loss"]
    return bool(row["estimate"] > max(bound, SURE * (row["std_error"] or 0.0)))


def remembered(row: Record) -> Caution:
    """The caution of a model that gives back outcomes of people of training."""
    return Caution(
        "reconstruction-attack",
        f"The model gives back outcomes that it was trained on: its {row['metric']} is {row['of_training']:.2f} among "
        f"people of training, {row['of_others']:.2f} among people held out. Do not release it: train fewer or "
        f"shallower trees, or a smaller network for fewer rounds, with a larger penalty.",
    )


def _row(name: str, trained: Record, others: Record) -> Record:
    a, b = float(trained["estimate"]), float(others["estimate"])
    one, other = _spread(trained), _spread(others)
    if name in AREAS:
        more, se = a - b, None if one is None or other is None else float(np.hypot(one, other))
    else:
        more, se = 1 - a / b, None if one is None or other is None else float(np.hypot(one, other * a / b) / b)
    limits = (None, None) if se is None else (more - Z * se, more + Z * se)
    return {
        "attack": "outcome by prediction", "metric": name, "of_training": a, "of_others": b, "estimate": more,
        "std_error": se, "conf_low": limits[0], "conf_high": limits[1],
    }  # fmt: skip


def _spread(row: Record) -> float | None:
    """The standard error of a metric, by its limits, of which one may have been cut off."""
    ends = row.get("conf_low"), row.get("conf_high")
    if None in ends:
        return None
    return max(float(row["estimate"]) - float(ends[0]), float(ends[1]) - float(row["estimate"])) / Z  # type: ignore[arg-type]
