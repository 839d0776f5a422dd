"""A regression without each group of hospitals in turn: a twin that has all rows, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

import confrere as cf
from confrere.analyses.learning.left_out import asked
from confrere.analyses.logistic import Logistic
from confrere.errors import StudyError
from confrere.hospital.manifest import manifest
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.testing import SCHEMA
from federate import apart, found, masked
from journeys.test_manifest import check_left
from laws.cases import gaps

GROUND = Ground(SCHEMA)
NAMES = tuple("abcdefghi")
GROUPS = (NAMES[:3], NAMES[3:6], NAMES[6:])
STUDY = """
[study]
id = "elsewhere"
purpose = "research"
[data]
table = "people"
[groups]
north = ["a", "b", "c"]
[[analysis]]
name = "one"
method = "logistic"
formula = "ill ~ x1"
leave_out = [["a", "b", "c"], ["d", "e", "f"]]
"""


def dealt(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """To nine hospitals, each its share."""
    return {name: frame[i :: len(NAMES)].reset_index(drop=True) for i, name in enumerate(NAMES)}


def glm(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients by Newton's method, of all rows in one place."""
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        p = special.expit(x @ beta)
        beta += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (y - p))
    return beta


def terms(hospitals: dict[str, pd.DataFrame], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    frame = pd.concat([hospitals[name] for name in names]).dropna(subset=["x1", "gap", "stage", "ill"])
    columns = [np.ones(len(frame)), frame["x1"], frame["gap"], frame["stage"] == "II", frame["stage"] == "III"]
    return np.stack([np.asarray(c, dtype=float) for c in columns], axis=1), frame["ill"].to_numpy(dtype=float)


def test_it_is_what_the_rows_in_one_place_say() -> None:
    """Coefficients of all; in each group the log loss and the Brier score of the fit of the others, its slope and
    calibration in the large; the area of few cells, nearly."""
    hospitals = dealt(gaps(5400, 3))
    got = found(masked(Logistic("ill ~ x1 + gap + C(stage)", leave_out=GROUPS, ground=GROUND), hospitals))
    assert got.arrays["estimate"] == pytest.approx(glm(*terms(hospitals, NAMES)), rel=1e-8)
    for group in GROUPS:
        beta = glm(*terms(hospitals, tuple(n for n in NAMES if n not in group)))
        x, y = terms(hospitals, group)
        eta = x @ beta
        p = special.expit(eta)
        told = {r["metric"]: r for r in got.tables["left_out"] if r["left_out"] == ", ".join(group)}
        assert told["AUC"]["n"] == len(y) < 1800  # some miss a value
        assert told["AUC"]["events"] == y.sum()
        assert told["log loss"]["estimate"] == pytest.approx(-np.mean(np.log(np.where(y == 1, p, 1 - p))), rel=1e-9)
        assert told["Brier score"]["estimate"] == pytest.approx(np.mean((p - y) ** 2), rel=1e-9)
        line = glm(np.stack([np.ones(len(y)), eta], axis=1), y)
        assert told["calibration slope"]["estimate"] == pytest.approx(line[1], rel=1e-7)
        area = np.mean(eta[y == 1][:, None] > eta[y == 0][None, :])
        assert told["AUC"]["estimate"] == pytest.approx(area, abs=0.02)


def test_where_people_differ_it_shows() -> None:
    """In the last group the outcome goes the other way: the others' model tells nobody apart there."""
    hospitals = dealt(gaps(5400, 3))
    rng = np.random.default_rng(4)
    for name, frame in hospitals.items():
        turn = -1 if name in GROUPS[2] else 1
        frame["ill"] = (rng.random(len(frame)) < special.expit(turn * 1.5 * frame["x1"])).astype(float)
    got = found(masked(Logistic("ill ~ x1", leave_out=GROUPS, ground=GROUND), hospitals))
    areas = [r["estimate"] for r in got.tables["left_out"] if r["metric"] == "AUC"]
    assert areas[0] > 0.6 < areas[1]
    assert areas[2] < 0.4


def test_groups_that_are_asked() -> None:
    whole = tuple(sorted(NAMES))
    assert set(asked(GROUPS)) == {*GROUPS, NAMES[3:], (*NAMES[:3], *NAMES[6:]), NAMES[:6], whole}
    assert asked(()) == ()


@pytest.mark.parametrize(
    ("leave_out", "more", "says"),
    [
        ((NAMES[:3],), {}, "two groups of hospitals or more"),
        ((NAMES[:3], NAMES[3:5]), {}, "each of 3 at least"),
        ((NAMES[:3], NAMES[2:5]), {}, "none in two of them"),
        (GROUPS, {"weights": "w"}, "without weights"),
        (GROUPS, {"missing": "impute", "ground": replace(GROUND, person="pid")}, "without weights"),
        (GROUPS, {"formula": "ill ~ x1 + offset(x2)"}, "without weights"),
        (GROUPS, {"formula": "ill ~ standardize(x1)"}, "without weights"),
    ],
)
def test_what_cannot_be(leave_out: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        Logistic(**({"formula": "ill ~ x1", "leave_out": leave_out, "ground": GROUND} | more)).check()


def test_it_stands_alone_in_its_study() -> None:
    beside = '[[analysis]]\nname = "two"\nmethod = "describe"\nvariables = ["x1"]\n'
    (one,) = build.analyses(parse(STUDY))
    assert one.leave_out == (("a", "b", "c"), ("d", "e", "f"))
    with pytest.raises(StudyError, match="leave_out compares groups"):
        build.analyses(parse(STUDY + beside))
    with pytest.raises(StudyError, match="leave out one of the two"):
        build.analyses(parse(STUDY.replace("leave_out", 'group = "north"\nleave_out')))


def test_a_group_with_a_hospital_that_is_not_there_is_refused() -> None:
    hospitals = cf.local(dict(list(dealt(gaps(5400, 3)).items())[:5]))
    with pytest.raises(StudyError, match="not hospitals of this run"):
        hospitals.run(parse(STUDY))


def test_who_is_where_within_a_group_does_not_matter() -> None:
    frame, rng = gaps(5400, 3), np.random.default_rng(2)
    of = Logistic("ill ~ x1 + gap", leave_out=GROUPS, ground=GROUND)
    findings = []
    for order in (np.arange(3), rng.permutation(3)):
        hospitals = dealt(frame)
        for group in GROUPS:
            moved = [hospitals[group[i]] for i in order]
            hospitals |= dict(zip(group, moved, strict=True))
        findings.append(found(masked(of, hospitals)))
    assert not apart(*findings, 1e-9)


def test_what_leaves_is_listed() -> None:
    study = parse(STUDY)
    listed = manifest(study)
    assert listed.unreached == ()
    six = dict(list(dealt(gaps(5400, 3)).items())[:6])
    results = cf.local(six).run(study)
    assert not results.errors
    check_left(listed, list(results.left))
