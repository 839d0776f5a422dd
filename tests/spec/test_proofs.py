"""`confrere erasure verify`: a proof holds as it stands and by its key alone; forgeries of every kind are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from confrere.console.app import app
from confrere.errors import KeysError
from confrere.sums import Identity, Roster
from confrere.sums.files import write_roster
from confrere.sums.proofs import COORDINATOR, HOSPITAL, check, signed

NAMES = ("curie", "delft", "lyon")
KEYS = {name: Identity.generate() for name in NAMES}
FACTS = {"study": "a" * 64, "erased": "2026-11-23T06:00:00+00:00", "journal_sha256": "b" * 64}
MINE = signed(HOSPITAL, {**FACTS, "hospital": "curie", "worklists": ""}, KEYS["curie"])
HERS = Identity.generate()
RUN = signed(COORDINATOR, {**FACTS, "run": "a" * 16, "key": HERS.public.hex()}, HERS)


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    made = Roster({name: key.public for name, key in KEYS.items()})
    for name, key in KEYS.items():
        made = made.signed(name, key)
    write_roster(tmp_path / "roster.json", made)
    return tmp_path / "roster.json"


def said(tmp_path: Path, proof: object, *more: object) -> Result:
    """What the command says of a proof."""
    (tmp_path / "proof.json").write_text(proof if isinstance(proof, str) else json.dumps(proof))
    return CliRunner().invoke(app, ["erasure", "verify", str(tmp_path / "proof.json"), *map(str, more)])


def code(done: Result) -> int:
    """What the command line would end with."""
    return int(getattr(done.exception, "exit_code", done.exit_code))


def test_a_hospitals_proof_holds_by_the_roster_or_its_key(tmp_path: Path, roster: Path) -> None:
    for more in (("--roster", roster), ("--key", KEYS["curie"].public.hex())):
        done = said(tmp_path, MINE, *more)
        assert done.exit_code == 0, done.exception
        assert "hospital curie says that it removed what it kept of the study aaaaaaaaaaaaaaaa" in done.output
        assert KEYS["curie"].fingerprint in done.output
        assert "telephone" not in done.output
    assert "--roster roster.json" in str(said(tmp_path, MINE).exception)


def test_a_coordinators_proof_is_of_the_key_that_stands_in_it(tmp_path: Path, roster: Path) -> None:
    done = said(tmp_path, RUN)
    assert done.exit_code == 0
    assert "by telephone" in done.output
    for key in (HERS.fingerprint, HERS.public.hex(), HERS.public.hex().upper()):
        done = said(tmp_path, RUN, "--key", key)
        assert done.exit_code == 0, done.exception
        assert "by telephone" not in done.output
    assert "in no roster" in str(said(tmp_path, RUN, "--roster", roster).exception)


@pytest.mark.parametrize("name", [*MINE])
def test_no_fact_of_a_hospitals_proof_may_be_changed(tmp_path: Path, roster: Path, name: str) -> None:
    other = {"hospital": "delft", "erased": "2020-01-01T00:00:00+00:00", "worklists": "list"}.get(name, "c" * 64)
    assert code(said(tmp_path, MINE | {name: other}, "--roster", roster)) == 3


@pytest.mark.parametrize("name", [*RUN])
def test_no_fact_of_a_coordinators_proof_may_be_changed(tmp_path: Path, name: str) -> None:
    assert code(said(tmp_path, RUN | {name: "c" * 64})) == 3


def test_a_proof_by_another_key_is_found_by_the_one_that_was_pinned(tmp_path: Path, roster: Path) -> None:
    """Whoever makes a proof of their own: it holds by itself, and not by the coordinator's key."""
    forger = Identity.generate()
    facts = {name: RUN[name] for name in COORDINATOR.facts} | {"key": forger.public.hex()}
    forged = signed(COORDINATOR, facts, forger)
    assert said(tmp_path, forged).exit_code == 0
    assert code(said(tmp_path, forged, "--key", HERS.fingerprint)) == 3
    mine = signed(HOSPITAL, {name: MINE[name] for name in HOSPITAL.facts}, forger)
    assert code(said(tmp_path, mine, "--roster", roster)) == 3
    assert code(said(tmp_path, mine | {"hospital": "nowhere"}, "--roster", roster)) == 3


def test_a_roster_that_not_all_signed_pins_nobody(tmp_path: Path) -> None:
    bare = Roster({name: key.public for name, key in KEYS.items()})
    write_roster(tmp_path / "bare.json", bare.signed("curie", KEYS["curie"]))
    assert code(said(tmp_path, MINE, "--roster", tmp_path / "bare.json")) == 3


@pytest.mark.parametrize(
    ("proof", "wanted"),
    [("", 2), ("[1]", 2), ("{}", 3), ({**MINE, "more": "x"}, 3), ({**MINE, "study": 7}, 3), ("x" * 70_000, 2)],
)
def test_what_is_no_proof_is_said_to_be_none(tmp_path: Path, roster: Path, proof: object, wanted: int) -> None:
    assert code(said(tmp_path, proof, "--roster", roster)) == wanted
    assert code(said(tmp_path, RUN, "--key", "12")) == 2


def test_a_signature_of_one_kind_is_none_of_the_other() -> None:
    facts = {name: MINE[name] for name in HOSPITAL.facts}
    as_run = signed(COORDINATOR._replace(facts=HOSPITAL.facts), facts, KEYS["curie"])
    with pytest.raises(KeysError):
        check(as_run, KEYS["curie"].public)


@pytest.mark.parametrize("run", ["r1\nkey     12345", "r1\x1b[2K\rkey", "r1\u2028key", "\ud800"])
def test_a_fact_is_one_line_or_the_proof_is_none(tmp_path: Path, run: str) -> None:
    """Else a signer could write the lines that people compare, or what holds no signature at all."""
    facts = {**FACTS, "run": run, "key": HERS.public.hex()}
    try:
        made = signed(COORDINATOR, facts, HERS)
    except UnicodeEncodeError:
        made = {**RUN, "run": run}
    done = said(tmp_path, made)
    assert code(done) == 3
    assert "verifies" not in done.output
