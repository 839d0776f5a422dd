"""The differencing guard (`hospital.differencing`), its arithmetic (`atoms`) and whom it is about (`populations`)."""

from __future__ import annotations

import importlib
import itertools
import json
import multiprocessing
import sqlite3
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from attacks.histories import MEMBERS, History, K, asked, selecting, study
from confrere.errors import KeysError
from confrere.hospital.atoms import atoms, crossing, hanging, narrowed, table
from confrere.hospital.differencing import Answered
from federate import ROOT

KEY = bytes(range(32))
Sets = list[frozenset[int]]


# The slow obvious twin: patterns in a dictionary, exact fractions ----------------------------------------------


def large_atoms(sets: Sequence[frozenset[int]], k: int) -> list[tuple[int, ...]]:
    """The patterns of membership that k people or more have."""
    people: dict[tuple[int, ...], int] = {}
    for person in range(1 + max((max(s) for s in sets if s), default=-1)):
        pattern = tuple(int(person in s) for s in sets)
        people[pattern] = people.get(pattern, 0) + 1
    return [pattern for pattern, many in people.items() if many >= k]


def null_space(rows: list[list[int]]) -> list[list[Fraction]]:
    """All combinations of the rows that are 0: a basis."""
    n = len(rows)
    work = [[Fraction(v) for v in row] + [Fraction(int(i == j)) for j in range(n)] for i, row in enumerate(rows)]
    width, done = len(work[0]) - n, 0
    for column in range(width):
        pivot = next((i for i in range(done, n) if work[i][column]), None)
        if pivot is None:
            continue
        work[done], work[pivot] = work[pivot], work[done]
        for i in range(done + 1, n):
            times = work[i][column] / work[done][column]
            work[i] = [a - times * b for a, b in zip(work[i], work[done], strict=True)]
        done += 1
    return [row[width:] for row in work[done:]]


def small_combinations(sets: Sequence[frozenset[int]], of: Sequence[int], k: int) -> list[dict[int, Fraction]]:
    """A basis of the combinations of the sets in `of` that are 0 on every large atom of all sets."""
    large = large_atoms(sets, k)
    basis = null_space([[pattern[i] for pattern in large] for i in of]) if of else []
    return [dict(zip(of, c, strict=True)) for c in basis]


def rests_on(sets: Sequence[frozenset[int]], combination: dict[int, Fraction]) -> set[int]:
    """The people for whom a combination is not 0."""
    people = set().union(*sets)
    return {p for p in people if sum(c for i, c in combination.items() if p in sets[i])}


def slow(sets: Sequence[frozenset[int]], shared: int, old: int, k: int, strict: bool) -> bool:
    """Whether the guard refuses, by the letter of its docstring."""
    earlier, new = list(range(old)), [*range(shared), *range(old, len(sets))]
    f = {
        name: len(small_combinations(sets, of, k))
        for name, of in {"both": range(len(sets)), "old": earlier, "new": new, "shared": range(shared)}.items()
    }
    if f["both"] > f["old"] + f["new"] - f["shared"]:
        return True
    if f["new"] == f["shared"]:
        return False
    # combinations of the new study, less those which are of its shared cohorts alone
    large = large_atoms(sets, k)
    own = []
    for i in range(old, len(sets)):
        before = [*range(shared), *(j for j in range(old, i) if not _hangs(large, [*range(shared)], range(old, j), j))]
        independent = [j for at, j in enumerate(before) if not _hangs(large, [], before[:at], j)]
        if _hangs(large, [], independent, i):
            (combination,) = small_combinations(sets, [*independent, i], k)
            own.append(combination)
    here = set().union(*(rests_on(sets, c) for c in own))
    there = set().union(*(rests_on(sets, c) for c in small_combinations(sets, earlier, k)))
    return bool(here & there) or (strict and bool(here))


def _hangs(large: list[tuple[int, ...]], more: list[int], of: Sequence[int], row: int) -> bool:
    """Whether a row is a combination of others on the large atoms."""
    rows = [*more, *of]
    values = [[pattern[i] for pattern in large] for i in [*rows, row]]
    return len(null_space(values)) > (len(null_space(values[:-1])) if rows else 0)


PEOPLE = 14
SETS = st.lists(st.frozensets(st.integers(0, PEOPLE - 1)), min_size=1, max_size=6)
# nearly equal sets and disjoint halves are what attacks are made of: generated too, not only hoped for
NEAR = st.builds(
    lambda base, moves: [base ^ frozenset(m) for m in moves],
    st.frozensets(st.integers(0, PEOPLE - 1), min_size=6),
    st.lists(st.lists(st.integers(0, PEOPLE - 1), max_size=3), min_size=2, max_size=5),
)


@settings(max_examples=400, deadline=None)
@given(sets=SETS | NEAR, data=st.data(), k=st.integers(1, 4), strict=st.booleans())
def test_the_fast_path_says_what_the_slow_twin_says(sets: Sets, data: st.DataObject, k: int, strict: bool):
    old = data.draw(st.integers(0, len(sets)))
    shared = data.draw(st.integers(0, old))
    fast = crossing([BitMap(s) for s in sets], shared, old, k, strict)
    assert fast.refused == slow(sets, shared, old, k, strict)


@settings(max_examples=300, deadline=None)
@given(sets=SETS | NEAR, k=st.integers(2, 4))
def test_no_combination_of_what_was_answered_rests_on_a_few(sets: Sets, k: int):
    """Studies of one cohort each, one after the other; all combinations with coefficients -2 to 2 of those answered."""
    answered: Sets = []
    for people in (s for s in sets if len(s) >= k and s not in answered):
        if not crossing([BitMap(s) for s in [*answered, people]], 0, len(answered), k).refused:
            answered.append(people)
    for weights in itertools.product(range(-2, 3), repeat=min(len(answered), 4)):
        on = rests_on(answered, {i: Fraction(w) for i, w in enumerate(weights)}) if any(weights) else set()
        assert not 0 < len(on) < k, (answered, weights)


def test_whom_a_refusal_names(tmp_path: Path):
    """Of three earlier sets the two that matter: the first and the third differ from the new one by nobody."""
    sets = [set(range(50)), set(range(200, 260)), set(range(50, 100)), set(range(99))]
    found = crossing([BitMap(s) for s in sets], 0, 3, 11)
    assert found.refused
    assert found.rows.tolist() == [True, False, True, True]


# Arithmetic ---------------------------------------------------------------------------------------------------


@given(sets=SETS)
def test_atoms_are_the_distinct_patterns(sets: Sets):
    found = atoms([BitMap(s) for s in sets], PEOPLE)
    patterns = [tuple(p in s for s in sets) for p in range(PEOPLE)]
    assert sorted(found.sizes) == sorted(patterns.count(p) for p in set(patterns))
    assert table([BitMap(s) for s in sets], found.one).T.tolist() == [list(patterns[i]) for i in found.one]


def test_ranks_are_kept_by_the_random_matrix():
    """60 rows, 20 of which are sums of two others, over 3,000 atoms."""
    rng = np.random.default_rng(2)
    free = rng.random((40, 3000)) < 0.3
    rows = np.vstack([free, free[:20] ^ free[20:]])  # exclusive or is no sum: these do not hang
    assert len(hanging(narrowed(rows)).rows) == 0
    apart = free[:20] & ~free[20:]
    rows = np.vstack([apart, free[20:], apart | free[20:]])  # the union of disjoint sets is
    assert hanging(narrowed(rows)).rows.tolist() == list(range(40, 60))


@given(st.lists(st.lists(st.integers(0, 1), min_size=5, max_size=5), min_size=1, max_size=7))
def test_hanging_rows_and_their_combinations(rows: list[list[int]]):
    made = np.array(rows)
    found = hanging(made, combinations=True)
    assert len(found.rows) == len(made) - np.linalg.matrix_rank(made)
    assert not ((found.combinations @ made) % (2**31 - 1)).any()
    assert all(c[row] == 1 and not c[row + 1 :].any() for c, row in zip(found.combinations, found.rows, strict=True))


# Whom a study is about ----------------------------------------------------------------------------------------


def test_columns_without_gaps_are_no_part_of_a_definition(tmp_path: Path):
    """Two Cox-like studies on a table without gaps are about everybody, and the second is answered."""
    past = History(Answered(tmp_path / "a.sqlite", KEY), selecting(200).assign(x=1.0, z=2.0))
    assert all(past.ask(f) for f in ("y ~ age + x", "y ~ age + z", "x ~ z"))


def test_a_definition_holds_public_words_alone():
    (cohort,) = asked(study("y ~ age + a"), selecting(200, a=range(100)))
    assert json.loads(cohort.definition) == {"columns": ["a"], "cut": "2026-11", "table": "t"}
    assert cohort.rows.sum() == 100
    assert cohort.hospitals == tuple(sorted(MEMBERS))
    other = asked(study("y ~ age + a"), selecting(200, a=range(100)), members=("here", "lyon", "pau"))[0]
    assert len({cohort.fingerprint, other.fingerprint}) == 2


def test_fewer_than_k_people_are_nobody():
    (cohort,) = asked(study("y ~ a"), selecting(200, a=range(K - 1)))
    assert not cohort.rows.any()


def test_a_description_is_about_who_has_each_variable():
    more = '[[analysis]]\nname = "d"\nmethod = "describe"\nvariables = ["a", "b", "age"]\n'
    cohorts = asked(study(more=more), selecting(200, a=range(100), b=range(50, 200)))
    assert {c.analysis: int(c.rows.sum()) for c in cohorts} == {"d": 200, "d: a": 100, "d: age": 200, "d: b": 150}


def test_a_group_without_this_hospital_is_not_about_its_people():
    asks = study("y ~ age", group='["lyon", "metz", "nice"]')
    assert asked(asks, selecting(50), members=("here", "lyon", "metz", "nice")) == []


def test_cuts_are_found_wherever_a_formula_compares():
    cohorts = asked(study("I(y > 0) ~ I((age > 60) * age) + I(standardize(age) <= 1)"), selecting(200))
    assert {c.analysis for c in cohorts if c.family} == {
        "a0: y > 0", "a0: y", "a0: age > 60", "a0: age", "a0: standardize(age) <= 1",
    }  # fmt: skip
    assert [c.rows.sum() for c in cohorts if c.analysis == "a0: age > 60"] == [np.sum(np.arange(200) % 90 > 60)]


# The memory ---------------------------------------------------------------------------------------------------


def test_the_same_study_is_remembered_once(tmp_path: Path):
    answered, asks, frame = Answered(tmp_path / "a.sqlite", KEY), study("y ~ a"), selecting(200, a=range(105))
    for _ in range(2):
        answered.record(asks.hash, asked(asks, frame))
    (only,) = Answered(tmp_path / "a.sqlite", KEY).history(K)
    assert (only.study, only.analysis, only.people, only.cut) == (asks.hash, "a0", 99, "2026-11")


def test_judging_writes_nothing(tmp_path: Path):
    answered, asks = Answered(tmp_path / "a.sqlite", KEY), study("y ~ age")
    assert answered.judge(asked(asks, selecting(100)), K).ok
    assert answered.history(K) == []


def test_no_id_is_in_the_file(tmp_path: Path):
    frame = selecting(50).assign(pid=[f"PATIENT-{i}" for i in range(50)])
    asks = study("y ~ age")
    Answered(tmp_path / "a.sqlite", KEY).record(asks.hash, asked(asks, frame))
    assert not any(b"PATIENT" in file.read_bytes() for file in tmp_path.iterdir())


def test_another_key_is_an_error(tmp_path: Path):
    Answered(tmp_path / "a.sqlite", KEY)
    with pytest.raises(KeysError, match="another key"):
        Answered(tmp_path / "a.sqlite", bytes(32))
    with pytest.raises(KeysError, match="16 or more"):
        Answered(tmp_path / "b.sqlite", b"short")


def test_a_file_that_cannot_be_read_is_an_error_of_the_machine(tmp_path: Path):
    (tmp_path / "a.sqlite").write_bytes(b"no database, by far" * 100)
    with pytest.raises(OSError, match="answers nothing"):
        Answered(tmp_path / "a.sqlite", KEY)


def test_a_full_disk_answers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What cannot be remembered is not recorded in part."""
    answered = Answered(tmp_path / "a.sqlite", KEY)
    small, large = study("y ~ age"), study("y ~ a")
    answered.record(small.hash, asked(small, selecting(20)))
    whole = sqlite3.connect

    def bounded(*args: object, **more: object) -> sqlite3.Connection:
        db = whole(*args, **more)  # type: ignore[call-overload]
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        return db

    monkeypatch.setattr(sqlite3, "connect", bounded)
    with pytest.raises(OSError, match="full"):
        answered.record(large.hash, asked(large, selecting(50_000, a=range(0, 50_000, 3))))
    monkeypatch.setattr(sqlite3, "connect", whole)
    assert [a.study for a in answered.history(K)] == [small.hash]


def _admit(path: Path, formula: str, frame: pd.DataFrame, results: multiprocessing.Queue[bool]) -> None:
    asks = study(formula)
    results.put(Answered(path, KEY).admit(asks.hash, asked(asks, frame), K).ok)


def test_processes_at_once_let_one_of_two_rivals_pass(tmp_path: Path):
    frame, context = selecting(300, a=range(200), less=range(199)), multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[bool] = context.Queue()
    jobs = [
        context.Process(target=_admit, args=(tmp_path / "a.sqlite", f, frame, results)) for f in ("y ~ a", "y ~ less")
    ]
    for job in jobs:
        job.start()
    assert sorted(results.get(timeout=60) for _ in jobs) == [False, True]
    for job in jobs:
        job.join()


def test_the_benchmark_of_docs_differencing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its two parts run, at a small size: the guard leaves nothing open, doing nothing does."""
    monkeypatch.syspath_prepend(str(ROOT))
    part = importlib.import_module("benchmarks.differencing")
    told = part.histories(2, 12, 400)
    assert told["rank, alike (this guard)"][2] == 0 < told["nothing"][2]
    assert part.seconds(5, 1_000, tmp_path)["bytes"] > 0


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_refusal_says_why_and_what_to_do(tmp_path: Path, lang: str):
    past = History(Answered(tmp_path / "a.sqlite", KEY), selecting(200, a=range(150), b=range(149)))
    assert past.ask("y ~ a")
    assert past.said[-1].said(lang) == ""
    assert not past.ask("y ~ b")
    said = past.said[-1].said(lang)
    assert {"en": "What to do:", "fr": "Que faire :"}[lang] in said
    assert study("y ~ a").hash[:12] in said
    assert "150" not in said
    assert "149" not in said
