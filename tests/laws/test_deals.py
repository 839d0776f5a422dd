"""Law 1 with generated deals: any deal of the people to hospitals gives the pooled finding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.testing import HOSPITALS, Case, patients
from confrere.testing.laws import agree
from laws.cases import CASES

PEOPLE = 90
each = pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])
deals = st.lists(st.integers(0, len(HOSPITALS) - 1), min_size=PEOPLE, max_size=PEOPLE).map(np.array)


@each
@given(deal=deals, seed=st.integers(1, 4))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_any_deal_gives_the_pooled_finding(case: Case, deal: np.ndarray, seed: int) -> None:
    agree(case, case.people(PEOPLE, seed), deal)


@pytest.mark.slow
@each
@given(deal=deals, seed=st.integers(1, 50))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_many_deals(case: Case, deal: np.ndarray, seed: int) -> None:
    # nobody misses a value: of a few imputed tables that hardly vary, rhat is rounding, and differs
    agree(case, patients(PEOPLE, seed).assign(pid=[f"p{i}" for i in range(PEOPLE)]), deal)
