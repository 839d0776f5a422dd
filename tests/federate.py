"""Federations for tests: demo tables and generated people, dealt to hospitals, driven in the clear or masked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.finding import Finding
from confrere.console.local import Local, Results
from confrere.data.table import Table
from confrere.errors import UserError
from confrere.hospital.gate import CLASSES, Policy, judge_clear
from confrere.rounds import Answer, Flow, clear, drive, supported
from confrere.study import build
from confrere.study.schema import Column, Schema

ROOT = Path(__file__).parents[1]
DEMOS = ROOT / "src" / "confrere" / "demos"
ORACLES = Path(__file__).parent / "oracles"
SHARED = Path(os.environ.get("CONFRERE_DATA", ROOT.parent / "shared" / "data"))

GATE = Policy()  # what a hospital asks of every study
EXACT = Policy(allow=frozenset(["fine_times"]))
LOOSE = Policy(
    k=0, pairs=0, effective=0, effective_here=0, hospitals=0, days=0, share=1e12, allow=frozenset(CLASSES)
)  # fmt: skip

SIZES = ("<=20", "20-50", ">50")
HOSPITALS = ("delft", "dordrecht", "gouda", "rotterdam")
BREAST = Schema({
    "size": Column("size", SIZES), "meno_level": Column("meno_level", ("0", "1")),
    "hospital": Column("hospital", HOSPITALS), "hormon_level": Column("hormon_level", ("0", "1")),
})  # fmt: skip


# Tables -------------------------------------------------------------------------------------------------------


def typed(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Columns with levels as categories of these levels, the others as numbers: what a hospital's source gives."""
    made = {}
    for name in frame.columns:
        levels = schema.levels(name)
        made[name] = pd.Categorical(frame[name].astype(object), levels) if levels else frame[name].astype(float)
    return pd.DataFrame(made, index=frame.index)


def table(frame: pd.DataFrame) -> Table:
    """One hospital's records."""
    return Table(frame.reset_index(drop=True), len(frame), {}, {}, "test")


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


# Deals --------------------------------------------------------------------------------------------------------


def by(frame: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    """One frame for each value of a column."""
    return [part for _, part in frame.groupby(column, observed=True)]


def dealt(frame: pd.DataFrame, deal: Sequence[int], hospitals: int) -> list[pd.DataFrame]:
    """One frame per hospital, empty ones included; `deal` gives the hospital of each row."""
    at = np.asarray(deal)
    return [frame[at == i] for i in range(hospitals)]


# Drives -------------------------------------------------------------------------------------------------------


def in_the_clear(frames: Sequence[pd.DataFrame], policy: Policy = GATE) -> Answer:
    """Answers in this process; hospitals with few people take part with what they have."""
    return clear([table(f) for f in frames], lambda designs: judge_clear(designs, policy))


def flow_of(analysis: Any) -> Flow[Finding]:
    """The flow of an analysis as a study of it alone drives it."""
    study = build.single(analysis, analysis.ground)
    built = build.analyses(study)

    def whole() -> Flow[Finding]:
        (got,) = yield from build.flow_of(study, built)
        if isinstance(got, UserError):
            raise got
        return got

    return supported(whole())


def fit(analysis: Any, frames: Sequence[pd.DataFrame], policy: Policy = GATE) -> Finding:
    """Drive an analysis in the clear."""
    return checked(drive(flow_of(analysis), in_the_clear(frames, policy)))


def pooled(analysis: Any, frames: Sequence[pd.DataFrame], policy: Policy = LOOSE) -> Finding:
    """The same on all rows at one hospital."""
    return fit(analysis, [pd.concat(list(frames))], replace(policy, hospitals=min(policy.hospitals, 1)))


def masked(analysis: Any, frames: Mapping[str, pd.DataFrame], allow: Sequence[str] = (), k: int = 11) -> Results:
    """The whole of a real run in this process: keys, masks, gates and followed flows. Gives findings and what left."""
    local = Local(dict(frames), analysis.ground)
    results: Results = local.run(build.single(analysis, local.ground_for(analysis, allow), allow, k))
    return results


def found(results: Results) -> Finding:
    """The one finding of a study of one analysis, or its error."""
    return checked(results[results.study.analyses[0].name])


# Findings -----------------------------------------------------------------------------------------------------


def checked(finding: Finding) -> Finding:
    """Law 6: no NaN and no infinity in any table."""
    for name, records in finding.tables.items():
        for record in records:
            for key, value in record.items():
                assert not isinstance(value, float) or np.isfinite(value), f"{name}: {key} is {value} in {record}"
    return finding


def column(finding: Finding, table: str, field: str) -> np.ndarray:
    """One field of a table, missing values as NaN."""
    return np.array([r[field] for r in finding.tables[table]], dtype=float)


def apart(one: Finding, other: Finding, tolerance: float) -> list[str]:
    """Where two findings differ: tables, people, events and numeric facts; empty if they agree."""
    said = []
    for what in ("n", "events", "method"):
        if getattr(one, what) != getattr(other, what):
            said.append(f"{what}: {getattr(one, what)} and {getattr(other, what)}")
    said += _apart("tables", dict(one.tables), dict(other.tables), tolerance)
    path = {"rounds_of_the_fit"}  # how long a climb takes may hang on the last bit
    facts = [{k: v for k, v in f.facts.items() if k not in path} for f in (one, other)]
    return said + _apart("facts", *facts, tolerance)


def _apart(where: str, a: Any, b: Any, tolerance: float) -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            return [f"{where}: {sorted(a)} and {sorted(b)}"]
        return [said for k in a for said in _apart(f"{where}.{k}", a[k], b[k], tolerance)]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return [f"{where}: {len(a)} and {len(b)} records"]
        return [
            said for i, (x, y) in enumerate(zip(a, b, strict=True)) for said in _apart(f"{where}[{i}]", x, y, tolerance)
        ]
    if isinstance(a, float) and isinstance(b, float):
        near = abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3) if tolerance else a == b
        return [] if near else [f"{where}: {a!r} and {b!r}"]
    return [] if a == b else [f"{where}: {a!r} and {b!r}"]
