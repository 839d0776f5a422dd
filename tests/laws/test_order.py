"""Law 4: the order of rows does not matter (1e-9), nor does that of hospitals: bit for bit, since rings add exactly."""

from __future__ import annotations

import numpy as np
import pytest

from federate import LOOSE, apart, dealt, fit, found, masked
from laws.cases import CASES, Case
from laws.people import patients, placed
from laws.test_masked import NAMES, hospitals, policy_of, run_of

each = pytest.mark.parametrize("case", CASES, ids=[c.label for c in CASES])


@each
def test_the_order_of_rows_does_not_matter(case: Case) -> None:
    deal = np.arange(240) % 3
    frames = dealt(placed(patients(240), deal), deal, 3)
    shuffled = [f.sample(frac=1, random_state=7) for f in frames]
    assert not apart(fit(case.analysis, frames, LOOSE), fit(case.analysis, shuffled, LOOSE), 1e-9)


@each
def test_the_order_of_hospitals_does_not_matter_bit_for_bit(case: Case) -> None:
    turned = dict(zip((NAMES[2], NAMES[0], NAMES[1]), hospitals(), strict=True))
    again = found(masked(case.analysis, turned, allow=sorted(policy_of(case).allow)))
    once = found(run_of(case))
    assert not apart(once, again, 0.0)
    assert once.facts == again.facts
    assert all(np.array_equal(once.arrays[name], again.arrays[name]) for name in once.arrays)
