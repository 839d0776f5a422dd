"""A run over an engine: every hospital writes down the balance of its own people, and the coordinator none."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.hospital import balances
from confrere.hospital.home import Home
from confrere.study.file import parse
from engines.inprocess import NAMES, attempt, found, tables

TEXT = """
[study]
id = "balanced"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "hormonal"
method = "effect"
treatment = "hormon"
outcome = "recur"
confounders = "age + nodes"
own_balance = true
"""


def test_each_hospital_has_its_own(tmp_path: Path) -> None:
    found(tmp_path, TEXT)
    run = attempt(tmp_path, text=TEXT)
    (finding,) = run.findings.values()
    shared = {r["term"]: r["smd_after"] for r in finding.tables["balance"]}
    seen = []
    for name in NAMES:
        (own,) = balances.kept(Home(tmp_path / name).run(parse(TEXT).hash))
        frame = tables()[name]
        assert own.people == ((frame["hormon"] == 0).sum(), (frame["hormon"] == 1).sum())
        assert [t.term for t in own.terms] == ["age", "nodes"]
        seen += [t.after for t in own.terms]
        assert all(t.after not in shared.values() for t in own.terms)
    assert len(set(seen)) == 6
    files = [f for f in (tmp_path / "coordinator").rglob("*") if f.is_file()]
    assert files
    for file in files:
        assert not any(str(value).encode() in file.read_bytes() for value in seen)
