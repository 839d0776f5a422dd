"""Synthetic hospitals: what they look like, that they can be made again, and the effect that is to be found in them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import confrere as cf
from confrere.data import synthetic_people as people
from confrere.data.cdm import TABLES
from confrere.data.omop import opened
from confrere.data.synthesize import BLOCK, Made, Plan, block, site, synthesize
from confrere.data.synthetic_vocabulary import BELOW, CONCEPTS, schema
from confrere.errors import DataError, StudyError

PLAN = Plan(hospitals=3, people=BLOCK + 2_000, seed=5, shift=0.5, effect=-0.5)
MANDATORY = {  # "not null" in https://ohdsi.github.io/CommonDataModel/cdm54.html
    "person": "person_id gender_concept_id year_of_birth race_concept_id ethnicity_concept_id",
    "observation_period": "observation_period_id person_id observation_period_start_date observation_period_end_date "
    "period_type_concept_id",
    "visit_occurrence": "visit_occurrence_id person_id visit_concept_id visit_start_date visit_end_date "
    "visit_type_concept_id",
    "condition_occurrence": "condition_occurrence_id person_id condition_concept_id condition_start_date "
    "condition_type_concept_id",
    "drug_exposure": "drug_exposure_id person_id drug_concept_id drug_exposure_start_date drug_exposure_end_date "
    "drug_type_concept_id",
    "measurement": "measurement_id person_id measurement_concept_id measurement_date measurement_type_concept_id",
    "death": "person_id death_date",
    "concept": "concept_id concept_name domain_id vocabulary_id concept_class_id concept_code valid_start_date "
    "valid_end_date",
    "concept_ancestor": "ancestor_concept_id descendant_concept_id min_levels_of_separation max_levels_of_separation",
    "concept_relationship": "concept_id_1 concept_id_2 relationship_id valid_start_date valid_end_date",
    "vocabulary": "vocabulary_id vocabulary_name vocabulary_concept_id",
    "cdm_source": "cdm_source_name cdm_source_abbreviation cdm_holder source_release_date cdm_release_date "
    "cdm_version_concept_id vocabulary_version",
}
KEYED = ("person", "observation_period", "visit_occurrence", "condition_occurrence", "drug_exposure", "measurement")
CLINICAL = {
    "condition_occurrence": "condition_start_date",
    "drug_exposure": "drug_exposure_start_date",
    "measurement": "measurement_date",
}
NEW_USERS = """
with dose as (
    select person_id, drug_exposure_start_date as day, ancestor_concept_id as drug
    from {0}drug_exposure.parquet' join {0}concept_ancestor.parquet' on drug_concept_id = descendant_concept_id
    where ancestor_concept_id in (1118084, 1124300)
), entry as (select person_id, min(day) as day, arg_min(drug, day) as drug from dose group by all),
bled as (
    select person_id, min(condition_start_date) as bled from {0}condition_occurrence.parquet'
    where condition_concept_id = 192671 group by all
), before as (
    select entry.person_id, max(condition_concept_id = 4027663)::int as ulcer,
        max(condition_concept_id = 313217)::int as fibrillation
    from entry left join {0}condition_occurrence.parquet' c
        on c.person_id = entry.person_id and condition_start_date <= day group by all
)
select person_id, day, (drug = 1118084)::int as celecoxib, value_as_number as pain, year(day) - year_of_birth as age,
    ulcer, fibrillation, (bled is not null)::int as event,
    datediff('day', day, coalesce(bled, observation_period_end_date)) as time
from entry join {0}person.parquet' using (person_id) join {0}observation_period.parquet' using (person_id)
    join before using (person_id) left join bled using (person_id)
    join {0}measurement.parquet' using (person_id)
where measurement_concept_id = 43055141 and measurement_date = day order by person_id
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Made]:
    """Three hospitals of two blocks."""
    return synthesize(PLAN, tmp_path_factory.mktemp("synthetic"))


def ask(folder: Path, sql: str) -> pd.DataFrame:
    """Rows of a query in which {0}NAME.parquet' is a table of the folder."""
    return duckdb.connect().execute(sql.replace("{0}", f"'{folder}/")).df()


def number(folder: Path, sql: str) -> float:
    """The one number of a query."""
    return float(ask(folder, sql).iloc[0, 0])


# The data model -----------------------------------------------------------------------------------------------


def test_every_column_of_5_4_is_there_with_its_type(made: list[Made]) -> None:
    names = {path.stem for path in made[0].folder.iterdir()}
    assert names == set(MANDATORY)
    for name in names:
        found = pq.read_schema(made[0].folder / f"{name}.parquet")
        assert found.remove_metadata().equals(schema(name)), name
        assert set(found.names) <= set(TABLES[name])


def test_what_is_mandatory_is_never_missing(made: list[Made]) -> None:
    for name, columns in MANDATORY.items():
        rows = pq.read_table(made[1].folder / f"{name}.parquet", columns=columns.split())
        assert rows.num_rows == made[1].rows[name] > 0, name
        assert all(rows[column].null_count == 0 for column in columns.split()), name


def test_keys_are_unique_and_run_from_1(made: list[Made]) -> None:
    for name in KEYED:
        keys = pq.read_table(made[0].folder / f"{name}.parquet")[f"{name}_id"].to_numpy()
        assert np.array_equal(keys, np.arange(1, len(keys) + 1)), name


def test_people_of_rows_and_visits_are_there(made: list[Made]) -> None:
    folder = made[2].folder
    for name in ("observation_period", "death", "visit_occurrence", *CLINICAL):
        stray = f"select count(*) from {{0}}{name}.parquet' anti join {{0}}person.parquet' using (person_id)"
        assert number(folder, stray) == 0, name
    for name, day in CLINICAL.items():
        joined = f"from {{0}}{name}.parquet' r left join {{0}}visit_occurrence.parquet' v using (visit_occurrence_id)"
        astray = f"where v.person_id is distinct from r.person_id or v.visit_start_date <> {day}"
        assert number(folder, f"select count(*) {joined} {astray}") == 0, name


def test_concepts_of_rows_are_in_the_vocabulary(made: list[Made]) -> None:
    for one in made:
        for name in set(MANDATORY) - {"vocabulary"}:
            rows = pq.read_table(one.folder / f"{name}.parquet")
            for column in (c for c in rows.column_names if "concept_id" in c):
                found = set(rows[column].drop_null().unique().to_pylist())
                assert found <= set(CONCEPTS), (name, column)


def test_standard_columns_hold_standard_concepts_of_their_domain(made: list[Made]) -> None:
    domains = {"condition_occurrence": "Condition", "drug_exposure": "Drug", "measurement": "Measurement"}
    for name, domain in domains.items():
        column = f"{name.split('_')[0]}_concept_id"
        for concept in set(pq.read_table(made[0].folder / f"{name}.parquet")[column].unique().to_pylist()) - {0}:
            assert (CONCEPTS[concept][1], CONCEPTS[concept][4]) == (domain, "S")


def test_the_hierarchy_has_every_concept_under_itself_and_products_under_ingredients(made: list[Made]) -> None:
    rows = ask(made[0].folder, "from {0}concept_ancestor.parquet'")
    pairs = set(zip(rows.ancestor_concept_id, rows.descendant_concept_id, strict=True))
    assert {(i, i) for i in CONCEPTS if i} <= pairs
    assert {(above, below) for below, (above, _) in BELOW.items()} <= pairs
    assert (1118084, 1118088) in pairs


def test_nothing_happens_while_people_are_not_observed(made: list[Made]) -> None:
    inside = "between observation_period_start_date and observation_period_end_date"
    for name, day in {**CLINICAL, "visit_occurrence": "visit_end_date", "death": "death_date"}.items():
        sql = f"from {{0}}{name}.parquet' join {{0}}observation_period.parquet' using (person_id)"
        assert number(made[0].folder, f"select count(*) {sql} where not ({day} {inside})") == 0, name
    dead = "{0}death.parquet' join {0}observation_period.parquet' using (person_id)"
    assert number(made[0].folder, f"select count(*) from {dead} where death_date < observation_period_end_date") == 0


def test_it_is_read_as_any_common_data_model(made: list[Made]) -> None:
    with opened(made[0].folder) as cdm:
        for name in MANDATORY:
            assert cdm.table(name).count().to_pyarrow().as_py() == made[0].rows[name]
        assert cdm.misfits() == []


# Marginals, and how they hang together ------------------------------------------------------------------------


def test_sexes_ages_and_rows(made: list[Made]) -> None:
    for one in made:
        age = ask(one.folder, "select 2024 - year_of_birth as age from {0}person.parquet'").age
        assert 35 < age.median() < 60
        assert age.between(0, 96).all()
        assert 0.4 < number(one.folder, "select avg((gender_concept_id = 8532)::int) from {0}person.parquet'") < 0.65
        assert 60 < sum(one.rows.values()) / PLAN.people < 160  # as in Synthea


@pytest.mark.parametrize(
    ("concept", "young", "old"),
    [(320128, (0.01, 0.2), (0.4, 0.85)), (201826, (0, 0.06), (0.08, 0.35)), (378419, (0, 0.001), (0.02, 0.3))],
)
def test_diseases_come_with_age(made: list[Made], concept: int, young: Any, old: Any) -> None:
    sql = f"""select avg((person_id in (select person_id from {{0}}condition_occurrence.parquet'
        where condition_concept_id = {concept}))::int) from {{0}}person.parquet' where 2024 - year_of_birth between """
    for one in made:
        assert young[0] <= number(one.folder, sql + "20 and 45") <= young[1]
        assert old[0] <= number(one.folder, sql + "75 and 90") <= old[1]


def test_diseases_come_with_sex(made: list[Made]) -> None:
    sql = """select avg((gender_concept_id = 8532)::int) from {0}person.parquet'
        where person_id in (select person_id from {0}condition_occurrence.parquet' where condition_concept_id = """
    assert number(made[0].folder, sql + "4112853)") > 0.95  # breast cancer
    assert number(made[0].folder, sql + "80502)") > 0.75  # osteoporosis
    assert number(made[0].folder, sql + "440674)") < 0.5  # gout


def test_drugs_come_with_their_disease(made: list[Made]) -> None:
    for drug, disease, least in (((1503297, 40163924), 201826, 0.5), ((1501700, 40174880), 140673, 0.6)):
        given = f"select distinct person_id from {{0}}drug_exposure.parquet' where drug_concept_id in {drug}"
        # a diagnosis may stand in the record without a standard concept
        code = people.DISEASES["diabetes" if disease == 201826 else "hypothyroidism"].source
        sick = (
            f"select distinct person_id from {{0}}condition_occurrence.parquet' where condition_source_value = '{code}'"
        )
        for one in made:
            assert number(one.folder, f"select count(*) from ({given}) anti join ({sick}) using (person_id)") == 0
            assert (
                number(one.folder, f"select (select count(*) from ({given})) / (select count(*) from ({sick}))") > least
            )


def test_measurements_have_units_and_plausible_values(made: list[Made]) -> None:
    sql = "select measurement_concept_id as c, unit_concept_id as u, value_as_number as v from {0}measurement.parquet'"
    ranges = {
        (3004249, 8876): (60, 250), (3012888, 8876): (30, 150), (3036277, 8582): (40, 215), (3025315, 9529): (2, 230),
        (3038553, 9531): (9, 66), (3004410, 8554): (3, 16), (3016723, 8840): (0.1, 12.1), (3016723, 8749): (17, 1061),
        (3000963, 8713): (4, 21), (3009966, 8840): (15, 340), (43055141, 44777566): (0, 10),
    }  # fmt: skip
    for one in made:
        for key, values in ask(one.folder, sql).groupby(["c", "u"]).v:
            assert values.between(*ranges[key]).all(), key  # type: ignore[index]
            assert values.nunique() > 5, key


def test_measurements_follow_diseases_and_drugs(made: list[Made]) -> None:
    sql = """select median(value_as_number) from {0}measurement.parquet' m where measurement_concept_id = %d
        and %s exists (from {0}condition_occurrence.parquet' c where c.person_id = m.person_id
        and condition_start_date <= measurement_date and condition_concept_id = %d)"""
    for one in made:
        sugar, without = (number(one.folder, sql % (3004410, word, 201826)) for word in ("", "not"))
        assert sugar > 6.5 > 6 > without
        iron, without = (number(one.folder, sql % (3000963, word, 439777)) for word in ("", "not"))
        assert iron < without - 1
    heavy = """select max(abs(w.value_as_number / pow(h.value_as_number / 100, 2) - b.value_as_number))
        from {0}measurement.parquet' w join {0}measurement.parquet' h using (visit_occurrence_id)
        join {0}measurement.parquet' b using (visit_occurrence_id) where w.measurement_concept_id = 3025315
        and h.measurement_concept_id = 3036277 and b.measurement_concept_id = 3038553 and h.value_as_number > 150
        and b.value_as_number < 60 and w.value_as_number < 219"""
    assert number(made[0].folder, heavy) < 0.6  # kg/m2: height is written in whole centimetres


def test_the_sick_die_more_often_and_come_more_often(made: list[Made]) -> None:
    rate = """select count(death_date) / count(*) from {0}person.parquet' left join {0}death.parquet' using (person_id)
        where 2024 - year_of_birth between 60 and 90 and %s person_id in
        (select person_id from {0}condition_occurrence.parquet' where condition_source_value = 'I50.9')"""
    visits = """select count(visit_occurrence_id) / count(distinct person_id) from {0}visit_occurrence.parquet'
        where %s person_id in
        (select person_id from {0}condition_occurrence.parquet' where condition_concept_id = 320128)"""
    for one in made:
        assert number(one.folder, rate % "") > 1.5 * number(one.folder, rate % "not")
        assert number(one.folder, visits % "") > 1.3 * number(one.folder, visits % "not")


# Hospitals that differ ----------------------------------------------------------------------------------------


def test_hospitals_do_not_differ_without_a_shift() -> None:
    ways = [site(Plan(3, 100, 1, shift=0), number) for number in (1, 2)]
    assert all(np.array_equal(one, two) for one, two in zip(*ways, strict=True))
    assert not np.any(ways[0].diseases)
    assert (ways[0].older, ways[0].celecoxib, ways[0].specific, ways[0].molar) == (0, 0, 0.5, False)


def test_hospitals_differ_in_case_mix_and_in_coding(made: list[Made]) -> None:
    ways = [site(PLAN, number) for number in (1, 2, 3)]
    unmapped, fine, age = [], [], []
    for one in made:
        rows = "from {0}condition_occurrence.parquet' where condition_source_value"
        unmapped.append(number(one.folder, f"select avg((condition_concept_id = 0)::int) {rows} <> 'M19.9'"))
        fine.append(number(one.folder, f"select avg((condition_concept_id <> 80180)::int) {rows} = 'M19.9'"))
        age.append(number(one.folder, "select avg(2024 - year_of_birth) from {0}person.parquet'"))
    for j, way in enumerate(ways):
        assert fine[j] == pytest.approx(way.specific, abs=0.06)
        assert unmapped[j] == pytest.approx(way.unmapped, rel=0.25)
    assert np.argsort(age).tolist() == np.argsort([way.older for way in ways]).tolist()
    assert max(fine) - min(fine) > 0.1


def test_creatinine_is_the_same_in_either_unit() -> None:
    median = {}
    for molar in (False, True):
        here = site(Plan(1, 1000, 2, shift=0), 1)._replace(molar=molar)
        rows = block(Plan(1, 1000, 2), 1, here, 0, 1000)["measurement"].to_pandas()
        median[molar] = rows[rows.measurement_concept_id == 3016723].value_as_number.median()
    assert median[True] == pytest.approx(88.42 * median[False], rel=0.02)


# The known effect ---------------------------------------------------------------------------------------------


def users(seed: int, effect: float, blocks: int = 12) -> dict[str, pd.DataFrame]:
    """New users in three hospitals, straight from the model: a quarter of a million people in each, no records."""
    plan, found = Plan(3, 100, seed, 0.5, effect), {}
    for h in (1, 2, 3):
        rng, parts = np.random.default_rng([seed, h]), []
        for _ in range(blocks):
            parts.append(_users(people.lives(rng, site(plan, h), 20_000, effect)))
        found[f"hospital-{h}"] = pd.concat(parts, ignore_index=True)
    return found


def _users(lives: people.Lives) -> pd.DataFrame:
    (who,) = np.nonzero(lives.drug < people.NEVER)
    day = lives.drug[who]

    def year(days: Any) -> Any:
        return days.astype("datetime64[D]").astype("datetime64[Y]").astype(int)

    known = {name: (lives.onset[people.PLACE[name]][who] <= day).astype(int) for name in ("ulcer", "fibrillation")}
    return pd.DataFrame({
        "person_id": who + 1, "celecoxib": lives.celecoxib[who].astype(int), "pain": lives.pain[who],
        "age": year(day) - year(lives.birth[who]), **known, "event": (lives.bleed[who] < people.NEVER).astype(int),
        "time": np.minimum(lives.bleed[who], lives.end[who]) - day,
    })  # fmt: skip


ADJUSTED = "Surv(time, event) ~ celecoxib + pain + age + ulcer + fibrillation"


@pytest.mark.parametrize(("seed", "effect"), [(1, -0.5), (2, 0.0), (3, 0.7)])
def test_the_right_model_finds_the_effect_and_its_confounders(seed: int, effect: float) -> None:
    rows = cf.local(users(seed, effect)).run(cf.Cox(ADJUSTED)).summary().set_index("term")
    true = pd.Series({"celecoxib": effect, **people.OUTCOME})
    off = ((rows.estimate - true) / rows.std_error).abs()
    assert (off < 3.3).all(), off
    assert rows.std_error["celecoxib"] < 0.05


def test_the_crude_comparison_is_wrong() -> None:
    row = cf.local(users(1, -0.5)).run(cf.Cox("Surv(time, event) ~ celecoxib")).summary().iloc[0]
    assert row.estimate > -0.5 + 4 * row.std_error


def test_records_hold_what_the_effect_needs() -> None:
    """The new users that a query finds in a hospital's tables are those of the model, to the day."""
    plan, here = PLAN._replace(shift=1.0), site(PLAN, 2)
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(2, 0)))
    true = _users(people.lives(rng, here, 4_000, plan.effect))
    rows = block(plan, 2, here, 0, 4_000)
    from confrere.data.synthetic_vocabulary import vocabulary

    db = duckdb.connect()
    for name, table in {**rows, **vocabulary("two")}.items():
        db.register(name, table)
    found = db.execute(NEW_USERS.replace("{0}", "").replace(".parquet'", "")).df().drop(columns="day")
    assert len(found) > 100
    pd.testing.assert_frame_equal(found[true.columns].astype(float), true.astype(float))


def test_the_effect_is_found_in_the_files(made: list[Made]) -> None:
    tables = {one.folder.name: ask(one.folder, NEW_USERS) for one in made}
    row = cf.local(tables).run(cf.Cox(ADJUSTED)).summary().iloc[0]
    truth = json.loads((made[0].folder.parent / "truth.json").read_text(encoding="utf-8"))["effect"]
    assert abs(row.estimate - truth["log_hazard_ratio"]) < 3.3 * row.std_error
    assert 0.1 < row.std_error < 0.4


def test_the_truth_is_written_down(made: list[Made]) -> None:
    told = json.loads((made[0].folder.parent / "truth.json").read_text(encoding="utf-8"))
    assert told["plan"] == PLAN._asdict()
    assert told["effect"]["hazard_ratio"] == pytest.approx(np.exp(-0.5))
    assert set(told["effect"]["confounders"]) == set(people.OUTCOME) == set(people.TREATMENT)
    assert [one["name"] for one in told["hospitals"]] == ["hospital-01", "hospital-02", "hospital-03"]
    assert [one["rows"] for one in told["hospitals"]] == [one.rows for one in made]


# Again --------------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_plan_gives_the_same_files_whatever_the_number_of_processes(tmp_path: Path) -> None:
    plan = Plan(2, 300, 9)
    for name, processes in (("one", 1), ("two", 2)):
        synthesize(plan, tmp_path / name, processes)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    synthesize(plan._replace(seed=10), tmp_path / "three")
    person = "hospital-01/person.parquet"
    assert files(tmp_path / "three")[person] != files(tmp_path / "one")[person]


def test_blocks_do_not_depend_on_those_before_nor_on_how_many_there_are(made: list[Made], tmp_path: Path) -> None:
    (fewer, _) = synthesize(PLAN._replace(hospitals=2, people=BLOCK), tmp_path / "fewer")
    for name, rows in fewer.rows.items():
        whole = pq.read_table(made[0].folder / f"{name}.parquet").slice(0, rows)
        assert whole.equals(pq.read_table(fewer.folder / f"{name}.parquet")), name


def test_progress_is_told_of_everybody(tmp_path: Path) -> None:
    told: list[int] = []
    synthesize(Plan(2, 200, 1), tmp_path / "a", progress=told.append)
    assert told == [200, 200]


@pytest.mark.slow
def test_memory_does_not_grow_with_people(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from confrere.data.synthesize import Plan, synthesize;"
    code += "synthesize(Plan(1, int(sys.argv[1]), 1), Path(sys.argv[2]))"
    peaks = []
    for n in (2 * BLOCK, 12 * BLOCK):
        subprocess.run([sys.executable, "-c", code, str(n), str(tmp_path / str(n))], check=True)
        peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)  # of the largest so far
    assert peaks[1] < 1.25 * peaks[0]


# What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"people": 99}, "--people 99 must lie between 100 and 10,000,000"),
        ({"hospitals": 0}, "--hospitals 0 must lie between 1 and 99"),
        ({"shift": 3.0}, "--site-shift 3 must"),
        ({"effect": float("nan")}, "--effect nan must"),
        ({"seed": -1}, "--seed -1 must"),
    ],
)
def test_a_plan_has_bounds(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=said):
        synthesize(Plan(1, 100, 1)._replace(**change), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(DataError, match="is not an empty folder"):
            synthesize(Plan(1, 100, 1), out)
