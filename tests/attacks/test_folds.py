"""Fits that lack a fold: what all of them together, less the fit of everybody, tell of a hospital that is small.

A hospital of 14 people has enough for the fit of everybody. Were it left out of the fits in which a fold leaves it
fewer than 11, the sums of these would lack it, and those of everybody not: their difference would be its people alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects.effect import Effect, Growth
from confrere.analyses.effects.nuisance import Among
from confrere.coordinator.federation import Federation
from confrere.errors import StudyError
from confrere.study.ground import Ground
from federate import found, masked

FOLDS, SMALL = 5, 14
NAMES = ("total", "outcome", "first", "second", "cross")
TREES: dict[str, Any] = {"propensity": "boosting", "growth": Growth(trees=2, depth=2)}


def hospitals() -> dict[str, pd.DataFrame]:
    rng, first, made = np.random.default_rng(4), 0, {}
    for name, n in zip("abcd", (300, 300, 300, SMALL), strict=True):
        x = rng.normal(size=n)
        treated = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x))).astype(float)
        treated[:2] = 0.0, 1.0
        y = x + treated + rng.normal(size=n)
        made[name] = pd.DataFrame({"pid": np.arange(first, first + n), "x": x, "treated": treated, "y": y})
        first += n
    return made


def seen(monkeypatch: pytest.MonkeyPatch, **more: Any) -> dict[int, Any]:
    """The moments that the coordinator sees of the propensity's people, by the fold that is left out; -1 of none."""
    opened, answer = dict[int, Any](), Federation.answer

    def noted(federation: Federation, asks: Any) -> Any:
        answers = answer(federation, asks)
        for a, got in zip(asks, answers, strict=True):
            if a.kind == "ask" and a.step == "start" and getattr(a.analysis, "formula", "").startswith("treated"):
                opened.setdefault(a.analysis.among.fold, got)
        return answers

    monkeypatch.setattr(Federation, "answer", noted)
    effect = Effect("treated", "y", "x", estimator="aipw", folds=FOLDS, ground=Ground(person="pid"), **more)
    found(masked(effect, hospitals(), allow=("histograms",) if more else ()))
    return opened


def left(opened: dict[int, Any]) -> list[np.ndarray]:
    """Everybody so many times as there are fits without a fold, less these: each person is in all but one of them."""
    return [
        (FOLDS - 1) * getattr(opened[-1], name).value - sum(getattr(opened[k], name).value for k in range(FOLDS))
        for name in NAMES
    ]


@pytest.mark.parametrize("more", [{}, TREES])
def test_a_small_hospital_is_in_all_fits_or_in_none(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for sums in left(seen(monkeypatch, **more)):
        assert np.abs(sums).max() < 1e-6


def test_control_counted_after_the_fold_it_is_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = Among.taught

    def counted_later(among: Among, *given: Any) -> Any:
        made = taught(among, *given)
        return type(made)(**{**{f: getattr(made, f) for f in made.__dataclass_fields__ if f != "_made"}, "crowd": None})

    monkeypatch.setattr(Among, "taught", counted_later)
    total, *_ = left(seen(monkeypatch))
    assert 0 < float(total) < FOLDS * SMALL


def test_intercepts_of_hospitals_have_no_folds() -> None:
    """A hospital in which all but one are treated has no intercept without that person's fold, and would drop out."""
    effect = Effect(
        "treated", "y", "x", estimator="aipw", folds=FOLDS, hospital_effects=True, ground=Ground(person="pid")
    )
    with pytest.raises(StudyError, match="leave out hospital_effects, or folds"):
        effect.check()
