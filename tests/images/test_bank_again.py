"""What was taken back stays so: the same list again, a copy of a file, a disk that was away, a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")

from PIL import Image as PIL

from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.images.bank import BACK, Bank
from confrere.images.skin import SKIN
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
