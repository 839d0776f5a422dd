"""The card of a model, the attack on it, and the signature of a hospital on both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import confrere as cf
from confrere.analyses.finding import Finding
from confrere.analyses.learning.attack import TOO_GOOD, by_loss, guessed
from confrere.analyses.learning.scored import EDGES
from confrere.analyses.learning.terms import Terms
from confrere.console.app import app
from confrere.console.fit import Results
from confrere.console.output import delivered
from confrere.console.predict import listed, read
from confrere.console.result import as_dict, models
from confrere.coordinator.airlock import Rule, checks
from confrere.errors import KeysError, StudyError
from confrere.hospital.home import Home
from confrere.hospital.signing import sign_model, signers
from confrere.report.model_card import card, markdown, sections, sheet
from confrere.report.predicted import about, lines
from confrere.report.words import Words
from confrere.sums.files import write_roster
from confrere.sums.keys import Roster
from confrere.testing import membership
from federate import dealt
from laws.cases import gaps

LEVELS = {"stage": ("I", "II", "III"), "arm": ("a", "b"), "fate": ("alive", "relapse", "death")}
STUDY = """
[study]
id = "card"
purpose = "research"
licence = "CC BY 4.0"
[data]
table = "people"
person = "pid"
[data.columns.arm]
levels = ["a", "b"]
[disclosure]
allow = ["histograms"]
[[analysis]]
name = "trees"
method = "boosting"
outcome = "ill"
features = ["x1", "arm"]
trees = 4
depth = 2
[[analysis]]
name = "shrunk"
method = "penalised"
formula = "ill ~ x1 + arm"
family = "binomial"
folds = 2
[[analysis]]
name = "hazard"
method = "cox"
formula = "Surv(time, event) ~ x1 + arm"
"""


def people(n: int = 1800) -> dict[str, pd.DataFrame]:
    return {f"h{i}": f for i, f in enumerate(dealt(gaps(n, 1), np.arange(n) % 3, 3))}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Results:
    file = tmp_path_factory.mktemp("study") / "study.toml"
    file.write_text(STUDY)
    found: Results = cf.local(people(3000)).run(file)  # so many, that the attack has cells enough
    assert not found.errors
    return found


# The attack ---------------------------------------------------------------------------------------------------


def test_the_attack_is_that_on_the_losses_of_people() -> None:
    """Of cells so fine that each has one value, it is the attack on single losses, limits included."""
    rng = np.random.default_rng(3)
    inside, outside = rng.poisson(4, 300), rng.poisson(5, 120)
    counts = [np.bincount(values, minlength=30).astype(float) for values in (inside, outside)]
    (row,) = guessed(*counts).rows
    expected = membership.membership_auc(inside, outside)
    assert (row["estimate"], row["conf_low"], row["conf_high"]) == pytest.approx(expected)
    assert (row["n_members"], row["n_others"]) == (300, 120)


def test_cells_of_scores_are_put_in_the_order_of_their_losses() -> None:
    grid = np.searchsorted([-1.0, 0.0, 1.0], np.append(EDGES[0] - 1, EDGES), side="right").astype(np.int64)
    counts = np.zeros((4, 4))
    counts[0] = [9, 7, 5, 3]  # of training, without: the lower the score, the smaller the loss
    counts[1] = [1, 2, 4, 8]
    counts[2:] = [[1, 0, 0, 0], [0, 0, 0, 2]]
    members, others, merged = by_loss(counts, grid)
    assert members.tolist() == [17, 11, 7, 4]
    assert others.tolist() == [3, 0, 0, 0]
    assert merged.all()


@pytest.mark.parametrize(("trees", "leaks"), [(4, False), (60, True)])
def test_a_model_that_tells_its_people_says_so_and_stays_in_the_airlock(trees: int, leaks: bool) -> None:
    depth, more = (2, {}) if not leaks else (6, {"hessian": 0.0, "penalty": 0.0, "learning_rate": 0.3})
    boosting = cf.Boosting("fate", ("x1", "time"), "multiclass", trees=trees, depth=depth, **more)
    fit = cf.local(people(900), levels=LEVELS, person="pid").run(boosting, allow=["histograms"])
    assert leaks == ("membership-attack" in [w.code for w in fit.warnings])
    (check,) = [c for c in checks({"trees": fit.finding}, Rule(11, ("histograms",))) if c.check == "membership"]
    if not leaks:  # all losses lie in one cell, where no attack could succeed
        assert "attack" not in fit.tables
        assert check.verdict == "review"
        return
    (row,) = fit.tables["attack"]
    assert row["estimate"] > TOO_GOOD
    assert check.verdict == "fail"
    assert f"{row['estimate']:.2f}" in check.reason


@pytest.mark.parametrize(("patience", "said"), [(2, "who chose the number of trees"), (0, "has seen nothing")])
def test_people_held_out_who_end_the_training_are_not_told_to_be_unseen(patience: int, said: str) -> None:
    boosting = cf.Boosting("ill", ("x1",), trees=3, depth=2, patience=patience)
    fit = cf.local(people(1800), levels=LEVELS, person="pid").run(boosting, allow=["histograms"])
    result = as_dict(fit.results)
    shown = markdown(result, result["analyses"][0], Words("en"))
    assert said in shown
    assert ("a little too good" in shown) == bool(patience)


def test_what_to_do_where_nobody_is_held_out() -> None:
    """The person's column is named where it is not, and else a share is set."""
    for person, settings, said in (
        ("", {}, "Name the person's column"),
        ("pid", {"holdout": 0.0}, "Set holdout = 0.2"),
    ):
        boosting = cf.Boosting("ill", ("x1",), trees=2, depth=2, **settings)
        fit = cf.local(people(900), levels=LEVELS, person=person).run(boosting, allow=["histograms"])
        (warning,) = [w for w in fit.warnings if w.code == "apparent-performance"]
        assert said in warning.text


def test_where_nobody_is_held_out_there_is_no_attack_and_the_card_says_so() -> None:
    fit = cf.local(people(900), levels=LEVELS).run(cf.Boosting("ill", ("x1",), trees=2, depth=2), allow=["histograms"])
    assert "attack" not in fit.tables
    result = as_dict(fit.results)
    made = card(result, result["analyses"][0])
    assert made["attacks"]["membership"] == []
    assert "nobody was held out" in markdown(result, result["analyses"][0], Words())
    one = as_dict(cf.local(people(900), levels=LEVELS).run(cf.Penalised("ill ~ x1", penalty=(0.1,))).results)
    assert "nobody was held out" in markdown(one, one["analyses"][0], Words())


# The card -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["penalised", "network"])
def test_a_card_counts_the_numbers_of_the_fits_without_each_group(method: str) -> None:
    groups = (("h0", "h1", "h2"), ("h3", "h4", "h5"))
    frames = {f"h{i}": f for i, f in enumerate(dealt(gaps(3000, 1), np.arange(3000) % 6, 6))}
    asked: Any = cf.Penalised("ill ~ x1 + time", "binomial", penalty=(0.01,), leave_out=groups)
    if method == "network":
        asked = cf.Network("ill", "x1 + time", rounds=2, leave_out=groups)
    fit = cf.local(frames, levels=LEVELS, person="pid").run(asked, allow=["model_weights"])
    made = card(as_dict(fit.results), as_dict(fit.results)["analyses"][0])
    left = sum(a.numbers for a in fit.results.left if a.kind == "ask")
    assert 100 < left <= made["attacks"]["reconstruction"]["numbers_left"] < 1.2 * left  # (p, p) counts whole


def test_a_card_says_what_the_result_says(ran: Results) -> None:
    result = as_dict(ran)
    trees, shrunk, hazard = (card(result, a) for a in result["analyses"])
    assert trees["model"]["licence"] == "CC BY 4.0"
    assert trees["model"]["sha256"] == ran["trees"].facts["model_sha256"]
    assert trees["population"]["trained"] == ran["trees"].facts["people_trained"] < trees["population"]["people"]
    assert trees["population"]["columns"] == {"arm": {"levels": ["a", "b"]}}
    assert trees["metrics"][0]["sample"] == "held out"
    assert trees["attacks"]["membership"] == ran["trees"].tables["attack"]
    asked = [a for a in ran.left if a.analysis.lstrip("_") in ("boosting", "scored") and a.kind == "ask"]
    assert trees["attacks"]["reconstruction"]["numbers_left"] >= sum(a.numbers for a in asked) > 0
    chosen = [r for r in ran["shrunk"].tables["cv"] if r["lambda"] == ran["shrunk"].facts["lambda"]]
    assert shrunk["metrics"][0]["estimate"] == chosen[0]["mean"]
    assert shrunk["attacks"]["membership"] == ran["shrunk"].tables["attack"] != []
    assert hazard["metrics"][0]["estimate"] == ran["hazard"].facts["concordance"]


def test_a_card_says_what_is_predicted_from_what_by_when_and_by_which_settings(ran: Results) -> None:
    """Of every column that is read, declared or not; leading settings are told where they are the default."""
    found = {a["name"]: dict(lines_of(as_dict(ran), a, "Prediction")) for a in as_dict(ran)["analyses"]}
    assert found["trees"]["Predicts"] == "Probability of ill = 1"
    assert found["trees"]["From"] == "x1, arm"  # x1 is not declared
    assert found["trees"]["Settings"] == "trees = 4, depth = 2, learning_rate = 0.1, penalty = 1, bins = 64"
    assert "column ill" in found["trees"]["By when"]
    assert found["shrunk"]["From"] == "x1 + arm"
    assert "alpha = 1" in found["shrunk"]["Settings"]
    assert "folds = 2" in found["shrunk"]["Settings"]
    assert found["shrunk"]["Fitted"].startswith("penalty λ 0.")
    assert found["hazard"]["Predicts"].startswith("Hazard of event, relative to that of somebody with the mean")
    assert found["hazard"]["By when"].startswith("No time")


def lines_of(result: dict[str, Any], analysis: dict[str, Any], head: str) -> list[tuple[str, str]]:
    (section,) = [s for s in sections(card(result, analysis), Words()) if s.head == head]
    return section.lines


@pytest.mark.parametrize(
    ("facts", "given", "says", "by"),
    [
        ({"objective": "multiclass"}, {"outcome": "fate"}, "Probability of each level of fate: alive, dead", "fate"),
        ({"objective": "poisson"}, {"outcome": "visits"}, "Expected number of visits", "visits"),
        ({"objective": "squared"}, {"outcome": "bmi"}, "Mean of bmi", "bmi"),
        ({"objective": "discrete"}, {"outcome": "Surv(t, ill)", "intervals": [365]}, "Probability of ill", "365 days"),
        ({"objective": "cox"}, {"outcome": "Surv(t, ill)"}, "Hazard of ill, relative to that of somebody whose", "No"),
        ({"objective": "binary"}, {"outcome": "fate"}, "Probability of fate = dead", "fate"),
    ],
)  # fmt: skip
def test_what_is_predicted_by_objective(facts: dict[str, Any], given: dict[str, Any], says: str, by: str) -> None:
    study = {"columns": {"fate": {"levels": ["alive", "dead"]}}, "time_unit": "days"}
    analysis = {"method": "network", "settings": given | {"features": "1", "bags": "slides"}, "facts": facts}
    for lang in ("en", "fr"):
        found = dict(lines(about({"study": study}, analysis), Words("fr" if lang == "fr" else "en")))
        assert len(found) == 4
    found = dict(lines(about({"study": study}, analysis), Words()))
    assert found["Predicts"].startswith(says)
    assert by in found["By when"]
    assert found["From"] == "images (slides)"
    assert found["Settings"].startswith("module = linear, strategy = fedavg, rounds = 20")
    assert list(lines({}, Words())) == []  # of a card before


def test_the_deviances_of_a_shrunk_cox_model_are_on_one_scale() -> None:
    """That of its training is on another than the cross-validated one, which is set beside that of no terms."""
    frames = people(3000)
    study = cf.Penalised("Surv(time, event) ~ x1 + x2", "cox", folds=3)
    fit = cf.local(frames, levels=LEVELS, person="pid").run(study)
    result = as_dict(fit.results)
    made = card(result, result["analyses"][0])
    assert [(r["metric"], r["sample"]) for r in made["metrics"]] == [
        ("deviance", "cross-validation"), ("deviance explained", "cross-validation")
    ]  # fmt: skip
    curve = fit.tables["cv"]
    chosen = next(r["mean"] for r in curve if "min" in r["chosen"])
    assert made["metrics"][1]["estimate"] == pytest.approx(1 - chosen / curve[0]["mean"])
    text = markdown(result, result["analyses"][0], Words())
    assert "how well people are told apart" in text
    assert "% above that of people of training" not in text
    assert "nobody was held out" not in text


def test_an_evaluation_has_its_time_and_its_warnings_on_the_card(ran: Results) -> None:
    made = card(as_dict(ran), as_dict(ran)["analyses"][0])
    found = {
        "study": "later", "hash": "0" * 64, "title": "Later?", "made": "2026-01-01", "people": 900, "events": 90,
        "hospitals": 3, "metrics": [], "horizon": 1826.0, "time_unit": "days",
        "warnings": [{"code": "odd", "text": "Few people were followed."}],
    }  # fmt: skip
    for lang, when, warning in (("en", "By when", "Warning"), ("fr", "À quelle échéance", "Avertissement")):
        words = Words("fr" if lang == "fr" else "en")
        said = sections(made | {"evaluations": [found]}, words)
        (part,) = [s for s in said if s.head == words("Evaluation: {title}", title="Later?")]
        assert dict(part.lines)[when] == words.length(words.numbers.short(1826, 6), "days")
        assert dict(part.lines)[warning] == "Few people were followed."


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_it_stands_in_the_file_on_a_page_and_in_the_report(ran: Results, lang: str, tmp_path: Path) -> None:
    delivered(ran, tmp_path, lang)
    result = json.loads((tmp_path / "result.json").read_text())
    words = Words("fr" if lang == "fr" else "en")
    report = (tmp_path / "report.html").read_text()
    for analysis in result["analyses"]:
        inside = json.loads((tmp_path / "models" / f"{analysis['name']}.json").read_text())["card"]
        assert inside["model"]["sha256"] == analysis["facts"]["model_sha256"]
        page = (tmp_path / "models" / f"{analysis['name']}.card.md").read_text()
        assert page == markdown(result, analysis, words)
        assert words("Attacks on the model") in page
        assert analysis["facts"]["model_sha256"] in report
        table = sheet(result, analysis, words)
        assert table.caption == words("Model card")
        assert table.caption in report
    assert (tmp_path / "tables" / "trees_model_card.csv").is_file()


def test_a_regression_is_a_model_where_the_study_states_a_licence(ran: Results) -> None:
    assert {"trees.json", "shrunk.json", "hazard.json"} <= set(models(ran))
    without = replace(ran, study=replace(ran.study, licence=""))
    assert {name for name in models(without) if name.endswith(".card.md")} == {"trees.card.md", "shrunk.card.md"}


# Regressions as models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("hazard", "risk"), ("shrunk", "")])
def test_a_regression_predicts_from_its_file_as_the_fit_does(
    ran: Results, name: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "m.json").write_bytes(models(ran)[f"{name}.json"])
    gaps(50, 8).to_csv(tmp_path / "people.csv", index=False)
    frame = pd.read_csv(tmp_path / "people.csv")
    model = read(tmp_path / "m.json")
    assert isinstance(model, Terms)
    assert model.sha256 == as_dict(ran)["analyses"][[*ran].index(name)]["facts"]["model_sha256"]
    found = listed(model, str(tmp_path / "people.csv"), "pid").set_index("pid").loc[frame["pid"]]
    if kind:
        expected = ran[name].predict(frame, kind)["estimate"].to_numpy()
    else:
        b = ran[name].arrays["estimate"]
        expected = 1 / (1 + np.exp(-(b[0] + b[1] * frame["x1"] + b[2] * (frame["arm"] == "b"))))
    assert found["prediction"].to_numpy() == pytest.approx(expected)
    assert found["reasons"].str.contains("x1").any()


def test_who_misses_a_value_is_last_and_has_no_prediction(ran: Results, tmp_path: Path) -> None:
    frame = gaps(30, 2)
    frame.loc[3, "x1"] = np.nan
    frame.to_csv(tmp_path / "people.csv", index=False)
    found = listed(Terms.of(ran["hazard"].finding), str(tmp_path / "people.csv"), "pid")
    assert found["pid"].iloc[-1] == frame["pid"][3]
    assert found["prediction"].isna().sum() == 1
    assert found["reasons"].iloc[-1] == "no value of x1"


def test_what_is_no_model_of_terms() -> None:
    with pytest.raises(StudyError, match="no model of terms"):
        Terms.of(Finding("describe", 1, 3, {}))
    with pytest.raises(StudyError, match="no model of a regression"):
        Terms.from_plain({"format": "other"})


def test_a_class_orders_people_of_a_model_of_several(tmp_path: Path) -> None:
    boosting = cf.Boosting("fate", ("x1", "time"), "multiclass", trees=2, depth=2)
    fit = cf.local(people(900), levels=LEVELS, person="pid").run(boosting, allow=["histograms"])
    frame = gaps(40, 4)
    frame.to_csv(tmp_path / "p.csv", index=False)
    found = listed(fit.model, str(tmp_path / "p.csv"), "pid", level=2).set_index("pid").loc[frame["pid"]]
    expected = fit.predict(frame)["relapse"].to_numpy()
    assert found["prediction"].to_numpy() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(StudyError, match="--class 1 to 3"):
        listed(fit.model, "none.csv", "pid", level=4)


# Signatures ---------------------------------------------------------------------------------------------------


def test_a_hospital_signs_and_a_changed_model_is_found_out(ran: Results, tmp_path: Path) -> None:
    homes = [Home.make(tmp_path / name, name, {}, "") for name in ("curie", "lyon", "paris")]
    roster = Roster({home.name: home.identity.public for home in homes})
    for home in homes:
        roster = roster.signed(home.name, home.identity)
    write_roster(tmp_path / "roster.json", roster)
    model = tmp_path / "m.json"
    model.write_bytes(models(ran)["hazard.json"])
    for home in homes:
        home.pin(tmp_path / "roster.json")
    with pytest.raises(KeysError, match="no hospital"):
        signers(model, roster)
    before = read(model).sha256
    for home in homes[:2]:
        digest = sign_model(home, model)
        assert next(home.ledger.entries(event="signed model")).facts["model"] == digest
    assert signers(model, roster) == ("curie", "lyon")
    assert read(model).sha256 == before
    for command, says in (("sign-model", "paris has signed"), ("check-model", "signed by curie, lyon, paris")):
        done = CliRunner().invoke(app, ["hospital", command, str(model), "--home", str(tmp_path / "paris")])
        assert done.exit_code == 0, done.output
        assert says in done.output
    plain = json.loads(model.read_text())
    plain["card"]["model"]["licence"] = "anything goes"
    model.write_text(json.dumps(plain))
    with pytest.raises(KeysError, match="not by the key"):
        signers(model, roster)
    strange = plain | {"signatures": {"nantes": "00"}}
    model.write_text(json.dumps(strange))
    with pytest.raises(KeysError, match="not in the roster"):
        signers(model, roster)


def test_only_a_model_with_its_own_card_is_signed(ran: Results, tmp_path: Path) -> None:
    """Not any file with a card: nor the card of one model over the coefficients of another."""
    home, model = Home.make(tmp_path / "h", "curie", {}, ""), tmp_path / "m.json"
    good = json.loads(models(ran)["hazard.json"])
    other = json.loads(json.dumps(good))
    other["coefficients"] = [2 * one for one in other["coefficients"]]
    bare = {"format": "confrere-terms/1", "card": good["card"]}
    for plain, says in (
        (other, "the card is of the model"), (bare, "is no model"), ({"card": good["card"]}, "is no model"),
        (good | {"card": {}}, "the card is of the model without a SHA-256"),
        (good | {"card": {"model": []}}, "the card is of the model without a SHA-256"),
    ):  # fmt: skip
        model.write_text(json.dumps(plain))
        with pytest.raises(StudyError, match=says):
            sign_model(home, model)
        assert "signatures" not in json.loads(model.read_text())
    assert not list(home.ledger.entries(event="signed model"))


def test_what_has_no_card_is_not_signed(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"format": "confrere-terms/1"}')
    with pytest.raises(StudyError, match="has no card"):
        sign_model(Home.make(tmp_path / "h", "curie", {}, ""), tmp_path / "m.json")
