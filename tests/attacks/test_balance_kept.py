"""The balance that a hospital keeps: nothing of it leaves; and what a count of hospitals out of balance would tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.cases import registered
from attacks.people import GROUND, Table, patients
from attacks.view import record
from confrere.analyses.effects import balance
from confrere.analyses.outcomes import Frame
from confrere.hospital.run import Run
from confrere.rounds import find


def network(outcome: str) -> dict[str, Table]:
    """Three hospitals with a treatment, marks and times."""
    registered()
    frame = patients(720)
    assert outcome.strip("Surv()").split(",")[0] in frame
    return {f"h{i}": Table(frame[i::3].reset_index(drop=True)) for i in range(3)}


def study(outcome: str) -> Any:
    """An effect of the treatment."""
    return find("effect")("treated", outcome, "x1 + x2", ground=GROUND)


@pytest.mark.parametrize("outcome", ["y", "Surv(time, event)"])
def test_nothing_of_it_leaves(outcome: str) -> None:
    """The coordinator's whole view, number by number, is the one of a study that keeps none."""
    plain = record(study(outcome).flow(), network(outcome))
    kept = record(replace(study(outcome), own_balance=True).flow(), network(outcome))
    assert kept.labels == plain.labels
    np.testing.assert_array_equal(kept.values, plain.values)
    assert kept.public == plain.public
    assert kept.finding.tables == plain.finding.tables


def test_nor_beside_costs() -> None:
    frame = {name: Table(t.frame.assign(spent=t.frame["time"] * 100)) for name, t in network("y").items()}
    costs = find("cost")(
        "treated", "Surv(time, event)", ("spent",), (1095.0,), (2e4,), confounders="x1 + x2", ground=GROUND
    )
    plain, kept = (record(replace(costs, own_balance=own).flow(), frame) for own in (False, True))
    assert kept.labels == plain.labels
    np.testing.assert_array_equal(kept.values, plain.values)


def test_a_hospital_sends_no_number_for_what_it_keeps() -> None:
    """Not even of what shape it is: the part of such an ask is empty."""
    from confrere.rounds import Ask

    made = Run.__new__(Run)
    made._groups = {"": ("a", "b", "c")}
    made._own = lambda i, a: None  # type: ignore[method-assign]  # as of every ask that is kept
    assert made._part(0, Ask(None, "own_balance", kind="keep")) == {"rings": (), "signature": b"", "forms": ()}


def test_a_count_of_hospitals_would_tell_a_hospitals_own_difference() -> None:
    """Why there is none. Each answer counts those of five hospitals whose |SMD| is over 0.1; terms x + b z differ by as
    little as one likes, z being of one hospital's habits. Twenty such answers, all within the rule of k people and of
    five hospitals, find the one hospital's difference to 1 part in 10,000."""
    rng = np.random.default_rng(1)
    hospitals = []
    for h in range(5):
        treated = np.arange(400) % 2 == 1
        x = rng.normal(0, 1, 400) - 0.02 * treated
        z = np.where(treated, 1.0, -1.0) * (1.0 if h == 0 else 0.0) + rng.normal(0, 1, 400)
        hospitals.append((pd.DataFrame({"x": x, "z": z}), treated))

    def difference(h: int, b: float) -> float:
        frame, treated = hospitals[h]
        x = (frame["x"] + b * frame["z"]).to_numpy()[:, None]
        nobody = Frame((0.0,), (1.0,), 0.0, 1.0, 1.0, False)
        (term,) = balance.own(balance.Weighed(x, nobody, treated, np.ones(400)), ("x",), "").terms
        assert term.after is not None
        return abs(term.after)

    def count(b: float) -> int:
        return sum(difference(h, b) > balance.ALIKE for h in range(5))

    low, high = 0.0, 0.2
    first = count(low)
    assert first < count(high)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) <= first else (low, middle)
    assert min(abs(difference(h, low) - balance.ALIKE) for h in range(5)) < 1e-4
