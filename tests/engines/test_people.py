"""Studies on OMOP records over a federation: approved, run and answered like any other, oppositions first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("circe")

from cohorts.clinic import STUDY as WHOLE
from cohorts.clinic import clinic
from cohorts.world import written
from confrere.console.local import Local
from confrere.coordinator import roster
from confrere.coordinator.conduct import Folder, conduct
from confrere.coordinator.home import Home as CoordinatorHome
from confrere.data.opposition import Said
from confrere.errors import DataError
from confrere.hospital.home import Home
from confrere.study.file import parse
from confrere.study.ground import LEFT
from engines.inprocess import let_go, links

NAMES = ("curie", "delft", "lyon")
BEGIN = WHOLE.index("[[analysis]]")
STUDY = (
    WHOLE[:BEGIN]
    + """
[[analysis]]
name = "users"
method = "cohort"
cohort = "one"
[[analysis]]
name = "bleeding"
method = "cox"
formula = "Surv(bleed_time, bleed) ~ treated + age"
[[analysis]]
name = "sugar"
method = "linear"
formula = "last ~ treated + age + visits"
"""
)


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Home]:
    """Three hospitals with OMOP folders, and a roster that all have signed."""
    made = {}
    for seed, name in enumerate(NAMES):
        records = written(clinic(400, seed), tmp_path / "records" / name)
        made[name] = Home.make(tmp_path / name, name, {"omop": str(records)})
    listed = tmp_path / "roster.json"
    roster.assemble([home.card() for home in made.values()], listed)
    for home in made.values():
        home.sign(listed)
    for home in made.values():
        home.pin(listed)
    roster.pin(listed, CoordinatorHome.make(tmp_path / "coordinator").path)
    return made


def test_a_federation_finds_what_one_process_finds(homes: dict[str, Home], tmp_path: Path) -> None:
    study = parse(STUDY)
    assert "condition_occurrence" in homes["curie"].rules.columns["omop"]
    for home in homes.values():
        home.approve(STUDY)
    folder = Folder.make(tmp_path / "coordinator" / "runs" / study.hash[:16], STUDY)
    given = links({name: Home(home.path) for name, home in homes.items()})
    try:
        found = conduct(folder, given)
    finally:
        let_go(given)
    assert not found.errors
    local = Local({name: tmp_path / "records" / name for name in NAMES}).run(study)
    for name, finding in local.findings.items():
        assert finding.tables == found.findings[name].tables
    funnel, *_ = local.findings["users"].tables["funnel"]
    assert funnel["n"] == 1200
    attrition = {row["reason"]: row["n"] for row in local.findings["bleeding"].tables["attrition"] if "reason" in row}
    assert attrition["no entry event"] > 50
    assert "in both cohorts from the same day" in attrition


def test_whoever_opposes_is_in_no_table(homes: dict[str, Home]) -> None:
    home, study = homes["curie"], parse(STUDY)
    everybody = home.records(study)
    person = everybody.ids[5]
    home.oppositions.add([Said(person, "*", "opposed", "2024-01-01", "a test")])
    left = home.records(study)
    assert person not in set(left.table.frame["person_id"])
    assert len(left.table.frame) == len(everybody.table.frame) - 1
    assert left.opposed != everybody.opposed
    assert left.cut != everybody.cut


def test_oppositions_by_another_column_are_no_oppositions(homes: dict[str, Home], tmp_path: Path) -> None:
    """A hospital that records them by its own numbers is told, before anybody who opposes is read."""
    other = Home.make(tmp_path / "other", "other", {"omop": str(tmp_path / "records" / "curie")}, "person_source_value")
    with pytest.raises(DataError, match="OMOP records name people by person_id"):
        other.records(parse(STUDY))


def test_ids_that_are_spelt_in_another_way_are_refused(homes: dict[str, Home], tmp_path: Path) -> None:
    """An opposition by 000007 would be nobody's: the records name this person 7."""
    folder = tmp_path / "padded"
    folder.mkdir()
    for name, rows in clinic(50, 1).items():
        ids = {"person_id": rows["person_id"].map("{:06d}".format)} if "person_id" in rows else {}
        rows.assign(**ids).to_csv(folder / f"{name}.csv", index=False)
    with pytest.raises(DataError, match="50 ids of table 'person' are whole numbers spelt in another way"):
        Home.make(tmp_path / "other", "other", {"omop": str(folder)}).records(parse(STUDY))


def test_the_same_feature_under_another_name_is_the_same_cohort(homes: dict[str, Home]) -> None:
    """Definitions are of what columns are made of: another window under the same name is another one."""
    home = homes["curie"]

    def definitions(text: str) -> list[str]:
        return [c.definition for c in home.records(parse(text)).cohorts if c.family == "" and c.analysis == "sugar"]

    renamed = STUDY.replace("last = {", "glucose = {").replace("last ~", "glucose ~")
    other = STUDY.replace("last = { measurement = [301]", "last = { before = 99, measurement = [301]")
    assert other != STUDY != renamed
    assert definitions(STUDY) == definitions(renamed)
    assert definitions(STUDY) != definitions(other)


def test_one_table_in_place_of_omop_records_must_have_the_columns(homes: dict[str, Home], tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("age\n1\n")
    settings = homes["curie"].path / "hospital.toml"
    text = re.sub(r'^"omop" = .*$', f'"omop" = "{tmp_path}/people.csv"', settings.read_text(), count=1, flags=re.M)
    settings.write_text(text)
    with pytest.raises(DataError, match="there is no column"):
        Home(settings.parent).records(parse(STUDY))


def test_people_whom_the_study_is_not_about_are_in_the_table_with_their_reason(homes: dict[str, Home]) -> None:
    table = homes["lyon"].records(parse(STUDY)).table
    code = table.frame[LEFT].astype(int)
    counts = code[code > 0].value_counts()
    assert len(table.frame) == 400
    assert set(counts.index) <= set(range(1, len(table.reasons) + 1))
    assert counts[1 + table.reasons.index("no entry event")] > 10
