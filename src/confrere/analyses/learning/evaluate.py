"""How good a risk score is in the hospitals: the settings of `method = "evaluate"`, and which file answers them.

External validation as TRIPOD+AI asks for it: does the score tell apart who has the outcome and who has not
(discrimination), are its risks the observed ones (calibration), and would decisions by it do more good than harm
(decision curve); in everybody, and in subgroups. `evaluate_risk` reads the score, or computes it from a published
model; `evaluate_binary` answers for an outcome of 0 or 1, `evaluate_followed` for a time to an event, and
`evaluate_classes` for one of three levels or more.

Source: Collins et al., BMJ 2024;385:e078378 (TRIPOD+AI); Steyerberg, Clinical Prediction Models, 2nd ed. 2019.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy import special

from confrere.analyses.causes import cause_number
from confrere.analyses.finding import Citation, Finding
from confrere.analyses.follow_up import DIGITS
from confrere.errors import FormulaError, StudyError
from confrere.rounds import Bools, Flow, Ints, People, keep, local, register
from confrere.study.formulas import Model
from confrere.study.ground import Ground, model_of
from confrere.study.learnt import Outcome, renamed
from confrere.study.omop import PERSON
from confrere.study.own_measures import OwnMeasures
from confrere.study.rows import nearest

INTERCEPT = "Intercept"
MOST_BINS = 20
MOST_TIMES = 8  # of a grid
MOST_CLASSES = 12
OF_TWO = ("by", "over", "inputs", "thresholds", "own_measures")  # settings that an outcome of classes does not have
SOLE = (
    "a learned model may divide people in any way, and with another analysis of the same people by a few. Make a study "
    "of each, or give each its own hospitals with group"
)
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
    and `link` is `logit`, or `cox` with `baseline`, the survival at `times` of somebody whose linear predictor is 0; or
    `learnt` is a model that was learned (models/NAME.json of a result), with which hospitals predict themselves; one of
    hazards needs the `baseline` of somebody whose hazard ratio is 1. Of a learned model of classes `outcome` is a
    column of three declared levels or more; the finding tells how often the likeliest is wrong, `intercepts`, a slope.
    With follow-up, `times` is the horizon, one number: risks by several would tell few people apart. Of hazards, `grid`
    are earlier times at which AUC and Brier score are told too, and over which the Brier score is integrated, and
    `survival` the baseline at each: all from the same counts, since hazards order people alike at all times.
    `thresholds` are risks at which people would be treated; `by` is a column of whose levels everything is told as
    well; `bins` is how many groups of risk the calibration curve has at most. A study has one such evaluation.
    For monitoring, `over` instead of `by` is a column of periods, whose declared levels are in order, and `inputs` are
    columns whose distribution is compared: of numbers with cuts, as `{age = [50, 60, 70]}`, of levels with `[]`.
    With `own_measures` every hospital keeps the metrics of its own people, for its steward alone.

    Finding: tables `metrics` (`metric`, `estimate`, `std_error`, `conf_low`, `conf_high`, by `subgroup` and `level`),
    `calibration`, `roc`, `decision`, `confusion` (with thresholds), `drift` (with over), `attrition`; facts
    `recalibration_intercept` and `recalibration_slope`: of the logit of the risk, with follow-up of its complementary
    log-log. Exact on the cells of risk that the hospitals agree on.
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
    learnt: str = ""
    grid: tuple[float, ...] = ()
    survival: tuple[float, ...] = ()
    own_measures: bool = False
    ground: Ground = Ground()

    # two models, thresholds or horizons merge the cells of risk otherwise, and few people lie between
    once = (
        "a study has one evaluation of the people of a hospital: two scores, horizons or thresholds could differ by a "
        "few people, whom the difference would tell. Make a study of each, or give each its own hospitals with group"
    )

    def __hash__(self) -> int:
        what = (self.outcome, self.risk, self.model, self.learnt, self.link)
        return hash((what, self.times, self.grid, self.survival, self.parted, self.bins, self.ground))

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
        for name in ("grid", "survival"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if not 2 <= self.bins <= MOST_BINS:
            raise StudyError(f"bins is {self.bins}; it must be from 2 to {MOST_BINS}")

    def check(self) -> None:
        """The settings against each other, and against the levels that the study declares."""
        if sum(map(bool, (self.risk, self.model, self.learnt))) != 1:
            raise StudyError(
                "give risk (a column with the predicted probability), or model and coefficients, or learnt (a model's "
                "file): one of them"
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
        elif self.link != "logit" or (self.baseline is not None and not self.learnt):
            raise StudyError("link = 'cox' and baseline need an outcome Surv(time, event); leave them out")
        if self.learnt:
            self._check_learnt()
        elif self.model:
            self._check_model()
        elif len(self.terms.names) != 1 or not self.terms.intercept:
            raise StudyError(f"risk is {self.risk!r}; it must name one column of numbers")
        self._check_grid()
        self._check_over()
        read = {self.outcome} if self.classes else set(self._left.columns)
        if both := sorted(read & {*self.terms.columns, *self.columns, *self.inputs, *self.features}):
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
        if self.model and len(self.inputs) > 1:  # three partitions, one of which is written at will
            raise StudyError(
                "inputs: one input stands beside a published model, since a model may be written so that the counts of "
                "several and of its risks tell a few people apart. Compare the others in an evaluation of a column of "
                "risks"
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
        if self.classes:
            if given := [name for name in OF_TWO if getattr(self, name)]:
                raise StudyError(
                    f"{given[0]} is for an outcome of two levels: people are counted once by what a model of classes "
                    f"predicts. Leave it out"
                )
            if len(self.classes) > MOST_CLASSES:
                raise StudyError(
                    f"outcome = {self.outcome!r} has {len(self.classes)} levels; people are counted by pairs of them, "
                    f"and it may have {MOST_CLASSES}. Learn a model of fewer"
                )
            return "classes"
        outcome, kinds = self._left.outcome, ("value", "surv") if len(self._levels) <= 2 else ("surv",)
        if outcome is None or outcome.kind not in kinds:
            raise FormulaError(
                f"outcome = {self.outcome!r}: give a column of 0 and 1 or of two levels, or Surv(time, event)"
            )
        if outcome.kind == "surv" and outcome.entry is not None:
            raise FormulaError(f"outcome = {self.outcome!r}: a risk is counted from time 0; leave the entry time out")
        return outcome.kind

    @property
    def _left(self) -> Model:
        """The outcome as a formula has it; of classes no formula has one."""
        return model_of("~ 1" if self.classes else f"{self.outcome} ~ 1", self.ground)

    @property
    def _levels(self) -> tuple[str, ...]:
        outcome = self._left.outcome
        return self.classes or (outcome.causes if outcome else ())

    def _check_followed(self) -> None:
        if self.thresholds and self.competes and not self.cause:
            raise StudyError("causes compete: name the cause that is predicted")
        if self.competes:
            cause_number(f"{self.outcome} ~ 1", self.ground, self.cause)
        elif self.cause:
            raise StudyError(f"cause is {self.cause!r}, and the event has no causes that compete; leave it out")
        if self.model and (self.link != "cox" or self.baseline is None):
            raise StudyError("a model of follow-up has link = 'cox' and a baseline: give the survival at times")

    def _check_grid(self) -> None:
        """Times that go up to the horizon, and survival that falls to the baseline."""
        if not (self.grid or self.survival):
            return
        if self.baseline is None:
            raise StudyError("grid and survival are of a model of hazards, with a baseline; leave them out")
        times, curve = [0.0, *self.grid, self.horizon], [1.0, *self.survival, self.baseline]
        if len(times) != len(curve) or len(self.grid) > MOST_TIMES:
            raise StudyError(f"grid and survival have as many numbers as each other, at most {MOST_TIMES}")
        if (np.diff(times) <= 0).any() or (np.diff(curve) >= 0).any():
            raise StudyError(
                f"grid is {list(self.grid)} and survival {list(self.survival)}: times go up, and end before times = "
                f"{self.horizon:g}; survival falls from below 1 to above the baseline, {self.baseline:g}"
            )

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

    def _check_learnt(self) -> None:
        """A model of risks, whose levels the study declares."""
        from confrere.analyses.learning import released

        released.check(self.opened, self.classes)
        renamed(self.learnt, Outcome(self.outcome, self._levels))
        if self.bags and not self.person:
            raise StudyError('learnt reads images, which know people by name: name their column, [data] person = "..."')
        if self.coefficients or self.link != "logit":
            raise StudyError("coefficients and link are of a published model; learnt has its own. Leave them out")
        if self.inputs:  # cells of an input and of risks that a model was made for may differ by one person
            raise StudyError("inputs stand beside no learned model; compare them in an evaluation of a column of risks")
        if (self.baseline is None) == released.ranks(self.opened):
            raise StudyError(
                "baseline is missing: the model predicts hazard ratios. Give the survival at times of somebody whose "
                "hazard ratio is 1"
                if self.baseline is None else "baseline is of a model of hazards; this one predicts risks. Leave it out"
            )  # fmt: skip
        if (by := released.by(self.opened)) and (not self.followed or self.horizon != by):
            raise StudyError(
                f"learnt is a network of risks by the time {by:g}: its outcome is Surv(time, event), times = {by:g}"
            )
        if self.baseline is not None and not self.followed:
            raise StudyError("learnt is a model of hazards: its outcome is Surv(time, event)")
        for name, column in released.schema_of(self.opened).columns.items():
            if self.ground.schema.levels(name) != column.levels:
                raise StudyError(
                    f"learnt: the model knows other levels of {name!r} than the study; declare "
                    f"[data.columns.{name}] levels = {list(column.levels or ())}"
                )

    # public

    @property
    def opened(self) -> Any:
        """The learned model. StudyError where it is none."""
        from confrere.analyses.learning.released import opened

        return opened(self.learnt)

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that a learned model reads; none of another."""
        from confrere.analyses.learning.released import columns_of

        return columns_of(self.opened) if self.learnt else ()

    @property
    def bags(self) -> str:
        """The bags of images that a learned network reads; "" of another model."""
        return getattr(self.opened, "bags", "") if self.learnt else ""

    @property
    def bag_size(self) -> int:
        """How many numbers a row of these bags has."""
        return int(self.opened.sizes.bag) if self.bags else 0

    @property
    def person(self) -> str:
        """The column of the person's name, or "" where the study names none."""
        return self.ground.person or (PERSON if self.ground.cohorts else "")

    @property
    def sole(self) -> str:
        """Why a study has no analysis beside this one, where it has none: a learned model divides people at will."""
        return SOLE if self.learnt else ""

    @property
    def shares(self) -> int:
        """Among how many evaluations of as many people the budget of numbers is shared."""
        return 1

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
        return self.followed and len(self._levels) > 2

    @property
    def terms(self) -> Model:
        """The right side: terms of the model, or the column of the risk."""
        return model_of(f"~ {self.model or self.risk or 1}", self.ground)

    @property
    def classes(self) -> tuple[str, ...]:
        """The levels of an outcome of three or more, which a learned model predicts; none of another outcome."""
        levels = self.ground.schema.levels(self.outcome) or ()
        return levels if self.learnt and len(levels) > 2 else ()

    @property
    def formula(self) -> str:
        """Outcome and terms in one formula; of classes, which no formula has, without them."""
        return "~ 1" if self.classes else f"{self.outcome} ~ {self.model or self.risk or 1}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of subgroups or periods, of inputs, of a learned model, of an outcome of classes, and of whose
        images a network reads."""
        beside = ((self.outcome,) if self.classes else ()) + ((self.person,) if self.bags else ())
        return tuple(dict.fromkeys((*self.columns, *self.inputs, *self.features, *beside)))

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns in which everybody must be complete: trees take missing values."""
        trees = self.features if self.learnt and hasattr(self.opened, "trees") else ()
        needed = (*model_of(self.formula, self.ground).columns, *self.reads)
        return tuple(dict.fromkeys(c for c in needed if c not in trees or c in (*self.columns, *self.inputs)))

    @property
    def valued(self) -> Mapping[str, tuple[float, ...]]:
        """Values that columns without levels have: risks are probabilities, subgroups whole numbers."""
        plain = {name: tuple(np.arange(1, 40) / 40) for name in (self.risk,) if name in self.terms.columns}
        subgroups = {name: (0.0, 1.0, 2.0) for name in self.columns if not self.ground.schema.levels(name)}
        if self.learnt:
            from confrere.analyses.learning.released import valued

            plain = {name: values for name, values in valued(self.opened).items() if name not in self.columns}
        marks = {} if self.followed or self._levels else {c: (0.0, 1.0) for c in self._left.columns}
        return plain | subgroups | {name: values for name, values in marks.items() if name == self.outcome}

    @property
    def apart(self) -> bool:
        """Whether each subgroup has cells of risk of its own. Periods are compared on the same cells; and a learned
        model, whoever made it, knows none but those of everybody."""
        return bool(self.by) and not self.learnt

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
        if self.learnt:
            return f"risk of the model [{hashlib.sha256(self.learnt.encode()).hexdigest()[:16]}, {self.baseline}]"
        if not self.model:
            return self.risk
        made = [self.model, sorted((n, float(c)) for n, c in self.coefficients.items()), self.link, self.baseline]
        return f"risk of {self.model} [{hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]}]"

    def selected(self, seen: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """Whom `selecting` selects (N,), and the columns by which; the last again, by none."""
        from confrere.analyses.learning.evaluate_risk import learnt_risk, risk_of

        # without a risk nobody is at or above a threshold; columns that are no risks are refused by the evaluation
        with np.errstate(invalid="ignore", divide="ignore"):
            risk = learnt_risk(self, seen) if self.learnt else risk_of(self, self.terms.evaluate(seen).x)
            logit = special.logit(risk)
            above = [np.asarray(logit >= special.logit(t)) for t in self.thresholds]
        columns = [self.features or self.terms.columns] * len(above) + [()]
        yield from zip(self.selecting, columns, (*above, *above[-1:]), strict=bool(above))

    @property
    def dividing(self) -> tuple[str, ...]:
        """Formulas with a comparison that divides people too: who is followed beyond the horizon, cuts of inputs."""
        cuts = tuple(f"~ I({name} >= {cut!r})" for name, each in self.inputs.items() for cut in each)
        outcome = self._left.outcome
        time = outcome.time if outcome else None
        if not (self.followed and time):
            return cuts
        return (*cuts, *(f"~ I({time.text} > {t!r})" for t in (*self.grid, self.horizon)))

    # inside a hospital, for its steward

    @property
    def about(self) -> str:
        """The words for the outcome and the risk, for people."""
        return f"{self.outcome}: {f'SHA-256 {self.opened.sha256[:12]}' if self.learnt else self.model or self.risk}"

    @local()
    def own(self, people: People, everywhere: Mapping[str, Mapping[str, float | None]]) -> OwnMeasures:
        """How good the risks are in this hospital, for its steward; it stays here.

        `everywhere` are the estimates of all hospitals by level and metric, which every hospital knows.
        """
        from confrere.analyses.learning import own_measures
        from confrere.analyses.learning.evaluate_risk import predicted

        return own_measures.own(self, predicted(self, people).data, everywhere)

    # sums only

    def flow(self) -> Flow[Finding]:
        """The flow of the file that answers for this kind of outcome, and what every hospital keeps."""
        found = yield from self._evaluated()
        if self.own_measures:
            from confrere.analyses.learning.own_measures import everywhere

            yield from keep(self.own, everywhere(found))
        return replace(found, notes=(*found.notes, *renamed(self.learnt, Outcome(self.outcome, self._levels))))

    def _evaluated(self) -> Flow[Finding]:
        if self.followed:
            from confrere.analyses.learning.evaluate_followed import evaluated as of_follow_up

            return (yield from of_follow_up(self))
        if self.classes:
            from confrere.analyses.learning.evaluate_classes import Classes

            return (yield from Classes(self).flow())
        from confrere.analyses.learning.evaluate_binary import evaluated

        return (yield from evaluated(self))
