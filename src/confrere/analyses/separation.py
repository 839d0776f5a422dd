"""Separation: outcomes that some terms tell apart so well that no finite coefficient fits best.

Seen in three ways, from sums alone. Before the fit: a level in which nobody, or everybody, has the outcome. During
it: a log-likelihood that only complete separation can reach. At its end: an information that has become flat along
some coefficients, as it does under quasi-separation. Source: Albert & Anderson, Biometrika 1984;71:1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg

from confrere.analyses.newton import Curve, Slope, check_collinear
from confrere.analyses.outcomes import INTERCEPT, Start
from confrere.errors import ModelError
from confrere.rounds import Array, Flow

NOWHERE = -1e15  # the log-likelihood of coefficients at which a mean cannot be: below any other, and it fits the ring
FLAT = 1e-9  # an information this much smaller than at the start, along some coefficients
REMEDY = "Merge levels, leave it out, or add a ridge penalty"


def check_levels(s: Start, names: Sequence[str], intercept: bool, family: str) -> None:
    """A level in which nobody (for a binomial also everybody) has the outcome has no finite coefficient; exact."""
    total, y = float(s.total.value), float(s.outcome.value[0])
    none = 1e-11 * total
    for name, x, xx, xy in zip(names, s.first.value, s.second.value, s.cross.value, strict=True):
        if abs(x - xx) > 1e-11 * x:
            continue  # no indicator
        sides = [(f"with {name!r}", x, xy), *([(f"without {name!r}", total - x, y - xy)] if intercept else [])]
        for side, size, have in sides:
            if have <= none or (family == "binomial" and size - have <= none):
                who = "nobody" if have <= none else "everybody"
                raise ModelError(
                    f"term {name!r} separates the outcome: {who} {side} has it, so that no finite coefficient "
                    f"fits. {REMEDY}",
                    about="separation",
                )


class Watch(NamedTuple):
    """Looks at what comes back of a climb for coefficients that run away, before it goes on."""

    names: tuple[str, ...]
    separable: bool
    perfect: float  # a log-likelihood above it says complete separation
    first: list[Array]  # the information at the start, once it is known

    def slope(self, flow: Flow[Slope]) -> Flow[Slope]:
        """A slope, unless the terms separate the outcome completely."""
        got = yield from flow
        if self.separable and float(got.loglik.value) > self.perfect:
            raise ModelError(
                f"the terms {', '.join(n for n in self.names if n != INTERCEPT)} together separate the outcome: they "
                f"tell apart everybody with it from everybody without, so that no finite coefficients fit. {REMEDY}",
                about="separation",
            )
        return got

    def curve(self, asked: Callable[[bool], Flow[Curve]]) -> Flow[Curve]:
        """A curve, unless it has become flat along some coefficients. `asked` is told whether it is the last."""
        got = yield from asked(bool(self.first))
        if float(got.loglik.value) <= NOWHERE:
            raise ModelError(
                "the fit cannot start at the mean outcome: with these offsets or terms some means are out of range. "
                "Use the log link (logit for binomial), or check the offset"
            )
        if not self.first:
            self.first.append(got.information.value)
        elif self.separable:
            self._flat(got.information.value)
        return got

    def _flat(self, last: Array) -> None:
        check_collinear(self.first[0], self.names)
        ratio, along = linalg.eigh(last, self.first[0])
        if ratio[0] > FLAT:
            return
        size = np.abs(along[:, 0]) * np.sqrt(np.diag(self.first[0]))
        size[[n == INTERCEPT for n in self.names]] *= 0.0 if len(self.names) > 1 else 1.0
        worst = [self.names[int(j)] for j in np.argsort(-size) if size[j] > 0.3 * size.max()]
        raise ModelError(
            f"the outcome is separated along {', '.join(map(repr, worst))}: among some people, perhaps those of the "
            f"reference level, it never or always occurs, and the coefficients grow without bound. {REMEDY}",
            about="separation",
        )
