"""Sequential trials: everybody enters the trial of every period at which they are eligible and untreated so far.

Where a treatment may start at any time, one time zero for all wastes most starts, and to count the others from their
start on makes immortal time. So a trial begins at the end of every period: whoever is followed beyond it, free of the
event and untreated before the period, is in it, as treated if their treatment starts within the period, else as
untreated. Treatments stay as they were assigned (intention to treat): whoever starts later was untreated in the trials
before. Or trials are of keeping to it (per protocol): the untreated leave at the end of the period in which they start,
the treated, where it is known when they stop, at the end of that in which they do, and who remains stands for them
(`adhering`). Person-trials are weighed by the inverse propensity of their trial, with
what is known at its period, and the trials are pooled. A person may be in many trials, and is one person in variances
and to the gate (`trials`).

Sources: Hernan, Alonso, Logan, et al., Epidemiology 2008;19:766; Danaei, Garcia Rodriguez, Cantero, Logan & Hernan,
Stat Methods Med Res 2013;22:70; Keogh, Gran, Seaman, Davies & Vansteelandt, Stat Med 2023;42:2191 (whose weights and
marginal risks these are).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from confrere.analyses.effects.in_cells import InCells
from confrere.analyses.effects.weighting import Estimand, Weighting
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Array, Bools, Flow, Ints, register
from confrere.study.expressions import renamed
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, Ground, complete, finite, model_of

Contrast = Literal["intention to treat", "per protocol"]


@register("sequential_trials")
@dataclass(frozen=True)
class SequentialTrials(InCells):
    """The effect of starting a treatment in a period, against not starting in it, over trials that begin one by one.

    `outcome` is `Surv(time, event)`, from the entry of each person. `started` is the column of the time from entry at
    which the treatment starts; an empty field means never. `periods` are the ends of the periods, ascending: the first
    begins at entry, and a trial begins at the end of each. `confounders`, the right side of a formula, are known when
    its first trial begins; `updated` names columns that later trials have anew: a list of the column, and of what
    stands for it in each further period. Who lacks one of these enters that trial no more, nor later ones.

    `estimand` is `ATE` (of all person-trials), `ATT` (of the treated), `ATO` or `ATM`; `truncate` as in `effect`. Risks
    are compared at `times` from the start of a trial, mean times free of the event until `tau` (the last of `times`
    unless given), hazards until the last of all, where follow-up of every trial ends.

    With the `contrast` `per protocol` the untreated leave a trial at the end of the period in which they start, weights
    account for it, and all are followed until the last of `periods`, in which no trial begins. `stopped` is the column
    of the time from entry at which the treatment stops (an empty field: not while followed); then the treated too leave
    a trial, at the end of the period in which they stop. Without it they are taken to go on.

    Where the event has declared levels, causes compete: risks (Aalen-Johansen) and hazards are of each, means of the
    time free of all. `censoring` is the right side of a model of being lost to follow-up, whose inverse weighs who
    stays in a trial ("1": by time and arm alone); its terms are known when the trial begins.

    Finding: tables `effects` (`hazard ratio`, `risk difference` and `risk ratio` at times, `RMST difference`), `risks`,
    `rmst`, `trial_curve`, `arms`, `trials`, `propensity`, `stopping` (the model of stopping, if that is looked at),
    `lost` (that of being lost, if it has terms), `attrition`. Standard errors are of people, not of
    person-trials, and account for the models.
    Errors: ModelError where nobody, or everybody, starts in a period, or stops, or few have the event; DataError in a
    hospital for a start before entry, or a stop before the start.
    """

    outcome: str
    started: str
    periods: tuple[float, ...]
    confounders: str
    updated: tuple[tuple[str, ...], ...] = ()
    estimand: Estimand = "ATE"
    truncate: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    tau: float | None = None
    contrast: Contrast = "intention to treat"
    censoring: str = ""
    stopped: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings, against the columns that the study declares: StudyError, FormulaError."""
        self.weighting  # noqa: B018  (its bounds are checked as it is made)
        self._check_times()
        self._check_contrast()
        self._check_updated()
        for formula in self.formulas:
            model = model_of(formula, self.ground)
            if model.outcome is None or model.outcome.kind != "surv" or model.outcome.entry is not None:
                raise FormulaError(f"outcome = {self.outcome!r}: follow-up begins at entry; write Surv(time, event)")
            if not model.names or not model.intercept or model.strata or model.offsets:
                raise FormulaError(
                    f"confounders = {self.confounders!r}: terms are needed, and no 0 +, strata(), offset()"
                )
            for name, what in zip(self._turns, ("start", "end"), strict=False):
                if name in model.columns:
                    raise FormulaError(f"{name!r} is the {what} of the treatment and in {formula!r} too: leave it out")
        self._check_censoring()
        for name, setting in zip(self._turns, ("started", "stopped"), strict=False):
            if model_of(f"{name} ~ 1", self.ground).columns != (name,) or self.ground.schema.levels(name):
                raise FormulaError(f"{setting} = {name!r} is not a column of times; make a column of it")

    @property
    def _turns(self) -> tuple[str, ...]:
        """The columns of the times at which a treatment changes."""
        return (self.started, self.stopped) if self.stopped else (self.started,)

    def _check_censoring(self) -> None:
        """Terms of being lost that are terms of the whole too, after those of the propensity."""
        lost = model_of(f"{self.outcome} ~ {self.censoring or 1}", self.ground)
        known = model_of(f"{self.outcome} ~ {self.confounders}", self.ground)
        names = model_of(self.formula, self.ground).names
        if not known.names:
            raise FormulaError(f"confounders = {self.confounders!r}: terms are needed")
        if not lost.intercept or lost.strata or lost.offsets or not {*known.names, *lost.names} <= {*names}:
            raise FormulaError(
                f"censoring = {self.censoring!r}: no 0 +, strata(), offset(), and interactions with their own terms"
            )

    def _check_times(self) -> None:
        """Periods that ascend, and times at which to compare."""
        edges = (0.0, *self.periods)
        if not self.periods or any(not a < b < float("inf") for a, b in zip(edges, self.periods, strict=False)):
            raise StudyError(f"periods are {list(self.periods)}; give their ends, positive numbers that ascend")
        ends = (*self.times, *(() if self.tau is None else (self.tau,)))
        if not ends or not all(0 < t < float("inf") for t in ends):
            raise StudyError(f"times are {list(self.times)} and tau is {self.tau}; name positive times, or tau")

    def _check_contrast(self) -> None:
        """Periods in which starts are seen, for as long as people are followed, and bounds that weights can have."""
        if self.contrast not in ("intention to treat", "per protocol"):
            raise StudyError(f"contrast is {self.contrast!r}; it is 'intention to treat' or 'per protocol'")
        if self.stopped and not self.adhering:
            raise StudyError(
                "stopped: of assignment (intention to treat) whoever stops stays treated; leave it out, or write "
                'contrast = "per protocol"'
            )
        if self.stopped == self.started:
            raise StudyError(f"started and stopped are both {self.started!r}; name the time of each")
        if not self.adhering:
            return
        longest = self.periods[-1] - self.periods[0]
        if self.horizon > longest:
            raise StudyError(
                f"contrast 'per protocol' follows people until the last of periods, {self.periods[-1]:g}: {longest:g} "
                f"of the first trial. Name further periods, or no time after {longest:g}"
            )
        if len(self.truncate) == 1:
            raise StudyError("weights grow as people keep to a treatment: truncate is two bounds of the propensity")

    def _check_updated(self) -> None:
        """A column that is among the confounders, and one of the same levels for each further period."""
        known, schema = model_of(f"~ {self._right}", self.ground), self.ground.schema
        if known.pooled and len(self.periods) > 1:
            raise FormulaError(
                f"confounders = {self.confounders!r}: standardize() and center() are of one time, and there are "
                f"{len(self.periods)} periods. Name the columns alone: the fit standardises them by itself"
            )
        for columns in self.updated:
            name, *later = columns or ("",)
            if name not in known.columns:
                raise FormulaError(f"updated: {name!r} is not among the columns of confounders = {self.confounders!r}")
            if len(later) != len(self.periods) - 1:
                raise StudyError(
                    f"updated: {len(later)} columns stand for {name!r}; name one for each period after the first, "
                    f"{len(self.periods) - 1}"
                )
            for column in later:
                if schema.levels(column) != schema.levels(name):
                    raise StudyError(f"updated: {column!r} has other levels than {name!r}; declare the same for both")
        if len({columns[0] for columns in self.updated}) < len(self.updated):
            raise StudyError(
                f"updated names a column twice: {[columns[0] for columns in self.updated]}; name each once"
            )
        for formula in self.formulas[1:]:
            if len(model_of(formula, self.ground).names) != len(known.names):
                raise FormulaError(
                    f"updated: in a later trial the confounders are {formula.partition('~')[2].strip()!r}, in which "
                    f"terms fall together; let other columns stand for those of {self.confounders!r}"
                )

    # public

    @property
    def formulas(self) -> tuple[str, ...]:
        """Outcome, confounders and terms of being lost in each trial."""
        return tuple(f"{self.outcome} ~ {self._terms(k)}" for k in range(len(self.periods)))

    def _terms(self, trial: int) -> str:
        """The terms of a trial, by the columns that it has."""
        return renamed(self._right, {columns[0]: columns[trial] for columns in self.updated})

    @property
    def _right(self) -> str:
        """Confounders, and terms of being lost."""
        return f"{self.confounders} + {self.censoring}" if self.losing else self.confounders

    @property
    def confounding(self) -> tuple[str, ...]:
        """The terms of the confounders."""
        return model_of(f"~ {self.confounders}", self.ground).names

    @property
    def losing(self) -> tuple[str, ...]:
        """The terms of the model of being lost."""
        return model_of(f"~ {self.censoring}", self.ground).names if self.censoring else ()

    @property
    def formula(self) -> str:
        """Those of the first trial."""
        return self.formulas[0]

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns in which everybody is complete: of `started`, and of later periods, an empty field says much."""
        return model_of(self.formula, self.ground).columns

    @property
    def reads(self) -> tuple[str, ...]:
        """All columns."""
        columns = (name for formula in self.formulas for name in model_of(formula, self.ground).columns)
        return tuple(sorted({*columns, *self._turns}))

    @property
    def valued(self) -> dict[str, tuple[float, ...]]:
        """Starts that dummy people have, in every period and most of them none; times beyond the last."""
        outcome = model_of(self.formula, self.ground).outcome
        time = outcome.time.sources() if outcome is not None and outcome.time is not None else ()
        end = self.periods[-1] + self.horizon
        ends = {name: tuple(end * i / 20 for i in range(1, 30)) for name in time if len(time) == 1}
        never = (float("nan"),) * len(self.periods)
        return {**ends, self.started: (*self.periods, *never)}

    @property
    def later(self) -> dict[str, tuple[str, tuple[float, ...]]]:
        """How long after their start dummy people stop, most of them never."""
        lengths = tuple(p - self.periods[0] for p in self.periods)
        return {self.stopped: (self.started, (*lengths, *(float("nan"),) * len(lengths)))} if self.stopped else {}

    @property
    def adhering(self) -> bool:
        """Whether people are followed for as long as they keep to their treatment."""
        return self.contrast == "per protocol"

    @property
    def weighting(self) -> Weighting:
        """How propensities become weights."""
        return Weighting(self.estimand, self.truncate)

    @property
    def until(self) -> float:
        """The end of the mean times."""
        return max(self.times) if self.tau is None else float(self.tau)

    @property
    def horizon(self) -> float:
        """The end of follow-up of every trial, from its beginning."""
        return float(max((*self.times, self.until)))

    @property
    def following(self) -> tuple[object, ...]:
        """Who starts and stops when, in which trials people are, and until when they are followed."""
        return *self._turns, self.periods, self.updated, tuple(sorted({*self.times, self.until}))

    @property
    def about(self) -> Ground:
        """The ground of every part: all are about the people who have all columns, and on one ladder of times."""
        columns = {*self.ground.complete, *self.requires}
        whom = tuple(sorted(columns, key=lambda name: (name != LEFT, name)))
        return replace(self.ground.marked(*self.times, self.until), complete=whom)

    # whom it tells of, held against other analyses of a study

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about: each pattern with those after it; their differences are the patterns.

        Patterns are of the trials that people are in, whether they are treated in the last of them, until when, whether
        they stop, in how many trials they are followed to the end, and the event.
        """
        ends = f"periods {list(map(float, self.periods))!r}, until {self.horizon!r}, updated {self.updated!r}"
        ends += f", {self.contrast}" if self.adhering else ""
        ends += f", {self.stopped}" if self.stopped else ""
        return tuple(
            f"patterns {j} and on of {self.outcome}, {self.started}, {ends}" for j in range(1, len(self._patterns))
        )

    @property
    def _patterns(self) -> Ints:
        """All that people can be (patterns, 6): the number of trials, treated, periods known, stopped, trials in which
        they are followed to the end, cause."""
        made, all_of = [(0,) * 6], len(self.periods)
        for last, treated in product(range(1, all_of + 1), (0, 1)):
            rows = [
                (through, stops) for through in range(last, all_of + 1) for stops in (0, 1) if stops <= through - last
            ]
            for through, stops in rows if treated and self.stopped else [(last, 0)]:
                for reached in range(last + 1):
                    causes = len(self.causes) if reached < last else 0
                    made += [(last, treated, through, stops, reached, cause) for cause in range(causes + 1)]
        return np.array(made)

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` selects (N,), and the columns by which; a field that is empty is no time and no event."""
        time, cause = self._followed(frame)
        last, treated = self.enrolment(frame, time)
        through, stops = self.keeping(frame, time, last, treated)
        ends = self.ends(time, last, treated, through, stops)
        inside, after = np.arange(len(self.periods)) < last[:, None], ends - np.array(self.periods)
        reached = (inside & (after > self.horizon)).sum(axis=1)
        had = np.where((inside & (time[:, None] <= ends) & (after <= self.horizon)).any(axis=1), cause, 0)
        all_of, size = self._patterns, (*(len(self.periods) + 1,) * 5, len(self.causes) + 1)
        of = np.ravel_multi_index((last, treated, through, stops, reached, had), size)
        pattern = np.searchsorted(np.ravel_multi_index(tuple(all_of.T), size), of)
        for j, text in enumerate(self.selecting, 1):
            # the last is told of everybody, as the others: an empty field of `started` is an answer
            yield text, self.reads if j < len(self.selecting) else (), pattern >= j

    def _followed(self, frame: Any) -> tuple[Array, Ints]:
        """Time and cause (N,) of everybody, 0 for none."""
        rows = model_of(f"{self.outcome} ~ 1", self.ground).evaluate(frame)
        if rows.time is None or rows.event is None:
            raise FormulaError(f"outcome = {self.outcome!r}: write Surv(time, event)")
        return rows.time, np.where(rows.event > 0, rows.event, 0).astype(np.int64)

    def enrolment(self, frame: Any, time: Array) -> tuple[Ints, Bools]:
        """In how many trials, from the first on, people (N,) with these times are; whether treated in the last one."""
        from confrere.analyses.effects.panel import numbers

        start, ends = numbers(frame, self.started), np.array(self.periods)
        begins = np.append(-np.inf, ends[:-1])
        inside = self._known(frame, time) & ~(start[:, None] <= begins)
        last = np.logical_and.accumulate(inside, axis=1).sum(axis=1)
        return last, np.asarray((last > 0) & (start <= ends[np.maximum(last, 1) - 1]))

    def keeping(self, frame: Any, time: Array, last: Ints, treated: Bools) -> tuple[Ints, Bools]:
        """Through how many periods, from the first on, it is known of people (N,) whether they start, and whether the
        treated stop; whether they stop in the last one."""
        from confrere.analyses.effects.panel import numbers

        if not self.stopped:
            return last, np.zeros(len(time), dtype=bool)
        stop, ends = numbers(frame, self.stopped), np.array(self.periods)
        # to be in a trial as treated is to have started: whoever has stopped by then stops within the next period
        stop = np.where(np.isnan(stop), np.inf, np.fmax(stop, np.nextafter(ends[np.maximum(last, 1) - 1], np.inf)))
        inside = self._known(frame, time) & ~(stop[:, None] <= np.append(-np.inf, ends[:-1]))
        through = np.where(treated, np.logical_and.accumulate(inside, axis=1).sum(axis=1), last)
        return through, np.asarray(treated & (through > last) & (stop <= ends[np.maximum(through, 1) - 1]))

    def _known(self, frame: Any, time: Array) -> Bools:
        """Who is followed beyond the end of each period (N, periods), and has what its trial needs."""
        inside = time[:, None] > np.array(self.periods)
        for k, formula in enumerate(self.formulas[1:], 1):
            inside[:, k] &= finite(self._model(f"~ {formula.partition('~')[2]}").evaluate(frame), None)
        return inside

    def ends(self, time: Array, last: Ints, treated: Bools, through: Ints, stopped: Bools) -> Array:
        """Until when, from entry, people (n,) with these times are followed in each trial (n, trials)."""
        trials = len(self.periods)
        if not self.adhering:
            return np.repeat(time[:, None], trials, axis=1)
        ends, until = np.array(self.periods), np.minimum(time, self.periods[-1])
        # of a period at whose end it is not known what the next trial needs, nobody can stand for others
        leaves = np.append(ends, ends[-1])
        leave = leaves[np.where(treated, np.maximum(last, 1) - 1, last)]
        made = np.repeat(np.minimum(until, leave)[:, None], trials, axis=1)
        own = until if not self.stopped else np.minimum(until, leaves[np.where(stopped, through - 1, through)])
        made[treated, last[treated] - 1] = own[treated]
        return made

    def _model(self, formula: str) -> Model:
        return model_of(formula, self.ground)

    def whom(self, frame: Any) -> Bools:
        """Whom it is about (N,): the complete who are in a trial."""
        time, _ = self._followed(frame)
        return complete(frame, self.about.complete) & (time > self.periods[0])

    # sums only

    def flow(self) -> Flow[Finding]:
        """The grid of times, the propensity, weighted events and time at risk, their variance."""
        from confrere.analyses.effects.trials_flow import estimated

        self.check()
        return (yield from estimated(self))
