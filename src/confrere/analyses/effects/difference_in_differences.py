"""Difference in differences: how outcomes change where a treatment begins, less how they change where it does not yet.

Effects are by group (of those whose treatment begins in one period) and period, each from its own controls, and then
averaged: comparisons in which the already treated serve as controls, of which two-way fixed effects are made, never
enter (`group_time`, `aggregates`). The treated would have changed as their controls did, had they not been treated:
this is assumed of people alike in the confounders; before the treatment it can be looked at, and is.

Sources: Callaway & Sant'Anna, J Econom 2021;225:200; Sant'Anna & Zhao, J Econom 2020;219:101; Goodman-Bacon, J Econom
2021;225:254 (what two-way fixed effects estimate). Equals R `did::att_gt` and `did::aggte`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, register
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, Ground, model_of

Controls = Literal["never treated", "not yet treated"]
Estimator = Literal["aipw", "iptw", "gformula"]


@register("difference_in_differences")
@dataclass(frozen=True)
class DifferenceInDifferences:
    """The effect of a treatment that begins at different times, from outcomes before and after.

    One row per person: `outcomes` are columns of numbers, one for each of the `periods` (ascending numbers, such as
    years). `treated_from` is the column that says from when on a person is treated; an empty field means never. It
    counts from the first period at or after it. `confounders`, the right side of a formula, are of the time before.

    `controls` are the `never treated`, or also the `not yet treated`. `estimator` is `aipw` (doubly robust), `iptw`
    (odds of treatment), or `gformula` (the controls' changes, as their confounders say).

    Finding: tables `effects` (averages over groups and periods), `group_time` (by group and period), `event_study` (by
    time since treatment), `by_group`, `by_period`, `parallel_trends` (the same before treatment), `tests` (that those
    are all 0), `groups`, `attrition`. Standard errors are of people, and account for the models. Equals R's did.
    Errors: ModelError where nobody is treated after the first period, or no controls are left.
    """

    outcomes: tuple[str, ...]
    periods: tuple[float, ...]
    treated_from: str
    confounders: str = ""
    controls: Controls = "never treated"
    estimator: Estimator = "aipw"
    ground: Ground = Ground()

    def check(self) -> None:
        """The settings, against the columns that the study declares: StudyError, FormulaError."""
        if len(self.periods) < 2 or any(a >= b for a, b in zip(self.periods, self.periods[1:], strict=False)):
            raise StudyError(f"periods are {list(self.periods)}; give two or more numbers, ascending")
        if len(self.outcomes) != len(self.periods):
            raise StudyError(
                f"{len(self.outcomes)} outcomes for {len(self.periods)} periods; name one column for each period"
            )
        if self.controls not in ("never treated", "not yet treated"):
            raise StudyError(f"controls is {self.controls!r}; it must be 'never treated' or 'not yet treated'")
        if self.estimator not in ("aipw", "iptw", "gformula"):
            raise StudyError(f"estimator is {self.estimator!r}; it must be 'aipw', 'iptw' or 'gformula'")
        columns = (*self.outcomes, self.treated_from)
        for name in columns:
            if self._model(f"{name} ~ 1").columns != (name,) or self.ground.schema.levels(name) is not None:
                raise FormulaError(f"{name!r} is not a column of numbers; make a column of it, without levels")
        if len(set(columns)) < len(columns):
            raise StudyError(f"a column is named twice among {list(columns)}; each has one meaning")
        model = self._model(self.formula)
        if not model.intercept or model.strata or model.offsets or model.outcome:
            raise FormulaError(f"confounders = {self.confounders!r}: a right side without 0 +, strata() and offset()")
        if both := sorted(set(columns) & set(model.columns)):
            raise FormulaError(f"{both[0]!r} is a confounder too: leave it out, or make a column of an earlier time")

    def _model(self, formula: str) -> Model:
        return model_of(formula, self.ground)

    # public

    @property
    def formula(self) -> str:
        """The confounders."""
        return f"~ {self.confounders or '1'}"

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns in which everybody is complete: of `treated_from` an empty field is an answer."""
        return tuple(sorted({*self._model(self.formula).columns, *self.outcomes}))

    @property
    def reads(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(sorted({*self.requires, self.treated_from}))

    @property
    def valued(self) -> dict[str, tuple[float, ...]]:
        """Values of `treated_from` that dummy people have."""
        return {self.treated_from: (*self.periods[1:], float("nan"))}

    @property
    def about(self) -> Ground:
        """The ground of every part: all are about the people who have all columns."""
        columns = {*self.ground.complete, *self.requires}
        return replace(self.ground, complete=tuple(sorted(columns, key=lambda name: (name != LEFT, name))))

    @property
    def weighs(self) -> bool:
        """Whether controls are averaged, alike or by odds: not so where only their regression is used."""
        return self.estimator != "gformula" or not self.confounders

    @property
    def models_odds(self) -> bool:
        """Whether there are odds of treatment."""
        return self.estimator != "gformula" and bool(self.confounders)

    @property
    def models_changes(self) -> bool:
        """Whether there are regressions of the changes."""
        return self.estimator != "iptw" and bool(self.confounders)

    # whom it tells of, held against other analyses of a study

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for groups and those that begin earlier, each within the one before."""
        return tuple(f"{self.treated_from} <= {float(p)!r}" for p in reversed(self.periods))

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` selects (N,), and the column by which."""
        from confrere.analyses.effects.panel import groups_of

        group = groups_of(frame, self.treated_from, self.periods)
        for text, j in zip(self.selecting, reversed(range(len(self.periods))), strict=True):
            yield text, (self.treated_from,), group <= j

    def whom(self, frame: Any) -> Bools:
        """Whom it is about (N,): the complete, but for those who are treated from the first period on."""
        from confrere.analyses.effects.panel import groups_of
        from confrere.study.ground import complete

        return complete(frame, self.about.complete) & (groups_of(frame, self.treated_from, self.periods) > 0)

    # sums only

    def flow(self) -> Flow[Finding]:
        """Models, effects by group and period, their variance, averages."""
        from confrere.analyses.effects.aggregates import estimated

        self.check()
        return (yield from estimated(self))
