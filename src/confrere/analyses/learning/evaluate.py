"""How good a risk score is in the hospitals: the settings of `method = "evaluate"`, and which file answers them.

External validation as TRIPOD+AI asks for it: does the score tell apart who has the outcome and who has not
(discrimination), are its risks the observed ones (calibration), and would decisions by it do more good than harm
(decision curve); in everybody, and in subgroups. `evaluate_risk` reads the score, or computes it from a published
model; `evaluate_binary` answers for an outcome of 0 or 1, `evaluate_followed` for a time to an event.

Source: Collins et al., BMJ 2024;385:e078378 (TRIPOD+AI); Steyerberg, Clinical Prediction Models, 2nd ed. 2019.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import special

from confrere.analyses.causes import cause_number
from confrere.analyses.finding import Citation, Finding
from confrere.analyses.follow_up import DIGITS
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, Ints, register
from confrere.study.formulas import Model
from confrere.study.ground import Ground, model_of
from confrere.study.rows import nearest

INTERCEPT = "Intercept"
MOST_BINS = 20
TRIPOD = Citation(
    "Collins GS, Moons KGM, Dhiman P, et al. TRIPOD+AI statement: updated guidance for reporting clinical prediction "
    "models that use regression or machine learning methods. BMJ 2024;385:e078378", "10.1136/bmj-2023-078378"
)  # fmt: skip


@register("evaluate")
@dataclass(frozen=True)
class Evaluate:
    """How good the predicted `risk` of an `outcome` is: discrimination, calibration, use, in all and in subgroups.

    `outcome` is 0 or 1 (or a column of two declared levels), or `Surv(time, event)`; where causes compete, `cause` is
    the one that is predicted. `risk` is a column with the predicted probability, above 0 and below 1; or the risk is
    that of a published model: `model` is its right side, as `age + C(stage)`, `coefficients` gives each term's,
    and `link` is `logit`, or `cox` with `baseline`, the survival at `times` of somebody whose linear predictor is 0.
    With follow-up, `times` is the horizon, one number: risks by several would tell few people apart. `thresholds` are
    risks at which people would be treated; `by` is a column of whose levels everything is told as well; `bins` is how
    many groups of risk the calibration curve has at most. A study has one evaluation of the same hospitals.
    For monitoring, `over` instead of `by` is a column of periods, whose declared levels are in order, and `inputs` are
    columns whose distribution is compared: of numbers with cuts, as `{age = [50, 60, 70]}`, of levels with `[]`.

    Finding: tables `metrics` (`metric`, `estimate`, `std_error`, `conf_low`, `conf_high`, by `subgroup` and `level`),
    `calibration`, `roc`, `decision`, `confusion` (with thresholds), `drift` (with over), `attrition`; facts
    `recalibration_intercept` and `recalibration_slope` for a binary outcome. Exact on the cells of risk that the
    hospitals agree on.
    Errors: DataError for a risk that is no probability, ModelError where nobody or everybody has the outcome.
    """

    outcome: str
    risk: str = ""
    model: str = ""
    coefficients: Mapping[str, float] = field(default_factory=dict)
    link: Literal["logit", "cox"] = "logit"
    baseline: float | None = None
    times: float | tuple[float, ...] | None = None
    cause: str = ""
    thresholds: tuple[float, ...] = ()
    by: str = ""
    over: str = ""
    inputs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bins: int = 10
    ground: Ground = Ground()

    # two models, thresholds or horizons merge the cells of risk otherwise, and few people lie between
    once = (
        "a study has one evaluation of the people of a hospital: two scores, horizons or thresholds could differ by a "
        "few people, whom the difference would tell. Make a study of each, or give each its own hospitals with group"
    )

    def __hash__(self) -> int:
        return hash((self.outcome, self.risk, self.model, self.link, self.times, self.parted, self.bins, self.ground))

    def __post_init__(self) -> None:
        if isinstance(self.times, list | tuple):
            if len(self.times) > 1:
                raise StudyError(
                    f"times are {list(self.times)}; give one horizon; each has an analysis and a study of its own"
                )
            object.__setattr__(self, "times", self.times[0] if self.times else None)
        object.__setattr__(self, "thresholds", tuple(sorted(float(t) for t in self.thresholds)))
        object.__setattr__(self, "inputs", {name: tuple(map(float, cuts)) for name, cuts in self.inputs.items()})
        if any(not 0 < t < 1 for t in self.thresholds):
            raise StudyError(f"thresholds are {list(self.thresholds)}; each must be a risk above 0 and below 1")
        if self.baseline is not None and not 0 < self.baseline < 1:
            raise StudyError(f"baseline is {self.baseline}; it must be a survival above 0 and below 1")
        if self.followed and not 0 < self.horizon < np.inf:
            raise StudyError(f"times is {self.times}; it must be a positive number")
        if not 2 <= self.bins <= MOST_BINS:
            raise StudyError(f"bins is {self.bins}; it must be from 2 to {MOST_BINS}")

    def check(self) -> None:
        """The settings against each other, and against the levels that the study declares."""
        if bool(self.risk) == bool(self.model):
            raise StudyError(
                "give risk (a column with the predicted probability) or model and coefficients: one of both"
            )
        kind = self._kind()
        if (kind == "surv") != self.followed:
            raise StudyError(
                "times is missing: give the time by which the risk is predicted, such as times = 1826"
                if kind == "surv" else "times is of an outcome Surv(time, event); leave it out"
            )  # fmt: skip
        if self.cause and not self.followed:
            raise StudyError("cause is of an outcome Surv(time, event); leave it out")
        if self.followed:
            self._check_followed()
        elif self.link != "logit" or self.baseline is not None:
            raise StudyError("link = 'cox' and baseline need an outcome Surv(time, event); leave them out")
        if self.model:
            self._check_model()
        elif len(self.terms.names) != 1 or not self.terms.intercept:
            raise StudyError(f"risk is {self.risk!r}; it must name one column of numbers")
        self._check_over()
        read = set(model_of(f"{self.outcome} ~ 1", self.ground).columns)
        if both := sorted(read & {*self.terms.columns, *self.reads}):
            raise FormulaError(f"{both[0]!r} is the outcome: leave it out of the risk, of by, of over and of inputs")

    def _check_over(self) -> None:
        """Periods with an order, and inputs that are cut by the study."""
        if self.by and self.over:
            raise StudyError("by and over cannot both be given: subgroups and periods are two evaluations")
        if self.over and len(self.ground.schema.levels(self.over) or ()) < 2:
            raise StudyError(
                f"over = {self.over!r}: the periods have an order; declare them: [data.columns.{self.over}] levels = "
                f"[...], the first is what later ones are compared with"
            )
        if self.inputs and not self.over:
            raise StudyError("inputs are compared between periods: name their column, over = ...")
        for name, cuts in self.inputs.items():
            if name == self.over:
                raise StudyError(f"inputs: {name!r} is the column of periods itself; leave it out")
            if bool(cuts) == (self.ground.schema.levels(name) is not None) or list(cuts) != sorted({*cuts}):
                raise StudyError(
                    f"inputs: {name!r} has cuts {list(cuts)}; a column of numbers needs cuts that go up, such as "
                    f"[50, 60, 70], a column of declared levels has none: []"
                )
            if len(cuts) >= MOST_BINS:
                raise StudyError(f"inputs: {name!r} has {len(cuts)} cuts; it may have {MOST_BINS - 1}")

    def _kind(self) -> str:
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        if outcome is None or outcome.kind not in ("value", "surv") or (outcome.kind == "value" and self._levels > 2):
            raise FormulaError(
                f"outcome = {self.outcome!r}: give a column of 0 and 1 or of two levels, or Surv(time, event)"
            )
        if outcome.kind == "surv" and outcome.entry is not None:
            raise FormulaError(f"outcome = {self.outcome!r}: a risk is counted from time 0; leave the entry time out")
        return outcome.kind

    @property
    def _levels(self) -> int:
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        return len(outcome.causes) if outcome else 0

    def _check_followed(self) -> None:
        if self.thresholds and self.competes and not self.cause:
            raise StudyError("causes compete: name the cause that is predicted")
        if self.competes:
            cause_number(f"{self.outcome} ~ 1", self.ground, self.cause)
        elif self.cause:
            raise StudyError(f"cause is {self.cause!r}, and the event has no causes that compete; leave it out")
        if self.model and (self.link != "cox" or self.baseline is None):
            raise StudyError("a model of follow-up has link = 'cox' and a baseline: give the survival at times")

    def _check_model(self) -> None:
        """A coefficient for every term, and none besides."""
        if self.terms.strata or self.terms.offsets or self.terms.pooled:
            raise FormulaError(f"model = {self.model!r}: no strata(), offset(), standardize() here; write terms alone")
        wanted = [*([INTERCEPT] if self.link == "logit" and self.terms.intercept else []), *self.terms.names]
        for name in self.coefficients:
            if name not in wanted:
                raise StudyError(f"coefficients: {name!r} is no term of the model; {nearest(name, wanted)}")
        if missing := [name for name in wanted if name not in self.coefficients]:
            raise StudyError(f"coefficients: {missing[0]!r} is missing; give one for each of {', '.join(wanted)}")

    # public

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of subgroups or periods, if there is one."""
        return (self.parted,) if self.parted else ()

    @property
    def parted(self) -> str:
        """The column of subgroups, or of periods; "" for everybody alone."""
        return self.by or self.over

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many cells each input has."""
        return {n: len(self.ground.schema.levels(n) or (*cuts, 0.0)) for n, cuts in self.inputs.items()}

    @property
    def followed(self) -> bool:
        """Whether the outcome is the time to an event."""
        return self.times is not None

    @property
    def horizon(self) -> float:
        """The time by which the risk is predicted; without follow-up there is no end."""
        return float(self.times) if isinstance(self.times, int | float) else np.inf

    @property
    def competes(self) -> bool:
        """Whether there are several causes."""
        return self.followed and self._levels > 2

    @property
    def terms(self) -> Model:
        """The right side: terms of the model, or the column of the risk."""
        return model_of(f"~ {self.model or self.risk}", self.ground)

    @property
    def formula(self) -> str:
        """Outcome and terms in one formula."""
        return f"{self.outcome} ~ {self.model or self.risk}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of subgroups or periods, and of inputs."""
        return (*self.columns, *self.inputs)

    @property
    def valued(self) -> Mapping[str, tuple[float, ...]]:
        """Values that columns without levels have: risks are probabilities, subgroups whole numbers."""
        plain = {name: tuple(np.arange(1, 40) / 40) for name in (self.risk,) if name in self.terms.columns}
        subgroups = {name: (0.0, 1.0, 2.0) for name in self.columns if not self.ground.schema.levels(name)}
        return plain | subgroups | ({} if self.followed or self._levels else self._marks())

    def _marks(self) -> dict[str, tuple[float, ...]]:
        return {c: (0.0, 1.0) for c in model_of(f"{self.outcome} ~ 1", self.ground).columns if c == self.outcome}

    @property
    def subgroups(self) -> tuple[str, ...]:
        """Levels of the subgroups; one for everybody where there are none."""
        return (self.ground.schema.levels(self.parted) or DIGITS) if self.parted else ("",)

    @property
    def rows(self) -> int:
        """Levels, and the others, whose levels are not told, where there are subgroups."""
        return len(self.subgroups) + bool(self.parted)

    def row(self, level: Ints, shown: tuple[int, ...]) -> Ints:
        """The level of everybody (n,), or the last place for those that are not told."""
        place = np.full(len(self.subgroups), len(self.subgroups))
        place[list(shown)] = shown
        return place[level]

    # whom it tells of, held against other analyses of a study and other studies

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whose risk is at or above each threshold; the last again, for whom `selected` adds."""
        return tuple(f"{self._words} >= {t!r}" for t in (*self.thresholds, *self.thresholds[-1:]))

    @property
    def _words(self) -> str:
        """The words for the risk: its column, or its model with a digest of all that makes it."""
        if not self.model:
            return self.risk
        made = [self.model, sorted((n, float(c)) for n, c in self.coefficients.items()), self.link, self.baseline]
        return f"risk of {self.model} [{hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]}]"

    def selected(self, frame: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` selects (N,), and the columns by which; the last again, by none."""
        from confrere.analyses.learning.evaluate_risk import risk_of

        # without a risk nobody is at or above a threshold; columns that are no risks are refused by the evaluation
        with np.errstate(invalid="ignore", divide="ignore"):
            logit = special.logit(risk_of(self, self.terms.evaluate(frame).x))
            above = [np.asarray(logit >= special.logit(t)) for t in self.thresholds]
        columns = [self.terms.columns] * len(above) + [()]
        yield from zip(self.selecting, columns, (*above, *above[-1:]), strict=bool(above))

    @property
    def dividing(self) -> tuple[str, ...]:
        """Formulas with a comparison that divides people too: who is followed beyond the horizon, cuts of inputs."""
        cuts = tuple(f"~ I({name} >= {cut!r})" for name, each in self.inputs.items() for cut in each)
        outcome = model_of(f"{self.outcome} ~ 1", self.ground).outcome
        time = outcome.time if outcome else None
        return (*cuts, f"~ I({time.text} > {self.horizon!r})") if self.followed and time else cuts

    # sums only

    def flow(self) -> Flow[Finding]:
        """The flow of the file that answers for this kind of outcome."""
        if self.followed:
            from confrere.analyses.learning.evaluate_followed import evaluated as of_follow_up

            return (yield from of_follow_up(self))
        from confrere.analyses.learning.evaluate_binary import evaluated

        return (yield from evaluated(self))
