"""Trackers: studies that are harmless by themselves and tell about one person together (DESIGN 4.4).

Denning, Denning & Schwartz, ACM TODS 1979;4:76. What selects people is who misses a column, and cuts in formulas.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.histories import History, K, asked, selecting, study
from confrere.errors import DataError
from confrere.hospital.differencing import Answered
from confrere.study import build
from confrere.study.cuts import told
from confrere.study.file import Study, parse

N, TARGET = 400, 7
KEY = bytes(32)


def history(path: Path, frame: pd.DataFrame, strict: bool = False) -> History:
    """A hospital that has answered nothing."""
    return History(Answered(path / "answered.sqlite", KEY), frame, strict)


def everyone(but: int | None = None) -> set[int]:
    return set(range(N)) - {but}


@pytest.mark.parametrize("order", list(itertools.permutations(["y ~ ab", "y ~ a", "y ~ b"])))
def test_a_tracker_is_refused_in_any_order(tmp_path: Path, order: tuple[str, ...]):
    """{A + B, A without the target, B}: the sum of the first less the others is the target."""
    a, b = set(range(200)), set(range(200, N))
    past = history(tmp_path, selecting(N, ab=a | b, a=a - {TARGET}, b=b))
    assert [past.ask(f) for f in order] == [True, True, False]


def test_the_same_without_a_target_is_refused_alike(tmp_path: Path):
    """A + B, A, B: nobody remains. Were it answered, the refusal above would say that somebody does."""
    a, b = set(range(200)), set(range(200, N))
    tables = {True: a - {TARGET}, False: a}
    said = []
    for which, people in tables.items():
        (tmp_path / str(which)).mkdir()
        # somebody else misses ab, so that it has gaps in both worlds
        past = history(tmp_path / str(which), selecting(N + 50, ab=a | b, a=people, b=b))
        said.append([past.ask("y ~ ab"), past.ask("y ~ a"), past.ask("y ~ b")])
    assert said[0] == said[1] == [True, True, False]


def test_the_difference_of_two_studies_of_few_or_nobody_is_refused_in_the_same_words(tmp_path: Path):
    said = set()
    for few in (0, 1, 5, K - 1):
        (tmp_path / str(few)).mkdir()
        past = history(tmp_path / str(few), selecting(N + 50, a=range(N), b=range(N - few)))
        assert [past.ask("y ~ a"), past.ask("y ~ b")] == [True, False]
        said.add(past.said[-1].why)
    (why,) = said
    assert "fewer than 11 people, or on none" in why
    assert study("y ~ a").hash[:12] in why


def test_the_difference_of_two_studies_of_k_people_is_answered(tmp_path: Path):
    past = history(tmp_path, selecting(N + 50, a=range(N), b=range(N - K)))
    assert [past.ask("y ~ a"), past.ask("y ~ b")] == [True, True]


def test_repeated_subgroups_are_answered_and_their_neighbours_refused(tmp_path: Path):
    """The same subgroup as often as one likes; one that leaves out a person never, however it is come by."""
    past = history(tmp_path, selecting(N, a=everyone(), sub=range(100), less=set(range(100)) - {TARGET}))
    assert past.ask("y ~ sub")
    assert all(past.ask("y ~ sub + a", "y ~ age + sub") for _ in range(3))
    assert not past.ask("y ~ less")
    assert not past.ask("y ~ less + a")
    assert past.ask("y ~ sub")


def test_three_way_combinations_pass_pairwise_and_are_refused(tmp_path: Path):
    """Every two of A, B and C differ by 100 people at least; A + B - C (of who is in two of them) is one person."""
    a, b = set(range(150)), set(range(100, 250))
    c = (a ^ b) | {TARGET + 100}  # of the common people one alone
    sets = {"a": a, "b": b, "c": c, "both": a & b}
    assert all(len(x ^ y) >= K for x, y in itertools.combinations(sets.values(), 2))
    past = history(tmp_path, selecting(N, **sets))
    # A + B = C + 2 (A n B) but for the target
    assert [past.ask(f"y ~ {name}") for name in sets] == [True, True, True, False]
    assert {a.study for a in past.said[-1].earlier} == {
        study(f"y ~ {name}").hash for name in ("a", "b", "c")
    }  # fmt: skip


@pytest.mark.parametrize("members", [("here", "lyon", "metz", "nice"), ("here", "lyon", "nice"), ("here", "metz")])
def test_a_hospital_that_joined_or_left_would_be_seen_alone(tmp_path: Path, members: tuple[str, ...]):
    past = history(tmp_path, selecting(N, a=range(300)))
    assert past.ask("y ~ a")
    assert not past.ask("y ~ a", members=members)
    assert past.said[-1].about == "hospitals"


def test_three_hospitals_that_joined_hide_one_another_unless_two_left_before(tmp_path: Path):
    past = history(tmp_path, selecting(N, a=range(300)))
    first, six = ("here", "lyon", "metz"), ("here", "lyon", "metz", "nice", "pau", "sens")
    assert past.ask("y ~ a", members=first)
    assert past.ask("y ~ a", members=six)
    assert not past.ask("y ~ a", members=("here", "lyon", "metz", "nice", "pau"))
    assert past.ask("y ~ a", members=first)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("more", "answered"), [(0, False), (1, False), (K - 1, False), (K, True)])
def test_a_cut_that_grew_by_few(tmp_path: Path, more: int, answered: bool, named: bool):
    """With or without ids: who is new is at the end of the table then."""
    past = history(tmp_path, selecting(N))
    past.named = named
    assert past.ask("y ~ age")
    past.frame = selecting(N + more)
    assert past.ask("y ~ age", cut="2026-12") is answered
    assert past.ask("y ~ age") is (not more)  # the first cut again, if that is what it is


@pytest.mark.parametrize("named", [True, False])
def test_a_study_does_not_choose_who_is_who(tmp_path: Path, named: bool):
    """Two studies that name other columns as the person are about the same people."""
    past = history(tmp_path, selecting(N, a=everyone(TARGET)).assign(visit=[f"v{i}" for i in range(N)]))
    past.named = named
    assert past.ask("y ~ age", person="pid")
    assert not past.ask("y ~ a", person="visit")
    assert not past.ask("y ~ a")


@pytest.mark.parametrize("named", [True, False])
def test_a_person_column_with_gaps_moves_nobody(tmp_path: Path, named: bool):
    """Rows without the id that a study names are left out: places would shift, everybody would look like another."""
    frame = selecting(N).assign(visit=[f"v{i}" if i != TARGET else None for i in range(N)])
    past = history(tmp_path, frame)
    past.named = named
    assert past.ask("y ~ age")
    with pytest.raises(DataError, match="name the column of person ids"):
        past.ask("y ~ age", person="visit")


def test_a_cut_in_another_order_is_the_same_people(tmp_path: Path):
    """Ids, not places: a table that is written anew hides nobody."""
    past = history(tmp_path, selecting(N))
    assert past.ask("y ~ age")
    past.frame = selecting(N + 1).sample(frac=1.0, random_state=1)
    assert not past.ask("y ~ age", cut="2026-12")


def test_missingness_is_no_filter(tmp_path: Path):
    """A column that one person misses: with it and without it, one person apart."""
    past = history(tmp_path, selecting(N, a=everyone(TARGET)))
    assert past.ask("y ~ age")
    assert not past.ask("y ~ age + a")
    assert past.ask("y ~ age")


def test_case_weights_of_zero_are_no_filter(tmp_path: Path):
    frame = selecting(N).assign(w=[0.0 if i == TARGET else 1.0 for i in range(N)])
    answered = Answered(tmp_path / "answered.sqlite", KEY)
    plain, weighted = study("y ~ age"), study("y ~ age", weights='"w"')
    assert answered.admit(plain.hash, asked(plain, frame), K).ok
    assert not answered.admit(weighted.hash, asked(weighted, frame), K).ok


@pytest.mark.parametrize(
    ("first", "then", "answered"),
    [
        ("age > 60", "age > 60", True),
        ("age > 60", "age > 62", False),  # 4 or 5 people of each age: 9 between
        ("age > 60", "age >= 61", False),  # nobody between
        ("age > 60", "age > 70", True),
        ("age > 60", "age <= 59", False),  # with everybody: who is 60
    ],
)
def test_cuts_in_formulas_that_are_near(tmp_path: Path, first: str, then: str, answered: bool):
    past = history(tmp_path, selecting(N))
    assert past.ask(f"y ~ I({first})")
    assert past.ask(f"y ~ I({then})") is answered
    assert past.said[-1].about == ("" if answered else "cuts")


def of_method(method: str, **settings: str) -> Study:
    """A study of one analysis of times to events, 4 or 5 people of each age."""
    text = '[study]\nid = "s"\npurpose = "public-interest research"\n[data]\ntable = "t"\nhorizon = 3000\n'
    text += '[data.columns.period]\nlevels = ["early", "late"]\n'
    return parse(
        text
        + f'[[analysis]]\nname = "a"\nmethod = "{method}"\n'
        + "".join(f"{key} = {value}\n" for key, value in settings.items())
    )


def trials(later: str) -> Study:
    """Two trials one after the other, of which the second has another column in the place of the first's."""
    return of_method(
        "sequential_trials", outcome='"Surv(time, event)"', started='"start"', periods="[180, 360]", times="[720]",
        confounders='"I(age > 45) + x"', updated=f'[["age", "{later}"]]',
    )  # fmt: skip


def monitored(cut: float) -> Study:
    """A risk score whose input is cut by the study."""
    return of_method(
        "evaluate",
        outcome='"ill"',
        model='"x"',
        coefficients="{ Intercept = 0.0, x = 1.0 }",
        over='"period"',
        inputs=f"{{ age2 = [{cut}] }}",
    )


def followed() -> pd.DataFrame:
    """People of two ages that many are apart, times and marks."""
    frame, rng = selecting(N), np.random.default_rng(2)
    frame = frame.assign(x=rng.normal(size=N), time=rng.integers(400, 3000, N), event=rng.integers(0, 2, N))
    frame = frame.assign(age2=(frame["age"] * 7) % 90, ill=rng.integers(0, 2, N), start=np.nan)
    return frame.assign(near=frame["age2"] + (np.arange(N) == 1) * 60.0, period=pd.Categorical(["early", "late"] * 200))


@pytest.mark.parametrize(
    ("first", "then", "answered"),
    [
        (trials("age2"), study("y ~ I(age2 > 45)"), True),
        (trials("age2"), study("y ~ I(age2 > 46)"), False),
        (study("y ~ I(age2 > 46)"), trials("age2"), False),
        (trials("age2"), trials("near"), False),  # one person is on the other side of the second trial's cut
        (monitored(60.0), study("y ~ I(age2 >= 60.0)"), True),
        (monitored(60.0), study("y ~ I(age2 >= 61)"), False),
        (monitored(60.0), monitored(61.0), False),
        (monitored(60.0), monitored(70.0), True),
    ],
)
def test_cuts_of_later_trials_and_of_inputs_are_cuts(tmp_path: Path, first: Study, then: Study, answered: bool):
    """Not of the first formula alone."""
    guard, frame = Answered(tmp_path / "answered.sqlite", KEY), followed()
    said = [guard.admit(asks.hash, asked(asks, frame), K) for asks in (first, then, first)]
    assert [one.ok for one in said] == [True, answered, True]
    assert said[1].about == ("" if answered else "cuts")


def test_cuts_of_later_trials_are_told_within_a_study():
    (analysis,) = build.analyses(trials("age2"))
    assert [text for text in told(analysis) if "45" in text] == ["age > 45", "age2 > 45"]


def test_a_study_is_not_padded_with_old_cohorts(tmp_path: Path):
    """A fall that an earlier study had excuses nothing: asked again, it would hide a new one among the counts."""
    past = history(tmp_path, selecting(N, a=range(200), less=range(195), d=range(250, N), near=range(251, N)))
    assert past.ask("y ~ a", "y ~ less")  # five here, who may be many in the network: judged there
    assert past.ask("y ~ d")
    assert not past.ask("y ~ near")
    assert not past.ask("y ~ a", "y ~ less", "y ~ near")


def test_small_differences_of_two_studies_are_not_compared(tmp_path: Path):
    """Each study has its own few, of the network many: the few of the one less the few of the other are one person."""
    frame = selecting(N, a=range(200), less=range(195), b=range(40, 200), fewer=range(40, 196))
    past = history(tmp_path, frame)
    assert past.ask("y ~ a", "y ~ less")
    assert not past.ask("y ~ b", "y ~ fewer")


def test_a_study_that_the_network_may_have_made_smaller_is_not_the_same(tmp_path: Path):
    """If `a` and `less` are few apart in the network, both were answered for `less`: `a` would give those few."""
    past = history(tmp_path, selecting(N, a=range(200), less=range(199)))
    assert past.ask("y ~ a", "y ~ less")
    assert past.ask("y ~ a", "y ~ less")
    assert not past.ask("y ~ a")


def test_the_strict_scope_refuses_small_differences_within_a_study(tmp_path: Path):
    frame = selecting(N, a=range(200), less=range(195))
    assert not history(tmp_path, frame, strict=True).ask("y ~ a", "y ~ less")


def test_of_two_studies_at_once_one_is_answered(tmp_path: Path):
    """Both pass when they are looked at; `admit` looks again, and remembers."""
    frame = selecting(N, a=range(200), less=range(199))
    answered = Answered(tmp_path / "answered.sqlite", KEY)
    both = [study("y ~ a"), study("y ~ less")]
    assert all(answered.judge(asked(s, frame), K).ok for s in both)
    assert [answered.admit(s.hash, asked(s, frame), K).ok for s in both] == [True, False]
