"""How seconds, bytes and memory of ours grow with people, terms and hospitals, one of them at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.people import store
from benchmarks.process import fresh, python, spread

TASKS = ("cox", "logistic")
MEASURES = ("seconds", "bytes", "memory")
FEWEST = 1_000  # people, lest the gate refuse


def axes(people: int, terms: int, hospitals: int) -> dict[str, list[tuple[int, int, int]]]:
    """The points (people, terms, hospitals) along each axis; terms and hospitals grow at a tenth of the people."""
    some = max(FEWEST, people // 10)
    return {
        "people": [(n, terms, hospitals) for n in sorted({max(FEWEST, people // 100), some, people})],
        "terms": [(some, p, hospitals) for p in sorted({max(1, terms // 4), max(1, terms // 2), terms, 2 * terms})],
        "hospitals": [(some, terms, h) for h in sorted({3, hospitals, 3 * hospitals, 10 * hospitals})],
    }


def growth(folder: Path, size: tuple[int, int, int], times: int) -> dict[str, Any]:
    """Measure every point for Cox and logistic regression, each in a fresh process. `size` as in `axes`."""
    along = axes(*size)
    distinct = sorted({point for points in along.values() for point in points})
    measured = {point: _point(folder / "growth.npy", point, times) for point in distinct}
    lines = []
    for axis, at in along.items():
        for task in TASKS:
            values = [measured[point][task] for point in at]
            sizes = [point[list(along).index(axis)] for point in at]
            powers = {m: exponent(sizes, [v[m]["median"] for v in values]) for m in MEASURES}
            others = {name: at[0][i] for i, name in enumerate(along) if name != axis}
            lines.append(
                {"axis": axis, "task": task, "at": others, "sizes": sizes, "values": values, "exponents": powers}
            )
            said = ", ".join(f"{m} ~ {axis}^{e:.2f}" for m, e in powers.items())
            print(f"  {task}: {said}", flush=True)
    return {"lines": lines}


def _point(path: Path, point: tuple[int, int, int], times: int) -> dict[str, Any]:
    """Seconds, bytes that left one hospital, and memory (the data, and what the fit adds at its peak) at one point."""
    store(path, *point)
    found: dict[str, Any] = {}
    data = 8 * point[0] * (point[1] + 2)
    for task in TASKS:
        runs = [fresh(python("fit", f"{task}: confrere", str(path))) for _ in range(times)]
        if failed := [run["failed"] for run in runs if "failed" in run]:
            raise RuntimeError(f"{task} with people, terms, hospitals = {point}: {failed[0]}")
        values = ([run["wall"] for run in runs], [run["sent"] for run in runs], [data + run["more"] for run in runs])
        found[task] = {m: spread(v) for m, v in zip(MEASURES, values, strict=True)}
        print(f"  {task:9s} {point} {found[task]['seconds']['median']:.2f} s", flush=True)
    return found


def exponent(sizes: list[int], values: list[float]) -> float:
    """The power of the sizes by which values grow: slope of the line through their logarithms."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
