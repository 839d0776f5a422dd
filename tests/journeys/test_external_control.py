"""The worked studies of docs/external-control.md, on public trials whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import confrere as cf
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.prognostic import Prognostic
from confrere.analyses.finding import Finding
from confrere.console.demo import load
from confrere.errors import Refused, StudyError
from confrere.study.ground import Ground
from confrere.testing import GATE, fit
from federate import SHARED

PAGE = (Path(__file__).parents[2] / "docs" / "external-control.md").read_text()
END = 2557.0  # days, seven years
PLAIN = "age + I(age**2) + meno + log(nodes) + lpgr + ler + small"
TERMS = PLAIN.replace("meno", "meno + grade3")


def women(frame: pd.DataFrame, time: Any, event: Any, small: Any) -> pd.DataFrame:
    """The columns that both registries have."""
    return pd.DataFrame(
        {
            "hormon": frame["hormon"], "age": frame["age"], "meno": frame["meno"], "grade3": frame["grade"] >= 3,
            "nodes": frame["nodes"], "lpgr": np.log(frame["pgr"] + 1), "ler": np.log(frame["er"] + 1), "small": small,
            "time": np.minimum(time, END), "rfs": (event > 0) & (time <= END),
        }
    ).astype(float)  # fmt: skip


def trial(folder: Path) -> pd.DataFrame:
    """The German trial."""
    g = pd.read_csv(folder / "oncology_survival" / "gbsg.csv")
    return women(g, g["rfstime"], g["status"], g["size"] <= 20)


def members(folder: Path) -> dict[str, pd.DataFrame]:
    """Its treated arm at the sponsor, and the untreated of the tumour bank in its hospitals."""
    parts = {"sponsor": trial(folder).query("hormon == 1")}
    for name, f in load("breast")[1].items():
        f = f[(f["nodes"] > 0) & (f["hormon"] == 0) & (f["year"] >= 1984)]
        time = np.where(f["recur"] > 0, f["rtime"], f["dtime"])
        parts[name] = women(f, time, (f["recur"] > 0) | (f["death"] > 0), f["size"] == "<=20")
    return parts


def external(confounders: str) -> Effect:
    """The study of the page."""
    return Effect(
        "hormon", "Surv(time, rfs)", confounders, estimand="ATT", baseline="shared", times=(1826.0,), ground=Ground()
    )


def run(effect: Effect, parts: dict[str, pd.DataFrame], alone: tuple[str, ...]) -> Finding:
    """The whole of a real run: keys, masks, gates; `alone` are the members that the study names."""
    return cf.local(parts).run(effect, alone=alone).finding


def ratio(found: Finding) -> str:
    """As the page has it."""
    row = found.tables["effects"][0]
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"


@pytest.mark.shared
def test_the_external_comparison_is_that_of_the_page() -> None:
    parts = members(SHARED)
    got = run(external(TERMS), parts, ("sponsor",))
    risks = {r["measure"]: r["estimate"] for r in got.tables["effects"]}
    own = fit(replace(external(TERMS), estimand="ATE"), [trial(SHARED).iloc[i::3] for i in range(3)], GATE)
    lines = [line for line in PAGE.splitlines() if line.startswith("| external controls, weighed |")]
    assert f"| {ratio(got)} | {risks['risk difference']:.2f} |" in lines[0]
    assert ratio(own) in PAGE
    assert ratio(run(external(PLAIN), parts, ("sponsor",))) in PAGE
    row = got.tables["effects"][0]
    assert row["ratio_low"] < 0.695 < row["ratio_high"]  # Cox of the trial's open data (R)
    assert f"worth {got.tables['arms'][0]['effective_n']:.0f} once" in PAGE
    assert "extreme-weights" in {w.code for w in got.warnings}


@pytest.mark.shared
def test_the_trial_is_refused_without_the_words() -> None:
    parts = members(SHARED)
    with pytest.raises(Refused, match=r"hospitals? only.*\[disclosure\] alone"):
        run(external(TERMS), parts, ())
    with pytest.raises(StudyError, match="'acme' is no member"):
        run(external(TERMS), parts, ("acme",))


@pytest.mark.shared
def test_the_score_saves_the_controls_of_the_page() -> None:
    a = pd.read_csv(SHARED / "causal_hte" / "actg175.csv").query("arms <= 1")
    inside = (a["arms"] == 1) | (a["pidnum"] % 2 == 0)
    terms = ["cd40", "cd80", "age", "wtkg", "karnof", "preanti"]
    people = a.assign(inside=inside, drug=a["arms"])[["inside", "drug", "cd420", *terms]].astype(float)
    study = Prognostic("drug", "cd420", "inside", " + ".join(terms), difference=30.0)
    got = fit(study, [people.iloc[i::4] for i in range(4)], GATE)
    plan = got.tables["sample_size"]
    for name, row, need in zip(("nothing", "the score"), got.tables["effects"], plan, strict=True):
        cells = f"{row['estimate']:.1f} | {row['std_error']:.1f} | {need['n']} | {need['control']} |"
        assert f"| {name} | {cells}" in PAGE
    assert f"saves {plan[1]['control_saved']} controls" in PAGE
    # the whole trial's difference at 20 weeks, from its raw means: 403.17 less 336.14
    whole = a.groupby("arms")["cd420"].mean()
    assert got.tables["effects"][1]["estimate"] == pytest.approx(whole[1] - whole[0], abs=10)
