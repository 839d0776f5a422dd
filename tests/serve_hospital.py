"""A hospital's pages for tests: a folder with studies, a worklist, oppositions and a ledger, and its application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import FastAPI

from confrere.console.pages.hospital import made
from confrere.console.pages.hospital_folder import Hospital
from confrere.console.pages.sessions import Person
from confrere.data.opposition import Said
from confrere.hospital.home import Home
from confrere.study.file import Study
from confrere.study.worklist import Worklist
from federate import DEMOS
from serve_pages import free, served, settings

STEWARD = Person("ada", "Ada Lovelace", ("steward",))
CLINICIAN = Person("bones", "Dr. Bones", ("clinician",))
OTHER = Person("quinn", "Dr. Quinn", ("clinician",))
IT = Person("grace", "Grace Hopper", ("operator",))
EVERYBODY = (STEWARD, CLINICIAN, OTHER, IT)
PATIENT = "4711"


def hospital(path: Path) -> Home:
    """A hospital with the records of the demo, as IT would bind them."""
    home = Home.make(path / "curie", "curie", {"breast": str(DEMOS / "breast.csv")})
    toml = home.path / "hospital.toml"
    table = '{path = "%s", person = "pid"}' % (DEMOS / "breast.csv")
    toml.write_text(toml.read_text(encoding="utf-8").replace(f'"{DEMOS / "breast.csv"}"', table), encoding="utf-8")
    return Home(home.path)


def text(id: str = "rotterdam", title: str = "Hormonal therapy and recurrence", more: str = "") -> str:
    """A study of two analyses; `more` goes into its table [study]."""
    return f"""
[study]
id = "{id}"
title = "{title}"
purpose = "public-interest research"
legal_basis = "MR-004, no. 2211"
people = ["Marie Curie", "Ada <b>Lovelace</b>"]
ends = 2031-12-31
{more}
[data]
table = "breast"
person = "pid"
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age + nodes"
ties = "efron"
baseline = "per hospital"
[[analysis]]
name = "grade"
method = "linear"
formula = "age ~ nodes"
"""


def submitted(home: Home, **given: Any) -> Study:
    """A study that came from the coordinator."""
    study = home.studies.submit(text(**given), "the coordinator")
    home.log("submitted", study=study.hash, id=study.id)
    return study


def answered(home: Home, study: Study, rounds: int = 3) -> None:
    """What a run leaves in the ledger."""
    home.log("started", study=study.hash, rounds=0, cut="2026-11-22")
    for number in range(1, rounds + 1):
        left = [{"analysis": "recurrence", "step": "slope", "name": "score", "shape": [3, 3], "people": 2982}]
        home.log("asked", study=study.hash, round=number, asks=["recurrence slope"])
        home.log("answered", study=study.hash, round=number, bytes=1408 * number, left=left)


def worklist(home: Home, study: Study, *clinicians: str, title: str = "Old and large") -> str:
    """A list of three patients for these clinicians; its name."""
    rows = pd.DataFrame({"pid": [PATIENT, "4712", "4713"], "age": [71.5, 80.0, 66.25], "size": [">50", None, "<=20"]})
    answers = (("met", "met"), ("met", "unknown"), ("met", "failed"))
    funnel = (("screened", "", 2982), ("not ruled out", "age >= 65", 773), ("not ruled out", "size == '>50'", 3))
    kept = Worklist(title, "call them for the trial", ("age >= 65", "size == '>50'"), rows, answers, funnel)
    name = home.worklists.keep(study.hash, study.purpose, kept)
    for who in clinicians:
        home.worklists.grant(name, who)
    return name


def app_of(home: Home, address: str = "http://testserver", issuer: str = "http://127.0.0.1:9") -> FastAPI:
    """Its application, of people who sign in at a provider."""
    roles = {"steward": ("confrere-dpo",), "clinician": ("oncology",), "operator": ("confrere-it",)}
    return made(Hospital(home.path), settings(address=address, issuer=issuer, roles=roles))


def cookie(app: FastAPI, person: Person) -> str:
    """A session of somebody who has signed in."""
    return str(app.state.front.store.begin(person).id)


@contextmanager
def at(home: Home, issuer: str = "http://127.0.0.1:9") -> Iterator[tuple[str, FastAPI]]:
    """The pages on loopback, for a browser: their address, and the application."""
    port = free()
    address = f"http://127.0.0.1:{port}"
    app = app_of(home, address, issuer)
    with served(app, app.state.front.identity, port):
        yield address, app


def said(person: str, status: str = "opposed") -> Said:
    """What a patient said."""
    return Said(person, "*", status, "2026-03-01", "letter")
