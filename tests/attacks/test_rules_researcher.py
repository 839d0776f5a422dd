"""A researcher who chooses study files: cuts, criteria, groups, purposes and settings that single out few people.

Within one study the hospitals compare over the network (`study.cuts`), across studies each by itself
(`hospital.differencing`). What still gets through stands at the end, with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.histories import History, K, asked, selecting, study
from confrere.data import sources
from confrere.data.opposition import Register, Said
from confrere.errors import StudyError, UserError
from confrere.hospital.atoms import across
from confrere.hospital.differencing import Answered, alone
from confrere.hospital.gate import Policy, Violation, judge_clear
from confrere.hospital.manifest import manifest
from confrere.rounds import clear, drive, supported
from confrere.study import build
from confrere.study.cuts import PATTERNS, size_of
from confrere.study.file import Study, parse

N, TARGET = 900, 7
KEY = bytes(32)


def history(path: Path, frame: pd.DataFrame) -> History:
    """A hospital that has answered nothing."""
    return History(Answered(path / "answered.sqlite", KEY), frame)


def people(n: int = N, lonely: Sequence[int] = (61,)) -> pd.DataFrame:
    """n people of every age by the dozen, but one of each lonely age; of each value of two codes there are many."""
    rng = np.random.default_rng(3)
    frame = selecting(n)
    ages = [a for a in range(40, 80) if a not in lonely]
    frame["age"] = [*map(float, lonely), *(float(ages[i % len(ages)]) for i in range(n - len(lonely)))]
    frame["code"], frame["part"] = rng.integers(0, 10, n).astype(float), rng.integers(0, 10, n).astype(float)
    return frame.sample(frac=1.0, random_state=1).reset_index(drop=True)


def settled(asks: Study, frame: pd.DataFrame) -> None:
    """What three hospitals settle before the analyses of a study. Violation where they refuse."""
    built = build.analyses(asks)
    tables = [sources.read(frame[i::3], build.columns_of(built), asks.schema, asks.person) for i in range(3)]
    drive(supported(build.settled(asks, built)), clear(tables, lambda designs: judge_clear(designs, Policy())))


def refused(asks: Study, frame: pd.DataFrame) -> bool:
    """Whether the hospitals refuse."""
    try:
        settled(asks, frame)
    except Violation:
        return True
    return False


def lists(*criteria: Sequence[str]) -> Study:
    """A study of a worklist for each of some lists of criteria."""
    head = '[study]\nid = "s"\npurpose = "care"\n[data]\ntable = "t"\nperson = "pid"\n'
    parts = (
        f'[[analysis]]\nname = "w{i}"\nmethod = "worklist"\ntitle = "t{i}"\ncriteria = {list(c)!r}\n'
        for i, c in enumerate(criteria)
    )
    return parse(head + "".join(parts))


def admitted(answered: Answered, asks: Study, frame: pd.DataFrame) -> bool:
    """Whether one hospital answers a study after the earlier ones."""
    return answered.admit(asks.hash, asked(asks, frame), K).ok


# Close cuts in one study --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        ("I(age > 60)", "I(age > 60)", False),
        ("I(age > 60)", "I(age>60)", False),
        ("I(age > 60)", "I(age > 61)", True),
        ("I(age > 60)", "I(age >= 62)", True),
        ("I(age > 60)", "I(age <= 61)", True),  # the other side
        ("I(age > 60)", "I(61 < age)", True),
        ("I(age > 60)", "I(age > 60.5)", False),  # nobody between in the network
        ("I(age > 60)", "I(age > 70)", False),
        ("I(age > 60)", "I((age > 60) * (age != 61))", True),
        ("I(age > 60)", "I(age > 60):I(age != 61)", True),
        ("I(age > 60)", "I(1 - 3 * (age > 60) * (age != 61))", True),
        ("I(age > 60)", "I(1e-12 * (age > 60) * (age != 61))", True),
        ("I(log(age - 39) * (age > 60))", "I(log(age - 39) * (age > 60) * (age != 61))", True),
        ("I(age > 60)", "bs(age + 9 * (age > 61), degree=1, knots=c(60), Boundary.knots=c(0, 99))", True),
        ("I(age > 60)", "code + offset(I(age > 61))", True),
    ],
)
def test_close_cuts_of_two_analyses(one: str, other: str, close: bool) -> None:
    assert refused(study(f"y ~ {one}", f"y ~ {other}"), people()) is close


def test_a_tracker_of_three_analyses_that_differ_by_hundreds() -> None:
    """A less B less C is who is 61; every two are far apart."""
    frame = people()
    three = ["y ~ I(age > 60)", "y ~ I(age > 65)", "y ~ I((age > 61) * (age < 66))"]
    for i in range(3):
        assert not refused(study(*(t for j, t in enumerate(three) if j != i)), frame)
    assert refused(study(*three), frame)


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        (["age >= 60"], ["age >= 60"], False),
        (["age > 60"], ["age > 61"], True),
        (["age > 60"], ["not age <= 60 and age != 61"], True),
        (["age > 60", "age != 61"], ["age > 60"], True),  # told together by the one, apart by the other
        (["age > 60", "age != 61"], ["age > 60", "age != 61"], False),
        (["age > 60", "age != 61"], ["code == 3"], False),  # its own merging hides it
        (["age > 60"], ["code == 3", "part >= 2"], False),
    ],
)
def test_close_criteria_of_two_worklists(one: list[str], other: list[str], close: bool) -> None:
    assert refused(lists(one, other), people()) is close


def test_a_worklist_and_a_formula_are_held_against_each_other() -> None:
    listed = lists(["age > 60"])
    for cut, close in ((60, False), (61, True), (70, False)):
        text = f'[[analysis]]\nname = "m"\nmethod = "linear"\nformula = "y ~ I(age > {cut})"\n'
        head = '[study]\nid = "s"\npurpose = "care"\n[data]\ntable = "t"\nperson = "pid"\n'
        both = parse(
            head + '[[analysis]]\nname = "w"\nmethod = "worklist"\ntitle = "t"\ncriteria = ["age > 60"]\n' + text
        )
        assert refused(both, people()) is close
    assert not refused(listed, people())


def test_analyses_without_cuts_ask_nothing_more() -> None:
    assert not [e for e in manifest(study("y ~ age", "y ~ code", "y ~ I(age > 60)")).entries if e.method == "cuts"]
    (entry,) = [e for e in manifest(study("y ~ I(age > 60)", "y ~ I(age > 61)")).entries if e.method == "cuts"]
    assert (entry.kind, entry.step) == ("support", "design")


def test_too_many_cuts_are_an_error_beforehand() -> None:
    many = study(*(f"y ~ I(age > {40 + i}) + I(code > {i})" for i in range(8)))
    assert size_of(build.analyses(many)) > PATTERNS
    with pytest.raises(StudyError, match="patterns"):
        settled(many, people())
    with pytest.raises(StudyError, match="take 6 at most"):
        settled(study("y ~ I(" + " * ".join(f"(age > {i})" for i in range(40, 47)) + ")"), people())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_passes_is_not_made_small_by_any_combination(data: st.DataObject) -> None:
    """The slow twin: coefficients -1, 0 and 1, where no owner alone has a small combination."""
    size, k = 6, 3
    counts = np.array(data.draw(st.lists(st.integers(0, 8), min_size=size, max_size=size)))
    rows = st.lists(st.booleans(), min_size=size, max_size=size)
    owned = [np.array(data.draw(st.lists(rows, min_size=1, max_size=2))) for _ in range(2)]
    large, few = counts >= k, (counts > 0) & (counts < k)

    def small(*sets: np.ndarray) -> bool:
        every = [np.ones(size), *np.concatenate(sets).astype(float)]
        sums = ((np.array(c) - 1.0) @ np.array(every) for c in np.ndindex(*(3,) * len(every)))
        return any((total[large] == 0).all() and (total[few] != 0).any() for total in sums)

    if not across(owned, large, few) and not any(small(sets) for sets in owned):
        assert not small(*owned)


# Across studies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "then",
    [
        "I((age > 60) * (1 - (code == 3) * (part == 3) * (age == 62)))",
        "I(age > 60):I((code != 3) * 1)",
        "I(age > 60):I(age != 61)",
        "I(2 * (age > 60) * (age != 61))",
    ],
)
def test_a_product_of_cuts_is_no_way_round(tmp_path: Path, then: str) -> None:
    """Each comparison divides many, and their product leaves out few: of other columns than the first study's."""
    frame = people()
    if "code != 3" in then:  # one person of this age has this code
        frame["code"] = np.where(frame["age"] > 60, 1.0, frame["code"])
        frame.loc[frame.index[frame["age"] > 60][0], "code"] = 3.0
    past = history(tmp_path, frame)
    assert past.ask("y ~ I(age > 60)")
    assert not past.ask(f"y ~ {then}")
    assert past.said[-1].about == "cuts"
    assert past.ask("y ~ I(age > 60)")


def test_cuts_of_several_columns_are_answered_where_many_tell_them_apart(tmp_path: Path) -> None:
    past = history(tmp_path, people())
    formulas = ["I(age > 60)", "I(code > 4)", "I(part > 4)", "I(age > 60):I(code > 4)", "I(age > 60) + I(part > 4)"]
    assert all(past.ask(f"y ~ {f}") for f in formulas)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["age > 60"], ["age > 61"]),
        (["age > 60", "age != 61"], ["age > 60"]),
        (["age > 60"], ["age > 60", "age != 61"]),
        (["age > 60"], ["age > 60 and not (age == 61 and code >= 0)"]),  # with another column
        (["code >= 0", "age > 60"], ["code >= 0", "age > 61"]),
    ],
)
def test_criteria_of_two_studies_that_are_close(tmp_path: Path, one: list[str], other: list[str]) -> None:
    answered, frame = Answered(tmp_path / "answered.sqlite", KEY), people()
    assert admitted(answered, lists(one), frame)
    assert not admitted(answered, lists(other), frame)
    assert admitted(answered, lists(one), frame)


def test_criteria_of_two_studies_that_are_far_apart(tmp_path: Path) -> None:
    answered, frame = Answered(tmp_path / "answered.sqlite", KEY), people()
    assert admitted(answered, lists(["age > 60"]), frame)
    assert admitted(answered, lists(["age > 70", "code > 4"]), frame)


# Groups, names, purposes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "shown"),
    [
        (["abc"], False),
        (["abcd", "abc"], True),  # all, and all but one
        (["abcde", "abc"], True),
        (["abcdef", "abc"], False),
        (["abc", "def"], False),
        (["abc", "def", "abcdefg"], True),  # g, whom no group has
        (["abcd", "abce"], True),
        (["abcdef", "abcghi", "defghi"], False),
    ],
)
def test_groups_of_one_study_do_not_show_a_hospital(groups: list[str], shown: bool) -> None:
    assert alone([tuple(g) for g in groups]) is shown


HALVES = '\nmethod = "kmeans"\nformula = "~ a + b"\nclusters = 2\nlearn = ["a", "b", "c"]\nhold = ["d", "e", "f"]\n'


@pytest.mark.parametrize(("members", "shown"), [("abcdef", False), ("abcdefg", True)])
def test_groups_that_a_method_compares_do_not_show_a_hospital(members: str, shown: bool) -> None:
    """Clusters of all, of one half and of the other: what is left is the seventh hospital's."""
    about = '[study]\nid = "a"\npurpose = "research"\n[data]\ntable = "t"\nperson = "p"\n[[analysis]]\nname = "x"'
    study = parse(about + HALVES)
    assert alone(build.asked_of(study, build.analyses(study), tuple(members))) is shown
    with pytest.raises(StudyError, match="leave out one of the two"):
        build.analyses(parse(f'{about}\ngroup = ["a", "b", "c"]{HALVES}'))


@pytest.mark.parametrize("name", ["Age", "AGE", "a\u200bge"])
def test_a_column_in_other_letters_is_another_column(tmp_path: Path, name: str) -> None:
    """It is not there: an error that stays with the steward, and no second name for the same cut."""
    past = history(tmp_path, people())
    with pytest.raises(UserError):
        past.ask(f"y ~ I({name} > 60)")


@pytest.mark.parametrize(
    "purpose",
    [
        "Marketing",
        " marketing ",
        "mar\u200bketing",
        "ｍａｒｋｅｔｉｎｇ",
        "market\u00ading",
        "\ufeffmarketing",
        "marketing\u2060",
    ],
)
def test_a_purpose_that_looks_the_same_is_the_same(tmp_path: Path, purpose: str) -> None:
    register = Register(tmp_path / "o.sqlite")
    register.add([Said("p1", "marketing", "opposed", "2026-01-01", "letter")])
    assert register.left_out(purpose, ["p1", "p2"]) == {"p1"}
    register.close()


@pytest.mark.parametrize(
    "purpose",
    [
        "pubIic research 10",  # a capital i
        "pub1ic research l0",
        "pub|ic research 1O",
        "publıc research 10",
        "PUBLİC research 10",
        "publi\u0307c research 10",
        "public reseɑrch 10",
        "pubʟic research 10",
        "publiᴄ research 10",
        "publiϲ research 10",
        "public reꜱearch 10",
        "public reʂearch 10",
        "public-research 10",
        "public\u2010research 10",
        "public\u3164research 10",
        "public\ufe0f research 10.",
        "рublic research 10",
    ],
)
def test_a_purpose_in_letters_that_look_alike_is_the_same(tmp_path: Path, purpose: str) -> None:
    register = Register(tmp_path / "o.sqlite")
    register.add([Said("p1", "public research 10", "opposed", "2026-01-01", "letter")])
    register.add([Said("p2", purpose, "opposed", "2026-01-01", "letter")])
    try:
        for one in (purpose, "public research 10"):
            assert register.left_out(one, ["p1", "p2", "p3"]) == {"p1", "p2"}
        for other in ("public care 10", "public research 12", "public research 1"):
            assert register.left_out(other, ["p1", "p2", "p3"]) == frozenset()
    finally:
        register.close()


@pytest.mark.parametrize("purpose", ["саre", "СARE", "cαrε"])
def test_a_purpose_in_letters_of_another_alphabet_is_the_same(tmp_path: Path, purpose: str) -> None:
    register = Register(tmp_path / "o.sqlite")
    register.add([Said("p1", "care", "opposed", "2026-01-01", "letter")])
    try:
        assert register.left_out(purpose, ["p1", "p2"]) == {"p1"}
    finally:
        register.close()


def test_purposes_in_other_alphabets_are_kept_apart(tmp_path: Path) -> None:
    register = Register(tmp_path / "o.sqlite")
    for person, purpose in (("p1", "лечение"), ("p2", "έρευνα")):
        register.add([Said(person, purpose, "opposed", "2026-01-01", "letter")])
    try:
        assert register.left_out("Лечение", ["p1", "p2"]) == {"p1"}
        assert register.left_out("έρευνα", ["p1", "p2"]) == {"p2"}
        assert register.left_out("обучение", ["p1", "p2"]) == frozenset()
    finally:
        register.close()


# What gets through --------------------------------------------------------------------------------------------


@pytest.mark.xfail(strict=True, reason="sums of bent terms are no sets: the guard sees comparisons, not bends of abs()")
def test_bends_are_no_way_round() -> None:
    """|x - 60| - 2 |x - 61| + |x - 62| is 2 for who is 61, and 0 for everybody else."""
    frame = people(lonely=(61,))
    asks = study("y ~ abs(age - 60) + abs(age - 61) + abs(age - 62)")
    design = build.analyses(asks)[0].design  # type: ignore[attr-defined]
    from confrere.rounds import People

    tables = [sources.read(frame[i::3], ["age", "y"], asks.schema) for i in range(3)]
    with pytest.raises(Violation):
        judge_clear([design(People(t)) for t in tables], Policy())


def test_ranges_are_no_way_round(tmp_path: Path) -> None:
    """Three studies that clamp age at 60, 61 and 62: the second difference of their sums is who is 61."""
    frame, answered = people(), Answered(tmp_path / "answered.sqlite", KEY)
    said = [
        admitted(answered, study("y ~ age", more=f"[data.columns.age]\nrange = [0, {top}]\n"), frame)
        for top in (60, 61, 62)
    ]
    assert not all(said)


def test_reporting_times_of_two_studies_are_cuts_of_time(tmp_path: Path) -> None:
    """Who died between day 365 and day 366, by the difference of two curves."""
    frame = people().assign(time=np.arange(N) + 0.5, event=1.0)
    answered = Answered(tmp_path / "answered.sqlite", KEY)
    text = (
        '[study]\nid = "s"\npurpose = "care"\n[data]\ntable = "t"\n[[analysis]]\nname = "c"\nmethod = "kaplan_meier"\n'
    )
    said = [
        admitted(answered, parse(f'{text}formula = "Surv(time, event) ~ 1"\ntimes = [{day}]\n'), frame)
        for day in (365, 366)
    ]
    assert not all(said)


def test_an_error_is_no_answer(tmp_path: Path) -> None:
    """1 / (age - 61) fails if somebody is 61: said at approval, to the steward, it would tell nobody outside."""
    with pytest.raises(Exception, match="does not exist"):
        asked(study("y ~ I(1 / (age - 61))"), people())
