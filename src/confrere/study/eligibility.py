"""The readable form of a cohort, [cohorts.NAME] of a study file, and the Circe definition that it is.

    [cohorts.celecoxib]
    entry = { drug = "celecoxib", first = true }
    observed = { before = 180 }
    criteria = [
      { name = "50 to 80 years old", age = [50, 80] },
      { no = { condition = "bleeding" }, before = 365 },
      { measurement = "hba1c", value = ">= 7", unit = "UCUM:%", before = 90 },
    ]
    exit = { after = 365 }

A window is in days around the day of entry, both ends in it: `before` days before it (from ever, if it is not said) to
`after` days after it (0). "Ever" is within the observation period of that day. A person enters once: with the earliest
entry event that meets all criteria, unless `events` says otherwise. What Circe has beyond this is written in Circe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import msgspec

from confrere.errors import StudyError
from confrere.study.circe import Definition, definition
from confrere.study.concepts import ConceptSet, circe_concept, inline
from confrere.study.kinds import converted

KEYS = ("entry", "observed", "events", "criteria", "from", "until", "exit", "censor", "join")
DOMAINS = {
    "condition": "ConditionOccurrence", "drug": "DrugExposure", "measurement": "Measurement",
    "procedure": "ProcedureOccurrence", "observation": "Observation", "visit": "VisitOccurrence",
    "device": "DeviceExposure", "death": "Death", "condition_era": "ConditionEra", "drug_era": "DrugEra",
    "specimen": "Specimen",
}  # fmt: skip
VALUED = ("measurement", "observation")
DETAILS = {  # what an event may have besides its concept: key -> (attribute of Circe, domains that have it)
    "value": ("ValueAsNumber", VALUED), "result": ("ValueAsConcept", VALUED), "unit": ("Unit", VALUED),
    "range_low": ("RangeLow", ("measurement",)), "range_high": ("RangeHigh", ("measurement",)),
    "days_supply": ("DaysSupply", ("drug",)), "quantity": ("Quantity", ("drug",)),
    "length": ("VisitLength", ("visit",)),
    "in_visit": ("VisitType", ("condition", "drug", "measurement", "procedure", "observation", "device")),
}  # fmt: skip
CONCEPTS = ("result", "unit", "in_visit")
WHOLE = ("days_supply", "length")
EVENT = (*DOMAINS, *DETAILS, "first", "from", "until")  # keys of an event
WINDOW = ("before", "after", "beyond_observation")
COUNTS = {"at_least": 2, "at_most": 1, "exactly": 0}  # Circe's types of occurrence
GROUPS = {"all": "ALL", "any": "ANY", "of": ""}
PERSON = ("age", "sex")
CRITERION = ("name", *PERSON, "no", *GROUPS, *COUNTS, "on_different_days", *EVENT, *WINDOW)
SEX = {"female": (8532, "FEMALE", "F"), "male": (8507, "MALE", "M")}
OPERATORS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt", "=": "eq"}
LONGEST = 40_000  # days of a window
MOST = 200  # criteria of a group

_COMPARED = re.compile(r"\s*(>=|<=|>|<|=)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
Plain = dict[str, Any]


def compiled(name: str, table: Mapping[str, Any], concepts: Mapping[str, ConceptSet]) -> Definition:
    """The definition of a table [cohorts.NAME], whose events are of `concepts`, by name.

    StudyError names the place in the table, the value, the rule and the remedy.
    """
    made = _Compiler(concepts).cohort(dict(table))
    return definition(json.dumps(made))


class _Compiler:
    """Writes one definition; collects the concept sets that it uses, in the order of their use."""

    def __init__(self, concepts: Mapping[str, ConceptSet]) -> None:
        self.concepts = concepts
        self.used: list[ConceptSet] = []

    def cohort(self, table: Plain) -> Plain:
        """The whole definition."""
        _known("", table, KEYS)
        if not table.get("entry"):
            raise StudyError('entry: say by which event people enter, such as entry = { drug = "celecoxib" }')
        entries = [
            self.entry(f"entry {j}" if isinstance(table["entry"], list) else "entry", said, table)
            for j, said in enumerate(_listed(table["entry"]), 1)
        ]
        rules = [self.rule(f"criteria {j}", said) for j, said in enumerate(self.several("criteria", table), 1)]
        censor = [self.event(f"censor {j}", said, EVENT) for j, said in enumerate(_listed(table.get("censor", [])), 1)]
        ending = self.ending(table.get("exit", "end of observation"))
        limit = {"Type": _choice("", table, "events", ("first", "all", "last"), "first").capitalize()}
        join = _number("", table, "join", 0)
        if not 0 <= join <= LONGEST:
            raise StudyError(f"join: {join} must be 0 to {LONGEST} days; stays nearer than that become one")
        return {
            "cdmVersionRange": ">=5.0.0",
            "ConceptSets": [
                {"id": j, "name": one.label, "expression": one.expression} for j, one in enumerate(self.used)
            ],
            "PrimaryCriteria": {
                "CriteriaList": entries, "ObservationWindow": self.observed(table.get("observed", {})),
                "PrimaryCriteriaLimit": {"Type": "All"},
            },
            "QualifiedLimit": {"Type": "All"}, "ExpressionLimit": limit, "InclusionRules": rules,
            **({"EndStrategy": ending} if ending else {}), "CensoringCriteria": censor,
            "CollapseSettings": {"CollapseType": "ERA", "EraPad": join}, "CensorWindow": {},
        }  # fmt: skip

    # --- when ---

    def entry(self, where: str, said: Any, table: Plain) -> Plain:
        """An event by which people enter, within the dates of the whole cohort."""
        own = dict(said) if isinstance(said, dict) else said
        for key in ("from", "until"):
            if key in table and isinstance(own, dict):
                if key in own:
                    raise StudyError(f"{where}, {key}: stands in the cohort as well; say it once")
                own[key] = table[key]
        return self.event(where, own, EVENT)

    def observed(self, said: Any) -> Plain:
        """Days of continuous observation around entry."""
        if not isinstance(said, dict):
            raise StudyError("observed: write { before = 180, after = 0 }, in days around entry")
        _known("observed", said, ("before", "after"))
        days = [_number("observed", said, key, 0) for key in ("before", "after")]
        for key, n in zip(("before", "after"), days, strict=True):
            if not 0 <= n <= LONGEST:
                raise StudyError(f"observed, {key}: {n} must be 0 to {LONGEST} days")
        return {"PriorDays": days[0], "PostDays": days[1]}

    def ending(self, said: Any) -> Plain | None:
        """When people leave; None at the end of their observation."""
        if said == "end of observation":
            return None
        where = 'exit: "end of observation", { after = 365 }, { after_end = 0 } or { while_on = "nsaid", gap = 30 }'
        if not isinstance(said, dict) or not said:
            raise StudyError(f"{where}; not {said!r}")
        _known("exit", said, ("after", "after_end", "while_on", "gap", "plus"))
        kinds = [key for key in ("after", "after_end", "while_on") if key in said]
        if len(kinds) != 1 or (kinds[0] != "while_on" and len(said) > 1):
            raise StudyError(f"{where}; one of them, not {', '.join(said)}")
        days = {key: _number("exit", said, key, 0) for key in said if key != "while_on"}
        for key, n in days.items():
            if not 0 <= n <= LONGEST:
                raise StudyError(f"exit, {key}: {n} must be 0 to {LONGEST} days")
        if kinds[0] == "while_on":
            drug = self.set("exit, while_on", said["while_on"])
            return {"CustomEra": {"DrugCodesetId": drug, "GapDays": days.get("gap", 30), "Offset": days.get("plus", 0)}}
        field = "StartDate" if kinds[0] == "after" else "EndDate"
        return {"DateOffset": {"DateField": field, "Offset": days[kinds[0]]}}

    # --- who ---

    def rule(self, where: str, said: Any) -> Plain:
        """An inclusion rule: one criterion, named."""
        if not isinstance(said, dict) or not said:
            raise StudyError(f'{where}: write {{ ... }}, such as {{ sex = "female" }}; not {said!r}')
        name = said.get("name", None)
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise StudyError(f"{where}, name: is a text")
        place = f"{where} ('{name}')" if name else where
        rest = {key: value for key, value in said.items() if key != "name"}
        return {"name": name or label(rest), "expression": self.group(place, "ALL", [rest])}

    def group(self, where: str, kind: str, criteria: list[Any], count: int | None = None) -> Plain:
        """A group of criteria: ALL, ANY, AT_LEAST or AT_MOST of them."""
        made: Plain = {"Type": kind, "CriteriaList": [], "DemographicCriteriaList": [], "Groups": []}
        if count is not None:
            made["Count"] = count
        for j, said in enumerate(criteria, 1):
            place = where if len(criteria) == 1 else f"{where}, {j}"
            key, criterion = self.criterion(place, said)
            made[key].append(criterion)
        return made

    def criterion(self, where: str, said: Any) -> tuple[str, Plain]:
        """(the list of a group that it belongs to, what it is)."""
        if not isinstance(said, dict) or not said:
            raise StudyError(f'{where}: write {{ condition = "bleeding", before = 365 }} or the like; not {said!r}')
        _known(where, said, CRITERION)
        kinds = [key for key in ("no", *GROUPS, *DOMAINS) if key in said]
        if (people := [key for key in PERSON if key in said]) and kinds:
            raise StudyError(f"{where}: {people[0]} and {kinds[0]} are two criteria; write two, or all = [ ... ]")
        if people:
            _only(where, said, (*PERSON, "name"), people[0])
            return "DemographicCriteriaList", self.person(where, said)
        if len(kinds) != 1:
            raise StudyError(f"{where}: say one of {', '.join((*PERSON, 'no', *GROUPS, *DOMAINS))}")
        if kinds[0] == "no":
            return self.absent(where, said)
        if kinds[0] in GROUPS:
            return "Groups", self.some(where, kinds[0], said)
        return "CriteriaList", self.counted(where, said)

    def person(self, where: str, said: Plain) -> Plain:
        """Age on the day of entry, and sex."""
        made: Plain = {}
        if "age" in said:
            made["Age"] = _whole(f"{where}, age", said["age"])
        if "sex" in said:
            concept, name, code = SEX[_choice(where, said, "sex", tuple(SEX))]
            made["Gender"] = [
                {"CONCEPT_ID": concept, "CONCEPT_NAME": name, "VOCABULARY_ID": "Gender", "CONCEPT_CODE": code}
            ]
        return made

    def absent(self, where: str, said: Plain) -> tuple[str, Plain]:
        """No event of a kind in the window, or not what a criterion says."""
        _only(where, said, ("no", "name", *WINDOW), "no")
        inner = said["no"]
        if not isinstance(inner, dict):
            raise StudyError(f'{where}, no: write {{ no = {{ condition = "bleeding" }}, before = 365 }}; not {inner!r}')
        window = {key: said[key] for key in WINDOW if key in said}
        if clash := [key for key in window if key in inner]:
            raise StudyError(f"{where}, {clash[0]}: stands inside 'no' as well; say it once")
        if not any(key in inner for key in DOMAINS):
            if window:
                raise StudyError(f"{where}, {next(iter(window))}: a window goes with an event; write it inside 'no'")
            return "Groups", self.group(f"{where}, no", "AT_MOST", [inner], 0)
        if count := [key for key in COUNTS if key in inner]:
            raise StudyError(f"{where}, {count[0]}: 'no' is none at all; write at_most = 1 instead of it, for example")
        return "CriteriaList", self.counted(f"{where}, no", {**inner, **window, "exactly": 0})

    def some(self, where: str, key: str, said: Plain) -> Plain:
        """all = [...], any = [...], or at_least = 2, of = [...]."""
        counts = [one for one in COUNTS if one in said]
        _only(where, said, (key, "name", *(COUNTS if key == "of" else ())), key)
        inner = self.several(key, said, where)
        if not inner:
            raise StudyError(f"{where}, {key}: list criteria, in [ ]")
        if key != "of":
            return self.group(f"{where}, {key}", GROUPS[key], inner)
        if len(counts) != 1 or counts[0] == "exactly":
            raise StudyError(f"{where}, of: say at_least = 2 or at_most = 2 of them")
        n = _number(where, said, counts[0], 0)
        if not (1 if counts[0] == "at_least" else 0) <= n <= len(inner):
            raise StudyError(f"{where}, {counts[0]}: {n} of {len(inner)} criteria cannot be; give 1 to {len(inner)}")
        return self.group(f"{where}, of", counts[0].upper(), inner, n)

    def counted(self, where: str, said: Plain) -> Plain:
        """So many events of a kind in a window."""
        _only(where, said, ("name", *EVENT, *WINDOW, *COUNTS, "on_different_days"), "an event")
        counts = [key for key in COUNTS if key in said]
        if len(counts) > 1:
            raise StudyError(f"{where}: {counts[0]} and {counts[1]} exclude each other here; write two criteria")
        count = _number(where, said, counts[0], 0) if counts else 1
        if not (0 if counts and counts[0] != "at_least" else 1) <= count <= 1_000:
            raise StudyError(f"{where}, {counts[0]}: {count} events; give 1 to 1000, or no = {{ ... }} for none")
        distinct = {"IsDistinct": True, "CountColumn": "START_DATE"} if _flag(where, said, "on_different_days") else {}
        event = {key: value for key, value in said.items() if key in EVENT}
        return {
            "Criteria": self.event(where, event, EVENT), "StartWindow": _window(where, said),
            "Occurrence": {"Type": COUNTS[counts[0]] if counts else 2, "Count": count, **distinct},
            "IgnoreObservationPeriod": _flag(where, said, "beyond_observation"), "RestrictVisit": False,
        }  # fmt: skip

    # --- what ---

    def event(self, where: str, said: Any, keys: Collection[str]) -> Plain:
        """An event of a domain, with its concepts and details: a criterion of Circe."""
        if not isinstance(said, dict):
            raise StudyError(f'{where}: write {{ condition = "bleeding" }} or the like; not {said!r}')
        _known(where, said, keys)
        domains = [key for key in DOMAINS if key in said]
        if len(domains) != 1:
            both = f", not {' and '.join(domains)}" if domains else ""
            raise StudyError(f"{where}: say one of {', '.join(DOMAINS)}{both}")
        domain = domains[0]
        made: Plain = {} if said[domain] is True else {"CodesetId": self.set(f"{where}, {domain}", said[domain])}
        if _flag(where, said, "first"):
            if domain == "death":
                raise StudyError(f"{where}, first: nobody dies twice; leave it out")
            made["First"] = True
        for key, (attribute, having) in DETAILS.items():
            if key in said:
                if domain not in having:
                    raise StudyError(f"{where}, {key}: goes with {', '.join(having)}; a {domain} has none")
                place = f"{where}, {key}"
                reader = _concepts if key in CONCEPTS else _whole if key in WHOLE else _range
                made[attribute] = reader(place, said[key])
        if "from" in said or "until" in said:
            made["OccurrenceStartDate"] = _dates(where, said)
        return {DOMAINS[domain]: made}

    def set(self, where: str, given: Any) -> int:
        """The number of a concept set in the definition: by its name, or written in place."""
        from confrere.study.file import meant

        if isinstance(given, str) and ":" not in given:
            if given not in self.concepts:
                raise StudyError(f"{where}: '{given}' is no name of [concepts]; {meant(given, self.concepts)}")
            found = self.concepts[given]
        elif given is False:
            raise StudyError(f"{where}: give a name of [concepts], or true for any; for none, write no = {{ ... }}")
        else:
            try:
                found = inline(_listed(given))
            except StudyError as error:
                raise StudyError(f"{where}: {str(error).removeprefix('include: ')}") from None
        if found not in self.used:
            self.used.append(found)
        return self.used.index(found)

    def several(self, key: str, said: Plain, where: str = "") -> list[Any]:
        """A list of criteria."""
        place = f"{where}, {key}" if where else key
        found = said.get(key, [])
        if not isinstance(found, list):
            raise StudyError(f"{place}: write a list, in [ ], of criteria in {{ }}")
        if len(found) > MOST:
            raise StudyError(f"{place}: {len(found)} criteria; {MOST} are the most")
        return found


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _known(where: str, said: Collection[str], keys: Collection[str]) -> None:
    from confrere.study.file import meant

    for key in said:
        if key not in keys:
            raise StudyError(f"{where + ', ' if where else ''}'{key}' is no key here; {meant(key, keys)}")


def _only(where: str, said: Collection[str], keys: Collection[str], main: str) -> None:
    """Keys that are known, but do not go with this kind of criterion."""
    for key in said:
        if key not in keys:
            others = ", ".join(k for k in keys if k != main)
            raise StudyError(f"{where}, {key}: does not go with {main}; it takes {others}")


def _typed(where: str, said: Mapping[str, Any], key: str, kind: Any, default: Any, rule: str) -> Any:
    try:
        return converted(said.get(key, default), kind)
    except msgspec.ValidationError:
        raise StudyError(f"{where + ', ' if where else ''}{key}: {said[key]!r} is not {rule}") from None


def _number(where: str, said: Mapping[str, Any], key: str, default: int) -> int:
    made: int = _typed(where, said, key, int, default, "a whole number")
    return made


def _flag(where: str, said: Mapping[str, Any], key: str) -> bool:
    made: bool = _typed(where, said, key, bool, False, "true or false")
    return made


def _choice(where: str, said: Mapping[str, Any], key: str, choices: Collection[str], default: str = "") -> str:
    from confrere.study.file import meant

    value = said.get(key, default)
    if value not in list(choices):
        raise StudyError(f"{where + ', ' if where else ''}{key}: {value!r} is not known; {meant(str(value), choices)}")
    return str(value)


def _window(where: str, said: Plain) -> Plain:
    """Days around entry: from `before` days before it, or ever, to `after` days after it; negative: the other side."""
    ends = {}
    for key, side, default in (("before", -1, "ever"), ("after", 1, 0)):
        days = said.get(key, default)
        if days == "ever":
            ends[key] = {"Coeff": side}
            continue
        n = _typed(where, said, key, int, 0, "a number of days, or 'ever'")
        if not -LONGEST <= n <= LONGEST:
            raise StudyError(f"{where}, {key}: {n} must be at most {LONGEST} days; leave it out or write 'ever'")
        ends[key] = {"Days": abs(n), "Coeff": side if n >= 0 else -side}
    first, last = (e.get("Days", LONGEST + 1) * e["Coeff"] for e in ends.values())
    if first > last:
        raise StudyError(
            f"{where}: the window would begin {first} days after entry and end {last} days after it; `before` counts "
            f"days before entry, `after` days after it"
        )
    return {"Start": ends["before"], "End": ends["after"], "UseEventEnd": False, "UseIndexEnd": False}


def _range(where: str, given: Any) -> Plain:
    """[low, high], both in it, a comparison such as ">= 7", or one number."""
    try:
        if isinstance(given, str):
            if not (parts := _COMPARED.fullmatch(given)):
                raise StudyError(f"{where}: {given!r} is no comparison; write [7, 10], or >=, <=, >, <, = and a number")
            return {"Value": _plain(float(parts[2])), "Op": OPERATORS[parts[1]]}
        if isinstance(given, list):
            low, high = converted(given, tuple[int | float, int | float])
            if not low <= high:
                raise StudyError(f"{where}: {low} to {high} is empty; give the lower number first")
            return {"Value": low, "Extent": high, "Op": "bt"}
        return {"Value": converted(given, int | float), "Op": "eq"}
    except msgspec.ValidationError:
        raise StudyError(f"{where}: {given!r}; write [low, high], or a comparison such as '>= 7'") from None


def _whole(where: str, given: Any) -> Plain:
    """The same in whole numbers: years, days."""
    made = _range(where, given)
    for key in ("Value", "Extent"):
        if not float(made.get(key, 0)).is_integer():
            raise StudyError(f"{where}: {made[key]} must be a whole number")
    return made


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() else number


def _concepts(where: str, given: Any) -> list[Plain]:
    """Concepts that stand for themselves: a unit, a result."""
    return [circe_concept(one, where) for one in _listed(given)]


def _dates(where: str, said: Plain) -> Plain:
    """Events that begin within dates, both in them."""
    ends = []
    for key in ("from", "until"):
        given = said.get(key)
        try:
            ends.append(date.fromisoformat(given) if isinstance(given, str) else given)
        except ValueError:
            ends.append(given)
        if ends[-1] is not None and type(ends[-1]) is not date:
            raise StudyError(f"{where}, {key}: {given!r} is no date; write year-month-day, such as {key} = 2015-01-01")
    first, last = ends
    if first and last and first > last:
        raise StudyError(f"{where}: from {first} until {last} is no time; give the earlier date as 'from'")
    if first and last:
        return {"Value": str(first), "Extent": str(last), "Op": "bt"}
    return {"Value": str(first or last), "Op": "gte" if first else "lte"}


def label(said: Plain) -> str:
    """A criterion that has no name of its own, in a few words: as it is written."""
    return ", ".join(f"{key.replace('_', ' ')} {_said(value)}" for key, value in said.items())


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return f"({label(value)})"
    if isinstance(value, list):
        joint = "; " if any(isinstance(one, dict) for one in value) else " to " if len(value) == 2 else ", "
        return joint.join(_said(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
