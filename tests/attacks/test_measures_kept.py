"""The measures that a hospital keeps of a risk among its own people: nothing of them leaves, whoever its people are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.cases import registered
from attacks.people import GROUND, Table, patients
from attacks.view import View, record
from confrere.analyses.learning import own_measures
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.evaluate_risk import Predicted
from confrere.hospital.run import Run
from confrere.rounds import Site, find

BINARY = {"outcome": "ill", "model": "x1 + x2", "coefficients": {"Intercept": 0.1, "x1": 0.3, "x2": -0.05}}
FOLLOWED = {
    "outcome": "Surv(time, event)", "model": "x1", "coefficients": {"x1": 0.4}, "link": "cox", "baseline": 0.6,
    "times": 1095.0,
}  # fmt: skip
KINDS = pytest.mark.parametrize("settings", [BINARY, BINARY | {"by": "stage"}, FOLLOWED], ids=["ill", "by", "followed"])


def people() -> list[pd.DataFrame]:
    """Three hospitals with an outcome and times."""
    registered()
    frame = patients(900)
    return [frame[i::3].reset_index(drop=True) for i in range(3)]


def view(settings: dict[str, Any], frames: list[pd.DataFrame], kept: bool) -> View:
    """The coordinator's, of a study in which hospitals keep their measures, or not."""
    study = find("evaluate")(**settings, own_measures=kept, ground=GROUND)
    return record(study.flow(), {f"h{i}": Table(frame) for i, frame in enumerate(frames)})


@KINDS
def test_nothing_of_them_leaves(settings: dict[str, Any]) -> None:
    """The coordinator's whole view, number by number, is the one of a study that keeps none."""
    plain, kept = (view(settings, people(), own) for own in (False, True))
    assert [a.kind for a, _ in kept.events].count("keep") == 1
    assert kept.labels == plain.labels
    np.testing.assert_array_equal(kept.values, plain.values)
    assert kept.public == plain.public
    assert kept.finding.tables == plain.finding.tables


@KINDS
@pytest.mark.parametrize("few", [9, 20])
def test_nor_whether_a_hospital_had_enough_people_for_them(settings: dict[str, Any], few: int) -> None:
    """A fourth hospital of few people, whose outcomes are all alike: with fewer than 11 it takes no part."""
    fourth = patients(900, seed=2)
    fourth = fourth[(fourth["ill"] == 0) & (fourth["event"] == 0)].head(few).reset_index(drop=True)
    frames = [*people(), fourth]
    plain, kept = (view(settings, frames, own) for own in (False, True))
    assert kept.labels == plain.labels
    np.testing.assert_array_equal(kept.values, plain.values)
    assert kept.public == plain.public
    (asked,) = (a for a, _ in kept.events if a.kind == "keep")
    site = Site(Table(fourth))
    assert site.run(asked) is None
    (made,) = site.kept.values()
    assert (made.parts[0].people, made.parts[0].events) == (few, 0)
    assert all(part.measures == () for part in made.parts)
    run = Run.__new__(Run)
    run._groups = {"": ("a", "b", "c")}
    run._own = lambda i, a: None  # type: ignore[method-assign]  # as of every ask that is kept
    assert run._part(0, asked) == {"rings": (), "signature": b"", "forms": ()}


def test_what_is_asked_of_it_is_of_all_hospitals() -> None:
    """Its arguments are the finding's own estimates, which follow from the sums."""
    kept = view(BINARY | {"by": "stage"}, people(), True)
    (asked,) = (a for a, _ in kept.events if a.kind == "keep")
    (everywhere,) = asked.args
    rows = kept.finding.tables["metrics"]
    assert {(level, m): e for level, of in everywhere.items() for m, e in of.items()} == {
        (r["level"], r["metric"]): r["estimate"] for r in rows
    }


@pytest.mark.parametrize("seed", range(60))
def test_no_people_make_the_step_fail(seed: int) -> None:
    """An error would be told to the coordinator, by a refusal: few people, one risk, outcomes that risks part."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([0, 1, 2, 21, 60, 1500]))
    risk = rng.choice([1e-6, 0.2, 0.5, 1 - 1e-6], n) if seed % 3 else rng.uniform(1e-6, 1 - 1e-6, n)
    outcome = (risk > 0.4).astype(np.int64) if seed % 2 else rng.integers(0, 2, n)
    level = rng.integers(0, 3, n)
    for of in (
        BINARY,
        BINARY | {"by": "x"},
        BINARY | {"over": "x"},
        FOLLOWED,
        FOLLOWED | {"grid": (365.0,), "survival": (0.8,)},
    ):
        followed = "times" in of
        time = np.round(rng.exponential(1000, n)) if followed else None
        study = Evaluate(**of)
        made = own_measures.own(study, Predicted(risk, outcome, time, level), {"": {}, "0": {}})
        assert made.parts[0].people == n
        numbers = [v for p in made.parts for m in p.measures for v in m[1:] if v is not None]
        assert np.isfinite(numbers).all()
