"""Control outcomes and treatments beside an effect: what is known is estimated as what is not, and diagnostics.

All of them are about the same people, share their rounds, and those of the same treatment one propensity. Negative
controls (a true ratio of 1) give the distribution of systematic errors, by which p-values are calibrated; with positive
controls (a known ratio other than 1) or without, limits too (`calibration`). Diagnostics have thresholds in the study
file, fixed before anybody sees a result: where one is missed, the airlock holds the result back.

Sources: those of `calibration`; Schuemie et al., Health Data Science 2024;4:0155 (diagnostics, results unseen until
they pass). OHDSI starts from smd 0.1, equipoise
0.2 and ease 0.25.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from confrere.analyses.causes import each_cause
from confrere.analyses.effects.calibration import LEAST, SCHUEMIE, errors_of, null_of
from confrere.analyses.finding import Caution, Finding, Record
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.rounds import Flow, together
from confrere.study.ground import LEFT, model_of

if TYPE_CHECKING:
    from confrere.analyses.effects.effect import Effect


PLAIN = re.compile(r"\w+|Surv\(\s*\w+\s*,\s*\w+\s*\)")  # an outcome that divides nobody by a cut


@dataclass(frozen=True)
class Control:
    """An outcome, or a treatment, whose effect is known: the ratio `truth` (1: there is none)."""

    outcome: str = ""
    truth: float = 1.0
    treatment: str = ""


@dataclass(frozen=True)
class Diagnostics:
    """Thresholds: the largest standardised difference after weighting, the least share of people in equipoise, the
    largest expected absolute systematic error of a log ratio. None is not looked at."""

    smd: float | None = None
    equipoise: float | None = None
    ease: float | None = None


def check(effect: Effect) -> None:
    """The controls and thresholds of a study. StudyError names what is wrong."""
    for outcome in (*effect.beside, *(c.outcome for c in effect.controls if c.outcome)):
        if not PLAIN.fullmatch(outcome):
            raise FormulaError(f"controls: {outcome!r} is no column, nor Surv() of two; make a column of it")
    for c in effect.controls:
        if not (c.outcome or c.treatment):
            raise StudyError("controls: each names an outcome or a treatment whose effect is known")
        if not 0 < c.truth < np.inf:
            raise StudyError(f"controls: truth is {c.truth} of {_named(c)!r}; it is a ratio, 1 of no effect")
        if c.outcome in ("", effect.outcome) and c.treatment in ("", effect.treatment):
            raise StudyError(f"controls: {_named(c)!r} is the effect in question; name another outcome or treatment")
        known = _known(replace(effect, controls=(), diagnostics=None), c)
        if known.followed != effect.followed:  # a ratio of another kind calibrates nothing
            wanted = ("a column of marks or counts", "Surv(time, event)")[effect.followed]
            raise StudyError(
                f"controls: {c.outcome!r} is of another kind than the outcome; make it {wanted} as that is"
            )
        known.check()
    if effect.controls and sum(c.truth == 1 for c in effect.controls) < LEAST:
        raise StudyError(f"controls: {LEAST} negative ones (truth = 1) or more are needed to tell systematic error")
    if len(set(effect.controls)) < len(effect.controls):
        raise StudyError("controls: one of them stands there twice")
    d = effect.diagnostics or Diagnostics()
    for name, value in (("smd", d.smd), ("equipoise", d.equipoise), ("ease", d.ease)):
        if value is not None and not 0 <= value < np.inf:
            raise StudyError(f"diagnostics: {name} is {value}; a threshold is 0 or more")
    if d.ease is not None and not effect.controls:
        raise StudyError("diagnostics: ease is found from controls; name some, or leave it out")
    if (d.smd, d.equipoise) != (None, None) and not effect.weighs:
        raise StudyError("diagnostics: gformula has no propensity; leave out smd and equipoise")
    if d.smd is not None and not effect.balance:
        raise StudyError("diagnostics: smd is of the table balance, which balance = false leaves out")


def formulas(effect: Effect) -> tuple[str, ...]:
    """What controls are made of, and outcomes beside that of the effect."""
    made = [f"{c.outcome or effect.outcome} ~ {c.treatment or effect.treatment}" for c in effect.controls]
    made += [f"{effect.outcome} ~ {effect.treatment}"] if effect.controls else []
    return (*made, *(f"{outcome} ~ 1" for outcome in effect.beside))


def columns(effect: Effect) -> tuple[str, ...]:
    """The columns that these read."""
    return tuple(sorted({name for f in formulas(effect) for name in model_of(f, effect.ground).columns}))


def controlled(effect: Effect) -> Flow[Finding]:
    """The effect, its controls in the same rounds, and what they say of it."""
    outcomes = tuple(sorted({effect.outcome, *(c.outcome for c in effect.controls if c.outcome)}))
    treatments = sorted({effect.treatment, *(c.treatment for c in effect.controls if c.treatment)})
    needed = {*effect.ground.complete, *treatments, *effect.reads}
    same = replace(effect.ground, complete=tuple(sorted(needed, key=lambda name: (name != LEFT, name))))
    main = replace(effect, controls=(), diagnostics=None, beside=outcomes if effect.controls else (), ground=same)
    known = replace(main, balance=False, own_balance=False)  # that of the effect, which has the same people and weights
    flows = [_tried(_known(known, c)) for c in effect.controls]
    finding, *others = yield from together(main.flow(), *flows)
    return _finding(effect, finding, others)


def _known(effect: Effect, c: Control) -> Effect:
    """The effect of a control; of the study's cause, where causes compete in the control too."""
    outcome = c.outcome or effect.outcome
    cause = effect.cause if each_cause(outcome, effect.ground)[0] else ""
    return replace(effect, outcome=outcome, treatment=c.treatment or effect.treatment, cause=cause)


def _tried(effect: Effect) -> Flow[Finding | str]:
    """A control's finding, or why there is none: one that nobody has is no reason to stop."""
    try:
        return (yield from effect.flow())
    except ModelError as error:
        return str(error)


def _finding(effect: Effect, finding: Finding, others: Sequence[Finding | str]) -> Finding:
    """With the tables `controls`, `calibrated` and `diagnostics`."""
    tables, cite = dict(finding.tables), finding.cite
    if effect.controls:
        rows = [row for c, got in zip(effect.controls, others, strict=True) for row in _controls(c, got, effect)]
        ratios = [r for r in finding.tables["effects"] if r["measure"].endswith("ratio")]
        if not ratios:
            raise ModelError("controls calibrate ratios, and this outcome has none; leave them out, or give the family")
        tables |= {"controls": rows, "calibrated": [calibrated(r, rows) for r in ratios]}
        cite = (*cite, SCHUEMIE)
    said: tuple[Caution, ...] = ()
    if effect.diagnostics is not None:
        tables["diagnostics"] = diagnosed(
            effect.diagnostics, finding, [r["ease"] for r in tables.get("calibrated", [])]
        )
        said = _caution(tables["diagnostics"])
    return replace(finding, tables=tables, cite=cite, warnings=(*finding.warnings, *said))


def _named(c: Control) -> str:
    return " on ".join(filter(None, (c.treatment, c.outcome)))


def _controls(c: Control, got: Finding | str, effect: Effect) -> list[Record]:
    """A control's record per ratio; one without an estimate where it has none, and why."""
    head: Record = {
        "outcome": c.outcome or effect.outcome, "treatment": c.treatment or effect.treatment, "truth": float(c.truth),
    }  # fmt: skip
    if isinstance(got, str):
        return [{**head, "measure": "", "estimate": None, "std_error": None, "reason": got}]
    return [{**head, **r, "reason": ""} for r in got.tables["effects"] if r["measure"].endswith("ratio")]


def calibrated(effect: Record, rows: Sequence[Record]) -> Record:
    """The calibrated effect: estimate and limits by the errors of all controls, p by those of the negative ones.

    `effect` is a ratio of the table `effects`, `rows` are those of `controls`. Errors are those of the same measure at
    the same time, so that a control counts once; of the same cause, where a control has causes.
    """
    used = [r for r in rows if all(r.get(name) == effect.get(name) for name in ("measure", "time"))]
    used = [r for r in used if r.get("cause") in (None, effect.get("cause"))]
    estimate, se = (np.array([r[name] for r in used]) for name in ("estimate", "std_error"))
    truth = np.log([r["truth"] for r in used])
    negative = truth == 0
    null = null_of(estimate[negative], se[negative])
    errors = null if negative.all() else errors_of(estimate, se, truth)
    limits = errors.limits(effect["estimate"], effect["std_error"])
    told = [None if not np.isfinite(v) else float(v) for v in limits]
    ratios = [None if v is None else float(np.exp(v)) for v in told]
    names = ("estimate", "conf_low", "conf_high"), ("ratio", "ratio_low", "ratio_high")
    return {
        **{name: effect[name] for name in ("measure", "cause", "time") if name in effect},
        **dict(zip(names[0], told, strict=True)),
        "p_value": null.p_value(effect["estimate"], effect["std_error"]), **dict(zip(names[1], ratios, strict=True)),
        "ease": null.ease, "error_mean": errors.mean, "error_slope": errors.slope, "error_sd": errors.sd,
        "error_sd_slope": errors.sd_slope, "negative_controls": int(negative.sum()),
        "positive_controls": int((~negative).sum()),
    }  # fmt: skip


def diagnosed(wanted: Diagnostics, finding: Finding, ease: Sequence[float]) -> list[Record]:
    """A record per threshold: `diagnostic`, `value` (None where bins do not tell it), `threshold`, `passed`."""
    smd = max((abs(r["smd_after"]) for r in finding.tables.get("balance", [])), default=None)
    share = finding.facts.get("equipoise")
    worst = max(ease, default=None)
    rows: list[tuple[str, float | None, float | None, int]] = [
        ("smd", smd, wanted.smd, 1), ("equipoise", share, wanted.equipoise, -1), ("ease", worst, wanted.ease, 1),
    ]  # fmt: skip
    return [
        {
            "diagnostic": name,
            "value": value,
            "threshold": limit,
            "passed": value is not None and sign * (limit - value) >= 0,
        }
        for name, value, limit, sign in rows
        if limit is not None
    ]


def _caution(rows: Sequence[Record]) -> tuple[Caution, ...]:
    told = [(r, "not told" if r["value"] is None else f"{r['value']:.3g}") for r in rows if not r["passed"]]
    failed = ", ".join(f"{r['diagnostic']} is {value} (threshold {r['threshold']:g})" for r, value in told)
    if not failed:
        return ()
    text = f"The study's diagnostics do not pass: {failed}. The estimate is not to be used as it stands."
    return (Caution("diagnostics-failed", text),)
