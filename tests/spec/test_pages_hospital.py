"""The pages of a hospital without a browser: whose they are, who acts, what cannot be forged, what they keep."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NamedTuple

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("fastapi.testclient")

from fastapi.testclient import TestClient
from typer.testing import CliRunner

import serve_hospital as pages
from confrere import analyses
from confrere.console.app import app as command
from confrere.console.pages import drafts
from confrere.console.pages.hospital_folder import SIZE, Hospital, part, sentence
from confrere.console.pages.hospital_rules import RULES
from confrere.console.pages.hospital_steps import STEPS
from confrere.console.pages.hospital_words import EVENTS, FUNNEL, RISKS, SAID, STATES, STATUSES, reason
from confrere.console.pages.languages import Tongue, french
from confrere.console.pages.sessions import Person
from confrere.console.pages.starts import STARTS
from confrere.data.opposition import STATUSES as WORDS
from confrere.hospital import own
from confrere.hospital.classes import CLASSES
from confrere.hospital.home import Home
from confrere.hospital.left import left
from confrere.hospital.manifest import manifest
from confrere.hospital.rules import Rules
from confrere.rounds import Step
from confrere.study.file import Study, parse, read
from confrere.study.life import LIFE
from confrere.study.own_balance import OwnBalance, OwnTerm
from confrere.study.own_measures import OwnMeasure, OwnMeasures, OwnPart
from confrere.study.recruitment import STATUSES as LIST_STATUSES
from confrere.study.recruitment import STEPS as LIST_STEPS
from confrere.study.write import written
from federate import DEMOS, ROOT

Visitor = Callable[..., "Guest"]


class Guest(NamedTuple):
    """Somebody who is signed in."""

    client: TestClient
    csrf: str

    def get(self, path: str, **given: Any) -> Any:
        """A page."""
        return self.client.get(path, **given)

    def post(self, path: str, files: Any = None, **fields: Any) -> Any:
        """A form of the session."""
        return self.client.post(path, data={"csrf": self.csrf, **fields}, files=files)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return pages.hospital(tmp_path)


@pytest.fixture
def study(home: Home) -> Study:
    """One study in the inbox."""
    return pages.submitted(home)


@pytest.fixture
def guest(home: Home) -> Visitor:
    """Signs somebody in."""
    app = pages.app_of(home)

    def make(person: Person = pages.STEWARD, lang: str = "en") -> Guest:
        client = TestClient(
            app, "http://testserver", raise_server_exceptions=False, follow_redirects=False,
            headers={"Accept-Language": lang},
        )  # fmt: skip
        session = app.state.front.store.begin(person)
        client.cookies.set("confrere", session.id)
        return Guest(client, session.csrf)

    return make


def state(home: Home, study: Study) -> tuple[str, str]:
    """Where a study is, and who moved it there."""
    record = home.studies.record(study.hash)
    assert record is not None
    return record.state, record.by


# Whose pages they are -----------------------------------------------------------------------------------------

STEWARDS = [
    "/studies", "/studies/{hash}", "/studies/{none}", "/studies/{hash}/file", "/policy", "/left", "/oppositions",
    "/oppositions/quarantine/x.csv", "/ledger", "/ledger/export.csv", "/ledger/export.jsonl",
]  # fmt: skip
DEEDS = [
    "/studies/{hash}/approve", "/studies/{none}/approve", "/studies/{hash}/refuse", "/studies/{hash}/pause",
    "/oppositions", "/oppositions/find", "/oppositions/withdraw", "/oppositions/import", "/oppositions/receipt",
    "/oppositions/quarantine/x.csv", "/ledger/verify", "/worklists/{list}/grant", "/worklists/{list}/withdraw",
]  # fmt: skip


def said(answer: Any) -> str:
    """The main part of a page."""
    return str(re.sub(r"\s+", " ", answer.text.partition('<main id="main"')[2].partition("</main>")[0]))


def test_a_page_of_stewards_is_for_nobody_else_whether_it_is_there_or_not(
    home: Home, study: Study, guest: Visitor
) -> None:
    words = {"hash": study.hash, "none": "0" * 64, "list": pages.worklist(home, study, "bones")}
    before = len(home.ledger)
    for person in (pages.CLINICIAN, pages.IT):
        visitor = guest(person)
        answers = [visitor.get(path.format(**words)) for path in STEWARDS]
        answers += [visitor.post(path.format(**words)) for path in DEEDS]
        assert {answer.status_code for answer in answers} == {403}
        assert len({said(answer) for answer in answers}) == 1
    assert len(home.ledger) == before
    assert state(home, study) == ("submitted", "the coordinator")


def test_a_list_of_somebody_else_is_as_one_that_is_not_there(home: Home, study: Study, guest: Visitor) -> None:
    name, other = pages.worklist(home, study, "bones"), guest(pages.OTHER)
    form = {"person": pages.PATIENT, "to": "seen", "stays": "yes", "clinician": "bones", "by": "bones"}
    for path in ("", "/status", "/export"):
        at = (f"/worklists/{name}{path}", f"/worklists/nothing{path}")
        theirs, nobodys = (other.post(a, **form) if path else other.get(a) for a in at)
        assert theirs.status_code == nobodys.status_code == 404
        assert said(theirs) == said(nobodys)
        assert pages.PATIENT not in theirs.text
    assert "Old and large" not in other.get("/worklists").text
    assert guest(pages.STEWARD).get(f"/worklists/{name}").status_code == 403
    assert not list(home.ledger.entries(event="worklist shown"))


def test_an_operator_sees_the_connection_and_nothing_of_patients(home: Home, study: Study, guest: Visitor) -> None:
    visitor = guest(pages.IT)
    assert visitor.get("/connection").status_code == 200
    assert visitor.get("/worklists").status_code == 403
    assert home.identity.fingerprint in visitor.get("/connection").text


def test_forms_without_the_sessions_token_do_nothing(home: Home, study: Study, guest: Visitor) -> None:
    client = guest().client
    assert client.post(f"/studies/{study.hash}/refuse", data={"why": "x"}).status_code == 419
    assert client.post("/oppositions", data={"person": "1", "source": "letter"}).status_code == 419
    assert state(home, study)[0] == "submitted"
    assert not home.oppositions.last()


def test_who_acts_is_who_signed_in(home: Home, study: Study, guest: Visitor) -> None:
    name, steward, clinician = pages.worklist(home, study, "bones"), guest(), guest(pages.CLINICIAN)
    steward.post(f"/studies/{study.hash}/refuse", why="no", by="eve", person="eve")
    assert state(home, study) == ("refused", "ada")
    steward.post("/oppositions", person="12", source="letter", by="eve")
    clinician.post(f"/worklists/{name}/status", person=pages.PATIENT, to="seen", clinician="eve", by="eve")
    clinician.post(f"/worklists/{name}/export", stays="yes", clinician="eve")
    people = {entry.facts.get("by") or entry.facts.get("who") for entry in home.ledger.entries(after=3)}
    assert people == {"ada", "bones"}
    assert "eve" not in json.dumps([entry.facts for entry in home.ledger.entries()])


# Studies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hash", ["0" * 64, "x", "..%2f..%2fhospital", "a" * 5000, "é", "%00", "A" * 64])
def test_a_study_that_is_not_there(hash: str, guest: Visitor) -> None:
    assert guest().get(f"/studies/{hash}").status_code == 404
    assert guest().post(f"/studies/{hash}/refuse", why="no").status_code == 404


def test_a_yes_is_to_the_manifest_that_was_shown(home: Home, study: Study, guest: Visitor) -> None:
    steward = guest()
    assert steward.post(f"/studies/{study.hash}/approve", manifest="0" * 64).status_code == 422
    assert steward.post(f"/studies/{study.hash}/approve").status_code == 422
    assert state(home, study)[0] == "submitted"
    (shown,) = re.findall(r'name="manifest" value="(\w{64})"', steward.get(f"/studies/{study.hash}").text)
    assert shown == manifest(study).digest
    assert steward.post(f"/studies/{study.hash}/approve", manifest=shown).status_code == 303
    assert state(home, study) == ("approved", "ada")


def test_a_study_that_the_rules_forbid_says_why_and_cannot_be_approved(home: Home, guest: Visitor) -> None:
    file = home.path / "hospital.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('    "linear",\n', ""), encoding="utf-8")
    study, steward = pages.submitted(home), guest()
    page = steward.get(f"/studies/{study.hash}").text
    assert "`methods` does not name linear" in page
    assert "/approve" not in page
    assert "`methods` ne nomme pas linear" in guest(lang="fr").get(f"/studies/{study.hash}").text
    answer = steward.post(f"/studies/{study.hash}/approve", manifest=manifest(study).digest)
    assert answer.status_code == 422
    assert "does not name linear" in answer.text
    assert state(home, study)[0] == "submitted"


def test_every_steward_reads_whose_sums_may_leave_alone(home: Home, guest: Visitor) -> None:
    """Also one whose hospital is not named: the named member's sums can be subtracted from the totals."""
    plain = pages.submitted(home)
    study = parse(written(replace(plain, alone=("acme",))))
    home.studies.submit(written(study), "the coordinator")
    assert "acme" not in guest().get(f"/studies/{plain.hash}").text
    assert "The study names acme. Where a member named here consents" in guest().get(f"/studies/{study.hash}").text
    assert "L’étude nomme acme." in guest(lang="fr").get(f"/studies/{study.hash}").text


def test_what_changed_since_the_yes_is_said_and_needs_a_new_one(home: Home, study: Study, guest: Visitor) -> None:
    home.approve(pages.text(), "ada")
    steward, path = guest(), f"/studies/{study.hash}"
    assert "/approve" not in steward.get(path).text
    file = home.path / "hospital.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("k = 11 ", "k = 12 "), encoding="utf-8")
    page = steward.get(path).text
    assert "Changed since the yes: the rules of this hospital." in page
    assert "/approve" in page
    steward.post(f"{path}/approve", manifest=manifest(study).digest)
    assert "Changed since the yes" not in steward.get(path).text


def test_a_study_whose_file_was_changed_can_still_be_refused(home: Home, study: Study, guest: Visitor) -> None:
    home.approve(pages.text(), "ada")
    (home.studies.path / f"{study.hash}.toml").write_text(pages.text(title="Another"), encoding="utf-8")
    steward = guest()
    page = steward.get(f"/studies/{study.hash}")
    assert page.status_code == 200
    assert "was changed since it was approved" in page.text
    assert "its file was changed" in steward.get("/studies").text
    assert steward.post(f"/studies/{study.hash}/refuse", why="changed").status_code == 303
    assert state(home, study)[0] == "refused"


def test_the_balance_of_the_hospital_alone_is_its_stewards(home: Home, study: Study, guest: Visitor) -> None:
    """A table on the page of the study and its CSV; not of another study."""
    path = f"/studies/{study.hash}"
    assert "The balance of this hospital alone" not in guest().get(path).text
    terms = (OwnTerm("age", 0.5312, -0.0421), OwnTerm("<b>", None, None))
    own.keep(home.run(study.hash), OwnBalance("hormon: recur", (1200, 300), terms))
    page = guest().get(path).text
    assert "The balance of this hospital alone" in page
    assert "hormon: recur: 1,200 untreated people of this hospital, 300 treated" in page
    assert "<code>&lt;b&gt;</code>" in page
    assert "1\u202f200 personnes non traitées de cet hôpital" in guest(lang="fr").get(path).text
    rows = list(csv.reader(io.StringIO(guest().get(f"{path}?csv=balance-1").text)))
    assert rows[:2] == [["term", "before", "after"], ["age", "0.5312", "-0.0421"]]
    home.erase(study.hash)
    assert "The balance of this hospital alone" not in guest().get(path).text


def test_the_measures_of_the_hospital_alone_are_its_stewards(home: Home, study: Study, guest: Visitor) -> None:
    """A table for everybody and for each level, beside all hospitals; of few people a sentence and no number."""
    path, heading = f"/studies/{study.hash}", "How good the risks are in this hospital alone"
    assert heading not in guest().get(path).text
    rows = (OwnMeasure("AUC", 0.7312, 0.6805, 0.7819, 0.7205), OwnMeasure("calibration slope", 0.91, 0.52, 1.3, None))
    parts = (OwnPart("", 1337, 211, rows), OwnPart("<b>", 12, 3, ()))
    own.keep(home.run(study.hash), OwnMeasures("recur: age + nodes", None, "days", "stage", parts))
    own.keep(
        home.run(study.hash), OwnMeasures("Surv(rtime, recur): score", 1826.0, "days", "", (OwnPart("", 12, 3, ()),))
    )
    page, french = (said(guest(lang=lang).get(path)) for lang in ("en", "fr"))
    assert heading in page
    assert "recur: age + nodes: 1,337 people of this hospital, 211 with the outcome" in page
    assert "recur: age + nodes, stage &lt;b&gt;: 12 people of this hospital, 3 with the outcome" in page
    assert "Too few people here: 10 with the outcome and 10 without it are needed." in page
    assert "Surv(rtime, recur): score: 12 people of this hospital, 3 with the event by 1,826 days" in page
    assert "Too few people here: 10 with the event by then and 10 followed beyond it are needed." in page
    assert "La qualité des risques dans cet hôpital seul" in french
    assert "1 337 personnes de cet hôpital, dont 211 avec l’issue" in french
    assert "pente de calibration" in french
    assert "<b>" not in page
    made = list(csv.reader(io.StringIO(guest().get(f"{path}?csv=measures-1").text)))
    assert made[:2] == [
        ["metric", "estimate", "low", "high", "everywhere"],
        ["AUC", "0.7312", "0.6805", "0.7819", "0.7205"],
    ]
    home.erase(study.hash)
    assert heading not in guest().get(path).text


@pytest.mark.parametrize("why", ["", "   ", "x" * 501, "bell \x07"])
def test_a_stop_needs_a_reason(why: str, home: Home, study: Study, guest: Visitor) -> None:
    assert guest().post(f"/studies/{study.hash}/refuse", why=why).status_code == 422
    assert state(home, study)[0] == "submitted"


def test_only_moves_of_the_table_are_made(home: Home, study: Study, guest: Visitor) -> None:
    steward = guest()
    for action in ("pause", "resume", "revoke", "start", "finish", "expire", "wait"):
        answer = steward.post(f"/studies/{study.hash}/{action}", why="x")
        assert answer.status_code in (404, 422)
    assert state(home, study) == ("submitted", "the coordinator")
    assert sentence(" two\n  lines ") == "two lines"


def test_what_somebody_wrote_is_no_markup_and_no_formula(home: Home, guest: Visitor) -> None:
    pages.submitted(home, id="x", title="=cmd() <script>alert(1)</script>")
    steward = guest()
    assert "<script>alert" not in steward.get("/studies").text
    (row,) = csv.DictReader(io.StringIO(steward.get("/studies?csv=studies").text))
    assert row["title"].startswith("'=cmd()")
    assert "<script>alert" not in steward.get('/studies?find="><script>alert(1)</script>').text


def test_lists_are_in_pages_and_their_csv_is_whole(home: Home, guest: Visitor) -> None:
    for i in range(SIZE + 5):
        pages.submitted(home, id=f"s{i}", title=f"Study {i}")
    steward = guest()
    first, second = (steward.get(f"/studies?page={n}&find=study").text for n in (1, 2))
    assert (first.count("<th scope=row>"), second.count("<th scope=row>")) == (SIZE, 5)
    assert f"1 to {SIZE} of {SIZE + 5}" in first
    assert "?find=study&amp;page=2" in first
    assert len(list(csv.DictReader(io.StringIO(steward.get("/studies?csv=studies").text)))) == SIZE + 5
    assert part(list(range(3)), 99).rows == [0, 1, 2]
    assert part([], 1).rows == []


def test_a_decision_elsewhere_is_seen_at_once(home: Home, study: Study, guest: Visitor) -> None:
    """The command line, the gate and the pages share the folder."""
    here = Hospital(home.path)
    assert [one.state for one in here.studies()] == ["submitted"]
    home.approve(pages.text(), "ada")
    for _ in range(30):  # faster than the clock of the file system
        for action, then in (("pause", "paused"), ("resume", "approved")):
            home.decide(study.hash, action, "ada", "no")
            assert [one.state for one in here.studies()] == [then]
    for day in range(1, 31):
        home.oppositions.say(
            pages.said("7")._replace(status=("opposed", "consented")[day % 2], date=f"2026-04-{day:02}")
        )
        assert here.said() == home.oppositions.last()
    assert [one.title for one in here.studies()] == [study.title]


# Rules --------------------------------------------------------------------------------------------------------


def test_every_rule_class_state_and_status_has_its_words() -> None:
    assert list(RULES) == [field.name for field in fields(Rules)]
    assert RISKS == CLASSES
    assert set(STATES) == set(LIFE)
    assert set(STATUSES) == set(LIST_STATUSES)
    assert set(FUNNEL) >= {*LIST_STEPS, "people", "screened", "entry event", "not ruled out", "meet all criteria"}
    assert set(SAID) == set(WORDS) - {"ended"}


def test_events_of_the_ledger_have_their_words() -> None:
    """Every event that the hospital's side writes."""
    folders = (ROOT / "src" / "confrere" / "hospital", ROOT / "src" / "confrere" / "console")
    text = "".join(file.read_text(encoding="utf-8") for folder in folders for file in folder.rglob("*.py"))
    written = set(re.findall(r'(?:home|here|front\.console|restored|self)\.log\(\s*"([^"]+)"', text))
    assert len(written) > 15
    assert written <= set(EVENTS)


def test_what_steps_do_has_its_french() -> None:
    """Of all methods of this package and their parts, and of what is asked before and between them."""
    files = [file for file in DEMOS.glob("*.toml") if file.stem != "prognosis-later"]  # its model is made by its demo
    studies = [read(file) for file in files] + [parse(drafts.started(name)) for name in STARTS]
    found = {e.does for study in studies for e in manifest(study).entries}
    for module in walk_packages(analyses.__path__, "confrere.analyses."):
        for kind in vars(importlib.import_module(module.name)).values():
            found |= set(steps(kind)) if isinstance(kind, type) else set()
    assert len(found) > 120
    assert found <= set(STEPS)
    assert set(STEPS) <= set(french())


def steps(kind: type) -> Iterator[str]:
    """What the steps of a class do, and what their designs are."""
    for name in dir(kind):
        if isinstance(step := getattr(getattr(kind, name), "step", None), Step):
            for said in filter(None, (name, step.on)):
                yield str(getattr(kind, said).__doc__).partition("\n")[0]


def test_reasons_of_the_rules_are_said_in_french() -> None:
    text = pages.text().replace("2031-12-31", "2020-01-01").replace('legal_basis = "MR-004, no. 2211"', "")
    study = parse(f'{text}\n[disclosure]\nallow = ["fine_times"]\n')
    rules = Rules(rounds=1, megabytes=1e-6, require=("legal_basis",))
    reasons = [*rules.against(study, manifest(study), date(2026, 11, 22))]
    assert len(reasons) == 7
    assert all(reason(why, Tongue("fr")) != why for why in reasons)
    assert [reason(why, Tongue("en")) for why in reasons] == reasons
    assert reason("something else", Tongue("fr")) == "something else"


def test_rules_that_would_stop_an_approved_study_are_said(home: Home, study: Study, guest: Visitor) -> None:
    home.approve(pages.text(), "ada")
    steward = guest()
    assert "Every approved study is answered under these rules." in steward.get("/policy").text
    file = home.path / "hospital.toml"
    assert str(file) in steward.get("/policy").text
    file.write_text(file.read_text(encoding="utf-8").replace('    "nodes",\n', ""), encoding="utf-8")
    page = steward.get("/policy").text
    assert "`columns` of the table breast does not name nodes" in page
    assert f'href="/studies/{study.hash}"' in page


def test_a_broken_file_of_rules_is_said_and_a_stop_still_works(home: Home, study: Study, guest: Visitor) -> None:
    home.approve(pages.text(), "ada")
    steward = guest()
    assert steward.get("/").status_code == 200
    file = home.path / "hospital.toml"
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace("k = 11 ", "k = 5 "), encoding="utf-8")
    assert "hospital.toml cannot be read" in steward.get("/").text
    assert "k = 5 must be 11 or more" in steward.get("/policy").text
    assert steward.post(f"/studies/{study.hash}/pause", why="the rules are broken").status_code == 303
    assert state(home, study)[0] == "paused"
    file.write_text(good, encoding="utf-8")
    assert "hospital.toml cannot be read" not in steward.get("/").text


# What left, and the ledger ------------------------------------------------------------------------------------


def test_what_left_is_read_on_and_equals_the_whole(home: Home, study: Study) -> None:
    here, other = Hospital(home.path), pages.submitted(home, id="other")
    assert here.left() == []
    for one in (study, other, study):
        pages.answered(home, one)
        assert here.left() == left(home.ledger.entries(event="answered"))


def test_the_numbers_behind_the_picture(home: Home, study: Study, guest: Visitor) -> None:
    pages.answered(home, study)
    (row,) = csv.DictReader(io.StringIO(guest().get("/left?csv=months").text))
    assert (row["rounds"], row["numbers"], float(row["kilobytes"])) == ("3", "27", pytest.approx(8.448))
    assert "<svg" in guest().get("/left").text


def test_the_ledger_goes_back_page_by_page(home: Home, study: Study, guest: Visitor) -> None:
    pages.answered(home, study, rounds=SIZE)
    steward, path, seen = guest(), "/ledger?event=answered", list[int]()
    while path:
        page = steward.get(path).text
        seen += [int(n) for n in re.findall(r'<th scope=row class="number">(\d+)</th>', page)]
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = f"/ledger{older[1].replace('&amp;', '&')}" if older else ""
    assert seen == [entry.number for entry in home.ledger.entries(event="answered", newest=True)]
    assert 'rel="next"' in steward.get("/ledger").text


def test_the_ledger_is_exported_whole_or_filtered(home: Home, study: Study, guest: Visitor) -> None:
    pages.answered(home, study)
    other, steward = pages.submitted(home, id="other"), guest()
    lines = [json.loads(line) for line in steward.get("/ledger/export.jsonl").text.splitlines()]
    assert lines == [json.loads(json.dumps(entry._asdict())) for entry in home.ledger.entries()]
    rows = list(csv.DictReader(io.StringIO(steward.get("/ledger/export.csv?study=other").content.decode("utf-8-sig"))))
    assert [row["event"] for row in rows] == ["submitted"]
    assert other.hash in rows[0]["facts"]
    assert not steward.get("/ledger/export.jsonl?study=nothing").text
    assert "No entry fits." in steward.get("/ledger?study=nothing").text


def test_a_ledger_that_was_changed_is_told(home: Home, study: Study, guest: Visitor) -> None:
    pages.answered(home, study)
    steward = guest()
    assert "The ledger is whole" in steward.post("/ledger/verify").text
    home.ledger.close()
    with sqlite3.connect(home.path / "ledger.sqlite") as db:
        db.execute("UPDATE entries SET facts = replace(facts, '1408', '1') WHERE event = 'answered'")
    db.close()
    page = steward.post("/ledger/verify").text
    assert "The ledger does not verify" in page
    assert re.search(r"entry \d+ was changed", page)


# Patients -----------------------------------------------------------------------------------------------------


def test_ids_of_patients_stand_in_no_address_and_not_in_the_ledger(home: Home, study: Study, guest: Visitor) -> None:
    steward = guest()
    answer = steward.post("/oppositions", person="pat-77", source="letter", purpose="*")
    assert "pat-77" not in answer.headers["location"]
    assert "pat-77" in steward.post("/oppositions/find", person=" pat-77 ").text
    assert "pat-77" in steward.post("/oppositions/receipt", person="pat-77", lang="fr").text
    assert steward.post("/oppositions/withdraw", person="pat-77", source="letter").status_code == 303
    assert [line.status for line in home.oppositions.last("pat-77")] == ["withdrawn"]
    facts = [entry.facts for entry in home.ledger.entries()]
    assert "pat-77" not in json.dumps(facts)
    assert facts[-1] == {"status": "withdrawn", "purpose": "*", "by": "ada"}


def test_a_wrong_opposition_is_said_and_kept_in_the_form(home: Home, guest: Visitor) -> None:
    steward = guest()
    answer = steward.post("/oppositions", person="  ", source="letter")
    assert answer.status_code == 422
    assert "person is empty" in answer.text
    assert 'value="letter"' in answer.text
    assert steward.post("/oppositions", person="1", source="x", status="ended").status_code == 422
    assert steward.post("/oppositions/withdraw", person="1", source="x").status_code == 422
    assert steward.post("/oppositions/receipt", person=" ").status_code == 422
    assert not home.oppositions.history()


@pytest.mark.parametrize(
    "name",
    ["../../evil.csv", "..\\evil.csv", "/evil.csv", ".csv", "é .CSV", f"{300 * 'a'}.csv", "q.quarantine.csv"],
)
def test_an_import_stays_in_its_folder(name: str, home: Home, guest: Visitor) -> None:
    before = {path for path in home.path.parent.rglob("*")}
    lines = b"person,purpose,date,source,status\n1,*,2026-03-01,letter,opposed\n2,*,never,letter,opposed\n"
    answer = guest().post("/oppositions/import", files={"file": (name, lines)})
    new = {path for path in home.path.parent.rglob("*")} - before
    if answer.status_code == 422:
        assert not new
        return
    assert answer.status_code == 200
    kept = {path for path in new if path.parent == home.path / "imports"}
    assert len(kept) == 1
    assert {path.parent for path in new} <= {home.path, home.path / "imports"}
    (file,) = kept
    assert ".quarantine" in file.name
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["..%2Fhospital.toml", "hospital.toml", "x.quarantine.csv", "%2Fetc%2Fpasswd"])
def test_no_other_file_is_read_as_quarantine(name: str, home: Home, guest: Visitor) -> None:
    assert guest().get(f"/oppositions/quarantine/{name}").status_code == 404
    assert guest().post(f"/oppositions/quarantine/{name}", text="x").status_code == 404


@pytest.mark.parametrize(
    ("name", "data"), [("x.exe", b"x"), ("x.csv", b"no such columns\n"), ("x.csv", b"\xff\xfe"), ("x.json", b"{")]
)
def test_a_file_that_is_no_list_is_refused(name: str, data: bytes, home: Home, guest: Visitor) -> None:
    answer = guest().post("/oppositions/import", files={"file": (name, data)})
    assert answer.status_code == 422
    assert not home.oppositions.history()
    assert not list((home.path / "imports").glob("*"))


def test_a_worklist_with_no_right_status_or_person_is_said(home: Home, study: Study, guest: Visitor) -> None:
    name, clinician = pages.worklist(home, study, "bones"), guest(pages.CLINICIAN)
    for form in ({"person": pages.PATIENT, "to": "dead"}, {"person": "nobody", "to": "seen"}):
        answer = clinician.post(f"/worklists/{name}/status", **form)
        assert answer.status_code == 422
        assert pages.PATIENT not in answer.text


# The command, and the figures ---------------------------------------------------------------------------------


def test_the_command_says_what_is_wrong(home: Home, tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(command, ["hospital", "pages", "--home", str(home.path), *words])
        return done.exit_code, str(done.exception)

    assert "belong together" in run("--certificate", "x.pem")[1]
    assert "is not there" in run("--certificate", str(tmp_path / "no.pem"), "--key", str(tmp_path / "no.key"))[1]
    assert "they may listen on 127.0.0.1 only" in run("--host", "0.0.0.0")[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "choose another --port" in run("--port", str(taken.getsockname()[1]))[1]


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    found = importlib.import_module("benchmarks.pages").measured(tmp_path, 12, users=3, each=4, times=2)
    assert found["together"]["errors"] == 0
    assert all(row["median"] > 0 for row in found["pages"].values())
