"""The protocol of a study of an effect, under the headings of HARPER, filled from the study and its results.

HARPER is the harmonised protocol template of ISPE and ISPOR for studies of treatment effects: Wang SV et al.,
Pharmacoepidemiol Drug Saf 2023;32:44, doi:10.1002/pds.5507, whose table 3 lists the headings. What neither the study
nor its results say is left to the researcher, and said to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confrere.report.effect_forest import is_effect
from confrere.report.schema import Result
from confrere.report.tables import threshold
from confrere.report.words import Words
from confrere.study.target_trial import FACTORIAL, PAIR, emulates, treated


class Place(NamedTuple):
    """Where the report says more: an anchor of the page, and what stands there."""

    anchor: str
    text: str


class Entry(NamedTuple):
    """A heading, and what is known of it; nothing known is to be written by the researcher."""

    number: str
    head: str
    texts: list[str]
    place: Place | None = None


def target_trial(result: Result) -> Mapping[str, Any] | None:
    """The target trial of a study, where there is one."""
    found: Mapping[str, Any] | None = result["study"].get("target_trial")
    return found


def effects(result: Result) -> list[dict[str, Any]]:
    """The analyses that emulate the target trial."""
    return [a for a in result["analyses"] if is_effect(a) or emulates(a["settings"])]


def protocol(result: Result, words: Words) -> list[Entry]:
    """The protocol, heading by heading; empty where a study has no target trial."""
    trial = target_trial(result)
    if trial is None:
        return []
    return [*_question(result, trial, words), *_setting(trial, words), *_variables(result, trial, words),
            *_analysis(result, trial, words)]  # fmt: skip


def _question(result: Result, trial: Mapping[str, Any], words: Words) -> Iterator[Entry]:
    study, asked = result["study"], question(result, words)
    yield Entry("1", words("Title page"), [f"{study['title']} ({study['id']})"])
    yield Entry("2", words("Abstract"), [])
    yield Entry("3", words("Amendments and updates"), [words("Hash of this version: {hash}.", hash=study["hash"])])
    yield Entry("4", words("Timeline"), [])
    yield Entry("5", words("Rationale and background"), [trial["rationale"]] if trial.get("rationale") else [])
    yield Entry("6", words("Research question and objectives"), [asked])
    design = "Observational emulation of a target trial in {n} hospitals. Nobody was assigned at random."
    if factorial(trial):
        design = "Observational emulation of a factorial target trial in {n} hospitals. Nobody was assigned at random."
    yield Entry("7.1", words("Study design"), [words(design, n=words.numbers.count(len(result["hospitals"])))])
    yield Entry("7.2", words("Study design diagram"), [])


def question(result: Result, words: Words) -> str:
    """The causal question in a sentence."""
    trial = result["study"]["target_trial"]
    other, *treated = trial["strategies"]
    last = treated.pop()
    said = {"treated": last[:1].upper() + last[1:], "other": other, "eligibility": trial["eligibility"],
            "outcome": trial["outcome"], "time": follow_up(result, words), "zero": trial["time_zero"]}  # fmt: skip
    asked = "{treated}, compared with {other}, in: {eligibility}. Outcome: {outcome}. Followed for {time} from: {zero}."
    if factorial(trial):
        said |= {"first": treated[0], "second": treated[1]}
        asked = (
            "{treated}; {first}; {second}: each compared with {other}, and whether the two treatments interact, in: "
            "{eligibility}. Outcome: {outcome}. Followed for {time} from: {zero}."
        )
    return words(asked, **said)


def factorial(trial: Mapping[str, Any]) -> bool:
    """Whether a trial is one of two treatments."""
    return len(trial["strategies"]) == FACTORIAL


def contrasts(trial: Mapping[str, Any], words: Words) -> list[str]:
    """What a trial of two treatments compares; nothing more is to be said of one."""
    said = (
        "Every strategy is compared with the first, each treatment given the other, and their interaction told on the "
        "additive and the multiplicative scale."
    )
    return [words(said)] if factorial(trial) else []


def follow_up(result: Result, words: Words) -> str:
    """How long people are followed, with its unit."""
    shown = words.numbers.any(result["study"]["target_trial"]["follow_up"])
    return words.length(shown, result["study"]["time_unit"])


def _setting(trial: Mapping[str, Any], words: Words) -> Iterator[Entry]:
    criteria = trial.get("criteria", {}).get(words.lang, {})
    yield Entry("7.3.1", words("Time 0"), [trial["time_zero"]])
    included = [trial["eligibility"], *(f"{name}{words.colon}{text.strip()}" for name, text in criteria.items())]
    yield Entry("7.3.2", words("Inclusion criteria"), included)
    left = [words("Who misses a value that the analyses need is left out and counted.")]
    yield Entry("7.3.3", words("Exclusion criteria"), left, Place("data", words("Data")))


def _variables(result: Result, trial: Mapping[str, Any], words: Words) -> Iterator[Entry]:
    settings = [a["settings"] for a in effects(result)]
    outcomes = "; ".join(filter(None, dict.fromkeys(_read(s.get("outcome", s.get("outcomes"))) for s in settings)))
    confounders = list(dict.fromkeys(str(s["confounders"]) for s in settings if s.get("confounders")))
    yield Entry("7.4.1", words("Exposure"), [_exposure(settings, trial, words)])
    told = words("{outcome}: {columns}", outcome=trial["outcome"], columns=outcomes)
    features, events = _defined(trial, words)
    yield Entry("7.4.2", words("Outcome"), [told, *events])
    ends = [words("It ends with: {ends}.", ends=trial["ends"])] if trial.get("ends") else []
    yield Entry("7.4.3", words("Follow-up"), [follow_up(result, words), *ends])
    yield Entry("7.4.4", words("Covariates"), [*confounders, *features])


def _exposure(settings: list[Mapping[str, Any]], trial: Mapping[str, Any], words: Words) -> str:
    """The strategies, and the columns that tell them."""
    names = trial["strategies"]
    if factorial(trial):
        a, b = next((pair for s in settings if len(pair := treated(s)) == len(PAIR)), PAIR)
        return words(
            "{neither} ({a} 0, {b} 0), {first} ({a} 1, {b} 0), {second} ({a} 0, {b} 1) or {both} ({a} 1, {b} 1): "
            "columns {a} and {b}",
            neither=names[0], first=names[1], second=names[2], both=names[3], a=a, b=b,
        )  # fmt: skip
    column = " / ".join(dict.fromkeys(name for s in settings for name in treated(s)))
    since = column and not any("treatment" in s for s in settings)
    said = (
        "{first} or {second}, from when: column {column}" if since else "{first} (0) or {second} (1): column {column}"
    )
    return words(said, first=names[0], second=names[1], column=column)


def _read(outcome: Any) -> str:
    """An outcome, or several, as a study names them."""
    return ", ".join(map(str, outcome)) if isinstance(outcome, list | tuple) else str(outcome or "")


def _defined(trial: Mapping[str, Any], words: Words) -> tuple[list[str], list[str]]:
    """Features and outcomes of OMOP records, as the study defines them; outcomes are events of a cohort."""
    found = trial.get("definitions", {}).items()
    lines = [("cohort" in said, f"{name}{words.colon}{words.numbers.any(said)}") for name, said in found]
    return [text for event, text in lines if not event], [text for event, text in lines if event]


def _analysis(result: Result, trial: Mapping[str, Any], words: Words) -> Iterator[Entry]:
    chosen = effects(result)
    plan = [trial["analysis_plan"]] if trial.get("analysis_plan") else []
    plan += [words("Estimand: {estimand}; contrast: {contrast}.", estimand=words.label(trial["estimand"]),
                   contrast=words.label(trial["contrast"]))]  # fmt: skip
    plan += contrasts(trial, words)
    plan += [f"{a['name']}{words.colon}{how(a, words)}" for a in chosen]
    yield Entry("7.5", words("Data analysis"), plan, Place("methods", words("Methods and references")))
    known = any(a["tables"].get("sensitivity") for a in chosen)
    tested = [words("E-values and tipping points of every effect.")] if known else []
    yield Entry("7.5.1", words("Sensitivity analyses"), tested, results(result, words))
    names = words("Records of {n} hospitals, kept where they are.", n=words.numbers.count(len(result["hospitals"])))
    yield Entry("7.6", words("Data sources"), [names])
    kept = words("No record leaves a hospital: sums over at least {k} people do.", k=threshold(result["study"]))
    yield Entry("7.7", words("Data management"), [kept], Place("left", words("What left the hospitals")))
    approved = words("Every hospital runs the installed, versioned software on a study approved by its hash.")
    yield Entry("7.8", words("Quality control"), [approved], Place("versions", words("Versions and hashes")))
    size = [words("{name}: {n} people", name=a["name"], n=words.numbers.count(a["n"])) for a in chosen]
    yield Entry("7.9", words("Study size and feasibility"), size)
    yield Entry("8", words("Limitation of the methods"), [words("An effect only if:"), *trial["assumptions"]],
                Place("sure", words("How sure one may be")))  # fmt: skip
    yield Entry("9", words("Protection of human subjects"), [result["study"]["purpose"]])
    yield Entry("10", words("Reporting of adverse events"), [])
    yield Entry("11", words("References"), [], Place("methods", words("Methods and references")))
    yield Entry("12", words("Appendices"), [], Place("checklist", words("TARGET checklist")))


def how(analysis: Mapping[str, Any], words: Words) -> str:
    """Method and settings of an analysis in a line."""
    said = [f"{words.label(k)} = {words.numbers.any(v)}" for k, v in analysis["settings"].items()]
    return f"{words.method(analysis['method'])}{'; ' if said else ''}{'; '.join(said)}"


def results(result: Result, words: Words) -> Place:
    """Where the first analysis of an effect stands."""
    first = effects(result)
    place = result["analyses"].index(first[0]) + 1 if first else 0
    return Place(f"analysis-{place}" if place else "results", words("Results"))
