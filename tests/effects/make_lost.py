"""Bootstrap standard errors and coverage where people are lost by what they are like.

    PYTHONPATH=tests python tests/effects/make_lost.py      from the top of the repository; half an hour

writes tests/effects/lost.json: standard deviations of 5,000 replicates of the pooled twin (people drawn within
hospitals; the standard error of such a standard deviation is 1 %), and of 1,000 generated studies, by measure, the
share whose 95 % limits held the truth: as the package's own flow gives them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from confrere.analyses.effects.effect import Effect
from confrere.study.ground import Ground
from confrere.testing import LOOSE, fit
from effects.lost import END, STEP, TAU, TIMES, lost, measured, truth

PEOPLE, REPLICATES, RUNS, STREAMS, SEED = 1000, 5000, 1000, 5, 20261123
WORLDS = {"iptw": "marginal", "gformula": "conditional", "aipw": "conditional"}
DRAWN = {"iptw": 4000, "gformula": 1000, "aipw": 1000}  # people of the bootstrap: weights need more to be as in theory
PLACE = Path(__file__).parent / "lost.json"


def effect_of(estimator: str, **more: object) -> Effect:
    """The study of a generated world."""
    censoring = {"censoring": "x0 + x1"} if estimator == "iptw" else {}
    settings = {"times": TIMES, "tau": TAU, "ground": Ground(step=STEP, horizon=END), "balance": False}
    return Effect("a", "Surv(time, event)", "x0 + x1", estimator, **(settings | censoring | more))  # type: ignore[arg-type]


def replicated(estimator: str) -> dict[str, float]:
    """Standard deviations of all measures over replicates."""
    people = lost(WORLDS[estimator], DRAWN[estimator], np.random.default_rng(SEED))
    rng, groups = np.random.default_rng(SEED + 1), [np.flatnonzero(people.hospital == h) for h in range(3)]
    rows = (np.concatenate([rng.choice(g, g.size) for g in groups]) for _ in range(REPLICATES))
    found = [measured(people.drawn(r), estimator) for r in rows]
    return {name: float(np.std([f[name] for f in found], ddof=1)) for name in found[0]}


def covered(estimator: str, runs: int, seed: int) -> dict[str, float]:
    """The share of simulated studies, by measure, whose 95 % limits hold the truth."""
    rng, hits, world = np.random.default_rng(seed), dict[str, int](), WORLDS[estimator]
    for _ in range(runs):
        frames = [pd.concat(lost(world, PEOPLE, rng).frames)]  # how people are dealt changes nothing, and takes time
        for row in fit(effect_of(estimator, baseline="shared"), frames, LOOSE).tables["effects"]:
            true, name = truth(world, row["measure"], row.get("time", 0.0)), row["measure"]
            name += f" {row['time']:g}" if "time" in row else ""
            hits[name] = hits.get(name, 0) + (row["conf_low"] <= true <= row["conf_high"])
    return {name: n / runs for name, n in hits.items()}


def together(estimator: str) -> dict[str, float]:
    """The shares of all runs, which are of several streams, so that they may be made side by side."""
    parts = [covered(estimator, RUNS // STREAMS, SEED + 2 + stream) for stream in range(STREAMS)]
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def main(what: str) -> None:
    """Write the file, or a part of it anew: `std_error` or `coverage`."""
    made: dict[str, object] = {"people": PEOPLE, "drawn": DRAWN, "replicates": REPLICATES, "runs": RUNS, "seed": SEED}
    if what != "coverage":
        made["std_error"] = {estimator: replicated(estimator) for estimator in WORLDS}
    if what != "std_error":
        made["coverage"] = {estimator: together(estimator) for estimator in WORLDS}
    known = json.loads(PLACE.read_text()) if PLACE.exists() else {}
    PLACE.write_text(json.dumps(known | made | {"numpy": np.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
