"""Standardised and augmented incidences of causes that compete: derivatives, twins by integration, symmetry, truth."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from confrere.analyses.curves import Cellwise
from confrere.analyses.effects import walks
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.read_off import CurveRisks
from confrere.analyses.finding import Finding
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit

CELLS = walks.Cells(np.array([1.0, 2.5, 3.0, 5.0]), np.array([1.0, 1.5, 0.5, 2.0]))
LEVELS = ("alive", "relapse", "death")
STEP, END, TIME = 182.5, 1460.0, 730.0


class Hazards(NamedTuple):
    """Of two causes (2, n, m) and of being censored (n, m); when people leave, and by which cause, (n,)."""

    a: np.ndarray
    b: np.ndarray
    time: np.ndarray
    fate: np.ndarray

    def course(self, cause: int) -> walks.Course:
        """By a cause."""
        stay = walks.stay_of(self.time, self.fate > 0, CELLS)
        walk = walks.Walk(CELLS, self.a.sum(axis=0), self.b, stay)
        share = walks.cause_of(self.a[cause], walk, self.fate == cause + 1)
        return walks.course(walk, share, walks.grown(walk.a + self.b, stay))


def drawn(seed: int = 3) -> tuple[Hazards, np.random.Generator]:
    """Five people."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.05, 0.4, (2, 5, 4)), rng.uniform(0.05, 0.4, (5, 4))
    return Hazards(a, b, np.array([0.4, 2.2, 2.9, 4.0, 9.0]), np.array([1, 0, 2, 1, 1])), rng


@pytest.mark.parametrize("cause", [0, 1])
def test_martingales_are_their_integrals(cause: int) -> None:
    """Of (1[k] - (F_m - F(u))/S(u))/K(u) dM(u), over many small pieces of time."""
    of, pieces = drawn()[0], 100_000
    course, width = of.course(cause), 5.0 / pieces
    u = (np.arange(pieces) + 0.5) * width
    cell = np.searchsorted(CELLS.breaks, u)
    for i, (time, fate) in enumerate(zip(of.time, of.fate, strict=True)):
        a, b = of.a[:, i][:, cell], of.b[i][cell]
        s, kept = (
            np.exp(-(np.cumsum(a.sum(axis=0)) - a.sum(axis=0) / 2) * width),
            np.exp((np.cumsum(b) - b / 2) * width),
        )
        f = (np.cumsum(a[cause] * s) - a[cause] * s / 2) * width
        for m, end in enumerate(CELLS.breaks):
            last = float(np.sum((a[cause] * s)[u < end]) * width)
            by = np.array([(j == cause) - (last - f) / s for j in (0, 1)]) * kept
            inside = u < min(time, end)
            want = -float((by * a)[:, inside].sum() * width)
            if fate and time <= end:
                want += float(by[fate - 1, np.searchsorted(u, time)])
            assert course.f[i, m] == pytest.approx(last, abs=1e-5)
            assert walks.martingale(course)[i, m] == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("cause", [0, 1])
def test_derivatives_by_the_hazards_of_causes_are_differences(cause: int) -> None:
    """Of augmented incidence: by the hazard of either cause and of being censored, in each cell."""
    of, rng = drawn()
    along, h, w = rng.normal(size=4), rng.uniform(1, 2, 5), rng.uniform(1, 2, 5)

    def value(at: Hazards) -> np.ndarray:
        course = at.course(cause)
        return np.asarray((h[:, None] * course.f + w[:, None] * walks.martingale(course)) @ along)

    def differs(name: str, move: np.ndarray) -> np.ndarray:
        up, down = (value(of._replace(**{name: getattr(of, name) + sign * move})) for sign in (1, -1))
        return np.asarray((up - down) / 2e-6)

    got, shares = walks.slopes(of.course(cause), along, h, w), tuple(of.course(j).cause for j in (0, 1))
    for cell in range(4):
        for other in (0, 1):
            move = np.zeros_like(of.a)
            move[other, :, cell] = 1e-6
            by = walks.by_hazard(got, shares, cause, other)[:, cell]
            np.testing.assert_allclose(by, of.a[other, :, cell] * differs("a", move), rtol=1e-6, atol=1e-8)
        move = np.zeros_like(of.b)
        move[:, cell] = 1e-6
        np.testing.assert_allclose(got.by_b[:, cell], of.b[:, cell] * differs("b", move), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("cause", [-1, 0, 1])
@pytest.mark.parametrize("time", [1.0, 1.7, 2.9])
def test_derivatives_by_incidences_are_differences(time: float, cause: int) -> None:
    """At edges and within cells; also where incidence falls, or nobody has the event."""
    left, right, none = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.zeros((2, 3))
    cells = Cellwise(left, right, np.ones(3), none, np.zeros(3), False, np.arange(3), np.arange(3))
    curve = np.array([[0.1, 0.3, 0.3], [0.2, 0.25, 0.24 if time < 2 else 0.25 + 1e-9]])
    risks = CurveRisks(cells, curve)
    read, step = risks.risk(time, cause), np.zeros_like(curve)
    for j in range(2):
        for m in range(3):
            step[j, m] = 1e-6
            up, down = (CurveRisks(cells, curve + sign * step).risk(time, cause).value for sign in (1, -1))
            assert read.events[j, m] == pytest.approx((up - down) / 2e-6, abs=1e-7)
            step[j, m] = 0.0
    assert risks.risk(time).value == pytest.approx(risks.risk(time, 0).value + risks.risk(time, 1).value)


# Studies ------------------------------------------------------------------------------------------------------


def people(n: int, seed: int) -> pd.DataFrame:
    """People of three hospitals whose relapse and death, and being lost, depend on two confounders of the treatment."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    a = (rng.random(n) < expit(x @ np.array([0.5, 0.4]))).astype(float)
    rates = hazards(x, a)
    each = rng.exponential(size=(2, n)) / rates
    gone = np.minimum(rng.exponential(1500, n) * np.exp(-x @ np.array([0.5, -0.3])), 1400.0)
    first, cause = each.min(axis=0), 1 + each.argmin(axis=0)
    fate = pd.Categorical.from_codes(np.where(first <= gone, cause, 0), LEVELS)
    frame = pd.DataFrame({"x0": x[:, 0], "x1": x[:, 1], "a": a, "time": np.minimum(first, gone), "fate": fate})
    return frame.assign(hospital=np.arange(n) % 3, pid=np.arange(n))


def hazards(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Of relapse and of death (2, n): the treatment holds off the one, and brings the other a little nearer."""
    relapse, death = (
        np.exp(x @ np.array([0.5, -0.4]) - 0.5 * a) / 900,
        np.exp(x @ np.array([0.2, 0.6]) + 0.2 * a) / 1800,
    )
    return np.array([relapse, death])


def truth(cause: str) -> float:
    """The risk difference of a cause at TIME among everybody."""
    rng, risks = np.random.default_rng(1), []
    x = rng.normal(size=(1_000_000, 2))
    for arm in (0.0, 1.0):
        each = hazards(x, np.full(len(x), arm))
        whole = each.sum(axis=0)
        risks.append(float(np.mean(each[LEVELS.index(cause) - 1] / whole * -np.expm1(-whole * TIME))))
    return risks[1] - risks[0]


def study(levels: tuple[str, ...] = LEVELS, **more: Any) -> Effect:
    """The effect on the risks of both causes."""
    ground = Ground(Schema({"fate": Column("fate", levels)}), step=STEP, horizon=END, person="pid")
    settings = {"confounders": "x0 + x1", "estimator": "aipw", "times": (TIME,), "balance": False, "ground": ground}
    return Effect("a", "Surv(time, fate)", **(settings | more))  # type: ignore[arg-type]


def dealt(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """By hospital."""
    return [part for _, part in frame.groupby("hospital")]


def differences(found: Finding) -> dict[str, dict[str, Any]]:
    """Risk differences by cause."""
    return {r["cause"]: r for r in found.tables["effects"] if r["measure"] == "risk difference"}


@pytest.mark.parametrize("estimator", ["gformula", "aipw"])
def test_the_order_of_causes_does_not_matter(estimator: str) -> None:
    """Levels the other way round: the same risks of each."""
    frame, other = people(1500, 5), ("alive", "death", "relapse")
    one = differences(fit(study(estimator=estimator), dealt(frame), LOOSE))
    turned = frame.assign(fate=frame["fate"].cat.reorder_categories(other))
    two = differences(fit(study(other, estimator=estimator), dealt(turned), LOOSE))
    for cause, row in one.items():
        assert row["estimate"] == pytest.approx(two[cause]["estimate"], rel=1e-9)
        assert row["std_error"] == pytest.approx(two[cause]["std_error"], rel=1e-8)


@pytest.mark.parametrize("estimator", ["gformula", "aipw"])
def test_limits_held_the_truth_in_a_thousand_studies(estimator: str) -> None:
    """As `make_causes_apart` stored it; the first of them are made anew: limits that move would hold it in others."""
    from effects.make_causes_apart import FIRST, PLACE, covered

    stored = json.loads(PLACE.read_text())
    shares = dict(stored["coverage"][estimator]["all"])
    assert (stored["runs"], covered(estimator, FIRST)) == (1000, stored["coverage"][estimator]["first"])
    assert shares.pop("refused") <= 0.02
    for cause, share in shares.items():
        assert 0.936 <= share <= 0.964, (cause, share)


def test_folds_agree_with_one_fit() -> None:
    """With models that are right, folds change an estimate by less than half a standard error, and its error little."""
    frames = dealt(people(3000, 7))
    one, many = (differences(fit(study(folds=folds), frames, LOOSE)) for folds in (1, 4))
    for cause, row in one.items():
        assert 0 < abs(row["estimate"] - many[cause]["estimate"]) < 0.5 * row["std_error"]
        assert many[cause]["std_error"] == pytest.approx(row["std_error"], rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"outcome_model": "a + x1"}, True),
        ({"confounders": "x1", "censoring": "1", "outcome_model": "a + x0 + x1"}, True),
        ({"estimator": "gformula"}, True),
        ({"estimator": "gformula", "outcome_model": "a + x1"}, False),
        ({"confounders": "x1", "censoring": "1", "outcome_model": "a + x1"}, False),
    ],
    ids=["outcome", "weights", "standardised", "standardised by the wrong model", "both"],
)
def test_augmented_incidences_are_right_if_either_side_is(wrong: dict[str, Any], right: bool) -> None:
    """With x0 left out of the outcome models, or of propensity and censoring, effects are right; of all, not."""
    found = differences(fit(study(**wrong), dealt(people(20_000, 8)), LOOSE))
    off = [abs(row["estimate"] - truth(cause)) / row["std_error"] for cause, row in found.items()]
    assert (max(off) < 3.5) == right, off
