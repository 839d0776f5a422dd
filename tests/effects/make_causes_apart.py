"""Coverage of risk differences of causes that compete, standardised and augmented.

    PYTHONPATH=tests python tests/effects/make_causes_apart.py      from the top of the repository; five minutes

writes tests/effects/causes_apart.json: of 1,000 generated studies, by estimator and cause, the share whose 95 % limits
held the truth. A study that the flow refuses (a few weights carry the end of follow-up) has no limits: it is counted as
`refused`, and the share is of the others.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from confrere.errors import ModelError
from confrere.testing import LOOSE, fit
from effects.test_causes_apart import differences, people, study, truth

RUNS, PEOPLE, SEED = 1000, 1000, 20261123
FIRST = 60  # of these studies, which every run of the tests makes anew
PLACE = Path(__file__).parent / "causes_apart.json"


def covered(estimator: str, runs: int) -> dict[str, float]:
    """The share of studies, by cause, whose limits hold the truth; the share that was refused."""
    hits, true = Counter[str](), {cause: truth(cause) for cause in ("relapse", "death")}
    for run in range(runs):
        try:  # how people are dealt changes nothing, and takes time
            found = differences(fit(study(estimator=estimator), [people(PEOPLE, SEED + run)], LOOSE))
        except ModelError:
            hits["refused"] += 1
            continue
        hits.update(c for c, row in found.items() if row["conf_low"] <= true[c] <= row["conf_high"])
    told = runs - hits["refused"]
    return {"refused": hits["refused"] / runs} | {cause: hits[cause] / told for cause in true}


if __name__ == "__main__":
    made = {e: {"all": covered(e, RUNS), "first": covered(e, FIRST)} for e in ("gformula", "aipw")}
    PLACE.write_text(json.dumps({"runs": RUNS, "people": PEOPLE, "seed": SEED, "coverage": made}, indent=1) + "\n")
