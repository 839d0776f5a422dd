"""Clusterings as studies use them: how many, replication in other hospitals, worklists, settings, figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.clusters import Sample
from confrere.analyses.kmeans import KMeans
from confrere.analyses.mixture import Mixture
from confrere.analyses.pca import PCA
from confrere.console.local import Local
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.hospital.gate import Policy
from confrere.report.figures import figures
from confrere.report.words import Words
from confrere.rounds import People, Site, drive, supported
from confrere.study import build
from confrere.study.ground import Ground
from confrere.testing import LOOSE, fit
from confrere.testing.runs import in_the_clear, table

KNOWN = Ground(person="pid")
WIDE = Policy(share=10.0)  # numbers enough: the other rules alone decide
CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])


def people(n: int, seed: int = 1) -> pd.DataFrame:
    """Three clear groups of two columns, half, a third and a sixth of the people."""
    rng = np.random.default_rng(seed)
    group = rng.choice(3, n, p=[1 / 2, 1 / 3, 1 / 6])
    x = CENTRES[group] + rng.normal(0, 1, (n, 2))
    return pd.DataFrame({"pid": [f"p{i}" for i in range(n)], "a": x[:, 0], "b": x[:, 1], "group": group.astype(float)})


def dealt(n: int, hospitals: int) -> dict[str, pd.DataFrame]:
    """The people in turn."""
    frame = people(n)
    return {f"h{i}": frame[np.arange(n) % hospitals == i] for i in range(hospitals)}


@pytest.mark.parametrize("kind", [KMeans, Mixture])
def test_the_most_stable_number_is_found_and_comes_back(kind: Any) -> None:
    """A masked run: three groups are the most stable, and hospitals that did not see the others find the same."""
    groups = {"learn": ("h0", "h1", "h2"), "hold": ("h3", "h4", "h5")}
    study = kind("~ a + b", among=(2, 3), repeats=2, starts=2, ground=KNOWN, **groups)
    local = Local(dealt(9000, 6), KNOWN, "pid", key=b"")
    results = local.run(build.single(study, local.ground_for(study, [])))
    found = results[results.study.analyses[0].name].finding
    assert found.facts["clusters"] == 3
    by = {r["clusters"]: r["agreement"] for r in found.tables["stability"]}
    assert by[3] > 0.97
    (again,) = found.tables["replication"]
    assert again["agreement"] > 0.97
    assert (again["learnt"], again["held_out"]) == ("h0, h1, h2", "h3, h4, h5")
    assert [round(r["n"] / 9000, 1) for r in found.tables["clusters"]] == [0.5, 0.3, 0.2]


def test_samples_are_disjoint_and_hang_on_the_shared_key() -> None:
    ids = [f"p{i}" for i in range(4000)]
    one, other = (People(None, key=b"own", shared=key) for key in (b"1", b"2"))
    a, b, c, ab = (Sample(w, "s").inside(one, ids) for w in ("a", "b", "c", "ab"))
    assert not (a & b).any()
    assert np.array_equal(a | b, ab)
    assert np.array_equal(~ab, c)
    assert abs(a.mean() - 0.4) < 0.03
    assert 0.3 < np.mean(Sample("a", "s").inside(other, ids) == a) < 0.7
    assert not np.array_equal(Sample("a", "t").inside(one, ids), a)


@pytest.mark.parametrize(("kind", "column"), [(KMeans, "distance"), (Mixture, "probability")])
def test_a_hospital_keeps_the_clusters_of_its_own(kind: Any, column: str) -> None:
    frame = people(900).assign(b=lambda f: f["b"].mask(f.index == 5))
    study = kind("~ a + b", 3, starts=1, worklist=True, title="Groups", purpose="to be called", ground=KNOWN)
    kept: list[Any] = []
    site = Site(table(frame))
    answer = in_the_clear([frame], LOOSE)

    def kept_too(asks: Any) -> Any:
        kept.extend((site.run(a), site.kept)[1] for a in asks if a.kind == "keep")
        return answer(asks)

    found = drive(supported(study.flow()), kept_too)
    (worklist,) = kept[0].values()
    rows = worklist.rows
    assert (worklist.title, worklist.purpose, len(rows)) == ("Groups", "to be called", 899)
    assert list(rows.columns) == ["pid", "cluster", column, "a", "b"]
    assert "p5" not in set(rows["pid"])
    # a mixture says how many people its classes are worth, and k-means who is in them
    sizes, slack = [r["n"] for r in found.tables["clusters"]], 0 if kind is KMeans else 9
    np.testing.assert_allclose(rows["cluster"].value_counts().sort_index(), sizes, atol=slack)
    truth = rows.merge(frame[["pid", "group"]], on="pid")
    assert (pd.crosstab(truth["cluster"], truth["group"]).to_numpy().max(axis=1).sum() / 899) > 0.97


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give `clusters`"),
        ({"clusters": 2, "among": (2, 3)}, "one of them"),
        ({"clusters": 1}, "choose from 2"),
        ({"among": (3,)}, "two or more"),
        ({"clusters": 2, "starts": 0}, "starts is 0"),
        ({"clusters": 2, "learn": ("x", "y", "z")}, "give both"),
        ({"clusters": 2, "learn": ("x", "y"), "hold": ("u", "v", "w")}, "fewer than 3"),
        ({"clusters": 2, "learn": ("x", "y", "z"), "hold": ("x", "v", "w")}, "in `learn` and in `hold`"),
    ],
)
@pytest.mark.parametrize("kind", [KMeans, Mixture])
def test_settings_that_do_not_fit(kind: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        kind("~ a + b", ground=KNOWN, **settings).check()


def test_samples_and_lists_need_ids() -> None:
    for settings in ({"among": (2, 3)}, {"clusters": 2, "worklist": True}):
        with pytest.raises(StudyError, match="person ids"):
            KMeans("~ a + b", **settings).check()
    Mixture("~ a + b", among=(2, 3), by="bic").check()


@pytest.mark.parametrize("formula", ["a ~ b", "~ 0 + a", "~ a * b", "~ a + offset(b)"])
def test_columns_alone(formula: str) -> None:
    for study in (PCA(formula), KMeans(formula, 2), Mixture(formula, 2)):
        with pytest.raises(FormulaError):
            study.check()


def test_too_few_people_for_the_choice() -> None:
    frame = people(600)
    with pytest.raises(ModelError, match="the budget for so many people"):
        fit(KMeans("~ a + b", among=(2, 3, 4), ground=KNOWN), [frame[i::3] for i in range(3)])


@pytest.mark.parametrize("kind", [KMeans, Mixture])
def test_what_is_not_converged_says_why(kind: Any) -> None:
    """The gate or the rounds stop a small study; without a gate nobody moves in the end."""
    frames = [people(700)[i::3] for i in range(3)]
    stopped = fit(kind("~ a + b", 3, starts=1), frames)
    assert not stopped.facts["converged"]
    (caution,) = stopped.warnings
    assert caution.code == "not-converged"
    assert str(stopped.facts["rounds"]) in caution.text
    if kind is KMeans:
        loose = fit(kind("~ a + b", 3, starts=1), frames, LOOSE)
        assert loose.facts["converged"]
        assert not loose.warnings


def hospital(n: int, third: int, seed: int) -> pd.DataFrame:
    """Two clear groups, and `third` people far from both."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1, 2], [n, n, third])
    x = CENTRES[group] * 3 + rng.normal(0, 1, (len(group), 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1]})


@pytest.mark.parametrize(("third", "passes"), [((30, 30, 30), True), ((30, 30, 3), False), ((30, 30, 0), True)])
def test_a_class_that_a_few_of_a_hospital_carry_is_not_told(third: tuple[int, ...], passes: bool) -> None:
    frames = [hospital(200, many, seed) for seed, many in enumerate(third)]
    study = Mixture("~ a + b", 3, covariance="diagonal", starts=4)
    if passes:
        assert fit(study, frames, WIDE).facts["clusters"] == 3
    else:
        with pytest.raises(ModelError, match="of one hospital"):
            fit(study, frames, WIDE)


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_figures(lang: str) -> None:
    """A heat map of profiles, one of components that are kept; their records are the tables'."""
    frames = [people(600)[i::3] for i in range(3)]
    for study, name in ((KMeans("~ a + b", 3, starts=1), "profiles"), (PCA("~ a + b", components=1), "loadings")):
        found = fit(study, frames, LOOSE)
        analysis = {"tables": dict(found.tables), "facts": {}, "settings": {}, "method": found.method}
        (figure,) = figures(analysis, {}, Words(lang))
        assert figure.name == name
        assert len(figure.records) == (6 if name == "profiles" else 2)
        assert "PC2" not in figure.description
