"""Questions that move by little: what two neighbourhoods that differ by few people would tell, and who refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.console.local import Local
from confrere.data import sources
from confrere.errors import Refused, StudyError, UserError
from confrere.hospital.differencing import Answered
from confrere.hospital.home import Home
from confrere.hospital.populations import Here, cohorts_of
from confrere.study import build
from confrere.study.file import Study, parse
from confrere.testing import LOOSE, fit
from confrere.testing.runs import masked, typed

K = 11
MEMBERS = ("h0", "h1", "h2")
STUDY = """
[study]
id = "{id}"
title = "t"
purpose = "public-interest research"
[data]
table = "skin"
[data.columns.label]
levels = ["a", "b"]
"""
ASKED = """
[[analysis]]
name = "{name}"
method = "similar_cases"
outcome = "label"
features = ["x", "y"]
question = {question}
neighbours = 40
"""


def frame_of(seed: int, n: int = 400) -> pd.DataFrame:
    """People of two labels that mix."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    label = np.where(rng.random(n) < 0.5, "a", "b")
    return pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "label": label})


def study(*questions: tuple[float, float], id: str = "one") -> Study:
    """A study that asks these questions."""
    parts = [ASKED.format(name=f"q{i}", question=list(q)) for i, q in enumerate(questions)]
    return parse(STUDY.format(id=id) + "".join(parts))


def tables() -> list[pd.DataFrame]:
    return [typed(frame_of(h), study((0.0, 0.0)).schema) for h in range(3)]


def near(frame: pd.DataFrame, question: tuple[float, float]) -> set[int]:
    """The 40 nearest, the slow obvious way."""
    away = sorted(
        (float(np.hypot(x - question[0], y - question[1])), i)
        for i, (x, y) in enumerate(zip(frame.x, frame.y, strict=True))
    )
    return {i for _, i in away[:40]}


def step(frames: list[pd.DataFrame]) -> tuple[float, float]:
    """A question so near to (0, 0) that the neighbourhoods of all hospitals differ by one person."""
    for e in np.linspace(0.001, 0.3, 300):
        gone = sum(len(near(f, (0.0, 0.0)) - near(f, (float(e), 0.0))) for f in frames)
        if gone == 1:
            return (float(e), 0.0)
    raise AssertionError("no such question")


def votes(frames: list[pd.DataFrame], question: tuple[float, float]) -> dict[str, int]:
    (analysis,) = build.analyses(study(question))
    return {row["label"]: row["n"] for row in fit(analysis, frames, LOOSE).tables["votes"]}


def labels(frames: list[pd.DataFrame], one: tuple[float, float], other: tuple[float, float]) -> dict[str, int]:
    """Whom the second neighbourhood has and the first has not, less the reverse, by label."""
    found = {"a": 0, "b": 0}
    for frame in frames:
        for i in near(frame, other) - near(frame, one):
            found[frame.label[i]] += 1
        for i in near(frame, one) - near(frame, other):
            found[frame.label[i]] -= 1
    return found


def test_control_without_a_guard_two_answers_tell_of_two_people() -> None:
    """What the guards are for: the difference of two answers is that of the two people who changed places."""
    frames = tables()
    moved = step(frames)
    before, after = votes(frames, (0.0, 0.0)), votes(frames, moved)
    told = {label: after[label] - before[label] for label in before}
    assert told == labels(frames, (0.0, 0.0), moved)
    assert sum(map(abs, told.values())) <= 2


def test_two_near_questions_of_one_study_are_refused() -> None:
    """By the whole of it: masks, gates, and what hospitals look at before an analysis begins."""
    hospitals = {f"h{h}": frame_of(h) for h in range(3)}
    with pytest.raises((Refused, UserError), match=r"fewer than 11|told by subtraction"):
        Local(hospitals).run(study((0.0, 0.0), step(tables())))
    found = Local(hospitals).run(study((-1.0, -1.0), (1.0, 1.0)))
    assert [f.n for f in found.findings.values()] == [120, 120]


@pytest.mark.parametrize(("question", "answered"), [((0.0, 0.0), True), (None, False), ((1.5, 1.0), True)])
def test_a_later_study_with_a_near_question_is_refused(question: Any, answered: bool, tmp_path: Path) -> None:
    """At its hospital: the same again passes, one that moves by little does not, a far one does."""
    frame = typed(frame_of(1), study((0.0, 0.0)).schema)
    table = sources.read(frame, ["label", "x", "y"], study((0.0, 0.0)).schema, None)
    moved = next(
        (float(e), 0.0) for e in np.linspace(0.001, 0.3, 300)
        if 0 < len(near(frame, (0.0, 0.0)) ^ near(frame, (float(e), 0.0))) < K
    )  # fmt: skip
    past = Answered(tmp_path / "answered.sqlite", bytes(32))
    here = Here("h0", MEMBERS, "cut", K, [f"p{i}" for i in range(len(frame))])
    said = []
    for asked in (study((0.0, 0.0)), study(question or moved, id="two")):
        cohorts = cohorts_of(asked, build.analyses(asked), table, here)
        said.append(past.admit(asked.hash, cohorts, K).ok)
    assert said == [True, answered]


def test_a_hospital_answers_a_limited_number_of_questions(tmp_path: Path) -> None:
    """Of all studies together, by the ledger: also of those that were revoked since."""
    frame_of(1).assign(pid=range(400)).to_csv(tmp_path / "skin.csv", index=False)
    home = Home.make(tmp_path / "home", "h0", {"skin": str(tmp_path / "skin.csv")}, person="pid")
    toml = home.path / "hospital.toml"
    text = toml.read_text(encoding="utf-8")
    toml.write_text(text.replace("allow = []", "allow = []\nquestions = 3"), encoding="utf-8")
    home = Home(home.path)
    first = study((-1.5, -1.0), (1.5, 1.0))
    home.approve(_text(first), "ada")
    home.decide(first.hash, "revoke", "ada", "enough")
    assert [e.facts["questions"] for e in home.ledger.entries(event="approved")] == [2]
    more = study((-1.5, 1.0), (1.5, -1.0), id="two")
    assert [why for why in home.check(more, data=False) if "questions" in why] == [
        "it asks 2 questions of similar cases, 2 were approved before, and `questions` allows 3 in all"
    ]
    with pytest.raises(StudyError, match="questions"):
        home.approve(_text(more), "ada")
    assert not [why for why in home.check(study((-1.5, 1.0), id="two"), data=False) if "questions" in why]


def _text(asked: Study) -> str:
    questions = [json.loads(str(list(spec.settings["question"]))) for spec in asked.analyses]
    parts = [ASKED.format(name=f"q{i}", question=q) for i, q in enumerate(questions)]
    return STUDY.format(id=asked.id) + "".join(parts)


def test_labels_of_few_are_hidden_and_cannot_be_had_by_subtraction() -> None:
    """Masks and the gate: a label of fewer than k people, and with it another, have no count."""
    asked = study((0.0, 0.0))
    (analysis,) = build.analyses(asked)
    frames = {}
    for h in range(3):
        frame = frame_of(h)
        order = np.argsort(np.hypot(frame.x, frame.y))
        frame["label"] = "b"
        frame.loc[order[:2], "label"] = "a"  # 6 people of the network
        frames[f"h{h}"] = typed(frame, asked.schema)
    rows = next(iter(masked(analysis, frames).findings.values())).tables["votes"]
    assert [row.get("suppressed", False) for row in rows] == [True, True]
