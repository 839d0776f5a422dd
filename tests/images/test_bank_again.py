"""What was taken back stays so: the same list again, a copy of a file, a disk that was away, a backup."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")

from PIL import Image as PIL
from typer.testing import CliRunner

from confrere.console.app import app
from confrere.data.bags import Bags, standing, write
from confrere.data.opposition import Said
from confrere.errors import DataError, LedgerError, Refused, StudyError
from confrere.hospital.home import Home
from confrere.hospital.records import pictures
from confrere.images.bank import BACK, Bank
from confrere.images.similar import similar
from confrere.images.skin import SKIN
from confrere.study.file import parse
from images.lesions import jpeg, picture, png, written_on
from images.test_skin_commands import said

BY = "Dr Martin"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A hospital with nothing in it."""
    return Home.make(tmp_path / "home", "brest", {})


def taken(bank: Bank, many: int = 3) -> list[str]:
    """One picture for each of some people, for both uses."""
    images = [bank.add(png(picture(i, side=300)), f"p{i}", BY, label="nevus").image for i in range(many)]
    for image in images:
        for use in ("training", "discussing"):
            bank.consent(image, use, BY)
    return images


def smaller(pixels: Any) -> Any:
    """The same picture at another size."""
    return np.asarray(PIL.fromarray(pixels).resize((290, 290)))


STUDY = """
[study]
id = "all"
purpose = "public-interest research"
[data]
table = "t"
person = "person"
bags = ["images"]
[data.columns.label]
levels = ["nevus", "melanoma"]
[[analysis]]
name = "seen"
method = "table_one"
columns = ["label"]
"""


def extracted(home: Home, folder: Path) -> Path:
    """The bags of a bank, which hospital.toml names."""
    folder.parent.mkdir(exist_ok=True)
    made = home.images.bagged.extract(folder, SKIN).folder
    file = home.path / "hospital.toml"
    file.write_text(f"{file.read_text()}\n[data.bags]\nimages = {json.dumps(str(made))}\n")
    return made


def opposes(home: Home, person: str, purpose: str = "*") -> None:
    home.oppositions.say(Said(person, purpose, "opposed", "2026-01-05", "letter"))


# the same list again ------------------------------------------------------------------------------------------


def test_a_list_again_brings_back_nothing_that_was_taken_back(home: Home, tmp_path: Path) -> None:
    """Revoked and saved anew as another file, erased, a name in the middle painted over and revoked."""
    (tmp_path / "0.jpg").write_bytes(jpeg(picture(0, side=300)))
    (tmp_path / "1.jpg").write_bytes(jpeg(picture(1, side=300)))
    named = written_on(picture(2, side=300), "MARTIN J 1961", (90, 140), 13)
    (tmp_path / "2.png").write_bytes(png(named))
    lines = "".join(f"{file},p{i},yes,yes\n" for i, file in enumerate(("0.jpg", "1.jpg", "2.png")))
    (tmp_path / "list.csv").write_text(f"file,person,training,discussing\n{lines}")
    said(home.path, "add", tmp_path / "list.csv", "--by", BY)
    bank = home.images
    revoked, erased, masked = (p.image for p in bank.pictures())
    bank.revoke(revoked, "training", BY)
    bank.erase(erased, BY)
    bank.mask(masked, [(80, 130, 220, 165)], BY)
    bank.revoke(masked, "training", BY)
    PIL.open(tmp_path / "0.jpg").save(tmp_path / "0.jpg", quality=85)
    before = [p.image for p in bank.pictures()]
    for _ in range(2):  # every night
        text = said(home.path, "add", tmp_path / "list.csv", "--by", BY)
        assert text.count("was taken back") == 6
        came = [p for p in bank.pictures() if p.image not in before]
        assert [(p.person, p.state, p.why, p.uses) for p in came] == [(f"p{i}", "held", BACK, ()) for i in range(3)]
        assert not bank.pictures("training")
    for picture_ in came:  # also once somebody has looked at them
        bank.release(picture_.image, BY)
    said(home.path, "add", tmp_path / "list.csv", "--by", BY)
    assert not bank.pictures("training")
    bank.consent(came[0].image, "training", BY)  # which somebody says alone
    assert len(bank.pictures("training")) == 1


def test_what_is_given_again_is_not_held(home: Home) -> None:
    image, *_ = taken(home.images, 1)
    home.images.revoke(image, "training", BY)
    home.images.consent(image, "training", BY)
    assert home.images.add(jpeg(picture(0, side=300)), "p0", BY).state == "in"
    home.images.revoke(image, "training", BY)
    assert home.images.add(png(smaller(picture(0, side=300))), "p0", BY).why == BACK
    assert home.images.add(png(picture(7)), "p0", BY).state == "in"  # another of the same person


def test_a_bank_of_an_older_form_is_opened(home: Home) -> None:
    image, *_ = taken(home.images)
    with home.images.store.open() as db:
        db.execute("DROP TABLE past")
        db.execute("PRAGMA user_version = 2")
    again = Home(home.path).images
    again.erase(image, BY)
    assert again.add(png(picture(0, side=300)), "p0", BY).why == BACK


# bags ---------------------------------------------------------------------------------------------------------


def test_a_table_of_the_hospital_beside_the_bags_is_not_written_over(home: Home, tmp_path: Path) -> None:
    images, table = taken(home.images), tmp_path / "breast.csv"
    for theirs in ("pid,age\np1,50\n", "", "person,age\n"):
        table.write_text(theirs)
        with pytest.raises(StudyError, match=r"breast\.csv is there already, and the bank did not make it"):
            home.images.bagged.extract(tmp_path / "breast.bags", SKIN)
        assert table.read_text() == theirs
    table.write_text("person,label,tone,skin\np1,nevus,,\n")  # as the bank writes them, and yet not its own
    with pytest.raises(StudyError, match="did not make it"):
        home.images.bagged.extract(tmp_path / "breast.bags", SKIN)
    table.unlink()
    made = home.images.bagged.extract(tmp_path / "breast.bags", SKIN)
    assert home.images.bagged.extract(made.folder, SKIN).people == 3  # its own is replaced
    table.write_text("pid,age\np1,50\n")  # the hospital puts its own there later
    for image in images:
        home.images.revoke(image, "training", BY)
    assert not made.folder.exists()
    assert table.read_text() == "pid,age\np1,50\n"


def test_bags_whose_disk_was_away_are_without_what_was_revoked_before_they_are_read(home: Home, tmp_path: Path) -> None:
    images = taken(home.images, 4)
    folder = extracted(home, tmp_path / "disk" / "images.bags")
    folder.parent.rename(tmp_path / "away")
    home.images.revoke(images[0], "training", BY)
    (tmp_path / "away").rename(folder.parent)
    assert "p0" in Bags.open(folder).people  # nobody could reach it
    again = Home(home.path)
    before = standing([folder])
    assert pictures(again, parse(STUDY)) != before  # as before each round
    assert "p0" not in Bags.open(folder).people
    assert "p0" not in folder.with_suffix(".csv").read_text()
    assert pictures(again, parse(STUDY)) == pictures(again, parse(STUDY)) == standing([folder])
    folder.parent.rename(tmp_path / "away")
    again.images.revoke(images[1], "training", BY)
    (tmp_path / "away").rename(folder.parent)
    again.expire()  # the hourly work of whatever serves
    assert Bags.open(folder).people == ("p2", "p3")


def test_bags_that_cannot_be_moved_stop_no_revocation(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = taken(home.images)
    folder = extracted(home, tmp_path / "images.bags")
    again = Home(home.path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
        with pytest.raises(OSError, match="read-only"):
            again.images.revoke(images[0], "training", BY)
        assert [p.person for p in again.images.pictures("training")] == ["p1", "p2"]
        with pytest.raises(OSError, match="read-only"):  # and no study reads them
            pictures(again, parse(STUDY))
    pictures(again, parse(STUDY))
    assert Bags.open(folder).people == ("p1", "p2")


@pytest.mark.parametrize("hidden", [False, True])
def test_bags_under_another_name_are_refused_once_they_have_what_was_revoked(
    hidden: bool, home: Home, tmp_path: Path
) -> None:
    images = taken(home.images)
    made = home.images.bagged.extract(tmp_path / "images.bags", SKIN).folder
    copy = tmp_path / "photos.bags"
    shutil.copytree(made, copy)
    home.images.bagged.current([copy])
    home.images.revoke(images[0], "training", BY)
    home.images.bagged.current([made])
    if hidden:
        (copy / "images.csv").unlink()
    with pytest.raises(DataError, match=r"photos\.bags has pictures that may not be used"):
        home.images.bagged.current([made, copy])
    slides = write(tmp_path / "slides.bags", [("p0", np.zeros((1, 2)))], {"encoder": "stain"})
    home.images.bagged.current([Path(slides.where), tmp_path / "none.bags"])


# opposition ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["*", "Discussing"])
def test_the_case_of_who_opposes_is_erased(purpose: str, home: Home) -> None:
    images = taken(home.images)
    names = [home.cases.begin(image, "What is it?", "ada", ("martin",), 7) for image in images]
    home.cases.say(names[0], "martin", "secret")
    opposes(home, "p0", purpose)
    with pytest.raises(Refused):
        home.cases.png(names[0], "martin")
    assert {case.name for case in home.cases.mine("martin")} == set(names[1:])
    home.expire()
    assert b"secret" not in home.images.store.file.read_bytes()
    with pytest.raises(Refused, match="opposes"):
        home.cases.begin(images[0], "What is it?", "ada", ("martin",), 7)
    assert len(home.images.pictures("training")) == (2 if purpose == "*" else 3)


def test_who_opposes_is_in_no_bag_and_is_nobodys_similar_case(home: Home, tmp_path: Path) -> None:
    images = taken(home.images, 5)
    folder = extracted(home, tmp_path / "images.bags")
    opposes(home, "p0")
    opposes(home, "p1", "training")
    opposes(home, "p2", "cardiology")  # which says nothing about a use of pictures
    assert {s.person for s in similar(home.images, images[2], folder)} == {"p3", "p4"}
    with pytest.raises(StudyError, match="is not in"):
        similar(home.images, images[0], folder)
    home.expire()
    assert Bags.open(folder).people == ("p2", "p3", "p4")
    assert "p0" not in folder.with_suffix(".csv").read_text()
    assert home.images.bagged.extract(folder, SKIN).people == 3
    with pytest.raises(Refused):
        home.images.pixels(images[0], "training")
    assert home.images.check().by_use == {"discussing": 4, "training": 3}
    assert "no consent, or opposed" in said(home.path, "list", "--person", "p0")
    home.oppositions.withdraw("p0", "*", "letter")
    assert home.images.bagged.extract(folder, SKIN).people == 4


def test_a_revocation_is_written_where_the_register_is_gone(home: Home, tmp_path: Path) -> None:
    """And the bags stay away."""
    images = taken(home.images)
    folder = extracted(home, tmp_path / "images.bags")
    opposes(home, "p1")
    home.log("opposition recorded")
    (home.path / "oppositions.sqlite").unlink()
    again = Home(home.path)
    with pytest.raises(LedgerError, match="oppositions"):
        again.images.revoke(images[0], "training", BY)
    assert not folder.exists()
    assert [c.use for c in again.images.consents(images[0]) if c.revoked] == ["training"]


# cases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["revoked", "held"])
def test_a_consent_given_again_opens_no_case_again(way: str, home: Home) -> None:
    """Nothing has looked at the cases in between."""
    image, *_ = taken(home.images)
    name = home.cases.begin(image, "What is it?", "ada", ("martin",), 7)
    home.cases.say(name, "martin", "secret")
    if way == "revoked":
        home.images.revoke(image, "discussing", BY)
        assert b"secret" not in home.images.store.file.read_bytes()
        home.images.consent(image, "discussing", BY)
    else:
        assert home.images.mask(image, [(0, 0, 20, 20)], BY).state == "in"
    assert home.cases.heads() == ()
    assert next(home.ledger.entries(event="case erased")).facts["case"] == name


# a backup, the quarantine -------------------------------------------------------------------------------------


def test_a_backup_brings_back_nothing_before_somebody_says_so(home: Home, tmp_path: Path) -> None:
    images = taken(home.images)
    folder = extracted(home, tmp_path / "images.bags")
    name = home.cases.begin(images[0], "What is it?", "ada", ("martin",), 7)
    home.cases.say(name, "martin", "secret")
    home.backup(tmp_path / "backup")
    home.images.revoke(images[0], "training", BY)
    home.images.erase(images[1], BY)
    told = CliRunner().invoke(app, ["hospital", "restore", str(tmp_path / "backup"), "--home", str(tmp_path / "new")])
    assert "Pictures held: 3." in told.output
    new = Home(tmp_path / "new")
    assert not new.images.pictures("training")
    assert not new.images.pictures("discussing")
    assert new.cases.heads() == ()
    assert b"secret" not in new.images.store.file.read_bytes()
    with pytest.raises(DataError, match="may not be used"):
        pictures(new, parse(STUDY))
    assert Bags.open(folder).people == ("p2",)  # those of the bank that was backed up stay as they were
    assert new.images.mask(images[2], [(0, 0, 20, 20)], BY).state == "held"
    new.images.revoke(images[0], "training", BY)
    new.images.erase(images[1], BY)
    with pytest.raises(StudyError, match="which pictures"):
        said(new.path, "release", "--by", BY)
    assert said(new.path, "release", "--restored", "--by", BY).count("is released") == 2
    assert [p.image for p in new.images.pictures("training")] == [images[2]]


def test_names_of_files_in_quarantine_can_be_erased(home: Home) -> None:
    home.images.add(b"nothing", "p1", BY, name="MARTIN_Jean_1961.jpg")
    assert "MARTIN_Jean_1961.jpg" in said(home.path, "check")
    with pytest.raises(StudyError, match="--quarantine"):
        said(home.path, "erase", "--by", BY)
    assert "1 file in quarantine" in said(home.path, "erase", "--quarantine", "--by", BY)
    assert "MARTIN" not in said(home.path, "check")
    assert all(b"MARTIN" not in file.read_bytes() for file in home.path.rglob("*") if file.is_file())
    assert next(home.ledger.entries(event="quarantine erased")).facts["files"] == 1
