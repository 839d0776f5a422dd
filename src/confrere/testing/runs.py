"""Federations for tests: frames dealt to hospitals, an analysis driven over them in the clear or masked, and whether
two findings agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from confrere.analyses.finding import Finding
from confrere.console.fit import Results
from confrere.console.local import Local
from confrere.data.table import Table
from confrere.errors import UserError
from confrere.hospital.classes import CLASSES
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import Answer, Flow, clear, drive, supported
from confrere.study import build
from confrere.study.schema import Schema

GATE = Policy()  # what a hospital asks of every study
EXACT = Policy(allow=frozenset(["fine_times"]))
LOOSE = Policy(
    k=0, pairs=0, effective=0, effective_here=0, hospitals=0, days=0, share=1e12, parameters=1e9,
    allow=frozenset(CLASSES),
)  # fmt: skip


# Tables -------------------------------------------------------------------------------------------------------


def typed(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Columns with levels as categories of these levels, the others as numbers: what a hospital's source gives."""
    made = {}
    for name in frame.columns:
        levels = schema.levels(name)
        made[name] = pd.Categorical(frame[name].astype(object), levels) if levels else frame[name].astype(float)
    return pd.DataFrame(made, index=frame.index)


def table(frame: pd.DataFrame) -> Table:
    """One hospital's records. Bags of images come with the frame, `frame.attrs["bags"]`, by the people of `pid`."""
    return Table(frame.reset_index(drop=True), len(frame), {}, {}, "test", bags=bags_of(frame))


def bags_of(frame: pd.DataFrame) -> dict[str, Any]:
    """The bags of images of the people of a frame, by name."""
    return {name: given.only(frame["pid"]) for name, given in frame.attrs.get("bags", {}).items()}


def dealt(frame: pd.DataFrame, deal: ArrayLike, hospitals: int) -> list[pd.DataFrame]:
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
        return cast(Finding, got)

    return supported(whole())


def fit(analysis: Any, frames: Sequence[pd.DataFrame], policy: Policy = GATE) -> Finding:
    """Drive an analysis in the clear."""
    return checked(drive(flow_of(analysis), in_the_clear(frames, policy)))


def masked(analysis: Any, frames: Mapping[str, pd.DataFrame], allow: Sequence[str] = (), k: int = 11) -> Results:
    """The whole of a real run in this process: keys, masks, gates and followed flows. Gives findings and what left."""
    bare = {name: frame.copy(deep=False) for name, frame in frames.items()}
    for frame in bare.values():
        frame.attrs = {}
    local = Local(bare, analysis.ground, analysis.ground.person or None, key=b"")
    local.bags = {name: bags_of(frame) for name, frame in frames.items()}
    results: Results = local.run(build.single(analysis, local.ground_for(analysis, allow), allow=allow, k=k))
    return results


def found(results: Results) -> Finding:
    """The one finding of a study of one analysis, or its error."""
    return checked(results[results.study.analyses[0].name].finding)


# Findings -----------------------------------------------------------------------------------------------------


def hold(true: bool, otherwise: str) -> None:
    """Raise AssertionError, which test frameworks show as a failure; with `python -O` too."""
    if not true:
        raise AssertionError(otherwise)


def checked(finding: Finding) -> Finding:
    """Law 6: no NaN and no infinity in any table."""
    for name, records in finding.tables.items():
        for record in records:
            for key, value in record.items():
                finite = not isinstance(value, float) or bool(np.isfinite(value))
                hold(finite, f"{name}: {key} is {value} in {record}")
    return finding


def apart(one: Finding, other: Finding, tolerance: float) -> list[str]:
    """Where two findings differ: tables, people, events and numeric facts; empty if they agree."""
    said = []
    for what in ("n", "events", "method"):
        if getattr(one, what) != getattr(other, what):
            said.append(f"{what}: {getattr(one, what)} and {getattr(other, what)}")
    said += _apart("tables", dict(one.tables), dict(other.tables), tolerance)
    path = {"rounds_of_the_fit"}  # how long a climb takes may hang on the last bit
    facts, others = ({k: v for k, v in f.facts.items() if k not in path} for f in (one, other))
    return said + _apart("facts", facts, others, tolerance)


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
