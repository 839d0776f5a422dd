"""A run over an engine: hospitals write down balance and measures of their own people, and the coordinator none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.hospital import own
from confrere.hospital.home import Home
from confrere.study.file import parse
from confrere.study.own_balance import OwnBalance
from confrere.study.own_measures import OwnMeasures
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
RISKS = """
[study]
id = "validated"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "recurrence"
method = "evaluate"
outcome = "recur"
model = "nodes"
coefficients = { Intercept = -0.6, nodes = 0.1 }
own_measures = true
"""


def test_each_hospital_has_its_own(tmp_path: Path) -> None:
    found(tmp_path, TEXT)
    run = attempt(tmp_path, text=TEXT)
    (finding,) = run.findings.values()
    shared = {r["term"]: r["smd_after"] for r in finding.tables["balance"]}
    seen = []
    for name in NAMES:
        (made,) = own.kept(Home(tmp_path / name).run(parse(TEXT).hash), OwnBalance)
        frame = tables()[name]
        assert made.people == ((frame["hormon"] == 0).sum(), (frame["hormon"] == 1).sum())
        assert [t.term for t in made.terms] == ["age", "nodes"]
        seen += [t.after for t in made.terms]
        assert all(t.after not in shared.values() for t in made.terms)
    assert len(set(seen)) == 6
    _nowhere_else(tmp_path, seen)


def test_each_hospital_has_its_own_measures(tmp_path: Path) -> None:
    found(tmp_path, RISKS)
    run = attempt(tmp_path, text=RISKS)
    (finding,) = run.findings.values()
    shared = {r["metric"]: r["estimate"] for r in finding.tables["metrics"]}
    seen: list[float] = []
    for name in NAMES:
        (made,) = own.kept(Home(tmp_path / name).run(parse(RISKS).hash), OwnMeasures)
        frame, (everybody,) = tables()[name], made.parts
        assert (everybody.people, everybody.events) == (len(frame), frame["recur"].sum())
        assert {m.metric: m.everywhere for m in everybody.measures} == shared
        seen += [m.estimate for m in everybody.measures if m.estimate is not None]
    assert len(set(seen)) == len(seen) == len(NAMES) * len(shared)
    _nowhere_else(tmp_path, seen)


def _nowhere_else(tmp_path: Path, seen: list[Any]) -> None:
    files = [f for f in (tmp_path / "coordinator").rglob("*") if f.is_file()]
    assert files
    for file in files:
        assert not any(str(value).encode() in file.read_bytes() for value in seen)
