"""What a reader must know of how a study emulates its target trial: the cautions that its results carry.

What cannot be an emulation at all is refused when the study is read (`study/target_trial.py`). What may be one, or
what nobody can check from the study alone, is said here.

Sources: Hernan et al., J Clin Epidemiol 2016;79:70; Levesque et al., BMJ 2010;340:b5087 (immortal time); Hernan &
Robins, N Engl J Med 2017;377:1391 (per protocol); Li, Morgan & Zaslavsky, JASA 2018;113:390 (whom it is about).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from confrere.analyses.finding import Caution, Finding
from confrere.study.file import Study
from confrere.study.target_trial import TargetTrial, adheres, ahead, columns, effects, estimand_of


def cautioned(study: Study, findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """The findings, those that emulate the study's target trial with its cautions."""
    said = tuple(cautions(study))
    emulating = {spec.name for spec in effects(study)} if said else set()
    return {
        name: replace(found, warnings=(*found.warnings, *said)) if name in emulating else found
        for name, found in findings.items()
    }


def cautions(study: Study) -> Iterator[Caution]:
    """What a reader must know of the emulation; nothing where a study has no target trial."""
    trial = study.target_trial
    if trial is None:
        return
    yield from _time_zero(study)
    yield from _contrast(study, trial)


def _time_zero(study: Study) -> Iterator[Caution]:
    """Whether eligibility, treatment and the start of follow-up are of the same day."""
    if study.omop is None or not study.omop.target:
        yield Caution(
            "unchecked-time-zero",
            "The hospitals have tables of their own: that eligibility, treatment and confounders are decided by time "
            "zero, and people followed from it, is as the study says, and nobody has checked it.",
        )
        return
    looking = [f"{name}: {rule}" for name in study.omop.compared for rule in ahead(study.omop.cohort(name))]
    read = {name for spec in effects(study) for name in columns(study, spec, "outcome")}
    late = [f"{o.name} from day {o.first}" for o in study.omop.outcomes if o.first > 1 and {o.name, o.time} & read]
    if looking or late:
        yield Caution(
            "immortal-time",
            f"Who is eligible is known only after time zero ({'; '.join([*looking, *late])}): whoever dies, leaves or "
            f"has the outcome before is left out, so that those who stay seem to do better than they do.",
        )


def _contrast(study: Study, trial: TargetTrial) -> Iterator[Caution]:
    """Whether the analyses answer what the trial asks."""
    kept = any("censoring" in s.settings or adheres(s) for s in effects(study))
    if trial.contrast == "per protocol" and not kept:
        yield Caution(
            "per-protocol",
            "The target trial asks for the effect of keeping to a strategy. The analyses compare people by what they "
            "had at time zero, whatever they took later: that is the effect of being assigned to it.",
        )
    others = [f"'{s.name}' ({estimand_of(s)})" for s in effects(study) if estimand_of(s) not in ("", trial.estimand)]
    if others:
        yield Caution(
            "other-estimand",
            f"The target trial asks for the {trial.estimand}. About other people are {', '.join(others)}: do not pool "
            f"them, nor expect the same number.",
        )
