"""From a study file with a target trial to a report of its effect: on records of hospitals, and a published result."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest

from confrere.data.synthesize import Plan, synthesize
from federate import SHARED
from journeys.command import Shell

NHEFS = """
[study]
id = "nhefs"
title = "Quitting smoking and weight"
purpose = "public-interest research"
[data.columns.education]
levels = ["1", "2", "3", "4", "5"]
[data.columns.exercise]
levels = ["0", "1", "2"]
[data.columns.active]
levels = ["0", "1", "2"]
[target_trial]
eligibility = "smokers of 25 to 74 years with a weight at both visits"
strategies = ["go on smoking", "quit smoking between the visits"]
time_zero = "the first visit, 1971 to 1975"
follow_up = 4000
outcome = "weight gained until 1982, kg"
estimand = "ATE"
contrast = "intention to treat"
assumptions = ["no common cause of quitting and weight beside the confounders"]
[[analysis]]
name = "weighted"
method = "effect"
treatment = "qsmk"
outcome = "wt82_71"
confounders = "TERMS"
[[analysis]]
name = "standardised"
method = "effect"
treatment = "qsmk"
outcome = "wt82_71"
confounders = "TERMS"
estimator = "gformula"
outcome_model = "qsmk + qsmk:smokeintensity + TERMS"
"""
TERMS = (
    "sex + race + age + I(age**2) + C(education) + smokeintensity + I(smokeintensity**2) + smokeyrs + I(smokeyrs**2) "
    "+ C(exercise) + C(active) + wt71 + I(wt71**2)"
)
OMOP = """
[study]
id = "bleeding"
purpose = "public-interest research"
[data]
table = "omop"
target = "celecoxib"
comparator = "diclofenac"
[concepts]
celecoxib = { include = ["RxNorm:140587"] }
diclofenac = { include = ["RxNorm:3355"] }
bleeding = { include = [192671] }
[cohorts.celecoxib]
entry = { drug = "celecoxib", first = true }
criteria = [{ name = "40 to 85 years old", age = [40, 85] }]
[cohorts.diclofenac]
entry = { drug = "diclofenac", first = true }
criteria = [{ name = "40 to 85 years old", age = [40, 85] }]
[cohorts.bleeding]
entry = { condition = "bleeding" }
events = "all"
exit = { after = 0 }
[features]
age = { is = "age" }
sex = { is = "sex" }
[outcomes.bleed]
cohort = "bleeding"
until = 1800
[target_trial]
eligibility = "celecoxib"
strategies = ["start diclofenac", "start celecoxib"]
time_zero = "the first prescription of either"
follow_up = 1800
outcome = "gastrointestinal bleeding"
estimand = "ATE"
contrast = "intention to treat"
assumptions = ["no common cause beside age and sex"]
[[analysis]]
name = "bleeding"
method = "effect"
treatment = "treated"
outcome = "bleed"
confounders = "age + C(sex)"
"""


@pytest.mark.shared
def test_quitting_smoking_is_as_published(shell: Shell) -> None:
    """Hernan & Robins, Causal Inference: What If, chapters 12 and 13: 3.4 kg by weighting, 3.5 kg (2.6 to 4.5) by
    standardising; quoted in the reference results beside the data, which found 3.44 and 3.52 by themselves. Here over
    four hospitals, through masks and gate."""
    frame = pd.read_csv(SHARED / "causal_hte" / "nhefs_complete.csv")
    named = []
    for i in range(4):
        frame.iloc[i::4].to_csv(shell.folder / f"h{i}.csv", index=False)
        named += ["--hospital", f"h{i}=h{i}.csv"]
    (shell.folder / "study.toml").write_text(NHEFS.replace("TERMS", TERMS))
    said = shell("run", "study.toml", *named, "--out", "out")
    assert said.code == 0, said.err
    result = json.loads((shell.folder / "out" / "result.json").read_text())
    weighted, standardised = (a["tables"]["effects"][0] for a in result["analyses"])
    assert round(weighted["estimate"], 1) == 3.4
    assert [round(standardised[f], 1) for f in ("estimate", "conf_low", "conf_high")] == [3.5, 2.6, 4.5]
    assert (shell.folder / "out" / "figures" / "weighted_together_mean_difference_wt82_71.svg").exists()


def test_from_records_to_protocol_and_checklist(shell: Shell) -> None:
    made = synthesize(Plan(3, 6000, 5), shell.folder / "hospitals")
    (shell.folder / "study.toml").write_text(OMOP)
    named = [arg for one in made for arg in ("--hospital", f"{one.folder.name}={one.folder}")]
    said = shell("run", "study.toml", *named, "--out", "out", "--lang", "fr")
    assert said.code == 0, said.err
    out = shell.folder / "out"
    result = json.loads((out / "result.json").read_text())
    trial, (found,) = result["study"]["target_trial"], result["analyses"]
    assert trial["definitions"]["bleed"] == {"cohort": "bleeding", "until": 1800}
    assert "140587" in trial["criteria"]["en"]["celecoxib"] or "celecoxib" in trial["criteria"]["en"]["celecoxib"]
    assert not {"immortal-time", "unchecked-time-zero"} & {w["code"] for w in found["warnings"]}
    page = (out / "report.html").read_text()
    assert "à rédiger par le chercheur" in page
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    assert trial["criteria"]["fr"]["celecoxib"].splitlines()[0].strip() in text
    drawn = {path.stem for path in (out / "figures").glob("*.svg")}
    assert {"bleeding_flow", "bleeding_overlap", "bleeding_balance"} <= drawn


STARTING = """
[study]
id = "starting"
purpose = "public-interest research"
[target_trial]
eligibility = "whoever has not started"
strategies = ["do not start", "start within three months"]
time_zero = "the end of each period"
follow_up = 720
outcome = "death"
estimand = "ATE"
contrast = "intention to treat"
assumptions = ["no common cause beside the confounders"]
[[analysis]]
name = "trials"
method = "sequential_trials"
outcome = "Surv(time, died)"
started = "start"
periods = [90, 180]
confounders = "age"
times = [360]
"""


def test_a_trial_for_every_period_is_reported(shell: Shell) -> None:
    rng, n, named = np.random.default_rng(2), 3000, []
    age, start = rng.normal(60, 8, n).round(), rng.exponential(300, n)
    died, end = rng.exponential(900, n), rng.uniform(300, 1500, n)
    time = np.minimum(died, end).round(1)
    frame = pd.DataFrame({"age": age, "time": time, "died": (died <= end).astype(int), "start": start.round(1)})
    frame["start"] = frame["start"].where(frame["start"] <= frame["time"])
    for i in range(3):
        frame.iloc[i::3].to_csv(shell.folder / f"h{i}.csv", index=False)
        named += ["--hospital", f"h{i}=h{i}.csv"]
    (shell.folder / "study.toml").write_text(STARTING)
    said = shell("run", "study.toml", *named, "--out", "out", "--lang", "fr")
    assert said.code == 0, said.err
    (found,) = json.loads((shell.folder / "out" / "result.json").read_text())["analyses"]
    assert abs(found["tables"]["effects"][0]["statistic"]) < 2.6  # the treatment does nothing
    text = unescape(re.sub(r"<[^>]+>", " ", (shell.folder / "out" / "report.html").read_text()))
    assert "do not start ou start within three months, à partir de quand\u00a0: colonne start" in text
    assert "Essais séquentiels" in text
    assert "Personnes-essais" in text


def test_a_study_that_is_no_emulation_does_not_run(shell: Shell) -> None:
    (shell.folder / "study.toml").write_text(OMOP.replace('treatment = "treated"', 'treatment = "bleed_time"'))
    said = shell("manifest", "study.toml")
    assert said.code == 2
    assert "immortal time" in said.err
