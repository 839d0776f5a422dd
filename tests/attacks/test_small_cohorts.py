"""Sets of people of one study: of groups of hospitals, and of more sets of columns than are looked at together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from confrere.console.local import Local
from confrere.study.build import analyses
from confrere.study.cohorts import MOST, needed
from confrere.study.file import parse

LINEAR = '[[analysis]]\nname = "{}"\nmethod = "linear"\nformula = "{}"\n'


def counted(hospitals: dict[str, pd.DataFrame], *parts: str) -> dict[str, int]:
    """People of each analysis of a study of these parts, as released."""
    head = '[study]\nid = "s"\npurpose = "public-interest research"\n[data]\ntable = "t"\nperson = "pid"\n'
    return {name: found.n for name, found in Local(hospitals).run(parse(head + "".join(parts))).findings.items()}


def of_hospitals(names: str, columns: str, seed: int = 0) -> dict[str, pd.DataFrame]:
    """400 people for each hospital, with a number in each column."""
    rng = np.random.default_rng(seed)
    return {
        name: pd.DataFrame(
            {"pid": [f"{name}{i}" for i in range(400)]} | {c: rng.normal(size=400) for c in columns.split()}
        )
        for name in names
    }


def gaps_elsewhere() -> dict[str, pd.DataFrame]:
    """One person of hospital a misses x, and 40 in each of d, e and f."""
    tables = of_hospitals("abcdef", "y x z")
    tables["a"].loc[40, "x"] = np.nan
    for name in "def":
        tables[name].loc[:39, "x"] = np.nan
    return tables


def test_analyses_of_one_group_may_not_differ_by_a_few():
    """Those who miss x in hospitals that are not asked hide nobody."""
    group = 'group = ["a", "b", "c"]\n'
    found = counted(gaps_elsewhere(), LINEAR.format("p", "y ~ z") + group, LINEAR.format("q", "y ~ z + x") + group)
    assert found == {"p": 1199, "q": 1199}
    other = 'group = ["d", "e", "f"]\n'
    found = counted(gaps_elsewhere(), LINEAR.format("p", "y ~ z") + other, LINEAR.format("q", "y ~ z + x") + other)
    assert found == {"p": 1200, "q": 1080}


def test_analyses_that_compare_groups_may_not_differ_by_a_few_in_one():
    """The same where it is the settings of a method that fix the groups."""
    parts = [
        f'[[analysis]]\nname = "{name}"\nmethod = "kmeans"\nformula = "{formula}"\nclusters = 2\n'
        f'learn = ["a", "b", "c"]\nhold = ["d", "e", "f"]\n'
        for name, formula in (("p", "~ y + z"), ("q", "~ y + z + x"))
    ]
    found = counted(gaps_elsewhere(), *parts)
    assert found["p"] == found["q"] == 2400 - 121


def many_sets(sets: int) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Four fits on c0, of which one person alone misses both x and z; and fits on other columns with gaps."""
    marks = [f"c{i}" for i in range(sets - 3)]
    tables = of_hospitals("abc", " ".join(["y", "x", "z", *marks]))
    for name, frame in tables.items():
        frame.loc[:39, "x"] = np.nan
        frame.loc[40:79, "z"] = np.nan
        if name == "a":
            frame.loc[40, "x"] = np.nan
        for i, mark in enumerate(marks):
            frame.loc[100 + 20 * i : 119 + 20 * i, mark] = np.nan
    formulas = ["c0", "c0 + x", "c0 + z", "c0 + x + z", *marks[1:]]
    return tables, [LINEAR.format(f"a{i}", f"y ~ {formula}") for i, formula in enumerate(formulas)]


@pytest.mark.parametrize("sets", [10, 11, 14])
def test_combinations_of_many_cohorts_may_not_single_out_a_few(sets: int):
    """However many sets of columns a study has: n - n1 - n2 + n12 is not the one who misses both."""
    tables, parts = many_sets(sets)
    found = counted(tables, *parts)
    n = [found[f"a{i}"] for i in range(4)]
    assert not 0 < abs(n[0] - n[1] - n[2] + n[3]) < 11
    assert all(found.values())


def test_many_cohorts_of_people_without_gaps_lose_nobody():
    """What is joined beforehand leaves out who misses a column, and nobody misses one here."""
    tables, parts = many_sets(14)
    found = counted({name: frame.fillna(0.5) for name, frame in tables.items()}, *parts)
    assert set(found.values()) == {1200}


def test_what_is_joined_for_its_number_is_known_at_approval():
    """Whom many analyses are about is in what a hospital remembers: it does not depend on what was counted."""
    built = analyses(parse('[study]\nid = "s"\npurpose = "p"\n[data]\ntable = "t"\n' + "".join(many_sets(14)[1])))
    assert len({frozenset((*needed(a), *a.ground.complete)) for a in built}) == MOST
