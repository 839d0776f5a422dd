"""The first minutes: help, the demos, what they print and what they write."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from confrere.report import schema

from .command import SCRIPT, Shell, program

EVENTS = {"breast": ("recurrence", 2982, 1518), "lung": ("death", 175, 130), "myeloma": ("progression-rate", 1373, 115)}


def written(out: Path) -> dict[str, Any]:
    """result.json of a folder, valid under the published schema, with every table and figure beside it."""
    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema()).validate(result)
    figures = sorted((out / "figures").glob("*.svg"))
    assert figures
    for figure in figures:
        assert figure.read_text(encoding="utf-8").lstrip().startswith(("<svg", "<?xml"))
        assert len(figure.with_suffix(".csv").read_text(encoding="utf-8-sig").splitlines()) > 1
    for analysis in result["analyses"]:
        for table in analysis["tables"]:
            assert (out / "tables" / f"{analysis['name']}_{table}.csv").is_file()
    return result


def self_contained(page: str) -> None:
    """A page that needs neither network nor script."""
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "<script" not in page
    assert not re.search(r"""(src|srcset)\s*=\s*["']?(https?:)?//""", page)
    assert not re.search(r"<link[^>]+href|@import|url\(\s*['\"]?(https?:)?//", page)
    assert "<svg" in page


def test_a_model_is_learned_released_used_and_evaluated(tmp_path: Path) -> None:
    """The demo prognosis: a report with a card, the model, the evaluation of later women, a list with reasons."""
    ran = program("demo", "prognosis", "--out", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    out = tmp_path / "out"
    learned = {a["name"]: a for a in written(out)["analyses"]}
    (later,) = written(out / "later")["analyses"]
    held = next(r for r in learned["trees"]["tables"]["metrics"] if r["sample"] == "held out")
    found = next(r for r in later["tables"]["metrics"] if r["metric"] == "AUC")
    assert later["facts"]["evaluated_sha256"] == learned["trees"]["facts"]["model_sha256"]
    assert 0.65 < found["estimate"] < held["estimate"] + 0.05 < 0.85
    model = json.loads((out / "models" / "trees.json").read_text(encoding="utf-8"))
    assert model["card"]["model"]["sha256"] == learned["trees"]["facts"]["model_sha256"]
    assert model["card"]["attacks"]["membership"][0]["estimate"] < 0.6
    lines = (out / "worklist-rotterdam.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "pid,prediction,reasons,unit"
    assert "nodes = 7 (+" in lines[1]
    assert lines[1].endswith("Probability of relapse5 = 1")
    assert "Model card" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["breast", "lung", pytest.param("myeloma", marks=pytest.mark.slow)])
def test_a_demo_prints_its_findings_and_writes_its_report(name: str, tmp_path: Path) -> None:
    ran = program("demo", name, "--out", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    homeless = "confrere: 1 person belongs to no hospital and is left out\n"
    assert ran.err == (homeless if name == "lung" else "")
    analysis, n, events = EVENTS[name]
    assert "hazard ratio" in ran.out
    assert "95 % limits" in ran.out
    assert f"{analysis} (" in ran.out
    assert f"n = {n:,}, {events:,} events" in ran.out
    assert f"Report: {Path('out') / 'report.html'}" in ran.out
    for said in ("175 people in 9 of 18 hospitals\n", "9 of 18 hospitals have fewer than 11 people for this"):
        assert (said in ran.out) == (name == "lung")
    result = written(tmp_path / "out")
    found = {a["name"]: a for a in result["analyses"]}
    assert (found[analysis]["n"], found[analysis]["events"]) == (n, events)
    assert result["self_approved"] is True
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    self_contained(page)
    assert result["study"]["title"] in page


def test_the_report_in_french_in_a_folder_of_the_demos_own(shell: Shell) -> None:
    assert shell("demo", "myeloma", "--lang", "fr").code == 0
    assert [path.name for path in shell.folder.iterdir()] == ["confrere-demo-myeloma"]
    assert '<html lang="fr"' in (shell.folder / "confrere-demo-myeloma" / "report.html").read_text(encoding="utf-8")


def test_help_says_what_there_is_and_how_it_ends(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = shell("--help")
    assert said.code == 0
    for word in ("demo", "run", "manifest", "--version", "move no patient", "Exit codes: 0 done", "4 waiting"):
        assert word in said.out
    assert shell().out.split() == said.out.split()
    for command, words in (
        ("demo", ("breast", "lung", "myeloma", "--out", "--lang", "--deadline")),
        ("run", ("STUDY", "NAME=FILE", "three or more", "CSV, Parquet, DuckDB", "--encoding", "self-approved")),
        ("manifest", ("STUDY", "No data are read")),
    ):
        told = shell(command, "--help")
        assert told.code == 0
        for word in words:
            assert word in " ".join(told.out.split())
    assert shell("--version").out == "confrere 0.1.0\n"
    assert "No such command 'demos'. Did you mean 'demo'?" in " ".join(shell("demos").err.split())
    assert shell("run").code == 2


def test_a_deadline_ends_with_4_and_writes_nothing(shell: Shell) -> None:
    ran = shell("demo", "lung", "--deadline", "0", "--out", "out")
    assert ran.code == 4
    assert ran.err.splitlines()[-2:] == [
        "confrere: the deadline of 0 s passed before round 1; nothing more was asked",
        "-> errors.md#waiting (confrere explain waiting)",
    ]
    assert ran.out == ""
    assert list((shell.folder / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_goes_to_the_terminal_of_stderr_alone(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        command = [str(SCRIPT), "demo", "myeloma"]
        done = subprocess.run(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=300, check=True,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        seen = os.read(ours, 1_000_000).decode("utf-8", "replace")
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.search(r"round \d+: |reading the records", seen)
    assert "round " not in done.stdout
    assert "hazard ratio" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that closes")
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    running = subprocess.Popen([str(SCRIPT), "--help"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    said = running.stderr.read()
    running.stderr.close()
    running.wait(60)
    assert b"Traceback" not in said
