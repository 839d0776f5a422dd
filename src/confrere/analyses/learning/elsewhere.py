"""A model fitted without each group of hospitals in turn, and measured on the group that it did not see.

Of an outcome of 0 or 1 as `evaluate` does. Of times to events there is no baseline that hospitals share, and so no
risk: what is told is how the prognostic index (the sum of coefficient times term) orders people within hospitals, and
its slope, the coefficient of Cox's model with the index alone, 1 where log hazard ratios are as they were. Source:
Royston & Altman, BMC Med Res Methodol 2013;13:33, methods 1 and 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from confrere.analyses.cox import Beta, Cox, Start, Tables
from confrere.analyses.finding import Caution, Finding, Record
from confrere.analyses.learning.evaluate import Evaluate
from confrere.analyses.learning.left_out import ROYSTON, Group, asked, others
from confrere.analyses.learning.scored import Z
from confrere.analyses.newton import Peak
from confrere.analyses.scaling import Standard
from confrere.errors import ModelError
from confrere.rounds import Design, Flow, People, register, support, together, within

T = TypeVar("T")

INDEX = "prognostic index"
COLUMNS = ("metric", "estimate", "std_error", "conf_low", "conf_high")


class Quality(NamedTuple):
    """How good a fit is in a group: of how many events, by which metrics, and what was said of them."""

    events: int | None
    metrics: list[Record]
    warnings: tuple[Caution, ...] = ()


Measure = Callable[[Finding], Flow[Quality]]


@dataclass(frozen=True)
class Elsewhere(Evaluate):
    """The evaluation in one of several groups: hospitals count what is asked of as many people together."""

    among: int = 1

    __hash__ = Evaluate.__hash__

    @property
    def shares(self) -> int:
        """Groups."""
        return self.among


@register("_index")
@dataclass(frozen=True)
class Index(Cox):
    """Cox's model whose one term is the prognostic index, the terms of the formula times `slopes` (p,)."""

    slopes: Beta = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The index."""
        return (INDEX,)

    def rows(self, people: People) -> Design:
        """The index of the complete rows, and their outcome."""
        made = super().rows(people)
        x = (made.data.x @ np.array(self.slopes))[:, None]
        return dataclasses.replace(made, x=x, names=self.names, data=made.data._replace(x=x))

    def _proportional(self, peak: Peak, beta: Beta, z: Standard, s: Start, budget: int) -> Flow[Tables]:
        """None: of these people no more is asked than how good the index is."""
        yield from ()
        return {}


def left_out(
    of: Any, whole: Any, part: Any, measure: Measure, fitted: Flow[tuple[Finding, ...]] | None = None
) -> Flow[Finding]:  # fmt: skip
    """The fit of all groups, with the table `left_out`: how good that of all others is in each.

    `whole` is the analysis that is fitted to all groups, `part` the one that is fitted without each, of the same
    people; `measure` gives what is asked of a group about a fit. `fitted` is the flow of all these fits, where they
    have to know of each other.
    """
    groups = [tuple(sorted(group)) for group in of.leave_out]
    inside = yield from together(*(_in(group, support(part.design)) for group in groups))
    if fitted is None:
        fitted = together(_in(asked(groups)[-1], whole.flow()), *(_in(names, part.flow()) for names in others(groups)))
    fits = yield from fitted
    found = fits[0]
    measured = yield from together(
        *(_in(group, _measured(measure, fit, group)) for group, fit in zip(groups, fits[1:], strict=True))
    )
    rows: list[Record] = []
    warnings = list(found.warnings)
    for group, verdict, fit, of_group in zip(groups, inside, fits[1:], measured, strict=True):
        name = ", ".join(group)
        said = {"left_out": name, "n": verdict.n, "events": of_group.events}
        said |= {"lambda": fit.facts["lambda"]} if "lambda_min" in fit.facts else {}
        rows += [said | {key: row.get(key) for key in COLUMNS} for row in of_group.metrics]
        coarse = (w for w in of_group.warnings if w.code == "coarse-score")  # of everybody in it
        warnings += [w._replace(text=f"{name}: {w.text.partition(': ')[2]}") for w in coarse]
    return dataclasses.replace(
        found, tables={**found.tables, "left_out": rows}, warnings=tuple(warnings), cite=(ROYSTON, *found.cite)
    )


def _in(group: Group, flow: Flow[T]) -> Flow[T]:
    return within(",".join(group), flow)


def _measured(measure: Measure, fit: Finding, group: Group) -> Flow[Quality]:
    """How good a fit is in a group."""
    try:
        terms = [row["estimate"] for row in fit.tables.get("coefficients", []) if row["term"] != "Intercept"]
        if terms and not any(terms):
            raise ModelError("the fit to the others has no term that is not 0; take a smaller penalty")
        return (yield from measure(fit))
    except ModelError as error:
        raise ModelError(f"in {', '.join(group)}: {error}", about=error.about) from None


def of_risk(of: Any) -> Measure:
    """The measure of a regression of an outcome of 0 and 1, by the logit."""

    def measure(fit: Finding) -> Flow[Quality]:
        outcome, _, right = of.formula.partition("~")
        numbers = dict(zip(of.names, fit.arrays["estimate"].tolist(), strict=True))
        many = len(of.leave_out)
        score = Elsewhere(outcome.strip(), model=right.strip(), coefficients=numbers, ground=of.ground, among=many)
        score.check()
        found = yield from score.flow()
        return Quality(found.events, found.tables["metrics"], found.warnings)

    return measure


def of_times(cox: Cox) -> Measure:
    """The measure of a regression of times to an event: Harrell's concordance within hospitals, and the slope."""

    def measure(fit: Finding) -> Flow[Quality]:
        slopes = tuple(fit.arrays["estimate"].tolist())
        found = yield from Index(cox.formula, cox.ties, cause=cox.cause, ground=cox.ground, slopes=slopes).flow()
        (line,) = found.tables["coefficients"]
        rows: list[Record] = [{**line, "metric": "calibration slope"}]
        if "concordance" in found.facts:
            c, se = float(found.facts["concordance"]), float(found.facts["concordance_se"])
            limits = {"conf_low": max(0.0, c - Z * se), "conf_high": min(1.0, c + Z * se)}
            rows.insert(0, {"metric": "concordance", "estimate": c, "std_error": se, **limits})
        return Quality(found.events, rows)

    return measure
