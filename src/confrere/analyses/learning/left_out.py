"""A regression fitted without each group of hospitals in turn, and measured on the group that it did not see.

Internal-external cross-validation (Royston, Parmar & Sylvester, Stat Med 2004;23:907; Steyerberg & Harrell, J Clin
Epidemiol 2016;69:245): whether a model holds elsewhere. Groups have three hospitals at least and none in common, since
the sums of all groups less those of all but one are the sums of one. So whatever is asked of several groups together is
first judged in each of them by itself: sums of these tell no more than sums of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from confrere.analyses.finding import Finding, Record
from confrere.analyses.learning.evaluate import Evaluate
from confrere.errors import ModelError
from confrere.rounds import Flow, support, together, within
from confrere.study.ground import model_of

T = TypeVar("T")


@dataclass(frozen=True)
class Elsewhere(Evaluate):
    """The evaluation in one of several groups: hospitals count what is asked of as many people together."""

    among: int = 1

    __hash__ = Evaluate.__hash__

    @property
    def shares(self) -> int:
        """Groups."""
        return self.among


Group = tuple[str, ...]
SOLE = (
    "leave_out compares groups of hospitals, and beside another analysis of some of them a few people would be told "
    "apart. Make a study of each"
)
FEWEST = 3  # hospitals of a group
COLUMNS = ("metric", "estimate", "std_error", "conf_low", "conf_high")


def others(groups: Sequence[Group]) -> list[Group]:
    """Of each group the hospitals of all others."""
    return [tuple(sorted(name for other in groups if other != group for name in other)) for group in groups]


def asked(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Every group of hospitals that is asked: each, all but each, and all."""
    if not groups:
        return ()
    whole = tuple(sorted(name for group in groups for name in group))
    return tuple(dict.fromkeys((*(tuple(sorted(g)) for g in groups), *others(groups), whole)))


def left_out(of: Any) -> Flow[tuple[Finding, list[Record]]]:
    """The fit of all groups, and the table `left_out`: how good that of all others is in each group. `of` is a `Glm`
    and its `groups`."""
    groups = [tuple(sorted(group)) for group in of.leave_out]
    yield from together(*(_in(group, support(of.glm.design)) for group in groups))
    fits = [_in(names, of.glm.flow()) for names in (asked(groups)[-1], *others(groups))]
    whole, *parts = yield from together(*fits)
    measured = yield from together(
        *(_in(group, _measured(of, fit, group)) for group, fit in zip(groups, parts, strict=True))
    )
    return whole, [record for records in measured for record in records]


def _in(group: Group, flow: Flow[T]) -> Flow[T]:
    return within(",".join(group), flow)


def _measured(of: Any, fit: Finding, group: Group) -> Flow[list[Record]]:
    """How good a fit is in a group."""
    outcome, _, right = of.formula.partition("~")
    numbers = dict(zip(of.names, fit.arrays["estimate"].tolist(), strict=True))
    many = len(of.leave_out)
    score = Elsewhere(outcome.strip(), model=right.strip(), coefficients=numbers, ground=of.ground, among=many)
    score.check()
    try:
        found = yield from score.flow()
    except ModelError as error:
        raise ModelError(f"in {', '.join(group)}: {error}", about=error.about) from None
    said = {"left_out": ", ".join(group), "n": found.n, "events": found.events}
    return [said | {key: row.get(key) for key in COLUMNS} for row in found.tables["metrics"]]


def wrong(of: Any) -> Iterator[str]:
    """Why no group can be left out of a regression."""
    groups = of.leave_out
    names = [name for group in groups for name in group]
    if groups and (len(groups) < 2 or len(set(names)) < len(names) or min(map(len, groups)) < FEWEST):
        yield f"leave_out is of two groups of hospitals or more, each of {FEWEST} at least, and none in two of them"
    model = model_of(of.formula, of.ground)
    if groups and (of.weights or of.missing != "complete" or model.offsets or model.strata or model.pooled):
        yield "leave_out is of a regression without weights, imputation, offset(), standardize(); leave one of them out"
