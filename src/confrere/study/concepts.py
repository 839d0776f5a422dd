"""Concept sets: what counts as a disease, a drug, a measurement; by ids of OHDSI's vocabularies, or by codes.

    [concepts.nsaid]
    include = ["ATC:M01A", 1124300]     # VOCABULARY:code, or the id of a concept
    exclude = ["RxNorm:161"]
    descendants = true                  # with all that is below each (the default)
    mapped = false                      # and with the concepts that map to these: for definitions on source concepts

A set becomes a concept set of Circe. Codes stay codes in it: each hospital looks them up in its own vocabulary
(`data/concepts.py`), where a code that is not standard, such as one of ICD-10, stands for the standard concepts that it
maps to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from confrere.errors import StudyError
from confrere.study.kinds import converted

MOST = 2_000  # concepts and codes of a set, as written
KEYS = ("include", "exclude", "descendants", "mapped")


@dataclass(frozen=True)
class Item:
    """A concept of a set: by its id, or by vocabulary and code (then `concept` is 0)."""

    concept: int = 0
    vocabulary: str = ""
    code: str = ""
    excluded: bool = False
    descendants: bool = True
    mapped: bool = False

    @property
    def circe(self) -> dict[str, Any]:
        """The item as Circe has it."""
        return {
            "concept": circe_concept(self.concept or f"{self.vocabulary}:{self.code}"),
            "isExcluded": self.excluded, "includeDescendants": self.descendants, "includeMapped": self.mapped,
        }  # fmt: skip


@dataclass(frozen=True)
class ConceptSet:
    """A concept set. `name` is "" where it was written in place."""

    name: str
    items: tuple[Item, ...]

    @property
    def expression(self) -> dict[str, Any]:
        """The concept set expression of Circe."""
        return {"items": [item.circe for item in self.items]}

    @property
    def label(self) -> str:
        """What texts call it: its name, or its codes."""
        listed = (str(i.concept or f"{i.vocabulary}:{i.code}") for i in self.items if not i.excluded)
        return self.name or ", ".join(listed)


def concept_set(name: str, table: Any) -> ConceptSet:
    """The set of a table [concepts.NAME]. StudyError names the key, the value and the remedy."""
    from confrere.study.file import meant

    if not isinstance(table, dict):
        raise StudyError(f'write a table, such as [concepts.{name}] with include = ["ATC:M01A"]')
    for key in table:
        if key not in KEYS:
            raise StudyError(f"'{key}' is no key of a concept set; {meant(key, KEYS)}")
    flags = {}
    for key, default in (("descendants", True), ("mapped", False)):
        try:
            flags[key] = converted(table.get(key, default), bool)
        except msgspec.ValidationError:
            raise StudyError(f"{key}: write true or false") from None
    if not table.get("include"):
        raise StudyError('include: list at least one concept, by its id or as VOCABULARY:code, such as "ATC:M01A"')
    items = [*_items("include", table["include"], flags), *_items("exclude", table.get("exclude", []), flags)]
    return ConceptSet(name, tuple(dict.fromkeys(items)))


def inline(given: Sequence[Any]) -> ConceptSet:
    """A set written in place: ids and codes, with their descendants. StudyError as for `concept_set`."""
    return ConceptSet("", tuple(dict.fromkeys(_items("include", list(given), {}))))


def _items(key: str, given: Any, flags: Mapping[str, bool]) -> list[Item]:
    """The items of `include` or `exclude`."""
    if not isinstance(given, list):
        raise StudyError(f'{key}: write a list, in [ ], such as ["ATC:M01A", 1124300]')
    if len(given) > MOST:
        raise StudyError(f"{key}: {len(given)} concepts; {MOST} are the most. Take what is above them")
    made = []
    for one in given:
        concept, vocabulary, code = parted(one, key)
        made.append(Item(concept, vocabulary, code, key == "exclude", **flags))
    return made


def parted(given: Any, key: str) -> tuple[int, str, str]:
    """(id, "", "") of the id of a concept, (0, vocabulary, code) of VOCABULARY:code; `key` names the place."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given, "", ""
    if isinstance(given, str) and given.strip().isdigit():
        raise StudyError(f'{key}: "{given}" is in quotes; the id of a concept is a number, a code is "VOCABULARY:code"')
    vocabulary, colon, code = given.partition(":") if isinstance(given, str) else ("", "", "")
    if not (colon and vocabulary.strip() and code.strip()):
        raise StudyError(f'{key}: {given!r} is no concept; give its id, or VOCABULARY:code such as "ICD10CM:E11"')
    return 0, vocabulary.strip(), code.strip()


def circe_concept(given: Any, key: str = "concept") -> dict[str, Any]:
    """A concept as Circe has it, by id or by code."""
    concept, vocabulary, code = parted(given, key)
    if concept:
        return {"CONCEPT_ID": concept}
    return {"VOCABULARY_ID": vocabulary, "CONCEPT_CODE": code}
