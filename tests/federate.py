"""Demo tables for tests, and references; with the federations of `confrere.testing`, which tests import from here."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.hospital.gate import Policy
from confrere.study.schema import Column, Schema
from confrere.testing.runs import (
    EXACT,
    GATE,
    LOOSE,
    apart,
    checked,
    dealt,
    fit,
    flow_of,
    found,
    in_the_clear,
    masked,
    table,
    typed,
)

__all__ = [
    "EXACT", "GATE", "LOOSE", "apart", "checked", "dealt", "fit", "flow_of", "found", "in_the_clear", "masked", "table",
    "typed",
]  # fmt: skip

ROOT = Path(__file__).parents[1]
DEMOS = ROOT / "src" / "confrere" / "demos"
ORACLES = Path(__file__).parent / "oracles"
SHARED = Path(os.environ.get("CONFRERE_DATA", ROOT.parent / "shared" / "data"))

SIZES = ("<=20", "20-50", ">50")
HOSPITALS = ("delft", "dordrecht", "gouda", "rotterdam")
BREAST = Schema({
    "size": Column("size", SIZES), "meno_level": Column("meno_level", ("0", "1")),
    "hospital": Column("hospital", HOSPITALS), "hormon_level": Column("hormon_level", ("0", "1")),
})  # fmt: skip


# Tables -------------------------------------------------------------------------------------------------------


def demo(name: str) -> pd.DataFrame:
    """A demo table as it is in the package."""
    return pd.read_csv(DEMOS / f"{name}.csv")


@lru_cache
def breast() -> pd.DataFrame:
    """The 2,982 women of the Rotterdam tumour bank, with the weights, entries and cells of the oracles."""
    frame = demo("breast")
    frame["w"] = 1 + (frame["pid"] % 3) / 2
    frame["entry"] = (frame["pid"] % 5) * 100
    frame["cell"] = np.ceil(frame["rtime"] / 30)
    frame["entry_cell"] = np.ceil(frame["entry"] / 30)
    frame["meno_level"] = frame["meno"].astype(str)
    frame["hormon_level"] = frame["hormon"].astype(str)
    return typed(frame, BREAST)


def late(frame: pd.DataFrame, entry: str = "entry", end: str = "rtime") -> pd.DataFrame:
    """Those who enter before they leave."""
    return frame[frame[entry] < frame[end]]


def lung() -> pd.DataFrame:
    """The 227 people with an institution; the institution is the hospital."""
    frame = demo("lung")
    return frame[frame["inst"].notna()].astype(float)


def oracle(name: str) -> dict[str, Any]:
    """What R says."""
    return dict(json.loads((ORACLES / f"{name}.json").read_text()))


def shared(*parts: str) -> Path:
    """A file of the larger public data sets; skips the test, and says so, where they are not."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in CONFRERE_DATA or ../shared/data; looked in {SHARED}")
    return path


def by(frame: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    """One frame for each value of a column."""
    return [part for _, part in frame.groupby(column, observed=True)]


# Drives and findings ------------------------------------------------------------------------------------------


def pooled(analysis: Any, frames: Sequence[pd.DataFrame], policy: Policy = LOOSE) -> Finding:
    """The same on all rows at one hospital."""
    return fit(analysis, [pd.concat(list(frames))], replace(policy, hospitals=min(policy.hospitals, 1)))


def column(finding: Finding, table: str, field: str) -> np.ndarray:
    """One field of a table, missing values as NaN."""
    return np.array([r[field] for r in finding.tables[table]], dtype=float)
