"""Similar cases against scikit-learn on real columns, a case on paper, and bags of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import SIMILAR

import confrere as cf
from confrere.analyses.similar_cases import SimilarCases, wilson
from confrere.data.bags import Bags
from confrere.errors import DataError, ModelError, UserError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit
from confrere.testing.runs import typed

HERE = Path(__file__).parent
STORED = json.loads((HERE / "similar_cases.json").read_text())["cases"]
SIZES = Schema({"size": Column("size", ("<=20", "20-50", ">50"))})
AB = Schema({"label": Column("label", ("a", "b"))})


@pytest.fixture(scope="module")
def hospitals() -> list[pd.DataFrame]:
    """The breast demo by its hospitals."""
    frame = pd.read_csv(HERE.parent.parent / "src" / "confrere" / "demos" / "breast.csv")
    return [typed(part.drop(columns="hospital"), SIZES) for _, part in frame.groupby("hospital")]


@pytest.mark.parametrize("name", STORED)
def test_votes_are_those_of_scikit_learn(name: str, hospitals: list[pd.DataFrame]) -> None:
    given = STORED[name]
    asked = {key: tuple(given[key]) for key in ("question", "features", "scales")}
    study = SimilarCases("size", **asked, neighbours=given["neighbours"], ground=Ground(SIZES))
    found = fit(study, hospitals, LOOSE)
    assert found.n == given["n"]
    for row in found.tables["votes"]:
        assert row["n"] == given["votes"][row["label"]]
        assert row["share"] == pytest.approx(row["n"] / found.n)
        assert [row["conf_low"], row["conf_high"]] == pytest.approx(given["limits"][row["label"]], rel=1e-12)


def on_paper() -> list[pd.DataFrame]:
    """The hospitals of the case on paper."""
    frames = [pd.DataFrame(people, columns=["x", "y", "label"]) for people in SIMILAR["hospitals"]]
    return [typed(frame.astype({"x": float, "y": float}), AB) for frame in frames]


@pytest.mark.parametrize("scales", [(), (1.0, 4.0)])
def test_the_case_on_paper(scales: tuple[float, ...]) -> None:
    study = SimilarCases("label", (0.0, 0.0), ("x", "y"), neighbours=11, scales=scales, ground=Ground(AB))
    found = fit(study, on_paper(), LOOSE)
    assert {row["label"]: row["n"] for row in found.tables["votes"]} == SIMILAR["votes"]
    assert wilson(9, 22, 0.954499736103642) == pytest.approx(SIMILAR["wilson"], rel=1e-12)


def test_of_bags_the_nearest_picture_counts() -> None:
    """As by columns, through masks and the gate; farther pictures, and people without one, do nothing."""
    tables, bags, rng = {}, {}, np.random.default_rng(3)
    for h in ("brest", "lille", "nice"):
        x = rng.normal(size=(90, 2)).round(3)
        label = np.where(x[:, 0] + rng.normal(size=90) > 0, "a", "b")
        ids = [f"{h}-{i}" for i in range(90)]
        tables[h] = pd.DataFrame({"pid": ids, "x": x[:, 0], "y": x[:, 1], "label": label})
        tables[h].loc[80:, ["x", "y"]] = np.nan
        bags[h] = {"images": Bags.made({p: np.vstack([r + 9, r]) for p, r in zip(ids[:80], x, strict=False)}, 2)}
    given = {"levels": {"label": ["a", "b"]}, "person": "pid"}
    by_columns = cf.local(tables, **given).run(SimilarCases("label", (0.5, 0.0), ("x", "y"), neighbours=25))
    by_bags = cf.local(tables, bags=bags, **given).run(SimilarCases("label", (0.5, 0.0), bags="images", neighbours=25))
    assert by_bags.n == by_columns.n == 75
    assert by_bags.summary("votes").equals(by_columns.summary("votes"))
    with pytest.raises(DataError, match="have 2 numbers, and bag_size is 1"):
        cf.local(tables, bags=bags, **given).run(SimilarCases("label", (0.5,), bags="images", neighbours=25))


def test_nobody_where_there_are_fewer_than_neighbours() -> None:
    with pytest.raises(ModelError, match="no hospital has 15"):
        fit(SimilarCases("label", (0.0, 0.0), ("x", "y"), neighbours=15, ground=Ground(AB)), on_paper(), LOOSE)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"outcome": "x"}, "declare its levels"),
        ({"features": ("x",)}, "2 numbers for 1 features"),
        ({"features": ()}, "either bags"),
        ({"bags": "images"}, "either bags"),
        ({"features": (), "bags": "images"}, "name its column"),
        ({"neighbours": 10}, "11 to 500"),
        ({"neighbours": 501}, "11 to 500"),
        ({"question": (0.0, float("nan"))}, "finite"),
        ({"question": ()}, "0 numbers"),
        ({"scales": (1.0,)}, "one for each"),
        ({"scales": (1.0, 0.0)}, "positive"),
        ({"conf_level": 1.0}, "conf_level"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], said: str) -> None:
    given = {"outcome": "label", "question": (0.0, 0.0), "features": ("x", "y"), "ground": Ground(AB)} | wrong
    with pytest.raises(UserError, match=said):
        SimilarCases(**given).check()
