"""A weighted (IPTW) Cox model beside our Cox model of the same people: `python -m benchmarks.weighted --out DIR`.

Both over ten hospitals in one process, with masks and gate, a baseline per hospital and standard errors; the weighted
one with the propensity, the balance table and a variance that accounts for it. Each fit has a fresh process, and the
two take turns. Prints seconds, processor seconds and their ratios; writes weighted.json into DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.fit import WARM
from benchmarks.machine import described
from benchmarks.people import load, some, store, tables_of
from benchmarks.process import fresh, python, spread, timed

TARGET = 2.0  # times our Cox model


def main() -> None:
    """Measure, write, print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weighted", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--hospitals", type=int, default=10)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--fit", nargs=2, metavar=("METHOD", "FILE"), help="one fit in this process, as JSON")
    given = parser.parse_args()
    if given.fit:
        print(json.dumps(fitted(given.fit[0], Path(given.fit[1]))))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    results = measured(given)
    (given.out / "weighted.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    for what in ("wall", "cpu"):
        cox, weighted = results[what]["cox"]["median"], results[what]["weighted"]["median"]
        print(f"{what}: Cox {cox:.2f} s, weighted {weighted:.2f} s, {weighted / cox:.2f} times (target {TARGET:g})")


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both, in turns."""
    runs: dict[str, list[dict[str, float]]] = {"cox": [], "weighted": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.npy"
        store(path, given.people, given.terms, given.hospitals)
        for _ in range(given.times):
            for method, before in runs.items():
                said = fresh(python("weighted", "--fit", method, str(path)))
                if "failed" in said:
                    raise SystemExit(f"{method}: {said['failed']}")
                before.append(said)
    spreads = {w: {m: spread([r[w] for r in found]) for m, found in runs.items()} for w in ("wall", "cpu")}
    return {"machine": described(), "load": os.getloadavg(), "people": given.people, "runs": runs, **spreads}


def fitted(method: str, path: Path) -> dict[str, float]:
    """Seconds of one fit, after one of a few people."""
    import confrere

    data = load(path)
    right = " + ".join(f"x{j}" for j in range(data.x.shape[1]))
    analysis: Any = confrere.Cox(f"Surv(time, event) ~ ill + {right}", diagnostics=False)
    if method == "weighted":
        analysis = confrere.Effect("ill", "Surv(time, event)", right)
    confrere.local(tables_of(some(data, WARM))).run(analysis)
    hospitals = confrere.local(tables_of(data))
    got = timed(lambda: hospitals.run(analysis))
    return {"wall": got.wall, "cpu": got.cpu}


if __name__ == "__main__":
    main()
