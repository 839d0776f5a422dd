"""FHIR R4 Consent resources as oppositions and consents: a resource, a Bundle, or NDJSON (bulk export).

https://hl7.org/fhir/R4/consent.html. Read with a small reader of our own, which looks at the nine fields below and at
nothing else; fhir.resources builds models of the whole resource, wants the release of FHIR to be right everywhere, and
would refuse a patient's opposition for a fault in a field that does not matter here.

    status                 active: as the provision says; inactive, entered-in-error: what it said has ended;
                           rejected: no consent was given, a permit is an opposition; draft, proposed: nothing yet
    patient                the last part of the reference; with a system of identifiers, the patient's identifier
    dateTime               when it was said
    provision.type         deny: opposed; permit: consented. Without one, policyRule OPTOUT and OPTIN
    provision.purpose      codes or their names; none: every purpose
    provision.period       a permit ends with it; a denial holds until it is withdrawn
    provision.provision    exceptions, each by itself

Where a resource says more than the register can hold (certain actors, data, classes), the stricter reading counts: a
denial of a part is an opposition; a permit of a part is reported and gives no consent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from confrere.data.opposition import EVERY, Said, iso
from confrere.errors import DataError

SILENT = ("draft", "proposed")
OVER = ("inactive", "entered-in-error")
PARTS = ("actor", "action", "securityLabel", "class", "code", "dataPeriod", "data")
RULES = {"OPTIN": "permit", "OPTINR": "permit", "OPTOUT": "deny", "OPTOUTE": "deny"}


@dataclass(frozen=True)
class Terms:
    """How resources name patients and purposes here.

    purposes    {code or its name: purpose of studies}. A purpose that is not named is every purpose in a denial, and
                its own code in a permit: never too little is left out
    identifier  the system of identifiers that the hospital's tables use; None: the id in the patient's reference
    """

    purposes: Mapping[str, str] = field(default_factory=dict)
    identifier: str | None = None


class Found(NamedTuple):
    """One resource: what it says, or why it cannot be read; neither where nothing is said yet."""

    raw: str
    said: tuple[Said, ...] = ()
    problem: str = ""


def consents(text: str, path: Path, terms: Terms) -> Iterator[Found]:
    """The Consent resources of a text, in their order. DataError where it is no JSON, or has none."""
    resources = list(_resources(text, path))
    known = _identifiers([r for _, r in resources if r is not None], terms)
    found = [(raw, r) for raw, r in resources if r is None or r.get("resourceType") == "Consent"]
    if not found:
        raise DataError(f"{path}: there is no Consent resource in it; export the Consents of the patients")
    for raw, resource in found:
        if resource is None:
            yield Found(raw, problem="no JSON object; mend the line, or export it again")
            continue
        try:
            yield Found(raw, tuple(_said(resource, known, terms)))
        except DataError as error:
            yield Found(raw, problem=str(error))
        except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
            yield Found(raw, problem=f"no Consent of FHIR R4 ({type(error).__name__}); export it again")


def _resources(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Every resource with its text on one line; None where a line of NDJSON is no JSON object."""
    if path.suffix.lower() != ".json":
        for line in filter(str.strip, text.splitlines()):
            try:
                yield from _unpacked(json.loads(line))
            except (ValueError, RecursionError):
                yield line, None
        return
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON ({str(error).split(': ')[-1]}); export it again") from None
    yield from _unpacked(whole)


def _unpacked(whole: Any) -> Iterator[tuple[str, dict[str, Any] | None]]:
    if isinstance(whole, dict) and whole.get("resourceType") == "Bundle":
        whole = [e.get("resource") if isinstance(e, dict) else e for e in whole.get("entry") or []]
    for resource in whole if isinstance(whole, list) else [whole]:
        raw = json.dumps(resource, ensure_ascii=False)
        yield raw, resource if isinstance(resource, dict) else None


def _identifiers(resources: list[dict[str, Any]], terms: Terms) -> dict[str, str]:
    """{id of a Patient in the file: its identifier of the hospital's system}."""
    patients = [r for r in resources if r.get("resourceType") == "Patient" and isinstance(r.get("identifier"), list)]
    return {
        str(patient.get("id")): str(one["value"])
        for patient in patients
        for one in patient["identifier"]
        if isinstance(one, dict) and one.get("system") == terms.identifier and one.get("value")
    }


def _said(resource: Mapping[str, Any], known: Mapping[str, str], terms: Terms) -> Iterator[Said]:
    status = resource.get("status")
    if status in SILENT:
        return
    if status not in ("active", "rejected", *OVER):
        raise DataError(f"status {str(status)[:40]!r} is none of FHIR's; mend it")
    person, when = _person(resource, known, terms), _when(resource)
    source = f"FHIR Consent/{resource.get('id', '')}".rstrip("/")
    for provision in _provisions(resource):
        word, until = _word(provision, str(status))
        for purpose in _purposes(provision, terms):
            yield Said(person, purpose, word, when, source, until)


def _person(resource: Mapping[str, Any], known: Mapping[str, str], terms: Terms) -> str:
    patient = resource.get("patient") or {}
    own = str(patient.get("reference") or "").split("/_history/")[0].rstrip("/").rsplit("/", 1)[-1]
    own = own.removeprefix("urn:uuid:")
    if terms.identifier is None:
        if not own or own.startswith("#"):
            raise DataError("patient.reference names no patient; export it with Patient/ID, or give the identifiers")
        return own
    identifier = patient.get("identifier") or {}
    value = identifier.get("value") if identifier.get("system") == terms.identifier else known.get(own)
    if not value:
        raise DataError(f"the patient has no identifier of {terms.identifier}; export the Patient resources as well")
    return str(value)


def _when(resource: Mapping[str, Any]) -> str:
    when = resource.get("dateTime") or (resource.get("meta") or {}).get("lastUpdated")
    if not when:
        raise DataError("dateTime is missing; say when it was said")
    return iso(str(when), "dateTime")


def _provisions(resource: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The root and its exceptions, whatever their depth; the root's type may stand in the policy's rule."""
    root = dict(resource.get("provision") or {})
    if "type" not in root:
        codes = [c.get("code") for c in (resource.get("policyRule") or {}).get("coding") or []]
        root["type"] = next((RULES[c] for c in codes if c in RULES), None)
    found, open_ = [], [root]
    while open_:
        one = open_.pop(0)
        found.append(one)
        open_ += one.get("provision") or []
    typed = [one for one in found if one.get("type") is not None]
    if not typed or (root["type"] is None and len(typed) < len(found) - 1):
        raise DataError("neither provision.type nor policyRule says deny or permit; add provision.type")
    return typed


def _word(provision: Mapping[str, Any], status: str) -> tuple[str, str]:
    """(status in the register, last day)."""
    kind = provision["type"]
    if kind not in ("deny", "permit"):
        raise DataError(f"provision.type {str(kind)[:40]!r} is not deny or permit; mend it")
    if status in OVER:
        return "ended", ""
    if status == "rejected":
        if kind == "deny":
            raise DataError("a rejected denial says neither yes nor no; ask, and record what the patient wants")
        return "opposed", ""
    if kind == "deny":
        return "opposed", ""
    if parts := [part for part in PARTS if provision.get(part)]:
        raise DataError(
            f"the permit holds for a part only ({', '.join(parts)}); ask, and record what holds for studies"
        )
    period = provision.get("period") or {}
    if iso(str(period.get("start") or "1900"), "period.start")[:10] > date.today().isoformat():
        raise DataError("the permit has not begun; import it again once it has")
    return "consented", _end(str(period["end"])) if period.get("end") else ""


def _end(end: str) -> str:
    """The last day of a period; a month or a year ends, to be sure, with its first day."""
    return iso(end, "period.end")[:10]


def _purposes(provision: Mapping[str, Any], terms: Terms) -> list[str]:
    """Purposes of a provision in the words of studies."""
    named = {key.casefold(): purpose for key, purpose in terms.purposes.items()}
    found = []
    for coding in provision.get("purpose") or []:
        words = [str(coding[key]) for key in ("code", "display") if coding.get(key)]
        if not words:
            raise DataError("a coding of provision.purpose has neither code nor display; mend it")
        mapped = next((named[word.casefold()] for word in words if word.casefold() in named), None)
        found.append(mapped or (EVERY if provision["type"] == "deny" else words[0]))
    return list(dict.fromkeys(found)) or [EVERY]
