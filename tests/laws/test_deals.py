"""Law 1: any deal of the people to hospitals, an empty hospital included, gives the pooled finding.

Driven without thresholds, so that the public grid is the same. A method stratified by hospital is held against the
pooled fit with `strata(hospital)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.finding import Finding
from confrere.errors import UserError
from federate import LOOSE, apart, dealt, fit
from laws.cases import CASES, Case
from laws.people import HOSPITALS, patients, placed

PEOPLE = 90
each = pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])
deals = st.lists(st.integers(0, len(HOSPITALS) - 1), min_size=PEOPLE, max_size=PEOPLE).map(np.array)


def outcome(analysis: Any, frames: list[pd.DataFrame]) -> Finding | type[UserError]:
    """The finding, or the kind of error that says why there is none."""
    try:
        return fit(analysis, frames, LOOSE)
    except UserError as error:
        return type(error)


def agree(case: Case, people: pd.DataFrame, deal: np.ndarray) -> bool:
    """The hospitals' finding is that of the twin on all rows, or both say the same error; whether there is one."""
    frame = placed(people, deal)
    over, at_once = outcome(case.analysis, dealt(frame, deal, len(HOSPITALS))), outcome(case.twin, [frame])
    if isinstance(over, Finding) and isinstance(at_once, Finding):
        assert not apart(over, at_once, 1e-8)
        return True
    assert over == at_once
    return False


@each
@given(deal=deals, seed=st.integers(1, 4))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_any_deal_gives_the_pooled_finding(case: Case, deal: np.ndarray, seed: int) -> None:
    agree(case, patients(PEOPLE, seed), deal)


@each
def test_an_uneven_deal_and_an_empty_hospital(case: Case) -> None:
    deal = np.random.default_rng(5).choice([0, 1, 3], 200, p=[0.7, 0.27, 0.03])
    assert 2 not in deal
    assert agree(case, patients(200), deal), "there is no finding to compare"


@pytest.mark.slow
@each
@given(deal=deals, seed=st.integers(1, 50))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_many_deals(case: Case, deal: np.ndarray, seed: int) -> None:
    agree(case, patients(PEOPLE, seed), deal)
