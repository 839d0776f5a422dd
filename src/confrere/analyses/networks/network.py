"""Networks over hospitals: each trains on its own people, and only the sum of what they would change leaves.

In a round every hospital starts from the same weights, trains on its own people, cuts its change to the Euclidean norm
`clip`, and sends it times its share of the people (`training`). The sum moves the weights (`strategies`). Sums travel
in a ring of 64 bits, at a scale that the clip allows, and large models in pieces. Who trains is told by `catalogue`: a
module by its name and hyper-parameters; no code travels.

With full batches, one step and no clipping a round is a step of gradient descent on all people, whatever their deal;
otherwise the weights depend on who is in which hospital, as those of every federated averaging do.

Features are standardised by the means and SDs of the people of training over the network, asked first. Updates tell of
the records that they were made of: the study needs the disclosure class `model_weights`, with which the gate asks for
4 k people in every hospital that takes part.

Sources: McMahan et al., AISTATS 2017, and those of `strategies`; Cox's loss Faraggi & Simon, Stat Med 1995;14:73;
discrete time Gensheimer & Narasimhan, PeerJ 2019;7:e6257; personal layers Arivazhagan et al., arXiv:1912.00818.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from confrere.analyses.finding import Finding, FlowFinding, Record, attrition
from confrere.analyses.learning.left_out import LeavesOut, listed
from confrere.analyses.learning.state import mixed
from confrere.analyses.networks import catalogue, privacy
from confrere.analyses.networks.catalogue_bags import cited
from confrere.analyses.networks.measured import Adapted, adaptable, measured, sampled
from confrere.analyses.networks.settings import limited, wrong
from confrere.analyses.networks.settled import check_outcome, still_learning
from confrere.analyses.networks.strategies import CITE, REDDI, Server
from confrere.errors import DataError, ModelError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, People, Sum, Verdict, ask, keep, local, register, support
from confrere.study.file import meant
from confrere.study.ground import Ground, design_of, model_of, narrowed
from confrere.study.omop import PERSON
from confrere.study.rows import TableRows

if TYPE_CHECKING:
    from confrere.analyses.networks.training import Client, Plan, Rows

NEEDS = "model_weights"
STEPS = 10  # of a round, where neither steps nor passes are named
PIECE = 1 << 21  # numbers of a sum at most: a large model leaves in pieces


class Begun(NamedTuple):
    """Moments of the people of training."""

    people: Sum  # ()
    moments: Sum  # (2, p + 1): sums of the features and the outcome, and of their squares


class Update(NamedTuple):
    """What the hospitals would change, weighted; and the mean of their losses while they trained."""

    weights: Sum  # (kinds, parameters of a piece): of the weights, and of scaffold's control variates
    loss: Sum  # (1,), or (0,) where noise is added


class About(NamedTuple):
    """What is known of the people of training; public. Means and SDs (p + 1,) of the features and the outcome."""

    people: int
    hospitals: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]


@register("network")
@dataclass(frozen=True)
class Network(LeavesOut):
    """A neural network of an `outcome` on `features` (the right side of a formula), on `bags` of images, or on both.

    `outcome` is a column of 0 and 1 (`objective` binary) or of numbers (`squared`, `poisson`), of declared levels
    (multiclass), or `Surv(time, event)`: Cox's loss, or with `intervals` (right ends) that of discrete time. `module`
    is of the catalogue, with hyper-parameters `settings`; `bags` a name under `[data] bags`, with `bag_size` numbers in
    a row, all made by `bag_recipe`; with `one_row` people are measured by one of theirs each, drawn by hash. `strategy`
    is fedavg, fedprox (`proximal`), scaffold, fedadam or fedyogi, with `server_rate` (0: its own). In each of `rounds`
    a hospital makes `epochs` passes, or `steps` (ten if neither is named), in batches of `batch` people (0: all) by
    `optimizer` (sgd or adam) with `learning_rate` and weight `decay`, and cuts its change to the norm `clip`. Layers
    named in `personal` stay in each hospital; `fine_tune` passes at the end adapt the network to each hospital, which
    is measured and stays there. `holdout` is the share of people who are measured on (a fifth by default where they
    have names). With `conformal` above 0 people get sets of classes that miss the right one so often; how good they are
    is told by the levels of `by` too.
    `leave_out` are groups of hospitals, three at least: the table `left_out` says how good the network of all others is
    in each; nobody else is measured.

    `privacy` above 0 adds Gaussian noise of so many times what a `privacy_unit` can change: a hospital (equal weights),
    or a person (DP-SGD: gradients clipped to `person_clip`, everybody in a step with the probability `sample`). The
    fact `epsilon` is at `delta`, of the weights alone: not of counts, means, SDs and metrics; against a hospital that
    shares its noise with the coordinator it is `epsilon_if_one_colludes`.

    Finding: tables `metrics` (`metric`, `estimate`, `conf_low`, `conf_high`, `sample`), `training` (`round`, `loss`),
    `attrition`; facts `model_sha256`, `parameters`, `people_trained`; arrays `weights`, `mean`, `sd`. Needs the class
    `model_weights`. ModelError where a feature or the outcome does not vary, or training diverges.
    """

    outcome: str
    features: str = ""
    objective: str = ""
    bags: str = ""
    bag_size: int = 0
    bag_recipe: str = ""
    one_row: bool = False
    module: str = "linear"
    settings: Mapping[str, Any] = field(default_factory=dict)
    strategy: str = "fedavg"
    rounds: int = 20
    epochs: int = 0
    steps: int = 0
    batch: int = 0
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    server_rate: float = 0.0
    decay: float = 0.0
    proximal: float = 0.01
    clip: float = 10.0
    personal: tuple[str, ...] = ()
    fine_tune: int = 0
    intervals: tuple[float, ...] = ()
    holdout: float | None = None
    conformal: float = 0.0
    by: str = ""
    seed: int = 1
    precision: str = "double"
    privacy: float = 0.0
    privacy_unit: str = "hospital"
    person_clip: float = 1.0
    sample: float = 0.1
    delta: float = 1e-5
    leave_out: tuple[tuple[str, ...], ...] = ()
    ground: Ground = Ground()

    def __hash__(self) -> int:
        return hash((self.outcome, self.features, self.module, self.strategy, self.rounds, self.seed, self.ground))

    def __post_init__(self) -> None:
        if isinstance(self.personal, str):
            raise StudyError(f"personal is the text {self.personal!r}; it is a list of layers")
        for name in ("personal", "intervals"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "leave_out", listed(self.leave_out))
        limited(self)

    # public

    def check(self) -> None:
        """The outcome and objective, what needs the person's name, and the module. StudyError says what is wrong."""
        catalogue.needs_torch()
        if found := next(wrong(self), ""):
            raise StudyError(found)
        names = [name for name, _ in self.built.named_parameters()]
        for one in self.personal:
            if not any(name == one or name.startswith(f"{one}.") for name in names):
                raise StudyError(f"personal: {one!r} is no layer of {self.module!r}; {meant(one, names)}")
        if not self.plan_mask.any():
            raise StudyError("personal names every layer; some must be shared, or nothing is learned together")

    @property
    def formula(self) -> str:
        """Outcome and features, as formulas have them; of an outcome of many levels the features alone."""
        return f"{'' if self.levels else self.outcome} ~ {self.features.strip() or '1'}".strip()

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of an outcome that has 3 or more."""
        found = self.ground.schema.levels(self.outcome) or ()
        return tuple(found) if len(found) > 2 else ()

    @cached_property
    def goal(self) -> str:
        """The objective: as it is set, or as the outcome has it."""
        if self.objective:
            return self.objective
        outcome = model_of(self.formula, self.ground).outcome
        if outcome is not None and outcome.kind == "surv":
            return "discrete" if self.intervals else "cox"
        return "multiclass" if self.levels else "binary"

    @property
    def valued(self) -> Mapping[str, tuple[float, ...]]:
        """The values that an outcome without levels may have, where not all numbers will do."""
        if self.goal not in ("binary", "poisson") or self.ground.schema.levels(self.outcome) is not None:
            return {}
        return {self.outcome: (0.0, 1.0) if self.goal == "binary" else (0.0, 1.0, 2.0, 3.0)}

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns beside those of the formula: an outcome of many levels, and the person."""
        person = (self._person,) if self._person and (self.share or self.bags) else ()
        return (*((self.outcome,) if self.levels else ()), *person, *((self.by,) if self.by else ()))

    @property
    def requires(self) -> tuple[str, ...]:
        """Whom it is about: who misses none of the formula's columns."""
        return tuple(sorted({*model_of(self.formula, self.ground).columns, *((self.outcome,) if self.levels else ())}))

    @property
    def _person(self) -> str:
        return self.ground.person or (PERSON if self.ground.cohorts else "")

    @property
    def share(self) -> float:
        """The share of people who are held out: a fifth where the person's column is named, unless it is said."""
        return self.holdout if self.holdout is not None else 0.2 if self.ground.person and not self.leave_out else 0.0

    @cached_property
    def made(self) -> dict[str, Any]:
        """The hyper-parameters of the module, defaults included."""
        return catalogue.settled(self.module, self.settings)

    @cached_property
    def sizes(self) -> catalogue.Sizes:
        """What goes into the module and comes out."""
        model = model_of(self.formula, self.ground)
        outputs = {"multiclass": len(self.levels), "discrete": len(self.intervals)}
        return catalogue.Sizes(len(model.names), self.bag_size, outputs.get(self.goal, 1))

    @property
    def built(self) -> Any:
        """A module of its own."""
        from confrere.analyses.networks.training import repeatable

        with repeatable(self.seed):  # torch draws parameters, which another hospital of this process may be drawing too
            module = catalogue.built(self.module, self.sizes, self.made)
        return module.double() if self.precision == "double" else module.float()

    @cached_property
    def plan_mask(self) -> Bools:
        """Which parameters (all,) leave."""
        from confrere.analyses.networks.training import shared

        return cast(Bools, shared(self.built, self.personal))

    @cached_property
    def begins(self) -> Array:
        """The parameters (all,) before the first round."""
        from confrere.analyses.networks.training import begun

        return begun(self.built, self.seed)

    @property
    def steps_a_round(self) -> int:
        """Steps in a round; 0 where `epochs` says it."""
        return self.steps or (0 if self.epochs else STEPS)

    @property
    def plan(self) -> Plan:
        """How hospitals train."""
        from confrere.analyses.networks.training import Plan

        single = self.privacy if self.privacy_unit == "person" else 0.0
        near = self.proximal if self.strategy == "fedprox" else 0.0
        steps = self.epochs, self.steps_a_round, self.batch, self.learning_rate, self.optimizer, self.decay
        return Plan(self.goal, *steps, near, self.clip, self.seed, single, self.person_clip, self.sample)

    @property
    def pieces(self) -> int:
        """Sums in which the parameters leave."""
        return max(1, -(-int(self.plan_mask.sum()) // PIECE))

    @property
    def updates(self) -> int:
        """How often an update is asked."""
        return self.rounds * self.pieces

    # inside each hospital

    def parted(self, people: People) -> Design:
        """Who trains and who is measured on, by outcome: neither part of the people is of a few."""
        made, train = self.chosen(people)
        event = made.data.event if made.data.event is not None else made.data.value
        kind = event.astype(np.int64) if self.goal == "multiclass" else (event > 0).astype(np.int64)
        kinds = max(2, len(self.levels))
        kind = kind if self.goal not in ("squared", "poisson") else np.zeros_like(kind)
        cells = {"samples": Cells(np.where(train, 0, 1) * kinds + kind, (1, 2 * kinds))}
        flags = {"held out": ~train}  # of three hospitals, or what is told of them would be one's own
        return replace(made, x=np.empty((made.n, 0)), names=(), flags=flags, cells=cells, crowd=int(train.sum()))

    @property
    def whom(self) -> Callable[[Any], Bools]:
        """Who (N,) has a bag, for the guards: no missing column tells it. There only where the network reads bags."""
        if not self.bags:
            raise AttributeError("whom")
        return lambda table: table.bags[self.bags].known(table.frame[self._person])

    def chosen(self, people: People) -> tuple[Design, Bools]:
        """Who is complete and has a bag; which of them (n,) train."""
        made = design_of(people, self.formula, self.ground)
        if self.levels:
            codes = TableRows(people.table.frame, self.ground.schema, {}).codes(self.outcome)[made.rows]
            made = replace(
                made, columns=(*made.columns, self.outcome), data=made.data._replace(value=codes.astype(float))
            )
            made = narrowed(made, codes >= 0, f"missing {self.outcome}")
        if self.goal == "binary" and not np.isin(made.data.value, (0, 1)).all():
            raise DataError(f"{self.outcome!r} must hold 0 and 1, or two declared levels; or set objective 'squared'")
        if self.goal == "poisson" and ((made.data.value < 0) | (made.data.value % 1 != 0)).any():
            raise DataError(f"column {self.outcome!r} must hold counts, 0 or more, for objective 'poisson'")
        if self.bags:
            made = narrowed(made, self._bags(people).known(self.ids(people, made)), f"no bag of {self.bags}")
        if not self.share:
            return made, np.ones(made.n, dtype=bool)
        words = people.drawn("network", self._person)[made.rows]
        return made, mixed(words, self.seed, -1) >= self.share

    def ids(self, people: People, made: Design) -> list[Any]:
        """The ids of the people of a design."""
        return list(people.table.frame[self._person].to_numpy()[made.rows])

    def _bags(self, people: People) -> Any:
        if self.bags not in people.table.bags:
            raise DataError(f"the table has no bags {self.bags!r}; name them in the study, [data] bags = [...]")
        return people.table.bags[self.bags].fit(self.bags, self.bag_size, self.bag_recipe)

    def design(self, people: People) -> Design:
        """The people of training: their features and outcome."""
        made, train = self.chosen(people)
        made = narrowed(made, train, "held out, to measure on")
        return replace(self._judged(made), data=(made.data, self.ids(people, made) if self.bags else ()))

    def _judged(self, made: Design) -> Design:
        """With what must rest on enough people on either side: marks and levels, and numbers as columns."""
        if self.goal in ("squared", "poisson"):
            x = np.column_stack([made.x, made.data.value])
            return replace(made, x=x, names=(*made.names, "the outcome"))
        if self.goal == "multiclass":
            cells = {"outcome": Cells(made.data.value.astype(np.int64), (1, len(self.levels)))}
            return replace(made, cells={**made.cells, **cells})
        event = made.data.value if made.data.event is None else made.data.event
        return replace(made, flags={"event": event > 0})

    @local(on="design")
    def begin(self, people: People) -> Begun:
        """How many people train, and sums of their features and outcome."""
        rows = people.design.data[0]
        y = rows.value if rows.event is None else rows.event
        y = np.zeros(people.design.n) if self.goal == "multiclass" else y
        x = np.column_stack([rows.x, y])
        moments = np.stack([x.sum(axis=0), (x**2).sum(axis=0)])
        return Begun(people.count(), people.derived(moments, dims=("powers", "terms")))

    @local(on="design", repeats="updates")
    def update(self, people: People, at: tuple[int, int], weights: Array, control: Array, about: About) -> Update:
        """What this hospital's training would change in the weights, clipped, times its share of the people.

        `at` is (round, piece); only the first piece brings the weights.
        """
        (number, piece), client = at, self._client(people, about)
        if not piece:
            client.train(number, weights, control)
        equal = self.privacy and self.privacy_unit == "hospital"
        share = (1 / about.hospitals if client.n else 0.0) if equal else client.n / about.people
        low = piece * PIECE
        change = share * client.change[:, low : low + PIECE]
        if equal and client.n:
            spread = self.privacy * self.clip / about.hospitals**1.5
            change = change + spread * privacy.gaussian(change.size, client.key, (number << 32) + piece)
        loss = np.zeros(0) if self.privacy else np.array([share * client.loss])
        kinds = 2 if self.strategy == "scaffold" else 1
        bounds = (kinds, min(PIECE, int(self.plan_mask.sum())))
        return Update(
            people.derived(change, dims=("kinds", "parameters"), bounds=bounds, needs=NEEDS, bits=64, **self._ring),
            people.derived(loss, dims=("loss",), bounds=(1,)),
        )

    @property
    def _ring(self) -> dict[str, Any]:
        """Scale and reach of the sums: no coordinate of the total is beyond the clip, nor noise beyond 40 SDs."""
        most = self.clip * (1 + (40 * self.privacy if self.privacy_unit == "hospital" else 0))
        scale = 61 - int(np.ceil(np.log2(most)))
        return {"scale": scale, "reach": float(most * 2.0**scale)}

    def _client(self, people: People, about: About) -> Client:
        """This hospital's half of the run, made at its first call, with what it keeps between rounds."""
        from confrere.analyses.networks.training import Client

        def made() -> Client:
            # the group too: the same noise in two of them would be gone in the difference of their sums
            words = people.words("network noise", [f"{self!r} {people.group} {i}" for i in range(4)])
            rows, ids = people.design.data
            key = words.astype("<u8").tobytes()
            return Client(self.built, self.rows(people, rows, ids, about), self.plan, self.plan_mask, self.begins, key)

        return people.design.once("client", made)

    def rows(self, people: People, rows: Any, ids: Any, about: About) -> Rows:
        """People as a module reads them."""
        from confrere.analyses.networks.losses import lived
        from confrere.analyses.networks.training import Rows

        mean, sd = np.array(about.mean), np.array(about.sd)
        if self.goal == "discrete":
            y = lived(rows.time, rows.event, self.intervals)
        elif self.goal == "cox":
            y = np.column_stack([rows.time, rows.event > 0])
        else:
            y = (rows.value - mean[-1]) / sd[-1]
        x = (rows.x - mean[:-1]) / sd[:-1]
        if not self.bags:
            return Rows(x, y)
        bags = self._bags(people)
        return Rows(x, y, lambda i: bags.of(ids[i]), tuple(map(str, ids)))

    @local(on="design")
    def tune(self, people: People, weights: Array, about: About) -> Array:
        """Adapt the network to this hospital; the adapted one stays here."""
        client = self._client(people, about)
        start = client.own.copy()
        start[self.plan_mask] = weights
        return client.train(self.rounds, weights, np.zeros(0), self.fine_tune) if self.fine_tune else start

    def held(self, people: People) -> Design:
        """The people who are measured on: held out, or those of training where nobody is."""
        return sampled(self, people, not self.share)

    @local(on="held")
    def adapted(self, people: People, weights: Array, about: About) -> Adapted:
        """How good the shared network is here, and the one that was adapted to this hospital."""
        both = [adaptable(self, people, one, about) for one in (weights, people.kept["tune"])]
        return Adapted(people.derived(np.stack(both), dims=("networks", "sums")))

    # sums only

    def flow(self) -> FlowFinding:
        """Standardise; train; adapt; measure. With groups, train without each in turn, and measure there."""
        if self.leave_out:
            from confrere.analyses.networks.elsewhere import elsewhere

            return (yield from elsewhere(self))
        whole = (yield from support(self.parted)) if self.share else None  # who is held out is of the people too
        if self.share and (self.goal in ("cox", "discrete") or self.personal or self.fine_tune):
            yield from support(self.held)  # refused before a round of training, not after the last
        verdict = yield from support(self.design)
        about = yield from self._about(verdict)
        server, losses = yield from self._trained(about)
        if not np.isfinite(server.weights).all():
            raise ModelError("training diverged; set a smaller learning_rate, or a smaller clip")
        if self.personal or self.fine_tune:
            yield from keep(self.tune, server.weights, about)
        weights = self.begins.copy()
        weights[self.plan_mask] = server.weights
        told = yield from self.told(weights, about)
        arrays = {"weights": weights, "mean": np.array(about.mean), "sd": np.array(about.sd)}
        facts = {
            "module": self.module, "objective": self.goal, "strategy": self.strategy, "parameters": int(weights.size),
            "people_trained": about.people, **privacy.promised(self, about.hospitals),
        }  # fmt: skip
        tables = {"metrics": told.metrics, "training": losses, "attrition": attrition(whole or verdict)} | told.more
        cite = (CITE["fedavg"], CITE.get(self.strategy, REDDI), *cited(self.module, self.bag_recipe), *told.cite)
        return Finding(
            "network", (whole or verdict).n, verdict.hospitals, tables, told.events, facts, arrays,
            warnings=(*told.cautions, *still_learning([row["loss"] for row in losses])),
            cite=tuple(dict.fromkeys(cite)), analysis=self,
        )  # fmt: skip

    told = measured  # how good it is, of itself

    def _about(self, verdict: Verdict) -> Flow[About]:
        """Means and SDs of the people of training."""
        got = yield from ask(self.begin)
        n = float(got.people.value)
        if n < 2:
            raise ModelError("nobody is left to train on; correct the columns, or ask about more people")
        check_outcome(self, float(got.moments.value[0, -1]), n)
        mean = got.moments.value[0] / n
        variance = got.moments.value[1] / n - mean**2
        sd = np.sqrt(np.maximum(variance, 0))
        names = (*model_of(self.formula, self.ground).names, self.outcome)
        flat = sd <= 1e-7 * np.maximum(np.abs(mean), 1e-30)
        if self.goal != "squared":
            mean[-1], sd[-1], flat[-1] = 0.0, 1.0, False
        if flat.any():
            raise ModelError(
                f"{names[int(np.argmax(flat))]!r} does not vary among the people, or too little beside its mean; leave "
                f"it out, or centre and rescale it"
            )
        return About(round(n), max(1, verdict.hospitals), tuple(mean.tolist()), tuple(sd.tolist()))

    def _trained(self, about: About) -> Flow[tuple[Server, list[Record]]]:
        """All rounds: the weights that leave, and the losses."""
        server = Server.start(self.strategy, self.server_rate, self.begins[self.plan_mask])
        losses: list[Record] = []
        for number in range(self.rounds):
            parts, none = [], np.zeros(0)
            for piece in range(self.pieces):
                sent = (server.weights, server.control) if not piece else (none, none)
                got = yield from ask(self.update, (number, piece), *sent, about)
                parts.append(got.weights.value)
                if not piece and got.loss.value.size:
                    losses.append({"round": number + 1, "loss": float(got.loss.value[0])})
            change = np.concatenate(parts, axis=1)
            server = server.stepped(change[0], change[-1] / self.plan.unit)
        return server, losses
