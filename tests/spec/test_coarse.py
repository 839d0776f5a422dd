"""What a coarse grid of times hides: the cells of what is read off a curve, the caution, where curves end."""

from __future__ import annotations

import numpy as np
import pandas as pd

import confrere as cf
from confrere.analyses.coarse import Seen, between, coarse, last_supported
from confrere.analyses.curves import Cellwise, survival
from confrere.console.demo import load


def cells(events: list[float], censored: list[float], lost: list[int], *, exact: bool = False) -> Cellwise:
    """Cells of 10 days that end with events, with so many events and censorings; 100 people."""
    d, c = np.array(events), np.array(censored)
    left = 10.0 * np.arange(d.size)
    n = 100 - np.cumsum(d + c) + d + c
    return Cellwise(left, left + 10, n, d[None], c, exact, np.arange(d.size), np.array(lost))


def said(one: Cellwise, **times: float) -> str:
    """What the caution says of a curve with times read off it."""
    found = coarse([Seen("arm: a", one, one.ends, one.all_events, lambda t: survival(one).at(t)[0], times)], "days")
    return found[0].text if found else ""


FINE = cells([3.0] * 20, [0.0] * 20, list(range(20)))


def test_the_cell_of_a_time() -> None:
    assert between(FINE, FINE.ends, 25.0) == (20.0, 30.0)
    assert between(FINE, FINE.ends, 30.0) == (30.0, 30.0)
    assert between(FINE, FINE.ends, 250.0) == (200.0, None)
    assert between(cells([1.0, 1.0], [0.0, 0.0], [0, 1], exact=True), np.arange(2), 15.0) == (15.0, 15.0)


def test_a_fine_curve_is_not_warned_of() -> None:
    assert not said(FINE, median=145.0, time=25.0)


def test_few_cells_and_times_within_a_cell_are_told() -> None:
    assert "arm: a (9)" in said(cells([3.0] * 9, [0.0] * 9, list(range(9))))
    steep = cells([2.0] * 10 + [40.0] + [2.0] * 4, [0.0] * 15, list(range(15)))
    assert said(steep, median=104.0).startswith("The median of arm: a lies in a cell from 100 to 110 days.")
    assert not said(steep, time=100.0)  # an edge
    assert said(FINE, median=45.0)  # a cell of a tenth of it and more


def test_many_censorings_at_unknown_times_are_told() -> None:
    lost = cells([3.0] * 20, [2.0] * 20, [0, 10, 19])
    assert said(lost, time=50.0).startswith("Around the time, censorings of arm: a lie in a cell from 10 to 110 days.")
    assert not said(lost, time=110.0)


def test_a_curve_ends_with_its_last_cell_of_events() -> None:
    assert last_supported(cells([3.0, 3.0, 0.0], [0.0, 0.0, 94.0], [2])) == 20
    assert last_supported(cells([0.0, 0.0], [0.0, 100.0], [1])) == 0
    _, hospitals = load("breast")
    found = cf.local(hospitals).run(cf.KaplanMeier("Surv(rtime, recur) ~ hormon"))
    whole = pd.concat(hospitals.values())
    for group, last in found.summary("curve").groupby("group")["time"].max().items():
        assert last < whole.loc[whole["hormon"] == int(str(group)), "rtime"].max()
        assert found.summary("risk").query("group == @group")["time"].max() <= last


def test_the_median_of_a_small_study_comes_with_its_cell() -> None:
    _, hospitals = load("lung")
    found = cf.local(hospitals).run(cf.KaplanMeier("Surv(time, status == 2) ~ sex", times=[180, 365]))
    (caution,) = [w for w in found.warnings if w.code == "coarse-curve"]
    for r in found.tables["median"]:
        assert r["cell_low"] < r["estimate"] < r["cell_high"]
        assert f"The median of sex: {r['group']} lies in a cell from".lower() in caution.text.lower()
