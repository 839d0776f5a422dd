"""The console of a hospital as its steward and its clinicians meet it, in a real browser.

Signing in at a provider is `test_pages_frame.py`'s; here sessions are those of people who did. With
CONFRERE_SHOTS=FOLDER the tests leave pictures there.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("axe_playwright_python")
pytest.importorskip("playwright")


import serve_hospital as pages
from confrere.console.pages.sessions import Person
from confrere.hospital import own
from confrere.hospital.home import Home
from confrere.study.file import Study, parse
from confrere.study.own_measures import OwnMeasure, OwnMeasures, OwnPart
from journeys import browser
from journeys.browser import checked, expect, shot

pytestmark = browser.needed


class Site(NamedTuple):
    """Pages that are served: where, over which folder and application, with which study and list."""

    url: str
    home: Home
    app: Any
    study: Study
    worklist: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hospital that has answered one study, and has others in its inbox."""
    home = pages.hospital(tmp_path_factory.mktemp("hospital"))
    study = pages.submitted(home)
    home.approve(pages.text(), "ada")
    pages.answered(home, study)
    pages.submitted(home, id="lisbon", title="Grade and age at surgery")
    home.oppositions.say(pages.said("1017"))
    name = pages.worklist(home, study, pages.CLINICIAN.id)
    with pages.at(home) as (url, app):
        yield Site(url, home, app, study, name)


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Opens a browser in which somebody is signed in; nothing may be written to its console."""
    with browser.visiting(chromium) as opened:

        def open_(person: Person = pages.STEWARD, **given: Any) -> Any:
            return opened([{"name": "confrere", "value": pages.cookie(site.app, person), "url": site.url}], **given)

        yield open_


def fresh(site: Site, name: str) -> Study:
    """One more study in the inbox."""
    return pages.submitted(site.home, id=name, title=f"The study {name}")


def last(site: Site, event: str) -> dict[str, Any]:
    """The facts of the newest entry of an event."""
    (entry,) = site.home.ledger.entries(event=event, newest=True, limit=1)
    return entry.facts


# A steward and a study ----------------------------------------------------------------------------------------


def test_a_steward_reads_a_study_of_the_inbox_and_approves_it(site: Site, visit: Any) -> None:
    fresh(site, "oslo")
    page = visit()
    page.goto(site.url)
    page.get_by_role("link", name=re.compile("wait for your decision")).click()
    page.get_by_role("link", name="The study oslo").click()
    expect(page.get_by_text("MR-004, no. 2211", exact=True)).to_be_visible()
    expect(page.get_by_text("Ada <b>Lovelace</b>").first).to_be_visible()
    expect(page.get_by_text("It asks for no exception from the rules")).to_be_visible()
    page.get_by_role("link", name="Look at the records too").click()
    expect(page.get_by_text("its records and what it answered before allow this study")).to_be_visible()
    shot(page, "study-records")
    page.get_by_text("Approve", exact=True).click()
    expect(page.get_by_text("A changed byte needs a new yes.")).to_be_visible()
    checked(page)
    page.get_by_role("button", name="Yes, approve it").click()
    expect(page.get_by_text("The study is approved.")).to_be_visible()
    study = parse(pages.text(id="oslo", title="The study oslo"))
    record = site.home.studies.record(study.hash)
    assert record is not None
    assert (record.state, record.by) == ("approved", "ada")
    assert last(site, "approved")["by"] == "ada"
    expect(page.get_by_role("row", name="study approved").get_by_text("ada")).to_be_visible()


def test_a_steward_reads_how_good_a_risk_is_in_the_own_hospital(site: Site, visit: Any) -> None:
    """Beside all hospitals, with a sentence where people are too few, and as a file; on a telephone in French too."""
    study = fresh(site, "ghent")
    rows = (OwnMeasure("AUC", 0.7312, 0.6805, 0.7819, 0.7205), OwnMeasure("calibration slope", 0.91, 0.52, 1.3, None))
    parts = (OwnPart("", 1337, 211, rows), OwnPart("2025", 30, 4, ()))
    own.keep(site.home.run(study.hash), OwnMeasures("recur: age + nodes", None, "days", "period", parts))
    page = visit()
    page.goto(f"{site.url}/studies/{study.hash}")
    expect(page.get_by_role("heading", name="How good the risks are in this hospital alone")).to_be_visible()
    table = page.get_by_role("table", name="recur: age + nodes: 1,337 people of this hospital, 211 with the outcome")
    expect(table.get_by_role("row", name=re.compile(r"AUC 0\.731 0\.68\S* 0\.782 0\.72"))).to_be_visible()
    few = page.get_by_role(
        "table", name="recur: age + nodes, period 2025: 30 people of this hospital, 4 with the outcome"
    )
    expect(few.get_by_text("Too few people here")).to_be_visible()
    checked(page)
    shot(page, "measures")
    with page.expect_download() as found:
        page.get_by_role("link", name=re.compile("Download as CSV.*1,337 people")).click()
    (first, _) = csv.DictReader(io.StringIO(found.value.path().read_text(encoding="utf-8-sig")))
    assert (first["metric"], first["estimate"], first["everywhere"]) == ("AUC", "0.7312", "0.7205")
    page = visit(locale="fr-FR", viewport={"width": 360, "height": 700})
    page.goto(f"{site.url}/studies/{study.hash}")
    expect(page.get_by_role("heading", name="La qualité des risques dans cet hôpital seul")).to_be_visible()
    expect(page.get_by_text("Trop peu de personnes ici")).to_be_visible()
    checked(page)
    shot(page, "measures-fr-360")


def test_a_refusal_needs_a_reason_and_no_script(site: Site, visit: Any) -> None:
    study = fresh(site, "turin")
    page = visit(java_script_enabled=False)
    page.goto(f"{site.url}/studies/{study.hash}")
    page.get_by_text("Refuse", exact=True).click()
    page.fill("#why-refuse", "no legal basis that our DPO knows")
    page.get_by_role("button", name="Yes, refuse it").click()
    expect(page.get_by_text("The study is refused.")).to_be_visible()
    expect(page.get_by_text("Reason: no legal basis that our DPO knows")).to_be_visible()
    facts = last(site, "refused")
    assert (facts["by"], facts["why"]) == ("ada", "no legal basis that our DPO knows")
    assert page.get_by_text("Pause", exact=True).count() == 0


def test_a_study_is_paused_resumed_and_ended(site: Site, visit: Any) -> None:
    study = fresh(site, "porto")
    site.home.approve(pages.text(id="porto", title="The study porto"), "ada")
    page = visit()
    page.goto(f"{site.url}/studies/{study.hash}")
    page.locator("summary", has_text="Pause").click()
    page.fill("#why-pause", "a question to the researcher")
    page.get_by_role("button", name="Yes, pause it").click()
    expect(page.get_by_text("Nothing more is answered until you resume it.").first).to_be_visible()
    with pytest.raises(Exception, match="paused"):
        site.home.approved(study.hash)
    page.locator("summary", has_text="Resume").click()
    page.get_by_role("button", name="Yes, resume it").click()
    expect(page.get_by_text("The study is resumed.")).to_be_visible()
    assert site.home.approved(study.hash).hash == study.hash
    page.locator("summary", has_text="Revoke").click()
    page.fill("#why-revoke", "the protocol ended")
    page.get_by_role("button", name="Yes, revoke it").click()
    expect(page.get_by_text("The study is revoked.")).to_be_visible()
    events = [e.event for e in site.home.ledger.entries(study=study.hash)]
    assert events == ["submitted", "approved", "paused", "resumed", "revoked"]


# Patients -----------------------------------------------------------------------------------------------------


def test_an_opposition_is_recorded_and_the_receipt_printed(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(f"{site.url}/oppositions")
    page.fill("#field-person", "2046")
    page.fill("#field-source", "letter")
    page.get_by_role("button", name="Record it").click()
    expect(page.get_by_text("It is recorded, and holds from the next round on.")).to_be_visible()
    assert site.home.oppositions.last("2046")[0].status == "opposed"
    page.fill("#find-person", "2046")
    page.get_by_role("button", name="Find", exact=True).click()
    assert "2046" not in page.url
    checked(page)
    shot(page, "patient")
    page.select_option("#field-lang", "fr")
    page.get_by_role("button", name="Make the receipt").click()
    expect(page.get_by_role("heading", name="Études qui ont utilisé vos données à curie")).to_be_visible()
    assert page.locator("article").get_attribute("lang") == "fr"
    expect(page.get_by_text("Aucune étude n’a utilisé vos données.")).to_be_visible()
    checked(page)
    shot(page, "receipt")
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Sign out")).not_to_be_visible()
    expect(page.locator("article")).to_be_visible()
    assert last(site, "receipt given") == {"by": "ada"}


def test_a_list_is_imported_and_what_nobody_could_read_is_mended(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(f"{site.url}/oppositions")
    lines = "person,purpose,date,source,status\n3001,*,2026-03-01,letter,opposed\n3002,*,31 March,letter,opposed\n"
    page.set_input_files("#field-file", {"name": "list.csv", "mimeType": "text/csv", "buffer": lines.encode()})
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("1 new word is recorded.")).to_be_visible()
    expect(page.get_by_role("alert").get_by_text("line 3")).to_be_visible()
    checked(page)
    shot(page, "quarantine")
    assert not site.home.oppositions.last("3002")
    page.fill("#field-text", page.input_value("#field-text").replace("31 March", "2026-03-31"))
    page.get_by_role("button", name="Import the mended lines").click()
    expect(page.get_by_role("heading", name="The list is imported")).to_be_visible()
    assert site.home.oppositions.last("3002")[0].status == "opposed"
    assert not list((site.home.path / "imports").iterdir())
    facts = last(site, "oppositions imported")
    assert (facts["by"], facts["new"], facts["quarantined"]) == ("ada", 1, 0)


def test_a_clinician_opens_the_worklist_and_the_ledger_has_it(site: Site, visit: Any) -> None:
    page = visit(pages.CLINICIAN)
    page.goto(site.url)
    assert page.get_by_role("link", name="Studies").count() == 0
    page.get_by_role("link", name="Worklists").first.click()
    checked(page)
    shot(page, "worklists-clinician")
    page.get_by_role("link", name="Old and large").click()
    expect(page.get_by_text("call them for the trial")).to_be_visible()
    expect(page.get_by_role("rowheader", name=pages.PATIENT)).to_be_visible()
    facts = last(site, "worklist shown")
    assert (facts["who"], facts["worklist"], facts["rows"]) == ("bones", site.worklist, 3)
    checked(page)
    shot(page, "worklist")
    row = page.get_by_role("row", name=pages.PATIENT)
    row.get_by_role("combobox", name=f"Next status of {pages.PATIENT}").select_option("eligible")
    row.get_by_role("button").click()
    expect(page.get_by_text("The status is noted.")).to_be_visible()
    expect(row.get_by_text("eligible after reading").first).to_be_visible()
    page.locator("summary", has_text="Export as CSV").click()
    page.get_by_label("The file stays in this hospital.").check()
    checked(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Yes, give me the file").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert rows[1][:2] == [pages.PATIENT, "71.5"]
    assert last(site, "worklist exported")["who"] == "bones"
    assert pages.PATIENT not in (site.home.path / "ledger.sqlite").read_bytes().decode("latin-1")


def test_a_list_is_worked_through_with_the_keyboard_alone(site: Site, visit: Any) -> None:
    """Filter, status, reason, save; and the next Tab goes on where one was."""
    page = visit(pages.CLINICIAN)
    page.goto(f"{site.url}/worklists/{site.worklist}")
    page.locator("#field-status").focus()
    page.keyboard.type("to see")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("status=to"))
    expect(
        page.get_by_text("of 3", exact=True).or_(page.get_by_text(re.compile("2 patients of 3"))).first
    ).to_be_visible()
    page.locator("#to-2").focus()
    page.keyboard.type("not")
    page.keyboard.press("Tab")
    page.keyboard.type("lives abroad")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("#row-2"))
    expect(page.get_by_text("The status is noted.")).to_be_visible()
    assert page.get_by_role("row").count() == 2  # the head, and who is still to be seen
    page.goto(f"{site.url}/worklists/{site.worklist}?status=not+eligible")
    page.get_by_text("noted 1 time").click()
    expect(page.get_by_text(re.compile("bones: lives abroad"))).to_be_visible()
    assert page.locator("#to-1 option").all_text_contents() == ["choose", "to see"]
    checked(page)
    shot(page, "worklist-noted")
    assert "lives abroad" not in (site.home.path / "ledger.sqlite").read_bytes().decode("latin-1")


def test_the_screening_log_is_printed_by_clinician_and_steward(site: Site, visit: Any) -> None:
    page = visit(pages.CLINICIAN)
    page.goto(f"{site.url}/worklists/{site.worklist}")
    page.get_by_role("link", name="Screening log").click()
    expect(page.get_by_role("heading", name="Screening log of Old and large")).to_be_visible()
    assert page.get_by_text("oppose being contacted").count() == 0
    expect(page.get_by_text("Every status is as the ledger has it.")).to_be_visible()
    checked(page)
    shot(page, "worklist-log")
    assert last(site, "screening log shown")["who"] == "bones"
    assert pages.PATIENT not in page.content()
    steward = visit()
    steward.goto(f"{site.url}/worklists")
    expect(steward.get_by_text("Left off: they oppose being contacted")).to_be_visible()
    steward.get_by_role("link", name="Screening log").click()
    expect(steward.get_by_text("Left off: they oppose being contacted")).to_be_visible()
    with steward.expect_download() as download:
        steward.get_by_role("link", name="Download as CSV").first.click()
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith("step,criterion,n,left")
    other = visit(pages.OTHER)
    assert other.goto(f"{site.url}/worklists/{site.worklist}/log").status == 404


def test_a_steward_grants_and_takes_back_and_sees_no_row(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(f"{site.url}/worklists")
    assert page.get_by_text(pages.PATIENT).count() == 0
    page.fill("#grant-1", "quinn")
    page.get_by_role("button", name=re.compile("Let see")).click()
    expect(page.get_by_text("quinn may see the list.")).to_be_visible()
    other = visit(pages.OTHER)
    assert other.goto(f"{site.url}/worklists/{site.worklist}").status == 200
    page.get_by_text("Take back from quinn").click()
    checked(page)
    shot(page, "worklists-steward")
    page.get_by_role("button", name="Yes, take it back").last.click()
    expect(page.get_by_text("quinn may not see the list any more.")).to_be_visible()
    assert other.goto(f"{site.url}/worklists/{site.worklist}").status == 404


# The ledger ---------------------------------------------------------------------------------------------------


def test_the_ledger_is_filtered_verified_and_exported(site: Site, visit: Any) -> None:
    page = visit()
    page.goto(f"{site.url}/ledger")
    page.select_option("#field-event", "answered")
    page.wait_for_url(re.compile("event=answered"))
    page.wait_for_function("document.querySelectorAll('#list tbody tr').length === 3")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON lines").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["answered"] * 3
    page.get_by_role("button", name="Verify the whole ledger").click()
    page.get_by_role("heading", name="The ledger is whole").wait_for()
    expect(page.get_by_role("heading", name="Ledger", exact=True)).to_be_visible()
    checked(page)
    shot(page, "ledger-verified")


# For everybody ------------------------------------------------------------------------------------------------

HEADS = {
    "/": ("Overview", "Vue d’ensemble"), "/studies": ("Studies", "Études"), "/policy": ("Rules", "Règles"),
    "/left": ("What left", "Ce qui est sorti"), "/oppositions": ("Oppositions", "Oppositions"),
    "/worklists": ("Worklists", "Listes de travail"), "/ledger": ("Ledger", "Registre"),
    "/connection": ("Connection", "Connexion"),
}  # fmt: skip


def everywhere(site: Site, page: Any, lang: str, name: str) -> None:
    """Every page of a steward, by axe, with its pictures."""
    for path, heads in HEADS.items():
        page.goto(site.url + path)
        expect(page.get_by_role("heading", name=heads[lang == "fr"], level=1)).to_be_visible()
        checked(page)
        shot(page, f"{path.strip('/') or 'home'}-{name}")
    page.goto(f"{site.url}/studies/{site.study.hash}")
    for summary in page.locator("summary.button").all():
        summary.click()
    checked(page)
    shot(page, f"study-{name}")


def test_every_page_on_a_telephone_in_the_dark_in_french(site: Site, visit: Any) -> None:
    page = visit(color_scheme="dark", locale="fr-FR", viewport={"width": 360, "height": 700})
    everywhere(site, page, "fr", "dark-fr-360")
    expect(page.get_by_text("Votre décision")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("width", [360, 1100])
def test_every_page_is_for_everybody(site: Site, visit: Any, look: str, lang: str, width: int) -> None:
    locale = {"en": "en-GB", "fr": "fr-FR"}[lang]
    page = visit(color_scheme=look, locale=locale, viewport={"width": width, "height": 700})
    everywhere(site, page, lang, f"{look}-{lang}-{width}")
