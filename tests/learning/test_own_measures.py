"""The measures of a risk among the people of one hospital: R's values, few people, levels, and the hospital's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning import own_measures
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_risk import Predicted
from confrere.hospital import own
from confrere.study.own_measures import LEAST, OwnMeasure, OwnMeasures, OwnPart
from confrere.testing import LOOSE, Ground, fit
from confrere.testing.runs import in_the_clear, table
from federate import BREAST, GATE, breast, by, oracle

R = oracle("evaluate")["own"]
HORIZON = 2555.0


def gouda() -> pd.DataFrame:
    """The smallest hospital of the breast demo, with the risks that `make_evaluate.R` gives it."""
    d = breast().query("hospital == 'gouda'")
    s = np.round(6 * np.minimum(d["nodes"], 10) / 10 + 3.0 * (d["size"] != "<=20") + 3.0 * (d["grade"] == 3)) / 10
    s = s + d["age"] / 193
    return d.assign(risk=1 / (1 + np.exp(0.725 - s)), early=1 - np.exp(-0.6 * np.exp(s - 0.5)))


def measures(of: Evaluate, frame: pd.DataFrame, risk: str, level: np.ndarray | None = None) -> OwnMeasures:
    """What a hospital of these people keeps."""
    time = frame["rtime"].to_numpy(float) if of.followed else None
    level = np.zeros(len(frame), dtype=np.int64) if level is None else level
    data = Predicted(frame[risk].to_numpy(), frame["recur"].to_numpy(np.int64), time, level)
    return own_measures.own(of, data, {"": {"AUC": 0.7}})


def by_metric(part: OwnPart) -> dict[str, OwnMeasure]:
    return {m.metric: m for m in part.measures}


def spread(m: OwnMeasure) -> float:
    """The standard error that limits are made of."""
    assert m.low is not None
    assert m.high is not None
    return (m.high - m.low) / 2 / 1.959963984540054


def test_measures_of_an_outcome_are_r_s() -> None:
    (part,) = measures(Evaluate("recur", "risk"), gouda(), "risk").parts
    got, want = by_metric(part), R["binary"]
    assert (part.level, part.people, part.events) == ("", want["n"], want["events"])
    assert got["AUC"].estimate == pytest.approx(want["auc"], rel=1e-12)
    assert [got["AUC"].low, got["AUC"].high] == pytest.approx(want["auc_limits"], rel=1e-10)
    assert got["AUC"].everywhere == 0.7
    for metric, name in (("Brier score", "brier"), ("log loss", "log_loss")):
        assert got[metric].estimate == pytest.approx(want[name], rel=1e-12)
        assert spread(got[metric]) == pytest.approx(want[f"{name}_se"], rel=1e-9)
        assert got[metric].everywhere is None
    assert got["observed/expected"].estimate == pytest.approx(want["observed_expected"], rel=1e-12)
    large, slope = got["calibration in the large"], got["calibration slope"]
    assert (large.estimate, slope.estimate) == pytest.approx((want["large"], want["line"][1]), abs=1e-9)
    assert (spread(large), spread(slope)) == pytest.approx((want["large_se"], want["line_se"][1]), rel=1e-8)


def test_measures_by_a_horizon_are_r_s() -> None:
    of = Evaluate("Surv(rtime, recur)", "early", times=HORIZON)
    made = measures(of, gouda(), "early")
    (part,) = made.parts
    got, want = by_metric(part), R["followed"]
    assert (made.horizon, part.people, part.events) == (HORIZON, want["n"], want["events"])
    for metric, value in (
        ("AUC", want["auc"][1]), ("Brier score", want["brier"][1]), ("observed risk", want["observed"][1]),
        ("mean predicted risk", want["expected"][1]), ("Harrell's concordance", want["harrell"]),
        ("Uno's concordance", want["uno"]), ("calibration slope", want["slope"]),
    ):  # fmt: skip
        assert got[metric].estimate == pytest.approx(value, rel=1e-9), metric
    assert spread(got["Harrell's concordance"]) == pytest.approx(want["harrell_se"], rel=1e-9)
    assert spread(got["calibration slope"]) == pytest.approx(want["slope_se"], rel=1e-7)
    assert spread(got["AUC"]) == pytest.approx(want["auc_se"], rel=2e-2)
    assert spread(got["Brier score"]) == pytest.approx(want["brier_se"], rel=2e-2)


def test_groups_of_many_people_lose_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more risks and times than there are groups, here 200 of each."""
    of = Evaluate("Surv(rtime, recur)", "early", times=HORIZON)
    exact = by_metric(measures(of, gouda(), "early").parts[0])
    monkeypatch.setattr(own_measures, "MOST", 200)
    rough = by_metric(measures(of, gouda(), "early").parts[0])
    for metric, m in rough.items():
        assert m.estimate == pytest.approx(exact[metric].estimate, rel=0.01), metric
    assert rough["AUC"].estimate != exact["AUC"].estimate


def test_they_are_those_of_all_hospitals_where_there_is_one() -> None:
    """The finding of everybody, on cells of few risks and exact times, is what one hospital of them keeps."""
    frame = gouda().assign(risk=lambda d: d["risk"].round(1))
    found = fit(Evaluate("recur", "risk"), [frame[i::3] for i in range(3)], LOOSE)
    got = by_metric(measures(Evaluate("recur", "risk"), frame, "risk").parts[0])
    assert {r["metric"]: r["estimate"] for r in found.tables["metrics"]} == pytest.approx(
        {name: m.estimate for name, m in got.items()}, rel=1e-8
    )


@pytest.mark.parametrize(("having", "without"), [(LEAST - 1, 200), (200, LEAST - 1), (0, 50), (LEAST, LEAST)])
def test_few_people_have_no_measures(having: int, without: int) -> None:
    frame = pd.DataFrame({"recur": [1] * having + [0] * without, "rtime": [100.0] * having + [3000.0] * without})
    frame["risk"] = np.linspace(0.1, 0.9, len(frame))
    for of in (Evaluate("recur", "risk"), Evaluate("Surv(rtime, recur)", "risk", times=HORIZON)):
        (part,) = measures(of, frame, "risk").parts
        assert (part.people, part.events) == (having + without, having)
        assert bool(part.measures) == (min(having, without) >= LEAST)


def test_levels_that_somebody_here_has() -> None:
    """Everybody first; of two periods with people, and a third without, the first has too few."""
    frame, of = gouda(), Evaluate("recur", "risk", over="meno")
    level = np.where(np.arange(len(frame)) < 12, 0, 2)
    made = measures(of, frame, "risk", level)
    assert made.parted == "meno"
    assert [(p.level, p.people, bool(p.measures)) for p in made.parts] == [
        ("", len(frame), True), ("0", 12, False), ("2", len(frame) - 12, True),
    ]  # fmt: skip
    alone = measures(Evaluate("recur", "risk"), frame[12:], "risk").parts[0]
    assert [m[:4] for m in made.parts[2].measures] == [m[:4] for m in alone.measures]


@pytest.mark.parametrize("risk", [1e-6, 0.043, 0.5, 1 - 1e-6])
def test_one_risk_for_a_million_people_has_no_slope(risk: float) -> None:
    """What rounding leaves of a singular matrix is no information, and no error."""
    y = (np.arange(1_000_000) % 7 == 0).astype(np.int64)
    line = own_measures.straight(np.full(len(y), np.log(risk / (1 - risk))), y)
    assert line.slope is None
    assert line.large is not None
    assert line.large["estimate"] == pytest.approx(np.log(y.mean() / (1 - y.mean())) - np.log(risk / (1 - risk)))


def test_the_slope_of_all_hospitals_is_that_of_their_people() -> None:
    """Where a few risks are far above the others: as one hospital of everybody would keep it."""
    frame = breast().assign(early=lambda d: 1 - 0.75 ** np.exp(0.1 * d["nodes"]))
    of = Evaluate("Surv(rtime, recur)", model="nodes", coefficients={"nodes": 0.1}, link="cox", baseline=0.75,
                  times=1826.0, ground=Ground(BREAST))  # fmt: skip
    found = fit(of, by(frame, "hospital"), GATE)
    exact = by_metric(measures(of, frame, "early").parts[0])
    told = {r["metric"]: r["estimate"] for r in found.tables["metrics"]}
    slope, rows = exact["calibration slope"], oracle("evaluate")["nodes"]
    assert (slope.estimate, spread(slope)) == pytest.approx((rows["slope"], rows["slope_se"]), rel=1e-4)
    assert told["calibration slope"] == pytest.approx(slope.estimate, abs=0.005)
    assert told["AUC"] == pytest.approx(exact["AUC"].estimate, abs=0.002)


@pytest.mark.parametrize("risk", [1e-6, 0.043, 0.5])
def test_one_risk_for_many_people_has_no_slope_by_a_horizon(risk: float) -> None:
    frame = pd.DataFrame({"early": risk, "recur": np.tile([0, 1], 500), "rtime": np.linspace(10.0, 4000.0, 1000)})
    got = by_metric(measures(Evaluate("Surv(rtime, recur)", "early", times=HORIZON), frame, "early").parts[0])
    assert "observed risk" in got
    assert "calibration slope" not in got


def test_how_far_the_risks_of_a_later_period_moved() -> None:
    """By hand: of 200 people in ten even groups, the upper five of whom are twice as many among the 150 later ones."""
    risk = np.concatenate(
        [np.linspace(0.1, 0.9, 200), np.repeat(np.linspace(0.1, 0.9, 200), [1] * 100 + [2] * 100)[::2]]
    )
    level = np.repeat([0, 1], [200, 150])
    of = Evaluate("recur", "risk", over="meno")
    data = Predicted(risk, np.arange(350) % 2, None, level)
    everywhere = {"": {}, "0": {}, "1": {own_measures.INDEX: 0.3, "if_same": 0.1}}
    whole, first, later = own_measures.own(of, data, everywhere).parts
    assert not {own_measures.INDEX, "if_same"} & {m.metric for m in (*whole.measures, *first.measures)}
    moved, limit = later.measures[-2:]
    p, q = np.full(10, 0.1), np.repeat([1 / 15, 2 / 15], 5)
    assert moved == pytest.approx((own_measures.INDEX, ((q - p) * np.log(q / p)).sum(), None, None, 0.3))
    assert limit == ("if_same", pytest.approx(16.918978 * (1 / 200 + 1 / 150)), None, None, 0.1)
    assert own_measures.own(of, data, {"": {}}).parts[2].measures == later.measures[:-2]  # no first period is told


@pytest.mark.parametrize("area", [0.5, 1.0])
def test_an_area_without_an_error_has_no_limits(area: float) -> None:
    """A risk that is the same for everybody, or right about all of 60 people, is no more certain than another."""
    outcome = np.arange(60) % 2
    risk = np.full(60, 0.3) if area == 0.5 else np.where(outcome == 1, 0.9, 0.1)
    data = Predicted(risk, outcome, None, np.zeros(60, dtype=np.int64))
    (part,) = own_measures.own(Evaluate("recur", "risk"), data, {}).parts
    found = by_metric(part)["AUC"]
    assert (found.estimate, found.low, found.high) == (area, None, None)


def test_outcomes_that_the_risks_part_have_no_slope() -> None:
    """The likelihood has no maximum: what there is without it is told."""
    frame = pd.DataFrame({"recur": [0] * 20 + [1] * 20, "risk": np.linspace(0.05, 0.95, 40)})
    got = by_metric(measures(Evaluate("recur", "risk"), frame, "risk").parts[0])
    assert "calibration slope" not in got
    assert got["AUC"].estimate == 1.0
    assert got["calibration in the large"].estimate == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("outcome", ["recur", "Surv(rtime, recur)"])
def test_a_run_keeps_them_in_each_hospital(outcome: str) -> None:
    """Beside the estimates of the finding; with its levels."""
    from confrere.rounds import Site, drive, supported

    frames = [d for _, d in breast().assign(stage=lambda d: (d["grade"] == 3).astype(float)).groupby("hospital")]
    followed: dict[str, Any] = {"link": "cox", "times": HORIZON, "baseline": 0.7} if "Surv" in outcome else {}
    b = {"nodes": 0.08} | ({} if followed else {"Intercept": -0.6})
    of = Evaluate(outcome, model="nodes", coefficients=b, by="stage", own_measures=True, **followed)
    sites, answer, asked = [Site(table(f)) for f in frames], in_the_clear(frames, LOOSE), []

    def with_own(asks: Any) -> Any:
        for a in asks:
            if a.kind == "keep":
                asked.append(a)
                for site in sites:
                    site.run(a)
        return answer(asks)

    found = drive(supported(of.flow()), with_own)
    assert len(asked) == 1
    metrics = {(r["level"], r["metric"]): r["estimate"] for r in found.tables["metrics"]}
    for site, frame in zip(sites, frames, strict=True):
        (made,) = site.kept.values()
        assert made.about == f"{outcome}: nodes"
        assert [p.level for p in made.parts] == ["", "0", "1"]
        assert made.parts[0].people == len(frame) == sum(p.people for p in made.parts[1:])
        for part in made.parts:
            assert part.measures
            for m in part.measures:
                assert m.everywhere == metrics[part.level, m.metric]


def test_a_hospital_reads_what_it_wrote(tmp_path: Path) -> None:
    """Another risk is another record; the same again takes the place of the first; a balance beside them is apart."""
    assert own.kept(tmp_path / "none", OwnMeasures) == []
    part = OwnPart(
        "", 300, 40, (OwnMeasure("AUC", 0.7, 0.6, 0.8, 0.72), OwnMeasure("Brier score", 0.2, None, None, None))
    )
    first = OwnMeasures("y: risk", None, "days", "stage", (part, part._replace(level="I", measures=())))
    other, again = first._replace(about="y: other", horizon=365.0), first._replace(parts=(part,))
    for made in (first, other, again):
        own.keep(tmp_path, made)
    assert own.kept(tmp_path, OwnMeasures) == [again, other]
    assert (tmp_path / own.FILES[OwnMeasures]).stat().st_mode & 0o777 == 0o600
