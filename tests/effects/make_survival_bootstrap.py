"""Standard errors of survival effects by the bootstrap: 5,000 replicates of the pooled twin, propensity and all.

    PYTHONPATH=tests python tests/effects/make_survival_bootstrap.py      from the top of the repository; five minutes

writes tests/effects/survival_bootstrap.json. 1,000 people with 10 confounders in three hospitals, people drawn within
hospitals. The standard error of a standard deviation of 5,000 replicates is 1 %.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from effects.followed import followed, measured

PEOPLE, TERMS, REPLICATES, SEED = 1000, 10, 5000, 20261122
ESTIMANDS = ("ATE", "ATT", "ATO", "ATM")


def replicated(estimand: str) -> dict[str, float]:
    """Standard deviations of all measures over replicates."""
    people = followed(PEOPLE, TERMS, np.random.default_rng(SEED))
    rng, groups = np.random.default_rng(SEED + 1), [np.flatnonzero(people.hospital == h) for h in range(3)]
    rows = (np.concatenate([rng.choice(g, g.size) for g in groups]) for _ in range(REPLICATES))
    found = [measured(people.drawn(r), estimand) for r in rows]
    return {name: float(np.std([f[name] for f in found], ddof=1)) for name in found[0]}


def main() -> None:
    """Write the file."""
    made = {"people": PEOPLE, "terms": TERMS, "replicates": REPLICATES, "seed": SEED, "numpy": np.__version__,
            "std_error": {estimand: replicated(estimand) for estimand in ESTIMANDS}}  # fmt: skip
    (Path(__file__).parent / "survival_bootstrap.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
