"""Rosters as files: assembled from cards, compared, signed, pinned; keys handed over, hospitals that come and go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from confrere.coordinator import roster
from confrere.errors import KeysError, StudyError
from confrere.hospital.home import Home
from confrere.sums.files import read_roster


def made(place: Path, *names: str) -> dict[str, Home]:
    return {name: Home.make(place / name, name, {"people": "people.csv"}) for name in names}


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Home]:
    return made(tmp_path, "curie", "delft", "lyon")


def signed(homes: dict[str, Home], out: Path) -> Path:
    roster.assemble([h.card() for h in homes.values()], out)
    for home in homes.values():
        home.sign(out)
    return out


def test_what_stewards_compare_is_what_each_hospital_has(homes: dict[str, Home], tmp_path: Path) -> None:
    out = tmp_path / "roster.json"
    roster.assemble([h.card() for h in homes.values()], out)
    assert [(one.name, one.fingerprint, one.signed) for one in roster.lines(out)] == [
        (name, home.identity.fingerprint, False) for name, home in sorted(homes.items())
    ]


def test_nothing_is_pinned_that_not_all_have_signed(homes: dict[str, Home], tmp_path: Path) -> None:
    out = tmp_path / "roster.json"
    roster.assemble([h.card() for h in homes.values()], out)
    homes["curie"].sign(out)
    with pytest.raises(KeysError, match=r"not signed by \['delft', 'lyon'\]"):
        homes["curie"].pin(out)
    with pytest.raises(KeysError, match="not signed"):
        roster.pin(out, tmp_path)
    with pytest.raises(StudyError, match="has no roster"):
        _ = homes["curie"].roster


def test_signatures_gathered_by_mail_come_together(homes: dict[str, Home], tmp_path: Path) -> None:
    copies = []
    for name, home in homes.items():
        copies.append(tmp_path / f"{name}.json")
        roster.assemble([h.card() for h in homes.values()], copies[-1])
        home.sign(copies[-1])
    roster.merge(copies, tmp_path / "all.json")
    assert homes["lyon"].pin(tmp_path / "all.json") == ("curie", "delft")
    assert homes["lyon"].roster.names == ("curie", "delft", "lyon")


def test_copies_of_different_rosters_do_not_come_together(homes: dict[str, Home], tmp_path: Path) -> None:
    roster.assemble([h.card() for h in homes.values()], tmp_path / "one.json")
    others = {**homes, **made(tmp_path, "paris")}
    roster.assemble([h.card() for h in others.values()], tmp_path / "two.json")
    with pytest.raises(KeysError, match="different rosters"):
        roster.merge([tmp_path / "one.json", tmp_path / "two.json"], tmp_path / "all.json")


def test_a_swapped_key_is_seen_by_its_owner(homes: dict[str, Home], tmp_path: Path) -> None:
    out, stranger = tmp_path / "roster.json", made(tmp_path / "x", "lyon")["lyon"]
    signed({**homes, "lyon": stranger}, out)
    with pytest.raises(KeysError, match="with its present key"):
        homes["lyon"].pin(out)
    with pytest.raises(KeysError, match="is not a member"):
        homes["lyon"].sign(out)


def test_a_key_is_handed_over(homes: dict[str, Home], tmp_path: Path) -> None:
    out = signed(homes, tmp_path / "roster.json")
    for home in homes.values():
        home.pin(out)
    before = homes["lyon"].identity
    rotation = homes["lyon"].rotate()
    assert homes["lyon"].identity.public != before.public
    assert (tmp_path / "lyon" / "identity.key").stat().st_mode & 0o077 == 0
    assert before.to_bytes().hex() not in rotation.read_text()
    roster.rotate(out, rotation, tmp_path / "new.json")
    assert read_roster(tmp_path / "new.json").keys["lyon"] == homes["lyon"].identity.public
    for home in homes.values():
        home.sign(tmp_path / "new.json")
    for home in homes.values():
        home.pin(tmp_path / "new.json")


def test_a_handover_that_the_old_key_did_not_sign_is_refused(homes: dict[str, Home], tmp_path: Path) -> None:
    out = signed(homes, tmp_path / "roster.json")
    thief = made(tmp_path / "x", "lyon")["lyon"]
    with pytest.raises(KeysError, match="not its key in the roster"):
        roster.rotate(out, thief.rotate(), tmp_path / "new.json")
    said = json.loads((rotation := homes["lyon"].rotate()).read_text())
    rotation.write_text(json.dumps(said | {"new": thief.identity.public.hex()}))
    with pytest.raises(KeysError, match="signature"):
        roster.rotate(out, rotation, tmp_path / "new.json")


def test_joining_and_leaving_are_a_new_list(homes: dict[str, Home], tmp_path: Path) -> None:
    signed(homes, tmp_path / "roster.json")
    four = {**homes, **made(tmp_path, "paris")}
    signed(four, tmp_path / "four.json")
    assert homes["curie"].pin(tmp_path / "four.json") == ("delft", "lyon", "paris")
    signed(homes, tmp_path / "again.json")
    assert homes["curie"].pin(tmp_path / "again.json") == ("delft", "lyon")
    with pytest.raises(KeysError, match="3 hospitals at least"):
        roster.assemble([homes[n].card() for n in ("curie", "delft")], tmp_path / "two.json")


@pytest.mark.parametrize("text", ["", "{}", '{"hospitals": 3}', '{"hospitals": {"a": {"key": "zz"}}}'])
def test_what_is_no_roster_is_said_to_be_none(homes: dict[str, Home], tmp_path: Path, text: str) -> None:
    (tmp_path / "roster.json").write_text(text)
    with pytest.raises(KeysError, match="no roster"):
        homes["curie"].pin(tmp_path / "roster.json")


@pytest.mark.parametrize("text", ["", "{}", '{"name": "a", "key": "zz"}'])
def test_what_is_no_card_is_said_to_be_none(homes: dict[str, Home], tmp_path: Path, text: str) -> None:
    (tmp_path / "a.card.json").write_text(text)
    with pytest.raises(KeysError, match="no card"):
        roster.assemble([tmp_path / "a.card.json"], tmp_path / "roster.json")
    with pytest.raises(KeysError, match="two cards are of 'curie'"):
        roster.assemble([homes["curie"].card()] * 2, tmp_path / "roster.json")


def test_a_hospital_is_made_once(homes: dict[str, Home], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="already"):
        Home.make(tmp_path / "curie", "curie", {})
    with pytest.raises(StudyError, match="no hospital's folder"):
        Home(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "hospital.toml"),
        ("[hospitals]\nname = 'a'", "did you mean 'hospital'"),
        ("[hospital]\nnam = 'a'", "nam is not known"),
        ("[hospital]\n[tables]\n", "name is missing"),
        ("[hospital]\nname = 'a'\n[tables]\np = 3", "must be a path"),
        ("[hospital]\nname = 'a'\n[policy]\nkk = 3", "kk is not known"),
    ],
)
def test_a_wrong_hospital_toml_is_explained(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "hospital.toml").write_text(line)
    with pytest.raises(StudyError, match=message):
        _ = Home(tmp_path).rules


def test_a_hospital_may_be_stricter_and_no_study_laxer(tmp_path: Path) -> None:
    from confrere.study.file import parse
    from engines.inprocess import NAMES, STUDY, tables

    tables(NAMES)["curie"].to_csv(tmp_path / "people.csv", index=False)
    Home.make(tmp_path / "curie-2", "curie-2", {"people": str(tmp_path / "people.csv")})
    home = Home(tmp_path / "curie-2")
    text = STUDY.replace('table = "breast"', 'table = "people"')
    with pytest.raises(StudyError, match="`columns` of the table breast does not name"):
        home.approve(STUDY)
    home.approve(text)
    with pytest.raises(StudyError, match="does not name"):
        home.approve(text + '[disclosure]\nallow = ["fine_times"]\n')
    settings = home.path / "hospital.toml"
    settings.write_text(settings.read_text().replace("k = 11", "k = 20"))
    assert Home(home.path).rules.gate(parse(text, "")).k == 20
