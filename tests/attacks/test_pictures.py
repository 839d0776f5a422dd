"""Bags of images in several studies: with one picture more, or another, the difference is of whom it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.histories import K
from attacks.test_rules_coordinator import at_first, conducted
from confrere.data import bags
from confrere.data.bags import Bags
from confrere.data.table import Table
from confrere.errors import Refused, StudyError
from confrere.hospital.differencing import Answered, Judgement
from confrere.hospital.home import Home
from confrere.hospital.populations import Here, cohorts_of
from confrere.study import build
from confrere.study.file import Study, parse
from engines.conftest import beginning, place  # noqa: F401
from engines.inprocess import NAMES
from engines.inprocess import told as ledger
from engines.test_desk import run
from federate import table

N, TARGET = 200, 7
HEAD = """
[study]
id = "{id}"
purpose = "public-interest research"
[data]
table = "t"
person = "pid"
bags = ["images"]
[data.columns.label]
levels = ["a", "b"]
"""
NETWORK = """
[disclosure]
allow = ["model_weights"]
[[analysis]]
name = "net"
method = "network"
outcome = "y"
objective = "squared"
bags = "images"
bag_size = 2
module = "mean_pool"
holdout = {holdout}
"""
SIMILAR = """
[[analysis]]
name = "near"
method = "similar_cases"
outcome = "label"
bags = "images"
question = [{at}, 0.0]
neighbours = 40
"""
LINEAR = """
[[analysis]]
name = "all"
method = "linear"
formula = "y ~ age"
"""


def net(holdout: float = 0.2) -> Study:
    return parse(HEAD.format(id="net") + NETWORK.format(holdout=holdout))


def near(at: float = 0.0) -> Study:
    return parse(HEAD.format(id="near") + SIMILAR.format(at=at))


def linear() -> Study:
    return parse(HEAD.format(id="all") + LINEAR)


def people() -> Table:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"pid": [f"p{i}" for i in range(N)], "y": rng.normal(size=N), "age": np.arange(N) % 60.0})
    return table(frame.assign(label=pd.Categorical(np.where(rng.random(N) < 0.5, "a", "b"), ["a", "b"])))


def pictures(**more: int) -> dict[str, np.ndarray]:
    """Two pictures of everybody, and of these people so many more, or fewer."""
    rng = np.random.default_rng(2)
    return {f"p{i}": rng.normal(size=(3, 2))[: 2 + more.get(f"p{i}", 0)] for i in range(N)}


class Guard:
    """What a hospital says to one study after the other."""

    def __init__(self, path: Path) -> None:
        self.answered = Answered(path / "answered.sqlite", bytes(32))

    def ask(self, asks: Study, given: Bags, who: Table | None = None) -> Judgement:
        who = who or people()
        whole = replace(who, bags={"images": given.only(who.frame["pid"])})
        here = Here("here", ("here", "lyon", "metz"), "2026-11", K, tuple(who.frame["pid"]))
        return self.answered.admit(asks.hash, cohorts_of(asks, build.analyses(asks), whole, here), K)


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    pytest.importorskip("torch")
    return Guard(tmp_path)


@pytest.mark.parametrize("more", [{"p7": 1}, {"p7": -1}, {"p7": -2}, {"p7": 1, "p8": 1}])
@pytest.mark.parametrize("asks", [net, near])
def test_another_picture_of_few_people_is_refused(guard: Guard, asks: type, more: dict[str, int]) -> None:
    first, then = (Bags.made(made, 2) for made in (pictures(), pictures(**more)))
    assert guard.ask(asks(), first).ok
    said = guard.ask(asks(), then)
    assert not said.ok
    assert said.about == "bags" or more == {"p7": -2}
    assert guard.ask(asks(), first).ok


def test_a_picture_that_was_replaced_is_seen_by_what_is_in_it(guard: Guard) -> None:
    first, then = pictures(), pictures()
    then["p7"] = then["p7"] + 1
    assert guard.ask(net(), Bags.made(first, 2)).ok
    assert not guard.ask(net(), Bags.made(then, 2)).ok


def test_refused_alike_whether_few_or_none_came(guard: Guard) -> None:
    """Other bags of the very people are refused in the same words as bags with one person more."""
    rest = {person: rows for person, rows in pictures().items() if person not in ("p7", "p8")}
    assert guard.ask(net(), Bags.made(rest, 2)).ok
    more = [{**rest, "p9": pictures(p9=1)["p9"]}, {**rest, "p7": pictures()["p7"]}]
    assert [guard.ask(net(), Bags.made(made, 2)).about for made in more] == ["bags", "people"]


def test_the_same_bags_written_again_are_the_same(guard: Guard, tmp_path: Path) -> None:
    """Extracted anew on another day: the features are what counts, not the file."""
    one, other = (bags.write(tmp_path / f"{i}.bags", pictures().items(), {"encoder": "x"}) for i in range(2))
    assert guard.ask(net(), one).ok
    assert guard.ask(net(), other).ok


def test_pictures_of_enough_more_people_are_answered(guard: Guard) -> None:
    few = {person: rows for person, rows in pictures().items() if int(person[1:]) >= 2 * K}
    assert guard.ask(net(), Bags.made(few, 2)).ok
    assert guard.ask(net(), Bags.made(pictures(), 2)).ok


@pytest.mark.parametrize("without", [(), (TARGET,), tuple(range(K))])
def test_who_has_no_picture_is_no_filter(guard: Guard, without: tuple[int, ...]) -> None:
    """A study of everybody, and one of those with a picture: as for a column that few miss."""
    given = Bags.made({p: rows for p, rows in pictures().items() if int(p[1:]) not in without}, 2)
    assert guard.ask(linear(), given).ok
    assert guard.ask(net(), given).ok is (len(without) in (0, K))


def test_the_same_people_with_and_without_their_pictures_are_answered(guard: Guard) -> None:
    """The control: another method, another question that is far, another share: the same people and bags."""
    given = Bags.made(pictures(), 2)
    asked = [linear(), net(), near(), net(holdout=0.3), near(at=2.0), linear()]
    assert [guard.ask(one, given).ok for one in asked] == [True] * 6


# While a run is under way --------------------------------------------------------------------------------------


ASKED = """
[study]
id = "pictures"
title = "t"
purpose = "public-interest research"
[data]
table = "breast"
person = "pid"
bags = ["images"]
[data.columns.size]
levels = ["<=20", "20-50", ">50"]
[[analysis]]
name = "near"
method = "similar_cases"
outcome = "size"
bags = "images"
bag_recipe = "x"
question = [0.0, 0.0]
neighbours = 150
"""


@pytest.fixture
def bagged(place: Path) -> Path:  # noqa: F811
    """Hospitals with bags of everybody, which have approved the study."""
    rng = np.random.default_rng(3)
    for name in NAMES:
        ids = pd.read_csv(place / name / "breast.csv")["pid"]
        bags.write(place / name / "images.bags", ((str(i), rng.normal(size=(1, 2))) for i in ids), {"encoder": "x"})
        file = place / name / "hospital.toml"
        text = file.read_text().replace('"breast.csv"', '{path = "breast.csv", person = "pid"}')
        file.write_text('[data.bags]\nimages = "images.bags"\n' + text)
        Home(place / name).approve(ASKED)
    return place


def taken_back(folder: Path) -> None:
    """As a bank does when a consent is revoked: the folder is set aside, and written anew without the picture."""
    before = Bags.open(folder)
    rows = {person: before.of(person) for person in before.people[1:]}
    folder.rename(folder.with_name("aside"))
    bags.write(folder, rows.items(), {"encoder": "x"})


@pytest.mark.parametrize("when", ["round", "settle"])
def test_a_consent_taken_back_stops_a_run(bagged: Path, when: str) -> None:
    with pytest.raises(Refused):
        conducted(bagged, at_first(when, lambda: taken_back(bagged / "lyon" / "images.bags")), ASKED)
    assert "a consent is taken back" in ledger(bagged / "lyon")
    if when == "round":  # nothing had been asked here: it begins with what remains
        assert run(bagged, text=ASKED).findings
    else:
        with pytest.raises(Refused):
            run(bagged, text=ASKED)


def test_control_with_the_same_pictures_it_is_answered(bagged: Path) -> None:
    assert run(bagged, text=ASKED).findings


def test_bags_made_otherwise_are_refused_before_a_sum_and_the_reason_stays(bagged: Path) -> None:
    folder = bagged / "lyon" / "images.bags"
    before = Bags.open(folder)
    folder.rename(folder.with_name("aside"))
    bags.write(folder, ((person, before.of(person)) for person in before.people), {"encoder": "another"})
    with pytest.raises(Refused) as refused:
        run(bagged, text=ASKED)
    assert "another" not in str(refused.value)
    assert '"error": "DataError"' in ledger(bagged / "lyon")
    assert '"event": "answered"' not in ledger(bagged / "lyon")
    with pytest.raises(StudyError, match="is 'another', and that of the study"):  # as its steward reads it
        Home(bagged / "lyon").approve(ASKED)
