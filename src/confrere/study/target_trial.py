"""The target trial of a study: the randomised trial that its analyses emulate, as a form in the study file.

    [target_trial]
    eligibility = "women with a primary breast cancer"      # in words, or a name of [cohorts]
    strategies = ["no hormonal therapy", "hormonal therapy"]
    time_zero = "primary surgery"
    follow_up = 3652                                        # in the study's unit of time
    outcome = "recurrence"
    estimand = "ATO"
    contrast = "intention to treat"
    assumptions = ["every common cause of treatment and recurrence is among the confounders"]

A factorial trial, of two treatments, has four strategies: neither, the first alone, the second alone, both.

The form is what `check` holds the analyses against: treatment, eligibility and confounders are decided by time zero.
What a hospital's own table means nobody can check; of OMOP records the study says it, and the check reads that.

Sources: Hernan & Robins, Am J Epidemiol 2016;183:758; Hernan et al., J Clin Epidemiol 2016;79:70 (immortal time);
Cashin et al. (TARGET), JAMA 2025, doi:10.1001/jama.2025.13350.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import msgspec

from confrere.errors import FormulaError, StudyError
from confrere.study.circe import Definition
from confrere.study.features import Error
from confrere.study.ground import DAYS
from confrere.study.kinds import converted

if TYPE_CHECKING:
    from confrere.study.file import Spec, Study
    from confrere.study.omop import Omop

TABLE = "target_trial"
ASSIGNMENT = "at random at time zero; people and physicians know the strategy"
TREATED = ("treatment", "started", "treated_from")  # the settings that say who is treated, or from when on
PAIR = ("first", "second")  # those of two treatments
FACTORIAL = 4  # strategies of two treatments
ADHERING = "clone_censor_weight"  # the method that censors whoever leaves a strategy
ESTIMANDS = {
    "effect": "ATE", "interaction": "ATE", "sequential_trials": "ATE", ADHERING: "ATE",
    "difference_in_differences": "ATT",
}  # fmt: skip


@dataclass(frozen=True)
class TargetTrial:
    """The protocol of the trial that one would like to have, checked.

    eligibility    in words, or a name of [cohorts]
    strategies     two, of which the second is that of the treated; of two treatments four, `PAIR` and then both
    time_zero      when a person is eligible, assigned, and followed from
    follow_up      how long people are followed, in the study's unit of time
    estimand       for whom the effect is, as in the setting of the analyses
    contrast       of assignment (intention to treat), or of adhering (per protocol)
    assumptions    under which a difference is an effect
    ends           what else ends follow-up, in words
    rationale      why a trial is emulated, and with these data
    """

    eligibility: str
    strategies: tuple[str, ...]
    time_zero: str
    follow_up: float
    outcome: str
    estimand: Literal["ATE", "ATT", "ATO", "ATM"]
    contrast: Literal["intention to treat", "per protocol"]
    assumptions: tuple[str, ...]
    assignment: str = ASSIGNMENT
    analysis_plan: str = ""
    ends: str = ""
    rationale: str = ""

    @property
    def factorial(self) -> bool:
        """Whether it is a trial of two treatments."""
        return len(self.strategies) == FACTORIAL

    def to_dict(self) -> dict[str, Any]:
        """As written: what has no default, and what was said."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in said.items() if v and v != ASSIGNMENT}


KEYS = tuple(f.name for f in fields(TargetTrial))


def read(content: Mapping[str, Any], error: Error) -> TargetTrial | None:
    """The table [target_trial] of a study file; None where there is none. `error` makes a StudyError with its line."""
    said = content.get(TABLE)
    if said is None:
        return None
    if not isinstance(said, dict):
        raise error("", TABLE, f"write [{TABLE}] as a table, in single brackets")
    kinds = get_type_hints(TargetTrial)
    for key in said:
        if key not in kinds:
            from confrere.study.file import meant

            raise error(TABLE, key, f"is no key here; {meant(key, kinds)}")
    made = {key: _value(key, value, kinds[key], error) for key, value in said.items()}
    for one in fields(TargetTrial)[:8]:
        if one.name not in made:
            raise error(TABLE, "", f"{one.name} is missing; a target trial has {', '.join(KEYS[:8])}")
    if not 0 < made["follow_up"] < 1e9:
        raise error(TABLE, "follow_up", f"{made['follow_up']:g} must be above 0, in the study's unit of time")
    _check_strategies(made["strategies"], error)
    return TargetTrial(**made)


def _check_strategies(names: tuple[str, ...], error: Error) -> None:
    """There are two of them, or four, and they differ."""
    if len(names) not in (2, FACTORIAL):
        raise error(
            TABLE, "strategies", f"names {len(names)}; name two, that of the others and that of the treated, or of two "
            f"treatments four: neither, the first alone, the second alone, both"
        )  # fmt: skip
    if len(set(names)) < len(names):
        raise error(TABLE, "strategies", "two are the same; name the strategy of the others, then of the treated")


def _value(key: str, value: Any, kind: Any, error: Error) -> Any:
    """A value of its type, without blanks at the ends of texts. StudyError: another type, nothing said."""
    try:
        made = converted(value, kind)
    except msgspec.ValidationError as wrong:
        choices = [c for c in getattr(kind, "__args__", ()) if isinstance(c, str)]
        said = (
            f"'{value}' is not known; it is one of {', '.join(choices)}" if choices else f"has the wrong type: {wrong}"
        )
        raise error(TABLE, key, said) from None
    texts = made if isinstance(made, tuple) else (made,)
    if not texts or any(isinstance(text, str) and not text.strip() for text in texts):
        raise error(TABLE, key, "is empty; say it in words, or leave the key out if it may be")
    return made


def effects(study: Study) -> list[Spec]:
    """The analyses that emulate the trial."""
    return [spec for spec in study.analyses if emulates(spec.settings)]


def emulates(settings: Mapping[str, Any]) -> bool:
    """Whether settings name a treatment and confounders, or people before and after a treatment."""
    return "treated_from" in settings or (bool(treated(settings)) and "confounders" in settings)


def treated(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The column that says who is treated, or from when on; two of two treatments, none of an analysis without."""
    if all(name in settings for name in PAIR):
        return tuple(str(settings[name]) for name in PAIR)
    return tuple(str(settings[name]) for name in TREATED if name in settings)[:1]


def estimand_of(spec: Spec) -> str:
    """For whom an analysis says its effect is; "" where it has no such setting, and of ratios given the confounders."""
    if spec.settings.get("estimator") == "regression":
        return ""
    return str(spec.settings.get("estimand", ESTIMANDS.get(spec.method, "")))


def adheres(spec: Spec) -> bool:
    """Whether an analysis censors whoever leaves a strategy."""
    return spec.method == ADHERING or spec.settings.get("contrast") == "per protocol"


def check(study: Study, error: Error) -> None:
    """StudyError where analyses do not emulate the target trial of the study: see the docs, docs/target-trial.md."""
    trial = study.target_trial
    if trial is None:
        return
    emulating = effects(study)
    if not emulating:
        raise error(
            TABLE, "", 'no analysis emulates it: add an [[analysis]] with method = "effect", of two treatments '
            '"interaction"'
        )  # fmt: skip
    _check_treatments(trial, emulating[0], error)
    if (first := estimand_of(emulating[0])) and first != trial.estimand:
        there = "" if trial.factorial else f'write estimand = "{trial.estimand}" there, or '
        raise error(
            TABLE, "estimand", f"is {trial.estimand}, that of '{emulating[0].name}', the first analysis of an effect, "
            f"is {first}; {there}ask for the other one here"
        )  # fmt: skip
    for spec in emulating:
        if adheres(spec) and trial.contrast != "per protocol":
            raise error(
                TABLE, "contrast", f"is {trial.contrast}, but '{spec.name}' censors whoever leaves a strategy: write "
                f'contrast = "per protocol", or take method = "sequential_trials" without it'
            )  # fmt: skip
        _check_times(study, trial, spec, error)
        if study.omop:
            _check_windows(study, study.omop, spec, error)
    if study.omop and trial.eligibility in dict(study.omop.cohorts) and trial.eligibility not in study.omop.compared:
        raise error(
            TABLE, "eligibility", f"'{trial.eligibility}' is a cohort that the analyses are not about; they are about "
            f"{' and '.join(study.omop.compared) or 'everybody'}: set target under [data]"
        )  # fmt: skip


def _check_treatments(trial: TargetTrial, main: Spec, error: Error) -> None:
    """The main analysis has the treatments of the strategies."""
    many = len(treated(main.settings))
    if trial.factorial and many < len(PAIR):
        raise error(
            TABLE, "strategies", f"are four, and '{main.name}', the first analysis of an effect, has one treatment: "
            f'name two strategies, or put method = "interaction" first'
        )  # fmt: skip
    if many == len(PAIR) and not trial.factorial:
        raise error(
            TABLE, "strategies", f"are two, and '{main.name}', the first analysis of an effect, has two treatments: "
            f"name four, with neither, {' alone, with '.join(treated(main.settings))} alone, and with both"
        )  # fmt: skip


def _check_times(study: Study, trial: TargetTrial, spec: Spec, error: Error) -> None:
    """No analysis looks further than people are followed."""
    times = spec.settings.get("times", ())
    asked = [*(times if isinstance(times, list | tuple) else [times]), spec.settings.get("tau")]
    late = [t for t in asked if isinstance(t, int | float) and t > trial.follow_up]
    if late:
        raise error(
            TABLE, "follow_up", f"ends at {trial.follow_up:g} {study.time_unit}, but '{spec.name}' asks for the time "
            f"{max(late):g}; follow people longer, or ask for an earlier time"
        )  # fmt: skip
    days = trial.follow_up * DAYS[study.time_unit]
    for outcome in study.omop.outcomes if study.omop else ():
        if not {outcome.name, outcome.time} & columns(study, spec, "outcome"):
            continue
        if outcome.last is None or outcome.last > days + 1:
            last = "has no end" if outcome.last is None else f"ends {outcome.last} days after the index date"
            raise error(
                TABLE, "follow_up", f"is {trial.follow_up:g} {study.time_unit}, but the time at risk of "
                f"'{outcome.name}' {last}; write until = {int(days)} under [outcomes.{outcome.name}], or follow longer"
            )  # fmt: skip


def _check_windows(study: Study, omop: Omop, spec: Spec, error: Error) -> None:
    """Treatment and confounders are known on the index date: what comes later is immortal time, or a consequence."""
    later = {f.name: f"{f.after} days after" for f in omop.features if f.after > 0}
    for outcome in omop.outcomes:
        later |= dict.fromkeys((outcome.name, outcome.time), "at any time after")
    if found := sorted(columns(study, spec, "treatment", *PAIR) & later.keys()):
        raise error(
            TABLE, "time_zero", f"'{spec.name}': the treatment '{found[0]}' is told by what happens {later[found[0]]} "
            f"the index date. Who is treated later has lived until then (immortal time): decide it by the index date"
        )  # fmt: skip
    if found := sorted(columns(study, spec, "confounders", "outcome_model") & later.keys()):
        raise error(
            TABLE, "time_zero", f"'{spec.name}': the confounder '{found[0]}' is told by what happens {later[found[0]]} "
            f"the index date, and may be a consequence of the treatment: end its window at the index date (after = 0)"
        )  # fmt: skip


def columns(study: Study, spec: Spec, *names: str) -> set[str]:
    """The columns that settings of an analysis read; none of a formula that is wrong, which the analysis will say."""
    from confrere.study.formulas import model

    found: set[str] = set()
    for name in names:
        text = str(spec.settings.get(name, ""))
        try:
            found |= (
                set(model(f"{text} ~ 1" if name == "outcome" else f"~ {text}", study.schema).columns) if text else set()
            )
        except (FormulaError, StudyError):
            continue
    return found


def ahead(made: Definition) -> list[str]:
    """What of a cohort's definition is known only after its index date: names of its rules, and of its entry."""
    content = _lowered(json.loads(made.text))
    entry = content["primarycriteria"]
    found = []
    window = entry.get("observationwindow") or {}
    inner = [next(iter(one.values())) for one in entry.get("criterialist") or [] if isinstance(one, dict) and one]
    groups = [content.get("additionalcriteria"), *(c.get("correlatedcriteria") for c in inner if isinstance(c, dict))]
    if (window.get("postdays") or 0) > 0 or any(_late(group) for group in groups):
        found.append("entry event")
    rules = content.get("inclusionrules") or []
    found += [name for name, rule in zip(made.rules, rules, strict=True) if _late(rule.get("expression"))]
    return found


def _late(group: Any) -> bool:
    """Whether a group of criteria looks at days after the index date. Windows around other events are not judged."""
    return any(_after(window) for window in _windows(group))


def _windows(group: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(group, dict):
        return
    for one in group.get("criterialist") or []:
        yield from (one[key] for key in ("startwindow", "endwindow") if isinstance(one.get(key), dict))
    for inner in group.get("groups") or []:
        yield from _windows(inner)


def _after(window: Mapping[str, Any]) -> bool:
    """Whether a window around the index date ends later; without days it has no end."""
    end = window.get("end") or {}
    return end.get("coeff", -1) > 0 and end.get("days") != 0


def _lowered(node: Any) -> Any:
    """A JSON with its keys in small letters: exports differ in them."""
    if isinstance(node, dict):
        return {str(key).lower(): _lowered(value) for key, value in node.items()}
    return [_lowered(one) for one in node] if isinstance(node, list) else node
