"""Keys that change or are lost, hospitals that join or leave: what becomes of the runs of a federation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from confrere.coordinator import roster
from confrere.coordinator.conduct import Folder, conduct
from confrere.data.opposition import Said
from confrere.errors import KeysError, Refused, StudyError, Waiting
from confrere.hospital.home import Home
from confrere.study.file import parse
from confrere.sums.files import read_roster
from engines.inprocess import FOUR, NAMES, STUDY, found, let_go, links, tables, told

HASH = parse(STUDY).hash
LATER = STUDY.replace("engine-test", "another-study")
TAKEN_OVER = ("oppositions.sqlite", "answered.sqlite", "members.key")  # as docs/federation.md says
SIX = ("curie", "delft", "lyon", "metz", "nancy", "paris")


def all_pin(place: Path, homes: Mapping[str, Home], listed: Path) -> dict[str, Home]:
    """Everybody signs a roster and pins it, the coordinator too; the hospitals, as they are opened the next time."""
    for home in homes.values():
        home.sign(listed)
    for home in homes.values():
        home.pin(listed)
    roster.pin(listed, place / "coordinator")
    return {name: Home(home.path) for name, home in homes.items()}


def of(place: Path, homes: Mapping[str, Home]) -> dict[str, Home]:
    """The federation of these hospitals, by their present cards."""
    roster.assemble([home.card() for home in homes.values()], place / "new.json")
    return all_pin(place, homes, place / "new.json")


def run(place: Path, homes: Mapping[str, Home], lost_at: int = 0, text: str = STUDY) -> Any:
    """One attempt at a run, in which lyon is lost at a message; findings without one."""

    def lose(name: str, number: int, answered: bool) -> None:
        if name == "lyon" and number == lost_at:
            raise Waiting("lyon did not answer")

    folder = Folder.make(place / "coordinator" / "runs" / parse(text).hash[:16], text)
    given = links(homes, lose)
    try:
        result = conduct(folder, given)
    finally:
        let_go(given)
    assert not result.errors
    return {name: finding.tables for name, finding in result.findings.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the study finds where nothing changes."""
    place = tmp_path_factory.mktemp("whole")
    return run(place, found(place)[1])


def test_a_run_goes_on_after_a_key_was_handed_over(tmp_path: Path, whole: Any) -> None:
    _, homes = found(tmp_path)
    with pytest.raises(Waiting, match="lyon did not answer"):
        run(tmp_path, homes, lost_at=15)
    before = homes["lyon"].identity.public
    roster.rotate(tmp_path / "roster.json", homes["lyon"].rotate(), tmp_path / "new.json")
    homes = all_pin(tmp_path, homes, tmp_path / "new.json")
    assert read_roster(tmp_path / "curie" / "roster.json").keys["lyon"] != before
    with pytest.raises(Waiting, match="waiting for the stewards of curie, delft, lyon"):
        run(tmp_path, homes)  # the yes was to another roster
    for home in homes.values():
        home.approve(STUDY)
    assert run(tmp_path, homes) == whole


def test_a_lost_key_is_said_and_comes_back_with_the_backup(tmp_path: Path, whole: Any) -> None:
    _, homes = found(tmp_path)
    homes["lyon"].backup(tmp_path / "lyon.backup")
    (tmp_path / "lyon" / "identity.key").unlink()
    for act in (lambda h: h.identity, lambda h: h.card(), lambda h: h.sign(tmp_path / "roster.json"), Home.rotate):
        with pytest.raises(StudyError, match=r"identity\.key is lost: restore it from the hospital's backup"):
            act(Home(tmp_path / "lyon"))
    shutil.move(tmp_path / "lyon" / "breast.csv", tmp_path / "breast.csv")
    shutil.rmtree(tmp_path / "lyon")
    restored = Home.restore(tmp_path / "lyon.backup", tmp_path / "lyon")
    shutil.move(tmp_path / "breast.csv", tmp_path / "lyon" / "breast.csv")
    assert run(tmp_path, {**homes, "lyon": restored}) == whole  # the same key: nobody signs anything anew


def test_without_a_backup_it_is_a_new_member_that_forgot_nobody(tmp_path: Path) -> None:
    """A new folder and key under the same name. What must not be forgotten is taken over from the old folder."""
    _, homes = found(tmp_path)
    settings = tmp_path / "lyon" / "hospital.toml"
    settings.write_text(settings.read_text().replace('"breast.csv"', '{path = "breast.csv", person = "pid"}'))
    homes["lyon"] = Home(tmp_path / "lyon")
    before = run(tmp_path, homes)
    old, one = tmp_path / "lyon", str(tables()["lyon"]["pid"].iloc[0])
    homes["lyon"].oppositions.say(Said(one, "*", "opposed", "2026-01-01", "letter"))
    (old / "identity.key").unlink()
    fresh = Home.make(tmp_path / "new", "lyon", {"breast": str(old / "breast.csv")}, "pid")
    with pytest.raises(KeysError, match="with its present key"):
        fresh.pin(tmp_path / "roster.json")  # a new key is no member of the old list
    for kept in TAKEN_OVER:
        shutil.copy(old / kept, fresh.path / kept)
    homes = of(tmp_path, {**homes, "lyon": fresh})
    for home in homes.values():
        home.approve(LATER)
    after = run(tmp_path, homes, text=LATER)
    people = [told_of["ages"]["attrition"][-1]["n"] for told_of in (before, after)]
    assert people[0] - 100 < people[1] <= people[0] - 11  # less whoever opposed, and a cover that hides them


def test_joining_is_a_new_list_and_a_study_of_all_runs_over_it(tmp_path: Path) -> None:
    _, homes = found(tmp_path, names=FOUR)
    three = of(tmp_path, {name: home for name, home in homes.items() if name != "paris"})
    for home in three.values():
        home.approve(STUDY)
    four = of(tmp_path, {**three, "paris": homes["paris"]})
    with pytest.raises(Waiting, match="stewards of curie, delft, lyon"):
        run(tmp_path, four)  # their yes was to the list of three
    for home in four.values():
        home.approve(STUDY)
    assert run(tmp_path, four)


def test_one_who_leaves_closes_its_runs(tmp_path: Path) -> None:
    """The others cannot go on: the difference would be the sums of the one who left."""
    _, homes = found(tmp_path, names=FOUR)
    with pytest.raises(Waiting):
        run(tmp_path, homes, lost_at=15)
    three = of(tmp_path, {name: home for name, home in homes.items() if name != "paris"})
    with pytest.raises(Waiting, match="stewards of curie, delft, lyon"):
        run(tmp_path, three)
    for home in three.values():
        with pytest.raises(StudyError, match="answered for with other hospitals, and fewer than 3"):
            home.approve(STUDY)


def refused(folder: Path, homes: Mapping[str, Home]) -> Mapping[str, Home]:
    """Three of the hospitals, after a run with them alone was refused."""
    three = of(folder, {name: homes[name] for name in NAMES})
    for home in three.values():
        home.approve(STUDY)
    with pytest.raises(Refused):
        run(folder, three)
    assert "begun with other hospitals" in told(folder / "curie").splitlines()[-1]
    return three


def test_a_run_does_not_go_on_over_fewer_hospitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three who leave do not show one hospital by a difference; but half a run is of six and half of three."""
    monkeypatch.setattr("engines.inprocess.tables", six)
    _, homes = found(tmp_path, names=SIX)
    with pytest.raises(Waiting):
        run(tmp_path, homes, lost_at=15)
    three = refused(tmp_path, homes)
    shutil.rmtree(tmp_path / "coordinator" / "runs" / HASH[:16])
    for home in three.values():  # to begin anew, as the ledger says
        home.erase(HASH)
        home.approve(STUDY)
    assert run(tmp_path, three)


def before_the_members_were_written(folder: Path, out: str) -> None:
    """A run under way as the release before left it: who takes no part stands there, not who does."""
    for file in folder.glob("*/runs/*/members"):
        file.unlink()
        (file.parent / "without").write_text(out)


def test_a_run_begun_under_the_release_before_goes_on(tmp_path: Path) -> None:
    _, homes = found(tmp_path / "whole")
    whole = run(tmp_path / "whole", homes)
    _, homes = found(tmp_path)
    with pytest.raises(Waiting):
        run(tmp_path, homes, lost_at=15)
    before_the_members_were_written(tmp_path, "")
    assert run(tmp_path, homes) == whole


def test_and_holds_to_the_hospitals_it_began_with(tmp_path: Path) -> None:
    """The guard of that release: a sum less one hospital would show its part."""
    _, homes = found(tmp_path, names=FOUR)
    with pytest.raises(Waiting):
        run(tmp_path, homes, lost_at=15)
    before_the_members_were_written(tmp_path, "paris")
    with pytest.raises(Refused):
        run(tmp_path, homes)
    assert "begun with other hospitals" in told(tmp_path / "curie")


def test_nor_does_it_go_on_over_a_roster_pinned_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is `without` in either; the ledger has the roster with which it began."""
    monkeypatch.setattr("engines.inprocess.tables", six)
    _, homes = found(tmp_path, names=SIX)
    with pytest.raises(Waiting):
        run(tmp_path, homes, lost_at=15)
    before_the_members_were_written(tmp_path, "")
    three = refused(tmp_path, homes)
    shutil.rmtree(tmp_path / "coordinator" / "runs" / HASH[:16])
    for home in three.values():
        home.erase(HASH)
        home.approve(STUDY)
    with pytest.raises(Waiting):
        run(tmp_path, three, lost_at=15)
    before_the_members_were_written(tmp_path, "")
    assert run(tmp_path, three)  # begun anew, with the three


def six(names: tuple[str, ...]) -> Any:
    """The records of three hospitals, dealt to six."""
    return {name: tables()[NAMES[i // 2]].iloc[i % 2 :: 2] for i, name in enumerate(SIX)}
