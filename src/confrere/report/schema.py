"""What result.json holds, and whether a dict is one.

The shape is published as `result.schema.json` (JSON Schema, draft 2020-12). `check` reads that same file
with the few keywords it uses, so that the core needs no validator of its own as a dependency; the tests hold
it against the `jsonschema` package. It also refuses numbers that JSON does not have (NaN, infinity).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from confrere.errors import StudyError

Record = dict[str, Any]  # one row of a table: field -> number, string, bool or None
Result = dict[str, Any]  # what result.json holds

KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


@cache
def schema() -> dict[str, Any]:
    """The published schema, as a dict."""
    text = files("confrere.report").joinpath("result.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def check(result: Result) -> None:
    """Raise a StudyError naming the first place where `result` is not what the schema says."""
    for place, fault in _faults(result, schema(), "result"):
        raise StudyError(
            f"{place}: {fault}. A report needs what result.schema.json describes; mend the analysis that made it"
        )


def _faults(value: Any, rule: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """(place, what is wrong) for everything in `value` that breaks `rule`."""
    if "$ref" in rule:
        yield from _faults(value, schema()["$defs"][rule["$ref"].rsplit("/", 1)[1]], place)
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield place, f"{value} is no number in JSON (write null where there is none)"
        return
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield place, f"{value!r:.60} is not of type {' or '.join(kinds)}"
        return
    yield from _value_faults(value, rule, place)
    if isinstance(value, dict):
        yield from _object_faults(value, rule, place)
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from _faults(item, rule.get("items", {}), f"{place}[{position}]")


def _is(value: Any, kind: str) -> bool:
    """Whether `value` is of the JSON type `kind`; True and False are no numbers, 2.0 is an integer."""
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, KINDS[kind])


def _value_faults(value: Any, rule: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    if "const" in rule and value != rule["const"]:
        yield place, f"{value!r:.60} is not {rule['const']!r}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < rule.get("minimum", -math.inf):
            yield place, f"{value} is less than {rule['minimum']}"
        if value > rule.get("maximum", math.inf):
            yield place, f"{value} is more than {rule['maximum']}"
    if isinstance(value, str) and len(value) < rule.get("minLength", 0):
        yield place, "is empty"


def _object_faults(value: Record, rule: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    fields = rule.get("properties", {})
    others = rule.get("additionalProperties", True)
    for name in rule.get("required", []):
        if name not in value:
            yield place, f"{name!r} is absent"
    for name, item in value.items():
        inside = f"{place}.{name}"
        if not isinstance(name, str):
            yield place, f"the field name {name!r} is no string"
        elif name in fields:
            yield from _faults(item, fields[name], inside)
        elif others is False:
            yield inside, f"is no field of the schema (fields: {', '.join(fields)})"
        else:
            # Checked even where anything may stand: NaN must not hide in free settings.
            yield from _faults(item, others if isinstance(others, dict) else {}, inside)
