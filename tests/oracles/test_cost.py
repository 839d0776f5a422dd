"""Cost-effectiveness against means and influences by R, Bang and Tsiatis' variance, and a case by hand.

Times are exact there, or in cells of 180 days without thresholds, so that R's cells are ours.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import COST

from confrere.analyses.effects import decision
from confrere.analyses.effects.cost import Cost
from confrere.analyses.effects.decision import Increment
from confrere.console.demo import load
from confrere.errors import ModelError, UserError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit

ORACLE = json.loads((Path(__file__).parent / "cost.json").read_text())
SCHEMA = Schema({"size": Column("size", ("<=20", "20-50", ">50"))})
EXACT = Ground(SCHEMA, fine=True, step=1.0)
CELLS = Ground(SCHEMA, step=180.0)
TERMS = "age + meno + C(size) + nodes"


def breast(ends: tuple[float, ...]) -> list[pd.DataFrame]:
    """A third of the demo's people by hospital, with what the oracle says that they cost."""
    _, hospitals = load("breast")
    frames = []
    for frame in hospitals.values():
        f = frame[frame["pid"] % 3 == 0].assign(size=lambda f: pd.Categorical(f["size"], SCHEMA.levels("size")))
        starts = (0.0, *ends[:-1])
        for j, (start, end) in enumerate(zip(starts, ends, strict=True)):
            lived = np.maximum(np.minimum(f["dtime"], end) - start, 0)
            f[f"c{j}"] = lived * (2 + f["nodes"] / 4 + 3 * f["chemo"] + 0.05 * (f["age"] - 50).abs())
            f[f"q{j}"] = lived / 365.25 * (0.9 - 0.002 * (f["age"] - 20) - 0.1 * f["recur"])
        frames.append(f)
    return frames


def study(spec: dict[str, Any]) -> Cost:
    """The study of a case of the oracle."""
    ends = tuple(float(e) for e in np.ravel(spec["ends"]))
    names = [f"{{}}{j}" for j in range(len(ends))]
    return Cost(
        "hormon", "Surv(dtime, death)", tuple(n.format("c") for n in names), ends, (20_000.0,),
        tuple(n.format("q") for n in names) if spec.get("qalys") else (),
        TERMS if spec.get("confounders") else "", spec.get("estimand", "ATE"), discount=tuple(spec["discount"]),
        ground=CELLS if spec.get("step") else EXACT,
    )  # fmt: skip


@pytest.mark.parametrize("name", ORACLE["cases"])
def test_means_and_influences_are_rs(name: str) -> None:
    want = ORACLE["cases"][name]
    cost = study(want["spec"])
    cost.check()
    got = fit(cost, breast(cost.intervals), LOOSE)
    assert got.n == want["n"]
    np.testing.assert_allclose(got.arrays["mean"], want["mean"], rtol=1e-9)
    size = np.sqrt(np.outer(np.diag(want["vcov"]), np.diag(want["vcov"])))
    np.testing.assert_allclose(got.arrays["vcov"] / size, np.array(want["vcov"]) / size, atol=2e-6)


def test_the_simple_estimator_has_bang_and_tsiatis_variance() -> None:
    """Theirs and that by influences are two estimates of one variance: closer where people are more."""
    cost = replace(study(ORACLE["cases"]["simple"]["spec"]), discount=(0.0, 0.0))
    got = fit(cost, breast(cost.intervals), LOOSE)
    for arm, (want, near) in enumerate(zip(ORACLE["bang"], (0.02, 0.1), strict=True)):  # 890 and 107 people
        assert got.arrays["mean"][2 * arm] == pytest.approx(want["mean"], rel=1e-9)
        assert got.arrays["vcov"][2 * arm, 2 * arm] == pytest.approx(want["variance"], rel=near)


def by_hand() -> pd.DataFrame:
    """The people of the case by hand."""
    return pd.DataFrame(COST["data"], dtype=float)


def test_by_hand() -> None:
    frame, years = by_hand(), Ground(unit="years", fine=True, step=1.0)
    worth, benefit = COST["net_benefit"]
    cost = Cost("a", "Surv(time, died)", ("c1", "c2"), (2.0, 4.0), (worth,), discount=(0.0, 0.0), ground=years)
    got = fit(cost, [frame.iloc[::2], frame.iloc[1::2]], LOOSE)
    np.testing.assert_allclose(got.arrays["mean"], COST["mean"])
    along = np.hstack([-np.eye(2), np.eye(2)])
    np.testing.assert_allclose(along @ got.arrays["vcov"] @ along.T, COST["vcov"], rtol=1e-12)
    assert got.tables["icer"][0]["icer"] == pytest.approx(COST["icer"])
    assert got.tables["net_benefit"][0]["estimate"] == pytest.approx(benefit)


def test_discounting_is_that_of_the_middle_of_each_part() -> None:
    frame, years = by_hand(), Ground(unit="years", fine=True, step=1.0)
    plain = Cost("a", "Surv(time, died)", ("c1", "c2"), (2.0, 4.0), (10.0,), discount=(0.0, 0.0), ground=years)
    found = fit(replace(plain, discount=(0.04, 0.01)), [frame], LOOSE)
    parts = fit(plain, [frame], LOOSE).tables["intervals"]
    for arm, row in enumerate(found.tables["arms"]):
        mine = parts[2 * arm : 2 * arm + 2]
        assert row["cost"] == pytest.approx(mine[0]["cost"] / 1.04 + mine[1]["cost"] / 1.04**3)
        assert row["effect"] == pytest.approx(mine[0]["effect"] / 1.01 + mine[1]["effect"] / 1.01**3)


# --- decisions: from two differences ---


FOUND = Increment(np.array([2000.0, 0.2]), np.array([[250_000.0, 5.0], [5.0, 0.0016]]))


def test_fieller_limits_are_where_the_net_benefit_is_told_from_nothing() -> None:
    row = decision.ratio(FOUND, 1)
    for end in ("fieller_low", "fieller_high"):
        value, se = FOUND.net_benefit(row[end])
        assert abs(value) == pytest.approx(1.959963984540054 * se, rel=1e-9)


def test_percentile_limits_are_near_fiellers_and_the_same_again() -> None:
    row = decision.ratio(FOUND, 1)
    assert row == decision.ratio(FOUND, 1) != decision.ratio(FOUND, 2)
    for end in ("low", "high"):
        assert row[f"percentile_{end}"] == pytest.approx(row[f"fieller_{end}"], rel=0.05)


def test_there_are_no_limits_of_a_ratio_whose_effect_may_be_nothing() -> None:
    vague = FOUND._replace(vcov=FOUND.vcov * np.array([[1.0, 5.0], [5.0, 25.0]]))
    row = decision.ratio(vague, 1)
    assert (row["fieller_low"], row["percentile_low"]) == (None, None)
    shares = {r["quadrant"]: r["probability"] for r in decision.quadrants(vague, 1)}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["costs more, does less"] > 0.1


def test_acceptability_is_the_share_of_draws_with_a_positive_net_benefit() -> None:
    drawn = decision.draws(FOUND, 3)
    for row in decision.acceptability(FOUND, 40_000.0)[::8]:
        share = float((row["willingness"] * drawn[:, 1] > drawn[:, 0]).mean())
        assert row["probability"] == pytest.approx(share, abs=0.02)
    row = decision.net_benefits(FOUND, [20_000.0])[0]
    assert row["estimate"] == pytest.approx(20_000 * 0.2 - 2000)
    assert row["std_error"] == pytest.approx(np.sqrt(20_000**2 * 0.0016 + 250_000 - 2 * 20_000 * 5))


def test_the_budget_is_people_times_what_each_costs_more() -> None:
    rows = decision.budget(1000.0, 100.0, [50, 80])
    assert [(r["entering"], r["estimate"]) for r in rows] == [(1, 50_000), (2, 80_000)]
    assert rows[1]["conf_high"] == pytest.approx(80 * (1000 + 1.959963984540054 * 100))


# --- settings ---


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"intervals": (4.0, 2.0)}, "rising"),
        ({"costs": ("c1",)}, "1 columns and intervals 2 edges"),
        ({"qalys": ("q",)}, "qalys has 1 columns"),
        ({"willingness": ()}, "willingness is"),
        ({"discount": (0.03,)}, "yearly rates of costs and of effects"),
        ({"eligible": (-1.0,)}, "eligible is"),
        ({"seed": -1}, "seed is -1"),
        ({"outcome": "time"}, "Surv(time, died)"),
        ({"costs": ("c1", "a")}, "two places"),
        ({"truncate": (10.0,)}, "without confounders"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], says: str) -> None:
    cost = Cost("a", "Surv(time, died)", ("c1", "c2"), (2.0, 4.0), (10.0,))
    with pytest.raises(UserError) as error:
        replace(cost, **change).check()
    assert says in str(error.value)


def test_a_horizon_that_nobody_reaches_is_an_error() -> None:
    frame = by_hand()
    cost = Cost(
        "a", "Surv(time, died)", ("c1", "c2"), (2.0, 5.0), (10.0,), ground=Ground(unit="years", fine=True, step=1.0)
    )
    with pytest.raises(ModelError, match="horizon 5: choose an earlier"):
        fit(cost, [frame], LOOSE)
