"""Risks of a learned model that cells are too coarse to know: nothing is told that rests on their size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_risk import middles
from confrere.analyses.learning.vague import MOST, SURE, Crowd, reach, sure
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import GATE, fit
from learning.test_evaluate_learnt import FOREST, dealt, text

GROUND = Ground(SCHEMA)
SIZED = ("Brier score", "scaled Brier score", "log loss", "mean predicted risk", "observed/expected",
         "calibration in the large", "calibration slope")  # fmt: skip


def found(n: int, by: str) -> tuple[Any, pd.DataFrame]:
    frame = patients(n, 3)
    frame["risk"] = FOREST.prediction(FOREST.score([frame["x1"].to_numpy(), frame["x2"].to_numpy()]))
    return fit(Evaluate("ill", learnt=text(FOREST), by=by, ground=GROUND), dealt(frame), GATE), frame


def test_how_far_a_mean_risk_may_be_off() -> None:
    """The risk of one cell may be anything; of cells that are narrow it is known, whoever is where in them."""
    counts, edges = np.array([10.0, 30.0, 20.0]), np.array([-1.5, 1.5])
    assert reach(np.array([50.0]), np.zeros(0)) == 0.5
    narrow = np.linspace(-2, 2, 201)
    assert reach(np.array([0.0, *np.ones(200), 0.0]), narrow) < 0.003
    rng = np.random.default_rng(1)
    ends, middle = [0.0, *special.expit(edges), 1.0], Crowd("", "", counts, edges, 0.5)
    farthest = 0.0
    for _ in range(2000):  # people anywhere in their cells are no farther off
        at = np.concatenate(
            [rng.beta(0.05, 0.05, int(n)) * (b - a) + a for n, a, b in zip(counts, ends, ends[1:], strict=False)]
        )
        own = np.repeat(special.expit(middles(edges, counts)), counts.astype(int))
        farthest = max(farthest, abs(at.mean() - own.mean()))
    assert farthest <= reach(counts, edges)
    assert middle.vague


@pytest.mark.parametrize("edges", [
    [-1.5, -0.5, 0.3, 0.7, 2.2, 2.3], [-2.0, 0.1, 0.2, 0.3, 1.4], [0.0], [-0.6, 2.4, 2.5], [-3.0, -2.9, 1.0, 1.1],
])  # fmt: skip
def test_people_are_where_the_cells_beside_say(edges: list[float]) -> None:
    """Of a wide cell beside a narrow one of few people, above all: its people are not near these."""
    rng = np.random.default_rng(4)
    logit = rng.normal(0.2, 1.2, 20_000)
    at = np.searchsorted(edges, logit)
    counts, risk = np.bincount(at, minlength=len(edges) + 1), special.expit(logit)
    own = np.bincount(at, risk) / counts
    assert special.expit(middles(np.array(edges), counts)) == pytest.approx(own, abs=0.06)
    assert counts @ special.expit(middles(np.array(edges), counts)) / counts.sum() == pytest.approx(
        risk.mean(), abs=0.03
    )


@pytest.mark.parametrize(("n", "vague"), [(150, True), (3000, False)])
def test_subgroups_of_few_people_have_no_size_of_risks(n: int, vague: bool) -> None:
    told, frame = found(n, "stage" if n > 150 else "arm")
    rows = {(r["level"], r["metric"]): r["estimate"] for r in told.tables["metrics"]}
    assert all((rows.get(("", name)) is None) == vague for name in SIZED)
    assert rows["", "observed share"] == pytest.approx(frame["ill"].mean())
    assert (told.facts["recalibration_slope"] is None) == vague
    said = [c.text for c in told.warnings if "too coarse to say how large" in c.text]
    assert bool(said) == vague
    if vague:
        assert "calibration" not in told.tables
    else:
        for level, part in frame.groupby("stage", observed=True):
            assert rows[str(level), "mean predicted risk"] == pytest.approx(part["risk"].mean(), abs=0.02)


def test_what_is_ordered_stays() -> None:
    """Levels whose cells are narrow, and what knows the order of risks alone, are as they were."""
    wide, fine = np.array([60.0]), np.ones(42) * 5
    crowds = [
        Crowd("", "", fine, np.linspace(-2, 2, 41), 0.5), Crowd("sex", "f", wide, np.zeros(0), 0.4),
        Crowd("sex", "m", fine, np.linspace(-2, 2, 41), 0.5),
    ]  # fmt: skip
    metrics = [
        {"subgroup": s, "level": v, "metric": m, "estimate": 0.4, "std_error": 0.1, "conf_low": 0.2, "conf_high": 0.6}
        for s, v in (("", ""), ("sex", "f"), ("sex", "m")) for m in ("AUC", "Brier score")
    ]  # fmt: skip
    groups = [{"subgroup": "sex", "level": v, "group": 1, "predicted": 0.4} for v in "fm"]
    got = sure({"metrics": metrics, "calibration": groups}, crowds)
    blank = [r for r in got.tables["metrics"] if r["estimate"] is None]
    assert [(r["level"], r["metric"], r["conf_low"]) for r in blank] == [("f", "Brier score", None)]
    assert [r["level"] for r in got.tables["calibration"]] == ["m"]
    assert not got.vague
    assert got.cautions[0].text.startswith("sex f:")
    assert sure({"metrics": metrics, "calibration": groups}, []).tables["metrics"] == metrics
    assert "AUC" in SURE
    assert MOST < 1


def test_by_a_horizon_too_and_an_index_over_one_cell_is_none() -> None:
    """Kinds of leaving by level leave the risks one cell, whose middle would pass for everybody's risk."""
    frame = patients(1100, 3)
    of = {"learnt": text(FOREST), "times": 1095.0, "ground": GROUND}
    few = fit(Evaluate("Surv(time, event)", over="stage", **of), dealt(frame), GATE)
    whole = fit(Evaluate("Surv(time, event)", **of), dealt(frame), GATE)
    rows, known = ({(r["level"], r["metric"]): r for r in f.tables["metrics"]} for f in (few, whole))
    assert known["", "mean predicted risk"]["estimate"] is not None
    assert rows["", "mean predicted risk"]["estimate"] is None
    assert rows["", "observed risk"]["estimate"] == pytest.approx(known["", "observed risk"]["estimate"], abs=0.02)
    assert "recalibration_slope" in whole.facts
    assert "recalibration_slope" not in few.facts
    (index, *_) = [r for r in few.tables["drift"] if r["what"] == "risk"]
    if few.facts["bins_of_risk"] == 1:
        assert index["estimate"] is None
        assert any("cannot be seen" in c.text for c in few.warnings)
