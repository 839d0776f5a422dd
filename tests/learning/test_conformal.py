"""Sets of classes: the limits of the bins, what they promise, what is told of them, and who uses them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.learning.conformal import ALWAYS, Conformal, Covered, below, calibrated
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.scored import EDGES, Scored, Told, margins
from confrere.console.output import delivered
from confrere.console.predict import listed, read, sets_of
from confrere.errors import StudyError
from confrere.rounds import Array, Bools, People, drive, find, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import SCHEMA
from confrere.testing.people import patients
from federate import LOOSE, found, in_the_clear, masked, table

TONES = ("I-II", "III-IV", "V-VI")
GROUND = Ground(Schema({**SCHEMA.columns, "tone": Column("tone", TONES)}), person="pid")
ALLOW = ("histograms",)


def people(n: int = 2400, seed: int = 4, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return patients(n, seed).assign(pid=[f"p{i}" for i in range(n)], tone=rng.choice(TONES, n, p=shares))


def dealt(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: frame.iloc[i::3] for i, name in enumerate("abc")}


def trees(outcome: str = "ill", objective: str = "binary", **settings: Any) -> Any:
    kind = {"trees": 6, "depth": 2, "holdout": 0.4, "conformal": 0.15, "by": "tone", "ground": GROUND} | settings
    return find("boosting")(outcome, ("x1", "x2", "treated"), objective, **kind)


KINDS = (("ill", "binary"), ("fate", "multiclass"))


# Limits -------------------------------------------------------------------------------------------------------


def told(score: Array, y: Array, k: int = 11) -> Told:
    """What `scored` tells of people held out: cells of nobody or k of either class."""
    at = np.searchsorted(EDGES, score, side="right")
    many = np.stack([np.bincount(at[y == c], minlength=len(EDGES) + 1) for c in (0, 1)])
    grid, cell, open_ = np.zeros(len(EDGES) + 1, dtype=np.int64), 0, np.zeros(2)
    left = many.sum(axis=1, keepdims=True) - np.cumsum(many, axis=1)
    for j, counts in enumerate(many.T):
        grid[j], open_ = cell, open_ + counts
        if (open_ >= k).all() and (left[:, j] >= k).all():
            cell, open_ = cell + 1, np.zeros(2)
    merged = np.stack([np.bincount(grid, row, minlength=cell + 1) for row in many])
    return Told({}, None, (), np.vstack([merged, merged]), grid)


def single(margin: Array, alpha: float) -> float:
    """The limit by single margins (n,): Vovk's rule, without cells."""
    j = int(np.floor(alpha * (len(margin) + 1) + 1e-9))
    return float(np.sort(margin)[j - 1]) if j else -np.inf


@pytest.mark.parametrize(("n", "alpha", "most"), [(99, 0.1, 9), (98, 0.1, 8), (9, 0.1, 0), (8, 0.1, -1), (39, 0.05, 1)])
def test_so_many_may_lie_below_a_limit(n: int, alpha: float, most: int) -> None:
    assert below(np.ones(n), alpha) == max(0, most)
    assert below(np.array([most + 1.0, n - most - 1.0]), alpha) == 0
    assert below(np.zeros(3), alpha) == 0


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_limits_of_cells_are_at_or_below_those_of_single_scores_and_near(alpha: float) -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(4000) < 0.4).astype(float)
    score = rng.normal(2 * y - 1, 1.3)
    got = calibrated(told(score, y), alpha, ("no", "yes"))
    margin = margins("binary", score)
    for c in (0, 1):
        exact = single(margin[y == c, c], alpha)
        assert exact - 0.15 < got.limits[c] <= exact
    assert got.people == (int((y == 0).sum()), int(y.sum()))


def test_a_class_of_few_is_in_every_set() -> None:
    rng = np.random.default_rng(2)
    y = np.repeat([0.0, 1.0], [400, 40])
    got = calibrated(told(rng.normal(y, 1), y), 0.1, ("no", "yes"))
    assert got.limits == (ALWAYS, ALWAYS)  # cells are common: that of few is wide for the others too
    assert got.sets(np.array([[9.0, -9.0]])).tolist() == [[True, True]]


def test_new_people_are_covered_as_promised_within_each_class() -> None:
    """Mean coverage over 300 calibrations: at least 1 - alpha, and by no more than the cells cost above it."""
    rng, alpha, covered = np.random.default_rng(3), 0.1, []
    for _ in range(300):
        y = (rng.random(800) < 0.3).astype(float)
        got = calibrated(told(rng.normal(y, 1), y), alpha, ("no", "yes"))
        new = (rng.random(500) < 0.3).astype(int)
        inside = got.sets(margins("binary", rng.normal(new, 1)))[np.arange(500), new]
        covered.append([inside[new == c].mean() for c in (0, 1)])
    mean, error = np.mean(covered, axis=0), np.std(covered, axis=0) / np.sqrt(len(covered))
    assert (mean >= 1 - alpha - 3 * error).all()
    assert (mean <= 1 - alpha + 11 / (0.3 * 800) + 3 * error).all()


def test_the_promise_is_of_people_who_come_alike() -> None:
    """Control: people of another hospital, whose scores mean something else, are not covered."""
    rng = np.random.default_rng(5)
    y = (rng.random(3000) < 0.4).astype(float)
    got = calibrated(told(rng.normal(2 * y, 1), y), 0.1, ("no", "yes"))
    inside = got.sets(margins("binary", rng.normal(2 * y - 1.5, 1)))[np.arange(3000), y.astype(int)]
    assert inside[y == 1].mean() < 0.6


# A run --------------------------------------------------------------------------------------------------------


def pooled(finding: Any, analysis: Any, frame: pd.DataFrame) -> tuple[pd.DataFrame, Bools]:
    """People held out and their sets, from the model and single rows."""
    people = People(table(frame), shared=b"")
    _, values, train, *_ = analysis.people(people).data
    score = Forest.of(replace(finding, analysis=analysis)).score([v[~train] for v in values])
    limits = [r["limit"] for r in finding.tables["conformal_limits"]]
    return frame[~train], margins(analysis.objective, score) >= np.array([-np.inf if v is None else v for v in limits])


@pytest.mark.parametrize(("outcome", "objective"), KINDS)
def test_what_is_told_is_that_of_all_rows_in_one_place(outcome: str, objective: str) -> None:
    frame, analysis = people(), trees(outcome, objective)
    got = drive(supported(analysis.flow()), in_the_clear(list(dealt(frame).values()), LOOSE))
    held, sets = pooled(got, analysis, frame)
    levels = list(GROUND.schema.levels(outcome) or (0, 1))
    y = np.array([levels.index(v) for v in held[outcome]])
    inside, one = sets[np.arange(len(y)), y], sets.sum(axis=1) == 1
    assert len(got.tables["conformal"]) == (1 + len(TONES)) * (1 + len(levels))
    for row in got.tables["conformal"]:
        who = np.ones(len(y), dtype=bool)
        who &= (held["tone"] == row["level"]).to_numpy() if row["level"] else True
        who &= (y == [str(v) for v in levels].index(row["class"])) if row["class"] else True
        assert row["n"] == who.sum()
        assert row["coverage"] == pytest.approx(inside[who].mean(), abs=1e-12)
        if objective == "binary" or who.all():
            assert row["mean_size"] == pytest.approx(sets[who].sum(axis=1).mean(), abs=1e-12)
        assert row["empty"] == pytest.approx((~sets[who].any(axis=1)).mean(), abs=1e-12)
        assert row["abstained"] == pytest.approx(1 - one[who].mean(), abs=1e-12)
        assert row["answered_right"] == pytest.approx((one & inside)[who].mean(), abs=1e-12)
    if objective == "binary":
        assert all(r["coverage"] >= 0.85 for r in got.tables["conformal"][1:3])
    assert got.tables["conformal"][0]["coverage"] >= 0.85


def test_a_network_has_sets_too_and_no_other_metrics_with_them() -> None:
    pytest.importorskip("torch")
    kind = {"rounds": 5, "learning_rate": 0.5, "holdout": 0.4, "ground": GROUND}
    with_sets, without = (
        found(masked(find("network")("ill", "x1 + x2", **kind, **more), dealt(people()), allow=["model_weights"]))
        for more in ({"conformal": 0.15, "by": "tone"}, {})
    )
    assert with_sets.tables["metrics"] == without.tables["metrics"]
    assert "conformal" not in without.tables
    assert {r["level"] for r in with_sets.tables["conformal"]} == {"", *TONES}
    whole = with_sets.tables["conformal"][0]
    assert 0.85 <= whole["coverage"] < 0.95
    assert whole["mean_size"] > 1


# What is refused, and what nobody may learn -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"conformal": 0.7}, "from 0.001 to 0.5"),
        ({"conformal": 0.0}, "set conformal too"),
        ({"by": "x1"}, "declare its levels"),
        ({"holdout": 0.0}, "needs people who are held out"),
        ({"patience": 2}, "leave conformal out"),
        ({"outcome": "y", "objective": "squared"}, "for an outcome of classes"),
    ],
)
def test_settings_that_do_not_fit_are_named(kind: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        trees(**kind).check()


@pytest.mark.parametrize("outcome", ["ill", "fate"])
@pytest.mark.parametrize("rare", [2, 8, 14])
def test_no_sets_that_are_told_differ_by_a_few_people(outcome: str, rare: int) -> None:
    """Attack: sums and differences of what is told, and of the cells of scores that were told before, of one tone of
    whom there are few. The gate must leave out what would show them."""
    frame = people(900)
    tone = np.array(["I-II", "III-IV"])[np.arange(900) % 2]
    tone[:rare] = "V-VI"
    frame = frame.assign(tone=tone)
    analysis = trees(outcome, "binary" if outcome == "ill" else "multiclass")
    got = found(masked(analysis, dealt(frame), allow=ALLOW))
    rows = got.tables["conformal"]
    sizes = [r["n"] for r in rows] + [r["n"] * r["coverage"] for r in rows if r["coverage"] is not None]
    sizes += [r["n"] * (1 - r["abstained"]) for r in rows if r["abstained"] is not None]
    assert all(round(s) == 0 or round(s) >= 11 for s in sizes if s is not None)
    by_level = {(r["level"], r["class"]): r["n"] for r in rows}
    for kind in {r["class"] for r in rows}:
        known = [by_level[tone, kind] for tone in TONES if by_level.get((tone, kind)) is not None]
        left = by_level["", kind] - sum(known)
        assert left == 0 or left >= 11
    for one, other in combinations([r for r in rows if r["level"] == ""], 2):
        for part in ("coverage", "abstained"):
            if one[part] is not None and other[part] is not None and not one["class"]:
                apart = round(one["n"] * one[part] - other["n"] * other[part])
                assert apart == 0 or apart >= 11


def test_control_without_the_rule_a_few_would_be_told() -> None:
    frame = people(900)
    tone = np.array(["I-II", "III-IV"])[np.arange(900) % 2]
    tone[:20] = "V-VI"
    flow = supported(trees().flow())
    got = drive(flow, in_the_clear(list(dealt(frame.assign(tone=tone)).values()), LOOSE))
    assert [r["n"] for r in got.tables["conformal"] if (r["level"], r["class"]) == ("V-VI", "")] == [1]


# Use ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "objective"), KINDS)
def test_predict_gives_sets_and_abstains(outcome: str, objective: str, tmp_path: Path) -> None:
    frame = people()
    hospitals = cf.local(dealt(frame), levels={"tone": TONES, "fate": SCHEMA.levels("fate")}, person="pid")
    fit = hospitals.run(replace(trees(outcome, objective), ground=Ground()), allow=list(ALLOW))
    delivered(fit.results, tmp_path / "out", "fr")
    file = tmp_path / "out" / "models" / "boosting.json"
    sets = sets_of(file)
    assert sets is not None
    assert Conformal.from_plain(sets.plain()) == sets
    frame.to_csv(tmp_path / "people.csv", index=False)
    made = listed(read(file), str(tmp_path / "people.csv"), "pid", 1, 0 if objective == "binary" else 1, sets)
    many = made["set"].map(lambda text: len([part for part in text.split(", ") if part]))
    assert ((many != 1) == (made["abstains"] == "yes")).all()
    assert 0 < (many == 1).mean() < 1 or objective == "multiclass"
    truth = made["pid"].map(frame.set_index("pid")[outcome]).astype(int if objective == "binary" else str).astype(str)
    right = [name in text.split(", ") for name, text in zip(truth, made["set"], strict=True)]
    assert np.mean(right) > 0.8
    report = (tmp_path / "out" / "report.html").read_text()
    assert "ensembles de classes" in report
    assert "Ensembles de classes" in (tmp_path / "out" / "models" / "boosting.card.md").read_text()
    card = (tmp_path / "out" / "models" / "boosting.card.md").read_text()
    told = [{line.partition(label)[2].partition("**")[0] for line in card.splitlines() if label in line}
            for label in ("Couverture", "Abstention")]  # fmt: skip
    assert told[0]
    assert told[0] <= told[1]  # one says little without the other
    assert re.search(r"\*\*Abstention\*\*\s: (pour \d+,\d\s% des personnes|ne peut être dite)", card)
    with pytest.raises(StudyError, match="not as Confrere writes them"):
        Conformal.from_plain({**sets.plain(), "limits": [0.0]})


def test_who_is_held_out_alone_is_counted() -> None:
    frame, analysis = people(600), trees()
    forest: Any = SimpleNamespace(objective="binary", score=lambda values: values[0])
    limits = Conformal(0.1, ("0", "1"), (ALWAYS, ALWAYS), (1, 1))
    cells = Told({}, None, (), np.ones((4, 1)), np.zeros(len(EDGES) + 1, dtype=np.int64))
    made = Covered(Scored(analysis, forest), limits, cells).design(People(table(frame), shared=b""))
    _, _, train, *_ = analysis.people(People(table(frame), shared=b"")).data
    assert (made.cells["sets"].index[train] == -1).all()
    assert (made.cells["sets"].index[~train] >= 0).all()
    assert made.cells["sets"].needs == "histograms"
