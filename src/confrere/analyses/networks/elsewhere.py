"""Networks trained without each group of hospitals in turn, and measured on the group that they did not see.

Whose scores are told is measured once: the counts by score of one group of people under two networks would differ by a
few of them. So the network of all groups is measured on nobody, and that of all others on the group alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from confrere.analyses.finding import Finding
from confrere.analyses.learning.elsewhere import Quality, left_out
from confrere.analyses.networks.measured import Told, measured
from confrere.analyses.networks.network import About, Network
from confrere.analyses.networks.settled import near_chance
from confrere.rounds import Array, Flow, register


@register("_unmeasured")
@dataclass(frozen=True)
class Unmeasured(Network):
    """A network of whom nobody is held out, and that is measured on nobody."""

    __hash__ = Network.__hash__

    def told(self, weights: Array, about: About) -> Flow[Told]:
        """Nothing."""
        yield from ()
        return Told([], {}, None, ())


def elsewhere(of: Network) -> Flow[Finding]:
    """The network of all groups, and how good that of all others is in each."""
    given = {field.name: getattr(of, field.name) for field in fields(of)}
    part = Unmeasured(**given | {"leave_out": (), "holdout": 0.0})

    def measure(fit: Finding) -> Flow[Quality]:
        mean, sd = (tuple(fit.arrays[name].tolist()) for name in ("mean", "sd"))
        about = About(int(fit.facts["people_trained"]), fit.hospitals, mean, sd)
        told = yield from measured(part, fit.arrays["weights"], about)
        return Quality(told.events, told.metrics, told.cautions)

    found = yield from left_out(of, part, part, measure)
    tables = {name: rows for name, rows in found.tables.items() if rows}
    return replace(found, tables=tables, warnings=(*found.warnings, *near_chance(tables.get("left_out", []))))
