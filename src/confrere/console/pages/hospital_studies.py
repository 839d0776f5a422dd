"""Studies: the inbox, what a study asks for in words, the steward's decision, and what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from confrere.console.pages import hospital_manifest as words
from confrere.console.pages.frame import page, say, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here, Hospital, Listed, moment, part, sentence
from confrere.console.pages.hospital_ledger import history
from confrere.console.pages.hospital_words import RISKS, STATES, reason
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.sessions import Person
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.errors import ConfrereError, UserError
from confrere.hospital import own
from confrere.hospital.check import reasons
from confrere.hospital.manifest import Manifest
from confrere.hospital.studies import Record, software
from confrere.report.words import Words
from confrere.study.file import Study
from confrere.study.life import LIFE
from confrere.study.own_balance import OwnBalance
from confrere.study.own_measures import LEAST, OwnMeasures, OwnPart

router = APIRouter(prefix="/studies")
Steward = Annotated[Person, require("steward")]
DEEDS: Final = ("approve", "refuse", "pause", "resume", "revoke")
SETTLED: Final = frozenset({"submitted", "refused", "revoked"})  # states in which there is no yes to renew
_DONE: Final[Mapping[str, str]] = {
    "approve": N_("The study is approved."), "refuse": N_("The study is refused."),
    "pause": N_("The study is paused. Nothing more is answered until you resume it."),
    "resume": N_("The study is resumed."), "revoke": N_("The study is revoked. Nothing more is answered."),
}  # fmt: skip
_OTHER = N_("What may leave under this study is another list than the one you read. Read it again, then decide.")
_NO_DEED = N_("There is no such decision about a study.")
_PARTS: Final[Mapping[str, str]] = {
    "software": N_("Confrere, or a method of the study"), "roster": N_("the roster of hospitals"),
    "rules": N_("the rules of this hospital"),
}  # fmt: skip


@router.get("")
def studies(
    request: Request, person: Steward, here: Here, state: str = "", find: Annotated[str, Query(max_length=200)] = "",
    page_: Annotated[int, Query(alias="page", ge=1)] = 1,
) -> Response:  # fmt: skip
    """All studies, those that wait for a decision first."""
    _ = tongue_of(request)
    everything = here.studies()
    wanted = find.casefold().strip()
    found = [s for s in everything if (not state or s.state == state) and _fits(s, wanted)]
    found.sort(key=lambda s: s.state != "submitted")  # stable
    whole = _sheet(found, _)
    shown = part(whole.records, page_, state=state, find=find)
    counts = {name: sum(s.state == name for s in everything) for name in STATES}
    return downloaded(request, whole) or page(
        request, "hospital_studies.html", sheet=whole._replace(records=shown.rows), part=shown, state=state, find=find,
        states={name: (_(STATES[name]), count) for name, count in counts.items() if count},
    )  # fmt: skip


@router.get("/{study}")
def read(request: Request, person: Steward, here: Here, study: str, records: bool = False) -> Response:
    """One study: what it asks for, whether this hospital would answer, what can be decided, what happened."""
    _, record, home = tongue_of(request), here.record(study), here.home
    values: dict[str, Any] = {
        "record": record, "states": STATES, "history": history(here, _, study=study, limit=20), "study": None,
        "balances": list(_balances(here, study, _)), "measures": list(_measures(here, study, _)),
        "why": "", "risks": RISKS, "members": home.members, "checked": records, "moment": moment,
    }  # fmt: skip
    try:
        found = home.studies.study(study)
        listed = here.manifest(found)
        changed = _changed(here, found, record, listed)
        if record.approval is not None and not changed:
            listed = Manifest.of(record.approval.manifest)
        whole = words.sheet(listed, _)
        if answer := downloaded(request, whole, values["history"], *values["balances"], *values["measures"]):
            return answer
        against = reasons(home, found, listed, data=records)
        values |= {
            "study": found, "manifest": listed, "parts": list(words.parts(found, listed)), "sheet": whole,
            "shape": words.shape, "times": words.times, "size": words.size, "tongue": _,
            "text": home.studies.text(study), "reasons": [reason(text, _) for text in against],
            "changed": [_(_PARTS[what]) for what in changed],
        }  # fmt: skip
    except (ConfrereError, OSError) as error:  # a method that is gone, a file that was changed: it can still be stopped
        values |= {"why": str(error), "changed": []}
    return page(request, "hospital_study.html", deeds=_deeds(record, person, values), **values)


@router.get("/{study}/file", dependencies=[require("steward")])
def file(here: Here, study: str) -> Response:
    """The study file, byte for byte."""
    here.record(study)
    name = f'attachment; filename="{study[:16]}.toml"'
    return Response(here.home.studies.text(study), media_type="text/plain", headers={"Content-Disposition": name})


@router.post("/{study}/approve")
def approve(
    request: Request, person: Steward, here: Here, study: str, manifest: Annotated[str, Form(max_length=64)]
) -> Response:
    """The steward's yes to a study and to the manifest that was shown."""
    here.record(study)
    home = here.home
    if here.manifest(home.studies.study(study)).digest != manifest:
        raise HTTPException(422, _OTHER)
    try:
        home.approve(home.studies.text(study), person.id)
    except UserError as error:
        _ = tongue_of(request)
        why = _("The study was not approved. {why}", why=str(error))
        return page(request, "error.html", 422, sentence=why, head=_("This did not work"), again=False)
    return _moved(request, study, "approve")


@router.post("/{study}/{action}")
def decide(
    request: Request, person: Steward, here: Here, study: str, action: str, why: Annotated[str, Form()] = ""
) -> Response:
    """Refuse, pause, resume or revoke a study: effective before the next round. A reason is needed to stop one."""
    if action not in DEEDS:
        raise HTTPException(404, _NO_DEED)
    here.record(study)
    said = "" if action == "resume" and not why.strip() else sentence(why)
    here.home.decide(study, action, person.id, said)
    return _moved(request, study, action)


def _moved(request: Request, study: str, action: str) -> Response:
    say(request, tongue_of(request)(_DONE[action]))
    return RedirectResponse(f"/studies/{study}", 303)


def _fits(listed: Listed, wanted: str) -> bool:
    return not wanted or wanted in f"{listed.title} {listed.id} {listed.purpose} {listed.study}".casefold()


def _sheet(found: list[Listed], _: Tongue) -> Table:
    columns = (
        Column("title", _("Study"), link="path"), Column("state", _("State")), Column("purpose", _("Purpose")),
        Column("at", _("Since"), "time"), Column("by", _("By")),
    )  # fmt: skip
    records = [
        {
            "title": _("{id}: its file was changed", id=s.id) if s.changed else s.title, "path": f"/studies/{s.study}",
            "state": _(STATES[s.state]), "purpose": s.purpose, "at": s.at, "by": s.by,
        }
        for s in found
    ]  # fmt: skip
    return Table("studies", _("Studies"), columns, records, _("No study fits."))


def _balances(here: Hospital, study: str, _: Tongue) -> Iterator[Table]:
    """How alike the arms are in this hospital, by treatment and outcome."""
    columns = (
        Column("term", _("Term"), "code"), Column("before", _("Unweighted"), "number"),
        Column("after", _("Weighted"), "number"),
    )  # fmt: skip
    for number, found in enumerate(own.kept(here.home.path / "runs" / study, OwnBalance), 1):
        caption = _(
            "{about}: {untreated} untreated people of this hospital, {treated} treated", about=found.about,
            untreated=_.numbers.count(found.people[0]), treated=_.numbers.count(found.people[1]),
        )  # fmt: skip
        yield Table(f"balance-{number}", caption, columns, [t._asdict() for t in found.terms])


def _measures(here: Hospital, study: str, _: Tongue) -> Iterator[Table]:
    """How good risks are in this hospital, beside all hospitals: of everybody, and of each level."""
    words = Words(_.lang)
    columns = (
        Column("metric", _("Measure")), Column("estimate", _("This hospital"), "number"),
        Column("low", _("Lower limit"), "number"), Column("high", _("Upper limit"), "number"),
        Column("everywhere", _("All hospitals"), "number"),
    )  # fmt: skip
    kept = own.kept(here.home.path / "runs" / study, OwnMeasures)
    for number, (found, people) in enumerate(((each, people) for each in kept for people in each.parts), 1):
        rows = [m._asdict() | {"metric": words.label(m.metric)} for m in people.measures]
        yield Table(f"measures-{number}", _of_whom(found, people, words, _), columns, rows, _few(found, _))


def _of_whom(found: OwnMeasures, people: OwnPart, words: Words, _: Tongue) -> str:
    """The caption of the measures of some people."""
    said = {
        "about": f"{found.about}, {found.parted} {people.level}" if people.level else found.about,
        "people": _.numbers.count(people.people), "events": _.numbers.count(people.events),
    }  # fmt: skip
    if found.horizon is None:
        return _("{about}: {people} people of this hospital, {events} with the outcome", **said)
    time = words.length(_.numbers.short(found.horizon), found.unit)
    return _("{about}: {people} people of this hospital, {events} with the event by {time}", **said, time=time)


def _few(found: OwnMeasures, _: Tongue) -> str:
    """What is said where there are no measures."""
    if found.horizon is None:
        return _("Too few people here: {least} with the outcome and {least} without it are needed.", least=LEAST)
    return _(
        "Too few people here: {least} with the event by then and {least} followed beyond it are needed.", least=LEAST
    )


def _changed(here: Hospital, study: Study, record: Record, now: Manifest) -> list[str]:
    """What is another one since the steward said yes."""
    approval, home = record.approval, here.home
    if approval is None:
        return []
    roster = home.roster.hash.hex() if (home.path / "roster.json").is_file() else ""
    pairs = {
        "software": (approval.software, software(study)), "roster": (approval.roster, roster),
        "rules": (approval.rules, home.rules.digest),
    }  # fmt: skip
    found = [what for what, (then, today) in pairs.items() if then != today]
    if approval.manifest_sha256 != now.digest and "software" not in found:
        found.insert(0, "software")
    return found


def _deeds(record: Record, person: Person, values: Mapping[str, Any]) -> list[str]:
    """What this person may do about a study now, by the table of its life; a yes again only where it is another one."""
    moves = LIFE[record.state]
    may = [deed for deed in DEEDS if deed in moves and set(moves[deed].who) & set(person.roles) & {"steward"}]
    renew = record.state in SETTLED or values["changed"]
    able = values["study"] is not None and not values["reasons"]
    return [deed for deed in may if deed != "approve" or (renew and able)]
