"""The table of people that a study makes of OMOP records: held against SQL of ours, and DuckDB against PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("circe")

import postgres
from cohorts.clinic import BLEED, MMOL, ONE, OTHER, PERCENT, STUDY, SUGAR, clinic, day
from cohorts.world import written
from confrere.data.people import people
from confrere.data.table import Table
from confrere.errors import DataError
from confrere.study import build
from confrere.study.circe import Definition
from confrere.study.file import parse
from confrere.study.ground import LEFT
from federate import SHARED

TWIN = (Path(__file__).parent / "twin.sql").read_text(encoding="utf-8")


def table(source: str | Path, text: str = STUDY) -> Table:
    """The people of a source as a study reads them."""
    study = parse(text)
    return people(source, study, build.analyses(study))


def twin(folder: Path) -> pd.DataFrame:
    """Whom the study is about and their columns, by the twin."""
    with duckdb.connect() as db:
        for path in folder.glob("*.parquet"):
            db.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM '{path}'")
        *before, last = [part for part in TWIN.split(";") if part.strip()]
        for statement in before:
            db.execute(statement)
        return db.execute(last).df()


@pytest.mark.parametrize("seed", range(6))
def test_columns_are_those_of_the_twin(tmp_path: Path, seed: int) -> None:
    source = written(clinic(150, seed), tmp_path)
    ours, theirs = table(source).frame, twin(source)
    chosen = ours[ours[LEFT] == 0].reset_index(drop=True)
    assert chosen["person_id"].tolist() == theirs["person_id"].astype(str).tolist()
    assert len(chosen) > 20
    assert set(chosen["treated"]) == {0, 1}
    assert theirs["both"].max() > 0
    assert chosen["what"].tolist() == theirs["what"].tolist()
    assert set(theirs["what"]) == {"none", "bleeding", "sore"}
    for name in (n for n in theirs.columns if n in chosen.columns and n not in ("person_id", "sex", "what")):
        want = theirs[name].astype(float).to_numpy()
        np.testing.assert_allclose(chosen[name].to_numpy(), want, rtol=1e-9, atol=1e-9, err_msg=name)
    assert chosen["sex"].astype(object).where(chosen["sex"].notna(), None).tolist() == [
        s if isinstance(s, str) else None for s in theirs["sex"]
    ]
    outside = ours[ours[LEFT] != 0]
    assert outside[parse(STUDY).analyses[0].settings["variables"]].isna().all().all()


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """user@host:port/database of a server."""
    with postgres.server() as found:
        yield found


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), size=st.integers(1, 80))
def test_duckdb_and_postgresql_make_the_same_table(place: str, seed: int, size: int) -> None:
    from cohorts.test_servers import loaded

    with tempfile.TemporaryDirectory() as folder:
        source = written(clinic(size, seed), Path(folder))
        one, other = table(source), table(loaded(place, "people", source))
        pd.testing.assert_frame_equal(one.frame, other.frame, rtol=1e-12, atol=0)


def test_the_same_table_every_time(tmp_path: Path) -> None:
    """To the last bit: the hash of the table is what a run is about."""
    source = written(clinic(400, 1), tmp_path)
    pd.testing.assert_frame_equal(table(source).frame, table(source).frame, check_exact=True)


# By hand --------------------------------------------------------------------------------------------------------

DAY = (pd.Timestamp("2010-01-01") - pd.Timestamp("1970-01-01")).days


def by_hand(folder: Path, **more: pd.DataFrame) -> Path:
    """Seven people, observed for 1000 days from 2010-01-01, who get one drug or the other."""
    everybody, doses = [1, 2, 3, 4, 5, 6, 7], [
        (1, ONE, 100), (2, OTHER, 100),  # in one cohort each
        (3, ONE, 100), (3, OTHER, 90),  # the other one earlier
        (4, ONE, 100), (4, OTHER, 100),  # both on one day
        (5, ONE, 100), (6, ONE, 100),  # too young; bled before
        (99, ONE, 100),  # nobody knows them
    ]  # fmt: skip
    born = [1950, 1950, 1950, 1950, 1990, 1950, 1950]
    tables = clinic(1, 0)
    tables["person"] = pd.DataFrame({"person_id": everybody, "gender_concept_id": 8507, "year_of_birth": born})
    tables["observation_period"] = pd.DataFrame({
        "person_id": [*everybody, 99], "observation_period_start_date": day([DAY] * 8),
        "observation_period_end_date": day([DAY + 1000] * 8),
    })  # fmt: skip
    who, drug, when = (np.array(v) for v in zip(*doses, strict=True))
    tables["drug_exposure"] = pd.DataFrame({
        "drug_exposure_id": range(len(who)), "person_id": who, "drug_concept_id": drug,
        "drug_exposure_start_date": day(DAY + when),
    })  # fmt: skip
    bled = {6: 50, 1: 220, 2: 400, 99: 10}
    tables["condition_occurrence"] = pd.DataFrame({
        "condition_occurrence_id": range(4), "person_id": list(bled), "condition_concept_id": BLEED,
        "condition_start_date": day([DAY + d for d in bled.values()]),
    })  # fmt: skip
    tables["death"] = pd.DataFrame({"person_id": [2, 99], "death_date": day([DAY + 300, DAY])})
    return written({k: v for k, v in (tables | more).items() if len(v)}, folder)


def test_reasons_index_dates_and_time_at_risk(tmp_path: Path) -> None:
    made = table(by_hand(tmp_path))
    frame = made.frame.set_index("person_id")
    assert len(frame) == 7  # not the one whom nobody knows
    reasons = {p: made.reasons[int(code) - 1] if code else "" for p, code in frame[LEFT].items()}
    assert reasons == {
        "1": "", "2": "", "3": "", "4": "in both cohorts from the same day", "5": "one: fails '40 or older'",
        "6": "bleed before the time at risk", "7": "no entry event",
    }  # fmt: skip
    chosen = frame[frame[LEFT] == 0]
    assert chosen["treated"].tolist() == [1, 0, 0]  # the third got the other drug first
    assert chosen["age"].tolist() == [60, 60, 60]
    assert chosen["seen"].tolist() == [100, 100, 90]
    assert chosen["bleed"].tolist() == [1, 0, 0]
    assert chosen["bleed_time"].tolist() == [120, 180, 180]  # to the bleed; to `until`
    assert chosen["late"].tolist() == [1, 0, 0]
    assert chosen["late_time"].tolist() == [91, 171, 881]  # from day 30: to the bleed, to death, to the last day


def test_times_are_in_the_unit_of_the_study(tmp_path: Path) -> None:
    weeks = STUDY.replace('target = "one"', 'target = "one"\ntime_unit = "weeks"')
    assert table(by_hand(tmp_path), weeks).frame["bleed_time"][0] == pytest.approx(120 / 7)


def test_the_same_people_without_somebody(tmp_path: Path) -> None:
    study = parse(STUDY)
    made = people(by_hand(tmp_path), study, build.analyses(study), without=["1"])
    assert made.frame["person_id"].tolist() == ["2", "3", "4", "5", "6", "7"]
    nobody = people(tmp_path, study, build.analyses(study), without=list("1234567"))
    assert len(nobody.frame) == 0
    assert nobody.frame.columns.tolist() == made.frame.columns.tolist()


def test_a_region_is_a_level_that_the_study_declares(tmp_path: Path) -> None:
    person = pd.DataFrame({
        "person_id": [1, 2, 3, 4], "gender_concept_id": [8507, 8532, 8521, 0], "year_of_birth": 1950,
        "location_id": [1, 2, 3, 9],
    })  # fmt: skip
    location = pd.DataFrame({
        "location_id": [1, 2, 3], "state": ["IDF", None, "elsewhere"], "county": ["75", "44", None],
        "zip": [None, "44000", "35000"],
    })  # fmt: skip
    source = by_hand(tmp_path, person=person, location=location)
    declared = '[data.columns._region]\nlevels = ["IDF", "44", "35"]\n[cohorts.one]'
    frame = table(source, STUDY.replace("[cohorts.one]", declared)).frame
    assert frame["_region"].astype(object).tolist()[:3] == ["IDF", "44", "35"]
    assert frame["_region"].isna().tolist() == [False, False, False, True]
    assert frame["_sex"].astype(object).tolist()[:3] == ["male", "female", "other"]


def test_values_in_several_units_are_refused(tmp_path: Path) -> None:
    values = pd.DataFrame({
        "measurement_id": [1, 2], "person_id": [1, 2], "measurement_concept_id": SUGAR,
        "measurement_date": day([DAY + 50] * 2), "value_as_number": [7.0, 50.0], "unit_concept_id": [PERCENT, MMOL],
    })  # fmt: skip
    source = by_hand(tmp_path, measurement=values)
    bare = (
        STUDY.replace(f"unit = {PERCENT} }}", "}").replace(f", unit = {PERCENT}, after", ", after").replace(", }", "}")
    )
    with pytest.raises(DataError, match=r"feature 'first': its values are in several units \(concepts 8554, 8753\)"):
        table(source, bare)
    twice = STUDY.replace('"8753" = [0.0915', '"UCUM:%" = [0.0915')
    with pytest.raises(DataError, match="feature 'last' says twice what to do with the unit 8554"):
        table(source, twice)
    with pytest.raises(DataError, match=r"RxNorm has no code '7'"):
        table(source, STUDY.replace('"RxNorm:2"', '"RxNorm:7"').replace("drug_RxNorm_2", "drug_RxNorm_7"))


def test_values_that_are_no_numbers_to_reckon_with_are_counted(tmp_path: Path) -> None:
    values = pd.DataFrame({
        "measurement_id": [1, 2], "person_id": [1, 2], "measurement_concept_id": SUGAR,
        "measurement_date": day([DAY + 50] * 2), "value_as_number": [np.inf, 1e300], "unit_concept_id": PERCENT,
    })  # fmt: skip
    with pytest.raises(DataError, match="2 values of table 'measurement' are infinite or beyond") as error:
        table(by_hand(tmp_path, measurement=values))
    assert "1e+300" not in str(error.value)


def test_implausible_values_are_clamped_and_counted(tmp_path: Path) -> None:
    made = table(
        by_hand(tmp_path), STUDY.replace("[cohorts.one]", "[data.columns.age]\nrange = [20, 50]\n[cohorts.one]")
    )
    assert made.clamped == {"age": 3}
    assert made.frame["age"].max() == 50


@dataclass(frozen=True)
class Stays:
    """An analysis of every stay in a cohort."""

    cohorts: tuple[Definition, ...]

    @property
    def eras(self) -> tuple[Definition, ...]:
        return self.cohorts


def test_every_stay_of_a_cohort(tmp_path: Path) -> None:
    study = parse(STUDY)
    bleeding = study.ground.cohort("bleeding")
    made = people(by_hand(tmp_path), study, [Stays((bleeding,))])
    stays = made.events[bleeding.column]
    assert made.frame["person_id"][stays["row"]].tolist() == ["1", "2", "6"]
    assert (stays["start"] - DAY).tolist() == [220, 400, 50]
    assert (stays["end"] - stays["start"]).tolist() == [1, 1, 1]
    assert len(made.nobody().events[bleeding.column]) == 0


# Public data ----------------------------------------------------------------------------------------------------

GIBLEED = """
[study]
id = "gibleed"
purpose = "a test"
[data]
table = "omop"
target = "celecoxib"
comparator = "diclofenac"
[cohorts]
celecoxib = { entry = { drug = [1118084], first = true } }
diclofenac = { entry = { drug = [1124300], first = true } }
bleeding = { entry = { condition = [192671] }, events = "all", exit = { after = 0 } }
nsaid = { entry = { drug = [1118084, 1124300], first = true } }
[features]
age = { is = "age" }
sex = { is = "sex" }
[outcomes.bleed]
cohort = "bleeding"
prior = "keep"
[[analysis]]
name = "hazard"
method = "cox"
formula = "Surv(bleed_time, bleed) ~ treated + age + sex"
[[analysis]]
name = "nsaid"
method = "cohort"
cohort = "nsaid"
[[analysis]]
name = "bleeding"
method = "cohort"
cohort = "bleeding"
"""


TREATED = """
WITH dose AS (
    SELECT person_id, ancestor_concept_id AS drug, min(drug_exposure_start_date::date) AS day FROM drug_exposure
    JOIN concept_ancestor ON drug_concept_id = descendant_concept_id
    WHERE ancestor_concept_id IN (1118084, 1124300) GROUP BY ALL
), seen AS (
    SELECT d.*, max(observation_period_end_date::date) AS last FROM dose d JOIN observation_period o USING (person_id)
    WHERE day BETWEEN observation_period_start_date::date AND observation_period_end_date::date GROUP BY ALL
)
SELECT drug = 1118084, (SELECT count(DISTINCT person_id) FROM dose e WHERE e.drug = s.drug), count(*),
    count(*) FILTER (EXISTS (FROM condition_occurrence c WHERE c.person_id = s.person_id
        AND condition_concept_id = 192671 AND condition_start_date::date BETWEEN day + 1 AND last))
FROM seen s GROUP BY ALL ORDER BY 1
"""


@pytest.mark.shared
def test_eunomia_has_the_people_that_its_documentation_names() -> None:
    """Celecoxib 1844, Diclofenac 850, GiBleed 479 persons. An entry must be observed, which those of 64 are not."""
    study, folder = parse(GIBLEED), SHARED / "omop_gibleed"
    frame = table(folder, GIBLEED).frame
    sizes = {name: int(frame[d.start].notna().sum()) for name, d in study.ground.cohorts if d.start in frame}
    with duckdb.connect() as db:
        for path in folder.glob("*.parquet"):
            db.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM '{path}'")
        (_, all_other, other, bled_other), (_, all_one, one, bled_one) = db.execute(TREATED).fetchall()
    assert (all_one, all_other) == (1844, 850)
    assert sizes == {"celecoxib": one, "diclofenac": other, "bleeding": 479, "nsaid": one + other}
    assert frame.groupby("treated")["bleed"].agg(["size", "sum"]).to_numpy().tolist() == [
        [other, bled_other],
        [one, bled_one],
    ]
    assert one + other == 2694 - 64
