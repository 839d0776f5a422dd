"""What a model predicts, by when, from what and by which settings: the head of its card that its user reads first.

`about` is plain data of the card, made of the result; `lines` the same in the language of the reader, and `meaning`
what one prediction is, for lists of people. Cards that were written before have none of it, and no lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from confrere.report.schema import Record, Result
from confrere.report.words import Words

LED = {  # the settings that make a model what it is, told also where they are the default
    "boosting": ("trees", "depth", "learning_rate", "penalty", "bins"),
    "network": ("module", "strategy", "rounds", "epochs", "optimizer", "learning_rate", "clip"),
    "penalised": ("alpha", "choose", "standardize"),
    "cox": ("ties", "baseline"),
    "logistic": (),
}
ELSEWHERE = {"outcome", "objective", "family", "features", "formula", "bags", "leave_out"}  # told in other lines
FITTED = ("lambda", "df", "trees", "parameters")  # facts that settings alone do not tell


def about(result: Result, analysis: Record) -> dict[str, Any]:
    """What the model of an analysis predicts, from what, and by which settings; as plain data."""
    given, facts, study = analysis["settings"], analysis["facts"], result["study"]
    left, _, right = str(given.get("formula", "")).partition("~")
    outcome = (given.get("outcome") or left).strip()
    features = given.get("features", right)
    levels = list(study["columns"].get(_event(outcome), {}).get("levels", ()))
    return {
        "predicts": {
            "objective": _objective(analysis), "outcome": outcome, "levels": levels,
            "by": max(given.get("intervals") or (0,)), "time_unit": study.get("time_unit") or "",
            "reference": _reference(analysis),
        },
        "reads": {
            "features": features.strip() if isinstance(features, str) else ", ".join(features),
            "bags": given.get("bags", ""),
        },
        "learned": {
            "settings": _settings(analysis["method"], given),
            "fitted": {name: facts[name] for name in FITTED if name in facts},
        },
    }  # fmt: skip


def _objective(analysis: Record) -> str:
    """Of which kind a prediction is, by the names of boosted trees and networks."""
    given, facts, method = analysis["settings"], analysis["facts"], analysis["method"]
    if method == "evaluate":  # of a published model
        return "cox" if given.get("link") == "cox" else "binary"
    from confrere.analyses.learning.released import FAMILIES

    family = str(facts.get("family") or {"cox": "cox", "logistic": "binomial"}.get(method, ""))
    return str(facts.get("objective") or FAMILIES.get(family, family))


def _reference(analysis: Record) -> str:
    """With whom a hazard is compared: who has the means of the fit (indicators 0), or who has the score 0."""
    fitted = analysis["method"] in ("cox", "penalised") and "imputations" not in analysis["facts"]
    return "mean" if fitted else "zero"


def _settings(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that lead, and of the others those that are not the default."""
    if method not in LED:
        return {}
    from confrere.analyses.learning.released import defaults

    usual = defaults(method)
    usual = {name: list(value) if isinstance(value, tuple) else value for name, value in usual.items()}
    led = {name: given.get(name, usual.get(name)) for name in LED[method]}
    own = {name: value for name, value in given.items() if name not in ELSEWHERE and value != usual.get(name)}
    return led | own


# As it is read -----------------------------------------------------------------------------------------------


def meaning(made: Mapping[str, Any], words: Words) -> str:
    """What a prediction is, of a card that says so; of classes that of each."""
    if "predicts" not in made:
        return ""
    what = made["predicts"]
    objective, outcome, levels = what["objective"], what["outcome"], what["levels"]
    if objective == "multiclass":
        return words("Probability of each level of {outcome}: {levels}", outcome=outcome, levels=", ".join(levels))
    if objective == "poisson":
        return words("Expected number of {outcome}", outcome=outcome)
    if objective == "discrete":
        return words("Probability of {event}", event=_event(outcome))
    if objective == "cox":
        whom = (
            words("somebody with the mean of every number and 0 of every indicator")
            if what["reference"] == "mean"
            else words("somebody whose score is 0")
        )
        return words("Hazard of {event}, relative to that of {whom}", event=_event(outcome), whom=whom)
    if objective == "binary":
        return words("Probability of {event}", event=f"{outcome} = {levels[-1] if levels else 1}")
    return words("Mean of {outcome}", outcome=outcome)


def _event(outcome: str) -> str:
    """The event of `Surv(time, event)`."""
    found = re.fullmatch(r"Surv\((.*)\)", outcome)
    return found[1].rpartition(",")[2].strip() if found else outcome


def lines(made: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """Labels and texts: what is predicted, by when, from what, and by which settings."""
    if "predicts" not in made:
        return
    yield words("Predicts"), meaning(made, words)
    yield words("By when"), _by(made, words)
    reads, learned = made["reads"], made["learned"]
    images = words("images ({bags})", bags=reads["bags"]) if reads["bags"] else ""
    yield words("From"), ", ".join(filter(None, (reads["features"] if reads["features"] != "1" else "", images)))
    if learned["settings"]:
        yield words("Settings"), ", ".join(f"{name} = {_shown(value)}" for name, value in learned["settings"].items())
    if learned["fitted"]:
        fitted = learned["fitted"].items()
        yield words("Fitted"), ", ".join(f"{words.label(name)} {words.numbers.short(value)}" for name, value in fitted)


def _by(made: Mapping[str, Any], words: Words) -> str:
    """By when the predicted comes."""
    what, baseline = made["predicts"], made.get("recalibration", {}).get("baseline")
    if at := what["by"] or (baseline and baseline["times"]):
        return words.length(words.numbers.short(at, 6), what["time_unit"])
    if what["objective"] == "cox":
        return words("No time: it orders people. The risk by a time needs a baseline, which a recalibration adds.")
    return words("The study does not say. It is that of the column {outcome}.", outcome=what["outcome"])


def _shown(value: Any) -> str:
    """A setting, as a study file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_shown(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
