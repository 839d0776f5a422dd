"""Sets of classes beside the cells of the scores that they are cut from: two ways to divide the people held out.

Of whoever was held out the cells of scores are told first. Where people of one tone, or of one class, have the highest
scores of all but a few others, a run of cells less a count of theirs is those few.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.scored import EDGES, LOSSES, margins
from confrere.hospital.gate import Policy
from confrere.hospital.margins import known
from confrere.hospital.ties import Ties
from confrere.rounds import People, Round, drive, find, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import LOOSE, in_the_clear, table

K, FEW, MANY = 11, 14, 120  # of whom four in ten are held out
TONES, KINDS = ("I-II", "III-IV", "V-VI"), ("one", "two", "three")
GROUND = Ground(Schema({"tone": Column("tone", TONES), "kind": Column("kind", KINDS)}), person="pid")
POLICY = Policy(allow=frozenset({"histograms"}))


def people(apart: int, n: int = 2400) -> pd.DataFrame:
    """Who is of the last tone has a high x, and nobody else but `apart` people; so of the last kind and z."""
    rng = np.random.default_rng(7)
    tone, kind = rng.choice(3, n, p=[0.45, 0.35, 0.2]), rng.choice(3, n, p=[0.4, 0.4, 0.2])
    x, z = np.where(tone == 2, 3.0, rng.normal(0, 0.7, n).clip(-2, 2)), np.where(kind == 2, 3.0, 0.0)
    x[np.flatnonzero(tone == 0)[:apart]] = 3.0
    z[np.flatnonzero(kind == 0)[:apart]] = 3.0
    y = rng.random(n) < np.where(x == 3, 0.75, 0.35)
    return pd.DataFrame({
        "pid": [f"p{i}" for i in range(n)], "x": x, "z": z + 0.3 * (kind == 1) * rng.random(n), "ill": y.astype(float),
        "tone": pd.Categorical.from_codes(tone, TONES), "kind": pd.Categorical.from_codes(kind, KINDS),
    })  # fmt: skip


class Seen:
    """What a coordinator was told of who is held out: merged cells of scores, and rows of the table `conformal`."""

    def __init__(self, outcome: str, frame: pd.DataFrame, policy: Policy = POLICY) -> None:
        kind: dict[str, Any] = {"trees": 8, "depth": 2, "holdout": 0.4, "conformal": 0.15, "by": "tone"}
        objective = "binary" if outcome == "ill" else "multiclass"
        self.analysis = find("boosting")(outcome, ("x" if outcome == "ill" else "z",), objective, ground=GROUND, **kind)
        answer = in_the_clear([frame.iloc[i::3] for i in range(3)], policy)
        grids: list[Any] = []

        def noted(asks: Round) -> Any:
            got = answer(asks)
            for name, at in (("scores", -1), ("losses", 0)):
                grids.extend(v.grids[name][at] for v in got if name in getattr(v, "grids", {}))
            return got

        self.found = drive(supported(self.analysis.flow()), noted)
        whole = People(table(frame), shared=b"")
        _, values, train, *_ = self.analysis.people(whole).data
        self.held = frame[~train]
        score = Forest.of(replace(self.found, analysis=self.analysis)).score([v[~train] for v in values])
        levels = GROUND.schema.levels(outcome)
        self.y = np.asarray(self.held[outcome].cat.codes if levels else self.held[outcome], dtype=int)
        own = margins(objective, score)
        ladder, at = EDGES, score
        if objective == "multiclass":
            ladder, at = LOSSES, np.logaddexp(0, -own[np.arange(len(self.y)), self.y])
        self.cell = grids[0][np.searchsorted(ladder, np.ravel(at), side="right")]
        limits = [r["limit"] for r in self.found.tables["conformal_limits"]]
        self.wrong = np.argmax(score, axis=1) != self.y if objective == "multiclass" else None
        self.inside = own >= np.array([-np.inf if v is None else v for v in limits])

    def runs(self) -> list[np.ndarray]:
        """Who is in each run of told cells, of one outcome or of both."""
        whom = [np.ones(len(self.y), dtype=bool)]
        whom += [self.y == c for c in (0, 1)] if self.analysis.objective == "binary" else []
        ends = range(int(self.cell.max()) + 2)
        return [who & (self.cell >= a) & (self.cell < b) for a, b in itertools.combinations(ends, 2) for who in whom]

    def sets(self) -> list[np.ndarray]:
        """Who is in each set of people that is told."""
        right, one = self.inside[np.arange(len(self.y)), self.y], self.inside.sum(axis=1) == 1
        parts = (("n", right | True), ("coverage", right), ("abstained", one), ("answered_right", one & right),
                 ("empty", ~self.inside.any(axis=1)))  # fmt: skip
        made = []
        for row in self.found.tables["conformal"]:
            who = (self.held["tone"] == row["level"]).to_numpy() | (row["level"] == "")
            levels = GROUND.schema.levels(self.analysis.outcome) or ("0", "1")
            who &= (self.y == levels.index(row["class"])) if row["class"] else True
            made += [who & some for name, some in parts if row[name] is not None]
        rates = [r["estimate"] for r in self.found.tables["metrics"] if r["metric"] == "error rate"]
        if self.wrong is not None and rates[0] is not None:  # of who is held out, as they stand first
            assert round(rates[0] * len(self.y)) == self.wrong.sum()
            made.append(self.wrong)
        classes = [self.y == c for c in range(3)] if self.wrong is not None else []  # told with the outcome's sums
        return [*made, *classes]

    def weighed(self) -> int:
        """The fewest people, but nobody, on whom a run of cells, and three sets told of everybody, added or subtracted
        rest."""
        told = np.unique([s for s in self.sets() if len(s)], axis=0)[:14].astype(int)
        least = len(self.y)
        for three in itertools.combinations(told, 3):
            for signs in itertools.product((-1, 0, 1), repeat=3):
                sum_ = np.array(signs) @ np.array(three)
                for run in (np.zeros(len(self.y)), *self.runs()):
                    apart = np.count_nonzero(sum_ + run)
                    least = min(least, apart or least)
        return least

    def fewest(self) -> int:
        """The fewest people, but nobody, by whom a run of cells and a set or two sets of people differ."""
        told, least = self.sets(), len(self.y)
        both = [a & ~b for a, b in itertools.permutations(told, 2) if not (b & ~a).any()]
        for run, some in itertools.product(self.runs(), (*told, *both)):
            apart = np.count_nonzero(run != some)
            least = min(least, apart or least)
        return least


@pytest.mark.parametrize("outcome", ["ill", "kind"])
def test_control_without_the_rule_a_few_are_the_difference(outcome: str) -> None:
    assert 0 < Seen(outcome, people(FEW), LOOSE).fewest() < K


@pytest.mark.parametrize("outcome", ["ill", "kind"])
@pytest.mark.parametrize("apart", [FEW, 0, MANY])
def test_no_run_of_cells_and_no_set_differ_by_a_few(outcome: str, apart: int) -> None:
    assert Seen(outcome, people(apart)).fewest() >= K


@pytest.mark.parametrize(("outcome", "level", "kind"), [("ill", "V-VI", ""), ("kind", "", "three")])
def test_who_could_be_had_by_subtraction_is_not_told_and_others_are(outcome: str, level: str, kind: str) -> None:
    """Of two classes cells go before sets; of more sets before cells, which give way."""
    for apart in (FEW, MANY):
        rows = Seen(outcome, people(apart)).found.tables["conformal"]
        told = {(r["level"], r["class"]): r["n"] for r in rows}
        assert (told[level, kind] is None) == (apart == FEW and outcome == "ill")
        assert told["", ""] is not None
        assert sum(n is not None for n in told.values()) >= len(told) / 2


def overlapping(seed: int, n: int, wide: float) -> pd.DataFrame:
    """Three kinds that z tells apart, as well as `wide` says."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.45, 0.35, 0.2])
    return pd.DataFrame({
        "pid": [f"p{i}" for i in range(n)], "z": kind + rng.normal(0, wide, n), "x": rng.normal(size=n),
        "ill": 0.0, "tone": pd.Categorical.from_codes(rng.choice(3, n, p=[0.45, 0.35, 0.2]), TONES),
        "kind": pd.Categorical.from_codes(kind, KINDS),
    })  # fmt: skip


@pytest.mark.parametrize("wide", [0.25, 0.35, 0.6])
@pytest.mark.parametrize("n", [600, 2400])
def test_errors_and_abstentions_are_told_and_no_sum_of_what_is_told_is_of_a_few(n: int, wide: float) -> None:
    seen = Seen("kind", overlapping(3, n, wide))
    assert seen.fewest() >= K
    assert seen.weighed() >= K
    (rate, *_) = [r["estimate"] for r in seen.found.tables["metrics"] if r["metric"] == "error rate"]
    whole = seen.found.tables["conformal"][0]
    assert (rate is not None) == (n == 2400 or wide > 0.25)
    assert whole["abstained"] is not None
    assert seen.cell.max() >= 2  # the attack on membership has cells


def test_control_without_the_rule_errors_and_runs_of_cells_differ_by_a_few() -> None:
    assert Seen("kind", overlapping(3, 600, 0.35), LOOSE).fewest() < K


def classes(wrong: int, n: int = 1500) -> pd.DataFrame:
    """Three kinds that z tells apart, but of so many people of the second, who are like the first."""
    kind = np.arange(n) % 3
    z = kind.astype(float)
    z[np.flatnonzero(kind == 1)[:wrong]] = 0.0
    x = np.random.default_rng(3).normal(size=n)
    return pd.DataFrame(
        {"pid": [f"p{i}" for i in range(n)], "x": x, "z": z, "kind": pd.Categorical.from_codes(kind, KINDS)}
    )


@pytest.mark.parametrize("conformal", [0.0, 0.15])
@pytest.mark.parametrize("holdout", [0.0, 0.4])
@pytest.mark.parametrize("wrong", [5, 15, 300])
def test_a_few_errors_are_not_told(wrong: int, holdout: float, conformal: float) -> None:
    """Of three classes a rate of errors times the people is a count; none is of 1 to k-1 people."""
    if conformal and not holdout:
        return
    kind: dict[str, Any] = {"trees": 4, "depth": 2, "holdout": holdout, "conformal": conformal}
    frame, ground = classes(wrong), GROUND if holdout else replace(GROUND, person="")
    made = find("boosting")("kind", ("z",), "multiclass", ground=ground, **kind)
    found = drive(supported(made.flow()), in_the_clear([frame.iloc[i::3] for i in range(3)], POLICY))
    rows = {r["sample"]: r for r in found.tables["metrics"] if r["metric"] == "error rate"}
    assert len(rows) == (2 if holdout else 1)
    for row in rows.values():
        trained = int(found.facts["people_trained"])
        errors = (row["estimate"] or 0.0) * (trained if row["sample"] == "training" else len(frame) - trained)
        assert errors < 0.5 or errors > K - 0.5
        assert row["suppressed"] if row["estimate"] is None else errors > 0 or wrong < 300
    assert wrong == 5 or any(row["estimate"] for row in rows.values())
    assert wrong == 300 or not all(row["estimate"] for row in rows.values()) or not holdout


@pytest.mark.parametrize("seed", range(30))
def test_no_places_and_sets_together_rest_on_a_few(seed: int) -> None:
    """Held against all combinations of 0 and 1 of the places and of the patterns of the sets that are told."""
    rng = np.random.default_rng(seed)
    counts = np.floor(rng.exponential(15, (3, 4))) * (rng.random((3, 4)) < 0.8)
    sets = tuple(rng.random((3, 4)) < 0.5)
    grid = known(sets, counts, Policy())[0]
    told = [one for one, place in zip(sets, grid[4:], strict=True) if place >= 0]
    rows = [np.repeat(np.eye(3, dtype=bool)[i][:, None], 4, axis=1) for i in range(3)]
    rows += [np.repeat(one[None], 3, axis=0) for one in told]
    for weights in itertools.product((-1, 0, 1), repeat=len(rows)):
        resting = counts[sum(w * row.astype(int) for w, row in zip(weights, rows, strict=True)) != 0].sum()
        assert resting == 0 or resting >= K or not told


@pytest.mark.parametrize("seed", range(60))
def test_cells_of_few_people_do_not_stand_in_the_way(seed: int) -> None:
    """Of two sets, places of k people and most cells of few, what is said to be safe is so by all combinations of -1, 0
    and 1; and of one set what is not said to be safe rests on a few."""
    rng = np.random.default_rng(seed)
    counts = np.concatenate([np.full((3, 1), 15.0), np.floor(rng.exponential(3, (3, 3)))], axis=1)
    sets = np.array([[False, True, True, False], [False, False, True, True]])
    rows = [np.repeat(np.eye(3, dtype=bool)[i][:, None], 4, axis=1) for i in range(3)]
    for some in (sets, sets[:1], sets[1:]):
        all_ = [*rows, *(np.repeat(one[None], 3, axis=0) for one in some)]
        resting = [
            counts[np.tensordot(weights, np.array(all_, dtype=int), 1) != 0].sum()
            for weights in itertools.product((-1, 0, 1), repeat=len(all_))
        ]
        few, safe = any(0 < r < K for r in resting), Ties(counts, K).safe(some)
        assert not (few and safe)
        assert few or safe or len(some) > 1
