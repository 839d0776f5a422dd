"""How good a network is, on people held out: from counts of people by score, from sums of losses, from pairs.

Of marks, levels, numbers and counts as for boosted trees (`learning.scored`). Of times to events Harrell's concordance
of pairs within hospitals, as of Cox regression: its standard error is by the infinitesimal jackknife. What each
hospital adapted to itself is measured by the mean loss over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from scipy import special

from confrere.analyses import concordance
from confrere.analyses.finding import Caution, Citation, Record
from confrere.analyses.learning import attack_times
from confrere.analyses.learning.attack import YEOM, attacked
from confrere.analyses.learning.conformal import judged
from confrere.analyses.learning.reconstruction import rebuilt
from confrere.analyses.learning.scored import DELONG, Scored, apparent
from confrere.analyses.networks.model import predicted
from confrere.analyses.networks.settled import near_chance
from confrere.rounds import Array, Bools, Cells, Design, Flow, People, Sum, ask, local, register
from confrere.study.ground import Ground, narrowed

Z = float(special.ndtri(0.975))
SAMPLES = ("held out", "training")


class Told(NamedTuple):
    """What is told of a network."""

    metrics: list[Record]
    more: dict[str, list[Record]]  # further tables
    events: int | None
    cautions: tuple[Caution, ...]
    cite: tuple[Citation, ...] = ()


@dataclass(frozen=True, eq=False)
class Plain:
    """What `Scored` asks of a model, where scores were made already."""

    objective: str

    def score(self, values: Array) -> Array:
        """The scores (n,), or (n, levels)."""
        return values if self.objective == "multiclass" else values[:, 0]

    def prediction(self, score: Array) -> Array:
        """What scores mean."""
        return np.exp(score) if self.objective == "poisson" else score


class Ranked(NamedTuple):
    """Comparable pairs: concordant, discordant, tied; and events."""

    pairs: Sum  # (3,)
    events: Sum  # ()


class Spread(NamedTuple):
    """Sum of squared influence on the concordance."""

    square: Sum  # ()


class Adapted(NamedTuple):
    """Of the shared network and of those adapted to each hospital: people, sums of their loss and of its square; of
    times to events, pairs as in `Ranked`."""

    sums: Sum  # (2, 3)


@register("_network")
@dataclass(frozen=True)
class Measured:
    """A trained network among its own people. `of` is the analysis that trained it."""

    of: Any
    weights: Array
    about: Any
    sample: str = "held out"

    def __hash__(self) -> int:
        return hash((self.of, self.sample))

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Measured) and (self.of, self.sample) == (other.of, other.sample)
        return same and np.array_equal(self.weights, other.weights)  # type: ignore[attr-defined]

    def scores(self, people: People, forest: Plain, values: Array) -> Array:
        """The scores of people, which their values are."""
        return forest.score(values)

    @property
    def share(self) -> float:
        """The share of people who are held out."""
        return float(self.of.share)

    @property
    def conformal(self) -> float:
        """How often a set of classes may miss the right one; 0 for no sets."""
        return float(self.of.conformal)

    @property
    def one_row(self) -> bool:
        """Whether people are measured by one row of their bag."""
        return bool(self.of.one_row)

    @property
    def by(self) -> str:
        """The column of subgroups by which sets are told."""
        return str(self.of.by)

    @property
    def ground(self) -> Ground:
        """The study's columns."""
        return cast(Ground, self.of.ground)

    @property
    def outcome(self) -> str:
        """What is predicted."""
        return str(self.of.outcome)

    @property
    def needs(self) -> str:
        """The disclosure class of cells of scores."""
        return "model_weights"

    def people(self, people: People) -> Design:
        """Everybody's outcome and scores, and who trained: as `Scored` reads them."""
        made: Design
        made, train = self.of.chosen(people)
        score = scored(self.of, people, made, self.weights, self.about)
        y, numeric = made.data.value, self.of.goal in ("squared", "poisson")
        kinds = 1 if numeric else max(2, self.of.sizes.outputs)
        index = np.where(train, 0, 1) * kinds + (0 if numeric else y.astype(np.int64))
        cells = {"outcome": Cells(index.astype(np.int64), (1, (2 if self.share else 1) * kinds))}
        if self.of.goal == "squared":
            score = self.about.mean[-1] + self.about.sd[-1] * score
        return replace(
            made, x=y[:, None] if numeric else np.empty((made.n, 0)), names=("the outcome",) if numeric else (),
            flags={}, cells=cells, data=(y, score, train, None), crowd=int(train.sum()),
        )  # fmt: skip

    def tried(self, people: People) -> attack_times.Tried:
        """Everybody who is followed, their losses, and who trained: for the attack on membership."""
        made: Design
        made, train = self.of.chosen(people)
        score = scored(self.of, people, made, self.weights, self.about)
        rows = made.data
        lost = exits(score[:, 0], rows.time, rows.event > 0) if self.of.goal == "cox" else self._lived(score, rows)
        return attack_times.Tried(replace(made, crowd=int(train.sum())), lost, train)

    def _lived(self, score: Array, rows: Any) -> Array:
        """Minus the log likelihood of each person (n,) in discrete time."""
        from confrere.analyses.networks import losses, training

        return training.lost("discrete", score, losses.lived(rows.time, rows.event, self.of.intervals))

    def ranking(self, people: People) -> Design:
        """The people of one sample, their times and scores."""
        made = sampled(self.of, people, self.sample == "training")
        rows, ids = made.data
        score = scored(self.of, people, made, self.weights, self.about)
        return replace(made, data=(rows, ids, score))

    @local(on="ranking")
    def ranked(self, people: People) -> Ranked:
        """Comparable pairs of people of this hospital, by whether the scores order them."""
        rows, _, score = people.design.data
        got = pairs(self.of, rows, score)
        events = np.array(float((rows.event > 0).sum()))
        return Ranked(people.derived(got.sums, dims=("kinds",)), people.derived(events, scale=0, known=True))

    @local(on="ranking")
    def spread(self, people: People, c: float, total: float) -> Spread:
        """Sum over people of squared influence on the concordance."""
        rows, _, score = people.design.data
        influence = pairs(self.of, rows, score).influence(c, total)
        return Spread(people.derived(np.array((influence**2).sum())))


def sampled(of: Any, people: People, training: bool) -> Design:
    """The people of training, or who are held out; data are their rows and their ids where there are bags."""
    made: Design
    made, train = of.chosen(people)
    if of.share:
        made = narrowed(made, train if training else ~train, "of the other sample")
    flags = {"event": made.data.event > 0} if made.data.event is not None else {}
    ids = of.ids(people, made) if of.bags else ()
    bare = replace(made, x=np.empty((made.n, 0)), names=(), flags=flags, cells={}, data=(made.data, ids))
    return replace(bare, crowd=int(train.sum()))  # of the hospitals that trained, no other


def scored(of: Any, people: People, made: Design, weights: Array, about: Any) -> Array:
    """Scores (n, outputs) of the people of a design; of one with ids they are at hand."""
    from confrere.analyses.networks.training import scores

    rows, ids = made.data if isinstance(made.data, tuple) and len(made.data) == 2 else (made.data, None)
    ids = (of.ids(people, made) if of.bags else ()) if ids is None else ids
    given = of.rows(people, rows, ids, about)
    if of.one_row:
        given = given._replace(bag=drawn(given.bag, people.words("one row", ids, shared=True)))
    return scores(of.built, weights, given).reshape(made.n, of.sizes.outputs)  # of nobody too


def drawn(bag: Callable[[int], Array], words: Any) -> Callable[[int], Array]:
    """One row of the bag of each person, drawn by their keyed hash (n,)."""

    def one(i: int) -> Array:
        rows = bag(i)
        at = int(words[i]) % max(1, len(rows))
        return rows[at : at + 1]

    return one


def exits(score: Array, time: Array, event: Bools) -> Array:
    """Half the squared deviance residual (n,) of log hazard ratios, by Breslow's baseline of these people."""
    if not len(score):
        return np.zeros(0)
    risk, (times, at) = np.exp(score - score.max()), np.unique(time, return_inverse=True)
    left = np.bincount(at, risk, len(times))
    beyond = np.cumsum(left[::-1])[::-1]
    expected = np.maximum(risk * np.cumsum(np.bincount(at, event, len(times)) / beyond)[at], 1e-300)
    return np.asarray(expected - event - event * np.log(expected))


def pairs(of: Any, rows: Any, score: Array) -> concordance.Pairs:
    """Everybody's comparable pairs in this hospital."""
    risk = score[:, 0] if of.goal == "cox" else predicted("discrete", score)
    return concordance.pairs(rows.time, rows.event > 0, np.round(risk, 10), np.ones(len(risk)))


def adaptable(of: Any, people: People, weights: Array, about: Any) -> Array:
    """(3,) people, and sums of their loss and its square under these weights; of times to events, pairs."""
    from confrere.analyses.networks.training import lost, scores

    rows, ids = people.design.data
    given = of.rows(people, rows, ids, about)
    score = scores(of.built, weights, given)
    if of.goal in ("cox", "discrete"):
        return pairs(of, rows, score).sums
    each = lost(of.goal, score, given.y)
    return np.array([len(each), each.sum(), (each**2).sum()])


def measured(of: Any, weights: Array, about: Any) -> Flow[Told]:
    """All that is told of a trained network."""
    cautions: tuple[Caution, ...] = () if of.share else (apparent(of),)
    metrics: list[Record] = []
    events: int | None = None
    cite: tuple[Citation, ...] = ()
    more: dict[str, list[Record]] = {}
    if not of.personal and of.goal in ("cox", "discrete"):
        many = 0
        for sample in SAMPLES[0 if of.share else 1 :]:
            rows, found = yield from _concordance(Measured(of, weights, about, sample))
            metrics += rows
            many += found
        events = many
        attack = yield from attack_times.attacked(Measured(of, weights, about), of.share)
        if attack.rows:
            more, cite = {"attack": attack.rows}, (YEOM,)
        cautions = (*cautions, *attack.cautions)
    elif not of.personal:
        by_score = Scored(Measured(of, weights, about), Plain(of.goal))  # type: ignore[arg-type]
        told, sets = yield from judged(by_score)
        attack = attacked(told)
        metrics, events = told.tables.pop("metrics"), told.events
        more = told.tables | sets.tables | ({"attack": attack.rows} if attack.rows else {})
        cautions = (*told.cautions, *attack.cautions, *sets.cautions)
        cite = (*sets.cite, *((DELONG,) if of.goal == "binary" else ()), *((YEOM,) if attack.rows else ()))
    if of.personal or of.fine_tune:
        metrics += yield from _adapted(of, weights, about)
    memory = rebuilt(metrics)
    cautions = (*cautions, *near_chance(metrics), *memory.cautions)
    return Told(metrics, more | memory.tables, events, cautions, (*cite, *memory.cite))


def _concordance(of: Measured) -> Flow[tuple[list[Record], int]]:
    """Harrell's C within hospitals; and how many events the people have."""
    got = yield from ask(of.ranked)
    total, events = float(got.pairs.value.sum()), round(float(got.events.value))
    if total <= 0:
        return [], events
    c = concordance.concordance(got.pairs.value)
    spread = yield from ask(of.spread, c, total)
    se = float(np.sqrt(spread.square.value))
    row = {"metric": "concordance", "estimate": c, "conf_low": max(0.0, c - Z * se), "conf_high": min(1.0, c + Z * se)}
    return [row | {"sample": of.sample}], events


def _adapted(of: Any, weights: Array, about: Any) -> Flow[list[Record]]:
    """The shared network and those adapted to each hospital, among the same people."""
    got = yield from ask(of.adapted, weights, about)
    sample, rows = SAMPLES[0 if of.share else 1], []
    for which, (first, second, third) in zip(("shared", "adapted to each hospital"), got.sums.value, strict=True):
        if (which == "shared" and of.personal) or first + second + third <= 0:
            continue
        if of.goal in ("cox", "discrete"):
            c = concordance.concordance(np.array([first, second, third]))
            row: Record = {"metric": "concordance", "estimate": c, "conf_low": None, "conf_high": None}
        else:
            mean = float(second / first)
            se = float(np.sqrt(max(0.0, third / first - mean**2) / first))
            row = {"metric": "loss", "estimate": mean, "conf_low": mean - Z * se, "conf_high": mean + Z * se}
        rows.append(row | {"sample": f"{sample}, {which}"})
    return rows
