"""A cohort definition in OHDSI's Circe JSON, as ATLAS exports it: what of it is public, read without data.

    made = definition(Path("cohort.json").read_text())
    made.steps      # ("entry event", "rule 1: no prior stroke", ..., "cohort")

What a definition means is not decided here: `data/circe.py` has OHDSI's own `ohdsi-circepy` execute it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from confrere.errors import StudyError

MOST = 50  # inclusion rules


@dataclass(frozen=True)
class Definition:
    """A cohort definition. `text` is its JSON, keys sorted and blanks left out; `rules` name its inclusion rules."""

    text: str
    rules: tuple[str, ...]

    @property
    def column(self) -> str:
        """The column of a hospital's table of people that holds how many steps of this very definition each passed."""
        return f"cohort_{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"

    @property
    def entry(self) -> str:
        """The column with the date of each person's entry event, the best of several: days since 1970-01-01."""
        return f"{self.column}_entry"

    @property
    def start(self) -> str:
        """The column with the day on which each person first enters the cohort: days since 1970-01-01."""
        return f"{self.column}_start"

    @property
    def end(self) -> str:
        """The column with the day on which that stay in the cohort ends: days since 1970-01-01."""
        return f"{self.column}_end"

    def rule(self, number: int) -> str:
        """The column that says of inclusion rule `number`, from 1, by itself: 1 met, 0 failed, NaN unknown."""
        return f"{self.column}_rule_{number}"

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """(step, rule), in sequence: an entry event that qualifies, each inclusion rule, the cohort after its exits."""
        return (("entry event", ""), *(("inclusion rule", rule) for rule in self.rules), ("cohort", ""))


@lru_cache(maxsize=256)
def definition(text: str) -> Definition:
    """The definition that a JSON text spells. StudyError where it is none, or has too many rules to tell."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise StudyError(f"the cohort definition is no JSON: {error}; export it again from ATLAS") from None
    keys = {str(key).lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
    if "expression" in keys and "primarycriteria" not in keys:  # as WebAPI sends it, with name and author around it
        inner = keys["expression"]
        return definition(inner if isinstance(inner, str) else json.dumps(inner))
    if not isinstance(keys.get("primarycriteria"), dict):
        raise StudyError("the cohort definition has no PrimaryCriteria; give Circe JSON, as ATLAS exports it")
    rules = keys.get("inclusionrules") or []
    if not isinstance(rules, list) or len(rules) > MOST:
        raise StudyError(f"the cohort definition must have a list of at most {MOST} InclusionRules")
    names = tuple(_name(rule, number) for number, rule in enumerate(rules, 1))
    return Definition(json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False), names)


def _name(rule: Any, number: int) -> str:
    named = rule.get("name", rule.get("Name")) if isinstance(rule, dict) else None
    return str(named).strip() if named and str(named).strip() else f"rule {number}"
