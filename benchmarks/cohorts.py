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
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.process import fresh, python, spread, timed
from confrere.data import circe
from confrere.data.omop import opened
from confrere.data.people import people
from confrere.data.synthesize import TRUTH, Plan, synthesize
from confrere.study import build
from confrere.study.circe import Definition
from confrere.study.file import Study, parse

SEED = 1
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
    """A folder of Parquet files with so many people, made unless it is there; beside it, how many rows it has."""
    made = cache / f"cohorts-{count}"
    if not (made / TRUTH).exists():
        synthesize(Plan(1, count, SEED), made)
    return made / "hospital-01"


def cohort(folder: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Our cohort: what is timed, and what it found."""


