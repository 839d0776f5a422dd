"""What is read off two arms whose hazards are even within cells, and the tables of a finding that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from confrere.analyses.effects import measures
from confrere.analyses.effects.even_hazards import Arms, Value
from confrere.analyses.effects.influence import Rows
from confrere.analyses.finding import Record, coefficients
from confrere.analyses.newton import Peak
from confrere.analyses.scaling import Standard
from confrere.errors import ModelError
from confrere.rounds import Array


class Slopes(NamedTuple):
    """Derivatives (k, causes, 2, cells) of values by weighted events, and (k, 2, cells) by times at risk, flat; public.

    Of a variance.
    """

    events: Rows
    risk: Rows

    def of(self, i: int) -> tuple[Array, Array]:
        """Those of a value: (causes, 2, cells) and (2, cells)."""
        risk = np.array(self.risk[i]).reshape(2, -1)
        return np.array(self.events[i]).reshape(-1, *risk.shape), risk


def wanted(arms: Arms, times: Sequence[float], until: float) -> list[Value]:
    """Risks by cause, time and arm; means until a time by arm; the log hazard ratio of each cause."""
    causes = range(len(arms.events))
    risks = [arms.risk_at(a, t, c) for c in causes for t in times for a in (0, 1)]
    return [*risks, *(arms.mean_until(a, until) for a in (0, 1)), *(arms.log_hazard_ratio(c) for c in causes)]


def slopes_of(values: Sequence[Value]) -> Slopes:
    """The derivatives of values, as an argument of steps."""
    return Slopes(
        tuple(tuple(v.events.ravel().tolist()) for v in values), tuple(tuple(v.risk.ravel().tolist()) for v in values)
    )


class Read(NamedTuple):
    """What is `wanted` of two arms by their names, and the covariance (k, k) of it; one cause without a name."""

    values: list[Value]
    vcov: Array
    times: tuple[float, ...]
    until: float
    names: tuple[str, str]
    causes: tuple[str, ...] = ("",)

    def effects(self) -> list[Record]:
        """By cause the hazard ratio, differences and ratios of risks at times; the difference of means."""
        made = []
        for c, cause in enumerate(self.causes):
            last = self._means + 2 + c
            if not self.vcov[last, last] > 0:
                raise ModelError(
                    f"the people with the event{f' {cause}' if cause else ''} are the same in both arms: there is "
                    f"nothing to compare. Ask about more people, or for a later time"
                )
            ratio = measures.record("hazard ratio", self.values[last].value, float(np.sqrt(self.vcov[last, last])))
            made.append(_of(ratio, cause))
            for i, t in enumerate(self.times):
                both = slice(first := 2 * (c * len(self.times) + i), first + 2)
                risk = np.array([v.value for v in self.values[both]])
                which = ["risk difference", *(["risk ratio"] if risk.min() > 0 else [])]
                made += [_of(r, cause, t) for r in measures.effects(which, risk, self.vcov[both, both])]
        return [*made, _of(measures.record("RMST difference", *self._difference(self._means)), "", self.until)]

    def risks(self) -> list[Record]:
        """Risks by cause, time and arm."""
        places = ((c, t, a) for c in self.causes for t in self.times for a in self.names)
        return [
            {"group": arm, **_named(cause), "time": float(t), **self._limits(i)}
            for i, (cause, t, arm) in enumerate(places)
        ]

    def means(self) -> list[Record]:
        """Mean times free of every event by arm."""
        return [{"group": self.names[a], "tau": self.until, **self._limits(self._means + a)} for a in (0, 1)]

    @property
    def _means(self) -> int:
        """The place of the first mean."""
        return 2 * len(self.causes) * len(self.times)

    def _difference(self, one: int) -> tuple[float, float]:
        """The value at place `one` + 1 less that at `one`, and its standard error."""
        v = self.vcov[one : one + 2, one : one + 2]
        return self.values[one + 1].value - self.values[one].value, float(np.sqrt(v[0, 0] + v[1, 1] - 2 * v[0, 1]))

    def _limits(self, place: int) -> Record:
        value, se = self.values[place].value, float(np.sqrt(self.vcov[place, place]))
        (made,) = coefficients([""], np.array([value]), np.array([se]))
        return {key: made[key] for key in ("estimate", "std_error", "conf_low", "conf_high")}


def curve_of(arms: Arms, names: Sequence[str]) -> list[Record]:
    """The probability of no event at the end of each cell, by arm."""
    return [
        {"group": arm, "time": float(t), "estimate": arms.survival(a, float(t))}
        for a, arm in enumerate(names)
        for j, t in enumerate(arms.edges[1:])
        if (arms.risk[a][: j + 1] > 0).all()
    ]


def terms_of(peak: Peak, z: Standard, names: Sequence[str], exponent: str) -> list[Record]:
    """Coefficients of the standardised terms, the last of a fit, in units of the terms; errors are the model's."""
    sd, terms = np.array(z.sd), slice(len(peak.beta) - len(names), None)
    se = np.sqrt(np.diag(np.linalg.inv(peak.information)))[terms]
    return coefficients(names, peak.beta[terms] / sd, se / sd, exponent=exponent)


def _named(cause: str) -> Record:
    return {"cause": cause} if cause else {}


def _of(record: Record, cause: str, time: float | None = None) -> Record:
    """A record with its cause and time after its measure."""
    when = {} if time is None else {"time": float(time)}
    return {"measure": record.pop("measure"), **_named(cause), **when, **record}
