"""A cohort and 50 features of a large OMOP hospital: seconds, memory and rows read, beside OHDSI's own SQL.

    python -m benchmarks.cohorts [--people 100000] [--out out] [--times 3] [--cache DIR]

A synthetic hospital is made once, from a seed, and kept in the cache folder: Parquet files, about 100 rows per person.
Three things are timed in turn, each in a fresh process, on as many threads as there are cores: our cohort (with its
funnel, and which rule each person meets), the table of people with 50 features, and the same definition as the SQL that
circepy's port of OHDSI's query builder writes, without and with its statistics of inclusion rules. The SQL runs in the
same DuckDB, over views of the same files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.process import fresh, python, spread, timed
from confrere.data import circe
from confrere.data.cdm import TABLES
from confrere.data.omop import Cdm, opened
from confrere.data.people import made
from confrere.data.synthesize import TRUTH, Plan, synthesize
from confrere.study import build
from confrere.study.circe import Definition
from confrere.study.file import Study, parse
from confrere.study.ground import LEFT

SEED = 1
WARM = 1_000  # people
DISEASES = {
    "hypertension": 320128, "lipids": 432867, "diabetes": 201826, "kidney": 443597, "coronary": 317576,
    "infarction": 4329847, "fibrillation": 313217, "failure": 316139, "stroke": 381316, "emphysema": 261325,
    "asthma": 317009, "ulcer": 4027663, "reflux": 318800, "depression": 4152280, "thyroid": 140673, "gout": 440674,
    "osteoporosis": 80502, "anemia": 439777,
}  # fmt: skip
DRUGS = {
    "lisinopril": 1308216, "amlodipine": 1332418, "simvastatin": 1539403, "metformin": 1503297, "aspirin": 1112807,
    "warfarin": 1310149, "furosemide": 957136, "albuterol": 1154343, "prednisone": 1551099, "sertraline": 739207,
    "levothyroxine": 1501700, "alendronate": 1557272, "amoxicillin": 1713332, "naproxen": 1115008,
}  # fmt: skip
VALUES = {
    "systolic": (3004249, "last"), "systolic_mean": (3004249, "mean"), "systolic_trend": (3004249, "trend"),
    "diastolic": (3012888, "last"), "weight": (3025315, "last"), "weight_trend": (3025315, "trend"),
    "bmi": (3038553, "last"), "sugar": (3004410, "last"), "sugar_most": (3004410, "max"),
    "hemoglobin": (3000963, "last"), "ldl": (3009966, "last"), "pain": (43055141, "last"),
}  # fmt: skip
SCHEMAS = {
    "vocabulary_database_schema": "cdm", "cdm_database_schema": "cdm", "target_database_schema": "results",
    "results_database_schema": "results", "target_cohort_table": "cohort", "target_cohort_id": 1,
}  # fmt: skip
RESULTS = {  # the tables that OHDSI's SQL fills
    "cohort": "cohort_definition_id int, subject_id bigint, cohort_start_date date, cohort_end_date date",
    "cohort_censor_stats": "cohort_definition_id int, lost_count bigint",
    "cohort_inclusion": "cohort_definition_id int, rule_sequence int, name varchar, description varchar",
    "cohort_inclusion_result": "cohort_definition_id int, inclusion_rule_mask bigint, person_count bigint, mode_id int",
    "cohort_inclusion_stats": "cohort_definition_id int, rule_sequence int, person_count bigint, gain_count bigint, "
    "person_total bigint, mode_id int",
    "cohort_summary_stats": "cohort_definition_id int, base_count bigint, final_count bigint, mode_id int",
}
ABOUT = ("age", "sex", "index_year", "charlson", "observation_days")
STUDY = """
[study]
id = "benchmark"
purpose = "How long a cohort and its features take"
[data]
table = "omop"
target = "arthritis"
[concepts]
arthritis = {{ include = [80180] }}
bleeding = {{ include = [4027663, 192671] }}
pressure = {{ include = [3004249] }}
heart = {{ include = [1308216, 1332418, 1539403] }}
stay = {{ include = [9201] }}
[cohorts.arthritis]
entry = {{ condition = "arthritis" }}
observed = {{ before = 365 }}
criteria = [
  {{ name = "no ulcer or bleeding before", no = {{ condition = "bleeding" }} }},
  {{ name = "blood pressure of 120 or more", measurement = "pressure", value = ">= 120", before = 365 }},
  {{ name = "on a drug for the heart, or has been inside", any = [
    {{ at_least = 2, drug = "heart", before = 365 }}, {{ visit = "stay", before = 365 }} ] }},
]
[features]
{features}
[[analysis]]
name = "everything"
method = "describe"
variables = {names}
"""


def study() -> Study:
    """Five concept sets, three inclusion rules, fifty features."""
    made = {name: f'is = "{name}"' for name in ABOUT}
    made |= {name: f"condition = [{of}], before = 365" for name, of in DISEASES.items()}
    made |= {name: f"drug = [{of}], before = 365" for name, of in DRUGS.items()}
    made |= {name: f'measurement = [{of}], value = "{value}", before = 1095' for name, (of, value) in VALUES.items()}
    made["stays"] = 'visit = [9201], value = "days", before = 365'
    features = "\n".join(f"{name} = {{ {said} }}" for name, said in made.items())
    return parse(STUDY.format(features=features, names=json.dumps(list(made))))


def definition() -> Definition:
    """The cohort of the study."""
    return study().ground.cohort("arthritis")


# What is timed ------------------------------------------------------------------------------------------------


def hospital(cache: Path, count: int) -> Path:
    """A folder of Parquet files with so many people; made unless it is there."""
    made = cache / f"cohorts-{count}"
    if not (made / TRUTH).exists():
        synthesize(Plan(1, count, SEED), made)
    return made / "hospital-01"


def cohort(cdm: Cdm) -> Callable[[], int]:
    """Our cohort, and how far each person gets."""
    text = definition().text

    def made() -> int:
        found = circe.cohort(cdm, text, unknown=False)
        return int(found.rows.count().to_pyarrow().as_py())

    return made


def table(cdm: Cdm) -> Callable[[], int]:
    """The table of people with its features; it holds everybody, of whom so many are in the cohort."""
    asked = study()
    built = build.analyses(asked)
    return lambda: int((made(cdm, asked, built).frame[LEFT] == 0).sum())


def sql(cdm: Cdm, statistics: bool) -> Callable[[], int]:
    """The SQL of OHDSI's query builder, in DuckDB's dialect, statement by statement."""
    from circe.api import build_cohort_query
    from circe.cohortdefinition import BuildExpressionQueryOptions
    from circe.sqlrender import render, split_sql, translate

    options = BuildExpressionQueryOptions()
    options.generate_stats = statistics
    written = render(build_cohort_query(circe.expression(definition().text), options), **SCHEMAS)
    statements = [one for one in split_sql(translate(written, "duckdb")) if one.strip()]
    found = cdm.backend.con
    found.execute("CREATE SCHEMA cdm; CREATE SCHEMA results")
    for name in TABLES:
        cdm.backend.create_view(name, cdm.stored(name) if cdm.has(name) else cdm.table(name), database="cdm")
    for name, columns in RESULTS.items():
        found.execute(f"CREATE TABLE results.{name} ({columns})")

    def executed() -> int:
        for one in statements:
            found.execute(one)
        return int(found.execute("SELECT count(*) FROM results.cohort").fetchall()[0][0])

    return executed


TASKS: Mapping[str, Callable[[Cdm], Callable[[], int]]] = {
    "cohort": cohort, "sql": partial(sql, statistics=False), "sql with statistics": partial(sql, statistics=True),
    "table": table,
}  # fmt: skip


def run(task: str, folder: Path, counting: bool) -> dict[str, Any]:
    """Time a task in this process, after a first one on few people, which imports; or count the rows that it reads, on
    one thread, since DuckDB counts those of a file once for each."""
    with opened(hospital(folder.parents[1], WARM)) as cdm:
        TASKS[task](cdm)()
    with opened(folder) as cdm:
        ready = TASKS[task](cdm)
        if not counting:
            took = timed(ready)
            return {"wall": took.wall, "cpu": took.cpu, "peak": took.peak, "found": took.result}
        engine = cdm.backend.con
        engine.execute("SET threads = 1; SET profiling_coverage = 'ALL'")
        engine.execute('SET custom_profiling_settings = \'{"CUMULATIVE_ROWS_SCANNED": "true"}\'')
        engine.execute("PRAGMA enable_profiling = 'no_output'; CALL enable_logging('Metrics')")
        ready()
        engine.execute("PRAGMA disable_profiling")
        read = "SELECT count(*), sum(value::BIGINT) FROM duckdb_logs_parsed('Metrics')"
        queries, rows = engine.execute(read).fetchall()[0]
        return {"queries": queries, "rows": int(rows)}


# All together -------------------------------------------------------------------------------------------------


def measured(folder: Path, times: int) -> dict[str, Any]:
    """Every task, in turns. RuntimeError: one failed, or cohorts differ."""
    runs: dict[str, list[dict[str, Any]]] = {task: [] for task in TASKS}
    for _ in range(times):
        for task, done in runs.items():
            done.append(_fresh(task, folder))
    read = {task: _fresh(task, folder, "--count") for task in TASKS}
    sizes = {task: {one["found"] for one in done} for task, done in runs.items()}
    if len(set.union(*sizes.values())) > 1:  # each enters once, so that rows are people
        raise RuntimeError(f"cohorts differ: {sizes}")
    return {
        task: {key: spread([one[key] for one in done]) for key in ("wall", "cpu", "peak")}
        | read[task] | {"found": done[0]["found"]}
        for task, done in runs.items()
    }  # fmt: skip


def _fresh(task: str, folder: Path, *more: str) -> dict[str, Any]:
    found = fresh(python("cohorts", "--task", task, "--folder", str(folder), *more))
    if "failed" in found:
        raise RuntimeError(f"{task}: {found['failed']}")
    return found


def markdown(result: dict[str, Any]) -> str:
    """The rows of the README's table."""
    base = result["tasks"]["sql"]
    lines = [
        f"{result['people']:,} people, {result['rows']:,} rows; {base['found']:,} in the cohort.", "",
        "| measured | seconds | CPU s | times the SQL (CPU) | memory, GB | rows read |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for task, name in NAMES.items():
        one = result["tasks"][task]
        wall, cpu, peak = (one[key]["median"] for key in ("wall", "cpu", "peak"))
        times = f"{wall / base['wall']['median']:.2f} ({cpu / base['cpu']['median']:.2f})"
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {times} | {peak / 1e9:.2f} | {one['rows'] / 1e6:.1f} M |")
    return "\n".join(lines) + "\n"


NAMES = {
    "sql": "the cohort, as OHDSI's SQL", "sql with statistics": "the same with its statistics of rules",
    "cohort": "**Confrere**, the cohort with its funnel",
    "table": "**Confrere**, the table of people: the cohort and 50 features",
}  # fmt: skip


def main() -> None:
    """Measure, print, and write cohorts.json and cohorts.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--cache", type=Path, help="of the hospital; DIR/cache unless given")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(run(given.task, given.folder, given.count)))
        return
    cache = (given.cache or given.out / "cache").resolve()
    hospital(cache, WARM)
    folder = hospital(cache, given.people)
    rows = sum(json.loads((folder.parent / TRUTH).read_text(encoding="utf-8"))["hospitals"][0]["rows"].values())
    tasks = measured(folder, given.times)
    result = {"machine": described(), "people": given.people, "rows": rows, "times": given.times, "tasks": tasks}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "cohorts.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (given.out / "cohorts.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))


if __name__ == "__main__":
    main()
