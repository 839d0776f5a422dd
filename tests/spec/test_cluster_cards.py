"""Cards of clusters in the report: which columns they tell, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import confrere as cf
from confrere.console.result import as_dict
from confrere.report.cluster_cards import cards, chosen
from confrere.report.words import Words
from confrere.report.write import contents


def profile(term: str, mean: float, rest: float, sd: float = 2.0, smd: float | None = None) -> dict[str, Any]:
    """A record of cluster 1."""
    return {"cluster": 1, "share": 0.4, "term": term, "mean": mean, "std_dev": sd, "rest_mean": rest,
            "rest_std_dev": sd, "smd": (mean - rest) / sd if smd is None else smd}  # fmt: skip


def share(term: str, mean: float, rest: float) -> dict[str, Any]:
    """A record of a column that is 0 or 1."""
    a, b = (p * (1 - p) for p in (mean, rest))
    smd = (mean - rest) / np.sqrt((a + b) / 2) if a + b else None
    return {**profile(term, mean, rest), "std_dev": a**0.5, "rest_std_dev": b**0.5, "smd": smd}


def analysis(*records: dict[str, Any]) -> dict[str, Any]:
    """An analysis of one cluster."""
    return {"tables": {"clusters": [{"cluster": 1, "n": 480, "share": 0.48}], "profiles": list(records)}}


def test_a_card_in_words() -> None:
    made = analysis(
        profile("age", 71.2, 67.0), share("C(sex)[female]", 0.3, 0.6), share("C(sex)[male]", 0.7, 0.4),
        profile("bmi", 22.0, 23.0), share("ill", 1.0, 0.0),
    )  # fmt: skip
    assert cards(made, Words("en")) == [
        "Cluster 1 (480 people, 48.0%): more often ill (100.0%; others 0.0%), higher age (mean 71.2; others 67.0), "
        "more often sex: male (70.0%; others 40.0%), lower bmi (mean 22.0; others 23.0)."
    ]
    (french,) = cards(made, Words("fr"))
    assert french.startswith("Groupe 1 (480 personnes, 48,0")
    assert "plus souvent ill (100,0" in french
    assert "valeur plus basse de bmi (moyenne 22,0 ; autres 23,0)" in french.replace("\u202f", " ").replace("\xa0", " ")


def test_three_to_five_columns_the_farthest_first() -> None:
    far = [profile(f"x{i}", 2.0 + i, 2.0, sd=10.0) for i in range(9)]
    assert [r["term"] for r in chosen(far)] == ["x8", "x7", "x6", "x5", "x4"]
    assert [r["term"] for r in chosen(far[:4])] == ["x3", "x2", "x1"]  # one is clear; two are small
    assert chosen(far[:1]) == []
    assert cards(analysis(far[0]), Words("en")) == [
        "Cluster 1 (480 people, 48.0%): no column differs from the others by 0.1 SD."
    ]
    assert cards({"tables": {}}, Words("en")) == []


def test_the_report_has_them() -> None:
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 2, 1200)
    frame = pd.DataFrame({"age": 40 + 30 * kind + rng.normal(0, 4, 1200), "x": rng.normal(0, 1, 1200)})
    hospitals = cf.local({name: frame[i::3] for i, name in enumerate(("brest", "lille", "nice"))})
    for made in (cf.KMeans("~ age + x", clusters=2), cf.Mixture("~ age + x", clusters=2)):
        page = contents(as_dict(hospitals.run(made).results))["report.html"].decode()
        assert page.count('<p class="card">Cluster ') == 2
        assert page.count("higher age (mean 70.") == page.count("lower age (mean 40.") == 1
