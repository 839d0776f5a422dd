"""Outcomes guessed by a model, of people of training beside people held out: what the attack finds, and who says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.learning.reconstruction import Z, rebuilt, recovers
from confrere.console.result import as_dict
from confrere.coordinator.airlock import Rule, checks
from confrere.report.cautions import said
from confrere.report.model_card import card, markdown
from confrere.report.words import Words


def people(n: int, seed: int = 5) -> pd.DataFrame:
    """People whose outcomes hang a little on one of six columns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    ill = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x[:, 0]))).astype(int)
    columns = {f"x{j}": np.round(x[:, j], 3) for j in range(6)}
    return pd.DataFrame({"pid": [f"p{i}" for i in range(n)], **columns, "ill": ill, "y": x[:, 1] + rng.normal(size=n)})


FEATURES = tuple(f"x{j}" for j in range(6))


def fitted(analysis: Any, n: int = 1600) -> Any:
    frame = people(n)
    hospitals = {f"h{i}": frame[i::4].reset_index(drop=True) for i in range(4)}
    return cf.local(hospitals, person="pid").run(analysis, allow=["histograms"])


def row(metric: str, a: tuple[float, float, float], b: tuple[float, float, float]) -> list[dict[str, Any]]:
    names = ("estimate", "conf_low", "conf_high")
    samples = (("training", a), ("held out", b))
    return [{"metric": metric, "sample": s, **dict(zip(names, v, strict=True))} for s, v in samples]


@pytest.mark.parametrize(("trees", "depth", "leaks"), [(5, 2, False), (150, 6, True)])
def test_trees_that_remember_outcomes_say_so_and_stay_in_the_airlock(trees: int, depth: int, leaks: bool) -> None:
    fit = fitted(cf.Boosting("ill", FEATURES, trees=trees, depth=depth, learning_rate=0.3))
    (found,) = fit.tables["reconstruction"]
    by_sample = {r["sample"]: r for r in fit.tables["metrics"] if r["metric"] == found["metric"]}
    (area,) = [r for r in fit.tables["metrics"] if (r["metric"], r["sample"]) == ("AUC", "held out")]
    assert found["metric"] == ("Brier score" if area["conf_low"] is None else "AUC")  # no limits of coarse cells
    assert (found["of_training"], found["of_others"]) == tuple(
        by_sample[s]["estimate"] for s in ("training", "held out")
    )
    a, b = found["of_training"], found["of_others"]
    one, other = ((by_sample[s]["conf_high"] - by_sample[s]["estimate"]) / Z for s in ("training", "held out"))
    if found["metric"] == "AUC":
        assert found["estimate"] == pytest.approx(a - b)
        assert found["std_error"] == pytest.approx(np.hypot(one, other))
    else:
        assert found["estimate"] == pytest.approx(1 - a / b)
        assert found["std_error"] == pytest.approx(np.hypot(one, other * a / b) / b)
    assert leaks == recovers(found) == ("reconstruction-attack" in [w.code for w in fit.warnings])
    (check,) = [c for c in checks({"trees": fit.finding}, Rule(11, ("histograms",))) if c.check == "reconstruction"]
    assert check.verdict == ("fail" if leaks else "pass")
    assert f"{found['of_training']:.2f}" in check.reason
    result = as_dict(fit.results)
    for lang in ("en", "fr"):
        page = markdown(result, result["analyses"][0], Words("fr" if lang == "fr" else "en"))
        assert Words("fr" if lang == "fr" else "en").numbers.fixed(found["of_training"], 3) in page
    for warning in fit.warnings:
        assert not said(warning.code, warning.text, Words("fr")).foreign


def test_the_area_of_training_is_what_the_released_model_gives_of_its_people() -> None:
    fit = fitted(cf.Boosting("ill", FEATURES, trees=60, depth=4))
    told = {r["sample"]: r["estimate"] for r in fit.tables["metrics"] if r["metric"] == "AUC"}
    everybody = people(1600)
    ranks, ill = fit.predict(everybody)["estimate"].rank(), everybody["ill"] == 1
    area = (ranks[ill].mean() - (ill.sum() + 1) / 2) / (~ill).sum()
    assert told["held out"] < area < told["training"]  # of both samples together


def test_a_penalised_regression_is_tried_by_the_deviance_explained() -> None:
    fit = fitted(cf.Penalised("ill ~ " + " + ".join(FEATURES), "binomial"))
    (found,) = fit.tables["reconstruction"]
    facts = fit.facts
    chosen = next(r for r in fit.tables["cv"] if r["lambda"] == facts["lambda"])
    assert found["metric"] == "deviance explained"
    assert found["of_training"] == pytest.approx(facts["deviance_ratio"])
    assert found["of_others"] == pytest.approx(1 - chosen["mean"] / (facts["null_deviance"] / fit.n))
    assert not recovers(found)
    one = fitted(cf.Penalised("ill ~ x0 + x1", "binomial", penalty=(0.01,)))
    assert "reconstruction" not in one.tables  # nobody was held out


def test_of_an_outcome_without_an_area_it_is_a_loss() -> None:
    fit = fitted(cf.Boosting("y", FEATURES, "squared", trees=20, depth=3))
    (found,) = fit.tables["reconstruction"]
    assert found["metric"] == "mean squared error"
    assert found["estimate"] == pytest.approx(1 - found["of_training"] / found["of_others"])
    assert found["conf_low"] < found["estimate"] < found["conf_high"]


def test_where_nobody_was_held_out_the_card_says_that_none_was_tried() -> None:
    hospitals = {f"h{i}": people(1600)[i::4].reset_index(drop=True) for i in range(4)}
    fit = cf.local(hospitals).run(cf.Boosting("ill", FEATURES, trees=2, depth=2), allow=["histograms"])
    assert "reconstruction" not in fit.tables
    result = as_dict(fit.results)
    assert card(result, result["analyses"][0])["attacks"]["outcomes"] == []
    assert "Not tried" in markdown(result, result["analyses"][0], Words())


def test_by_chance_it_says_nothing() -> None:
    near, far = (0.9, 0.88, 0.92), (0.7, 0.3, 1.0)
    (wide,) = rebuilt(row("AUC", near, far)).tables["reconstruction"]
    assert wide["estimate"] == pytest.approx(0.2)
    assert not recovers(wide)  # one end was cut off at 1: the other tells the standard error
    (sure,) = rebuilt(row("AUC", near, (0.7, 0.68, 0.72))).tables["reconstruction"]
    assert recovers(sure)
    (half,) = rebuilt(row("error rate", (0.1, 0.09, 0.11), (0.2, 0.19, 0.21))).tables["reconstruction"]
    assert half["estimate"] == pytest.approx(0.5)
    assert recovers(half)


def test_what_was_not_told_is_not_guessed_from() -> None:
    assert rebuilt([]).tables == {}
    assert rebuilt(row("AUC", (0.9, 0.8, 1.0), (0.7, 0.6, 0.8))[:1]).tables == {}
    hidden = row("AUC", (0.9, 0.8, 1.0), (0.7, 0.6, 0.8))
    hidden[1]["estimate"] = None
    assert rebuilt(hidden).tables == {}
    of_levels = [r | {"subgroup": "arm"} for r in row("AUC", (0.9, 0.8, 1.0), (0.7, 0.6, 0.8))]
    assert rebuilt(of_levels).tables == {}
