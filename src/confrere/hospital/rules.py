"""What a hospital allows, [policy] of its hospital.toml: deny by default, and the strictest of two words wins.

    k = 11                      people behind every number that leaves, or more
    methods = ["cox", ...]      what may be asked; a method that is not named is refused
    columns.breast = ["age"]    of each table what may be read; "*" stands for all of them
    allow = []                  disclosure classes that studies may ask for
    alone = []                  hashes of studies under which sums over the people of this member alone may leave
    parameters = 0.33           columns of a model per person, at most
    rounds = 2000               of one study
    megabytes = 100             that leave under one study
    hours = "Mon-Fri 07:00-20:00"   when asks are answered, in local time; without it, always
    scope = "network"           "own": cells of this hospital alone rest on 0 or at least k people too
    require = []                what a study must state: legal_basis, people, ends
    worklist_days = 90          after which the rows of a worklist are erased
    questions = 20              of similar cases that are answered, of all studies together

A researcher can raise k in a study, never lower anything here. What changes here is an entry of the ledger.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, Final

import msgspec

from confrere.errors import StudyError
from confrere.hospital.classes import CLASSES
from confrere.hospital.gate import Policy
from confrere.hospital.manifest import Manifest
from confrere.study.file import K, Study, meant
from confrere.study.kinds import converted

STATED: Final = ("legal_basis", "people", "ends")
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ALL: Final = "*"
_HASH = re.compile(r"[0-9a-f]{64}")
_HOURS = re.compile(r"(?:(\w{3})(?:-(\w{3}))? )?(\d{2}):(\d{2})-(\d{2}):(\d{2})")


@dataclass(frozen=True)
class Rules:
    """[policy] of a hospital. Without a word, no method and no column is allowed."""

    k: int = K
    methods: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    parameters: float = 1 / 3
    rounds: int = 2000
    megabytes: float = 100.0
    hours: str = ""
    scope: str = "network"
    require: tuple[str, ...] = ()
    worklist_days: int = 90
    questions: int = 20

    @classmethod
    def of(cls, given: Mapping[str, Any], where: str) -> Rules:
        """Rules from [policy]. StudyError names the key, the rule and the remedy."""
        kinds = {f.name: _KINDS[f.name] for f in fields(cls)}
        found: dict[str, Any] = {}
        for key, value in given.items():
            if key not in kinds:
                raise StudyError(f"{where}: [policy] {key} is not known; {meant(key, kinds)}")
            try:
                found[key] = converted(value, kinds[key])
            except msgspec.ValidationError as error:
                raise StudyError(f"{where}: [policy] {key} has the wrong type: {error}") from None
        made = cls(**found)
        if wrong := next(made._wrong(), ""):
            raise StudyError(f"{where}: [policy] {wrong}")
        return made

    def _wrong(self) -> Iterator[str]:
        if self.k < K:
            yield f"k = {self.k} must be {K} or more: a hospital may be stricter, never laxer"
        if strange := sorted(set(self.allow) - set(CLASSES)):
            yield f"allow: {strange[0]!r} is no disclosure class; {meant(strange[0], CLASSES)}"
        if strange := [one for one in self.alone if not _HASH.fullmatch(one)]:
            yield (
                f"alone: {strange[0]!r} is no hash of a study (64 of 0-9 and a-f, as its page and its manifest show). "
                f"An id is not enough: another text may bear it"
            )
        if strange := sorted(set(self.require) - set(STATED)):
            yield f"require: {strange[0]!r} is nothing that a study states; {meant(strange[0], STATED)}"
        if not 0 < self.parameters <= 1:
            yield f"parameters = {self.parameters:g} must be above 0 and at most 1 per person"
        if self.rounds < 1 or self.megabytes <= 0 or self.worklist_days < 1 or self.questions < 0:
            yield "rounds, megabytes and worklist_days must be above 0, and questions 0 or more"
        if self.scope not in ("network", "own"):
            yield f"scope = {self.scope!r} must be 'network' or 'own'"
        if self.hours and _hours(self.hours) is None:
            yield f"hours = {self.hours!r} must be such as 'Mon-Fri 07:00-20:00'"

    def to_dict(self) -> dict[str, Any]:
        """Plain content, for the ledger and the pages."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {key: list(value) for key, value in plain.items() if isinstance(value, tuple)}
        return plain | lists | {"columns": {table: list(names) for table, names in self.columns.items()}}

    @property
    def digest(self) -> str:
        """Changes whenever a rule does."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def gate(self, study: Study, name: str = "") -> Policy:
        """The gate's thresholds under a study, of the member of this name: the stricter of both."""
        allow = frozenset(study.allow) & frozenset(self.allow)
        alone = name in study.alone and study.hash in self.alone
        own = self.scope == "own"
        return Policy(k=max(study.k, self.k), allow=allow, parameters=self.parameters, own=own, alone=alone)

    def open(self, now: datetime) -> bool:
        """Whether asks are answered at this time."""
        if not self.hours:
            return True
        days, start, end = _hours(self.hours) or (range(0), "", "")
        return now.weekday() in days and start <= f"{now:%H:%M}" < end

    def against(self, study: Study, manifest: Manifest, today: date, name: str = "") -> list[str]:
        """Every reason why these rules of the member `name` forbid a study, in words for its steward; or none."""
        found = [*self._about(study, today), *self._names(study, manifest), *self._sizes(manifest)]
        if name in study.alone and study.hash not in self.alone:
            found.append(
                f"it asks that sums over the people of this hospital alone may leave, and `alone` does not name "
                f"{study.hash}; add it there if you accept what it means"
            )
        return found

    def _about(self, study: Study, today: date) -> Iterator[str]:
        for key in self.require:
            if not getattr(study, key):
                yield f"the study does not state {key} under [study], which `require` asks for"
        if study.ends is not None and study.ends < today:
            yield f"the study ended on {study.ends}"

    def _names(self, study: Study, manifest: Manifest) -> Iterator[str]:
        if strange := sorted(set(study.allow) - set(self.allow)):
            words = ", ".join(strange)
            yield f"it asks for {words}, which `allow` does not name; add the word there if you accept what it means"
        if strange := sorted({spec.method for spec in study.analyses} - set(self.methods)):
            yield f"`methods` does not name {', '.join(strange)}"
        named = self.columns.get(study.table, ())
        if ALL not in named and (strange := sorted(set(manifest.columns) - set(named))):
            yield f"`columns` of the table {study.table} does not name {', '.join(strange)}"

    def _sizes(self, manifest: Manifest) -> Iterator[str]:
        if manifest.rounds > self.rounds:
            yield f"it may take {manifest.rounds} rounds; `rounds` allows {self.rounds}"
        if (most := manifest.bytes / 1e6) > self.megabytes:
            yield f"up to {most:.1f} megabytes may leave; `megabytes` allows {self.megabytes:g}"


def _hours(text: str) -> tuple[range, str, str] | None:
    """Days of the week from Monday, 0, and from when to when; None where the text is not of this form."""
    found = _HOURS.fullmatch(text)
    if found is None:
        return None
    first, last, *clock = found.groups()
    if (first or "Mon") not in DAYS or (last or first or "Sun") not in DAYS:
        return None
    start, end = f"{clock[0]}:{clock[1]}", f"{clock[2]}:{clock[3]}"
    low, high = DAYS.index(first or "Mon"), DAYS.index(last or first or "Sun")
    return (range(low, high + 1), start, end) if low <= high and start < end <= "24:00" else None


_KINDS: Final[Mapping[str, Any]] = {
    "k": int, "methods": tuple[str, ...], "columns": dict[str, tuple[str, ...]], "allow": tuple[str, ...],
    "alone": tuple[str, ...],
    "parameters": float, "rounds": int, "megabytes": float, "hours": str, "scope": str, "require": tuple[str, ...],
    "worklist_days": int, "questions": int,
}  # fmt: skip


def written(tables: Mapping[str, tuple[str, ...]], methods: tuple[str, ...]) -> list[str]:
    """The lines of a new hospital's [policy]: what is installed, and the columns that its tables have today."""
    lines = ["[policy]  # what is not named here is refused", f"k = {K}  # people behind every number, or more"]
    lines += ["methods = [", *(f"    {json.dumps(m)}," for m in methods), "]"]
    lines += ["allow = []  # disclosure classes that studies may ask for here"]
    lines += ["", "[policy.columns]  # what studies may read of each table; strike out what they should not"]
    for table, columns in tables.items():
        lines += [f"{json.dumps(table)} = [", *(f"    {json.dumps(c)}," for c in columns), "]"]
    return [*lines, ""]
