"""Recruitment over a federation of processes, by commands alone: from OMOP records to what became of each patient."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("nvflare")

from journeys.test_federation_page import BASH, PAGE, followed, free

NAMES = ("delft", "gouda", "rotterdam")
STUDY = """\
[study]
id = "joint-trial"
title = "Who may join a trial of osteoarthritis"
purpose = "clinical trial"
[data]
table = "omop"
person = "person_id"
target = "eligible"
[concepts]
osteoarthritis = { include = [80180] }
pain = { include = ["LOINC:72514-3"] }
[cohorts.eligible]
entry = { condition = "osteoarthritis" }
criteria = [
    { name = "50 to 80 years old", age = [50, 80] },
    { name = "pain 4 or more", measurement = "pain", value = ">= 4", before = 3650 },
]
[features]
age = { is = "age" }
[[analysis]]
name = "list"
method = "recruitment"
title = "Osteoarthritis"
cohort = "eligible"
unknown = 1
show = ["age"]
"""
RECORDS = """
confrere synthesize --out made --hospitals 3 --people 1000 --seed 5
mkdir records
mv made/hospital-01 records/delft; mv made/hospital-02 records/gouda; mv made/hospital-03 records/rotterdam
"""
RECRUITED = """
confrere coordinator token ada --home coordinator > token
connect="confrere connect https://localhost:8443 --token token --authority authority/authority.pem"
for i in $(seq 120); do $connect > seen 2>&1 && break; sleep 0.5; done
for name in delft gouda rotterdam; do confrere hospital approve study.toml --yes --by "Dr Steward" --home $name; done
confrere fetch "$(confrere submit study.toml)" study.toml --wait 180 --out results
list="confrere hospital worklist"
$list list --home delft > lists
! $list show osteoarthritis --clinician dr-a --home delft > early 2>&1    # nobody may see it yet
for name in delft gouda rotterdam; do
  $list grant osteoarthritis --clinician dr-a --home $name
  $list export osteoarthritis --clinician dr-a --out $name.csv --with-patients --home $name
done
$list show osteoarthritis --clinician dr-a --home delft > shown
one="$(sed -n 2p delft.csv | cut -d, -f1)"; other="$(sed -n 3p delft.csv | cut -d, -f1)"
! $list status osteoarthritis $one contacted --clinician dr-a --home delft > hasty 2>&1
for status in eligible contacted consented; do
  $list status osteoarthritis $one $status --clinician dr-a --home delft
done
$list status osteoarthritis $other not-eligible --reason "moved away" --clinician dr-a --home delft
opposition="confrere hospital opposition"
$opposition add $other --purpose "contact for research" --source letter --home delft > opposed 2>&1
$list export osteoarthritis --clinician dr-a --out later.csv --with-patients --home delft
$list log osteoarthritis --out log.csv --home delft
$list list --home delft > lists-later
confrere ledger verify delft/ledger.sqlite
for i in $(seq 60); do grep -L ' 0]$' coordinator/engine/heard/*.json | wc -l | grep -q 3 && break; sleep 0.5; done
"""


def script() -> str:
    """The federation is founded by the commands of its page, on OMOP records."""
    port, api = free()
    before = PAGE.read_text(encoding="utf-8").partition("## Approving a study")[0]
    _, *founding = BASH.findall(before)
    text = "\n".join([RECORDS, *founding, RECRUITED]).replace("8102", str(port)).replace("8443", str(api))
    return "set -e\n" + text.replace("breast=records/$name.csv --person pid", "omop=records/$name --person person_id")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.slow
def test_from_records_to_what_became_of_each_patient(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    followed(script(), tmp_path, 400)
    listed = {name: rows(tmp_path / f"{name}.csv") for name in NAMES}
    _counted(tmp_path, listed)
    _worked(tmp_path, listed["delft"])


def _counted(place: Path, listed: dict[str, list[dict[str, str]]]) -> None:
    """The network has the funnel, and of each list one number that is floored."""
    result = json.loads((place / "results" / "result.json").read_text())
    funnel = {record["step"]: record["n"] for record in result["analyses"][0]["tables"]["funnel"]}
    assert funnel["people"] == 3000
    assert funnel["few criteria unknown"] == sum(map(len, listed.values())) > 100
    for name in NAMES:
        told = json.loads((place / "coordinator" / "engine" / "heard" / f"{name}.json").read_text())[-1]
        assert told == len(listed[name]) // 11 * 11 > 0, "floored, of the first look of the month"


def _worked(place: Path, listed: list[dict[str, str]]) -> None:
    """What clinician and steward of one hospital were shown."""
    one, other = (row["person_id"] for row in listed[:2])
    assert "nobody may see it yet" in (place / "lists").read_text()
    assert "the steward grants it" in (place / "early").read_text()
    assert all(row["person_id"] in (place / "shown").read_text() for row in listed)
    assert "cannot become 'contacted'" in (place / "hasty").read_text()
    later = {row["person_id"]: row for row in rows(place / "later.csv")}
    assert set(later) == {row["person_id"] for row in listed} - {other}  # who opposes being contacted is gone at once
    assert later[one]["status"] == "consented"
    assert (place / "opposed").read_text() == f"delft: {other} opposed (contact for research).\n"
    assert "oppose being contacted: 1 patient" in (place / "lists-later").read_text()
    log = {row["step"]: row["n"] for row in rows(place / "log.csv")}
    assert (log["on the list"], log["consented"], log["enrolled"]) == (str(len(listed) - 1), "1", "0")
    for file in (place / "coordinator").rglob("*"):
        assert not (file.is_file() and b"moved away" in file.read_bytes()), file
