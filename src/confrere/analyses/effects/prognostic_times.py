"""Prognostic covariate adjustment of a trial whose outcome is the time to an event (`prognostic`).

The score m is the linear predictor of Cox's model among the historical controls, each hospital with its own baseline.
In the trial the treatment's hazard ratio is told three times:

1. by Cox's model of the treatment alone, with one baseline on the public grid of times; log ratio t, information I;
2. by Cox's model of treatment, covariates and score: a ratio *among people of one score*, which is further from 1 than
   that of everybody wherever the score says something (hazard ratios do not collapse). Each hospital has its own
   baseline, on exact times: on a grid of few cells, within which a strong score wears the risk sets down, it is far
   too near 1 (-0.43 for -0.60 in trials of 600 people and four cells; the ratio of 1 is not);
3. the first, adjusted as a mean difference is. A person's score residual U (Lin & Wei) makes the outcome
   O = n p_1 U/I of the treated and O = -n p_0 U/I of the others, of which t is the difference of means to first order;
   with b_a its slope on m in an arm,

       t - (b_1 (m_1 - m) - b_0 (m_0 - m))

   for the same ratio as the first, with the variance of `prognostic` in O: never larger in large trials, whether the
   score is right or not. It gives what a trial saves, in events: Schoenfeld's number times that variance over the
   first's. (The test of 2 gains more where Cox's model of treatment and score holds, and may gain less where not.)

Arms and cells of 1: nobody, or at least k people of either arm in a cell. Censoring tells nothing of the event in an
arm.

Sources: Schuler et al., Int J Biostat 2022;18:329; Lu & Tsiatis, Biometrika 2008;95:679; Ye, Shao & Yi, Biometrika
2024;111:691 (adjusted log-rank tests and hazard ratios); Schoenfeld, Biometrics 1983;39:499. Equals R `coxph` on the
trial's people, of 2 with `strata(hospital)`; `residuals(type = "score")` and moments of these by arm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.cox import Cox
from confrere.analyses.cox_shared import Facts, SharedBaseline
from confrere.analyses.effects import measures
from confrere.analyses.effects.prognostic import (
    ARMS,
    SCHULER,
    SCORE,
    Arms,
    Prognostic,
    arms_of,
    inside,
    outside,
    overall,
    plan,
    terms_of,
    weak,
)
from confrere.analyses.finding import Citation, Finding, Record
from confrere.analyses.newton import Peak
from confrere.analyses.risksets import Tied
from confrere.analyses.scaling import RAW, Standard
from confrere.errors import DataError, ModelError, StudyError
from confrere.rounds import Array, Cells, Design, Flow, People, Sum, Verdict, ask, local, register, together
from confrere.study.counted import persons

YE = Citation(
    "Ye T, Shao J, Yi Y. Covariate-adjusted log-rank test: guaranteed efficiency gain and universal applicability. "
    "Biometrika 2024;111:691-705",
    "10.1093/biomet/asad045",
)
SCHOENFELD = Citation(
    "Schoenfeld DA. Sample-size formula for the proportional-hazards regression model. Biometrics 1983;39:499-503",
    "10.2307/2531021",
)
NOTE = (
    "Adjusted for the score, a hazard ratio is that among people of the same score and hospital, which is another "
    "question than that of everybody in the trial, and further from 1; 'score, of everybody' is the unadjusted ratio, "
    "made surer."
)


class Score(NamedTuple):
    """A prognostic model as its sums found it; public. Coefficients (p,) of its terms, about their means (p,)."""

    formula: str
    beta: tuple[float, ...]
    centre: tuple[float, ...]


class Residuals(NamedTuple):
    """By arm, controls first: people, score residual U, prognostic score m, UU, mm, Um; people with the event."""

    arms: Sum  # (2, 7)


@register("_prognosis_times")
@dataclass(frozen=True)
class PrognosisTimes(Cox):
    """The prognostic model, of untreated people outside the trial."""

    trial: str = ""
    treatment: str = ""

    def rows(self, people: People) -> Design:
        """Raw terms and outcome of the historical controls."""
        return outside(super().rows(people), people, self.trial, self.treatment, self.ground)


@register("_adjusted_times")
@dataclass(frozen=True)
class AdjustedTimes(Cox):
    """Cox's model of the trial's people, who are complete in `whole`; treatment is the first term, and a `model` gives
    everybody a score. Of the treatment alone the baseline is shared."""

    trial: str = ""
    whole: str = ""
    model: Score | None = None

    def rows(self, people: People) -> Design:
        """Raw terms, and the score if it is one, and outcome of the trial's people."""
        if self.model is None:
            raise StudyError("a score needs a model: use prognostic")
        made, frame = inside(people, self.whole, self.trial, self.ground)
        x = terms_of(self.formula, frame, self.ground)
        if bad := int(((x[:, 0] != 0) & (x[:, 0] != 1)).sum()):
            raise DataError(
                f"treatment {self.names[0]!r} is neither 0 nor 1 for {persons(bad)}; declare its two levels, or recode "
                f"it"
            )
        score = terms_of(self.model.formula, frame, self.ground) @ np.array(self.model.beta)
        score -= np.array(self.model.centre) @ np.array(self.model.beta)
        x = np.column_stack([x, score])[:, : len(self.names)]
        strata = None if self.baseline == "shared" else made.data.strata
        made = replace(made, x=x, names=self.names, data=made.data._replace(x=x, strata=strata))
        made.once(SCORE, lambda: score)
        return made

    def flow(self) -> Flow[Finding]:
        """As Cox's; with a shared baseline in cells of either arm."""
        return (yield from (TrialBaseline(self).flow() if self.baseline == "shared" else super().flow()))

    def _taken_up(self, name: str) -> ModelError:
        """What a baseline per hospital leaves nothing of; `about` nothing, since the trial has both arms."""
        arm = self.names[0]
        if name == arm:
            return ModelError(
                f"no hospital of the trial has both arms of {arm!r}: given the score, or covariates, it is compared "
                f"within hospitals. A trial is randomised by person"
            )
        return ModelError(
            f"term {name!r} is the same for everybody in the trial at every hospital: given the score, or covariates, "
            f"arms are compared within hospitals anyway. Leave it out"
        )


@register("_prognostic_score_of_times")
@dataclass(frozen=True)
class ScoredTimes(AdjustedTimes):
    """The same, the score among the terms."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms; the score is the last."""
        return (*super().names, SCORE)


@register("_adjusted_times_shared")
@dataclass(frozen=True)
class TrialBaseline(SharedBaseline):
    """The steps of a Cox model of a trial; `cox` is an `AdjustedTimes`."""

    def grid(self, people: People, edges: tuple[float, ...]) -> Design:
        """Cells hold nobody or enough people of either arm: with one mark as a term, sums per cell tell the arms."""
        made = super().grid(people, edges)
        treated = made.data.rows.x[:, 0] == 1
        arms = dict(zip(ARMS, (~treated, treated), strict=True))
        event = made.flags["event"].astype(int)
        cells = {arm: Cells(np.where(mine, event, -1), (1, 2), rule="show") for arm, mine in arms.items()}
        if not self.cox.ground.fine:
            cells |= {
                f"{told}, {arm}": replace(made.cells[kind], index=np.where(mine, made.cells[kind].index, -1))
                for kind, told in (("dead", "with the event"), ("alive", "without the event"))
                for arm, mine in arms.items()
            }
        return replace(made, cells={**made.cells, **cells})

    def _settled(self) -> Flow[tuple[Verdict, Array, tuple[float, ...]]]:
        """As Cox's. ModelError before the climb, which would have no end, where an arm has no events."""
        got: tuple[Verdict, Array, tuple[float, ...]] = yield from super()._settled()
        verdict = got[0]
        for arm, who in zip(ARMS, ("not treated", "treated"), strict=True):
            alive, dead = verdict.grids[arm][0]
            if alive >= 0 > dead:  # nobody in an arm at all is another matter
                few = f" (or fewer than {verdict.k} have it)" if self.cox.ground.fine and verdict.k else ""
                raise ModelError(
                    f"nobody who is {who} in the trial has the event{few}: no hazard ratio. Check the outcome's "
                    f"column, or choose an outcome that people of both arms have"
                )
        return got

    @local(on="grid")
    def residuals(
        self, people: People, beta: tuple[float, ...], z: Standard, sums: tuple[Array, Array, Array]
    ) -> Residuals:
        """Moments of score residuals and prognostic score by arm; people with the event."""
        u, m = self._residuals(people, beta, z, *sums)[:, 0], people.design.once(SCORE, lambda: np.zeros(0))
        arm = people.design.data.rows.x[:, 0]
        columns = np.column_stack([np.ones(len(u)), u, m, u * u, m * m, u * m, people.design.flags["event"]])
        return Residuals(people.derived(np.array([1 - arm, arm]) @ columns, dims=("arms", "moments"), scale=RAW))

    def _squares(self, peak: Peak, z: Standard, t: Tied, means: Array, *more: Array) -> Flow[tuple[Array, Facts]]:
        """Moments by arm, whose squares are the meat too."""
        got = (yield from ask(self.residuals, tuple(peak.beta.tolist()), z, (t.a, t.c, means))).arms.value
        slope = float(peak.information[0, 0]) * z.sd[0]
        return np.array([[got[:, 3].sum()]]), {"moments": got, "slope": slope}


def followed(study: Prognostic) -> Flow[Finding]:
    """The flow of an outcome that is the time to an event: the prognostic model, then the trial's fits at once."""
    strata = f" + strata({study.strata})" if study.strata else ""
    learning = PrognosisTimes(
        f"{study.outcome} ~ {study.score}{strata}", ridge=study.ridge, diagnostics=False, ground=study.about,
        trial=study.trial, treatment=study.treatment,
    )  # fmt: skip
    try:
        learned: Finding = yield from learning.flow()
    except ModelError as error:
        raise ModelError(f"the prognostic model ({learning.formula}): {error}", about=error.about) from None
    model = Score(f"~ {study.score}", *(tuple(learned.arrays[key].tolist()) for key in ("estimate", "centre")))
    fits = _fits(study, model)
    found = yield from together(*(fit.flow() for fit in fits.values()))
    return _finding(study, learned, dict(zip(fits, found, strict=True)))


def _fits(study: Prognostic, model: Score) -> dict[str, AdjustedTimes]:
    """The trial's models by adjustment."""
    plain = f"{study.outcome} ~ {study.treatment}"
    adjusted = f"{plain} + {study.covariates}" if study.covariates else plain
    wanted = {"none": (AdjustedTimes, plain)} | ({"covariates": (AdjustedTimes, adjusted)} if study.covariates else {})
    wanted["covariates and score" if study.covariates else "score"] = (ScoredTimes, adjusted)
    return {
        name: kind(
            formula, baseline="shared" if name == "none" else "per hospital", robust=True, diagnostics=False,
            ground=study.about, trial=study.trial, whole=study.formula, model=model,
        )
        for name, (kind, formula) in wanted.items()
    }  # fmt: skip


class Trial(NamedTuple):
    """By arm: its moments in the outcome O; people with the event (2,); and how many are in the trial."""

    arms: Arms
    events: Array
    n: float

    @property
    def share(self) -> float:
        """Of the people treated."""
        return float(self.arms.n[1] / self.n)

    @property
    def step(self) -> float:
        """What chance in the score moved the log hazard ratio by."""
        a = self.arms
        slopes, mean = a.r * a.sd / a.score_sd, float(a.n @ a.score) / self.n
        return float(slopes @ (np.array([-1, 1]) * (a.score - mean)))


def trial_of(moments: Array, slope: float) -> Trial:
    """From the moments of score residuals (2, 7), and the slope of the score by the log hazard ratio."""
    n, events = moments[:, 0], moments[:, 6]
    unit = np.array([-1, 1]) * n / slope  # n p_a / I
    powers = np.column_stack([unit**0, unit, unit**0, unit**2, unit**0, unit])
    return Trial(arms_of(moments[:, :6] * powers, 0.0, 1.0), events, float(n.sum()))


def _finding(study: Prognostic, learned: Finding, fits: dict[str, Finding]) -> Finding:
    """Effects by adjustment, arms, the plan of a trial."""
    plain = fits["none"]
    trial = trial_of(plain.facts["moments"], plain.facts["slope"])
    arms = trial.arms
    whole = float(plain.arrays["robust_vcov"][0, 0])
    effects: list[Record] = []
    for name, fit in fits.items():
        estimate, variance = float(fit.arrays["estimate"][0]), float(fit.arrays["robust_vcov"][0, 0])
        effects.append({"adjustment": name, **measures.record("hazard ratio", estimate, float(np.sqrt(variance)))})
    variance = arms.variance(trial.share, arms.r) / trial.n
    own = measures.record("hazard ratio", float(plain.arrays["estimate"][0]) - trial.step, float(np.sqrt(variance)))
    effects.append({"adjustment": "score, of everybody", **own})
    told = {0: 1.0, len(effects) - 1: variance / whole}  # the others answer another question
    effects = [{**row, "relative_variance": told.get(i)} for i, row in enumerate(effects)]
    events = float(trial.events.sum())
    per_event = 1 / (study.share * (1 - study.share) * events / trial.n)  # Schoenfeld
    kept = arms.variance(trial.share, study.deflate * arms.r) / arms.variance(trial.share, 0 * arms.r)
    tables: dict[str, list[Record]] = {
        "effects": effects,
        "prognosis": [
            {"arm": arm, "n": round(arms.n[a]), "events": round(trial.events[a]), "score_mean": float(arms.score[a]),
             "score_std_dev": float(arms.score_sd[a]), "correlation": float(arms.r[a]),
             "r_squared": float(arms.r[a] ** 2)}
            for a, arm in enumerate(ARMS)
        ],
        "sample_size": plan(study, per_event, kept * per_event, events / trial.n),
        "learned": learned.tables["coefficients"],
        "attrition": plain.tables["attrition"],
    }  # fmt: skip
    facts: dict[str, Any] = {
        "learned_from": learned.n, "learned_events": learned.events, "r_squared": overall(arms),
        "cells": plain.facts["cells"],
    }  # fmt: skip
    return Finding(
        "prognostic", plain.n, plain.hospitals, tables, events=round(events), facts=facts, warnings=weak(arms),
        notes=(NOTE, *plain.notes), cite=(SCHULER, YE, SCHOENFELD),
    )  # fmt: skip
