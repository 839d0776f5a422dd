"""`standardize()` and `center()` in formulas: mean and standard deviation over the network, by a first ask.

They are asked once per formula, before the analysis, about the people whom it analyses, and become a part of its
public ground, so that every hospital makes the same columns. The standard deviation has n - 1, as R's scale().
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.errors import ModelError
from confrere.rounds import Design, Flow, People, Sum, ask, local, register, support
from confrere.study.cohorts import reads
from confrere.study.ground import Ground, complete, left_out, model_of


class Moments(NamedTuple):
    """Raw moments of the expressions (p,)."""

    first: Sum  # (p,) sums
    second: Sum  # (p,) sums of squares of what lies above or below the mean


@register("_pooled")
@dataclass(frozen=True)
class Pooled:
    """Mean and standard deviation of the expressions that a formula standardises or centres."""

    formula: str
    ground: Ground = Ground()

    def design(self, people: People) -> Design:
        """The expressions, for the people who are complete in the formula."""
        model, frame = model_of(self.formula, self.ground), people.table.frame
        columns = tuple(sorted({*model.columns, *self.ground.complete}))
        inner = model.inner(frame)
        x = np.column_stack([inner[text] for text in model.pooled])
        rows = complete(frame, columns) & np.isfinite(x).all(axis=1)
        return Design(
            n=int(rows.sum()), rows=rows, x=x[rows], names=model.pooled, columns=columns,
            left_out=left_out(people.table, columns, rows),
        )  # fmt: skip

    @local(on="design", repeats=2)
    def moments(self, people: People, centre: tuple[float, ...]) -> Moments:
        """Sums of what lies off a public centre (p,), and of its square."""
        x = people.design.x - np.array(centre)
        return Moments(*(people.derived(v.sum(axis=0), scale=40) for v in (x, x**2)))

    def flow(self) -> Flow[tuple[tuple[str, float, float], ...]]:
        """(expression, mean, SD) of each: the mean first, then squares around it."""
        names = model_of(self.formula, self.ground).pooled
        verdict = yield from support(self.design)
        first = yield from ask(self.moments, (0.0,) * len(names))
        mean = first.first.value / verdict.n
        around = yield from ask(self.moments, tuple(mean.tolist()))
        sd = np.sqrt(around.second.value / (verdict.n - 1))
        for name, s in zip(names, sd, strict=True):
            if not s > 0:
                raise ModelError(
                    f"{name!r} is the same for everybody: it cannot be standardised. Leave it out",
                    about="constant-term",
                )
        return tuple((n, float(m), float(s)) for n, m, s in zip(names, mean, sd, strict=True))


def with_pooled(analysis: Any) -> Flow[Any]:
    """The analysis, with the moments that its formula needs on its ground."""
    if not (getattr(analysis, "formula", "") and model_of(analysis.formula, analysis.ground).pooled):
        return analysis
    # about the same people as the analysis, who also have their case weights: a few people fewer would show them
    ground = replace(analysis.ground, complete=tuple(sorted({*analysis.ground.complete, *reads(analysis)})))
    pooled = yield from Pooled(analysis.formula, ground).flow()
    return replace(analysis, ground=replace(analysis.ground, pooled=pooled))
