"""From synthetic hospitals and a study file to who the people are: overlap, pathways, rates, and their figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from confrere.data.synthesize import Plan, synthesize
from journeys.command import Shell

STUDY = """
[study]
id = "hypertension"
purpose = "public-interest research"
[data]
table = "omop"
target = "hypertension"
[concepts]
hypertension = { include = [320128] }
diabetes = { include = [201826] }
lisinopril = { include = [1308216] }
amlodipine = { include = [1332418] }
[cohorts]
hypertension = { entry = { condition = "hypertension", first = true }, criteria = [{ name = "adults", age = ">= 40" }] }
diabetes = { entry = { condition = "diabetes", first = true } }
lisinopril = { entry = { drug = "lisinopril" }, events = "all", exit = { while_on = "lisinopril", gap = 30 } }
amlodipine = { entry = { drug = "amlodipine" }, events = "all", exit = { while_on = "amlodipine", gap = 30 } }
[features]
age = { is = "age" }
sex = { is = "sex" }
[[analysis]]
name = "who"
method = "describe"
variables = ["age", "sex"]
[[analysis]]
name = "both"
method = "overlap"
of = ["hypertension", "diabetes"]
[[analysis]]
name = "ways"
method = "pathways"
target = "hypertension"
treatments = ["lisinopril", "amlodipine"]
lines = 2
[[analysis]]
name = "new"
method = "occurrence"
outcome = "diabetes"
years = [2012, 2019]
ages = [20, 60]
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_from_records_to_figures(shell: Shell) -> None:
    made = synthesize(Plan(3, 2500, 5), shell.folder / "hospitals")
    (shell.folder / "study.toml").write_text(STUDY)
    named = [arg for one in made for arg in ("--hospital", f"{one.folder.name}={one.folder}")]
    said = shell("run", "study.toml", *named, "--out", "out")
    assert said.code == 0, said.err
    out = shell.folder / "out"
    names = {figure.name for figure in (out / "figures").glob("*.svg")}
    assert {"both_overlap.svg", "ways_pathways.svg", "new_rates.svg", "who_flow.svg"} <= names
    result = json.loads((out / "result.json").read_text())
    found = {a["name"]: a for a in result["analyses"]}
    paths = rows(out / "tables" / "ways_pathways.csv")
    assert sum(int(r["n"]) for r in paths) == found["ways"]["n"] == found["who"]["n"]
    assert min(int(r["n"]) for r in paths) >= 11
    assert {r["line_1"] for r in paths} >= {"lisinopril", "amlodipine"}
    sizes = {r["cohort"]: int(r["n"]) for r in rows(out / "tables" / "both_totals.csv")}
    assert sizes["hypertension"] == found["ways"]["n"]
    told = rows(out / "figures" / "new_rates.csv")
    assert sum(int(r["events"]) for r in told if r["by"] == "year") == found["new"]["events"]
