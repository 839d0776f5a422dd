"""Strategies with a grace period: start a treatment within so long of time zero, or do not; by cloning, censoring and
weighting.

At time zero nobody's data say which strategy they follow: most have not started yet. To call those who start "treated"
from time zero on would give them time in which they could not die (immortal time). So everybody is in both strategies
(a clone in each) and leaves a strategy, censored, when their data part from it: "not within the grace period" at the
start of the treatment, "within the grace period" at its end without a start. Who remains is weighed by the inverse
probability of remaining. Two clones are one person: in variances, and to the gate (`strategies`).

Sources: Hernan, BMJ 2018;360:k182; Cain, Robins, Lanoy, Logan, Costagliola & Hernan, Int J Biostat 2010;6(2):18;
Maringe, Benitez Majano, Exarchakou, et al., Int J Epidemiol 2020;49:1719 (whose weights these are).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, register
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, Ground, model_of

PATTERNS = 10  # of people: until the grace period or the horizon, with the event or without, or beyond; early or not


@register("clone_censor_weight")
@dataclass(frozen=True)
class CloneCensorWeight:
    """The effect of starting a treatment within a grace period, against not starting within it.

    `outcome` is `Surv(time, event)`. `started` is the column of the time from time zero at which the treatment starts;
    an empty field means never. `grace` is the length of the grace period, in the study's unit of time. `confounders`,
    the right side of a formula, are known at time zero. Risks are compared at `times`, mean times free of the event
    until `tau` (the last of `times` unless given), hazards until the last of all.

    Finding: tables `effects` (`hazard ratio`, `risk difference` and `risk ratio` at times, `RMST difference`), `risks`,
    `rmst`, `strategy_curve`, `arms`, `starting` (the model of starting within the grace period), `started` (that of
    having started at its end), `attrition`. Standard errors are of people, not of clones, and account for both models.
    Errors: ModelError where too few people start, or do not, or are followed beyond the grace period; DataError in a
    hospital for a start before time zero.
    """

    outcome: str
    started: str
    grace: float
    confounders: str
    times: tuple[float, ...] = ()
    tau: float | None = None
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings, against the columns that the study declares: StudyError, FormulaError."""
        model = self._model(self.formula)
        if model.outcome is None or model.outcome.kind != "surv" or model.outcome.entry is not None:
            raise FormulaError(f"outcome = {self.outcome!r}: follow-up begins at time zero; write Surv(time, event)")
        if len(model.outcome.causes) > 2:
            raise FormulaError(f"outcome = {self.outcome!r}: causes compete; compare the event with one of its levels")
        if not model.names or not model.intercept or model.strata or model.offsets:
            raise FormulaError(f"confounders = {self.confounders!r}: terms are needed, and no 0 +, strata(), offset()")
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
    def formula(self) -> str:
        """Outcome and confounders."""
        return f"{self.outcome} ~ {self.confounders}"

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
        return tuple(f"pattern >= {j} of {self.outcome}, {self.started}, {ends}" for j in range(1, PATTERNS))

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` selects (N,), and the columns by which; a field that is empty is no time and no event."""
        from confrere.analyses.effects.panel import numbers

        model = self._model(f"{self.outcome} ~ 1")
        rows, start = model.evaluate(frame), numbers(frame, self.started)
        if rows.time is None or rows.event is None:
            raise FormulaError(f"outcome = {self.outcome!r}: write Surv(time, event)")
        early = (start <= self.grace) & (start <= rows.time)
        left = np.where(rows.time > self.grace, 1, 0) + (rows.event > 0) * 2  # two times, with the event or without
        pattern = np.where(rows.time > self.horizon, 4, left) + early * (PATTERNS // 2)
        columns = (*model.columns, self.started)
        for j, text in enumerate(self.selecting, 1):
            # the last is told of everybody, as the others: an empty field of `started` is an answer
            yield text, columns if j < PATTERNS - 1 else (), pattern >= j

    # sums only

    def flow(self) -> Flow[Finding]:
        """The grid of times, the models of starting, weighted events and time at risk, their variance."""
        from confrere.analyses.effects.strategies_flow import estimated

        self.check()
        return (yield from estimated(self))
