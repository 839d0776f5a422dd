"""Standard errors by the bootstrap: 5,000 replicates of the pooled twin on one generated study of 2,000 people.

    PYTHONPATH=tests python tests/effects/make_bootstrap.py      from the top of the repository; some ten minutes

writes tests/effects/bootstrap.json. The standard error of a standard deviation of 5,000 replicates is 1 %.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from effects.twin import Twin
from effects.worlds import drawn

PEOPLE, REPLICATES, SEED = 2000, 5000, 20261122
TWINS = [
    *(Twin("iptw", estimand, "binomial") for estimand in ("ATE", "ATT", "ATO", "ATM")),
    *(Twin("gformula", estimand, "binomial") for estimand in ("ATE", "ATT")),
    *(Twin("aipw", estimand, "binomial") for estimand in ("ATE", "ATT", "ATO")),
    Twin("iptw", "ATE", "gaussian"), Twin("aipw", "ATE", "gaussian"), Twin("gformula", "ATE", "poisson"),
]  # fmt: skip


def replicated(twin: Twin) -> dict[str, float]:
    """Standard deviations over replicates of the two means, their difference, and the logarithm of their ratio."""
    people = drawn(twin.family, PEOPLE, np.random.default_rng(SEED)).pooled
    rng = np.random.default_rng(SEED + 1)
    means = np.array([twin.estimate(people.drawn(rng.integers(0, PEOPLE, PEOPLE))) for _ in range(REPLICATES)])
    spread = {"untreated": means[:, 0].std(ddof=1), "treated": means[:, 1].std(ddof=1)}
    spread["difference"] = (means[:, 1] - means[:, 0]).std(ddof=1)
    if twin.family != "gaussian":
        spread["log ratio"] = np.log(means[:, 1] / means[:, 0]).std(ddof=1)
    return {name: float(value) for name, value in spread.items()}


def main() -> None:
    """Write the file."""
    cases = [{"twin": vars(t), "std_error": replicated(t)} for t in TWINS]
    made = {"people": PEOPLE, "replicates": REPLICATES, "seed": SEED, "numpy": np.__version__, "cases": cases}
    (Path(__file__).parent / "bootstrap.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
