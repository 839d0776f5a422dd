"""Components, k-means and mixtures against R on real data, a slow twin of mixed classes, and cases on paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import KMEANS, MIXTURE, PCA_CASE

from confrere.analyses.clusters import rand_index
from confrere.analyses.finding import Finding
from confrere.analyses.kmeans import KMeans
from confrere.analyses.mixture import Mixture
from confrere.analyses.pca import PCA, parallel
from confrere.rounds import drive, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit
from confrere.testing.runs import checked, in_the_clear, typed

HERE = Path(__file__).parent
DEMOS = HERE.parent.parent / "src" / "confrere" / "demos"
R = json.loads((HERE / "phenotypes.json").read_text())
SCHEMA = Schema({"sex": Column("sex", ("F", "M"))})
GROUND = Ground(SCHEMA)
FORMULA = "~ age + hgb + log(creat) + mspike"


@pytest.fixture(scope="module")
def hospitals() -> list[pd.DataFrame]:
    """The myeloma demo by its hospitals."""
    frame = pd.read_csv(DEMOS / "myeloma.csv")[["age", "hgb", "creat", "mspike", "sex", "hospital"]]
    return [typed(part.drop(columns="hospital"), SCHEMA) for _, part in frame.groupby("hospital")]


def at_rest(mixture: Mixture, frames: list[pd.DataFrame]) -> Finding:
    """Driven until the likelihood stands still: more rounds than a study may have."""
    longer = replace(mixture, tolerance=1e-15, rounds=200)
    return checked(drive(supported(longer.flow()), in_the_clear(frames, LOOSE)))


def column(found: Finding, table: str, name: str) -> np.ndarray:
    """A column of a table."""
    return np.array([record[name] for record in found.tables[table]], dtype=float)


def test_components_are_those_of_prcomp(hospitals: list[pd.DataFrame]) -> None:
    found = fit(PCA(FORMULA, ground=GROUND), hospitals, LOOSE)
    assert found.n == R["n"]
    np.testing.assert_allclose(column(found, "components", "std_dev"), R["prcomp"]["sdev"], rtol=1e-10)
    np.testing.assert_allclose(found.arrays["loadings"], R["prcomp"]["rotation"], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("expected", R["kmeans"]["fits"], ids=lambda e: f"{e['k']} clusters")
def test_clusters_are_those_of_kmeans(hospitals: list[pd.DataFrame], expected: dict[str, Any]) -> None:
    """R's Lloyd from the same start, until nobody moves."""
    found = fit(KMeans(FORMULA, expected["k"], starts=1, ground=GROUND), hospitals, LOOSE)
    assert found.facts["converged"]
    assert column(found, "clusters", "n").tolist() == expected["size"]
    np.testing.assert_allclose(found.arrays["centres"], expected["centers"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(column(found, "clusters", "withinss"), expected["withinss"], rtol=1e-9)
    assert found.facts["betweenss"] == pytest.approx(expected["betweenss"], rel=1e-9)


@pytest.mark.parametrize("expected", R["em"]["fits"], ids=lambda e: f"{e['model']} {e['k']}")
def test_classes_are_those_of_mclust(hospitals: list[pd.DataFrame], expected: dict[str, Any]) -> None:
    """mclust's em, until the likelihood stands still."""
    covariance = {"VVV": "full", "VVI": "diagonal"}[expected["model"]]
    found = at_rest(Mixture(FORMULA, expected["k"], covariance=covariance, starts=1, ground=GROUND), hospitals)
    assert found.facts["log_likelihood"] == pytest.approx(expected["loglik"], rel=1e-9)
    assert found.facts["bic"] == pytest.approx(expected["bic"], rel=1e-9)
    assert found.facts["icl"] == pytest.approx(expected["bic"] + 2 * expected["entropy"], rel=1e-6)
    np.testing.assert_allclose(found.arrays["weights"], expected["pro"], rtol=1e-4)
    np.testing.assert_allclose(found.arrays["means"], expected["mean"], rtol=1e-4, atol=1e-4)
    sd = [[np.sqrt(np.diag(v)) for v in expected["variance"]]]
    np.testing.assert_allclose(column(found, "profiles", "std_dev"), np.ravel(sd), rtol=1e-4)


def test_silhouette_and_calinski_by_their_definitions(hospitals: list[pd.DataFrame]) -> None:
    found = fit(KMeans(FORMULA, 3, starts=1, ground=GROUND), hospitals, LOOSE)
    x = pd.concat(hospitals).assign(creat=lambda f: np.log(f["creat"]))[["age", "hgb", "creat", "mspike"]].dropna()
    z = ((x - x.mean()) / x.std(ddof=0)).to_numpy()
    away = np.linalg.norm(z[:, None] - found.arrays["centres"][None], axis=2)
    own, other = np.sort(away, axis=1)[:, :2].T
    assert found.facts["silhouette"] == pytest.approx(np.mean((other - own) / other), rel=1e-9)
    within, between = (own**2).sum(), (z**2).sum() - (own**2).sum()
    assert found.facts["calinski_harabasz"] == pytest.approx((between / 2) / (within / (len(z) - 3)), rel=1e-9)


def test_profiles_are_those_of_the_people(hospitals: list[pd.DataFrame]) -> None:
    """Means, SDs and shares of the people nearest to each centre, and of the rest."""
    found = fit(KMeans("~ age + hgb + sex", 2, starts=1, ground=GROUND), hospitals, LOOSE)
    x = pd.concat(hospitals)[["age", "hgb", "sex"]].dropna()
    coded = np.column_stack([x["age"], x["hgb"], x["sex"] == "M"]).astype(float)
    z = (coded - coded.mean(axis=0)) / coded.std(axis=0)
    first = np.argmin(np.linalg.norm(z[:, None] - found.arrays["centres"][None], axis=2), axis=1) == 0
    rows = {(r["cluster"], r["term"]): r for r in found.tables["profiles"]}
    age, male, female = rows[1, "age"], rows[1, "sex[T.M]"], rows[1, "sex[T.F]"]
    assert age["mean"] == pytest.approx(coded[first, 0].mean())
    assert age["rest_std_dev"] == pytest.approx(coded[~first, 0].std())
    pooled = np.sqrt((coded[first, 0].var() + coded[~first, 0].var()) / 2)
    assert age["smd"] == pytest.approx((coded[first, 0].mean() - coded[~first, 0].mean()) / pooled)
    assert male["mean"] == pytest.approx(coded[first, 2].mean())
    assert female["mean"] == pytest.approx(1 - male["mean"])
    assert (female["smd"] is None) == (male["mean"] in (0.0, 1.0))


def test_mixed_classes_are_those_of_a_slow_twin() -> None:
    """Normal, Bernoulli and multinomial columns: 3,000 rounds of EM written out person by person."""
    rng = np.random.default_rng(4)
    k = np.repeat([0, 1], [180, 120])
    stage = np.array([rng.choice(3, p=[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]][c]) for c in k])
    frame = pd.DataFrame({"a": rng.normal(2.0 * k, 1), "b": rng.gamma(2 + 2 * k), "m": rng.random(300) < 0.2 + 0.5 * k})
    schema = Schema({"stage": Column("stage", ("I", "II", "III"))})
    frame = typed(frame.astype(float).assign(stage=np.array(["I", "II", "III"])[stage]), schema)
    found = at_rest(Mixture("~ a + b + m + stage", 2, starts=1, ground=Ground(schema)), [frame[i::3] for i in range(3)])
    r = np.column_stack([1 - k, k]) * 0.8 + 0.1
    x, marks = frame[["a", "b"]].to_numpy(), np.column_stack([frame["m"], np.eye(3)[stage]])
    for _ in range(3000):
        weight, log = r.mean(axis=0), np.empty_like(r)
        for c in range(2):
            mean, share = r[:, c] @ x / r[:, c].sum(), r[:, c] @ marks / r[:, c].sum()
            cov = (r[:, [c]] * (x - mean)).T @ (x - mean) / r[:, c].sum()
            off = np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(cov), x - mean)
            log[:, c] = np.log(weight[c]) - off / 2 - np.log(np.linalg.det(2 * np.pi * cov)) / 2
            log[:, c] += np.log(np.where(marks[:, 0] > 0, share[0], 1 - share[0])) + marks[:, 1:] @ np.log(share[1:])
        top = log.max(axis=1, keepdims=True)
        whole = top + np.log(np.exp(log - top).sum(axis=1, keepdims=True))
        r = np.exp(log - whole)
    assert found.facts["log_likelihood"] == pytest.approx(whole.sum(), rel=1e-9)
    np.testing.assert_allclose(found.arrays["weights"], np.sort(weight)[::-1], rtol=1e-4)
    # weight; 2 means, 3 covariances, 1 mark and 2 levels in each class
    assert found.facts["parameters"] == 1 + 2 * (2 + 3 + 1 + 2)


def test_adjusted_rand_index() -> None:
    """A published table (Hubert & Arabie 1985, as in scikit-learn's documentation): [0 0 1 2] and [0 0 1 1]."""
    assert rand_index(np.array([[2, 0], [0, 1], [0, 1]])) == pytest.approx(4 / 7)
    assert rand_index(np.array([[5, 0], [0, 7]])) == 1.0
    assert rand_index(np.array([[5.0]])) is None


def test_parallel_analysis_is_that_of_drawn_columns() -> None:
    """Bartlett's decomposition gives the correlations of independent normal columns."""
    rng, n, p = np.random.default_rng(0), 60, 4
    drawn = [np.linalg.eigvalsh(np.corrcoef(rng.standard_normal((p, n))))[::-1] for _ in range(4000)]
    np.testing.assert_allclose(parallel(n, p, 1), np.quantile(drawn, 0.95, axis=0), atol=0.02)


def test_two_columns_on_paper() -> None:
    found = fit(PCA("~ a + b", ground=Ground()), [pd.DataFrame(PCA_CASE["data"], dtype=float)], LOOSE)
    np.testing.assert_allclose(column(found, "components", "variance"), PCA_CASE["variance"], atol=1e-12)
    np.testing.assert_allclose(found.arrays["loadings"], PCA_CASE["loadings"], atol=1e-12)


def test_six_people_on_paper() -> None:
    found = fit(KMeans("~ a", 2, ground=Ground()), [pd.DataFrame(KMEANS["data"], dtype=float)], LOOSE)
    assert column(found, "clusters", "n").tolist() == KMEANS["n"]
    assert sorted(column(found, "profiles", "mean")) == pytest.approx(KMEANS["mean"])
    assert found.facts["explained"] == pytest.approx(KMEANS["explained"])
    assert found.facts["silhouette"] == pytest.approx(KMEANS["silhouette"])


def test_two_far_classes_on_paper() -> None:
    found = at_rest(Mixture("~ a", 2, ground=Ground()), [pd.DataFrame(MIXTURE["data"], dtype=float)])
    np.testing.assert_allclose(sorted(column(found, "profiles", "mean")), MIXTURE["mean"], rtol=1e-9)
    np.testing.assert_allclose(column(found, "profiles", "std_dev"), MIXTURE["std_dev"], rtol=1e-9)
    assert found.facts["log_likelihood"] == pytest.approx(MIXTURE["log_likelihood"], rel=1e-12)
    assert found.facts["bic"] == pytest.approx(MIXTURE["bic"], rel=1e-12)
