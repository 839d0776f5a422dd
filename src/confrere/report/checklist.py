"""The TARGET checklist of a study of an effect: what the report says to each item, and what the researcher must write.

TARGET: Cashin AG, Hansford HJ, Hernan MA, Swanson SA, et al. Transparent reporting of observational studies emulating
a target trial: the TARGET statement. JAMA 2025, doi:10.1001/jama.2025.13350; BMJ 2025;390:e087179. Its 21 items are
numbered as there, 1, 6 and 7 with letters: 6 specifies the target trial, 7 says how the data emulate it. Items are
named here in words of our own; what each asks for is said in the statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from confrere.report.protocol import (
    Entry,
    Place,
    contrasts,
    effects,
    follow_up,
    protocol,
    question,
    results,
    target_trial,
)
from confrere.report.schema import Result
from confrere.report.words import Words

SECTIONS = {
    "Abstract": ("1a", "1b", "1c"), "Introduction": ("2", "3", "4"),
    "Methods": ("5", *(f"{n}{letter}" for letter in "abcdefgh" for n in (6, 7))),
    "Results": ("8", "9", "10", "11", "12", "13", "14"), "Discussion": ("15", "16"),
    "Other information": ("17", "18", "19", "20", "21"),
}  # fmt: skip
PARTS = ("eligibility", "treatment strategies", "assignment", "follow-up", "outcomes", "causal contrasts",
         "assumptions", "analysis plan")  # fmt: skip
NAMES = {
    "1a": "Design and target trial", "1b": "Data sources", "1c": "Assumptions, methods, findings, conclusions",
    "2": "Background", "3": "Causal question", "4": "Why a target trial is emulated", "5": "Data sources",
    "8": "Selection of participants", "9": "Baseline characteristics", "10": "Length and end of follow-up",
    "11": "Missing data", "12": "Outcomes by strategy", "13": "Effect estimates", "14": "Further analyses",
    "15": "Interpretation", "16": "Limitations", "17": "Ethics approval", "18": "Registration",
    "19": "Sharing of data and code", "20": "Funding", "21": "Conflicts of interest",
}  # fmt: skip


class Item(NamedTuple):
    """An item: its section, number, name, what the report says to it, and where; neither: to be written."""

    section: str
    number: str
    name: str
    texts: list[str]
    place: Place | None = None


def checklist(result: Result, words: Words) -> list[Item]:
    """The items in their order; empty where a study has no target trial."""
    trial = target_trial(result)
    if trial is None:
        return []
    said = _answers(result, trial, words)
    return [
        Item(words(section), number, _name(number, words), *said.get(number, ([], None)))
        for section, numbers in SECTIONS.items()
        for number in numbers
    ]


def _name(number: str, words: Words) -> str:
    if number in NAMES:
        return words(NAMES[number])
    part = words(PARTS["abcdefgh".index(number[1])])
    return words("Target trial: {part}" if number[0] == "6" else "Emulation: {part}", part=part)


Answers = dict[str, tuple[list[str], Place | None]]


def _answers(result: Result, trial: Mapping[str, Any], words: Words) -> Answers:
    """What is known, by the number of the item."""
    entries = {entry.number: entry for entry in protocol(result, words)}
    return {**_specified(result, trial, words), **_emulated(entries, trial, words), **_found(result, words)}


def _specified(result: Result, trial: Mapping[str, Any], words: Words) -> Answers:
    """Items 3 to 6: the target trial as the study specifies it."""
    ends = [words("It ends with: {ends}.", ends=trial["ends"])] if trial.get("ends") else []
    protocol_ = Place("protocol", words("Protocol"))
    made: Answers = {
        "3": ([question(result, words)], None), "5": ([], protocol_),
        "6a": ([trial["eligibility"]], None), "6b": ([" / ".join(trial["strategies"])], None),
        "6c": ([words.label(trial["assignment"])], None),
        "6d": ([trial["time_zero"], follow_up(result, words), *ends], None), "6e": ([trial["outcome"]], None),
        "6f": ([words.label(trial["contrast"]), words.label(trial["estimand"]), *contrasts(trial, words)], None),
        "6g": (list(trial["assumptions"]), None),
    }  # fmt: skip
    made |= {"4": ([trial["rationale"]], None)} if trial.get("rationale") else {}
    made |= {"6h": ([trial["analysis_plan"]], None)} if trial.get("analysis_plan") else {}
    return made


def _emulated(entries: Mapping[str, Entry], trial: Mapping[str, Any], words: Words) -> Answers:
    """Item 7: the same, as the data have it."""
    numbers = {"7a": "7.3.2", "7b": "7.4.1", "7d": "7.4.3", "7e": "7.4.2", "7h": "7.5"}
    made: Answers = {item: (entries[n].texts, Place("protocol", words("Protocol"))) for item, n in numbers.items()}
    made["7c"] = ([words("As classified at time zero, comparable given the confounders.")], None)
    same = "The analogue of it: people as classified at time zero, whatever they took later."
    made["7f"] = ([words(same)], None) if trial["contrast"] == "intention to treat" else ([], None)
    made["7g"] = ([words("Adjusted for: {terms}.", terms="; ".join(entries["7.4.4"].texts))], None)
    return made


def _found(result: Result, words: Words) -> Answers:
    """Items 8 to 14 and 16 to 19: where the results stand."""
    shown, data = results(result, words), Place("data", words("Data"))
    tables = {name for a in effects(result) for name, records in a["tables"].items() if records}
    made: Answers = {"8": ([], data), "11": ([], data), "13": ([], shown)}
    made |= {"9": ([words("Differences of the arms, unweighted and weighted.")], shown)} if "balance" in tables else {}
    made |= {"12": ([], shown)} if tables & {"arms", "risks", "curve"} else {}
    made |= {"14": ([words("E-values and tipping points of every effect.")], shown)} if "sensitivity" in tables else {}
    made["16"] = ([words("Warnings stand with each result.")], Place("sure", words("How sure one may be")))
    made["19"] = ([words("Records stay in the hospitals. Study, results and software are identified.")],
                  Place("versions", words("Versions and hashes")))  # fmt: skip
    return made
