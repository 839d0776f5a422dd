"""Every law of `confrere.testing` holds for every registered analysis."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from confrere.testing import LAWS, Case
from laws.cases import CASES


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])
def test_law(law: Callable[[Case], None], case: Case) -> None:
    law(case)
