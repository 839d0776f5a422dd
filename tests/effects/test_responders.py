"""Who benefits: what is refused, planted responders and none, hospitals that learn and test, cards, small sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.effects.policy import UNLIKE
from confrere.analyses.effects.responders import Responders
from confrere.analyses.effects.stability import rules
from confrere.analyses.effects.subgroups import holm
from confrere.analyses.worklist import Screening
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import People, drive
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, fit
from confrere.testing.runs import flow_of, in_the_clear, table

SURV = "Surv(time, event)"
SCHEMA = Schema({"x1": Column("x1", range=(-4.0, 4.0))})
ARMED = Ground(
    Schema({"a": Column("a", ("0", "1")), "fate": Column("fate", ("none", "ill", "dead"))}), person="pid"
)  # levels of the treatment, and causes
GROUND = Ground(SCHEMA, person="pid")
METHOD = Responders(
    "a", "y", "x1 + x2", "x1", halves=True, subgroups=("x1 >= 0", "x2 >= 0.5"), ground=GROUND
)  # fmt: skip


def world(n: int, seed: int, planted: float = 1.0) -> pd.DataFrame:
    """People of whom those with x1 >= 0 gain `planted` by a treatment that is likelier for them."""
    rng = np.random.default_rng(seed)
    x1, x2 = np.clip(rng.normal(size=n), -3.9, 3.9), (rng.random(n) < 0.4).astype(float)
    a = (rng.random(n) < 1 / (1 + np.exp(0.2 - 0.5 * x1 + 0.3 * x2))).astype(float)
    y = x1 + 0.5 * x2 + planted * a * (x1 >= 0) + rng.normal(size=n)
    return pd.DataFrame({"x1": x1, "x2": x2, "a": a, "y": y, "pid": [f"p{seed}-{i}" for i in range(n)]})


def dealt(frame: pd.DataFrame, hospitals: int = 3) -> list[pd.DataFrame]:
    """People by hospital."""
    return [frame.iloc[i::hospitals] for i in range(hospitals)]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"ground": Ground(SCHEMA)}, StudyError, "person"),
        ({"learn": ("h0", "h1", "h2"), "halves": False}, StudyError, "give both"),
        ({"learn": ("h0", "h1", "h2"), "test": ("h3", "h4", "h5")}, StudyError, "give both"),
        ({"learn": ("h0", "h1"), "test": ("h3", "h4", "h5"), "halves": False}, StudyError, "fewer than 3"),
        ({"learn": ("h0", "h1", "h2"), "test": ("h2", "h4", "h5"), "halves": False}, StudyError, "h2 are in"),
        ({"halves": False}, StudyError, "tested on other people"),
        ({"swap": True, "halves": False, "subgroups": ()}, StudyError, "teach each other"),
        ({"repeats": 0}, StudyError, "repeats is 0"),
        ({"folds": 1}, StudyError, "2 to 20"),
        ({"depth": 3}, StudyError, "depth is 3"),
        ({"least": 5}, StudyError, "least is 5"),
        ({"threshold": -1.0}, StudyError, "threshold"),
        ({"title": " "}, StudyError, "title"),
        ({"truncate": (0.9, 0.1)}, StudyError, "truncate"),
        ({"modifiers": "1"}, FormulaError, "give terms"),
        ({"modifiers": "x1 + a"}, FormulaError, "leave it out"),
        ({"subgroups": ("x2",)}, StudyError, "neither levels nor a range"),
        ({"subgroups": ("x1 >= 0 and x2 >= 1",)}, StudyError, "joins"),
        ({"subgroups": tuple(f"x1 >= {c}" for c in range(7))}, StudyError, "6 at most"),
        ({"tau": 365.0}, StudyError, "leave them out"),
        ({"censoring": ("stage",)}, StudyError, "leave them out"),
        ({"outcome": SURV}, StudyError, "give one"),
        ({"outcome": SURV, "tau": 365.0, "time": 365.0}, StudyError, "give one"),
        ({"outcome": SURV, "tau": -1.0}, StudyError, "give one"),
        ({"outcome": SURV, "tau": 365.0, "family": "binomial"}, StudyError, "no family"),
        ({"outcome": SURV, "tau": 365.0, "cause": "relapse"}, StudyError, "cause is given"),
        ({"outcome": SURV, "tau": 365.0, "censoring": ("a",), "ground": ARMED}, FormulaError, "leave it out"),
        ({"outcome": SURV, "tau": 365.0, "censoring": ("x2",)}, StudyError, "no declared levels"),
        ({"outcome": "Surv(entry, time, event)", "tau": 365.0}, FormulaError, "time zero"),
        ({"outcome": "Surv(time, fate)", "time": 365.0, "ground": ARMED}, StudyError, "cause is given"),
        ({"outcome": "Surv(time, fate)", "tau": 365.0, "cause": "ill", "ground": ARMED}, StudyError, "give `time`"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        replace(METHOD, **settings).check()


def test_columns_give_criteria() -> None:
    """One for each declared level; three cuts of a declared range."""
    staged = Schema({**SCHEMA.columns, "stage": Column("stage", ("I", "II", "III"))})
    made = replace(METHOD, subgroups=("stage", "x1"), ground=Ground(staged, person="pid"))
    assert made.criteria == (
        "stage == 'I'", "stage == 'II'", "stage == 'III'", "x1 >= -2", "x1 >= 0", "x1 >= 2"
    )  # fmt: skip


def test_planted_responders_are_found_and_their_rule_is_a_criterion() -> None:
    """The rule of the leaf that benefits, as a criterion of a worklist, lists exactly these people."""
    frame = world(4000, 1)
    METHOD.check()
    got = fit(METHOD, dealt(frame), GATE)
    assert got.facts["rules"] == "x1 >= 0"
    (leaf,) = (row for row in got.tables["subgroups"] if row["benefits"])
    assert abs(leaf["estimate"] - 1) < 3 * leaf["std_error"]
    line, value = got.tables["calibration"][1], {row["policy"]: row for row in got.tables["value"]}
    assert line["p_value"] < 1e-3
    assert got.tables["ranking"][0]["conf_low"] > 0
    assert got.tables["tests"][0]["p_value"] < 1e-3
    assert value["rule less nobody"]["conf_low"] > 0
    assert sum(row["n"] for row in got.tables["groups"]) == got.tables["effects"][1]["n"]
    listing = fit(Screening("Responders", (got.facts["rules"],), ground=GROUND), dealt(frame), GATE)
    assert listing.tables["funnel"][-1]["n"] == int((frame["x1"] >= 0).sum())


def test_few_are_wrongly_found_where_the_effect_is_the_same_for_all() -> None:
    """Over 60 worlds Wald's test and calibration keep their 5 %, and the tree's leaves, all together, theirs."""
    wald = slope = leaves = covered = 0
    worlds = 60
    for seed in range(worlds):
        got = fit(METHOD, dealt(world(700, 100 + seed, 0.0)), LOOSE)
        wald += got.tables["tests"][0]["p_value"] < 0.05
        slope += got.tables["calibration"][1]["p_value"] < 0.05
        leaves += any((row["p_holm"] or 1.0) < 0.05 for row in got.tables.get("subgroups", ()))
        covered += got.tables["effects"][1]["conf_low"] < 0 < got.tables["effects"][1]["conf_high"]
    assert wald <= 9  # more once in 1,000 times
    assert slope <= 9
    assert leaves <= 9
    assert covered >= 51


def followed(n: int, seed: int, planted: float = 0.9, depends: bool = False) -> pd.DataFrame:
    """People whose hazard the treatment lowers by exp(-planted) if x1 >= 0; if it `depends`, the sick leave early."""
    rng, frame = np.random.default_rng(seed), world(n, seed)
    stage = rng.random(n) < 0.5
    rate = 0.001 * np.exp(0.3 * frame["x1"] + 0.6 * stage - planted * frame["a"] * (frame["x1"] >= 0))
    time = rng.exponential(1 / rate)
    end = rng.exponential(1500 * np.where(stage & depends, 0.4, 1.0))
    return frame.assign(
        time=np.ceil(np.minimum(time, end)), event=(time <= end).astype(float), free=np.minimum(time, 730.0),
        stage=pd.Categorical.from_codes(stage.astype(int), ["I", "II"]),
    )  # fmt: skip


def test_planted_responders_are_found_by_the_time_that_they_gain() -> None:
    """With 40 % censored, coefficients and average are those of the uncensored times to a fraction of their errors."""
    frame = followed(4000, 6)
    method = replace(METHOD, outcome=SURV, tau=730.0)
    method.check()
    got = fit(method, dealt(frame), GATE)
    assert got.facts["rules"] == "x1 >= 0"
    assert got.facts["family"] == "survival"
    assert {row["measure"] for row in got.tables["effects"]} == {"RMST difference"}
    whole = fit(replace(METHOD, outcome="free"), dealt(frame), GATE)
    for name in ("effects", "coefficients"):
        for row, want in zip(got.tables[name], whole.tables[name], strict=True):
            assert abs(row["estimate"] - want["estimate"]) < 1.5 * want["std_error"]
            assert 1 < row["std_error"] / want["std_error"] < 1.5
    assert any("cells of at least 30 days" in note for note in got.notes)


def test_censoring_by_stage_is_accounted_for_where_it_is_named() -> None:
    """The sick leave early: without it their restricted mean is taken too long, and the average off."""
    frame = followed(12000, 7, 0.0, depends=True)
    stages = Schema({**SCHEMA.columns, "stage": Column("stage", ("I", "II"))})
    method = replace(
        METHOD, outcome=SURV, tau=730.0, halves=False, subgroups=(), confounders="x1 + x2 + stage", modifiers="stage",
        ground=Ground(stages, person="pid"),
    )  # fmt: skip
    truth = fit(replace(method, outcome="free", tau=None), dealt(frame), GATE).tables["effects"][0]
    named = fit(replace(method, censoring=("stage",)), dealt(frame), GATE).tables["effects"][0]
    assert abs(named["estimate"] - truth["estimate"]) < 1.5 * truth["std_error"]


def test_a_time_beyond_all_follow_up_is_an_error() -> None:
    frame = followed(2000, 8)
    short = frame.assign(time=np.minimum(frame["time"], 300.0))
    with pytest.raises(ModelError, match=r"is followed until 730.*earlier time"):
        fit(replace(METHOD, outcome=SURV, tau=730.0), dealt(short), GATE)


def test_a_rule_holds_over_deals_and_swapped_sides() -> None:
    """Planted responders: found in every split, and p over all of them is small. The first split is that of one."""
    frame = world(4000, 9)
    one = fit(METHOD, dealt(frame), LOOSE)
    got = fit(replace(METHOD, repeats=2, swap=True), dealt(frame), LOOSE)
    for name in one.tables:
        assert got.tables[name] == one.tables[name]
    rows = got.tables["stability"]
    assert [row["split"] for row in rows] == ["1", "1 swapped", "2", "2 swapped"]
    assert rows[0]["slope"] == one.tables["calibration"][1]["estimate"]
    assert len({row["average"] for row in rows}) == 4
    (rule,) = (row for row in got.tables["rules"] if row["rule"] == "x1 >= 0")
    assert (rule["splits"], rule["found"], rule["holds"]) == (4, 4, True)
    assert rule["p_value"] < 1e-3


def test_rules_over_splits_by_hand() -> None:
    """Found in two of three splits with p 0.01 and 0.03: the median with a 1 is 0.03, twice of it 0.06."""
    leaf = {"rule": "r", "estimate": 1.0, "benefits": True}
    tables = [{"subgroups": [leaf | {"p_holm": p}]} for p in (0.03, 0.01)] + [{"subgroups": []}]
    (row,) = rules(tables)
    assert (row["splits"], row["found"], row["benefits"], row["estimate"]) == (3, 2, 2, 1.0)
    assert (row["p_value"], row["holds"]) == (0.06, False)


def test_without_testing_people_splits_tell_the_average() -> None:
    got = fit(replace(METHOD, halves=False, subgroups=(), repeats=3), dealt(world(1500, 10)), LOOSE)
    assert [row["slope"] for row in got.tables["stability"]] == [None] * 3
    assert "rules" not in got.tables


@pytest.mark.slow
def test_rules_hold_by_chance_no_more_often_than_they_may() -> None:
    """Of 100 worlds with the same effect for all, at most 11 hold a rule; more would be chance once in 100 times."""
    method = replace(METHOD, repeats=3, swap=True)
    held = 0
    for seed in range(100):
        got = fit(method, dealt(world(700, 500 + seed, 0.0)), LOOSE)
        held += any(row["p_value"] < 0.05 for row in got.tables.get("rules", ()))
    assert held <= 11


def test_some_hospitals_learn_and_others_test() -> None:
    """Masked, over six hospitals: two groups answer for themselves, and every hospital keeps its cards."""
    frame = world(4800, 2)
    hospitals = {f"h{i}": part for i, part in enumerate(dealt(frame, 6))}
    learn, test = ("h0", "h1", "h2"), ("h3", "h4", "h5")
    method = replace(METHOD, halves=False, learn=learn, test=test, worklist=True, threshold=0.5)
    results = cf.local(hospitals, person="pid").run(method)
    assert [row["n"] for row in results.tables["effects"]] == [2400, 2400]
    assert results.tables["attrition"][-1]["n"] == 4800
    assert "x1 >= 0" in results.facts["rules"]


def test_cards_advise_where_the_data_do() -> None:
    """Treat, do not treat, or no advice: limits around the threshold, values at the end of the range."""
    frame = world(4000, 3)
    frame.loc[frame.index[:5], "x1"] = 4.0
    method = replace(METHOD, halves=False, subgroups=(), worklist=True, threshold=0.5)
    method.check()
    card, propensity = _learnt(method, frame)
    rows = method.advised(_people(frame), card, propensity).rows.set_index("pid").loc[frame["pid"]]
    gain, low, high = (rows[name].to_numpy() for name in ("predicted effect", "at least", "at most"))
    unlike = (rows["advice"] == UNLIKE).to_numpy()
    assert unlike[:5].all()
    assert (rows["advice"][~unlike & (low > 0.5)] == "treat").all()
    assert (rows["advice"][~unlike & (high < 0.5)] == "do not treat").all()
    between = ~unlike & (low < 0.5) & (high > 0.5)
    assert between.any()
    assert (rows["advice"][between] == "no advice: uncertain").all()
    assert ((low < gain) & (gain < high)).all()
    assert rows["reasons"].str.startswith("x1: ").all()
    assert np.corrcoef(gain, frame["x1"])[0, 1] == pytest.approx(1.0)


def _learnt(method: Responders, frame: pd.DataFrame) -> Any:
    """The public arguments of the step that draws cards, as a run asks it."""
    asked: list[Any] = []
    answer = in_the_clear(dealt(frame), LOOSE)

    def noted(asks: Any) -> Any:
        asked.extend(a for a in asks if a.kind == "keep")
        return answer(asks)

    drive(flow_of(method), noted)
    ((card, propensity),) = [a.args for a in asked]
    return card, propensity


def _people(frame: pd.DataFrame) -> Any:
    return People(table(frame))


def test_a_leaf_of_few_people_is_not_told() -> None:
    """Criteria that five people tell apart are not both told, whichever of them comes first."""
    frame = world(3000, 4)
    low, high = np.sort(frame["x1"])[[1500, 1505]]
    method = replace(METHOD, subgroups=(f"x1 >= {low}", f"x1 >= {high}"), depth=1)
    got = fit(method, dealt(frame), GATE)
    found = {row["rule"].removeprefix("not ").strip("()") for row in got.tables["subgroups"]}
    assert len(found) == 1


def test_people_who_are_too_few_for_folds() -> None:
    with pytest.raises(ModelError, match="too few for an outcome model of 6"):
        fit(replace(METHOD, halves=False, subgroups=()), dealt(world(20, 5)), LOOSE)


def test_holm_adjusts_in_steps() -> None:
    assert holm([0.01, 0.04, 0.03], 3) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8], 2) == pytest.approx([1.0, 1.0])
