"""A researcher's study over files of several kinds: from the command line and from Python, with the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.data.sources import Source
from confrere.errors import StudyError

from .command import Frames, Shell, breast, program
from .test_demo import self_contained, written

# As in the manual: the example of a study file.
EXAMPLE = """\
[study]
id = "rotterdam-recurrence"
title = "Hormonal therapy and recurrence in breast cancer"
purpose = "public-interest research"      # checked against each patient's opposition
[data]
table = "breast"                          # each hospital binds this name in its hospital.toml
[data.columns.size]                       # strings need declared levels: no hospital is asked to list values
levels = ["<=20", "20-50", ">50"]
[disclosure]
allow = ["fine_times"]                    # what the steward must say yes to, word by word; default: nothing
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age + C(size) + nodes"
ties = "efron"
baseline = "per hospital"                 # or "shared": one baseline on a public time grid
"""
ALL = ("delft", "dordrecht", "gouda", "rotterdam")
FIELDS = {"term", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"}


def files(folder: Path, frames: Frames) -> dict[str, str]:
    """A hospital per kind of file: CSV, Parquet, DuckDB, a folder of Parquet files."""
    frames["delft"].to_csv(folder / "delft.csv", index=False, sep=";", decimal=",")
    frames["dordrecht"].to_parquet(folder / "dordrecht.parquet")
    with duckdb.connect(str(folder / "gouda.duckdb")) as connection:
        connection.register("frame", frames["gouda"])
        connection.execute("create table breast as select * from frame")
    (folder / "rotterdam").mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(frames["rotterdam"])), 3)):
        frames["rotterdam"].iloc[part].to_parquet(folder / "rotterdam" / f"{i}.parquet")
    return {"delft": "delft.csv", "dordrecht": "dordrecht.parquet", "gouda": "gouda.duckdb", "rotterdam": "rotterdam"}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(EXAMPLE)
    return files(tmp_path, breast(*ALL, people=None))


def test_the_example_of_the_manual_over_csv_parquet_and_duckdb(sources: dict[str, str], tmp_path: Path) -> None:
    options = [part for name, path in sources.items() for part in ("--hospital", f"{name}={path}")]
    ran = program("run", "study.toml", *options, "--out", "out", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "2,982 people in 4 hospitals" in ran.out
    assert "hazard ratio" in ran.out
    result = written(tmp_path / "out")
    check_fields(result)
    self_contained((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    # the same from Python, over the files and over frames
    study = cf.read("study.toml")
    assert result["study"]["hash"] == study.hash
    for given in (sources, breast(*ALL, people=None)):
        results = cf.local(given).run(study)
        assert results["recurrence"].tables["coefficients"] == result["analyses"][0]["tables"]["coefficients"]


def check_fields(result: dict[str, Any]) -> None:
    """The fields that the manual promises."""
    (analysis,) = result["analyses"]
    assert {"name", "method", "n", "events", "hospitals", "tables"} <= analysis.keys()
    assert (analysis["name"], analysis["method"]) == ("recurrence", "cox")
    assert (analysis["n"], analysis["events"], analysis["hospitals"]) == (2982, 1518, 4)
    rows = {row["term"]: row for row in analysis["tables"]["coefficients"]}
    # no row for a reference level
    assert list(rows) == ["hormon", "age", "C(size)[T.20-50]", "C(size)[T.>50]", "nodes"]
    assert all(row.keys() >= FIELDS for row in rows.values())
    assert rows["nodes"]["hazard_ratio"] == pytest.approx(np.exp(rows["nodes"]["estimate"]))
    assert {"step": "analysed", "reason": "", "n": 2982} in analysis["tables"]["attrition"]
    assert result["study"]["disclosure"] == ["fine_times"]
    assert result["hospitals"] == list(ALL)
    assert {"python", "numpy", "duckdb"} <= result["versions"].keys()
    assert result["left"]
    assert result["rounds"] > 3


def test_three_lines_of_python(sources: dict[str, str]) -> None:
    hospitals = cf.local(sources)
    fit = hospitals.run(cf.Cox("Surv(rtime, recur) ~ hormon + age + nodes"))
    summary = fit.summary()
    assert isinstance(summary, pd.DataFrame)
    assert list(summary["term"]) == ["hormon", "age", "nodes"]
    assert set(summary.columns) >= FIELDS
    assert set(fit.summary("attrition").columns) >= {"step", "reason", "n"}
    with pytest.raises(StudyError, match="cox has no table 'curves'; it has coefficients"):
        fit.summary("curves")
    seen: list[int] = []
    leveled = cf.local(sources, levels={"size": ["<=20", "20-50", ">50"]}, person="pid")
    curve = leveled.run(cf.KaplanMeier("Surv(rtime, recur) ~ size"), progress=lambda number, asks: seen.append(number))
    assert set(curve.summary("curve")["group"]) == {"<=20", "20-50", ">50"}
    assert seen == list(range(1, len(seen) + 1))


def test_names_of_results_are_checked(sources: dict[str, str]) -> None:
    results = cf.local(sources).run("study.toml")
    with pytest.raises(StudyError, match="the study has no analysis 'recurence'; it has recurrence"):
        results["recurence"]
    with pytest.raises(AttributeError, match="has no attribute 'Coxx'"):
        cf.Coxx  # noqa: B018
    assert {"Cox", "local", "read"} <= set(dir(cf))


def test_left_out_people_are_counted_by_reason(shell: Shell) -> None:
    frames = breast()
    for frame in frames.values():
        frame.loc[:19, "nodes"] = np.nan
    frames["gouda"].loc[195:, "pid"] = np.nan
    results = cf.local(frames, person="pid").run(cf.Cox("Surv(rtime, recur) ~ age + nodes"))
    left = {row["reason"]: row["n"] for row in results.tables["attrition"] if row["step"] == "left out"}
    assert left == {"missing nodes": 60}
    assert results.n == 600 - 60 - 5


def test_values_outside_a_plausible_range_are_told(shell: Shell) -> None:
    frames = breast()
    frames["delft"].loc[:30, "age"] = 700
    study = EXAMPLE.replace("[disclosure]", '[data.columns.age]\nrange = [18, 100]\nunit = "years"\n[disclosure]')
    (shell.folder / "study.toml").write_text(study)
    for name, frame in frames.items():
        frame.to_csv(shell.folder / f"{name}.csv", index=False)
    options = [part for name in frames for part in ("--hospital", f"{name}={name}.csv")]
    assert shell("run", "study.toml", *options, "--out", "out").code == 0
    result = json.loads((shell.folder / "out" / "result.json").read_text())
    (warning,) = (w for w in result["analyses"][0]["warnings"] if w["code"] == "clamped-values")
    assert warning["text"] == "'age': some values outside the declared range were set to its nearer end."
    assert warning["page"] == "warnings.md#clamped-values"


def test_a_duckdb_file_of_several_tables(shell: Shell) -> None:
    frames: dict[str, Any] = dict(breast())
    with duckdb.connect("many.duckdb") as connection:
        connection.register("frame", frames["gouda"])
        connection.execute("create table breast as select * from frame; create table lung as select 1 as x")
    formula = "Surv(rtime, recur) ~ age + nodes"
    expected = cf.local(frames).run(cf.Cox(formula))
    frames["gouda"] = Source("many.duckdb", table="breast")
    assert cf.local(frames).run(cf.Cox(formula)).tables["coefficients"] == expected.tables["coefficients"]


def test_a_run_can_be_cancelled_and_written_again(shell: Shell) -> None:
    calls: list[int] = []
    with pytest.raises(Exception, match="cancelled before round 3; nothing more was asked"):
        cf.local(breast()).run(cf.Cox("Surv(rtime, recur) ~ age"), cancelled=lambda: len(calls) > 1,
                               progress=lambda number, asks: calls.append(number))  # fmt: skip
    assert calls == [1, 2]


@pytest.mark.slow
def test_a_large_file_is_read_by_column(tmp_path: Path) -> None:
    """Three files of 250,000 rows and 60 columns, of which the study names four."""
    more = ", ".join(f"random() as extra{i}" for i in range(56))
    columns = "1 + floor(3000 * random()) as rtime, (random() < 0.4)::int as recur, random() as age, random() as x"
    for name in ("a", "b", "c"):
        duckdb.sql(f"copy (select {columns}, {more} from range(250000)) to '{tmp_path / name}.csv' (header)")
    study = EXAMPLE.replace("hormon + age + C(size) + nodes", "age + x").replace("ties", "diagnostics = false\nties")
    (tmp_path / "study.toml").write_text(study)
    options = [part for name in ("a", "b", "c") for part in ("--hospital", f"{name}={name}.csv")]
    code = (
        "import sys; from confrere.console import app\n"  # peak of this program alone, not of who started it
        "try: app.main()\n"
        "finally:\n"
        "    peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "    print('peak', int(peak) // 1024, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "study.toml", *options], cwd=tmp_path, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "750,000 people in 3 hospitals" in done.stdout
    size = sum(path.stat().st_size for path in tmp_path.glob("*.csv")) / 1e6
    assert size > 700
    assert float(done.stderr.split("peak ")[1].split()[0]) < size
