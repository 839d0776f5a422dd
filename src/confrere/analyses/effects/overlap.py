"""Where the arms can be compared: people by arm in public bins of the propensity, and whom trimming leaves out.

Bins are a twentieth of the propensity wide; the gate merges neighbours until every bin has, in either arm, nobody or
enough people. Edges are kept, where that allows it, at the bounds of trimming and at those of equipoise. People in
equipoise have a preference score between 0.3 and 0.7: the propensity with the prevalence of treatment taken off, logit
F = logit e - logit share (Walker et al., Comp Eff Res 2013;3:11). Trimming: Crump, Hotz, Imbens & Mitnik, Biometrika
2009;96:187. No count may tell few people from the rest: a bound that would moves inwards to the next edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from confrere.analyses.effects.nuisance import Among, Fitted, Learned, Trim, local_of
from confrere.analyses.finding import Caution, Record
from confrere.errors import ModelError
from confrere.rounds import Array, Cells, Design, Flow, People, Sum, Verdict, ask, local, register, support
from confrere.study.ground import Ground, design_of

BINS = 20
EQUIPOISE = (0.3, 0.7)  # preference scores
FAR, MANY = 0.05, 0.05  # propensities nearer than this to 0 or 1, of more than this share of people


class Counted(NamedTuple):
    """People by arm and merged bin."""

    people: Sum  # (2, bins)


class Histogram(NamedTuple):
    """People by arm, the others first, in bins [edges[i], edges[i + 1]) of the propensity; `share` are treated."""

    edges: Array  # (bins + 1,)
    people: Array  # (2, bins)
    share: float

    @property
    def equipoise(self) -> float | None:
        """The share of people with a preference score between 0.3 and 0.7; None where bins do not tell."""
        low, high = (_propensity(f, self.share) for f in EQUIPOISE)
        inside = self._between(low, high)
        return None if inside is None else inside / float(self.people.sum())

    def beyond(self, low: float, high: float) -> float | None:
        """People with a propensity below `low` or from `high` on; None where bins do not tell."""
        inside = self._between(low, high)
        return None if inside is None else float(self.people.sum()) - inside

    def outside(self, trim: Trim | None) -> float | None:
        """The share of people whom bounds leave out; None where bins do not tell."""
        beyond = 0.0 if trim is None else self.beyond(trim.low, trim.high)
        return None if beyond is None else beyond / float(self.people.sum())

    def _between(self, low: float, high: float) -> float | None:
        at = [np.flatnonzero(np.abs(self.edges - e) < 1e-12) for e in (low, high)]
        if not all(a.size for a in at):
            return None
        return float(self.people[:, at[0][0] : at[1][0]].sum())

    def inwards(self, low: float, high: float) -> tuple[float, float]:
        """The bounds, each moved to the next edge inwards that bins allow. ModelError where nobody is left."""
        lower, upper = self.edges[self.edges >= low - 1e-12], self.edges[self.edges <= high + 1e-12]
        if not lower.size or not upper.size or lower[0] >= upper[-1]:
            raise ModelError(
                f"trim = [{low:g}, {high:g}] leaves nobody, or too few people of an arm on a side of a bound. Take "
                f"wider bounds, or the estimand ATO"
            )
        return float(lower[0]), float(upper[-1])

    def records(self) -> list[Record]:
        """A record per bin and arm: `arm`, `propensity_from`, `propensity_to`, `n`."""
        return [
            {"arm": arm, "propensity_from": float(low), "propensity_to": float(high), "n": round(n)}
            for arm, row in zip(("untreated", "treated"), self.people, strict=True)
            for low, high, n in zip(self.edges, self.edges[1:], row, strict=False)
        ]


@register("_propensity_overlap")
@dataclass(frozen=True)
class Overlap:
    """People by arm and bin of the propensity of a model; `share` of them are treated, `marks` are edges to keep."""

    model: Fitted
    share: float
    marks: tuple[float, ...] = ()
    among: Among = Among()
    ground: Ground = Ground()

    @property
    def edges(self) -> tuple[float, ...]:
        """The edges of the public bins, from 0 to 1."""
        even = [i / BINS for i in range(BINS + 1)]
        return tuple(sorted({*even, *self.kept}))

    @property
    def kept(self) -> tuple[float, ...]:
        """Edges that stay where they can: bounds, and those of equipoise."""
        return (*self.marks, *(_propensity(f, self.share) for f in EQUIPOISE))

    def design(self, people: People) -> Design:
        """Everybody's arm and bin; of the terms there is nothing new."""
        made = design_of(people, self.model.formula, self.ground)
        made = self.among.narrow(people, made, self.ground, self.model.formula)
        edges = np.array(self.edges)
        e = local_of(made.x, made.data.value, self.model).m.mu
        at = np.searchsorted(edges[1:-1], e, side="right")
        arm = np.asarray(made.data.value, dtype=np.int64)
        size = len(edges) - 1
        marks = tuple(int(np.searchsorted(edges, m)) for m in self.kept)
        cells = Cells(arm * size + at, (2, size), rule="align", family="overlap", marks=marks)
        return Design(n=made.n, rows=made.rows, cells={"overlap": cells}, columns=made.columns, left_out=made.left_out)

    @local(on="design")
    def counted(self, people: People) -> Counted:
        """People by arm and bin."""
        return Counted(people.cells("overlap"))

    def flow(self) -> Flow[Histogram]:
        """The bins as the hospitals merged them, and the people in them."""
        verdict: Verdict = yield from support(self.design)
        got = yield from ask(self.counted)
        grid = verdict.grids["overlap"].max(axis=0)  # an arm of few people is suppressed
        starts = np.flatnonzero(np.diff(grid, prepend=-1) != 0)
        return Histogram(np.append(np.array(self.edges)[starts], 1.0), got.people.value, self.share)


def overlap(learned: Learned, marks: tuple[float, ...], among: Among, ground: Ground) -> Flow[Histogram]:
    """The flow of `Overlap` for a fitted propensity."""
    return Overlap(learned.model, learned.share, marks, among, ground).flow()


def trimmed(histogram: Histogram, model: Fitted, bounds: tuple[float, float]) -> Trim:
    """Whom these bounds leave out, as bins allow; perhaps nobody: what is asked then does not depend on it."""
    return Trim(model, *histogram.inwards(*bounds))


def cautions(histogram: Histogram, estimand: str, wanted: tuple[float, ...], used: Trim | None) -> tuple[Caution, ...]:
    """People whose arm is all but certain, and bounds of trimming that had to move."""
    found: tuple[Caution, ...] = ()
    edges, people = histogram.edges, histogram.people
    total = people.sum()
    low, high = (
        people[:, edges[1:] <= FAR + 1e-12].sum(),
        people[:, edges[:-1] >= 1 - FAR - 1e-12].sum(),
    )
    far = {"ATE": low + high, "ATT": high}.get(estimand, 0.0)
    if used is None and far > MANY * total:
        found += (
            Caution(
                "positivity",
                f"{far / total:.0%} of the people have a propensity under {FAR} or over {1 - FAR}: hardly anybody like "
                f"them had the other treatment. Set trim, or ask for the overlap population (estimand ATO).",
            ),
        )
    if used is not None and (used.low, used.high) != wanted:
        found += (
            Caution(
                "trim-moved",
                f"People were trimmed at propensities {used.low:.3g} and {used.high:.3g}, not {wanted[0]:g} and "
                f"{wanted[1]:g}: too few of an arm lie beyond these to be told from the others.",
            ),
        )
    return found


def _propensity(preference: float, share: float) -> float:
    """The propensity at a preference score."""
    return float(special.expit(special.logit(preference) + special.logit(share)))
