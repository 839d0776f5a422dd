"""Strategies with a grace period: start a treatment within so long of time zero, or do not; by cloning, censoring and
weighting.

At time zero nobody's data say which strategy they follow: most have not started yet. To call those who start "treated"
from time zero on would give them time in which they could not die (immortal time). So everybody is in both strategies
(a clone in each) and leaves a strategy, censored, when their data part from it: "not within the grace period" at the
start of the treatment, "within the grace period" at its end without a start. Who remains is weighed by the inverse
probability of remaining; and, where people are lost to follow-up by what is known of them, by that of not being lost.
Two clones are one person: in variances, and to the gate (`strategies`).

Sources: Hernan, BMJ 2018;360:k182; Cain, Robins, Lanoy, Logan, Costagliola & Hernan, Int J Biostat 2010;6(2):18;
Maringe, Benitez Majano, Exarchakou, et al., Int J Epidemiol 2020;49:1719 (whose weights these are).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from confrere.analyses.effects.in_cells import InCells
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, register
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, Ground, model_of


@register("clone_censor_weight")
@dataclass(frozen=True)
class CloneCensorWeight(InCells):
    """The effect of starting a treatment within a grace period, against not starting within it.

    `outcome` is `Surv(time, event)`. `started` is the column of the time from time zero at which the treatment starts;
    an empty field means never. `grace` is the length of the grace period, in the study's unit of time. `confounders`,
    the right side of a formula, are known at time zero. Risks are compared at `times`, mean times free of the event
    until `tau` (the last of `times` unless given), hazards until the last of all. Where the event has declared levels,
    causes compete: risks (Aalen-Johansen) and hazards are of each, means of the time free of all.

    `censoring` is the right side of a model of being lost to follow-up, whose inverse weighs who stays ("1": by time,
    and after the grace period by strategy, alone); its terms are known at time zero.

    Finding: tables `effects` (`hazard ratio`, `risk difference` and `risk ratio` at times, `RMST difference`), `risks`,
    `rmst`, `strategy_curve`, `arms`, `starting` (the model of starting within the grace period), `started` (that of
    having started at its end), `lost` (that of being lost, if it has terms), `attrition`. Standard errors are of
    people, not of clones, and account for all models.
    Errors: ModelError where too few people start, or do not, or are followed beyond the grace period; DataError in a
    hospital for a start before time zero.
    """

    outcome: str
    started: str
    grace: float
    confounders: str
    times: tuple[float, ...] = ()
    tau: float | None = None
    censoring: str = ""
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings, against the columns that the study declares: StudyError, FormulaError."""
        model, known = self._model(self.formula), self._model(self.confounding)
        if model.outcome is None or model.outcome.kind != "surv" or model.outcome.entry is not None:
            raise FormulaError(f"outcome = {self.outcome!r}: follow-up begins at time zero; write Surv(time, event)")
        if not known.names or not known.intercept or known.strata or known.offsets:
            raise FormulaError(f"confounders = {self.confounders!r}: terms are needed, and no 0 +, strata(), offset()")
        lost = self._model(f"{self.outcome} ~ {self.censoring or 1}")
        if not lost.intercept or lost.strata or lost.offsets or not {*known.names, *lost.names} <= {*model.names}:
            raise FormulaError(
                f"censoring = {self.censoring!r}: no 0 +, strata(), offset(), and interactions with their own terms"
            )
        if self._model(f"{self.started} ~ 1").columns != (self.started,) or self.ground.schema.levels(self.started):
            raise FormulaError(f"started = {self.started!r} is not a column of times; make a column of it")
        if self.started in model.columns:
            raise FormulaError(
                f"{self.started!r} is the start of the treatment and in {self.formula!r} too: leave it out"
            )
        if not 0 < self.grace < float("inf"):
            raise StudyError(f"grace is {self.grace}; it must be a positive number of {self.ground.unit}")
        ends = (*self.times, *(() if self.tau is None else (self.tau,)))
        if not ends or not all(0 < t < float("inf") for t in ends):
            raise StudyError(f"times are {list(self.times)} and tau is {self.tau}; name positive times, or tau")
        if max(ends) <= self.grace:
            raise StudyError(
                f"the last time, {max(ends):g}, lies in the grace period of {self.grace:g}: name a later one"
            )

    def _model(self, formula: str) -> Model:
        return model_of(formula, self.ground)

    # public

    @property
    def confounding(self) -> str:
        """Outcome and confounders."""
        return f"{self.outcome} ~ {self.confounders}"

    @property
    def formula(self) -> str:
        """Outcome, confounders and terms of being lost."""
        return f"{self.confounding} + {self.censoring}" if self.losing else self.confounding

    @property
    def confounding_terms(self) -> tuple[str, ...]:
        """The terms of the confounders."""
        return self._model(self.confounding).names

    @property
    def losing(self) -> tuple[str, ...]:
        """The terms of the model of being lost."""
        return self._model(f"{self.outcome} ~ {self.censoring}").names if self.censoring else ()

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns in which everybody is complete: of `started` an empty field is an answer."""
        return self._model(self.formula).columns

    @property
    def reads(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(sorted({*self.requires, self.started}))

    @property
    def valued(self) -> dict[str, tuple[float, ...]]:
        """Starts that dummy people have, most of them none; times beyond the last that is asked about."""
        outcome = self._model(self.formula).outcome
        time = outcome.time.sources() if outcome is not None and outcome.time is not None else ()
        ends = {name: tuple(self.horizon * i / 20 for i in range(1, 30)) for name in time if len(time) == 1}
        return {**ends, self.started: (0.0, self.grace / 2, float("nan"), float("nan"))}

    @property
    def until(self) -> float:
        """The end of the mean times."""
        return max(self.times) if self.tau is None else float(self.tau)

    @property
    def horizon(self) -> float:
        """The end of follow-up: what comes later is not looked at."""
        return float(max((*self.times, self.until)))

    @property
    def following(self) -> tuple[object, ...]:
        """Who starts when, and until when people are followed."""
        return self.started, self.grace, tuple(sorted({*self.times, self.until}))

    @property
    def about(self) -> Ground:
        """The ground of every part: all are about the people who have all columns, and on one ladder of times."""
        columns = {*self.ground.complete, *self.requires}
        whom = tuple(sorted(columns, key=lambda name: (name != LEFT, name)))
        return replace(self.ground.marked(self.grace, *self.times, self.until), complete=whom)

    # whom it tells of, held against other analyses of a study

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about: each pattern with those after it; their differences are the patterns.

        Patterns are of who starts within the grace period while followed, who is followed beyond it, and beyond the
        horizon, and who has the event until either.
        """
        ends = f"grace {float(self.grace)!r}, until {self.horizon!r}"
        return tuple(f"pattern >= {j} of {self.outcome}, {self.started}, {ends}" for j in range(1, 2 * self._ways))

    @property
    def _ways(self) -> int:
        """How people leave: until the grace period or until the horizon, by each cause or none, or beyond it."""
        return 2 * (len(self.causes) + 1) + 1

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` selects (N,), and the columns by which; a field that is empty is no time and no event."""
        from confrere.analyses.effects.panel import numbers

        model = self._model(f"{self.outcome} ~ 1")
        rows, start = model.evaluate(frame), numbers(frame, self.started)
        if rows.time is None or rows.event is None:
            raise FormulaError(f"outcome = {self.outcome!r}: write Surv(time, event)")
        early = (start <= self.grace) & (start <= rows.time)
        cause = np.where(rows.event > 0, rows.event, 0).astype(int)
        left = np.where(rows.time > self.grace, 1, 0) + cause * 2  # two times, by a cause or none
        pattern = np.where(rows.time > self.horizon, self._ways - 1, left) + early * self._ways
        columns = (*model.columns, self.started)
        for j, text in enumerate(self.selecting, 1):
            # the last is told of everybody, as the others: an empty field of `started` is an answer
            yield text, columns if j < len(self.selecting) else (), pattern >= j

    # sums only

    def flow(self) -> Flow[Finding]:
        """The grid of times, the models of starting and of being lost, weighted events and times, their variance."""
        from confrere.analyses.effects.strategies_flow import estimated

        self.check()
        return (yield from estimated(self))
