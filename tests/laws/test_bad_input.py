"""Law 6: what is wrong is named, with the rule and what to do; never a NaN in a table (`federate.checked` looks)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.errors import DataError, ModelError, Refused, UserError
from confrere.hospital.gate import Violation
from federate import LOOSE, apart, dealt, fit, found, masked
from laws.cases import CASES, Case
from laws.people import patients, placed

each = pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])
REMEDY = re.compile(
    r"\b(leave|drop|merge|declare|declared|correct|make|mend|write|use|set|check|choose|add|ask|invite|give|needs?|"
    r"did you mean|columns are|it has|must)\b",
    re.IGNORECASE,
)


def hospitals(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Three hospitals that share these people evenly."""
    deal = np.arange(len(frame)) % 3
    return dealt(placed(frame, deal), deal, 3)


def spoilt(column: str, values: Any) -> list[pd.DataFrame]:
    """People whose column has other values: given, or made from the table."""
    frame = patients(300)
    return hospitals(frame.assign(**{column: values(frame) if callable(values) else values}))


def terms(least: int = 1, ridge: bool = True) -> list[Any]:
    """Cases with so many numeric terms, and the first of these."""
    return [
        pytest.param(case, case.terms[0], id=case.label)
        for case in CASES
        if len(case.terms) >= least and (ridge or not getattr(case.analysis, "ridge", 0.0))
    ]


def some(frame: pd.DataFrame, value: Any) -> pd.Series:
    """x1, in which two people have this value."""
    return frame["x1"].astype(object).where(~frame.index.isin([3, 70]), value)


def says(error: BaseException, *names: str) -> None:
    """The message names these, and what to do."""
    text = str(error)
    assert all(name in text for name in names), text
    assert REMEDY.search(text), f"no remedy: {text}"


@pytest.mark.parametrize(("case", "term"), terms())
def test_a_column_that_is_not_there(case: Case, term: str) -> None:
    frames = [f.drop(columns=term) for f in hospitals(patients(300))]
    with pytest.raises(DataError) as error:
        fit(case.analysis, frames, LOOSE)
    says(error.value, term)


@pytest.mark.parametrize(("case", "term"), terms())
def test_text_in_a_number(case: Case, term: str) -> None:
    with pytest.raises(DataError) as error:
        fit(case.analysis, spoilt(term, lambda f: some(f, "n/a")), LOOSE)
    says(error.value, term, "text")


@pytest.mark.parametrize(("case", "term"), terms())
def test_infinite_values(case: Case, term: str) -> None:
    with pytest.raises(DataError) as error:
        fit(case.analysis, spoilt(term, lambda f: some(f, np.inf).astype(float)), LOOSE)
    says(error.value, term, "infinite")


@pytest.mark.parametrize(("case", "term"), terms())
def test_everybody_misses_a_column(case: Case, term: str) -> None:
    """The gate says that there is nobody, or the method which column it is."""
    with pytest.raises((UserError, Violation)) as error:
        fit(case.analysis, spoilt(term, np.nan), replace(LOOSE, hospitals=1))
    says(error.value, *([term] if isinstance(error.value, UserError) else []))


@pytest.mark.parametrize(("case", "term"), terms(ridge=False))
def test_a_constant_column(case: Case, term: str) -> None:
    """Regressions name it; a description says that it does not vary."""
    frames = spoilt(term, 1.5)
    if case.name == "describe":
        assert fit(case.analysis, frames, LOOSE).n == 300
        return
    with pytest.raises(UserError) as error:
        fit(case.analysis, frames, LOOSE)
    says(error.value, term)


@pytest.mark.parametrize(("case", "term"), terms(least=2, ridge=False))
def test_collinear_columns(case: Case, term: str) -> None:
    other = case.terms[1]
    frames = spoilt(other, lambda f: 2 * f[term] + 1)
    if case.name == "describe":
        assert fit(case.analysis, frames, LOOSE).n == 300
        return
    with pytest.raises(ModelError, match="collinear") as error:
        fit(case.analysis, frames, LOOSE)
    says(error.value, term, other)


@each
def test_nobody_has_an_event(case: Case) -> None:
    """Curves and descriptions stand; regressions and tests say that there are no events."""
    frame = patients(300).assign(event=0.0, fate=pd.Categorical(["alive"] * 300, ["alive", "relapse", "death"]))
    try:
        fit(case.analysis, hospitals(frame), LOOSE)
    except UserError as error:
        says(error)
        assert case.name in ("cox", "competing_risks", "logrank")
        return
    assert case.name not in ("cox",), "a Cox model without events has no finding"


@each
def test_negative_times(case: Case) -> None:
    if "Surv" not in getattr(case.analysis, "formula", ""):
        return
    with pytest.raises(DataError, match="times are negative"):
        fit(case.analysis, spoilt("time", lambda f: f["time"].where(~f.index.isin([3, 6]), -5.0)), LOOSE)


@each
def test_entry_after_exit(case: Case) -> None:
    if "entry" not in getattr(case.analysis, "formula", ""):
        return
    with pytest.raises(DataError, match="enter at or after their exit") as error:
        fit(case.analysis, spoilt("entry", lambda f: f["time"]), LOOSE)
    says(error.value)


@each
def test_nobody_at_all(case: Case) -> None:
    with pytest.raises((UserError, Violation)) as error:
        fit(case.analysis, hospitals(patients(300).iloc[:0]), replace(LOOSE, hospitals=1))
    says(error.value)


@each
def test_a_person_more_or_less_is_no_nan(case: Case) -> None:
    """A handful of people: a finding without NaN, or an error that says what to do."""
    for n in (3, 6, 12):
        try:
            fit(case.analysis, hospitals(patients(n, 2)), LOOSE)
        except UserError as error:
            says(error)


Spoil = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda f: f.drop(columns="x1"), DataError),
        (lambda f: f.assign(x1=1.0), UserError),
        (lambda f: f.assign(event=0.0), (UserError, Refused)),
        (lambda f: f.iloc[:30], Refused),
    ],
)
def test_a_real_run_says_the_same(spoil: Spoil, kind: Any) -> None:
    """Masked, with gates: whoever runs in one process is told why; nothing else is raised."""
    frames = {f"h{i}": f for i, f in enumerate(hospitals(spoil(patients(600))))}
    with pytest.raises(kind) as error:
        found(masked(CASES[0].analysis, frames))
    says(error.value)


def test_the_comparison_of_findings_sees_a_difference() -> None:
    """A control: the laws rest on `apart`."""
    one = fit(CASES[0].analysis, hospitals(patients(300)), LOOSE)
    other = fit(CASES[0].analysis, hospitals(patients(300).iloc[1:]), LOOSE)
    assert apart(one, other, 1e-8)
    assert not apart(one, one, 0.0)
