"""The console of a hospital, for its stewards, clinicians and IT: `made` puts its pages together.

hospital_folder.py      what pages read of the hospital's folder, and keep
hospital_words.py       what states, events and risks are called
hospital_studies.py     inbox, manifest, decisions, history
hospital_manifest.py    a manifest as a data officer reads it
hospital_rules.py       the rules of hospital.toml, explained
hospital_left.py        what left so far
hospital_oppositions.py who opposed; receipts
hospital_ledger.py      the ledger: read, verified, exported
hospital_worklists.py   lists of patients for clinicians
hospital_slides.py      slides: what became of each; where a model looked
hospital_cases.py       pictures that are discussed
hospital_connection.py  is this hospital well connected

Who acts is who signed in, by the provider's name for them; no form says it. Ids of patients stand in no address.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response

from confrere.console.pages import (
    hospital_cases,
    hospital_connection,
    hospital_ledger,
    hospital_left,
    hospital_oppositions,
    hospital_rules,
    hospital_slides,
    hospital_studies,
    hospital_worklists,
)
from confrere.console.pages.frame import Console, Entry, application, page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here, Hospital
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.laptop import Link
from confrere.console.pages.sessions import Person, Sessions
from confrere.console.pages.settings import IdentitySettings
from confrere.study.life import ROLES

STEWARD = ("steward",)
MENU = (
    Entry(N_("Studies"), "/studies", STEWARD, N_("Read what a study asks for; approve, refuse, pause or end it.")),
    Entry(N_("Rules"), "/policy", STEWARD, N_("What this hospital allows, and what each rule means.")),
    Entry(N_("What left"), "/left", STEWARD, N_("What left this hospital so far, by study and month.")),
    Entry(N_("Oppositions"), "/oppositions", STEWARD, N_("Who is left out of studies; receipts for patients.")),
    Entry(
        N_("Worklists"), "/worklists", ("steward", "clinician"),
        N_("Lists of this hospital's patients for its clinicians. They stay here."),
    ),
    Entry(
        N_("Slides"), "/slides", ("steward", "clinician"),
        N_("What became of every slide, and where a model looked. They stay here."),
    ),
    Entry(
        N_("Cases"), "/cases", ("steward", "clinician"),
        N_("Pictures that are discussed here, for those invited and for a limited time."),
    ),
    Entry(N_("Ledger"), "/ledger", STEWARD, N_("Everything that happened, in a signed chain that you can verify.")),
    Entry(
        N_("Connection"), "/connection", ("steward", "operator"),
        N_("Whether this hospital is well connected, and until when its certificate holds."),
    ),
)  # fmt: skip
_ROUTERS = (
    hospital_studies.router, hospital_rules.router, hospital_left.router, hospital_oppositions.router,
    hospital_ledger.router, hospital_worklists.router, hospital_slides.router, hospital_connection.router,
    hospital_cases.router,
)  # fmt: skip
front = APIRouter()


class News(NamedTuple):
    """What somebody should look at: a sentence, where to, and whether it is bad."""

    text: str
    path: str
    bad: bool = False


def made(here: Hospital, identity: IdentitySettings, link: Link | None = None) -> FastAPI:
    """The application of a hospital's pages; `link` where one person works alone."""
    home = here.home
    store = Sessions(home.path / "sessions.sqlite", 60 * identity.idle_minutes, 3600 * identity.hours)
    console = Console("hospital", home.name, MENU, lambda event, facts: here.home.log(event, **facts))
    app = application(console, identity, store, (front, *_ROUTERS), link)
    app.state.hospital = here
    return app


@front.get("/")
def home(request: Request, person: Annotated[Person, require(*ROLES)], here: Here) -> Response:
    """The first page: what waits for this person, and what they can do here."""
    news = list(_news(here, tongue_of(request))) if "steward" in person.roles else []
    return page(request, "hospital_home.html", news=news)


def _news(here: Hospital, _: Tongue) -> Iterator[News]:
    states = [listed.state for listed in here.studies()]
    if here.fault:
        yield News(_("hospital.toml cannot be read. The rules before still hold on these pages."), "/policy", True)
    if waiting := states.count("submitted"):
        yield News(
            _.plural("{count} study waits for your decision.", "{count} studies wait for your decision.", waiting),
            "/studies?state=submitted",
        )
    if stopped := sum(listed.state == "paused" and listed.by == "gate" for listed in here.studies()):
        yield News(
            _.plural(
                "The gate paused {count} study after refused messages.",
                "The gate paused {count} studies after refused messages.", stopped,
            ),
            "/studies?state=paused", True,
        )  # fmt: skip
    if unread := len(hospital_oppositions.quarantined(here.home)):
        yield News(
            _.plural(
                "{count} list of oppositions has lines that nobody could read.",
                "{count} lists of oppositions have lines that nobody could read.", unread,
            ),
            "/oppositions#quarantine", True,
        )  # fmt: skip
    days = hospital_connection.days_left(here.home)
    if days is not None and days <= hospital_connection.SOON:
        yield News(
            _.plural(
                "The certificate of the connection ends in {count} day.",
                "The certificate of the connection ends in {count} days.", max(0, days),
            ),
            "/connection", True,
        )  # fmt: skip
