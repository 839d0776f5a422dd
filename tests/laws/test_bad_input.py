"""Law 6 in the model's own terms: constant and collinear columns, no events, impossible times; and in a masked run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from confrere.errors import DataError, ModelError, Refused, UserError
from confrere.testing import LOOSE, Case, apart, fit, found, masked
from confrere.testing.laws import refusal, says
from laws.cases import CASES, staying

INDIFFERENT = ("describe", "worklist", "boosting", "similar_cases")  # to columns that do not vary, or that say the same
each = pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])


def terms(least: int = 1, ridge: bool = True) -> list[Any]:
    """Cases with so many numeric terms, and the first of these."""
    return [
        pytest.param(case, case.terms[0], id=case.label)
        for case in CASES
        if len(case.terms) >= least and (ridge or not getattr(case.analysis, "ridge", 0.0))
        if case.people is not staying  # days are counted there, and no model is fitted
    ]


@pytest.mark.parametrize(("case", "term"), terms(ridge=False))
def test_a_constant_column(case: Case, term: str) -> None:
    """Regressions name it; a description says that it does not vary, criteria may be met by all, trees do without."""
    frames = case.evenly(300, **{term: 1.5})
    if case.name in INDIFFERENT or getattr(case.analysis, "coefficients", None):  # which a study gives, and nobody fits
        assert fit(case.analysis, frames, LOOSE).n == getattr(case.analysis, "neighbours", 100) * 3
        return
    with pytest.raises(UserError) as error:
        fit(case.analysis, frames, LOOSE)
    says(error.value, term)


@pytest.mark.parametrize(("case", "term"), terms(least=2, ridge=False))
def test_collinear_columns(case: Case, term: str) -> None:
    other = case.terms[1]
    frames = case.evenly(300, **{other: lambda f: 2 * f[term] + 1})
    if case.name in INDIFFERENT:
        assert fit(case.analysis, frames, LOOSE).n == getattr(case.analysis, "neighbours", 100) * 3
        return
    with pytest.raises(ModelError, match="collinear") as error:
        fit(case.analysis, frames, LOOSE)
    says(error.value, term, other)


@each
def test_nobody_has_an_event(case: Case) -> None:
    """Curves and descriptions stand; regressions and tests say that there are no events."""
    fate = pd.Categorical(["alive"] * 300, ["alive", "relapse", "death"])
    try:
        fit(case.analysis, case.evenly(300, event=0.0, fate=fate), LOOSE)
    except UserError as error:
        says(error)
        assert case.name in (
            "cox",
            "competing_risks",
            "logrank",
            "effect",
            "interaction",
            "responders",
            "clone_censor_weight",
            "sequential_trials",
            "penalised",
            "evaluate",
            "boosting",
            "prognostic",
        )
        return
    assert case.name not in ("cox",), "a Cox model without events has no finding"


@each
def test_negative_times(case: Case) -> None:
    if "Surv" not in getattr(case.analysis, "formula", ""):
        return
    with pytest.raises(DataError, match="times are negative"):
        fit(case.analysis, case.evenly(300, time=lambda f: f["time"].where(~f.index.isin([3, 6]), -5.0)), LOOSE)


@each
def test_entry_after_exit(case: Case) -> None:
    if "entry" not in getattr(case.analysis, "formula", ""):
        return
    with pytest.raises(DataError, match="enter at or after their exit") as error:
        fit(case.analysis, case.evenly(300, entry=lambda f: f["time"]), LOOSE)
    says(error.value)


@each
def test_nobody_at_all(case: Case) -> None:
    says(refusal(case, case.evenly(0)))


Spoil = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda f: f.drop(columns="x1"), DataError),
        (lambda f: f.assign(x1=1.0), UserError),
        (lambda f: f.assign(event=0.0), (UserError, Refused)),
        (lambda f: f.iloc[:10], Refused),
    ],
)
def test_a_real_run_says_the_same(spoil: Spoil, kind: Any) -> None:
    """Masked, with gates: whoever runs in one process is told why; nothing else is raised."""
    frames = {f"h{i}": spoil(f) for i, f in enumerate(CASES[0].evenly(600))}
    with pytest.raises(kind) as error:
        found(masked(CASES[0].analysis, frames))
    says(error.value)


def test_the_comparison_of_findings_sees_a_difference() -> None:
    """A control: the laws rest on `apart`."""
    one, other = (fit(CASES[0].analysis, CASES[0].evenly(n), LOOSE) for n in (300, 299))
    assert apart(one, other, 1e-8)
    assert not apart(one, one, 0.0)
