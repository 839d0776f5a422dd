"""Of each person of a cohort: how far, which rules by themselves, from when to when; held against `ohdsi-circepy`'s own
sequence of stages, and against definitions of one rule."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("circe")

from circe.execution import build_cohort

from cohorts.definitions import DEFINITION, HBA1C, PERCENT, rule, within
from cohorts.reference import rows_of
from cohorts.world import world, written
from confrere.data.circe import _Stages, cohort, expression
from confrere.data.omop import Cdm, opened
from confrere.study.circe import definition

SEEDS = (1, 2, 3)


@dataclass(eq=False)
class Noting(_Stages):
    """A backend that notes at each of circepy's stages who is left: after entry, rule 1, rule 2, ..."""

    people: list[set[int]] = field(default_factory=list)

    def create_table(self, name: str, obj: Any, **settings: Any) -> None:
        super().create_table(name, obj, **settings)
        if name.endswith(("qualified", "included")):
            self.people.append(set(self.made[name].person_id.to_pyarrow().to_pylist()))


def stages(cdm: Cdm, text: str) -> tuple[list[Any], dict[int, int]]:
    """circepy's own execution: rows, and how many steps each person passes."""
    noting = Noting(cdm)
    made = build_cohort(expression(text), backend=cast(Any, noting), cdm_schema="cdm", session_prefix="cf_")
    rows = rows_of(made.select(subject_id="person_id", cohort_start_date="start_date", cohort_end_date="end_date"))
    left = [*noting.people[: len(definition(text).rules) + 1], {row[0] for row in rows}]
    everybody = cdm.table("person").person_id.to_pyarrow().to_pylist()
    return rows, {p: max((step for step, who in enumerate(left, 1) if p in who), default=0) for p in everybody}


def judged(cdm: Cdm, text: str) -> Any:
    """Of everybody with an entry event: how far, which rules, from when to when."""
    return cohort(cdm, text).people


def changed(**changes: Any) -> str:
    """Our definition, with other limits."""
    made = copy.deepcopy(DEFINITION)
    for key, value in changes.items():
        (made["PrimaryCriteria"] if key in made["PrimaryCriteria"] else made)[key] = value
    return json.dumps(made)


LIMITED = changed(PrimaryCriteriaLimit={"Type": "First"})
VARIED = {
    "several entry events": changed(),
    "the first entry event": LIMITED,
    "all events in the cohort": changed(ExpressionLimit={"Type": "All"}, CensoringCriteria=[]),
    "the last event": changed(ExpressionLimit={"Type": "Last"}),
    "no rules": changed(InclusionRules=[]),
    "cut off": changed(CensorWindow={"StartDate": "2008-01-01", "EndDate": "2010-01-01"}),
    "continuous exposure": changed(EndStrategy={"CustomEra": {"DrugCodesetId": 1, "GapDays": 30, "Offset": 0}}),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_and_steps_are_those_of_circepys_stages(tmp_path: Path, seed: int) -> None:
    with opened(written(world(DEFINITION, people=300, seed=seed), tmp_path)) as cdm:
        for name, text in VARIED.items():
            made = cohort(cdm, text)
            rows, reached = stages(cdm, text)
            found = made.reached.to_pyarrow().to_pylist()
            assert rows_of(made.rows) == rows, name
            assert {r["person_id"]: r["reached"] for r in found} == reached, name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rule_alone_is_a_definition_with_that_rule_only(tmp_path: Path, seed: int) -> None:
    """Where a person has one entry event; of several, the best one counts."""
    whole = json.loads(LIMITED)
    with opened(written(world(DEFINITION, people=300, seed=seed), tmp_path)) as cdm:
        frame = judged(cdm, LIMITED).to_pyarrow().to_pandas()
        for j, one in enumerate(whole["InclusionRules"], 1):
            alone = json.dumps(whole | {"InclusionRules": [one]})
            passing = judged(cdm, alone).to_pyarrow().to_pandas().query("reached >= 2")
            assert set(frame[frame[f"rule_{j}"] == 1]["person_id"]) == set(passing["person_id"])
            assert len(passing)


def test_days_are_those_of_the_first_row(tmp_path: Path) -> None:
    text = VARIED["all events in the cohort"]
    with opened(written(world(DEFINITION, people=300, seed=2), tmp_path)) as cdm:
        made = cohort(cdm, text)
        frame, rows = made.people.to_pyarrow().to_pandas(), made.rows.to_pyarrow().to_pandas()
    first = rows.sort_values("cohort_start_date").groupby("subject_id").first()
    inside = frame[frame["reached"] == len(definition(text).steps)].set_index("person_id")
    assert inside["start"].to_dict() == first["cohort_start_date"].to_dict()
    assert inside["end"].to_dict() == first["cohort_end_date"].to_dict()
    assert frame[~frame["person_id"].isin(first.index)][["start", "end"]].isna().all().all()


def hba1c(who: int, date: str, value: float | None, unit: int = PERCENT) -> dict[str, Any]:
    """A measurement."""
    return {"person_id": who, "measurement_concept_id": HBA1C, "measurement_date": date, "value_as_number": value,
            "unit_concept_id": unit}  # fmt: skip


def test_a_measurement_that_was_not_made_is_unknown(tmp_path: Path) -> None:
    """Entry on 2010-06-01 for all; the rule asks for HbA1c over 7 % in the 30 days before."""
    day = "2010-06-01"
    measured = [
        hba1c(1, "2010-05-02", 8.0), hba1c(2, "2010-05-02", 6.0), hba1c(3, "2010-05-01", 8.0), hba1c(4, day, None),
        hba1c(5, day, 8.0, unit=1), hba1c(6, day, 6.0), hba1c(6, "2010-05-20", None), hba1c(6, "2010-05-21", 9.0),
    ]  # fmt: skip
    who = np.arange(1, 8)
    tables = {
        "person": pd.DataFrame({"person_id": who, "gender_concept_id": 8507, "year_of_birth": 1950}),
        "observation_period": pd.DataFrame({"person_id": who, "observation_period_start_date": "2009-01-01",
                                            "observation_period_end_date": "2012-01-01"}),
        "condition_occurrence": pd.DataFrame({"condition_occurrence_id": who, "person_id": who,
                                              "condition_concept_id": 201826, "condition_start_date": day}),
        "measurement": pd.DataFrame(measured).assign(measurement_id=range(len(measured))),
    }  # fmt: skip
    asked: dict[str, Any] = {"CodesetId": 2, "ValueAsNumber": {"Value": 7, "Op": "gt"}}
    criterion = {"Measurement": asked | {"Unit": [{"CONCEPT_ID": PERCENT}]}}
    made = DEFINITION | {"InclusionRules": [
        rule("over 7", within(criterion, 30, 0)), rule("never over 7", within(criterion, 30, 0, kind=0, count=0)),
        rule("measured", within({"Measurement": {"CodesetId": 2}}, 30, 0)),
        rule("twice", within(criterion, 30, 0, count=2)),
    ]}  # fmt: skip
    with opened(written(tables, tmp_path)) as cdm:
        rows = judged(cdm, json.dumps(made)).order_by("person_id").to_pyarrow().to_pylist()
    # 1 high on the first day of the window; 2 low; 3 a day too early; 4 without a value; 5 in another unit; 7 never
    assert [r["rule_1"] for r in rows] == [1, 0, None, None, None, 1, None]
    assert [r["rule_2"] for r in rows] == [0, 1, 1, 1, 1, 0, 1]  # Circe: what was not measured was never over 7
    assert [r["rule_3"] for r in rows] == [1, 1, 0, 1, 1, 1, 0]
    assert [r["rule_4"] for r in rows] == [0, 0, None, None, None, 0, None]
    assert [r["reached"] for r in rows] == [2, 1, 1, 1, 1, 2, 1]
    assert {str(r["entry"]) for r in rows} == {day}


def test_the_columns_of_a_definition_are_its_own() -> None:
    one, other = definition(LIMITED), definition(VARIED["no rules"])
    mine = {one.column, one.start, one.end, one.entry, one.rule(1), one.rule(2)}
    assert len(mine) == 6
    assert not mine & {other.column, other.start, other.end, other.entry, other.rule(1), other.rule(2)}
