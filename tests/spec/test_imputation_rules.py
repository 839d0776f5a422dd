"""Missing values: whom an imputation is about, what is drawn, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.cox import Cox
from confrere.analyses.finding import Finding
from confrere.analyses.linear import Linear
from confrere.analyses.rubin import unmixed
from confrere.errors import ModelError, StudyError
from confrere.rounds import People
from confrere.study import build, file
from confrere.study.cohorts import needed, reads
from confrere.study.ground import Ground
from confrere.study.imputation import Equations, Field, Impute, Imputed, completed, uniforms
from confrere.study.schema import Column, Schema
from federate import GATE, LOOSE, column, dealt, fit, table, typed

SCHEMA = Schema({"stage": Column("stage", ("I", "II", "III")), "x": Column("x", range=(-9.0, 9.0))})
GROUND = Ground(SCHEMA, person="pid")
LINEAR = Linear("y ~ x + z", missing=Impute(3, 2), ground=GROUND)


def people(n: int = 600, **gaps: Any) -> pd.DataFrame:
    """Numbers x and z, an indicator b, levels stage; `gaps` mask columns."""
    rng = np.random.default_rng(7)
    x, z = rng.normal(size=n), rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "z": z, "b": (rng.random(n) < 0.5).astype(float), "y": x - z + rng.normal(size=n)})
    frame["stage"] = rng.choice(["I", "II", "III"], n)
    frame["time"], frame["event"] = np.ceil(rng.exponential(900, n)), (rng.random(n) < 0.6).astype(float)
    for name, gap in gaps.items():
        frame[name] = frame[name].mask(gap)
    return typed(frame, SCHEMA).assign(pid=[f"p{i}" for i in range(n)])


def third(start: int, every: int = 3, n: int = 600) -> np.ndarray:
    """Every so manieth person."""
    return np.arange(n) % every == start


def found(analysis: Any, frame: pd.DataFrame, policy: Any = GATE) -> Finding:
    """Over three hospitals."""
    rng = np.random.default_rng(1)
    return fit(analysis, dealt(frame, rng.integers(0, 3, len(frame)), 3), policy)


def steps(finding: Finding) -> dict[str, Any]:
    """Numbers of the attrition by reason."""
    return {r["reason"] or r["step"]: r["n"] for r in finding.tables["attrition"]}


# Whom it is about ---------------------------------------------------------------------------------------------


def test_everybody_with_an_outcome_is_analysed() -> None:
    finding = found(LINEAR, people(x=third(0), y=third(1, 20)))
    assert finding.n == 570
    assert steps(finding)["missing y"] == 30
    assert steps(finding)["missing x"] == finding.tables["imputation"][0]["missing"] == 190
    assert {"df", "riv", "fmi"} <= finding.tables["coefficients"][0].keys()
    assert (column(finding, "coefficients", "riv") > 0).all()


def test_a_column_that_few_miss_is_required_of_everybody() -> None:
    finding = found(LINEAR, people(x=third(0), z=np.arange(600) < 10))
    assert finding.n == 590
    assert [r["column"] for r in finding.tables["imputation"]] == ["x"]


def test_where_few_have_one_column_and_miss_another_both_are_needed() -> None:
    """x is missing for a third; z for the same but five, and for a quarter of another third."""
    gap = third(0)
    other = (gap & (np.arange(600) > 12)) | (third(1) & (np.arange(600) % 4 == 0))
    finding = found(replace(LINEAR, missing=Impute(2, 1)), people(n=600, x=gap, z=other), GATE)
    assert {r["column"] for r in finding.tables["imputation"]} == {"x", "z"}
    assert finding.n == 600


def test_nobody_misses_anything() -> None:
    finding, plain = found(LINEAR, people()), found(replace(LINEAR, missing="complete"), people())
    assert finding.tables["coefficients"] == plain.tables["coefficients"]
    assert any("nothing was imputed" in note for note in finding.notes)


def test_strata_outcome_and_weights_are_never_imputed() -> None:
    cox = Cox("Surv(time, event) ~ x + strata(stage)", weights="z", missing=Impute(2, auxiliary=("b",)), ground=GROUND)
    assert needed(cox) == ("event", "stage", "time", "z")
    assert reads(cox) == ("b", "event", "stage", "time", "x", "z")
    finding = found(replace(cox, weights=""), people(1000, x=third(0, n=1000), stage=third(1, 20, 1000)))
    assert finding.n == 950
    assert [r["column"] for r in finding.tables["imputation"]] == ["x"]


# What is drawn ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_and_another_one_does_not() -> None:
    frame = people(x=third(0))
    one, again, other = (found(replace(LINEAR, missing=Impute(3, seed=s)), frame) for s in (1, 1, 2))
    assert one.tables == again.tables
    assert one.tables["coefficients"] != other.tables["coefficients"]


def test_levels_marks_and_numbers_are_drawn_as_what_they_are() -> None:
    analysis = Linear("y ~ x + b + C(stage)", missing=Impute(3, 2), ground=GROUND)
    frame = people(x=third(0), b=third(1, 4), stage=third(2, 5))
    rows = found(analysis, frame, LOOSE).tables["imputation"]
    assert {(r["column"], r["level"]): r["method"] for r in rows} == {
        ("x", None): "linear", ("b", "1"): "logistic", ("stage", "II"): "multinomial", ("stage", "III"): "multinomial",
    }  # fmt: skip


EQUATIONS = Equations(
    "y ~ x + b",
    (Field("(outcome)", mean=(0.0,), sd=(1.0,)), Field("x", mean=(1.0,), sd=(2.0,), range=(-9.0, 9.0)),
     Field("b", ("0", "1"), True, (0.5,), (0.5,))), (1, 2),
)  # fmt: skip


def filled(frame: pd.DataFrame, *draws: tuple[float, ...], chain: int = 0, key: bytes = b"k") -> pd.DataFrame:
    """The completed table of hand-made draws."""
    ground = replace(GROUND, imputed=Imputed(EQUATIONS, chain, draws))
    made = People(table(frame), key=key)
    return completed(frame, ground, lambda ids: made.words("impute", ids))


def test_a_completed_table_by_hand() -> None:
    """x = 1 + 2 z, z = 0.5 + 0.25 y + sigma * normal, without noise; b is 1 where its logit is huge."""
    frame = people(4, x=[True, False, True, False], b=[False, False, True, True]).assign(y=[2.0, 0.0, 4.0, -4.0])
    made = filled(frame, (0.5, 0.25, 0.0, 0.0), (0.0, 100.0, 0.0))
    assert made["x"].tolist() == [3.0, frame["x"][1], 4.0, frame["x"][3]]
    assert made["b"][2:].tolist() == [1.0, 0.0]
    assert frame["x"].isna().sum() == 2, "the records themselves stay as they are"


def test_draws_hang_on_the_person_the_chain_and_the_key_and_not_on_the_order_of_rows() -> None:
    frame = people(300, x=third(0, 2, 300))
    draw = (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)
    made = filled(frame, *draw)
    turned = filled(frame.iloc[::-1].reset_index(drop=True), *draw).iloc[::-1].reset_index(drop=True)
    assert made["x"].equals(turned["x"])
    for other in (filled(frame, *draw, chain=1), filled(frame, *draw, key=b"other")):
        gap = frame["x"].isna()
        assert (made["x"][gap] != other["x"][gap]).all()


def test_values_stay_in_the_declared_range() -> None:
    made = filled(people(300, x=third(0, 2, 300)), (0.0, 0.0, 0.0, 50.0), (0.0, 0.0, 0.0))
    assert made["x"].between(-9, 9).all()
    assert (made["x"].abs() == 9).sum() > 50


def test_random_numbers_are_uniform_and_do_not_go_together() -> None:
    words = People(table(people(2)), key=b"k").words("impute", [f"p{i}" for i in range(20_000)])
    u = np.array([uniforms(words, c, s) for c in (0, 1) for s in (0, 1, 2)])
    assert np.abs(u.mean(axis=1) - 0.5).max() < 0.01
    assert np.abs(u.var(axis=1) - 1 / 12).max() < 0.002
    assert np.abs(np.corrcoef(u) - np.eye(6)).max() < 0.03
    assert np.array_equal(words[:3], People(table(people(2)), key=b"k").words("impute", ["p0", "p1", "p2"]))


# What is refused ----------------------------------------------------------------------------------------------


def test_levels_in_which_few_would_differ() -> None:
    """Twelve people miss b: two completed tables would differ for a few of them."""
    analysis = Linear("y ~ x + b", missing=Impute(3), ground=GROUND)
    with pytest.raises(ModelError, match=r"'b' would differ for about \d people .* 66 are needed"):
        found(analysis, people(b=np.arange(600) < 12))
    indicator = replace(analysis, formula="y ~ I(x > 1.5)", missing=Impute(2))
    with pytest.raises(ModelError, match=r"I\(x > 1.5\)"):
        found(indicator, people(x=third(0)))


def test_more_numbers_than_may_be_answered() -> None:
    with pytest.raises(ModelError, match=r"Set imputations to \d+ at most") as error:
        found(replace(LINEAR, missing=Impute(60)), people(x=third(0)))
    fits = int(str(error.value).split("Set imputations to ")[1].split()[0])
    assert found(replace(LINEAR, missing=Impute(fits)), people(x=third(0))).n == 600


def test_everybody_misses_a_column() -> None:
    with pytest.raises(Exception, match="hospitals have at least"):
        found(LINEAR, people(x=np.ones(600, dtype=bool)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"missing": "drop"}, "missing is 'drop'; it must be 'complete', 'impute'"),
        ({"ground": Ground(SCHEMA)}, "person"),
        ({"formula": "y ~ standardize(x)"}, "standardize"),
        ({"missing": Impute(auxiliary=("x",))}, "in the analysis already"),
        ({"missing": Impute(auxiliary=("pid",))}, "names the person"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        replace(LINEAR, **change).check()


@pytest.mark.parametrize("change", [{"imputations": 1}, {"imputations": 1000}, {"iterations": 0}, {"seed": -1}])
def test_numbers_out_of_range(change: dict[str, int]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(change))} is"):
        Impute(**change)


def test_a_study_file_says_how() -> None:
    text = """
        [study]
        id = "a"
        purpose = "research"
        [data]
        person = "pid"
        [[analysis]]
        name = "a"
        method = "linear"
        formula = "y ~ x"
        missing = {imputations = 7, auxiliary = ["b"]}
    """
    (made,) = build.analyses(file.parse(text))
    assert made.missing == Impute(7, auxiliary=("b",))
    assert made.ground.person == "pid"
    with pytest.raises(StudyError, match="missing is 'impue'"):
        build.analyses(file.parse(text.replace('{imputations = 7, auxiliary = ["b"]}', '"impue"')))


# How many -----------------------------------------------------------------------------------------------------


def test_without_a_number_as_many_as_the_budget_carries() -> None:
    usual = Linear("y ~ x + z", missing="impute", ground=GROUND)
    few = found(usual, people(x=third(0)))
    assert 5 <= few.facts["imputations"] < 20
    assert f"Imputed: x (200); m = {few.facts['imputations']}." in few.notes
    assert found(usual, people(4000, x=third(0, n=4000))).facts["imputations"] == 20


def test_two_imputations_are_few() -> None:
    def codes(m: int) -> list[str]:
        return [w.code for w in found(replace(LINEAR, missing=Impute(m)), people(x=third(0))).warnings]

    assert "few-imputations" in codes(2)
    assert "few-imputations" not in codes(5)


def test_too_few_people_for_two_imputations() -> None:
    small = people(150, x=third(0, n=150))
    with pytest.raises(ModelError, match=r"too few people for imputation: 150 people carry \d+ numbers .* need"):
        found(Linear("y ~ x + z", missing="impute", ground=GROUND), small)


def test_chains_that_lie_apart_are_told() -> None:
    assert not unmixed([{"column": "x", "rhat": 1.1}, {"column": "z", "rhat": None}])
    (caution,) = unmixed([{"column": "x", "rhat": 1.3}, {"column": "z", "rhat": 1.0}])
    assert caution.code == "chains-not-mixed"
    assert "'x' (rhat 1.30)" in caution.text
    assert "'z'" not in caution.text
