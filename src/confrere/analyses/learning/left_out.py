"""Groups of hospitals that are left out in turn: which are asked, and what cannot be left out. `elsewhere` measures.

Internal-external cross-validation (Royston, Parmar & Sylvester, Stat Med 2004;23:907; Steyerberg & Harrell, J Clin
Epidemiol 2016;69:245): whether a model holds elsewhere. Groups have three hospitals at least and none in common, since
the sums of all groups less those of all but one are the sums of one. So whatever is asked of several groups together is
first judged in each of them by itself: sums of these tell no more than sums of it.

That holds for sums over people as they are. Where hospitals merge cells, for cut points, times or scores, two sets of
groups merge them otherwise, and the cells differ by a few people: so the fits that are compared have no such cells, and
each group is divided by the scores of one model alone, that of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from confrere.analyses.finding import Citation
from confrere.study.ground import model_of

Group = tuple[str, ...]
SOLE = (
    "leave_out compares groups of hospitals, and beside another analysis of some of them a few people would be told "
    "apart. Make a study of each"
)
FEWEST = 3  # hospitals of a group
ROYSTON = Citation(
    "Royston P, Parmar MKB, Sylvester R. Construction and validation of a prognostic model across several studies, "
    "with an application in superficial bladder cancer. Stat Med 2004;23:907-926", "10.1002/sim.1691"
)  # fmt: skip


class LeavesOut:
    """What an analysis with the setting `leave_out`, groups of hospitals, says to the study that it is in."""

    leave_out: tuple[Group, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of hospitals that are asked, where some are left out in turn."""
        return asked(self.leave_out)

    @property
    def nested(self) -> tuple[Group, ...]:
        """The groups of these that others have people of."""
        return self.groups[:-1]

    @property
    def sole(self) -> str:
        """Why a study has no analysis beside this one, where it has none."""
        return SOLE if self.leave_out else ""


def listed(groups: Any) -> tuple[Group, ...]:
    """Groups as a study has them, as tuples."""
    return tuple(tuple(group) for group in groups)


def others(groups: Sequence[Group]) -> list[Group]:
    """Of each group the hospitals of all others."""
    return [tuple(sorted(name for other in groups if other != group for name in other)) for group in groups]


def asked(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Every group of hospitals that is asked: each, all but each, and all."""
    if not groups:
        return ()
    whole = tuple(sorted(name for group in groups for name in group))
    return tuple(dict.fromkeys((*(tuple(sorted(g)) for g in groups), *others(groups), whole)))


def wrong(of: Any) -> Iterator[str]:
    """Why no group can be left out of a regression."""
    if not of.leave_out:
        return
    yield from unlike(of.leave_out)
    model = model_of(of.formula, of.ground)
    timed = model.outcome is not None and model.outcome.kind == "surv"
    whole = getattr(of, "missing", "complete") == "complete" and not (model.offsets or model.pooled)
    if of.weights or not whole or (model.strata and not timed):
        yield "leave_out is of a regression without weights, imputation, offset(), standardize(); leave one of them out"
    if getattr(of, "baseline", "") == "shared":
        yield "leave_out compares groups, in which times of few people would be merged otherwise: leave baseline out"


def unlike(groups: Sequence[Group]) -> Iterator[str]:
    """Why these are no groups that can be left out in turn."""
    names = [name for group in groups for name in group]
    if len(groups) < 2 or len(set(names)) < len(names) or min(map(len, groups)) < FEWEST:
        yield f"leave_out is of two groups of hospitals or more, each of {FEWEST} at least, and none in two of them"
