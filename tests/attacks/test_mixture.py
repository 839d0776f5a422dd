"""Mixtures of larger studies under the smooth attack: their few rounds say the less of a person the more people join.

`test_cases` attacks the smallest study. Here the derivatives of what everybody adds are taken of all people at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from attacks.cases import registered
from attacks.detectors import STEP, Jacobian, identified
from attacks.people import GROUND, dealt, patients, pooled
from attacks.view import View, record
from confrere.analyses.kmeans import distances, nearest
from confrere.rounds import find


def parts(view: View, x: np.ndarray) -> np.ndarray:
    """What each person of columns x (n, p) adds to every number of a view of a mixture of everybody (n, m)."""
    given: dict[Any, Any] = {}
    out = []
    for a, verdict in view.events:
        if verdict is not None:
            given[a.analysis] = a.args
        elif a.step == "start":
            out += [np.ones((len(x), 1)), x, x**2]
        elif a.step == "products":
            z = a.args[0].of(x)
            i, j = np.triu_indices(z.shape[1])
            out.append(z[:, i] * z[:, j])
        elif a.step == "told":
            frame, centres = given[a.analysis][0].frame, given[a.analysis][1]
            z = frame.of(x)
            inside = np.eye(len(centres))[nearest(distances(z, centres))]
            out.append((inside[:, :, None] * np.column_stack([np.ones(len(z)), z])[:, None, :]).reshape(len(z), -1))
        else:
            out.append(classes(*given[a.analysis][:2], x))
    return np.hstack(out)


def classes(columns: Any, given: Any, x: np.ndarray) -> np.ndarray:
    """What each person adds to a round of EM of classes of any covariance, from the densities written out."""
    z, k = columns.frame.of(x), len(given[0])
    logs = np.empty((len(z), k))
    for c in range(k):
        covariance, off = np.array(given[1 + k + c]).reshape(z.shape[1], -1), z - np.array(given[1 + c])
        away = np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
        logs[:, c] = np.log(given[0][c]) - away / 2 - np.log(np.linalg.det(2 * np.pi * covariance)) / 2
    whole = np.logaddexp.reduce(logs, axis=1)
    share = np.exp(logs - whole[:, None])
    i, j = np.triu_indices(z.shape[1])
    wide = np.column_stack([np.ones(len(z)), z, z[:, i] * z[:, j]])
    entropy = -(share * (logs - whole[:, None])).sum(axis=1)
    return np.column_stack([whole, entropy, (share[:, :, None] * wide[:, None, :]).reshape(len(z), -1)])


def attacked(n: int, columns: Sequence[str], clusters: int, heavy: bool) -> tuple[np.ndarray, int]:
    """Identified shares (n,), and the rounds of EM; the parts of everybody must add up to the view."""
    registered()
    study = find("mixture")("~ " + " + ".join(columns), clusters, ground=GROUND)
    view = record(study.flow(), dealt(patients(n, heavy=heavy)), columns=len(columns))
    x = pooled(view.tables)[list(columns)].to_numpy(dtype=float)
    np.testing.assert_allclose(parts(view, x).sum(axis=0), view.values, rtol=1e-7, atol=1e-6)
    step = STEP * np.diag(x.std(axis=0))
    by = [(parts(view, x + h) - parts(view, x - h)).T / (2 * STEP) for h in step]
    return identified(Jacobian(np.stack(by, axis=2), tuple(columns))), view.finding.facts["rounds"]


TWO, THREE = ("x1", "y"), ("x1", "x2", "y")


@pytest.mark.parametrize(
    ("n", "columns", "clusters", "heavy"),
    [
        (720, TWO, 2, False),
        pytest.param(1440, TWO, 2, False, marks=pytest.mark.slow),
        pytest.param(2160, TWO, 2, False, marks=pytest.mark.slow),
        pytest.param(5000, TWO, 2, False, marks=pytest.mark.slow),
        pytest.param(1440, THREE, 3, False, marks=pytest.mark.slow),
        pytest.param(2160, THREE, 3, False, marks=pytest.mark.slow),
        pytest.param(1440, TWO, 2, True, marks=pytest.mark.slow),
    ],
)
def test_more_people_are_no_more_identified(n: int, columns: Sequence[str], clusters: int, heavy: bool) -> None:
    shares, rounds = attacked(n, columns, clusters, heavy)
    print(f"n = {n}: {rounds} rounds, largest share {shares.max():.2f}, {(shares > 0.5).sum()} over 0.5")
    assert np.mean(shares > 0.5) <= (0.01 if heavy else 0.0)
