"""Confrere beside its peers on the same people: every fit in a fresh process, in turn, several times."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fit import cell_days
from benchmarks.machine import installed
from benchmarks.process import ROOT, fresh, python, spread

SLOW = 15.0  # seconds: what takes longer is measured twice at most


class Method(NamedTuple):
    """One row of the table."""

    name: str  # "task: label", as `fit` and `peers.R` know it
    package: str  # that must be installed; "R" is R with survival
    against: str  # which of R's tight fits estimates the same model
    model: str  # what is fitted, where it is not the task's usual model
    se: bool = True


METHODS = (
    Method("cox: confrere", "confrere", "strata", ""),
    Method("cox: R coxph.fit", "R", "strata", "no formula"),
    Method("cox: R coxph", "R", "strata", ""),
    Method("cox: lifelines", "lifelines", "strata", ""),
    Method("cox: statsmodels", "statsmodels", "strata", "PHReg"),
    Method("cox: scikit-survival", "scikit-survival", "pooled", "one baseline; no SE", se=False),
    Method("cox: confrere, one baseline", "confrere", "cells", "one baseline"),
    Method("logistic: confrere", "confrere", "logistic", ""),
    Method("logistic: R glm.fit", "R", "logistic", "no formula"),
    Method("logistic: R glm", "R", "logistic", ""),
    Method("logistic: glum", "glum", "logistic", "no SE", se=False),
    Method("logistic: glum with SE", "glum", "logistic", ""),
    Method("logistic: scikit-learn", "scikit-learn", "logistic", "newton-cholesky, no penalty; no SE", se=False),
    Method("logistic: statsmodels", "statsmodels", "logistic", "Logit"),
)
PEERS = ROOT / "benchmarks" / "peers.R"


def command(method: Method, path: Path) -> list[str]:
    """What runs a method on the people of a file."""
    return ["Rscript", str(PEERS), method.name, str(path)] if method.package == "R" else python(
        "fit", method.name, str(path)
    )  # fmt: skip


def reference(path: Path, people: int, machine: dict[str, Any]) -> dict[str, Any]:
    """R's tight fits of the people of a file; empty without R."""
    if not installed("R", machine):
        return {}
    fits = fresh(["Rscript", str(PEERS), "reference", str(path), str(cell_days(people))])
    if "failed" in fits:
        raise RuntimeError(f"R's tight fits failed: {fits['failed']}")
    return fits


def beside(path: Path, people: dict[str, Any], times: int, machine: dict[str, Any]) -> list[dict[str, Any]]:
    """Every method on the people of a file; prints as it goes. Gives a row per method, with all its numbers."""
    tight = reference(path, people["people"], machine)
    there = [m for m in METHODS if installed(m.package, machine)]
    found: dict[str, list[dict[str, Any]]] = {m.name: [] for m in there}
    for turn in range(times):
        for method in there:
            before = found[method.name]
            slow = turn >= 2 and before[0].get("wall", 0.0) > SLOW
            if slow or any("failed" in run for run in before):
                continue
            before.append(fresh(command(method, path)))
            took = before[-1]
            what = f"failed: {took['failed']}" if "failed" in took else f"{took['wall']:8.2f} s"
            print(f"  {turn + 1}/{times} {method.name:30s} {what}", flush=True)
    rows = [_row(m, found.get(m.name), tight, people) for m in METHODS]
    return [row | _ratios(row, rows) for row in rows]


def _row(
    method: Method, runs: list[dict[str, Any]] | None, tight: dict[str, Any], people: dict[str, Any]
) -> dict[str, Any]:
    """What is said about one method."""
    row: dict[str, Any] = {**method._asdict(), "task": method.name.split(":")[0], "label": method.name.split(": ")[1]}
    failed = next((run["failed"] for run in runs or () if "failed" in run), None)
    if not runs or failed:
        return row | {"missing": f"failed: {failed}" if failed else "not installed"}
    row |= {key: spread([run[key] for run in runs]) for key in ("wall", "cpu", "warm")}
    known = [key for key in ("peak", "more") if runs[0][key] is not None]
    row |= {key: max(run[key] for run in runs) for key in known}
    data = 8 * people["people"] * (people["terms"] + (2 if row["task"] == "cox" else 1))
    row |= {"runs": len(runs), "data_bytes": data, "more_over_data": row["more"] / data if "more" in row else None}
    row |= _errors(runs[0], tight.get(method.against))
    row |= {key: runs[0][key] for key in ("rounds", "sent", "left") if key in runs[0]}
    if "steps" in runs[0]:
        row["step_seconds"] = _steps([step for run in runs for step in run["steps"]])
    return row


def _errors(run: dict[str, Any], tight: dict[str, Any] | None) -> dict[str, Any]:
    """Largest difference of a coefficient from R's tight fit in its standard errors, and of these, relative."""
    if tight is None:
        return {"coef_error": None, "se_error": None}
    coef, se = np.array(tight["coef"]), np.array(tight["se"])
    coef_error = float(np.max(np.abs(np.array(run["coef"]) - coef) / se))
    se_error = None if run["se"] is None else float(np.max(np.abs(np.array(run["se"]) / se - 1)))
    return {"coef_error": coef_error, "se_error": se_error}


def _steps(steps: list[list[Any]]) -> dict[str, float]:
    """Median seconds of a round, by its step."""
    names = dict.fromkeys(step for step, _ in steps)
    return {name: spread([s for step, s in steps if step == name])["median"] for name in names}


def _ratios(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of a method in units of Confrere's on the same task."""
    ours = next(r for r in rows if r["name"] == f"{row['task']}: confrere")
    if "missing" in row or "missing" in ours:
        return {}
    return {"wall_over_ours": row["wall"]["median"] / ours["wall"]["median"]}
