"""Permutation importance over sums: a slow twin that has all rows, what is drawn, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning import ladders
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.grown import agreed
from confrere.analyses.learning.permuted import Permuted, marginals_of
from confrere.analyses.learning.scored import Scored, losses
from confrere.errors import StudyError
from confrere.hospital.gate import Policy
from confrere.rounds import People, drive, supported
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from federate import dealt, fit, in_the_clear, table
from laws.cases import gaps

GROUND = Ground(SCHEMA, person="pid")
HISTOGRAMS = Policy(allow=frozenset(["histograms"]))
FEATURES = ("x1", "stage", "gap", "x2")
N = 1500
HEAD = """
[study]
id = "trees"
purpose = "research"
[data]
table = "people"
person = "pid"
[disclosure]
allow = ["histograms"]
"""
ANALYSIS = """
[[analysis]]
name = "{}"
method = "boosting"
outcome = "ill"
features = ["x1", "x2"]
trees = 2
depth = 2
permutation = {}
"""
KINDS = {"binary": "ill", "squared": "y", "multiclass": "fate", "poisson": "visits"}


def study(objective: str = "binary", **more: Any) -> Boosting:
    given: dict[str, Any] = {"trees": 6, "depth": 3, "holdout": 0.4, "permutation": 100, "ground": GROUND}
    return Boosting(KINDS[objective], FEATURES, objective, **(given | more))


def dealt_in(frame: pd.DataFrame, hospitals: int = 3) -> list[pd.DataFrame]:
    return dealt(frame, np.arange(len(frame)) % hospitals, hospitals)


def expected(boosting: Boosting, forest: Forest, frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The slow twin: of each feature the rise of the loss of who is held out, its mean over all values of the people of
    training in turn; and the standard error of that mean if each value were drawn once."""
    made = boosting.people(People(table(frame)))
    y, values, train = made.data[:3]
    out, found = ~train, {}
    held = [v[out] for v in values]
    before = losses(forest, forest.score(held), y[out])[:, 0]
    at = 0
    for name in boosting.features:
        many = len(boosting.ground.schema.levels(name) or ("",))
        rows = np.stack([v[train] for v in values[at : at + many]], axis=1)
        kinds, counts = np.unique(np.nan_to_num(rows, nan=-999.0), axis=0, return_counts=True)
        rises = []
        for kind in kinds:
            given = list(held)
            for j in range(many):
                given[at + j] = np.full(int(out.sum()), np.nan if kind[j] == -999.0 else kind[j])
            rises.append(losses(forest, forest.score(given), y[out])[:, 0] - before)
        shares = counts / counts.sum()
        mean = shares @ np.array(rises)
        spread = shares @ (np.array(rises) - mean) ** 2
        found[name] = float(mean.mean()), float(np.sqrt(spread.sum()) / len(mean))
        at += many
    return found


@pytest.mark.parametrize("objective", KINDS)
def test_it_is_the_mean_over_all_values_of_the_people_of_training(objective: str) -> None:
    """Within four standard errors of a hundred draws of each person's values."""
    frame, boosting = gaps(N, 3), study(objective)
    found = fit(boosting, dealt_in(frame), HISTOGRAMS)
    wanted = expected(boosting, Forest.of(found), frame)
    rows = {r["feature"]: r for r in found.tables["permutation"]}
    assert set(rows) == set(FEATURES)
    for name, (mean, error) in wanted.items():
        assert rows[name]["estimate"] == pytest.approx(mean, abs=4 * error / np.sqrt(100) + 1e-12)
        assert rows[name]["conf_low"] <= rows[name]["estimate"] <= rows[name]["conf_high"]
    estimates = [r["estimate"] for r in found.tables["permutation"]]
    assert estimates == sorted(estimates, reverse=True)


def test_of_times_the_deviance_rises() -> None:
    boosting = Boosting("Surv(time, event)", ("x1", "gap"), "cox", trees=6, depth=2, holdout=0.4, permutation=5,
                        ground=GROUND)  # fmt: skip
    found = fit(boosting, dealt_in(gaps(N, 3)), HISTOGRAMS)
    first = found.tables["permutation"][0]
    assert (first["feature"], first["metric"]) == ("x1", "deviance")
    assert first["conf_low"] > 0


def test_limits_hold_who_is_held_out_and_what_is_drawn() -> None:
    """Of many studies that hold out others and draw otherwise, 95 of 100 intervals hold the mean of all, or so."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"a": rng.normal(size=4000), "b": rng.normal(size=4000), "pid": np.arange(4000)})
    frame["y"] = frame["a"] + 0.3 * frame["b"] + rng.normal(size=4000)
    forest = Forest.of(fit(Boosting("y", ("a", "b"), "squared", trees=10, depth=2), dealt_in(frame), HISTOGRAMS))
    inside, estimates = [], []
    for seed in range(60):
        of = Boosting("y", ("a", "b"), "squared", seed=seed, holdout=0.1, permutation=2, ground=Ground(person="pid"))
        frames = dealt_in(frame)
        made = drive(supported(agreed(of)), in_the_clear(frames, HISTOGRAMS))
        flow = Permuted(Scored(of, forest), marginals_of(of, forest, made, 3600)).flow()
        estimates.append(drive(supported(flow), in_the_clear(frames, HISTOGRAMS)))
    middle = {r["feature"]: np.mean([f["estimate"] for e in estimates for f in e if f["feature"] == r["feature"]])
              for r in estimates[0]}  # fmt: skip
    inside = [r["conf_low"] <= middle[r["feature"]] <= r["conf_high"] for e in estimates for r in e]
    assert 0.88 < np.mean(inside) <= 1


def test_a_feature_that_no_tree_uses_is_worth_nothing() -> None:
    rng = np.random.default_rng(5)
    frame = gaps(N, 4).assign(y=lambda f: np.where(f["x1"] > 0, 3.0, 0.0) + 1e-3 * rng.normal(size=N))
    found = fit(study("squared", trees=1, depth=1, permutation=3), dealt_in(frame), HISTOGRAMS)
    rows = {r["feature"]: (r["estimate"], r["conf_low"], r["conf_high"]) for r in found.tables["permutation"]}
    assert rows["x1"][1] > 0
    assert [rows[name] for name in FEATURES[1:]] == [(0, 0, 0)] * 3


def test_one_analysis_of_a_study_has_it() -> None:
    """Of two with the same trees, the values of a few people alone could be drawn otherwise."""
    text = HEAD + ANALYSIS.format("one", 1) + ANALYSIS.format("two", 2)
    with pytest.raises(StudyError, match="one and two both count people by cell of a model's score"):
        build.analyses(parse(text))
    assert len(build.analyses(parse(HEAD + ANALYSIS.format("one", 1)))) == 1


def test_the_people_between_cut_points_are_counted() -> None:
    grid = np.array([0, 0, 1, 2, 2, 3])
    edges = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    counts = np.array([5.0, 7.0, 11.0, 2.0])
    assert ladders.between(edges, grid, counts, np.array([2.0, 5.0])).tolist() == [5, 18, 2]
    assert ladders.between(edges, grid, counts, np.array([3.0])).tolist() == [12, 13]
    assert ladders.between(edges, grid, counts, np.empty(0)).tolist() == [25]


@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_a_column_of_levels_is_replaced_as_a_whole(objective: str) -> None:
    frame, boosting = gaps(N, 3), study(objective, trees=2)
    forest = Forest.of(fit(boosting, dealt_in(frame), HISTOGRAMS))
    made = drive(supported(agreed(boosting)), in_the_clear(dealt_in(frame), HISTOGRAMS))
    train = boosting.people(People(table(frame))).data[2]
    (stage,) = [m for m in marginals_of(boosting, forest, made, int(train.sum())) if m.name == "stage"]
    known = list(SCHEMA.levels("stage") or ())
    levels = len(known)
    assert stage.values.shape == (levels + 2, levels)
    assert (np.nansum(stage.values, axis=1) == [1] * levels + [0, 0]).all()
    shares = frame.loc[train, "stage"].value_counts().loc[known] / train.sum()
    assert shares.sum() < 1  # some miss it
    assert np.diff(stage.upto, prepend=0)[:levels] == pytest.approx(shares.to_numpy())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"permutation": 101}, "from 0"),
        ({"permutation": -1}, "from 0"),
        ({"holdout": 0.0}, "needs people who are held"),
    ],
)
def test_what_cannot_be(more: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        study(**more).check()
