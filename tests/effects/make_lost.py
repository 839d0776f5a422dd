"""Bootstrap standard errors and coverage where people are lost by what they are like.

    PYTHONPATH=tests python tests/effects/make_lost.py      from the top of the repository; half an hour

writes tests/effects/lost.json: standard deviations of 5,000 replicates of the pooled twin (people drawn within
hospitals; the standard error of such a standard deviation is 1 %), and of 1,000 generated studies, by measure, the
share whose 95 % limits held the truth: as the package's own flow gives them. A study that the flow refuses (a few
weights carry the end of follow-up) has no limits: it is counted as `refused`, and the share is of the others.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from confrere.analyses.effects.effect import Effect
from confrere.errors import ModelError
from confrere.study.ground import Ground
from confrere.testing import LOOSE, fit
from effects.lost import END, STEP, TAU, TIMES, lost, measured, truth

PEOPLE, REPLICATES, RUNS, SEED = 1000, 5000, 1000, 20261123
FIRST = 40  # of these studies, which every run of the tests makes anew
WORLDS = {"iptw": "marginal", "gformula": "conditional", "aipw": "conditional"}
DRAWN = {"iptw": 4000, "gformula": 1000, "aipw": 1000}  # people: weights need more to be as in theory
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


def covered(estimator: str, runs: int, seed: int, people: int = PEOPLE) -> dict[str, float]:
    """The share of simulated studies, by measure, whose 95 % limits hold the truth; the share that was `refused`."""
    rng, hits, world, refused = np.random.default_rng(seed), dict[str, int](), WORLDS[estimator], 0
    for _ in range(runs):
        frames = [pd.concat(lost(world, people, rng).frames)]  # how people are dealt changes nothing, and takes time
        try:
            rows = fit(effect_of(estimator, baseline="shared"), frames, LOOSE).tables["effects"]
        except ModelError:
            refused += 1
            continue
        for row in rows:
            true, name = truth(world, row["measure"], row.get("time", 0.0)), row["measure"]
            name += f" {row['time']:g}" if "time" in row else ""
            hits[name] = hits.get(name, 0) + (row["conf_low"] <= true <= row["conf_high"])
    return {name: n / (runs - refused) for name, n in hits.items()} | {"refused": refused / runs}


def main(what: str) -> None:
    """Write the file, or a part of it anew: `std_error` or `coverage`."""
    made: dict[str, object] = {"people": PEOPLE, "drawn": DRAWN, "replicates": REPLICATES, "runs": RUNS, "seed": SEED}
    if what != "coverage":
        made["std_error"] = {estimator: replicated(estimator) for estimator in WORLDS}
    if what != "std_error":
        made["coverage"] = {estimator: covered(estimator, RUNS, SEED + 2, n) for estimator, n in DRAWN.items()}
        made["coverage_of_few"] = {"iptw": covered("iptw", RUNS, SEED + 2)}
        made["first"] = {estimator: covered(estimator, FIRST, SEED + 2, n) for estimator, n in DRAWN.items()}
    known = json.loads(PLACE.read_text()) if PLACE.exists() else {}
    PLACE.write_text(json.dumps(known | made | {"numpy": np.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
