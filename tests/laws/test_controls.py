"""Controls: methods that break a law on purpose are caught by it, so that the laws are no formality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest

from confrere import rounds
from confrere.analyses.finding import Finding
from confrere.rounds import Design, Flow, People, Sum, ask, local, support
from confrere.study.ground import Ground, design_of
from confrere.testing import LAWS, SCHEMA, Case, laws


class Total(NamedTuple):
    value: Sum  # (places,) what a control sends


@dataclass(frozen=True)
class Control:
    """The mean of an outcome, made wrong in the way of its `fault`."""

    formula: str
    fault: str = ""
    ground: Ground = Ground()

    def design(self, people: People) -> Design:
        made = design_of(people, self.formula, self.ground)
        return replace(made, x=np.column_stack([made.x, made.data.value]), names=(*made.names, "outcome"))

    @local(on="design")
    def total(self, people: People, n: int) -> Total:
        y = people.design.x[:, -1]
        sent = {
            "": [y.sum()],
            "mean of means": [y.mean() if y.size else 0.0],
            "first row": [float(y[0]) if y.size else 0.0],
            "as long as people": np.full(1 + n // 1000, y.sum()),
            "nobody's mean": [np.nan],
        }[self.fault]
        return Total(people.derived(np.asarray(sent), bounds=(1,)))

    def flow(self) -> Flow[Finding]:
        verdict = yield from support(self.design)
        total = yield from ask(self.total, verdict.n)
        estimate = float(total.value.value[0]) / max(verdict.n, 1)
        return Finding("control", verdict.n, verdict.hospitals, {"mean": [{"estimate": estimate}]})


def case(fault: str = "") -> Case:
    """A control as a case of the laws."""
    return Case(Control("y ~ x1", fault, Ground(SCHEMA)), fault, ("x1",))


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control is installed for these tests alone."""
    monkeypatch.setitem(rounds._names, Control, "control")


CAUGHT = {
    laws.any_deal_gives_the_pooled_finding: ("mean of means", "estimate"),
    laws.the_order_of_rows_does_not_matter: ("first row", "estimate"),
    laws.no_shape_depends_on_people: ("as long as people", "its bounds are"),
    laws.few_people_give_no_nan: ("nobody's mean", "estimate is nan"),
}


@pytest.mark.parametrize("law", CAUGHT, ids=lambda law: law.__name__)
def test_a_method_that_breaks_a_law_is_caught(law: Callable[[Case], None]) -> None:
    fault, said = CAUGHT[law]
    with pytest.raises(AssertionError, match=said):
        law(case(fault))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_method_that_keeps_it_is_not(law: Callable[[Case], None]) -> None:
    law(case())
