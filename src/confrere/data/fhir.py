"""FHIR R4 resources as plain rows: people, visits and what was recorded of them. `fhir_tables.py` makes OMOP of these.

https://hl7.org/fhir/R4. Read with a small reader of our own, which looks at the fields that the OMOP common data model
has a place for: `fhir.resources` builds models of the whole resource, some hundred times slower, and refuses a record
for a fault in a field that nobody reads.

    Patient                                        who, born when, died when
    Encounter                                      a visit
    Condition, Procedure                           a code and its days
    MedicationRequest, MedicationAdministration    a drug (also through a Medication), its days and quantity
    Observation                                    a code and its value; each component by itself

A resource is taken, left on purpose (it says of itself that it is an error, was not done, or is only planned), or a
`DataError` says what is wrong with it. Times are those on the wall of the hospital: an offset is not applied. Of a year
or a month alone the first day is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, NamedTuple

from confrere.errors import DataError

Resource = Mapping[str, Any]
MOMENT = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?)?)?)?")
MOST_DAYS = 3650  # of a prescription: more is a slip


class Code(NamedTuple):
    """A CodeableConcept: its codings as (system, code), in order, and its text."""

    codings: tuple[tuple[str, str], ...]
    text: str = ""


class Person(NamedTuple):
    """A Patient. `month` and `day` may be missing; `died` is True where it is said without a day."""

    id: str
    gender: str
    year: int
    month: int | None
    day: int | None
    death: datetime | None
    died: bool


class Visit(NamedTuple):
    """An Encounter: `kind` is the code of its class, such as AMB, EMER, IMP."""

    id: str
    patient: str
    kind: str
    start: datetime
    end: datetime


class Event(NamedTuple):
    """What was recorded of a patient: a diagnosis, a procedure, a drug, or a value."""

    resource: str
    id: str
    patient: str
    visit: str
    code: Code
    start: datetime
    end: datetime | None = None
    number: float | None = None
    operator: str = ""
    unit: Code | None = None
    value: Code | None = None
    text: str | None = None
    low: float | None = None
    high: float | None = None
    quantity: float | None = None
    days: int | None = None
    refills: int | None = None


class Left(NamedTuple):
    """Left on purpose, and why."""

    reason: str


Medications = Mapping[str, Code]
Rows = tuple[Person | Visit | Event, ...]


def rows(resource: Resource, medications: Medications) -> Rows | Left:
    """What a resource of a kind in `READERS` says. DataError: what is wrong with it; no patient's value is named.

    medications   {id of a Medication: its code}
    """
    kind = str(resource["resourceType"])
    try:
        if why := _left(kind, resource):
            return Left(why)
        return tuple(READERS[kind](resource, medications))
    except (AttributeError, KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
        raise DataError(f"{_FORM.format(kind=kind)} ({type(error).__name__})") from None


LEFT: Mapping[str, tuple[str, ...]] = {  # statuses of what is not a fact
    "Encounter": ("planned", "cancelled", "entered-in-error"),
    "MedicationRequest": ("cancelled", "entered-in-error", "draft"),
    "MedicationAdministration": ("not-done", "entered-in-error"),
    "Observation": ("registered", "cancelled", "entered-in-error"),
    "Procedure": ("preparation", "not-done", "entered-in-error"),
}
INTENTS = ("proposal", "plan", "option")
_FORM = "no {kind} of FHIR R4: an element is a text where an object stands, or the reverse; correct the export"


def _left(kind: str, resource: Resource) -> str:
    if kind in LEFT:
        status = resource.get("status")
        if not status:
            raise DataError("status is missing; export it again with it")
        if status in LEFT[kind]:
            return f"status {status}"
    if kind == "Condition":
        for coding in (resource.get("verificationStatus") or {}).get("coding") or []:
            if coding.get("code") in ("refuted", "entered-in-error"):
                return f"verificationStatus {coding['code']}"
    if kind == "MedicationRequest":
        if resource.get("intent") in INTENTS:
            return f"intent {resource['intent']}"
        if resource.get("doNotPerform"):
            return "doNotPerform"
    return ""


# Kinds --------------------------------------------------------------------------------------------------------


def _patient(resource: Resource, medications: Medications) -> Iterator[Person]:
    born = str(resource.get("birthDate") or "")
    if not born:
        raise DataError("birthDate is missing; OMOP needs the year of birth")
    when = moment(born, "birthDate")
    month, day = (when.month if len(born) >= 7 else None), (when.day if len(born) >= 10 else None)
    dead = resource.get("deceasedDateTime")
    death = moment(dead, "deceasedDateTime") if dead else None
    if death and death.date() < when.date():
        raise DataError("deceasedDateTime lies before birthDate; mend them")
    died = bool(resource.get("deceasedBoolean"))
    yield Person(_id(resource), str(resource.get("gender") or ""), when.year, month, day, death, died)


def _encounter(resource: Resource, medications: Medications) -> Iterator[Visit]:
    start, end = _period(resource.get("period"), "period")
    kind = resource.get("class") or {}
    yield Visit(_id(resource), _of(resource, "subject"), str(kind.get("code") or ""), start, end or start)


def _condition(resource: Resource, medications: Medications) -> Iterator[Event]:
    start, end = _when(resource, "onset", ("recordedDate",))
    if abated := resource.get("abatementDateTime"):
        end = _after(start, moment(abated, "abatementDateTime"), "abatementDateTime")
    yield _event(resource, _code(resource, "code"), start)._replace(end=end)


def _procedure(resource: Resource, medications: Medications) -> Iterator[Event]:
    start, end = _when(resource, "performed", ())
    yield _event(resource, _code(resource, "code"), start)._replace(end=end)


def _request(resource: Resource, medications: Medications) -> Iterator[Event]:
    supply = resource.get("dispenseRequest") or {}
    begins = resource.get("authoredOn") or (supply.get("validityPeriod") or {}).get("start")
    if not begins:
        raise DataError("authoredOn is missing; say when it was prescribed")
    start, days = moment(begins, "authoredOn"), _days(supply.get("expectedSupplyDuration"))
    quantity, refills = (supply.get("quantity") or {}).get("value"), supply.get("numberOfRepeatsAllowed")
    yield _event(resource, _drug(resource, medications), start)._replace(
        end=start + timedelta(days - 1) if days else start, days=days,
        quantity=_number(quantity, "dispenseRequest.quantity.value"),
        refills=None if refills is None else int(refills),
    )  # fmt: skip


def _administration(resource: Resource, medications: Medications) -> Iterator[Event]:
    start, end = _when(resource, "effective", ())
    dose = ((resource.get("dosage") or {}).get("dose") or {}).get("value")
    quantity = _number(dose, "dosage.dose.value")
    yield _event(resource, _drug(resource, medications), start, "context")._replace(end=end or start, quantity=quantity)


def _observation(resource: Resource, medications: Medications) -> Iterator[Event]:
    start, _ = _when(resource, "effective", ("effectiveInstant", "issued"))
    parts = resource.get("component") or []
    if _has_value(resource) or not parts:
        yield _valued(_event(resource, _code(resource, "code"), start), resource)
    for part in parts:
        yield _valued(_event(resource, _code(part, "code"), start), part)


READERS: Mapping[str, Callable[[Resource, Medications], Iterator[Person | Visit | Event]]] = {
    "Patient": _patient, "Encounter": _encounter, "Condition": _condition, "Procedure": _procedure,
    "MedicationRequest": _request, "MedicationAdministration": _administration, "Observation": _observation,
}  # fmt: skip


def medication(resource: Resource) -> tuple[str, Code]:
    """(id, code) of a Medication. DataError where it has none."""
    try:
        return _id(resource), _code(resource, "code")
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{_FORM.format(kind='Medication')} ({type(error).__name__})") from None


# Parts --------------------------------------------------------------------------------------------------------


def _event(resource: Resource, code: Code, start: datetime, visit: str = "encounter") -> Event:
    kind = str(resource["resourceType"])
    return Event(kind, _id(resource), _of(resource, "subject"), _last(resource.get(visit)), code, start)


def _id(resource: Resource) -> str:
    if not (own := str(resource.get("id") or "")):
        raise DataError("id is missing; export it again with it")
    return own


def _of(resource: Resource, field: str) -> str:
    if not (patient := _last(resource.get(field))):
        raise DataError(f"{field}.reference names no patient; export it with Patient/ID")
    return patient


def _last(reference: Any) -> str:
    """The id in a reference: Patient/7, a URL, one with a history, or urn:uuid."""
    text = str((reference or {}).get("reference") or "").split("/_history/")[0].rstrip("/")
    return text.rsplit("/", 1)[-1].removeprefix("urn:uuid:")


def _code(part: Resource, field: str) -> Code:
    found = _concept(part.get(field))
    if found is None:
        raise DataError(f"{field} has neither a code nor a text; mend it")
    return found


def _concept(concept: Any) -> Code | None:
    given = concept or {}
    codings = [(str(c.get("system") or ""), str(c["code"]).strip()) for c in given.get("coding") or [] if c.get("code")]
    shown = (c.get("display") for c in given.get("coding") or [])
    text = str(given.get("text") or next((s for s in shown if s), ""))
    return Code(tuple(dict.fromkeys(codings)), text) if codings or text else None


def _drug(resource: Resource, medications: Medications) -> Code:
    if "medicationCodeableConcept" in resource:
        return _code(resource, "medicationCodeableConcept")
    reference = resource.get("medicationReference") or {}
    own = _last(reference)
    if own.startswith("#"):
        inside = {str(one.get("id")): one for one in resource.get("contained") or []}
        return _code(inside.get(own[1:], {}), "code")
    if own not in medications:
        raise DataError("the Medication of medicationReference is not in the export; export it as well")
    return medications[own]


def _has_value(part: Resource) -> bool:
    return any(key.startswith("value") for key in part)


def _valued(event: Event, part: Resource) -> Event:
    """An event with the value of an Observation, or of a component of it."""
    ranges = part.get("referenceRange") or [{}]
    low, high = ((ranges[0].get(end) or {}).get("value") for end in ("low", "high"))
    event = event._replace(low=_number(low, "referenceRange.low"), high=_number(high, "referenceRange.high"))
    if quantity := part.get("valueQuantity"):
        unit = [(str(quantity.get("system") or ""), str(quantity["code"]))] if quantity.get("code") else []
        named = str(quantity.get("unit") or "")
        return event._replace(
            number=_number(quantity.get("value"), "valueQuantity.value"),
            operator=str(quantity.get("comparator") or ""),
            unit=Code(tuple(unit), named) if unit or named else None,
        )  # fmt: skip
    if "valueCodeableConcept" in part:
        return event._replace(value=_concept(part["valueCodeableConcept"]))
    for key in ("valueInteger", "valueDecimal"):
        if key in part:
            return event._replace(number=_number(part[key], key))
    other = next((part[key] for key in sorted(part) if key.startswith("value")), None)
    if isinstance(other, bool):
        return event._replace(text=str(other).lower())
    return event._replace(text=other if isinstance(other, str) else None)


def _number(given: Any, element: str) -> float | None:
    """The number of an element, None where it is absent. DataError for any other value."""
    try:
        number = None if given is None else float(given)
    except ValueError:
        raise DataError(f"{element} is no number; correct the export") from None
    if number is not None and not isfinite(number):
        raise DataError(f"{element} is not finite; correct the export")
    return number


def _days(duration: Any) -> int | None:
    given = duration or {}
    size = {"d": 1, "wk": 7, "mo": 30, "a": 365}.get(str(given.get("code") or given.get("unit") or ""))
    if size is None or given.get("value") is None:
        return None
    days = round((_number(given["value"], "expectedSupplyDuration.value") or 0.0) * size)
    if not 1 <= days <= MOST_DAYS:
        raise DataError(f"expectedSupplyDuration is not between 1 and {MOST_DAYS} days; mend it")
    return days


def _when(resource: Resource, field: str, other: tuple[str, ...]) -> tuple[datetime, datetime | None]:
    """Start and end: fieldDateTime, fieldPeriod, or one of the `other` fields."""
    for name in (f"{field}DateTime", *other):
        if resource.get(name):
            return moment(resource[name], name), None
        if name == f"{field}DateTime" and resource.get(f"{field}Period"):
            return _period(resource[f"{field}Period"], f"{field}Period")
    names = " nor ".join((f"{field}DateTime", f"{field}Period", *other))
    raise DataError(f"neither {names} says when; OMOP needs a day")


def _period(period: Any, field: str) -> tuple[datetime, datetime | None]:
    given = period or {}
    if not given.get("start"):
        raise DataError(f"{field}.start is missing; OMOP needs a day")
    start = moment(given["start"], f"{field}.start")
    end = given.get("end")
    return start, _after(start, moment(end, f"{field}.end"), f"{field}.end") if end else None


def _after(start: datetime, end: datetime, field: str) -> datetime:
    if end.date() < start.date():
        raise DataError(f"{field} lies before the start; mend them")
    return end


def moment(text: Any, field: str) -> datetime:
    """A date or a time of FHIR, on the clock where it was written. DataError: none."""
    given = str(text).strip()
    whole = {4: f"{given}-01-01", 7: f"{given}-01"}.get(len(given), given)
    try:
        if not MOMENT.fullmatch(given):
            raise ValueError
        found = datetime.fromisoformat(whole).replace(tzinfo=None, microsecond=0)
    except ValueError:
        raise DataError(f"{field} is no date of FHIR; write year-month-day, such as 2026-03-01") from None
    if not 1850 <= found.year <= 2150:
        raise DataError(f"{field} is not of the years 1850 to 2150; mend it")
    return found
