"""What a study on OMOP records asks each hospital to make: one row per person, with named columns.

    [data]
    target = "celecoxib"            # whom its analyses are about: a name of [cohorts]
    comparator = "diclofenac"
    [concepts.NAME] [cohorts.NAME] [features.NAME] [outcomes.NAME]

`Omop` is the public half: names, definitions, reasons. `data/people.py` makes the table of it, inside the hospitals.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any, TypeVar

from confrere.errors import StudyError
from confrere.study.circe import Definition, definition
from confrere.study.concepts import ConceptSet, concept_set
from confrere.study.eligibility import compiled
from confrere.study.features import MOST, SEXES, SOURCES, TOGETHER, Error, Feature, Outcome, features, outcomes
from confrere.study.ground import LEFT, Ground
from confrere.study.schema import Column, Schema

T = TypeVar("T")

TABLES = ("concepts", "cohorts", "features", "outcomes")
KEYS = ("target", "comparator")  # of [data]
CRITERIA = {  # of Circe, and what they read
    "ConditionEra": "condition_era", "ConditionOccurrence": "condition_occurrence", "CustomEra": "drug_exposure",
    "Death": "death", "DeviceExposure": "device_exposure", "DoseEra": "dose_era", "DrugEra": "drug_era",
    "DrugExposure": "drug_exposure", "LocationRegion": "location", "Measurement": "measurement",
    "Observation": "observation", "PayerPlanPeriod": "payer_plan_period", "ProcedureOccurrence": "procedure_occurrence",
    "Specimen": "specimen", "VisitDetail": "visit_detail", "VisitOccurrence": "visit_occurrence",
}  # fmt: skip
_WORD = re.compile(r'(?<=")[A-Za-z]+(?=":)')
TREATED, PERSON = "treated", "person_id"
BIRTH, SEX, FROM, TO, REGION = "_birth", "_sex", "_observed_from", "_observed_to", "_region"
BASICS = (BIRTH, SEX, FROM, TO)
TOLD_SEXES = SEXES[:2]  # female and male: those that counts tell apart


@dataclass(frozen=True)
class Omop:
    """What a study says of OMOP records, checked.

    plain       as written, for the hash; definitions in Circe JSON are as `Definition.text` has them
    target      name of the cohort that its analyses are about, "" if they are about everybody
    comparator  name of the cohort that it is compared with, or ""
    """

    plain: Mapping[str, Any] = field(repr=False)
    cohorts: tuple[tuple[str, Definition], ...] = ()
    features: tuple[Feature, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    target: str = ""
    comparator: str = ""

    def cohort(self, name: str) -> Definition:
        """The definition of a name of [cohorts]."""
        return dict(self.cohorts)[name]

    @property
    def compared(self) -> tuple[str, ...]:
        """The target, and the comparator if there is one."""
        return tuple(name for name in (self.target, self.comparator) if name)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Why people are not among those whom the analyses are about; everybody is counted under the first that holds.

        Who enters neither cohort is counted under the one in which they get furthest, the target's if both are even.
        """
        if not self.target:
            return ()
        found = [NO_ENTRY, *(reason for name in self.compared for reason in self.stops(name))]
        found += [SAME_DAY] if self.comparator else []
        for outcome in self.outcomes:
            found += [outcome.never] if outcome.keep else [outcome.before, outcome.never]
        return tuple(found)

    def stops(self, name: str) -> tuple[str, ...]:
        """Why somebody who passes 1, 2, ... steps of a cohort gets no further."""
        return (*(f"{name}: fails '{rule}'" for rule in self.cohort(name).rules), f"{name}: cut off by its censoring")

    def meaning(self, column: str) -> str:
        """What a column of the table of people is made of, as a hash of 16 hexadecimal digits.

        A column that is named by a hash already, or the same in every study, stays as it is. The column's own name has
        no part in it.
        """
        whom = [self.cohort(name).text for name in self.compared]
        happens: dict[str, Any] = {
            o.name: (*(self.cohort(name).text for name in o.cohorts), o.first, o.last, o.keep) for o in self.outcomes
        }
        happens |= {o.time: ("time", *happens[o.name]) for o in self.outcomes}
        made: dict[str, Any] = {f.name: repr(replace(f, name="")) for f in self.features} | happens
        made |= {LEFT: sorted(happens.values(), key=str), TREATED: TREATED, FROM: FROM, TO: TO}
        if column not in made or not whom:
            return column
        return hashlib.sha256(json.dumps([whom, made[column]], default=str).encode()).hexdigest()[:16]

    def grounded(self, ground: Ground) -> Ground:
        """A ground with the cohorts and the reasons of this study."""
        left = (LEFT,) if self.target and LEFT not in ground.complete else ()
        return replace(ground, cohorts=self.cohorts, reasons=self.reasons, complete=(*left, *ground.complete))

    def declared(self, schema: Schema) -> Schema:
        """The schema with the levels that features have."""
        made: tuple[Feature | Outcome, ...] = (*self.features, *self.outcomes)
        own = {SEX: Column(SEX, SEXES)} | {one.name: one.column for one in made if one.column is not None}
        return Schema({**own, **schema.columns})

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that analyses may name, beside the basics and those of definitions."""
        treated = [TREATED] if self.comparator else []
        times = [name for o in self.outcomes for name in (o.name, o.time)]
        return (*treated, *(f.name for f in self.features), *times)


def tables(omop: Omop | None, read: Iterable[Definition]) -> tuple[str, ...]:
    """The tables of the data model that a study reads: its features and outcomes, and the definitions `read`."""
    found = {"person", "observation_period"}
    made = omop or Omop({})
    happening = (made.cohort(name) for o in made.outcomes for name in o.cohorts)
    for d in (*read, *(made.cohort(name) for name in made.compared), *happening):
        found |= {CRITERIA[word] for word in _WORD.findall(d.text) if word in CRITERIA}
    for feature in made.features:
        found |= {SOURCES[feature.kind].table} if feature.kind in SOURCES else set()
        found |= {SOURCES["condition"].table} if feature.kind == "charlson" else set()
        found |= {"drug_era"} if feature.kind == TOGETHER else set()
    return tuple(sorted(found | ({"death"} if made.outcomes else set())))


def named(cohorts: tuple[tuple[str, Definition], ...]) -> Omop:
    """These cohorts, as a study names them that is about everybody."""
    return Omop({"cohorts": {name: {"circe": made.text} for name, made in cohorts}}, cohorts)


NO_ENTRY = "no entry event"
SAME_DAY = "in both cohorts from the same day"


def read(content: Mapping[str, Any], data: Mapping[str, Any], error: Error) -> Omop | None:
    """What a study file says of OMOP records; None if it says nothing. `error` makes a StudyError with its line.

    `content` is the file, `data` its table [data].
    """
    said = {name: content.get(name, {}) for name in TABLES}
    if not any(said.values()) and not any(key in data for key in KEYS):
        return None
    for name, tables in said.items():
        if not isinstance(tables, dict):
            raise error("", name, f"write tables of the form [{name}.NAME]")
    sets = {name: _concepts(name, table, error) for name, table in said["concepts"].items()}
    cohorts = {name: _cohort(name, table, sets, error) for name, table in said["cohorts"].items()}
    chosen = {key: _chosen(key, data.get(key, ""), cohorts, error) for key in KEYS}
    if chosen["comparator"] and chosen["comparator"] == chosen["target"]:
        raise error("data", "comparator", "is the target itself; name another cohort")
    for name in ("features", "outcomes"):
        if said[name] and not chosen["target"]:
            raise error("data", "target", f"[{name}] needs a target: the cohort whose start is the index date")
    made = Omop(
        _plain(said, cohorts, chosen), tuple(cohorts.items()), tuple(features(said["features"], sets, error)),
        tuple(outcomes(said["outcomes"], list(cohorts), error)), **chosen,
    )  # fmt: skip
    _check_columns(made, error)
    return made


def _at(error: Error, table: str, written: Any, make: Callable[[], T]) -> T:
    """What `make` makes; its StudyError with the line of the table, or of the key that it begins with."""
    try:
        return make()
    except StudyError as found:
        key, colon, message = str(found).partition(": ")
        named = bool(colon) and isinstance(written, dict) and key in written
        raise (error(table, key, message) if named else error(table, "", str(found))) from None


def _concepts(name: str, table: Any, error: Error) -> ConceptSet:
    return _at(error, f"concepts.{name}", table, lambda: concept_set(name, table))


def _cohort(name: str, table: Any, sets: Mapping[str, Any], error: Error) -> Definition:
    """A definition: Circe JSON, or the readable form."""
    where = f"cohorts.{name}"
    if not isinstance(table, dict):
        raise error("cohorts", name, f"write a table: [{where}]")
    if "circe" in table:
        if len(table) > 1 or not isinstance(table["circe"], str):
            raise error(where, "circe", "is Circe JSON, as text, and stands alone")
        return _at(error, where, table, lambda: definition(table["circe"]))
    return _at(error, where, table, lambda: compiled(name, table, sets))


def _chosen(key: str, name: Any, cohorts: Mapping[str, Definition], error: Error) -> str:
    from confrere.study.file import meant

    if not isinstance(name, str) or (name and name not in cohorts):
        raise error("data", key, f"'{name}' is no name of [cohorts]; {meant(str(name), cohorts)}")
    return name


def _plain(said: Mapping[str, Any], cohorts: Mapping[str, Definition], chosen: Mapping[str, str]) -> dict[str, Any]:
    """As written, without what is empty; dates as text."""
    circe = {name: {"circe": made.text} for name, made in cohorts.items() if "circe" in said["cohorts"][name]}
    tables = {**said, "cohorts": {**said["cohorts"], **circe}}
    return {key: _dated(value) for key, value in {**tables, **chosen}.items() if value}


def _dated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _dated(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_dated(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _check_columns(made: Omop, error: Error) -> None:
    """Every column of the table of people has a name of its own."""
    if made.comparator and not made.target:
        raise error("data", "comparator", "needs a target to be compared with")
    seen = {PERSON, *BASICS, REGION}
    for name, table in _named(made):
        if name in seen:
            raise error(table, "", f"'{name}' is the name of another column already; choose another one")
        seen.add(name)
    if len(seen) > MOST:
        raise error("features", "", f"make {len(seen)} columns; {MOST} are the most")


def _named(made: Omop) -> Iterator[tuple[str, str]]:
    if made.comparator:
        yield TREATED, "data"
    for feature in made.features:
        yield feature.name, "features"
    for outcome in made.outcomes:
        yield outcome.name, f"outcomes.{outcome.name}"
        yield outcome.time, f"outcomes.{outcome.name}"
