"""The area under the curve of an attack on membership: by hand, against its slow twin, and whether its limits hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from confrere.errors import StudyError
from confrere.testing.membership import membership_auc

LOSSES = st.lists(st.integers(-4, 4), min_size=2, max_size=12)


def test_by_hand() -> None:
    """Members 1, 2, others 2, 3: three pairs are told and one is a tie, so 3.5 of 4.

    Placements of members are 1 and 0.75, of others 0.75 and 1: both variances 1/32, their sum 1/32 after halving each.
    """
    found = membership_auc([1, 2], [2, 3])
    assert found.estimate == 0.875
    assert found.low == pytest.approx(0.875 - 1.959963984540054 * np.sqrt(1 / 32))
    assert found.high == 1.0
    assert str(found) == "0.88 (0.53 to 1.00)"


@given(LOSSES, LOSSES)
def test_its_twin_compares_every_pair(members: list[int], others: list[int]) -> None:
    psi = np.array([[(a < b) + (a == b) / 2 for b in others] for a in members])
    variance = psi.mean(axis=1).var(ddof=1) / len(members) + psi.mean(axis=0).var(ddof=1) / len(others)
    low = max(0.0, psi.mean() - stats.norm.ppf(0.975) * np.sqrt(variance))
    found = membership_auc(members, others)
    assert np.allclose([found.estimate, found.low], [psi.mean(), low], atol=1e-9)


def test_nine_in_ten_limits_and_more_hold_the_truth() -> None:
    rng = np.random.default_rng(4)
    truth, held = stats.norm.cdf(0.5 / np.sqrt(2)), 0
    for _ in range(400):
        found = membership_auc(rng.normal(size=60), rng.normal(0.5, size=80))
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.98


@pytest.mark.parametrize(("members", "others"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], []), ([1.0, np.nan], [1.0, 2.0])])
def test_what_is_no_loss_is_said(members: list[float], others: list[float]) -> None:
    with pytest.raises(StudyError, match="at least two of each"):
        membership_auc(members, others)
