"""Standard errors of the flow against 5,000 bootstrap replicates, within 2 %."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from confrere.testing import LOOSE, fit
from effects.test_coverage import effect_of
from effects.twin import Twin
from effects.worlds import drawn

STORED = json.loads((Path(__file__).parent / "bootstrap.json").read_text())
RATIOS = {"risk ratio": "log ratio", "rate ratio": "log ratio"}
NAMES = {"risk difference": "difference", "mean difference": "difference", **RATIOS}


@pytest.mark.parametrize("case", STORED["cases"], ids=lambda c: " ".join(c["twin"].values()))
def test_standard_errors_are_those_of_the_bootstrap(case: dict[str, Any]) -> None:
    twin = Twin(**case["twin"])
    frame = drawn(twin.family, STORED["people"], np.random.default_rng(STORED["seed"])).frame
    got = fit(effect_of(twin), [frame.iloc[i::3] for i in range(3)], LOOSE)
    found = {row["arm"]: row["std_error"] for row in got.tables["arms"]}
    found |= {NAMES[r["measure"]]: r["std_error"] for r in got.tables["effects"] if r["measure"] in NAMES}
    want = case["std_error"]
    assert found.keys() == want.keys()
    for name, value in found.items():
        assert value == pytest.approx(want[name], rel=0.02 if name in NAMES.values() else 0.03), name
