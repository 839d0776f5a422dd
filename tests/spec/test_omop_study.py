"""What a study file says of OMOP records: cohorts, features and outcomes, their columns, their errors, their hash."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.cohort import Cohort
from confrere.data.dummy import dummy, wishes_for
from confrere.errors import Refused, StudyError, UserError
from confrere.hospital.manifest import manifest
from confrere.hospital.populations import Here, cohorts_of
from confrere.study import build
from confrere.study.file import Study, parse
from confrere.study.ground import LEFT, complete, left_out
from confrere.study.write import written
from confrere.testing.runs import LOOSE, apart, fit, table

STUDY = """
[study]
id = "drugs"
purpose = "a test"
[data]
table = "omop"
target = "one"
comparator = "other"
[concepts.one]
include = [1]
[concepts.other]
include = ["RxNorm:2"]
[cohorts.one]
entry = { drug = "one", first = true }
criteria = [ { name = "adults", age = [18, 120] } ]
[cohorts.other]
entry = { drug = "other", first = true }
from = 2015-01-01
[cohorts.bleeding]
entry = { condition = [3] }
events = "all"
exit = { after = 0 }
[features.age]
is = "age"
[features.sex]
is = "sex"
[features.ill]
condition = [4]
before = 365
[features.class]
drug = ["ATC:M01A", "one"]
each = true
[outcomes.bleed]
cohort = "bleeding"
until = 365
[[analysis]]
name = "users"
method = "cohort"
cohort = "one"
[[analysis]]
name = "hazard"
method = "cox"
formula = "Surv(bleed_time, bleed) ~ treated + age + sex + ill + class_ATC_M01A"
"""


def test_a_study_is_read_and_written() -> None:
    study = parse(STUDY)
    assert study.omop is not None
    assert study.omop.columns == ("treated", "age", "sex", "ill", "class_ATC_M01A", "class_one", "bleed", "bleed_time")
    assert parse(written(study)).hash == study.hash
    assert study.schema.levels("sex") == ("female", "male")
    assert study.ground.complete == (LEFT,)
    assert [name for name, _ in study.ground.cohorts] == ["one", "other", "bleeding"]
    assert study.ground.reasons == (
        "no entry event", "one: fails 'adults'", "one: cut off by its censoring", "other: cut off by its censoring",
        "in both cohorts from the same day", "bleed before the time at risk", "no time at risk of bleed",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[18, 120]", "[19, 120]"), ("include = [1]", "include = [5]"), ("before = 365", "before = 180"),
        ("until = 365", "until = 366"), ('comparator = "other"\n', ""), ("2015-01-01", "2015-01-02"),
    ],
)  # fmt: skip
def test_what_is_said_is_in_the_hash(old: str, new: str) -> None:
    assert parse(STUDY.replace(old, new).replace(" treated +", "")).hash != parse(STUDY.replace(" treated +", "")).hash


def test_a_study_of_one_table_has_the_hash_that_it_had() -> None:
    assert "omop" not in parse(STUDY[: STUDY.index("target")] + "[[analysis]]\n" + LINEAR).to_dict()


LINEAR = 'name = "a"\nmethod = "linear"\nformula = "y ~ x"\n'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('target = "one"', 'target = "oen"', "line 7: [data] target: 'oen' is no name of [cohorts]"),
        ('comparator = "other"', 'comparator = "one"', "[data] comparator: is the target itself"),
        ('target = "one"\n', "", "[data] target: [features] needs a target"),
        ("include = [1]", "includes = [1]", "[concepts.one]"),
        ('entry = { drug = "one", first = true }', "circe = 3", "[cohorts.one] circe: is Circe JSON, as text"),
        ('entry = { drug = "one", first = true }\n', "", "line 13: [cohorts.one] entry: say by which event"),
        ('is = "age"', 'is = "aeg"', "line 24: [features.age] is: 'aeg' is not known; did you mean 'age'?"),
        ('is = "age"', 'is = "age"\nbefore = 3', "before: does not go with is = 'age'"),
        ("condition = [4]", 'condition = "nine"', "'nine' is no name of [concepts]"),
        ("condition = [4]", "condition = []", "give a name of [concepts], or a list"),
        ("condition = [4]", "conditon = [4]", "conditon: is no key here; did you mean 'condition'?"),
        ("condition = [4]", "condition = [4]\ndrug = [4]", "give one of is, condition"),
        ("before = 365", "before = -1", "-1 must be 0 to 40000 days"),
        ("before = 365", "before = 365\nafter = 5", "line 30: [features.ill] after: 5: what happens after"),
        ("before = 365", "before = 1\nafter = -3", "the window would end before it begins"),
        ("before = 365", 'before = 365\nvalue = "last"', "value: 'last' is not known"),
        ("before = 365", 'before = 365\nunit = "UCUM:%"', "a unit goes with a value of a measurement"),
        ("condition = [4]", 'measurement = [4]\nvalue = "last"\nconvert = { "1" = 2 }', "say first in which unit"),
        ("each = true", "each = false", "'one' is a name of [concepts]; list codes alone, or say each = true"),
        ('cohort = "bleeding"', 'cohort = "bleding"', "did you mean 'bleeding'?"),
        ('cohort = "bleeding"', 'cohort = "bleeding"\ncohorts = ["one"]', "give one of cohort and cohorts"),
        ('cohort = "bleeding"', 'cohorts = ["bleeding", "bleeding"]', "must be two names or more, each once"),
        ('cohort = "bleeding"', 'cohorts = ["bleeding", "oen"]', "[outcomes.bleed] cohorts: 'oen' is no name"),
        ('cohort = "bleeding"', 'cohorts = "bleeding"', "cohorts: must be a list of names of [cohorts]"),
        ("condition = [4]", 'together = ["one"]', "[features.ill] together: give two drugs"),
        ("condition = [4]", 'together = ["one", 7]\nvalue = "count"', "value: does not go with together"),
        ("until = 365", "until = 0", "0 must be 1 (from) to 40000"),
        ("until = 365", 'until = 365\nprior = "drop"', "'drop' must be 'leave out' or 'keep'"),
        ("until = 365", "until = true", "must be days, a whole number"),
        ("[features.age]", "[features.treated]", "'treated' is the name of another column already"),
        ('cohort = "one"', 'cohort = "two"', "'two' is no name of [cohorts]"),
        ('cohort = "one"', "", "give one of definition"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, said: str) -> None:
    assert old in STUDY
    with pytest.raises(StudyError) as error:
        build.analyses(parse(STUDY.replace(old, new, 1)))
    assert said in str(error.value)


def people(n: int = 300, seed: int = 1) -> pd.DataFrame:
    """Everybody of some hospitals as the study has them; two in five for one of its reasons not of it."""
    rng = np.random.default_rng(seed)
    frame = dummy(list(parse(STUDY).omop.columns), parse(STUDY).schema, wishes_for(parse(STUDY).omop),  # type: ignore[union-attr]
                  parse(STUDY).ground, seed=seed).frame[:n]  # fmt: skip
    left = np.where(rng.random(n) < 0.6, 0, rng.choice([1, 2, 5, 6], n))
    frame.loc[left > 0] = np.nan
    made = parse(STUDY).omop.cohort("one")  # type: ignore[union-attr]
    return frame.assign(**{LEFT: left.astype(float), made.column: np.where(left == 1, 0.0, 3.0)})


def test_attrition_has_the_reasons_of_the_study() -> None:
    study = parse(STUDY)
    results = cf.local({str(i): people(seed=i) for i in range(3)}).run(study)
    rows = {r["reason"]: r["n"] for r in results["hazard"].tables["attrition"] if r.get("reason")}
    code = np.concatenate([people(seed=i)[LEFT] for i in range(3)])
    for number in (1, 2, 5, 6):
        assert rows[study.ground.reasons[number - 1]] == (code == number).sum()
    assert results["users"].n == len(code)  # counted over everybody
    assert results["hazard"].n == (code == 0).sum()


def test_who_is_left_out_is_counted_once() -> None:
    study = parse(STUDY)
    made = table(people())
    made = type(made)(made.frame, made.n_read, {}, {}, "test", reasons=study.ground.reasons)
    rows = complete(made.frame, (LEFT, "age"))
    counts = left_out(made, ("age", LEFT), rows)
    assert sum(counts.values()) == (~rows).sum()
    assert counts["missing age"] == 0


def test_the_target_is_the_same_people_for_every_analysis() -> None:
    """Who is a few people fewer in one analysis is so in all, and in none who was not in the target."""
    frame = people(600)
    inside = np.flatnonzero(frame[LEFT] == 0)
    frame.loc[inside[:4], "age"] = np.nan
    text = STUDY + '[[analysis]]\nname = "rough"\nmethod = "cox"\nformula = "Surv(bleed_time, bleed) ~ treated"\n'
    results = cf.local({str(i): frame[i::3] for i in range(3)}).run(parse(text))
    assert results["rough"].n == results["hazard"].n == len(inside) - 4
    assert "People who miss age, class_ATC_M01A, ill, sex are left out" in " ".join(results["rough"].notes)


def test_the_manifest_names_tables() -> None:
    listed = manifest(parse(STUDY))
    assert listed.columns == ("condition_occurrence", "death", "drug_exposure", "observation_period", "person")
    assert not listed.unreached


def test_the_cohort_of_an_analysis_is_the_studys_or_its_own() -> None:
    study = parse(STUDY)
    users, hazard = build.analyses(study)
    assert users.cohorts == (study.ground.cohort("one"),)  # type: ignore[attr-defined]
    assert users.ground.complete == ()  # type: ignore[attr-defined]
    assert hazard.ground.cohorts == ()  # type: ignore[attr-defined]
    with pytest.raises(StudyError, match="give one of"):
        Cohort("{}", "one").check()


def test_definitions_of_cohorts_know_what_columns_are_made_of() -> None:
    """A feature of another window is another column, whatever its name; the same under another name is the same."""

    def definitions(text: str) -> list[str]:
        study = parse(text)
        made = table(people())
        here = Here("h", ("g", "h", "i"), "cut", 11, tuple(map(str, range(len(made.frame)))))
        built = [a for a in build.analyses(study) if not hasattr(a, "cohorts")]
        one = Study(**{**vars(study), "analyses": study.analyses[1:]})
        return [c.definition for c in cohorts_of(one, built, made, here)]

    def only(text: str) -> str:
        return re.sub(r'~.*"', '~ ill + I(age > 60)"', text)

    text = only(STUDY)
    assert definitions(text) == definitions(text.replace("[features.class]", "[features.kind]"))
    assert definitions(text) != definitions(text.replace("[18, 120]", "[19, 120]"))


def test_from_python() -> None:
    hospitals = cf.local(
        {name: f"no such folder {name}" for name in "abc"},
        records={
            "target": "one", "concepts": {"one": {"include": [1]}}, "cohorts": {"one": {"entry": {"drug": "one"}}},
            "features": {"age": {"is": "age"}, "ill": {"condition": [4]}},
        },
    )  # fmt: skip
    with pytest.raises(UserError, match="there is no such file or folder"):
        hospitals.run(cf.Logistic("ill ~ age"))
    with pytest.raises(StudyError, match=r"records: 'cohort' is no key here; did you mean 'cohorts'"):
        cf.local({}, records={"cohort": {}})
    with pytest.raises(StudyError, match=r"records\['features'\]\['x'\]\['is'\]: 'aeg' is not known"):
        cf.local(
            {},
            records={"target": "one", "cohorts": {"one": {"entry": {"drug": [1]}}}, "features": {"x": {"is": "aeg"}}},
        )
    with pytest.raises(StudyError, match="takes no time_setp; did you mean 'time_step'"):
        cf.local({}, time_setp=30)  # type: ignore[call-arg]


def test_any_deal_of_the_people_gives_the_same_finding() -> None:
    text = (
        STUDY[: STUDY.index('name = "hazard"')] + 'name = "h"\nmethod = "logistic"\nformula = "ill ~ treated + age"\n'
    )
    (_, model), frame = build.analyses(parse(text)), people(450)
    one = fit(model, [frame[i::3] for i in range(3)], LOOSE)
    other = fit(model, [frame[:10], frame[10:200], frame[200:]], LOOSE)
    assert one.n == (frame[LEFT] == 0).sum()
    assert apart(one, other, 1e-9) == []


@pytest.mark.parametrize("few", [3, 40])
def test_a_funnel_of_the_target_tells_of_nobody_by_subtraction(few: int) -> None:
    """All who pass the last step, less those analysed, are the few who bled before: told of 11 or more alone."""
    text = (
        STUDY.replace('comparator = "other"\n', "")
        .replace(" treated +", "")
        .replace(" + sex + ill + class_ATC_M01A", "")
    )
    study, frame = parse(text), people(600)
    before = study.ground.reasons.index("bleed before the time at risk") + 1
    inside = np.flatnonzero(frame[LEFT] == 0)
    frame[LEFT] = np.where(frame[LEFT] == 0, 0.0, 1.0)
    frame[Cohort(cohort="one", ground=study.ground).counts.column] = np.where(frame[LEFT] == 0, 3.0, 0.0)
    frame.loc[inside[:few], LEFT] = before
    hospitals = cf.local({str(i): frame[i::3] for i in range(3)})
    if few < 11:
        with pytest.raises(Refused, match="fewer than 11 people"):
            hospitals.run(study)
        return
    results = hospitals.run(study)
    funnel = [row["n"] for row in results["users"].tables["funnel"]]
    assert funnel[-1] - results["hazard"].n == few
