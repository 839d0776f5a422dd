"""The attack on membership of models of times: what it counts, that it finds a model which tells, and its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses import concordance
from confrere.analyses.learning.attack import TOO_GOOD
from confrere.analyses.learning.attack_times import Losses
from confrere.analyses.learning.scored import Z
from confrere.analyses.networks.measured import exits
from confrere.console.result import as_dict
from confrere.coordinator.airlock import Rule, checks
from confrere.report.model_card import card, markdown
from confrere.report.words import Words
from confrere.testing import SCHEMA
from confrere.testing.people import patients

SURV = "Surv(time, event)"


def people(n: int, noise: int = 0) -> dict[str, pd.DataFrame]:
    """Three hospitals; `noise` columns say nothing of anybody."""
    rng, frame = np.random.default_rng(2), patients(n, 3).assign(pid=[f"p{i}" for i in range(n)])
    frame = frame.assign(**{f"n{j}": np.round(rng.normal(size=n), 3) for j in range(noise)})
    return {f"h{i}": frame[i::3].reset_index(drop=True) for i in range(3)}


def run(analysis: Any, hospitals: dict[str, pd.DataFrame]) -> Any:
    allow = ["histograms", "model_weights"]
    levels = {name: c.levels for name, c in SCHEMA.columns.items() if name in ("arm", "stage", "fate")}
    return cf.local(hospitals, levels=levels, person="pid").run(analysis, allow=allow)


def test_the_residual_is_that_of_breslows_baseline() -> None:
    """Half of coxph's squared deviance residual, person by person; and nothing for a common factor of the ratios."""
    rng = np.random.default_rng(4)
    time, event, score = rng.integers(1, 9, 60).astype(float), rng.random(60) < 0.6, rng.normal(size=60)
    risk = np.exp(score)
    mean = np.array([
        risk[i] * sum(event[time == t].sum() / risk[time >= t].sum() for t in np.unique(time) if t <= time[i])
        for i in range(60)
    ])  # fmt: skip
    martingale = event - mean
    log = np.log(np.where(event, event - martingale, 1.0))
    residual = np.sign(martingale) * np.sqrt(-2 * (martingale + event * log))  # Therneau and Grambsch
    assert exits(score, time, event) == pytest.approx(residual**2 / 2, rel=1e-9, abs=1e-12)
    assert exits(score + 30, time, event) == pytest.approx(exits(score, time, event))
    assert exits(score[:0], time[:0], event[:0]).size == 0


MODELS = {
    "trees": lambda **kind: cf.Boosting(SURV, ("x1", "x2"), "cox", trees=4, depth=2, holdout=0.4, **kind),
    "cox": lambda **kind: cf.Network(SURV, "x1 + x2", rounds=4, holdout=0.4, **kind),
    "discrete": lambda **kind: cf.Network(SURV, "x1", intervals=(365.0, 730.0), rounds=4, holdout=0.4, **kind),
}


@pytest.mark.parametrize("name", MODELS)
def test_pairs_are_of_everybody_in_a_hospital_and_a_plain_model_tells_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The area is the share of pairs, person by person; its error that of DeLong in each hospital."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    design = Losses.design

    def noted(losses: Losses, given: Any) -> Any:
        made = design(losses, given)
        if made.n:
            seen.append(made.data)
        return made

    noted.__name__ = "design"  # by which steps are known
    monkeypatch.setattr(Losses, "design", noted)
    fit = run(MODELS[name](), people(1800))
    (row,) = fit.tables["attack"]
    assert (row["n_members"], row["n_others"]) == tuple(
        sum((t == kind).sum() for t, *_ in seen) for kind in (True, False)
    )
    each = [np.sign(lost[~train][None] - lost[train][:, None]) / 2 + 0.5 for train, lost, _ in seen]
    won, pairs = sum(one.sum() for one in each), sum(one.size for one in each)
    assert row["estimate"] == pytest.approx(won / pairs, rel=1e-12)
    square = sum(((one - won / pairs).sum(axis=i) ** 2).sum() for one in each for i in (0, 1))
    assert row["std_error"] == pytest.approx(np.sqrt(square) / pairs, rel=1e-9)
    assert row["estimate"] == pytest.approx(0.5, abs=4 * row["std_error"])
    assert "membership-attack" not in [w.code for w in fit.warnings]


def test_limits_of_the_area_hold_as_often_as_they_say() -> None:
    """Of 400 worlds without a leak, in three hospitals of other losses, the area is a coin in 95 of a hundred."""
    rng, inside = np.random.default_rng(7), 0
    for _ in range(400):
        parts = [(rng.random(120) < 0.6, rng.normal(h, 1 + h, 120)) for h in range(3)]
        pairs = [concordance.pairs((~t).astype(float), t, -lost, np.ones(120)) for t, lost in parts]
        sums = np.sum([p.sums for p in pairs], axis=0)
        area, total = concordance.concordance(sums), sums.sum()
        se = np.sqrt(sum((p.influence(area, total) ** 2).sum() for p in pairs))
        inside += abs(area - 0.5) < Z * se
    assert 0.92 < inside / 400 < 0.98


def test_a_network_of_discrete_time_that_tells_its_people_says_so() -> None:
    """A wide one, trained long on few people and much noise."""
    features = " + ".join(("x1", "x2", *(f"n{j}" for j in range(6))))
    wide: dict[str, Any] = {"module": "mlp", "settings": {"hidden": (64, 64)}, "optimizer": "adam"}
    long: dict[str, Any] = {"learning_rate": 0.03, "rounds": 15, "epochs": 20}
    fit = run(cf.Network(SURV, features, intervals=(365.0, 730.0), holdout=0.4, **wide, **long), people(1500, noise=6))
    (row,) = fit.tables["attack"]
    assert row["estimate"] > TOO_GOOD
    assert "membership-attack" in [w.code for w in fit.warnings]


def test_a_model_that_tells_its_people_says_so_and_stays_in_the_airlock() -> None:
    """Many deep trees of noise learn the people by heart."""
    features = ("x1", "x2", *(f"n{j}" for j in range(6)))
    more: dict[str, Any] = {"trees": 40, "depth": 6, "hessian": 0.0, "penalty": 0.0, "learning_rate": 0.3}
    fit = run(cf.Boosting(SURV, features, "cox", holdout=0.4, **more), people(2400, noise=6))
    (row,) = fit.tables["attack"]
    assert row["estimate"] > TOO_GOOD
    assert "membership-attack" in [w.code for w in fit.warnings]
    (check,) = [c for c in checks({"trees": fit.finding}, Rule(11, ("histograms",))) if c.check == "membership"]
    assert check.verdict == "fail"


def test_the_card_has_its_area_in_both_languages() -> None:
    result = as_dict(run(MODELS["cox"](), people(3000)).results)
    (row,) = card(result, result["analyses"][0])["attacks"]["membership"]
    for lang, mark in (("en", "."), ("fr", ",")):
        assert f"{row['estimate']:.3f}".replace(".", mark) in markdown(
            result, result["analyses"][0], Words("fr" if lang == "fr" else "en")
        )
