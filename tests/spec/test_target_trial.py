"""The target trial in a study file: what it must say, what is refused, what a reader is warned of."""

from __future__ import annotations

import dataclasses
import json

import pytest

from confrere.analyses.finding import Finding
from confrere.analyses.target_trial import cautioned, cautions
from confrere.errors import StudyError
from confrere.study.circe import definition
from confrere.study.file import Study, parse
from confrere.study.target_trial import ahead
from confrere.study.write import written

TRIAL = """
[target_trial]
eligibility = "women with a primary breast cancer"
strategies = ["no hormonal therapy", "hormonal therapy"]
time_zero = "primary surgery"
follow_up = 3652
outcome = "recurrence"
estimand = "ATO"
contrast = "intention to treat"
assumptions = ["every common cause is among the confounders"]
"""
EFFECT = """
[[analysis]]
name = "one"
method = "effect"
treatment = "hormon"
outcome = "recur"
confounders = "age + nodes"
estimand = "ATO"
"""
PLAIN = '[study]\nid = "s"\npurpose = "research"\n[data]\n' + TRIAL + EFFECT
OMOP = """
[study]
id = "s"
purpose = "research"
[data]
table = "omop"
target = "a"
comparator = "b"
[concepts]
drug = { include = [1] }
other = { include = [2] }
[cohorts.a]
entry = { drug = "drug", first = true }
[cohorts.b]
entry = { drug = "other", first = true }
[cohorts.bleeding]
entry = { condition = [192671] }
[features]
age = { is = "age" }
ulcer = { condition = [4027663], before = 365 }
later = { condition = [4027663], after = 30, after_index = true }
[outcomes.bleed]
cohort = "bleeding"
until = 365
"""
OMOP += TRIAL + EFFECT.replace("hormon", "treated").replace('"recur"', '"bleed"').replace("age + nodes", "age + ulcer")


def codes(study: Study) -> list[str]:
    return [caution.code for caution in cautions(study)]


def test_a_study_keeps_its_trial() -> None:
    study = parse(PLAIN)
    assert study.target_trial is not None
    assert study.target_trial.strategies == ("no hormonal therapy", "hormonal therapy")
    again = parse(written(study))
    assert again == study
    assert again.hash == study.hash


def test_the_hash_is_that_of_before_where_a_study_has_no_trial() -> None:
    without = parse(PLAIN.replace(TRIAL, ""))
    assert "target_trial" not in without.to_dict()
    assert without.hash != parse(PLAIN).hash
    other = parse(PLAIN.replace('"primary surgery"', '"first visit"'))
    assert other.hash != parse(PLAIN).hash


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('time_zero = "primary surgery"\n', "", "time_zero is missing"),
        ("time_zero =", "time_zeros =", "did you mean 'time_zero'"),
        ("follow_up = 3652", "follow_up = 0", "must be above 0"),
        ("follow_up = 3652", 'follow_up = "ten years"', "wrong type"),
        ('estimand = "ATO"\ncontrast', 'estimand = "all"\ncontrast', "it is one of ATE, ATT, ATO, ATM"),
        ('"intention to treat"', '"as treated"', "one of intention to treat, per protocol"),
        ('"no hormonal therapy", "hormonal therapy"', '"a", "a"', "two are the same"),
        ('"no hormonal therapy", "hormonal therapy"', '"a"', "names 1; name two"),
        ('"no hormonal therapy", "hormonal therapy"', '"a", "b", "c"', "names 3; name two"),
        ('"no hormonal therapy", "hormonal therapy"', '"a", 2', "wrong type"),
        ('"no hormonal therapy", "hormonal therapy"', '"a", "b", "c", "d"', "'one', .* has one treatment"),
        ('"every common cause is among the confounders"', "", "is empty"),
        ('"primary surgery"', '" "', "is empty"),
        (EFFECT, '[[analysis]]\nname = "one"\nmethod = "describe"\nvariables = ["age"]\n', "no analysis emulates it"),
        ('estimand = "ATO"\ncontrast', 'estimand = "ATT"\ncontrast', "is ATT, that of 'one'"),
        ('outcome = "recur"\n', 'outcome = "Surv(t, recur)"\ntimes = [5000]\n', "asks for the time 5000"),
        ('outcome = "recur"\n', 'outcome = "Surv(t, recur)"\ntimes = 5000\n', "asks for the time 5000"),
        ('outcome = "recur"\n', 'outcome = "Surv(t, recur)"\ntau = 4000\n', "asks for the time 4000"),
    ],
)
def test_what_a_trial_must_say(old: str, new: str, said: str) -> None:
    assert old in PLAIN
    with pytest.raises(StudyError, match=said) as error:
        parse(PLAIN.replace(old, new))
    assert "target_trial" in str(error.value)


def test_a_trial_is_a_table() -> None:
    with pytest.raises(StudyError, match="in single brackets"):
        parse(PLAIN.replace("[target_trial]", "[[target_trial]]"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('treatment = "treated"', 'treatment = "later"', "immortal time"),
        ('treatment = "treated"', 'treatment = "bleed_time"', "immortal time"),
        ('"age + ulcer"', '"age + later"', "may be a consequence of the treatment"),
        ('"age + ulcer"', '"age + bleed_time"', "may be a consequence of the treatment"),
        ("follow_up = 3652", "follow_up = 300", "write until = 300"),
        ("until = 365\n", "", "has no end"),
        ('"women with a primary breast cancer"', '"bleeding"', "a cohort that the analyses are not about"),
    ],
)
def test_no_immortal_time_and_no_covariate_after_the_index(old: str, new: str, said: str) -> None:
    assert old in OMOP
    with pytest.raises(StudyError, match=said):
        parse(OMOP.replace(old, new))


FOUR = '["neither", "hormones alone", "chemotherapy alone", "both"]'
PAIR = """
[[analysis]]
name = "one"
method = "interaction"
first = "hormon"
second = "chemo"
outcome = "Surv(t, recur)"
confounders = "age + nodes"
times = [1826]
"""


def factorial(text: str, effect: str, pair: str = PAIR) -> str:
    """A study of a trial of two treatments, in place of one."""
    text = text.replace('["no hormonal therapy", "hormonal therapy"]', FOUR)
    return text.replace('"ATO"', '"ATE"', 1).replace(effect, pair)


def test_a_trial_of_two_treatments_has_four_strategies() -> None:
    study = parse(factorial(PLAIN, EFFECT))
    assert study.target_trial is not None
    assert study.target_trial.factorial
    assert parse(written(study)) == study
    assert codes(study) == ["unchecked-time-zero"]
    found = cautioned(study, {"one": Finding("interaction", 10, 3, {})})
    assert [w.code for w in found["one"].warnings] == ["unchecked-time-zero"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (FOUR, '["a", "b"]', "has two treatments: name four, with neither, hormon alone, with chemo alone"),
        (FOUR, '["a", "b", "c", "b"]', "two are the same"),
        ('"ATE"', '"ATT"', "is ATE; ask for the other one here"),
        ("[1826]", "[5000]", "asks for the time 5000"),
        ("times = [1826]", "tau = 5000", "asks for the time 5000"),
    ],
)
def test_what_a_trial_of_two_treatments_must_say(old: str, new: str, said: str) -> None:
    text = factorial(PLAIN, EFFECT)
    assert old in text
    with pytest.raises(StudyError, match=said):
        parse(text.replace(old, new))


def test_a_main_effect_may_stand_beside_the_pair() -> None:
    """The first analysis decides how many strategies there are; those of one treatment are about the same trial."""
    also = EFFECT.replace('"one"', '"alone"')
    study = parse(factorial(PLAIN, EFFECT, PAIR + also))
    assert codes(study) == ["unchecked-time-zero", "other-estimand"]
    with pytest.raises(StudyError, match="'alone', the first analysis of an effect, has one treatment"):
        parse(factorial(PLAIN, EFFECT, also.replace('"ATO"', '"ATE"') + PAIR))
    regression = PAIR.replace("times = [1826]", 'estimator = "regression"')
    assert codes(parse(factorial(PLAIN, EFFECT, regression))) == ["unchecked-time-zero"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('second = "ulcer"', 'second = "later"', "the treatment 'later' .*immortal time"),
        ('first = "treated"', 'first = "bleed"', "the treatment 'bleed' .*immortal time"),
        ('confounders = "age"', 'confounders = "age + later"', "may be a consequence of the treatment"),
        ('confounders = "age"', 'confounders = "age + bleed_time"', "may be a consequence of the treatment"),
        ("until = 365\n", "", "has no end"),
    ],
)
def test_neither_treatment_may_be_told_by_what_comes_later(old: str, new: str, said: str) -> None:
    pair = PAIR.replace("hormon", "treated").replace("chemo", "ulcer").replace("age + nodes", "age")
    pair = pair.replace("Surv(t, recur)", "bleed").replace("times = [1826]", "")
    effect = EFFECT.replace("hormon", "treated").replace('"recur"', '"bleed"').replace("age + nodes", "age + ulcer")
    text = factorial(OMOP, effect, pair)
    assert parse(text).target_trial is not None
    assert old in text
    with pytest.raises(StudyError, match=said):
        parse(text.replace(old, new))


def test_a_wrong_formula_is_told_by_its_analysis() -> None:
    assert parse(OMOP.replace('"age + ulcer"', '"age + system(1)"')).target_trial is not None


def test_who_must_be_warned() -> None:
    assert codes(parse(OMOP)) == []
    assert codes(parse(PLAIN)) == ["unchecked-time-zero"]
    assert codes(parse(PLAIN.replace(TRIAL, ""))) == []
    assert codes(parse(OMOP.replace("until = 365", "from = 30\nuntil = 365"))) == ["immortal-time"]
    looking = 'criteria = [{ name = "again", drug = "drug", before = 0, after = 90 }]\n[cohorts.b]'
    study = parse(OMOP.replace("[cohorts.b]", looking))
    assert codes(study) == ["immortal-time"]
    assert "a: again" in next(cautions(study)).text


def test_what_is_asked_and_what_is_answered_may_differ() -> None:
    assert codes(parse(OMOP.replace("intention to treat", "per protocol"))) == ["per-protocol"]
    second = EFFECT.replace('"one"', '"two"').replace("recur", "bleed").replace("hormon", "treated")
    second = second.replace("age + nodes", "age + ulcer").replace("ATO", "ATE")
    study = parse(OMOP + second)
    assert codes(study) == ["other-estimand"]
    assert "'two' (ATE)" in next(cautions(study)).text


STARTS = """
[[analysis]]
name = "one"
method = "METHOD"
outcome = "Surv(t, recur)"
started = "began"
SETTINGS
confounders = "age + nodes"
times = [1000]
"""
TRIALS = STARTS.replace("METHOD", "sequential_trials").replace("SETTINGS", "periods = [90, 180]")
GRACE = STARTS.replace("METHOD", "clone_censor_weight").replace("SETTINGS", "grace = 90")
YEARS = """
[[analysis]]
name = "one"
method = "difference_in_differences"
outcomes = ["before", "after"]
periods = [2019, 2020]
treated_from = "began"
"""


def emulated(analysis: str, estimand: str, contrast: str = "intention to treat") -> Study:
    """The study of a trial by an analysis."""
    trial = TRIAL.replace('"ATO"', f'"{estimand}"').replace("intention to treat", contrast)
    return parse(PLAIN.replace(EFFECT, analysis).replace(TRIAL, trial))


@pytest.mark.parametrize(("analysis", "estimand"), [(TRIALS, "ATE"), (YEARS, "ATT")])
def test_trials_of_treatments_that_start_later(analysis: str, estimand: str) -> None:
    """Started later or not, they are of assignment; each method has an estimand of its own."""
    assert codes(emulated(analysis, estimand)) == ["unchecked-time-zero"]
    assert codes(emulated(analysis, estimand, "per protocol")) == ["unchecked-time-zero", "per-protocol"]
    with pytest.raises(StudyError, match=f"first analysis of an effect, is {estimand}"):
        emulated(analysis, "ATM")


def test_strategies_with_a_grace_period_are_per_protocol() -> None:
    assert codes(emulated(GRACE, "ATE", "per protocol")) == ["unchecked-time-zero"]
    with pytest.raises(StudyError, match="censors whoever leaves a strategy"):
        emulated(GRACE, "ATE")
    with pytest.raises(StudyError, match="asks for the time 5000"):
        emulated(GRACE.replace("1000", "5000"), "ATE", "per protocol")


def test_sequential_trials_may_be_per_protocol() -> None:
    keeping = TRIALS.replace("periods = [90, 180]", 'periods = [90, 180, 1200]\ncontrast = "per protocol"')
    assert codes(emulated(keeping, "ATE", "per protocol")) == ["unchecked-time-zero"]
    with pytest.raises(StudyError, match="censors whoever leaves a strategy"):
        emulated(keeping, "ATE")


def test_results_of_the_emulating_analyses_carry_the_cautions() -> None:
    study = parse(PLAIN + '[[analysis]]\nname = "who"\nmethod = "describe"\nvariables = ["age"]\n')
    found = {name: Finding("effect", 10, 3, {}) for name in ("one", "who")}
    said = cautioned(study, found)
    assert [w.code for w in said["one"].warnings] == ["unchecked-time-zero"]
    assert said["who"] == found["who"]
    assert cautioned(dataclasses.replace(study, target_trial=None), found) == found


def circe(**more: object) -> str:
    entry = {"CriteriaList": [{"DrugExposure": {}}], "ObservationWindow": {"PriorDays": 0, "PostDays": 0}}
    return json.dumps({"PrimaryCriteria": entry, **more})


def group(days: int | None, coefficient: int, side: str = "StartWindow") -> dict[str, object]:
    end = {"Coeff": coefficient} | ({} if days is None else {"Days": days})
    window = {side: {"Start": {"Days": 365, "Coeff": -1}, "End": end}}
    return {"Type": "ALL", "CriteriaList": [window | {"Criteria": {"DrugExposure": {}}}], "Groups": []}


def test_definitions_that_look_ahead() -> None:
    rules = [{"name": n, "expression": e} for n, e in (
        ("before", group(1, -1)), ("same day", group(0, 1)), ("later", group(1, 1)), ("ever after", group(None, 1)),
        ("ends later", group(30, 1, "EndWindow")), ("nested", {"Groups": [group(1, 1)]}),
    )]  # fmt: skip
    assert ahead(definition(circe(InclusionRules=rules))) == ["later", "ever after", "ends later", "nested"]
    assert ahead(definition(circe())) == []
    assert ahead(definition(circe(AdditionalCriteria=group(5, 1)))) == ["entry event"]
    kept = {"CriteriaList": [{"DrugExposure": {}}], "ObservationWindow": {"PriorDays": 0, "PostDays": 90}}
    assert ahead(definition(json.dumps({"PrimaryCriteria": kept}))) == ["entry event"]
    inner = {"CriteriaList": [{"DrugExposure": {"CorrelatedCriteria": group(7, 1)}}]}
    assert ahead(definition(json.dumps({"PrimaryCriteria": inner}))) == ["entry event"]
