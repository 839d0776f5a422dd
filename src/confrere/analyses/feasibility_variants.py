"""Which criterion of a cohort a variant of it replaces, and which criteria can be unknown: read off definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from confrere.errors import StudyError
from confrere.study.circe import Definition

RULES, SETS = "inclusionrules", "conceptsets"
NAMES = ("name", "title", "description")  # what may differ and selects nobody


def measured(made: Definition) -> tuple[bool, ...]:
    """Of each rule whether it can be unknown: it asks for the value of one measurement, of which there may be none."""
    return tuple(_one_measurement(rule) for rule in _read(made)[RULES])


def replaced(base: Definition, variant: Definition, name: str) -> int:
    """The place (from 0) of the one rule in which a variant differs. StudyError where it is not one."""
    one, other = (_plain(_read(d), _sets(d)) for d in (base, variant))
    rules = one.pop(RULES), other.pop(RULES)
    places = [j for j, (a, b) in enumerate(zip(*rules, strict=False)) if a != b]
    if one != other or len(rules[0]) != len(rules[1]) or len(places) != 1:
        what = "its entry event, observation or exit" if one != other else (
            f"{len(rules[1])} criteria, not {len(rules[0])}" if len(rules[0]) != len(rules[1])
            else f"{len(places)} criteria"
        )  # fmt: skip
        raise StudyError(f"variant {name!r} differs in {what}; it must be the same cohort but for one criterion")
    return places[0]


def _read(made: Definition) -> dict[str, Any]:
    """The definition with its outermost keys in small letters."""
    return {RULES: []} | {str(k).lower(): v for k, v in json.loads(made.text).items()}


def _sets(made: Definition) -> dict[Any, Any]:
    """The concepts of each set by its number, which two definitions may give differently."""
    found = [{str(k).lower(): v for k, v in s.items()} for s in _read(made).get(SETS) or []]
    return {s.get("id"): s.get("expression") for s in found}


def _plain(value: Any, sets: Mapping[Any, Any]) -> Any:
    """What selects: without names, and with the concepts in the place of the number of a set."""
    if isinstance(value, dict):
        kept = {str(k).lower(): v for k, v in value.items() if str(k).lower() not in (*NAMES, SETS)}
        return {k: sets.get(v, v) if k == "codesetid" else _plain(v, sets) for k, v in kept.items()}
    return [_plain(v, sets) for v in value] if isinstance(value, list) else value


def _one_measurement(rule: Any) -> bool:
    inside = {str(k).lower(): v for k, v in (rule.get("expression") or {}).items()} if isinstance(rule, dict) else {}
    listed = inside.get("criterialist") or []
    alone = len(listed) == 1 and not inside.get("groups") and not inside.get("demographiccriterialist")
    return alone and "Measurement" in (listed[0].get("Criteria") or {})
