"""Criteria: the language, its three-valued answers against a slow twin, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import DataError, FormulaError
from confrere.study.criteria import criterion
from confrere.study.rows import TableRows
from confrere.study.schema import Column, Schema

SCHEMA = Schema({"size": Column("size", ("small", ">50"))})
PEOPLE = pd.DataFrame(list(itertools.product([0.0, 1.0, np.nan], repeat=3)), columns=["a", "b", "c"])


def answers(text: str, frame: pd.DataFrame = PEOPLE) -> list[bool | None]:
    """True, False or None (unknown) of every row."""
    met, failed = criterion(text, SCHEMA).judge(TableRows(frame, SCHEMA, {}))
    assert not (met & failed).any()
    return [True if m else False if f else None for m, f in zip(met, failed, strict=True)]


# the language


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a > 0 or b > 0 and c > 0", "a > 0 or (b > 0 and c > 0)"),
        ("not a > 0 and b > 0", "(not a > 0) and b > 0"),
        ("not not a > 0", "a > 0"),
        ("((a > 0))", "a > 0"),
        ("(a > 0) and (b > 0)", "a > 0 and b > 0"),
        ("(a + b) * 2 > 2", "2 * (b + a) > 2"),
        ("not (a > 0 or b > 0)", "not a > 0 and not b > 0"),
    ],
)
def test_words_bind_as_in_python(text: str, same: str) -> None:
    assert answers(text) == answers(same)


def test_columns_are_named_once_in_their_order() -> None:
    assert criterion("`a b` > 1 and (size == '>50' or log(c) < `a b`)", SCHEMA).columns == ("a b", "size", "c")


def test_levels_are_compared_by_their_name() -> None:
    frame = pd.DataFrame({"size": pd.Categorical(["small", ">50", None], SCHEMA.levels("size"))})
    assert answers('size == ">50"', frame) == [False, True, None]
    assert answers("size != 'small'", frame) == [False, True, None]


# unknown


def twin(rule: str, row: dict[str, float]) -> bool | None:
    """The slow twin: what it is with every value that the missing ones may have, if that is always the same."""
    gaps = [name for name, value in row.items() if np.isnan(value)]
    said = set()
    for values in itertools.product([0.0, 1.0], repeat=len(gaps)):
        said.add(eval(rule, {}, row | dict(zip(gaps, values, strict=True))))  # noqa: S307 - a test's own text
    return said.pop() if len(said) == 1 else None


tests = st.sampled_from(["a == 1", "b > 0", "c < 1"])
# each column once: then Kleene's logic says all that there is to say
once = st.permutations(["a == 1", "b > 0", "c < 1"]).flatmap(
    lambda parts: st.tuples(
        *(st.sampled_from([p, f"not {p}"]) for p in parts),
        st.sampled_from(["and", "or"]), st.sampled_from(["and", "or"]), st.booleans(),
    )
)  # fmt: skip


@given(once)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_unknown_is_what_the_missing_values_could_change(made: tuple[str, str, str, str, str, bool]) -> None:
    one, two, three, first, second, left = made
    text = f"({one} {first} {two}) {second} {three}" if left else f"{one} {first} ({two} {second} {three})"
    rows = [dict(zip("abc", values, strict=True)) for values in PEOPLE.to_numpy()]
    assert answers(text) == [twin(text, row) for row in rows]


# what is refused


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "comparison is missing"),
        ("a > 0 and", "comparison is missing"),
        ("or a > 0", "comparison is missing"),
        ("()", "comparison is missing"),
        ("a", "compares nothing"),
        ("log(a)", "compares nothing"),
        ("1 > 0", "names no column"),
        ("40 < a < 60", "more than two things"),
        ("a > 0 & b > 0", "cannot read '&'"),
        ("a > 0 | b > 0", "cannot read"),
        ("a > 0 AND b > 0", "not an expression"),
        ("(a > 0 and b > 0) == 1", "not an expression"),
        ("size > 3", "has levels and is no number"),
        ("size == 'large'", "no level of 'size'"),
        ("a == 'yes'", "declares levels"),
        ("standardize(a) > 1", "no place here"),
        ("__import__('os') == 1", "private names"),
        ("open('x') == 1", "not an allowed function"),
        ("a.b.c() > 1", "not an allowed function"),
        ("[x for x in a] == 1", "not an expression"),
        ("(lambda: 1)() == 1", "':' inside"),
        ("a > 0" + " and a > 0" * 200, "words and signs"),
        ("not " * 299 + "a > 0", "words and signs"),
        ("(" * 30 + "a > 0" + ")" * 30, "deep"),
        ("ａ > 0", "look-alike"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_how(text: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says) as error:
        criterion(text, SCHEMA)
    assert "join comparisons by and, or, not" in str(error.value)


@given(st.text(alphabet="ab01 ()[]<>=!'\"`.,+-*/^~:&|norandte_", max_size=40))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_a_criterion_or_an_error_of_ours(text: str) -> None:
    try:
        criterion(text, SCHEMA)
    except FormulaError:
        return


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="no column 'age'"):
        answers("age > 0")


def test_what_does_not_exist_is_an_error_and_not_unknown() -> None:
    with pytest.raises(DataError, match="does not exist"):
        answers("log(a) > 0")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("age>=65", "age >= 65"),
        ('((size == ">50"))', "size == '>50'"),
        ("a>0 or b>0 and not(c>0)", "a > 0 or (b > 0 and (not c > 0))"),
    ],
)
def test_there_is_one_spelling(text: str, canonical: str) -> None:
    made = criterion(text, SCHEMA)
    assert made.canonical == canonical
    assert criterion(canonical, SCHEMA).canonical == canonical
    assert made.text == text  # as it was written, for people
