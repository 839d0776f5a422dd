"""The output checks of a result as a table: one line for each check, over all analyses."""

from __future__ import annotations

from typing import NamedTuple

from confrere.report.schema import Record, Result
from confrere.report.tables import Column, Row, Table, threshold
from confrere.report.words import Words

SAID = {  # what each check looks for, in the order in which they are told
    "cells": "counts of fewer than {k} people",
    "complementary": "withheld counts that follow from those shown",
    "tails": "steps of curves on few people at risk or few events",
    "extremes": "values of one person or few",
    "saturated": "models that give back counts of groups",
    "freedom": "fewer than 10 residual degrees of freedom",
    "diagnostics": "thresholds of the study for its own design",
    "membership": "models that tell whom they were trained on",
    "reconstruction": "models that give back outcomes that they were trained on",
    "differences": "analyses whose numbers of people differ by a few",
}
VERDICTS = {"pass": "passed", "fail": "did not pass", "review": "for a person to judge"}


class Released(NamedTuple):
    """How the result came to its reader: in a sentence; the table of checks; what did not pass, in English."""

    said: str
    table: Table
    open: list[Record]


def released(result: Result, words: Words) -> Released | None:
    """What the result says of its release; None where it says nothing."""
    if "release" not in result:
        return None
    release = result["release"]
    made: list[Record] = list(release["checks"])
    rows = []
    for name in dict.fromkeys(check["check"] for check in made):
        verdicts = [check["verdict"] for check in made if check["check"] == name]
        worst = next((v for v in ("fail", "review") if v in verdicts), "pass")
        looks = words(SAID[name], k=threshold(result["study"])) if name in SAID else words.label(name)
        rows.append(Row((looks, str(len(verdicts)), words(VERDICTS.get(worst, VERDICTS["review"])))))
    columns = (Column(words("Looked for"), False), Column(words("Checks")), Column(words("Verdict"), False))
    table = Table("checks", words("Output checks"), columns, tuple(rows), made, stem="checks")
    return Released(_sentence(release, words), table, [check for check in made if check["verdict"] != "pass"])


def _sentence(release: Record, words: Words) -> str:
    """Who let it go."""
    if release["state"] == "self-released":
        return words("This run released itself: no airlock stood between the result and its reader.")
    if release["state"] != "released":
        return words("This result is not released: it is shown to be read and judged.")
    if release["by"]:
        names, date = ", ".join(release["by"]), str(release["at"])[:10]
        return words("Read and released by {names} on {date}.", names=names, date=date)
    return words("All checks passed, and the airlock let the result go.")
