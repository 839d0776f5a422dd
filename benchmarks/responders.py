"""Effects that differ between people, beside EconML: `python -m benchmarks.responders --peer PYTHON --out DIR`.

The R-learner over ten hospitals in one process, with masks, gate and reading of the frames, beside EconML's `LinearDML`
on the pooled rows in memory: the same nuisances (logistic propensity, linear outcome model), two folds, every term a
modifier, with standard errors. Each fit has a fresh process, and methods take turns. PYTHON is an interpreter that has
econml (`pip install econml`, which wants other versions of packages than ours). Writes responders.json into DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import described
from benchmarks.people import people
from benchmarks.process import fresh, python, spread, timed

PEER = Path(__file__).parent / "payload" / "linear_dml.py"
WARM = 5_000  # people of the first fit, so that no import is in the seconds


def main() -> None:
    """Measure, write, print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.responders", description=__doc__)
    parser.add_argument("--peer", default="", help="an interpreter that has econml")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--hospitals", type=int, default=10)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--fit", type=Path, help="fit the people of a file in this process, and print JSON")
    given = parser.parse_args()
    if given.fit:
        print(json.dumps(fitted(given.fit)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    results = measured(given)
    (given.out / "responders.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    for name, said in results["seconds"].items():
        print(f"{name}: {said['median']:.2f} s ({said['min']:.2f} to {said['max']:.2f})")
    if "ratio" in results:
        print(f"ratio of medians {results['ratio']:.2f}; load {results['load']}; largest difference "
              f"{results['difference']:.2f} standard errors (folds differ)")  # fmt: skip


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both, their ratio, and how far apart coefficients are."""
    results: dict[str, Any] = {"machine": described(), "load": os.getloadavg(), "people": given.people}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.npy"
        store(path, given.people, given.terms, given.hospitals)
        commands = {"confrere": python("responders", "--fit", str(path))}
        commands |= {"econml": [given.peer, str(PEER), str(path)]} if given.peer else {}
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for _ in range(given.times):
            for name, command in commands.items():
                said = fresh(command)
                if "failed" in said:
                    raise SystemExit(f"{name}: {said['failed']}")
                runs[name].append(said)
    results["runs"] = runs
    results["seconds"] = {name: spread([r["seconds"] for r in said]) for name, said in runs.items()}
    if given.peer:
        one, other = runs["confrere"][0], runs["econml"][0]
        results["ratio"] = results["seconds"]["confrere"]["median"] / results["seconds"]["econml"]["median"]
        apart = np.abs(np.array(one["estimate"]) - np.array(other["estimate"])) / np.array(one["std_error"])
        results["difference"] = float(apart.max())
    return results


def store(path: Path, n: int, terms: int, hospitals: int) -> None:
    """Columns (n, terms + 3) by hospital: terms, treatment, outcome, hospital. The effect is 1 + x0/2."""
    rng, parts = np.random.default_rng(2), []
    for i, frame in enumerate(people(n, terms, hospitals).values()):
        x, treated = frame[[f"x{j}" for j in range(terms)]].to_numpy(), frame["ill"].to_numpy()
        y = x @ np.linspace(0.5, -0.5, terms) + treated * (1 + x[:, 0] / 2) + rng.normal(size=len(x))
        parts.append(np.column_stack([x, treated, y, np.full(len(x), float(i))]))
    np.save(path, np.asfortranarray(np.vstack(parts)))


def fitted(path: Path) -> dict[str, Any]:
    """Ours: seconds, coefficients of the modifiers with standard errors, seconds of each round."""
    columns = np.load(path)
    _run(columns[:: max(1, len(columns) // WARM)])
    began = time.time()
    steps: list[tuple[float, str]] = []
    got = timed(lambda: _run(columns, steps))
    table = got.result.summary("coefficients").iloc[1:]
    ends = [at for at, _ in steps[1:]] + [began + got.wall]
    rounds = [(step, end - at) for (at, step), end in zip(steps, ends, strict=True)]
    return {"seconds": got.wall, "cpu": got.cpu, "estimate": table["estimate"].to_list(),
            "std_error": table["std_error"].to_list(), "rounds": rounds}  # fmt: skip


def _run(columns: Any, steps: list[tuple[float, str]] | None = None) -> Any:
    import pandas as pd

    import confrere

    terms = columns.shape[1] - 3
    right = " + ".join(f"x{j}" for j in range(terms))
    names, place = [*(f"x{j}" for j in range(terms)), "treated", "y"], columns[:, -1]
    frames = {}
    for h in np.unique(place):
        at = np.flatnonzero(place == h)
        frame = pd.DataFrame(columns[at[0] : at[-1] + 1, :-1], columns=names)
        frames[f"hospital {int(h):02d}"] = frame.assign(pid=np.arange(at[0], at[-1] + 1, dtype=float))
    method = confrere.Responders(
        "treated", "y", right, right, "r", outcome_model=f"treated + {right}", truncate=(1e-6, 1 - 1e-6)
    )
    hospitals = confrere.local(frames, person="pid")
    told = [] if steps is None else steps
    return hospitals.run(method, progress=lambda _, asks: told.append((time.time(), asks[0].step)))


if __name__ == "__main__":
    main()
