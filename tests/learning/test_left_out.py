"""A model without each group of hospitals in turn: a twin that has the rows of the others, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

import confrere as cf
from confrere.analyses.concordance import concordance, pairs
from confrere.analyses.cox import Cox
from confrere.analyses.learning.left_out import asked
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.logistic import Logistic
from confrere.analyses.networks.model import Net
from confrere.analyses.networks.network import Network
from confrere.errors import ModelError, StudyError
from confrere.hospital.manifest import manifest
from confrere.study import build
from confrere.study.file import parse
from confrere.study.ground import Ground
from confrere.testing import SCHEMA, patients
from federate import apart, found, masked
from journeys.test_manifest import check_left
from laws.cases import gaps

GROUND = Ground(SCHEMA)
KNOWN = replace(GROUND, person="pid")
NAMES = tuple("abcdefghi")
GROUPS = (NAMES[:3], NAMES[3:6], NAMES[6:])
STUDY = """
[study]
id = "elsewhere"
purpose = "research"
[data]
table = "people"
[groups]
north = ["a", "b", "c"]
[[analysis]]
name = "one"
method = "logistic"
formula = "ill ~ x1"
leave_out = [["a", "b", "c"], ["d", "e", "f"]]
"""


def dealt(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """To nine hospitals, each its share."""
    return {name: frame[i :: len(NAMES)].reset_index(drop=True) for i, name in enumerate(NAMES)}


def named(n: int, seed: int) -> pd.DataFrame:
    """Patients with a name each."""
    return patients(n, seed).assign(pid=[f"p{i}" for i in range(n)])


def glm(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients by Newton's method, of all rows in one place."""
    beta = np.zeros(x.shape[1])
    for _ in range(30):
        p = special.expit(x @ beta)
        beta += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (y - p))
    return beta


def terms(hospitals: dict[str, pd.DataFrame], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    frame = pd.concat([hospitals[name] for name in names]).dropna(subset=["x1", "gap", "stage", "ill"])
    columns = [np.ones(len(frame)), frame["x1"], frame["gap"], frame["stage"] == "II", frame["stage"] == "III"]
    return np.stack([np.asarray(c, dtype=float) for c in columns], axis=1), frame["ill"].to_numpy(dtype=float)


def test_it_is_what_the_rows_in_one_place_say() -> None:
    """Coefficients of all; in each group the log loss and the Brier score of the fit of the others, its slope and
    calibration in the large; the area of few cells, nearly."""
    hospitals = dealt(gaps(5400, 3))
    got = found(masked(Logistic("ill ~ x1 + gap + C(stage)", leave_out=GROUPS, ground=GROUND), hospitals))
    assert got.arrays["estimate"] == pytest.approx(glm(*terms(hospitals, NAMES)), rel=1e-8)
    for group in GROUPS:
        beta = glm(*terms(hospitals, tuple(n for n in NAMES if n not in group)))
        x, y = terms(hospitals, group)
        eta = x @ beta
        p = special.expit(eta)
        rows = told(got, group)
        assert rows["AUC"]["n"] == len(y) < 1800  # some miss a value
        assert rows["AUC"]["events"] == y.sum()
        assert rows["log loss"]["estimate"] == pytest.approx(-np.mean(np.log(np.where(y == 1, p, 1 - p))), rel=1e-9)
        assert rows["Brier score"]["estimate"] == pytest.approx(np.mean((p - y) ** 2), rel=1e-9)
        line = glm(np.stack([np.ones(len(y)), eta], axis=1), y)
        assert rows["calibration slope"]["estimate"] == pytest.approx(line[1], rel=1e-7)
        area = np.mean(eta[y == 1][:, None] > eta[y == 0][None, :])
        assert rows["AUC"]["estimate"] == pytest.approx(area, abs=0.02)
    assert [(w.code, w.text.partition(":")[0]) for w in got.warnings] == [
        ("coarse-score", ", ".join(group)) for group in GROUPS
    ]


def told(got: Any, group: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return {r["metric"]: r for r in got.tables["left_out"] if r["left_out"] == ", ".join(group)}


TERMS, SURV = "x1 + x2 + treated", "Surv(time, event)"
TIMED = {
    "cox": Cox(f"{SURV} ~ {TERMS}", ground=GROUND),
    "cox, Breslow, ridge, strata": Cox(f"{SURV} ~ {TERMS} + strata(stage)", ties="breslow", ridge=20.0, ground=GROUND),
    "cox, late entry": Cox(f"Surv(entry, time, event) ~ {TERMS}", robust=True, ground=GROUND),
    "cox, a cause": Cox(f"Surv(time, fate) ~ {TERMS}", cause="relapse", ground=GROUND),
    "penalised": Penalised(f"{SURV} ~ {TERMS}", "cox", alpha=0.5, penalty=(0.05,), ground=GROUND),
}


@pytest.mark.parametrize("name", TIMED)
def test_of_times_it_is_what_fits_by_hand_say(name: str) -> None:
    """All in one federation, and by hand: the hospitals of the others alone, then the group's, each person with the
    index that this model gives, in a Cox model of that one column."""
    of, hospitals = TIMED[name], dealt(patients(5400, 3))
    got = found(masked(replace(of, leave_out=GROUPS), hospitals))
    whole = found(masked(of, hospitals))
    assert got.arrays["estimate"] == pytest.approx(whole.arrays["estimate"], rel=1e-7)
    assert got.facts.get("concordance") == pytest.approx(whole.facts.get("concordance"))
    for group in GROUPS:
        slopes = found(masked(of, {n: hospitals[n] for n in NAMES if n not in group})).arrays["estimate"]
        inside = {n: hospitals[n] for n in group}
        indexed = {n: f.assign(index=f[["x1", "x2", "treated"]].to_numpy() @ slopes) for n, f in inside.items()}
        outcome, _, right = of.formula.partition(" ~ ")
        formula = f"{outcome} ~ index" + (" + strata(stage)" if "strata" in right else "")
        one = found(masked(Cox(formula, of.ties, cause=getattr(of, "cause", ""), ground=GROUND), indexed))
        rows, (line,) = told(got, group), one.tables["coefficients"]
        assert {rows["concordance"]["n"], rows["concordance"]["events"]} == {one.n, one.events}
        assert rows["concordance"]["estimate"] == pytest.approx(one.facts["concordance"], rel=1e-9)
        assert rows["concordance"]["std_error"] == pytest.approx(one.facts["concordance_se"], rel=1e-6)
        for key in ("estimate", "std_error", "conf_low", "conf_high"):
            assert rows["calibration slope"][key] == pytest.approx(line[key], rel=1e-6)


def test_a_penalised_fit_is_measured_as_it_is() -> None:
    """Shrunk coefficients of the others: the loss of their risks, and a slope above 1, since they are too near 0."""
    hospitals = dealt(patients(5400, 3))
    of = Penalised(f"ill ~ {TERMS}", "binomial", alpha=0.0, penalty=(0.3,), ground=GROUND)
    got = found(masked(replace(of, leave_out=GROUPS), hospitals))
    assert got.arrays["estimate"] == pytest.approx(found(masked(of, hospitals)).arrays["estimate"], rel=1e-7)
    for group in GROUPS:
        beta = found(masked(of, {n: hospitals[n] for n in NAMES if n not in group})).arrays["estimate"]
        frame = pd.concat([hospitals[n] for n in group])
        p, y = special.expit(beta[0] + frame[["x1", "x2", "treated"]].to_numpy() @ beta[1:]), frame["ill"].to_numpy()
        rows = told(got, group)
        loss = -np.mean(np.log(np.where(y == 1, p, 1 - p)))
        assert rows["log loss"]["estimate"] == pytest.approx(loss, rel=1e-7)
        assert rows["calibration slope"]["estimate"] > 1


PENALISED = {
    "binomial": Penalised(f"ill ~ {TERMS}", "binomial", penalties=20, folds=4, ground=KNOWN),
    "ridge": Penalised(f"ill ~ {TERMS} + C(stage)", "binomial", alpha=0.0, penalty=(0.5, 0.05, 0.005), folds=3,
                       choose="1se", ground=KNOWN),
    "cox": Penalised(f"Surv(time, event) ~ {TERMS}", "cox", alpha=0.5, penalties=15, folds=4, ground=KNOWN),
}  # fmt: skip


@pytest.mark.parametrize("name", PENALISED)
def test_each_fit_without_a_group_chooses_its_own_penalty(name: str) -> None:
    """As in a study of the others alone, with the same folds: the penalty, the coefficients, and how good they are."""
    of, hospitals = PENALISED[name], dealt(named(9000, 3))
    got = found(masked(replace(of, leave_out=GROUPS), hospitals))
    whole = found(masked(of, hospitals))
    assert got.facts["folds"] == whole.facts["folds"] == of.folds
    assert got.facts["lambda"] == pytest.approx(whole.facts["lambda"], rel=1e-9)
    assert got.arrays["estimate"] == pytest.approx(whole.arrays["estimate"], rel=1e-6, abs=1e-9)
    assert "attack" in whole.tables
    assert "attack" not in got.tables
    for group in GROUPS:
        rest = {n: hospitals[n] for n in NAMES if n not in group}
        one = found(masked(of, rest))
        (chosen,) = {r["lambda"] for r in told(got, group).values()}
        assert chosen == pytest.approx(one.facts["lambda"], rel=1e-9)
        again = found(masked(replace(of, penalty=(one.facts["lambda"],), leave_out=GROUPS), hospitals))
        for metric, row in told(again, group).items():  # as with this penalty, given
            assert told(got, group)[metric]["estimate"] == pytest.approx(row["estimate"], rel=1e-5, abs=1e-7)


def test_a_fold_of_few_in_one_group_makes_fewer_folds() -> None:
    """Of all people ten folds would hold enough with the rare mark; of the last group two."""
    rng, hospitals = np.random.default_rng(7), dealt(named(9000, 5))
    for name, frame in hospitals.items():
        frame["rare"] = (rng.random(len(frame)) < (0.03 if name in GROUPS[2] else 0.5)).astype(float)
    of = Penalised("ill ~ x1 + rare", "binomial", penalties=10, folds=10, ground=KNOWN)
    assert found(masked(of, hospitals)).facts["folds"] == 10
    assert found(masked(replace(of, leave_out=GROUPS), hospitals)).facts["folds"] < 5
    for name in GROUPS[2]:
        hospitals[name]["rare"] = (rng.random(len(hospitals[name])) < 0.01).astype(float)
    with pytest.raises(ModelError, match="cannot be dealt to folds"):
        found(masked(replace(of, leave_out=GROUPS), hospitals))


def test_a_penalty_that_leaves_no_term_is_said() -> None:
    of = Penalised("Surv(time, event) ~ x1", "cox", penalty=(9.0,), leave_out=GROUPS, ground=GROUND)
    with pytest.raises(ModelError, match="in a, b, c: the fit to the others has no term that is not 0"):
        found(masked(of, dealt(patients(5400, 3))))


def test_where_people_differ_it_shows() -> None:
    """In the last group the outcome goes the other way: the others' model tells nobody apart there."""
    hospitals = dealt(gaps(5400, 3))
    rng = np.random.default_rng(4)
    for name, frame in hospitals.items():
        turn = -1 if name in GROUPS[2] else 1
        frame["ill"] = (rng.random(len(frame)) < special.expit(turn * 1.5 * frame["x1"])).astype(float)
    got = found(masked(Logistic("ill ~ x1", leave_out=GROUPS, ground=GROUND), hospitals))
    areas = [r["estimate"] for r in got.tables["left_out"] if r["metric"] == "AUC"]
    assert areas[0] > 0.6 < areas[1]
    assert areas[2] < 0.4


def test_groups_that_are_asked() -> None:
    whole = tuple(sorted(NAMES))
    assert set(asked(GROUPS)) == {*GROUPS, NAMES[3:], (*NAMES[:3], *NAMES[6:]), NAMES[:6], whole}
    assert asked(()) == ()


@pytest.mark.parametrize(
    ("leave_out", "more", "says"),
    [
        ((NAMES[:3],), {}, "two groups of hospitals or more"),
        ((NAMES[:3], NAMES[3:5]), {}, "each of 3 at least"),
        ((NAMES[:3], NAMES[2:5]), {}, "none in two of them"),
        (GROUPS, {"weights": "w"}, "without weights"),
        (GROUPS, {"missing": "impute", "ground": replace(GROUND, person="pid")}, "without weights"),
        (GROUPS, {"formula": "ill ~ x1 + offset(x2)"}, "without weights"),
        (GROUPS, {"formula": "ill ~ standardize(x1)"}, "without weights"),
    ],
)
def test_what_cannot_be(leave_out: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        Logistic(**({"formula": "ill ~ x1", "leave_out": leave_out, "ground": GROUND} | more)).check()


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (Cox("Surv(time, event) ~ x1", baseline="shared", leave_out=GROUPS, ground=GROUND), "merged otherwise"),
        (Cox("Surv(time, event) ~ x1", weights="w", leave_out=GROUPS, ground=GROUND), "without weights"),
        (Penalised("ill ~ x1", "binomial", leave_out=GROUPS, ground=GROUND), "name their column"),
        (Penalised("y ~ x1", penalty=(0.1,), leave_out=GROUPS, ground=GROUND), "risks and hazards"),
    ],
)  # fmt: skip
def test_what_of_others_cannot_be(of: Any, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        of.check()


def test_it_stands_alone_in_its_study() -> None:
    beside = '[[analysis]]\nname = "two"\nmethod = "describe"\nvariables = ["x1"]\n'
    (one,) = build.analyses(parse(STUDY))
    assert one.leave_out == (("a", "b", "c"), ("d", "e", "f"))
    with pytest.raises(StudyError, match="leave_out compares groups"):
        build.analyses(parse(STUDY + beside))
    with pytest.raises(StudyError, match="leave out one of the two"):
        build.analyses(parse(STUDY.replace("leave_out", 'group = "north"\nleave_out')))


def test_a_group_with_a_hospital_that_is_not_there_is_refused() -> None:
    hospitals = cf.local(dict(list(dealt(gaps(5400, 3)).items())[:5]))
    with pytest.raises(StudyError, match="not hospitals of this run"):
        hospitals.run(parse(STUDY))


@pytest.mark.parametrize(
    "of",
    [
        Logistic("ill ~ x1 + gap", leave_out=GROUPS, ground=GROUND),
        Penalised("ill ~ x1 + gap", "binomial", penalty=(0.01,), leave_out=GROUPS, ground=GROUND),
        Penalised("ill ~ x1 + gap", "binomial", penalties=10, folds=3, leave_out=GROUPS, ground=KNOWN),
    ],
    ids=lambda of: f"{type(of).__name__} {len(getattr(of, 'penalty', '1'))}",
)
def test_who_is_where_within_a_group_does_not_matter(of: Any) -> None:
    frame, rng = gaps(5400, 3), np.random.default_rng(2)
    findings = []
    for order in (np.arange(3), rng.permutation(3)):
        hospitals = dealt(frame)
        for group in GROUPS:
            moved = [hospitals[group[i]] for i in order]
            hospitals |= dict(zip(group, moved, strict=True))
        findings.append(found(masked(of, hospitals)))
    assert not apart(*findings, 1e-9)


@pytest.mark.parametrize(
    ("method", "formula", "more"),
    [
        ("logistic", "ill ~ x1", ""),
        ("cox", "Surv(time, event) ~ x1", ""),
        ("penalised", "Surv(time, event) ~ x1 + gap", 'family = "cox"\npenalty = [0.001]\n'),
        ("network", "ill", 'features = "x1"\nrounds = 2\n[disclosure]\nallow = ["model_weights"]\n'),
        ("penalised", "ill ~ x1 + gap", 'family = "binomial"\npenalty = [0.001]\n'),
        ("penalised", "ill ~ x1 + gap", 'family = "binomial"\nfolds = 3\n'),
        ("penalised", "Surv(time, event) ~ x1 + gap", 'family = "cox"\nfolds = 3\n'),
    ],
)
def test_what_leaves_is_listed(method: str, formula: str, more: str) -> None:
    text = STUDY.replace('"logistic"', f'"{method}"').replace("ill ~ x1", formula) + more
    if "folds" in more:
        text = text.replace('table = "people"\n', 'table = "people"\nperson = "pid"\n')
    study = parse(text.replace('formula = "ill"', 'outcome = "ill"'))
    listed = manifest(study)
    assert listed.unreached == ()
    six = dict(list(dealt(gaps(18_000 if "folds" in more else 5400, 3)).items())[:6])
    results = cf.local(six).run(study)
    assert not results.errors
    check_left(listed, list(results.left))


NETWORKS = {
    "binary": Network("ill", "x1 + x2", module="mlp", settings={"hidden": (4,)}, rounds=4, ground=GROUND),
    "squared": Network("y", "x1 + x2", objective="squared", rounds=4, ground=GROUND),
    "cox": Network("Surv(time, event)", "x1 + treated", rounds=4, ground=GROUND),
    "discrete": Network("Surv(time, event)", "x1 + treated", intervals=(365.0, 1095.0), rounds=4, ground=GROUND),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_of_networks_it_is_what_training_by_hand_says(name: str) -> None:
    """The network of the others, trained in a study of theirs alone, scores every hospital of the group."""
    of, hospitals, allow = NETWORKS[name], dealt(patients(5400, 3)), ("model_weights",)
    got = found(masked(replace(of, leave_out=GROUPS), hospitals, allow=allow))
    assert "metrics" not in got.tables  # one count by score of everybody, in the groups
    whole = found(masked(of, hospitals, allow=allow))
    assert got.arrays["weights"] == pytest.approx(whole.arrays["weights"], abs=1e-9)
    for group in GROUPS:
        rest = {n: f for n, f in hospitals.items() if n not in group}
        model = Net.of(replace(found(masked(of, rest, allow=allow)), analysis=of))
        frames, rows = [hospitals[n] for n in group], told(got, group)
        score = [model.prediction(model.score(model.features(f))) for f in frames]
        if name in ("cox", "discrete"):
            each = [
                pairs(f["time"].to_numpy(), f["event"].to_numpy() > 0, np.round(s, 10), np.ones(len(f))).sums
                for f, s in zip(frames, score, strict=True)
            ]
            assert rows["concordance"]["estimate"] == pytest.approx(concordance(np.sum(each, axis=0)), rel=1e-6)
            continue
        p, frame = np.concatenate(score), pd.concat(frames)
        if name == "squared":
            assert rows["mean squared error"]["estimate"] == pytest.approx(np.mean((p - frame["y"]) ** 2), rel=1e-6)
            continue
        y = frame["ill"].to_numpy()
        assert rows["Brier score"]["estimate"] == pytest.approx(np.mean((p - y) ** 2), rel=1e-6)
        assert rows["AUC"]["estimate"] == pytest.approx(np.mean(p[y == 1][:, None] > p[y == 0][None, :]), abs=0.02)
        assert {rows["AUC"]["n"], rows["AUC"]["events"]} == {len(y), y.sum()}


@pytest.mark.parametrize(
    "more", [{"holdout": 0.2}, {"privacy": 1.0}, {"fine_tune": 1}, {"personal": ("out",)}, {"leave_out": (NAMES[:3],)}]
)
def test_what_of_networks_cannot_be(more: dict[str, Any]) -> None:
    of = replace(NETWORKS["binary"], **({"leave_out": GROUPS, "ground": replace(GROUND, person="pid")} | more))
    with pytest.raises(StudyError, match="leave_out"):
        of.check()
