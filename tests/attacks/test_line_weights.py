"""The line of risks by a horizon: what its weights against censoring tell of the times at which people leave.

A weighted sum is an integer combination of known weights, each times a function of the risk that is chosen by who asks:
whoever knows the weights reads from several how many people of each risk have each. So a weight is that of a kind and a
bin, and knows nothing of time: by cells of time it told how many of a risk leave in each, one person too.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_line import Weights, weighted
from confrere.hospital.gate import judge_clear
from confrere.rounds import People, Site, added, drive
from confrere.testing import Ground
from federate import BREAST, GATE, breast, by, fit, flow_of, table

RISK = {"model": "nodes", "coefficients": {"nodes": 0.1}, "link": "cox", "baseline": 0.75, "times": 1826.0}
Groups = list[Counter[tuple[Any, ...]]]


@lru_cache
def seen(column: str) -> tuple[Groups, Any]:
    """For each line, how many people of all hospitals have the same weight, level, bin and kind; and the finding."""
    frames = by(breast(), "hospital")
    found: dict[Weights, Counter[tuple[Any, ...]]] = {}
    sites = [Site(table(f)) for f in frames]

    def answer(asks: Any) -> Any:
        return tuple(one(a) for a in asks)

    def one(a: Any) -> Any:
        if a.kind == "support":
            verdict = judge_clear([s.design(a) for s in sites], GATE)
            for s in sites:
                s.settle(a, verdict)
            return verdict
        if a.step == "line_spread":
            found[a.args[2]] = sum((people(s, a) for s in sites), Counter())
        return added([s.run(a) for s in sites])

    of = Evaluate("Surv(rtime, recur)", by=column, ground=Ground(BREAST), **RISK)
    told = drive(flow_of(of), answer)
    return [*found.values()], told


def people(site: Site, a: Any) -> Counter[tuple[Any, ...]]:
    """How many people here have each weight, by kind of leaving and bin."""
    (design,) = (d for key, d in site._designs.items() if key[1] == "table")
    (verdict,) = (v for key, v in site._verdicts.items() if key[1] == "table")
    w = weighted(People(site.table, design, verdict), a.args[2])
    return Counter(zip(design.cells["kinds"].index.tolist(), w.tolist(), strict=True))


@pytest.mark.parametrize("column", ["", "meno_level"])
def test_no_weight_is_that_of_a_few(column: str) -> None:
    lines, found = seen(column)
    assert len(lines) == (3 if column else 1)
    for line in lines:
        assert min(line.values()) >= GATE.k
        assert len({at for at, _ in line}) == len(line)  # of a kind and bin one: nobody's own time
        assert len({w for _, w in line if w > 0}) > 3
    assert {r["level"] for r in found.tables["metrics"]} == ({"", "0", "1"} if column else {""})


def test_own_times_would_be_those_of_a_few() -> None:
    """The control: G at everybody's own day."""
    frame = breast().query("recur == 1 and rtime <= 1826")
    assert min(Counter(frame["rtime"]).values()) == 1


def test_who_is_told_apart_by_lines_alone() -> None:
    """People of a line are those of the table: everybody, or a level with the cells of its own."""
    *levels, whole = sorted(sum(n for (_, w), n in line.items() if w > 0) for line in seen("meno_level")[0])
    assert whole == sum(levels)


def test_a_hospital_with_few_who_are_not_censored_takes_part() -> None:
    """How few of its people weigh is no refusal: of the counts of cells nobody learns how many are of a hospital."""
    frames = by(breast(), "hospital")
    late = frames[0].assign(rtime=np.minimum(frames[0]["rtime"], 200.0 + np.arange(len(frames[0])) % 150), recur=0.0)
    late.iloc[:3, late.columns.get_loc("recur")] = 1.0
    found = fit(Evaluate("Surv(rtime, recur)", ground=Ground(BREAST), **RISK), [late, *frames[1:]], GATE)
    assert any(r["metric"] == "calibration slope" and r["estimate"] > 0 for r in found.tables["metrics"])
