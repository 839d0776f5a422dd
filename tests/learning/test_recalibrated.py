"""A model recalibrated by an evaluation: what it predicts, what its file and its card say, and what is refused."""

from __future__ import annotations

import errno
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special
from typer.testing import CliRunner

import confrere as cf
from confrere.analyses.learning.conformal import ALWAYS, Conformal
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.forest import Forest, Tree
from confrere.analyses.learning.recalibrated import recalibrated
from confrere.analyses.learning.scored import margins
from confrere.analyses.learning.terms import Terms
from confrere.console.app import app
from confrere.console.output import delivered
from confrere.console.predict import listed, read, sets_of
from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.hospital.signing import sign_model
from confrere.report.page import _facts
from confrere.report.words import Words
from confrere.testing import SCHEMA, Ground
from confrere.testing.people import patients
from federate import GATE, fit

GROUND = Ground(SCHEMA)
LEAVES = Tree(
    np.array([0, -1, -1]), np.array([0.2, 0, 0]), np.zeros(3, int), np.array([0, -0.7, 0.9]), np.ones(3), np.ones(3)
)
FOREST = Forest("binary", ("x1", "x2"), (-0.3,), (LEAVES, LEAVES._replace(feature=np.array([1, -1, -1]))))
LOGISTIC = Terms("logistic", "ill ~ x1 + x2", "binomial", "logit", (-0.2, 0.5, 0.1), (), GROUND)
HAZARDS = Terms("cox", "Surv(time, event) ~ x1 + x2", "cox", "", (0.5, -0.2), (0.1, 5.0), GROUND)
HEAD = (
    '[study]\nid = "{0}"\ntitle = "{0}"\npurpose = "care"\nlicence = "CC BY 4.0"\n[data]\ntable = "t"\nperson = "pid"\n'
)
LATER = HEAD + '[[analysis]]\nname = "later"\nmethod = "evaluate"\n'


def risks(model: Any, frame: pd.DataFrame) -> np.ndarray:
    if isinstance(model, Forest):
        return model.prediction(model.score([frame["x1"].to_numpy(), frame["x2"].to_numpy()]))
    if isinstance(model, Terms):
        return model.prediction(model.score(frame))
    return model.prediction(model.score(model.features(frame)))


# What it predicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [FOREST, LOGISTIC, replace(LOGISTIC, formula="ill ~ 0 + x1 + x2", coefficients=(0.5, 0.1))]
)
def test_the_logit_of_the_risk_is_moved_by_the_line(model: Any) -> None:
    frame = patients(200, 3)
    made = recalibrated(model, 0.7, 1.3)
    expected = special.expit(0.7 + 1.3 * special.logit(risks(model, frame)))
    assert risks(made, frame) == pytest.approx(expected, abs=1e-14)
    assert made.sha256 != model.sha256
    again = type(made).from_plain(json.loads(json.dumps(made.plain())))
    assert (risks(again, frame) == risks(made, frame)).all()


@pytest.mark.parametrize("objective", ["binary", "cox"])
@pytest.mark.parametrize(("module", "settings"), [("linear", {}), ("mlp", {"hidden": [4]})])
def test_so_is_that_of_a_network(objective: str, module: str, settings: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    from confrere.analyses.networks.catalogue import Sizes, built
    from confrere.analyses.networks.model import Net

    outcome = "ill" if objective == "binary" else "Surv(time, event)"
    sizes = Sizes(2, 0, 1)
    many = sum(p.numel() for p in built(module, sizes, settings).parameters())
    weights = np.random.default_rng(1).normal(size=many)
    net = Net(objective, outcome, (), f"{outcome} ~ x1 + x2", module, settings, sizes, (0.0, 5.0, 0.0), (1.0,) * 3, (),
              (), "", weights, GROUND)  # fmt: skip
    frame = patients(200, 3)
    before = risks(net, frame)
    if objective == "cox":
        assert risks(recalibrated(net, 0.0, 0.6), frame) == pytest.approx(before**0.6, rel=1e-12)
    else:
        expected = special.expit(0.7 + 1.3 * special.logit(before))
        assert risks(recalibrated(net, 0.7, 1.3), frame) == pytest.approx(expected, rel=1e-11)


def discrete(cuts: tuple[float, ...] = (365.0, 1095.0)) -> Any:
    """A network of risks by three years."""
    pytest.importorskip("torch")
    from confrere.analyses.networks.catalogue import Sizes
    from confrere.analyses.networks.model import Net

    weights = np.array([0.5, 0.1, 0.4, -0.1, -1.8, -1.0])
    formula, flat = "Surv(time, event) ~ x1 + x2", ((0.0, 5.0, 0.0), (1.0,) * 3)
    return Net("discrete", "Surv(time, event)", (), formula, "linear", {}, Sizes(2, 0, 2), *flat, cuts, (), "", weights,
               GROUND)  # fmt: skip


def loglog(risk: Any) -> Any:
    return np.log(-np.log1p(-np.asarray(risk)))


def test_of_discrete_time_the_log_log_is_moved_and_moved_again() -> None:
    from confrere.analyses.networks.model import Net

    net, frame = discrete(), patients(200, 3)
    made = recalibrated(net, 0.4, 0.8)
    assert loglog(risks(made, frame)) == pytest.approx(0.4 + 0.8 * loglog(risks(net, frame)), rel=1e-10)
    again = recalibrated(made, -0.2, 1.5)
    assert loglog(risks(again, frame)) == pytest.approx(-0.2 + 1.5 * loglog(risks(made, frame)), rel=1e-10)
    assert len({net.sha256, made.sha256, again.sha256}) == 3
    assert "line" not in net.plain()  # files of before keep their hash
    opened = Net.from_plain(json.loads(json.dumps(again.plain())), again.tensors())
    assert (risks(opened, frame) == risks(again, frame)).all()
    assert opened.sha256 == again.sha256
    for line in ([0.0, -1.0], [float("nan"), 1.0], [0.1, 0.0]):
        with pytest.raises(StudyError, match="its line"):
            Net.from_plain(again.plain() | {"line": line}, again.tensors())


def test_a_network_of_discrete_time_is_put_right_by_people_followed(tmp_path: Path) -> None:
    """From file to file: learned, evaluated among others, recalibrated, and right among them by its own risks."""
    pytest.importorskip("torch")
    text = HEAD.format("one") + '[disclosure]\nallow = ["model_weights"]\n'
    text += '[[analysis]]\nname = "risk"\nmethod = "network"\noutcome = "Surv(time, event)"\nfeatures = "x1 + x2"\n'
    text += "intervals = [365, 1095]\nrounds = 30\nlearning_rate = 1.0\n"
    run(tmp_path, text, people(3), "learned")
    others, at = people(4, 0.8), 'outcome = "Surv(time, event)"\nlearnt = "learned/models/risk.json"\ntimes = {}\n'
    with pytest.raises(StudyError, match="risks by the time 1095"):
        run(tmp_path, LATER.format("early") + at.format(730), others, "early")
    found = run(tmp_path, LATER.format("later") + at.format(1095), others, "later")
    old, new = tmp_path / "learned/models/risk.json", tmp_path / "new.json"
    done = command(old, "--with", found / "result.json", "--out", new, "--lang", "fr")
    assert done.exit_code == 0, done.output
    a, b = (facts(found)[f"recalibration_{part}"] for part in ("intercept", "slope"))
    frame = people(7)["h0"]
    assert loglog(risks(read(new), frame)) == pytest.approx(a + b * loglog(risks(read(old), frame)), rel=1e-9)
    was, now = (as_column(read(f), others, "Surv(time, event)", times=1095.0) for f in (old, new))
    assert was["observed/expected"] > 1.2
    assert now["observed/expected"] == pytest.approx(1, abs=0.03)
    assert now["calibration slope"] == pytest.approx(1, abs=0.15)
    assert "log-log complémentaire du risque" in (tmp_path / "new.card.md").read_text()


def test_hazard_ratios_are_raised_to_the_slope() -> None:
    frame = patients(200, 3)
    assert risks(recalibrated(HAZARDS, 0.0, 0.6), frame) == pytest.approx(risks(HAZARDS, frame) ** 0.6, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "slope", "says"),
    [
        (FOREST, -0.2, "the other way"), (FOREST, float("nan"), "the other way"),
        (replace(FOREST, objective="poisson"), 1.0, "by its logit"),
        (replace(LOGISTIC, link="log"), 1.0, "by its logit"),
    ],
)  # fmt: skip
def test_what_has_no_line(model: Any, slope: float, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        recalibrated(model, 0.1, slope)


# Files ------------------------------------------------------------------------------------------------------------


def people(seed: int, shift: float = 0.0) -> dict[str, pd.DataFrame]:
    """Three hospitals, where more people are ill, and fall ill sooner, with a shift."""
    frame = patients(2400, seed).assign(pid=[f"p{i}" for i in range(2400)])
    rng = np.random.default_rng(seed)
    frame["ill"] = (rng.random(2400) < special.expit(shift - 0.5 + 1.4 * frame["x1"])).astype(float)
    own = rng.exponential(2000 * np.exp(-shift - 0.8 * frame["x1"]))
    end = rng.uniform(200, 2500, 2400)
    frame["time"], frame["event"] = np.ceil(np.minimum(own, end)), (own <= end).astype(float)
    return {f"h{i}": frame[i::3] for i in range(3)}


def run(folder: Path, text: str, hospitals: dict[str, pd.DataFrame], name: str) -> Path:
    (folder / f"{name}.toml").write_text(text)
    delivered(cf.local(hospitals).run(folder / f"{name}.toml"), folder / name, "en")
    return folder / name


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees with sets of classes, and Cox's model; and evaluations of both among others."""
    folder = tmp_path_factory.mktemp("recalibrated")
    text = HEAD.format("one") + '[disclosure]\nallow = ["histograms"]\n'
    text += '[[analysis]]\nname = "risk"\nmethod = "boosting"\noutcome = "ill"\nfeatures = ["x1", "x2"]\n'
    text += "trees = 10\ndepth = 2\nlearning_rate = 0.3\nholdout = 0.4\nconformal = 0.2\n"
    text += '[[analysis]]\nname = "hazard"\nmethod = "cox"\nformula = "Surv(time, event) ~ x1 + x2"\n'
    run(folder, text, people(3), "learned")
    others = people(4, 0.8)
    of = 'outcome = "ill"\nlearnt = "learned/models/risk.json"\n'
    run(folder, LATER.format("later") + of, others, "later")
    of = 'outcome = "Surv(time, event)"\nlearnt = "learned/models/hazard.json"\ntimes = 1095\nbaseline = 0.65\n'
    run(folder, LATER.format("sooner") + of, others, "sooner")
    return folder


def command(*given: Any) -> Any:
    return CliRunner().invoke(app, ["recalibrate", *map(str, given)])


def facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())["analyses"][0]["facts"]
    return found


def metrics(found: Any) -> dict[str, float]:
    return {r["metric"]: r["estimate"] for r in found.tables["metrics"] if not r.get("subgroup")}


def as_column(
    model: Any, hospitals: dict[str, pd.DataFrame], outcome: str, baseline: Any = None, times: float | None = None
) -> dict[str, float]:
    """How good a model's own risks are, as each hospital predicts them into a column."""
    frames = []
    for frame in hospitals.values():
        risk = risks(model, frame)
        frames.append(frame.assign(risk=1 - baseline["survival"] ** risk if baseline else risk))
    times = baseline["times"] if baseline else times
    return metrics(fit(Evaluate(outcome, "risk", times=times, ground=GROUND), frames, GATE))


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_new_file_predicts_the_risks_put_right(learned: Path, tmp_path: Path, lang: str) -> None:
    old, new = learned / "learned" / "models" / "risk.json", tmp_path / "risk2.json"
    before = old.read_bytes()
    done = command(old, "--with", learned / "later" / "result.json", "--out", new, "--lang", lang)
    assert done.exit_code == 0, done.output
    assert old.read_bytes() == before
    assert {f.name for f in tmp_path.iterdir()} == {"risk2.json", "risk2.card.md", "risk2.xgboost.json", "risk2.onnx"}
    frame = people(7)["h0"]
    frame.to_csv(tmp_path / "people.csv", index=False)
    one, other = (
        listed(read(f), str(tmp_path / "people.csv"), "pid", sets=sets_of(f)).set_index("pid").loc[frame["pid"]]
        for f in (old, new)
    )
    told = facts(learned / "later")
    a, b = told["recalibration_intercept"], told["recalibration_slope"]
    assert a > 0.5
    p = one["prediction"].to_numpy()
    assert other["prediction"].to_numpy() == pytest.approx(special.expit(a + b * special.logit(p)), abs=1e-12)
    assert [{*a.split(", ")} for a in one["set"]] == [{*b.split(", ")} for b in other["set"]]
    assert one["abstains"].tolist() == other["abstains"].tolist()
    plain, was = json.loads(new.read_text()), json.loads(before)
    card = plain["card"]
    assert card["model"]["sha256"] == read(new).sha256 != was["card"]["model"]["sha256"]
    assert card["recalibration"]["of"] == was["card"]["model"]["sha256"]
    assert (
        card["recalibration"]["evaluation"]["hash"]
        == json.loads((learned / "later/result.json").read_text())["study"]["hash"]
    )
    assert {r["metric"] for r in card["metrics"]} == {"AUC"}
    assert card["release"] == {}
    page = (tmp_path / "risk2.card.md").read_text()
    assert "## Recalibration" in page
    assert ("Fait de" if lang == "fr" else "Made of") in page
    home = Home.make(tmp_path / "h", "curie", {}, "")
    sign_model(home, new)
    assert json.loads(new.read_text())["signatures"].keys() == {"curie"}


def test_it_is_right_among_these_people(learned: Path, tmp_path: Path) -> None:
    """By their own risks, nearly: the evaluation of a learned model takes everybody in a cell alike."""
    new = tmp_path / "risk2.json"
    command(learned / "learned/models/risk.json", "--with", learned / "later/result.json", "--out", new)
    was, now = (as_column(read(f), people(4, 0.8), "ill") for f in (learned / "learned/models/risk.json", new))
    assert was["calibration in the large"] > 0.4
    assert now["calibration in the large"] == pytest.approx(0, abs=0.06)
    assert now["calibration slope"] == pytest.approx(1, abs=0.1)
    assert now["Brier score"] < was["Brier score"]


def test_of_hazards_the_baseline_is_in_the_file(learned: Path, tmp_path: Path) -> None:
    old, new = learned / "learned/models/hazard.json", tmp_path / "hazard2.json"
    done = command(old, "--with", learned / "sooner/result.json", "--out", new)
    assert done.exit_code == 0, done.output
    told, plain = facts(learned / "sooner"), json.loads(new.read_text())
    a, b = told["recalibration_intercept"], told["recalibration_slope"]
    frame = people(7)["h0"]
    ratio, raised = risks(read(old), frame), risks(read(new), frame)
    assert raised == pytest.approx(ratio**b, rel=1e-12)
    before = 1 - 0.65**ratio
    expected = -np.expm1(-np.exp(a + b * np.log(-np.log1p(-before))))
    assert 1 - plain["baseline"]["survival"] ** raised == pytest.approx(expected, rel=1e-10)
    frame.to_csv(tmp_path / "people.csv", index=False)
    given = [new, "--table", tmp_path / "people.csv", "--person", "pid", "--out", tmp_path / "list.csv"]
    done = CliRunner().invoke(app, ["predict", *map(str, given)])
    assert done.exit_code == 0, done.output
    assert "risk: probability of it by the time 1095" in done.output
    assert "- **By when**: 1,095" in new.with_suffix(".card.md").read_text()
    table = pd.read_csv(tmp_path / "list.csv").set_index("pid").loc[frame["pid"]]
    assert table["risk"].to_numpy() == pytest.approx(expected, rel=1e-10)
    now = as_column(read(new), people(4, 0.8), "Surv(time, event)", plain["baseline"])
    assert now["observed/expected"] == pytest.approx(1, abs=0.02)
    assert now["calibration slope"] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("link", ["logit", "cox"])
def test_a_published_model_becomes_a_file(tmp_path: Path, link: str) -> None:
    hospitals = people(4, 0.8)
    if link == "logit":
        of = 'outcome = "ill"\nmodel = "x1 + x2"\n[analysis.coefficients]\nIntercept = -0.4\nx1 = 0.9\nx2 = 0.1\n'
    else:
        of = 'outcome = "Surv(time, event)"\nmodel = "x1 + x2"\nlink = "cox"\ntimes = 1095\nbaseline = 0.65\n'
        of += "[analysis.coefficients]\nx1 = 0.6\nx2 = 0.02\n"
    text = LATER.format("published").replace("[[analysis]]", '[data.columns.x1]\nunit = "cm"\n[[analysis]]') + of
    folder = run(tmp_path, text, hospitals, "found")
    new = tmp_path / "new.json"
    done = command("--with", folder / "result.json", "--out", new)
    assert done.exit_code == 0, done.output
    told, frame = facts(folder), people(7)["h0"]
    a, b = told["recalibration_intercept"], told["recalibration_slope"]
    x1, x2 = frame["x1"].to_numpy(), frame["x2"].to_numpy()
    if link == "logit":
        assert risks(read(new), frame) == pytest.approx(special.expit(a + b * (-0.4 + 0.9 * x1 + 0.1 * x2)), rel=1e-12)
    else:
        assert risks(read(new), frame) == pytest.approx(np.exp(b * (0.6 * x1 + 0.02 * x2)), rel=1e-12)
    plain = json.loads(new.read_text())
    now = as_column(read(new), hospitals, "ill" if link == "logit" else "Surv(time, event)", plain.get("baseline"))
    assert now["observed/expected"] == pytest.approx(1, abs=1e-6 if link == "logit" else 0.005)
    assert now["calibration slope"] == pytest.approx(1, abs=1e-6 if link == "logit" else 0.02)
    card = plain["card"]
    assert card["recalibration"]["of"] == ""
    assert card["model"]["licence"] == "CC BY 4.0"
    assert card["model"]["method"] == ("cox" if link == "cox" else "logistic")
    left = json.loads((folder / "result.json").read_text())["left"]
    many = sum(math.prod(a["shape"]) * a["rounds"] for a in left if a["kind"] == "ask")
    read_here = {"logit": 3, "cox": 4}[link]  # the outcome, or time and event; x1 and x2
    told_of = card["attacks"]["reconstruction"]
    assert (told_of["numbers_left"], told_of["values_held"]) == (many, 2400 * read_here)
    assert many > 100
    assert card["population"]["columns"]["x1"]["unit"] == "cm"
    assert "trained" not in card["population"]
    page = (tmp_path / "new.card.md").read_text()
    assert "A published model" in page
    assert f"{many:,} numbers left" in page
    assert "- **x1**: cm" in page
    assert "Trained on" not in page


def test_what_is_refused(learned: Path, tmp_path: Path) -> None:
    risk, hazard = (learned / "learned/models" / f"{name}.json" for name in ("risk", "hazard"))
    later, sooner = learned / "later/result.json", learned / "sooner/result.json"
    taken = tmp_path / "taken.json"
    taken.write_text("{}")
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(read(risk).plain()))
    old = tmp_path / "old.json"  # as before there were facts of it
    plain = json.loads(sooner.read_text())
    plain["analyses"][0]["facts"] = {k: v for k, v in plain["analyses"][0]["facts"].items() if "recal" not in k}
    old.write_text(json.dumps(plain))
    out = tmp_path / "new.json"
    for given, says in (
        ([risk, "--with", sooner, "--out", out], "no evaluation of model"),
        ([risk, "--with", later, "--out", taken], "not there yet"),
        ([risk, "--with", later, "--out", risk], "not there yet"),
        ([risk, "--with", later, "--out", tmp_path / "new.txt"], "give NAME.json"),
        ([bare, "--with", later, "--out", out], "has no card"),
        ([hazard, "--with", old, "--out", out], "found no intercept and slope"),
        ([risk, "--with", later, "--out", out, "--analysis", "other"], "name one of the evaluations"),
        (["--with", later, "--out", out], "of a learned one give its file"),
        (["--with", taken, "--out", out], "is no result"),
    ):
        done = command(*given)
        assert isinstance(done.exception, StudyError), done.output
        assert says in str(done.exception)
    assert not out.exists()


@pytest.mark.parametrize("taken", ["new.json", "new.xgboost.json", "new.card.md"])
def test_no_file_of_a_model_is_written_over(learned: Path, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("another model's")
    done = command(learned / "learned/models/risk.json", "--with", learned / "later/result.json", "--out",
                   tmp_path / "new.json")  # fmt: skip
    assert isinstance(done.exception, StudyError), done.output
    assert f"{taken} is there" in str(done.exception)
    assert [f.name for f in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "another model's"


def test_a_full_disk_leaves_no_part_of_a_model(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_bytes, list[Path]()

    def full(file: Path, content: bytes) -> int:
        written.append(file)
        if len(written) == 2:
            write(file, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    done = command(learned / "learned/models/risk.json", "--with", learned / "later/result.json", "--out",
                   tmp_path / "new.json")  # fmt: skip
    assert "No space left" in str(done.exception)
    assert len(written) == 2
    assert not list(tmp_path.iterdir())


def test_a_risk_without_a_time_is_not_put_right_by_people_followed(learned: Path, tmp_path: Path) -> None:
    of = 'outcome = "Surv(time, event)"\nlearnt = "learned/models/risk.json"\ntimes = 1095\n'
    folder = run(learned, LATER.format("followed") + of, people(4), "followed")
    risk = learned / "learned/models/risk.json"
    done = command(risk, "--with", folder / "result.json", "--out", tmp_path / "new.json")
    assert "has no time" in str(done.exception)
    report = (folder / "report.html").read_text()  # which says so where the line stands
    assert "Of any other model without a baseline confrere recalibrate refuses it" in report
    assert CliRunner().invoke(app, ["card", str(risk), "--with", str(folder / "result.json")]).exit_code == 0
    assert "- **By when**: 1,095" in risk.with_suffix(".card.md").read_text()
    for taken in ("later", "sooner"):
        report = (learned / taken / "report.html").read_text()
        assert "For confrere recalibrate, with this result." in report
        assert "refuses it" not in report


def test_a_line_of_risks_of_a_column_is_for_whoever_computes_them() -> None:
    facts: dict[str, Any] = {"recalibration_intercept": 0.1, "recalibration_slope": 0.9}
    for lang, says in (("en", "there is none for confrere"), ("fr", "confrere recalibrate n’en a aucun")):
        told = _facts({"facts": facts, "settings": {"risk": "score"}}, Words("fr" if lang == "fr" else "en"))
        assert says in told[-1][1]
    without = _facts({"facts": {**facts, "recalibration_slope": None}, "settings": {"risk": "score"}}, Words())
    assert [name for name, _ in without] == ["Intercept of the recalibration"]


def test_limits_of_sets_move_with_the_scores() -> None:
    from confrere.console.recalibrate import _sets

    sets = Conformal(0.1, ("no", "yes"), (-0.5, ALWAYS), (20, 20))
    moved = Conformal.from_plain(_sets(sets.plain(), 0.4, 1.5))
    score = np.linspace(-3, 3, 101)
    assert (moved.sets(margins("binary", 0.4 + 1.5 * score)) == sets.sets(margins("binary", score))).all()
