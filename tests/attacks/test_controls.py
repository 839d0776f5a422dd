"""The detectors see: analyses that leak are caught, or the gate refuses them first (DESIGN 8, law 7 d).

Every control runs behind a gate that was told to look away (`BLIND`), to show that the detector catches it, and
behind one with the default policy, to show whether the gate would have stopped it.
"""

from __future__ import annotations

import numpy as np
import pytest

from attacks import controls
from attacks.detectors import counts, identified, jacobian, leverage, resting_on_few, rows
from attacks.people import dealt, patients, pooled
from attacks.view import record, refused
from confrere.hospital.classes import CLASSES
from confrere.hospital.gate import Policy

BLIND = Policy(k=1, pairs=0, effective=0, effective_here=0, share=1e9, parameters=1e9, allow=frozenset(CLASSES))


def webdisco(n: int) -> tuple[np.ndarray, str]:
    """Identified shares of n people, and why the gate would refuse."""
    tables = dealt(patients(n))
    frame = pooled(tables)
    study = controls.WebDisco(tuple(sorted(frame["time"][frame["event"] > 0])))
    view = record(study.flow(), tables, BLIND)
    return identified(jacobian(view, controls.X)), refused(study.flow(), tables, columns=5)


def test_cox_messages_at_every_event_time_are_caught():
    """Between two event times often one person leaves the risk sets: S1 and S0 subtracted are its row."""
    shares, reason = webdisco(120)
    assert np.mean(shares > 0.5) >= 0.5
    assert "the budget is" in reason


@pytest.mark.slow
def test_cox_messages_give_back_most_of_a_thousand_rows():
    """Most of 1,000 people, as on the first design (850 rows)."""
    shares, reason = webdisco(1000)
    print(f"Cox messages at every event time: {np.sum(shares > 0.5)} of 1000 people over 0.5")
    assert np.mean(shares > 0.5) >= 0.5
    assert reason


@pytest.mark.parametrize("marked", [1, 2])
def test_a_rare_dummy_is_caught_and_refused(marked: int):
    """X'X with the mark of one person holds its row; of two, their sum. Both rest on a few."""
    frame = patients(150)
    frame["rare"] = (np.arange(150) < marked).astype(float)
    tables, study = dealt(frame), controls.Moment(("x1", "x2", "rare"))
    view = record(study.flow(), tables, BLIND)
    assert resting_on_few(rows(view), 11)
    shares = identified(jacobian(view, ("x1", "x2")))
    rare = pooled(tables)["rare"].to_numpy() > 0
    assert (shares[rare] >= 1 / marked - 1e-6).all()
    assert shares[~rare].max() < 0.5
    assert "'rare' rests on fewer than 11" in refused(study.flow(), tables)


def test_kmeans_until_convergence_is_caught():
    """The people who change cluster alone, or with one other, are seen in the difference of two rounds."""
    tables = dealt(patients(400))
    study = controls.KMeans()
    found = rows(record(study.flow(), tables, BLIND))
    sizes = counts(found)
    few = resting_on_few(sizes, 11)
    assert any("-" in what for what, _ in few)
    moved = alone(sizes.weights)
    assert moved.sum() >= 5
    assert np.mean(leverage(sizes.weights)[moved] > 0.5) >= 0.5


def alone(m: np.ndarray) -> np.ndarray:
    """People whose memberships over the rounds nobody else has, (n,)."""
    _, back, size = np.unique(m, axis=1, return_inverse=True, return_counts=True)
    return np.asarray(size[back.ravel()] == 1)


@pytest.mark.parametrize("n", [90, pytest.param(500, marks=pytest.mark.slow)])
def test_replicates_from_a_public_hash_are_caught(n: int):
    """As many sums of known weights as people: every outcome is solved for (500 of 500)."""
    frame = patients(n)
    frame["person"] = np.arange(n, dtype=float)
    tables, study = dealt(frame), controls.PublicReplicates(n)
    shares = identified(jacobian(record(study.flow(), tables, BLIND), ("y",)))
    print(f"replicates from a public hash: {np.sum(shares > 0.5)} of {n} people over 0.5")
    assert np.mean(shares > 0.5) >= 0.99
    assert "the budget is" in refused(study.flow(), tables, columns=2)


def test_trees_on_a_thousand_people_are_caught_and_need_a_word():
    """256 bins in the 32 nodes of one level: most are alone in a bin, which shows their gradient."""
    tables, study = dealt(patients(1000)), controls.Trees()
    found = rows(record(study.flow(), tables, BLIND))
    used = found.weights[np.abs(found.weights).sum(axis=1) > 0]
    assert np.mean(leverage(used) > 0.5) >= 0.5
    assert "histograms" in refused(study.flow(), tables)


def test_many_coefficient_vectors_are_caught():
    """60 matrices X'WX of 30 people and 4 terms at coefficients of the coordinator's choosing."""
    tables, study = dealt(patients(33)), controls.Vectors(60)
    view = record(study.flow(), tables, BLIND)
    shares = identified(jacobian(view, ("x1", "x2", "y", "cost")))
    assert np.mean(shares > 0.5) >= 0.5
    assert "effective number" in refused(study.flow(), tables, columns=4)
    assert "the budget is" in refused(controls.Vectors(60, size=0.05).flow(), tables, columns=4)


def test_a_harmless_study_is_not_caught():
    """The detectors do not cry wolf: second moments of three ordinary columns."""
    tables, study = dealt(patients(90)), controls.Moment(controls.X)
    view = record(study.flow(), tables)
    assert not resting_on_few(rows(view), Policy().k)
    assert identified(jacobian(view, controls.X)).max() < 0.5
