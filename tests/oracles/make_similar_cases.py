"""Similar cases by scikit-learn: makes similar_cases.json. Needs scikit-learn.

    python tests/oracles/make_similar_cases.py          # a second, from the top of the repository

On the breast demo by hospital: the `size` of the tumour among the nearest of every hospital by columns as they are, and
in units. Wilson's limits by scipy's `binomtest`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
import sklearn
from scipy.stats import binomtest
from sklearn.neighbors import NearestNeighbors

HERE = Path(__file__).parent
DEMO = HERE.parent.parent / "src" / "confrere" / "demos" / "breast.csv"
LEVELS = ("<=20", "20-50", ">50")
QUESTIONS: dict[str, dict[str, Any]] = {
    "as they are": {"features": ["age", "er"], "question": [55.5, 80.3], "neighbours": 40, "scales": []},
    "in units": {"features": ["age", "nodes", "pgr"], "question": [48.3, 4.2, 33.1], "neighbours": 60,
                 "scales": [10.0, 2.0, 150.0]},
}  # fmt: skip


def asked(frame: pd.DataFrame, features: list[str], question: list[float], neighbours: int, scales: list[float]) -> Any:
    """Votes of all hospitals; no place with a tie at the last neighbour."""
    units = np.array(scales or [1.0] * len(features))
    votes = dict.fromkeys(LEVELS, 0)
    for _, part in frame.groupby("hospital"):
        near = NearestNeighbors(n_neighbors=neighbours + 1).fit(part[features].to_numpy() / units)
        away, place = near.kneighbors(np.array([question]) / units)
        assert away[0, -1] > away[0, -2] + 1e-9, "a tie: take another question"
        for level, n in part["size"].iloc[place[0, :-1]].value_counts().items():
            votes[level] += int(n)
    n = sum(votes.values())
    limits = {v: list(binomtest(m, n).proportion_ci(method="wilson")) for v, m in votes.items()}
    return {"n": n, "votes": votes, "limits": limits}


if __name__ == "__main__":
    table = pd.read_csv(DEMO)
    found = {name: {**given, **asked(table, **given)} for name, given in QUESTIONS.items()}
    software = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__}
    (HERE / "similar_cases.json").write_text(json.dumps({"software": software, "cases": found}, indent=1) + "\n")
