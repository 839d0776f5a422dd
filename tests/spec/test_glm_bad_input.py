"""What linear and generalised linear models say to wrong input: the value, the rule, the remedy; never a NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.glm import Glm
from confrere.analyses.linear import Linear
from confrere.analyses.logistic import Logistic
from confrere.analyses.poisson import Poisson
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.hospital.gate import Policy, Support, Violation, judge, support_of
from confrere.rounds import Design, Verdict, clear, drive, find, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema

LEVELS = Ground(
    Schema(
        {
            "stage": Column("stage", ("I", "II", "III")),
            "rare": Column("rare", ("I", "II", "III", "IV")),
            "only": Column("only", ("I", "II")),
            "ill": Column("ill", ("no", "yes")),
        }
    )
)


class Table:
    """A hospital's table as analyses see it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame.reset_index(drop=True)

    def nobody(self) -> Table:
        return Table(self.frame.iloc[:0])


def people() -> pd.DataFrame:
    """300 people of 3 hospitals."""
    rng = np.random.default_rng(7)
    n = 300
    frame = pd.DataFrame({"age": rng.normal(60, 10, n), "dose": rng.normal(0, 1, n), "years": rng.uniform(1, 5, n)})
    frame["stage"] = pd.Categorical(rng.choice(["I", "II", "III"], n), ["I", "II", "III"])
    frame["rare"] = frame["stage"]
    frame["only"] = "I"
    frame["recur"] = (rng.random(n) < 0.4).astype(float)
    frame["ill"] = np.where(frame["recur"] > 0, "yes", "no")
    frame["visits"] = rng.poisson(2, n).astype(float)
    frame["cost"] = rng.gamma(2, 100, n)
    frame["twice"] = 2 * frame["age"] - 1
    frame["seven"] = 7.0
    frame["zero"] = 0.0
    frame["w"] = rng.uniform(0.5, 2, n)
    return frame


def run(analysis: Any, frame: pd.DataFrame, policy: Policy | None = None) -> Finding:
    def settle(designs: Sequence[Design]) -> Verdict:
        parts = [support_of(d) for d in designs]
        summed = Support(*(np.sum([getattr(p, name) for p in parts], axis=0) for name in Support._fields))
        return judge(designs[0], summed, policy or Policy())

    tables = [Table(frame.iloc[h::3]) for h in range(3)]
    found: Finding = drive(supported(analysis.flow()), clear(tables, settle))
    return found


# Before any data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["linear", "logistic", "poisson", "glm"])
def test_is_registered_by_its_name(method: str) -> None:
    assert find(method)("visits ~ age").formula == "visits ~ age"


@pytest.mark.parametrize("kind", [Linear, Logistic, Poisson, Glm])
@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("~ age", "one outcome on the left"),
        ("Surv(years, recur) ~ age", "not a time and event"),
        ("recur ~ age + strata(stage)", "strata() belongs to Cox"),
        ("recur ~ 0", "neither a term nor an intercept"),
    ],
)
def test_formulas_that_no_regression_has(kind: Any, formula: str, says: str) -> None:
    with pytest.raises(FormulaError) as error:
        kind(formula, ground=LEVELS).check()
    assert says in str(error.value)


def test_an_outcome_with_levels_is_for_binomial_models() -> None:
    for kind in (Linear, Poisson, Glm):
        with pytest.raises(FormulaError, match="use logistic"):
            kind("ill ~ age", ground=LEVELS).check()
    with pytest.raises(FormulaError, match="3 levels; compare it with one"):
        Logistic("stage ~ age", ground=LEVELS).check()
    coded, plain = (run(Logistic(f"{y} ~ age", ground=LEVELS), people()) for y in ("ill", "recur"))
    assert coded.tables["coefficients"] == plain.tables["coefficients"]


def test_settings() -> None:
    with pytest.raises(StudyError, match="family is 'normal'; it must be one of gaussian, binomial, poisson, gamma"):
        Glm("cost ~ age", "normal")
    with pytest.raises(StudyError, match="link is 'sqrt'; for gamma it must be one of inverse, log, identity"):
        Glm("cost ~ age", "gamma", "sqrt")
    for kind in (Linear, Logistic, Poisson, Glm):
        with pytest.raises(StudyError, match="ridge is -1"):
            kind("recur ~ age", ridge=-1).check()


# Values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("analysis", "says"),
    [
        (Logistic("visits ~ age"), "neither 0 nor 1 for"),
        (Logistic("visits ~ age", weights="w"), "outside 0 to 1 for"),
        (Poisson("I(visits - 2) ~ age"), "negative for"),
        (Glm("visits ~ age", "gamma"), "0 or negative for"),
        (Linear("cost ~ nope"), "no column 'nope'"),
        (Linear("cost ~ stage"), "holds text"),
        (Linear("cost ~ age", weights="dose"), "case weights are negative"),
    ],
)
def test_values_that_cannot_be(analysis: Any, says: str) -> None:
    with pytest.raises(DataError) as error:
        run(analysis, people())
    assert says in str(error.value)


def test_infinite_values_and_undeclared_levels() -> None:
    frame = people()
    frame.loc[5, "age"] = np.inf
    with pytest.raises(DataError, match="'age' has 1 infinite values; make them missing or correct them"):
        run(Linear("cost ~ age"), frame)
    frame = people()
    frame["stage"] = "V"
    with pytest.raises(DataError, match="no declared level"):
        run(Linear("cost ~ C(stage)", ground=LEVELS), frame)


def test_everybody_missing() -> None:
    frame = people().assign(age=np.nan)
    for kind in (Linear, Logistic, Poisson):
        with pytest.raises((ModelError, Violation)) as error:
            run(kind("recur ~ age"), frame, Policy(hospitals=0))
        assert "nobody is left" in str(error.value)


def test_people_of_weight_0_are_left_out_and_counted() -> None:
    frame = people()
    frame.loc[:59, "w"] = 0.0
    found = run(Linear("cost ~ age", weights="w"), frame)
    assert found.n == 240
    assert {"step": "left out", "reason": "w is 0", "n": 60} in found.tables["attrition"]
    without = run(Linear("cost ~ age", weights="w"), frame.iloc[60:])
    estimates = ([r["estimate"] for r in f.tables["coefficients"]] for f in (found, without))
    np.testing.assert_allclose(*estimates, rtol=1e-9)


# Terms -------------------------------------------------------------------------------------------------------

KINDS = [
    (Linear, "cost"),
    (Logistic, "recur"),
    (Poisson, "visits"),
    (lambda formula, **more: Glm(formula, "gamma", **more), "cost"),
]


@pytest.mark.parametrize(("kind", "y"), KINDS)
@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ("age + seven", "term 'seven' is constant over all hospitals"),
        ("C(rare)", "[T.IV]' is constant over all hospitals, or as good as: nobody differs in it, none has this level"),
        ("C(only)", "[T.II]' is constant over all hospitals"),
        ("0 + age + zero", "term 'zero' is 0 for everybody"),
        ("age + twice", "term 'twice' is collinear with 'age': leave one of them out"),
        ("age + dose + I(age - 3 * dose)", "is collinear with 'age', 'dose'"),
        ("0 + age + twice + seven", "is collinear with 'age', 'twice'"),
    ],
)
def test_terms_that_say_nothing(kind: Any, y: str, terms: str, says: str) -> None:
    with pytest.raises(ModelError) as error:
        run(kind(f"{y} ~ {terms}", ground=LEVELS), people())
    assert says in str(error.value)


@pytest.mark.parametrize(("kind", "y"), [*KINDS, (Glm, "seven")])
def test_an_outcome_that_is_the_same_for_everybody(kind: Any, y: str) -> None:
    frame = people().assign(**{y: 1.0})
    with pytest.raises(ModelError, match="the outcome is the same for everybody"):
        run(kind(f"{y} ~ age"), frame)


def test_nobody_with_the_outcome() -> None:
    for kind in (Logistic, Poisson):
        with pytest.raises(ModelError, match="the outcome is the same for everybody"):
            run(kind("zero ~ age"), people())


def test_more_terms_than_people() -> None:
    for kind in (Linear, Logistic, Poisson):
        with pytest.raises(ModelError, match="3 people cannot determine 3 coefficients"):
            run(
                kind("recur ~ age + dose"),
                people().iloc[:3],
                Policy(k=1, pairs=0, effective=0, hospitals=1, parameters=9),
            )


def test_terms_that_determine_the_outcome() -> None:
    for model in (Linear("twice ~ age"), Glm("twice ~ age"), Glm("I(age * age) ~ log(age)", "gamma", "log")):
        with pytest.raises(ModelError, match="determine the outcome exactly"):
            run(model, people())


def test_a_mean_that_the_link_does_not_have() -> None:
    with pytest.raises(ModelError, match="has no value"):
        run(Glm("I(age - 90) ~ dose", "gaussian", "log"), people())
    with pytest.raises(ModelError, match="cannot start at the mean outcome"):
        run(Glm("visits ~ dose + offset(100 * years)", "poisson", "identity"), people())


def test_an_offset_too_large_for_its_link() -> None:
    with pytest.raises(ModelError, match="check the offset"):
        run(Poisson("visits ~ dose + offset(1000 * years)"), people())


# Separation --------------------------------------------------------------------------------------------------


def test_a_level_in_which_nobody_or_everybody_has_the_outcome() -> None:
    none = people()
    none.loc[none["stage"] == "II", ["recur", "visits"]] = 0.0
    for model in (Logistic("recur ~ C(stage)", ground=LEVELS), Poisson("visits ~ C(stage)", ground=LEVELS)):
        with pytest.raises(
            ModelError, match=r"'C\(stage\)\[T.II\]' separates the outcome: nobody with .*ridge penalty"
        ):
            run(model, none)
    everybody = people()
    everybody.loc[everybody["stage"] == "II", "recur"] = 1.0
    with pytest.raises(ModelError, match="separates the outcome: everybody with"):
        run(Logistic("recur ~ C(stage)", ground=LEVELS), everybody)
    with pytest.raises(ModelError, match="everybody with 'recur' has it"):
        run(Logistic("recur ~ recur"), people())


def test_the_reference_level_separates() -> None:
    frame = people()
    frame.loc[frame["stage"] == "I", ["recur", "visits"]] = 0.0
    for model in (
        Logistic("recur ~ C(stage) + age", ground=LEVELS),
        Poisson("visits ~ C(stage) + age", ground=LEVELS),
        Glm("recur ~ C(stage) + age", "binomial", "probit", ground=LEVELS),
        Glm("recur ~ C(stage) + age", "binomial", "cloglog", ground=LEVELS),
    ):
        with pytest.raises(ModelError, match=r"separate.*C\(stage\)|C\(stage\).*separate"):
            run(model, frame)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize("weights", ["", "w"])
def test_terms_that_separate_together(link: str, weights: str) -> None:
    frame = people()
    frame["recur"] = (frame["age"] / 10 + frame["dose"] > 6).astype(float)
    with pytest.raises(ModelError, match=r"separate.*ridge penalty"):
        run(Glm("recur ~ age + dose", "binomial", link, weights=weights), frame)


def test_a_wide_gap_separates() -> None:
    frame = people()
    frame["dose"] = np.where(frame["recur"] > 0, 100.0, 0.0) + frame["years"] / 100
    with pytest.raises(ModelError, match=r"separate.*ridge penalty"):
        run(Logistic("recur ~ dose + age"), frame)


def test_a_term_that_separates_within_a_level() -> None:
    frame = people()
    frame["late"] = (frame["stage"] == "III").astype(float)
    frame["recur"] = np.where(frame["late"] > 0, frame["dose"] > 0.2, frame["recur"]).astype(float)
    with pytest.raises(ModelError, match=r"separate.*ridge penalty"):
        run(Logistic("recur ~ late * dose"), frame)


def test_a_ridge_is_the_remedy() -> None:
    frame = people()
    frame.loc[frame["stage"] == "II", "recur"] = 0.0
    found = run(Logistic("recur ~ C(stage)", ridge=1.0, ground=LEVELS), frame)
    assert found.tables["coefficients"][1]["estimate"] < -2
    assert "tests" not in found.tables


# The gate and the finding ------------------------------------------------------------------------------------


def test_a_few_people_with_the_outcome_are_the_gates_to_refuse() -> None:
    frame = people().assign(recur=0.0)
    frame.loc[:4, "recur"] = 1.0
    for kind in (Linear, Logistic, Poisson):
        with pytest.raises(Violation, match="one side"):
            run(kind("recur ~ age"), frame)
    with pytest.raises(Violation, match="offset"):
        run(Poisson("visits ~ age + offset(recur)"), frame)


def test_warnings() -> None:
    frame = people().assign(recur=0.0)
    frame.loc[:24, "recur"] = 1.0
    (few,) = run(Logistic("recur ~ age + dose + years"), frame).warnings
    assert few.code == "few-events"
    assert few.text.startswith("25 people have the rarer outcome, for 3 terms: fewer than 10 per term")
    (wide,) = run(Poisson("I(visits * 10) ~ age"), people()).warnings
    assert wide.code == "overdispersion"
    assert "times as much as the model says" in wide.text
    assert not run(Poisson("I(visits * 10) ~ age", robust=True), people()).warnings


@pytest.mark.parametrize(("kind", "y"), KINDS)
@pytest.mark.parametrize("terms", ["1", "age", "0 + age", "C(stage) + dose"])
def test_no_table_has_a_nan(kind: Any, y: str, terms: str) -> None:
    found = run(kind(f"{y} ~ {terms}", robust=True, ground=LEVELS), people())
    numbers = [v for rows in found.tables.values() for row in rows for v in row.values() if isinstance(v, float)]
    numbers += [v for v in found.facts.values() if isinstance(v, float)]
    assert numbers
    assert all(math.isfinite(v) for v in numbers)
    if not terms.startswith("0"):
        assert found.tables["coefficients"][0]["term"] == "Intercept"
