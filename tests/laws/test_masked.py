"""Laws 2 and 3: masked equals clear, every hospital follows, replay equals live, what leaves is in the manifest.

A masked run is a real one in this process: every hospital has keys, a gate with the default thresholds and its own
copy of the flow, and refuses an ask that its copy does not make. That it ends says that all agree with the driver.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from confrere.console.local import Results
from confrere.console.manifest import manifest
from confrere.coordinator.journal import recorded, replay
from confrere.hospital.gate import Policy
from confrere.rounds import Answers, Round, drive, leaves
from federate import EXACT, GATE, apart, checked, dealt, fit, flow_of, found, in_the_clear, masked
from laws.cases import CASES, Case
from laws.people import HOSPITALS, patients, placed

each = pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])
NAMES = HOSPITALS[:3]
Shape = tuple[int, ...]


def hospitals(seed: int = 1, n: int = 900) -> list[pd.DataFrame]:
    """Three hospitals that share people unevenly."""
    deal = np.random.default_rng(seed).choice(3, n, p=[0.5, 0.3, 0.2])
    return dealt(placed(patients(n, seed), deal), deal, 3)


def policy_of(case: Case) -> Policy:
    """The default gate, with the class that the case needs."""
    return EXACT if case.fine else GATE


@lru_cache
def run(case_number: int) -> Results:
    """The masked run of a case, made once."""
    case = CASES[case_number]
    frames = dict(zip(NAMES, hospitals(), strict=True))
    return masked(case.analysis, frames, allow=sorted(policy_of(case).allow))


def run_of(case: Case) -> Results:
    """Cases hold analyses, which are found by their place."""
    return run(CASES.index(case))


class Shapes(NamedTuple):
    """What left in a clear drive: by (step, field) its dimensions, its shape and its bounds."""

    dims: dict[tuple[str, str], tuple[str, ...]]
    shapes: dict[tuple[str, str], set[Shape]]
    bounds: dict[tuple[str, str], set[Shape]]


def shapes_of(case: Case, frames: list[pd.DataFrame]) -> Shapes:
    """Drive in the clear under the default gate, and note every array."""
    answer, seen = in_the_clear(frames, policy_of(case)), Shapes({}, {}, {})

    def noted(asks: Round) -> Answers:
        answers = answer(asks)
        for a, got in zip(asks, answers, strict=True):
            for name, s in leaves(a, got) if a.kind == "ask" else ():
                seen.dims[a.step, name] = s.dims
                seen.shapes.setdefault((a.step, name), set()).add(s.value.shape)
                seen.bounds.setdefault((a.step, name), set()).add(s.bounds)
        return answers

    drive(flow_of(case.analysis), noted)
    return seen


def within(shape: Shape, bounds: Shape) -> bool:
    """Whether a shape lies in its bounds."""
    return len(shape) == len(bounds) and all(n <= most for n, most in zip(shape, bounds, strict=True))


@each
def test_masked_equals_clear(case: Case) -> None:
    assert not apart(found(run_of(case)), fit(case.analysis, hospitals(), policy_of(case)), 1e-9)


@each
def test_replay_equals_live_bit_for_bit(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    live = drive(flow_of(case.analysis), recorded(in_the_clear(hospitals(), policy_of(case)), path))
    again = drive(flow_of(case.analysis), replay(path))
    assert not apart(checked(live), again, 0.0)
    assert live.facts == again.facts


@each
def test_the_manifest_lists_what_leaves(case: Case) -> None:
    results = run_of(case)
    listed = {(e.method, e.step, e.name): e for e in manifest(results.study).entries}
    times: Counter[tuple[str, ...]] = Counter()
    for left in results.left:
        at = (left.analysis.lstrip("_"), left.step, left.name)
        assert at in listed, f"{at} left, and the manifest of {case.label} does not say so"
        entry = listed[at]
        assert left.dims == entry.dims, at
        assert within(left.shape, entry.bounds), f"{at} left as {left.shape}, the manifest allows {entry.bounds}"
        assert left.bytes <= entry.bytes, at
        times[(*at, left.settings)] += 1
    for (*at, _), count in times.items():
        entry = listed[tuple(at)]  # type: ignore[index]
        assert not entry.repeats or count <= entry.repeats, f"{at} left {count} times"


@each
def test_no_shape_depends_on_people_beyond_its_bounds(case: Case) -> None:
    one, other = shapes_of(case, hospitals(1)), shapes_of(case, hospitals(2, 1500))
    assert one.dims == other.dims
    for seen in (one, other):
        for at, shapes in seen.shapes.items():
            assert all(within(shape, bounds) for shape in shapes for bounds in seen.bounds[at]), at
