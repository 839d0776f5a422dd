"""Synthetic hospitals from the command line: made, asked, and asked for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from .command import Shell


def test_the_demo_and_the_same_as_files(shell: Shell) -> None:
    ran = shell("demo", "omop", "--out", "demo")
    assert ran.code == 0, ran.err
    assert "60,000 people in 3 hospitals" in ran.out
    assert [path.name for path in shell.folder.iterdir()] == ["demo"]  # the hospitals are gone
    assert shell("records", "omop", "--out", "records").code == 0
    given = [f"--hospital=hospital-0{i}=records/hospital-0{i}" for i in (1, 2, 3)]
    ran = shell("run", "records/study.toml", *given, "--out", "files")
    assert ran.code == 0, ran.err
    told = [json.loads((shell.folder / out / "result.json").read_text(encoding="utf-8")) for out in ("files", "demo")]
    assert told[0]["analyses"] == told[1]["analyses"]
    found = {one["name"]: one["tables"] for one in told[0]["analyses"]}
    counts = [row["n"] for row in found["eligible"]["funnel"]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 60_000 > counts[1] > counts[-1]
    assert counts[-1] == sum(eligible(shell.folder / "records" / f"hospital-0{i}") for i in (1, 2, 3))
    crude, adjusted = (found[name]["coefficients"][0] for name in ("crude", "adjusted"))
    assert abs(adjusted["estimate"] + 0.5) < 1.96 * adjusted["std_error"]  # the effect that is in the records
    assert crude["estimate"] > adjusted["estimate"] + 0.2  # whoever is sicker gets the drug more often


def eligible(folder: Path) -> int:
    """Who could enter the trial, by SQL of our own."""
    db = duckdb.connect()
    for path in folder.glob("*.parquet"):
        db.read_parquet(str(path)).create_view(path.stem)
    return int(db.execute(ELIGIBLE).fetchall()[0][0])


ELIGIBLE = """
with entry as (
    select person_id, min(condition_start_date) as day from condition_occurrence
    where condition_concept_id in (80180, 4079749, 4079750) group by all
)
select count(*) from entry join person using (person_id) join observation_period using (person_id)
where day - 180 >= observation_period_start_date and year(day) - year_of_birth between 50 and 80
    and not exists (from condition_occurrence c where c.person_id = entry.person_id
        and condition_concept_id in (4027663, 192671) and condition_start_date <= day)
    and not exists (from drug_exposure d where d.person_id = entry.person_id
        and drug_concept_id in (1310149, 40163554, 1112807, 19059056)
        and drug_exposure_start_date between day - 365 and day)
"""


def test_what_the_demo_cannot(shell: Shell) -> None:
    ran = shell("demo", "omop", "--federated")
    assert ran.code == 2
    assert "the demo 'omop' runs in this process alone" in ran.err


def test_hospitals_are_made_and_never_written_over(shell: Shell) -> None:
    given = (
        "synthesize",
        "--out",
        "made",
        "--hospitals",
        "2",
        "--people",
        "150",
        "--site-shift",
        "0",
        "--effect",
        "0.3",
    )
    ran = shell(*given)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0].startswith("made/hospital-01: 150 people, ")
    truth = json.loads((shell.folder / "made" / "truth.json").read_text(encoding="utf-8"))
    assert truth["plan"] == {"hospitals": 2, "people": 150, "seed": 1, "shift": 0.0, "effect": 0.3}
    again = shell(*given)
    assert (again.code, again.out) == (2, "")
    assert "made is not an empty folder" in again.err
