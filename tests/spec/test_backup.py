"""A hospital's state survives its machine: backed up within a run, restored elsewhere, and the run goes on."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from confrere.coordinator.conduct import Folder, conduct
from confrere.errors import StudyError, Waiting
from confrere.hospital.chain import read
from confrere.hospital.home import Home
from confrere.study.file import parse
from confrere.sums.keys import verify
from engines.inprocess import STUDY, found, let_go, links

HASH = parse(STUDY).hash


def test_a_run_goes_on_after_a_hospital_was_restored_on_a_new_machine(tmp_path: Path) -> None:
    _, homes = found(tmp_path)
    folder = Folder.make(tmp_path / "run", STUDY)

    def lose(name: str, number: int, answered: bool) -> None:
        if name == "delft" and number == 20:
            raise Waiting("delft did not answer")

    given = links(homes, lose)
    with pytest.raises(Waiting):
        conduct(folder, given)
    let_go(given)
    homes["delft"].backup(tmp_path / "delft.backup")
    assert stat.S_IMODE((tmp_path / "delft.backup").stat().st_mode) == 0o600
    records = tmp_path / "delft" / "breast.csv"
    (tmp_path / "new").mkdir()
    shutil.move(records, tmp_path / "new" / "breast.csv")
    shutil.rmtree(tmp_path / "delft")
    restored = Home.restore(tmp_path / "delft.backup", tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new" / "identity.key").stat().st_mode) & 0o077 == 0
    given = links({**homes, "delft": restored})
    result = conduct(folder, given)
    let_go(given)
    _, others = found(tmp_path / "other")
    given = links(others)
    undisturbed = conduct(Folder.make(tmp_path / "again", STUDY), given)
    let_go(given)
    assert {n: f.tables for n, f in result.findings.items()} == {n: f.tables for n, f in undisturbed.findings.items()}


def test_records_are_not_in_a_backup(tmp_path: Path) -> None:
    _, homes = found(tmp_path)
    homes["lyon"].backup(tmp_path / "backup")
    restored = Home.restore(tmp_path / "backup", tmp_path / "new")
    assert not list(restored.path.rglob("*.csv"))
    assert restored.approved(HASH).hash == HASH


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    _, homes = found(tmp_path)
    homes["lyon"].backup(tmp_path / "backup")
    with pytest.raises(StudyError, match="there already"):
        homes["lyon"].backup(tmp_path / "backup")
    with pytest.raises(StudyError, match="already"):
        Home.restore(tmp_path / "backup", tmp_path / "curie")
    (tmp_path / "nonsense").write_bytes(b"nonsense")
    with pytest.raises(StudyError, match="no backup"):
        Home.restore(tmp_path / "nonsense", tmp_path / "new")


def test_erasing_leaves_a_signed_proof_and_nothing_else(tmp_path: Path) -> None:
    _, homes = found(tmp_path)
    given = links(homes)
    conduct(Folder.make(tmp_path / "run", STUDY), given)
    let_go(given)
    proof = homes["curie"].erase(HASH)
    assert not (tmp_path / "curie" / "runs" / HASH).exists()
    assert not list((tmp_path / "curie" / "runs").iterdir())
    signature = bytes.fromhex(proof.pop("signature"))
    verify(homes["curie"].identity.public, signature, "erasure", *(v.encode() for v in proof.values()))
    assert [e.event for e in read(tmp_path / "curie" / "ledger.sqlite")][-1] == "erased"
    with pytest.raises(StudyError, match="keeps nothing"):
        homes["curie"].erase(HASH)
