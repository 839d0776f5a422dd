"""Cox's regression on the larger public data sets: R's results there, and TCGA by its real tissue source sites.

Most sites hold fewer than eleven people and take part with nothing: what is left is held against a slow twin, the
likelihood of Efron written out, on the pooled rows of the other sites.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.cox import Cox
from confrere.analyses.finding import Finding
from confrere.analyses.kaplan_meier import KaplanMeier
from confrere.analyses.logrank import LogRank
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from federate import EXACT, LOOSE, by, column, fit, found, masked, shared, typed

pytestmark = pytest.mark.shared

FOLDER = "oncology_survival"
TUMOURS = ("LUSC", "PAAD", "LIHC", "COAD", "SKCM", "KIRC")
OS = "Surv(time, dead) ~ age + male"


def table(name: str) -> pd.DataFrame:
    """A public table."""
    return pd.read_csv(shared(FOLDER, f"{name}.csv"))


def r(name: str, *path: str) -> dict[str, Any]:
    """What R says."""
    got = json.loads(shared(FOLDER, f"{name}.json").read_text())
    for key in path:
        got = got[key]
    return dict(got)


def equal(ours: Finding, said: dict[str, Any]) -> None:
    """To what R's stopping rule and eleven printed digits leave."""
    assert (ours.n, ours.events) == (said["n"], said["nevent"])
    se = np.array(list(said["se"].values()))
    error = (column(ours, "coefficients", "estimate") - np.array(list(said["coef"].values()))) / se
    assert np.abs(error).max() < 2e-6
    assert np.allclose(column(ours, "coefficients", "std_error"), se, rtol=1e-7)
    assert ours.facts["log_likelihood"] == pytest.approx(said["loglik"], rel=1e-10)
    assert ours.facts["log_likelihood_null"] == pytest.approx(said["loglik_null"], rel=1e-10)


def dealt(frame: pd.DataFrame, hospitals: int = 4) -> list[pd.DataFrame]:
    """Dealt in turn."""
    return [frame[np.arange(len(frame)) % hospitals == i] for i in range(hospitals)]


# One baseline, exact days -------------------------------------------------------------------------------------


def cell_types() -> pd.DataFrame:
    """Veteran, with cell types as levels."""
    levels = ("squamous", "smallcell", "adeno", "large")
    return typed(table("veteran"), Schema({"celltype": Column("celltype", levels)}))


def relapse_free() -> pd.DataFrame:
    """Rotterdam: relapse or death within the follow-up, whichever is first."""
    frame = table("rotterdam")
    frame["rfs"] = np.maximum(frame["recur"], frame["death"]).astype(float)
    frame["rfstime"] = np.where(frame["recur"] == 1, frame["rtime"], frame["dtime"]).astype(float)
    return typed(frame, Schema({"size": Column("size", ("<=20", "20-50", ">50"))}))


SHARED_FITS: dict[str, tuple[str, str, Any, dict[str, tuple[str, ...]]]] = {
    "lung": ("cox1", "Surv(time, status == 2) ~ age + sex + ph.ecog", lambda: table("lung").astype(float), {}),
    "veteran": (
        "cox", "Surv(time, status) ~ trt + C(celltype) + karno + diagtime + age + prior", cell_types,
        {"celltype": ("squamous", "smallcell", "adeno", "large")},
    ),
    "gbsg": (
        "cox_rfs", "Surv(rfstime, status) ~ age + meno + size + grade + nodes + pgr + er + hormon",
        lambda: table("gbsg").astype(float), {},
    ),
    "rotterdam": (
        "cox_rfs", "Surv(rfstime, rfs) ~ age + meno + C(size) + grade + nodes + pgr + er + hormon + chemo",
        relapse_free,
        {"size": ("<=20", "20-50", ">50")},
    ),
    "mgus2": (
        "cox_death", "Surv(futime, death) ~ age + C(sex) + mspike",
        lambda: typed(table("mgus2"), Schema({"sex": Column("sex", ("F", "M"))})), {"sex": ("F", "M")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED_FITS)
def test_one_baseline_on_exact_times_is_rs(name: str) -> None:
    key, formula, read, levels = SHARED_FITS[name]
    ground = Ground(Schema({c: Column(c, v) for c, v in levels.items()}), step=1, fine=True)
    equal(fit(Cox(formula, baseline="shared", ground=ground), dealt(read()), LOOSE), r("oracle", name, key))


# By hospital --------------------------------------------------------------------------------------------------


def test_lung_by_institution_is_rs() -> None:
    frame = table("lung").astype(float)
    ours = fit(Cox("Surv(time, status == 2) ~ age + sex + ph.ecog"), by(frame[frame["inst"].notna()], "inst"), LOOSE)
    equal(ours, r("oracle", "lung", "cox_strat_inst"))
    assert ours.facts["concordance"] == pytest.approx(r("oracle", "lung", "cox_strat_inst")["concordance"], rel=1e-9)


def test_breast_cancer_of_tcga_by_region_is_rs() -> None:
    """FLamby's Fed-TCGA-BRCA: six regions, of which one has 51 people."""
    frame = table("tcga_brca_flamby").rename(columns={"ajcc_pathologic_n_N0 (i-)": "n0i", "T": "days", "E": "dead"})
    terms = ("age_at_index", "n0i", "ajcc_pathologic_t_T2", "ajcc_pathologic_t_T3", "prior_malignancy_yes")
    frame = frame[["days", "dead", "center", *terms]].astype(float)
    ours = fit(Cox(f"Surv(days, dead) ~ {' + '.join(terms)}"), by(frame, "center"), LOOSE)
    equal(ours, r("oracle_tcga", "tcga_brca_flamby", "cox_strat_center"))


def sites(tumour: str) -> dict[str, pd.DataFrame]:
    """People with a tumour by tissue source site; times of 0 days and missing ones as they are."""
    frame = table("tcga_cdr_open").query("type == @tumour")
    frame = pd.DataFrame({
        "tss": frame["tss"].astype(str), "time": frame["OS.time"].astype(float), "dead": frame["OS"].astype(float),
        "age": frame["age_at_initial_pathologic_diagnosis"].astype(float),
        "male": (frame["gender"] == "MALE").astype(float),
    })  # fmt: skip
    return {str(site): part.drop(columns="tss") for site, part in frame.groupby("tss")}


@pytest.mark.parametrize("tumour", TUMOURS)
def test_tcga_by_site_is_rs(tumour: str) -> None:
    """Every site, also those with one person: without thresholds."""
    equal(fit(Cox(OS), list(sites(tumour).values()), LOOSE), r("oracle_tcga", tumour, "cox_os_strat_tss"))


def twin(parts: list[pd.DataFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method on Efron's likelihood, stratum by stratum and death by death: coefficients, standard errors."""
    beta = np.zeros(2)
    for _ in range(30):
        score, information = np.zeros(2), np.zeros((2, 2))
        for part in parts:
            x, t, d = part[["age", "male"]].to_numpy(), part["time"].to_numpy(), part["dead"].to_numpy()
            x = x - [60.0, 0.5]  # near the middle, for exponentials of moderate size
            r_ = np.exp(x @ beta)
            for time in np.unique(t[d == 1]):
                risk, dying = t >= time, (t == time) & (d == 1)
                for tie in range(dying.sum()):
                    w = r_ * (risk - tie / dying.sum() * dying)
                    mean = w @ x / w.sum()
                    information += (x * w[:, None]).T @ x / w.sum() - np.outer(mean, mean)
                    score -= mean
                score += x[dying].sum(0)
        beta = beta + np.linalg.solve(information, score)
        if np.abs(np.linalg.solve(information, score)).max() < 1e-14:
            break
    return beta, np.sqrt(np.diag(np.linalg.inv(information)))


@pytest.mark.parametrize(
    "tumour", ["LIHC", pytest.param("KIRC", marks=pytest.mark.slow), pytest.param("SKCM", marks=pytest.mark.slow)]
)
def test_sites_with_fewer_than_eleven_take_part_with_nothing(tumour: str) -> None:
    """Masked, under the default gate; the twin has the rows of the sites with eleven complete people or more."""
    everybody = sites(tumour)
    large = [part.dropna() for part in everybody.values() if len(part.dropna()) >= 11]
    assert len(large) < len(everybody)
    ours = found(masked(Cox(OS), everybody))
    assert ours.hospitals == len(large)
    assert ours.n == sum(map(len, large))
    beta, se = twin(large)
    assert np.abs((column(ours, "coefficients", "estimate") - beta) / se).max() < 1e-8
    assert np.allclose(column(ours, "coefficients", "std_error"), se, rtol=1e-8)


def test_the_twin_is_rs() -> None:
    said = r("oracle_tcga", "PAAD", "cox_os_strat_tss")
    beta, se = twin([part.dropna() for part in sites("PAAD").values()])
    assert np.allclose(beta, list(said["coef"].values()), rtol=1e-6)
    assert np.allclose(se, list(said["se"].values()), rtol=1e-7)


# Curves and tests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tumour", TUMOURS)
def test_curves_of_tcga_are_rs(tumour: str) -> None:
    (said,) = r("oracle_tcga", tumour)["km"]
    ours = fit(
        KaplanMeier("Surv(time, dead) ~ 1", ground=Ground(step=1, fine=True)), list(sites(tumour).values()), LOOSE
    )
    assert (ours.n, ours.events) == (said["records"], said["events"])
    assert ours.tables["median"][0]["estimate"] == said["median"]
    assert ours.tables["median"][0]["conf_low"] == said["0.95LCL"]


def test_logrank_of_gbsg_and_colon_are_rs() -> None:
    said = r("oracle", "gbsg", "logrank")
    fine = Ground(step=1, fine=True)
    ours = fit(LogRank("Surv(rfstime, status) ~ hormon", ground=fine), dealt(table("gbsg").astype(float)), EXACT)
    assert ours.tables["test"][0]["statistic"] == pytest.approx(said["chisq"], rel=1e-10)
    frame = table("colon").query("etype == 2")[["time", "status", "rx"]]
    arms = Schema({"rx": Column("rx", ("Obs", "Lev", "Lev+5FU"))})
    ours = fit(LogRank("Surv(time, status) ~ rx", ground=Ground(arms, fine=True)), dealt(typed(frame, arms)), EXACT)
    said = r("oracle", "colon", "logrank_death")
    assert ours.tables["test"][0]["statistic"] == pytest.approx(said["chisq"], rel=1e-10)
    assert column(ours, "groups", "observed").tolist() == said["observed"]
