"""The research console as people use it: studies from upload to a released report, in a real browser.

Three hospitals compute in this process. Chromium is the system's; without one these tests are skipped, and say so.
With CONFRERE_SHOTS=FOLDER they leave pictures there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("sqlalchemy")
pytest.importorskip("axe_playwright_python")
pytest.importorskip("playwright")

import httpx

import serve_research as research
from confrere.analyses.learning.forest import Forest
from confrere.console.pages.sessions import Person
from confrere.coordinator.airlock import Rule
from confrere.coordinator.release import checks as output_checks
from confrere.data.opposition import Said
from confrere.hospital.home import Home
from confrere.study.file import parse
from journeys import browser
from journeys.browser import checked, expect, shot
from serve_research import ADA, BOB, BOTH, COX, FIRST, GRACE, IDA, SECOND, Site, study

pytestmark = browser.needed
TREES = """[study]
id = "trees"
title = "Who relapses, by trees"
purpose = "public-interest research"
[data]
table = "breast"
[disclosure]
allow = ["histograms"]
[[analysis]]
name = "risk"
method = "boosting"
outcome = "recur"
features = ["age", "nodes"]
trees = 2
depth = 2
"""
EVIL = '<script>document.title="owned"</script><b>x</b>'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A federation whose airlock asks for one reader; the first study is approved."""
    with research.served(tmp_path_factory.mktemp("research")) as made:
        yield made


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Callable[..., Any]]:
    """Opens a browser in which a person is signed in; nothing may be written to its console, as of a blocked style."""
    with browser.visiting(chromium) as opened:

        def open_(person: Person, path: str = "", **given: Any) -> Any:
            page = opened([{"name": "confrere", "value": site.store.begin(person).id, "url": site.url}], **given)
            page.goto(site.url + path)
            return page

        yield open_


def submitted(page: Any, site: Site, text: str) -> str:
    """Write a study and submit it; its run."""
    page.goto(site.url + "/studies/new")
    page.fill("#field-text", text)
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(re.compile(r"/studies/[0-9a-f]{16}$"))
    return str(page.url.rsplit("/", 1)[1])


def ended(site: Site, text: str, person: Person = ADA) -> str:
    """Run an approved study to its end, without a browser; its run."""
    run = site.service.submit(text, person.id).run
    return until(site, run, "done")


def until(site: Site, run: str, *states: str) -> str:
    end = time.monotonic() + 60
    while (status := site.service.status(run))["state"] not in states:
        assert time.monotonic() < end, status
        time.sleep(0.02)
    return run


def released(site: Site, run: str) -> str:
    """Have the second reader read and release a run."""
    if site.service.airlock.standing(run).state == "held":
        site.service.airlock.read(run, GRACE.id)
        open_ = sorted({c.check for c in site.service.airlock.standing(run).failing})  # of trees: no attack was tried
        site.service.airlock.release(run, GRACE.id, accept=open_, comment="seen" if open_ else "")
    return run


@pytest.fixture(scope="module")
def two(site: Site) -> tuple[str, str]:
    """Two runs of ada's that are released."""
    site.approve(SECOND)
    first, second = (released(site, ended(site, text)) for text in (FIRST, SECOND))
    return first, second


# The journey of a study ---------------------------------------------------------------------------------------


def test_a_study_from_upload_to_released_report(site: Site, visit: Any, tmp_path: Path) -> None:
    site.approve(COX)
    ada = visit(ADA, "/")
    ada.get_by_role("link", name="Studies").first.click()
    checked(ada, "studies-empty")
    ada.get_by_role("link", name="New study").click()
    ada.select_option("#field-method", "kaplan_meier")
    ada.get_by_role("button", name="Fill in").click()
    assert 'method = "kaplan_meier"' in ada.input_value("#field-text")

    file = tmp_path / "study.toml"
    file.write_text(COX)
    ada.set_input_files("#field-file", file)
    ada.get_by_role("button", name="Check", exact=True).click()
    expect(ada.get_by_text("There is nothing to mend in this text.")).to_be_visible()
    assert ada.input_value("#field-text") == COX
    ada.get_by_text("Every array", exact=True).click()
    expect(ada.get_by_role("row", name="cox").first).to_be_visible()
    assert parse(COX, "").hash in ada.content()
    checked(ada, "checked")

    ada.get_by_role("button", name="Submit", exact=True).click()
    ada.get_by_text("Ask for release").wait_for()  # the page looks by itself
    checked(ada, "held")
    run = ada.url.rsplit("/", 1)[1]
    assert httpx.get(f"{ada.url}/report", cookies=cookies(site, ADA)).status_code == 503
    assert httpx.get(f"{ada.url}/files/result.json", cookies=cookies(site, ADA)).status_code == 503
    ada.fill("#field-word", f"For the meeting {EVIL}")
    ada.get_by_role("button", name="Send it to the readers").click()

    grace = visit(GRACE, "/airlock")
    checked(grace, "airlock")
    grace.get_by_role("link", name="Hormone therapy and recurrence").click()
    expect(grace.get_by_text(EVIL)).to_be_visible()
    assert "0.98" not in grace.inner_text("main")
    checked(grace, "airlock-checks")
    grace.get_by_role("button", name="Read the findings").click()
    sha256 = site.service.airlock.standing(run).sha256
    expect(grace.get_by_text(sha256)).to_be_visible()
    checked(grace, "airlock-findings")
    grace.get_by_role("link", name="Open the report").click()
    expect(grace.get_by_text("This result is not released")).to_be_visible()
    grace.go_back()
    grace.fill("#field-comment", "Read with care.")
    grace.get_by_role("button", name="Release these findings").click()
    expect(grace.get_by_text("You have released the findings.")).to_be_visible()

    ada.reload()
    expect(ada.get_by_text("Released by grace. Comment: Read with care.")).to_be_visible()
    expect(ada.get_by_role("cell", name=re.compile(r"0\.9\d+ \(")).first).to_be_visible()
    checked(ada, "released")
    ada.get_by_text("Files", exact=True).click()
    with ada.expect_download() as download:
        ada.get_by_role("link", name="result.json").click()
    assert json.loads(Path(download.value.path()).read_text())["release"]["sha256"] == sha256
    ada.get_by_role("link", name="Open the report").click()
    expect(ada.get_by_role("heading", name="Hormone therapy and recurrence")).to_be_visible()
    assert ada.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily").startswith("Charter")


def test_a_refusal_by_a_hospital(site: Site, visit: Any) -> None:
    text = study("refused-by-delft", title="Not at Delft")
    ada = visit(ADA, "/studies/new")
    submitted(ada, site, text)
    ada.get_by_text("waiting for the stewards of curie, delft, lyon to decide").wait_for()
    hash = parse(text, "").hash
    for name in ("curie", "lyon"):
        site.homes[name].approve(text)
    site.homes["delft"].refuse(hash, why="patient 4711 would be known")
    ada.get_by_role("button", name="Submit again").or_(ada.get_by_text("Submit again")).first.wait_for()
    said = ada.inner_text("main")
    assert "refused" in said.lower()
    assert "4711" not in ada.content()
    checked(ada, "refused")


def slow(site: Site, page: Any, text: str) -> str:
    """A study that takes its time, in its second round or later."""
    site.approve(text)
    site.engine._pace = 0.2
    run = submitted(page, site, text)
    end = time.monotonic() + 30
    while site.service.home.folder(run).progress.get("round", 0) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    return run


def test_a_stop_in_mid_run_and_rounds_live(site: Site, visit: Any) -> None:
    ada = visit(ADA, "/studies/new")
    run = slow(site, ada, study("stopped", "Surv(rtime, recur) ~ hormon + age", "cox", "To be stopped"))
    try:
        ada.get_by_role("table", name="Rounds").wait_for()
        checked(ada, "live")
        ada.get_by_text("Stop the run", exact=True).click()
        ada.get_by_role("button", name="Stop it").click()
        ada.get_by_text("The run is stopped before its next round.").wait_for()
    finally:
        site.engine._pace = 0.0
    until(site, run, "cancelled")
    ada.locator(".state", has_text="cancelled").wait_for()
    assert not (site.service.home.folder(run).path / "found").exists()


def test_an_opposition_between_two_rounds_stops_the_run(chromium: Any, tmp_path: Path) -> None:
    """The researcher reads that a hospital said no, and nothing of whom it is about."""
    with research.served(tmp_path) as site:
        context = chromium.new_context()
        context.add_cookies([{"name": "confrere", "value": site.store.begin(ADA).id, "url": site.url}])
        page = context.new_page()
        run = slow(site, page, FIRST)
        somebody = (site.homes["lyon"].path / "breast.csv").read_text().splitlines()[7].split(",")[0]
        Home(site.homes["lyon"].path).oppositions.say(Said(somebody, "*", "opposed", "2026-11-22", "letter"))
        site.engine._pace = 0.0
        until(site, run, "refused")
        page.get_by_text("Submit again", exact=True).wait_for()
        assert not (site.service.home.folder(run).path / "found").exists()
        assert "oppos" not in page.content().lower()
        shot(page, "opposed")
        context.close()


def test_french(site: Site, visit: Any) -> None:
    page = visit(
        ADA, "/studies/new?method=cox", locale="fr-FR", viewport={"width": 360, "height": 700}, color_scheme="dark"
    )
    assert page.locator("html").get_attribute("lang") == "fr"
    page.fill("#field-text", FIRST.replace("formula", "formul"))
    page.get_by_text("Ligne 10").wait_for()
    checked(page, "fr-faulty")
    text = study("en-francais", title="Étude en français")
    page.fill("#field-text", text)
    page.get_by_role("button", name="Vérifier").click()
    expect(page.get_by_text("Ce qui sortirait de chaque hôpital").first).to_be_visible()
    checked(page, "fr-checked")
    page.get_by_role("button", name="Soumettre", exact=True).click()
    page.get_by_text("attend la décision des responsables de curie, delft, lyon").wait_for()
    checked(page, "fr-waiting")


# Reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "width"),
    [("light", 360), *(pytest.param(*rest, marks=pytest.mark.slow) for rest in (("dark", 1100), ("dark", 360)))],
)
def test_pages_are_for_everybody(site: Site, visit: Any, two: tuple[str, str], look: str, width: int) -> None:
    given = {"color_scheme": look, "viewport": {"width": width, "height": 700}}
    page = visit(ADA, f"/studies/{two[1]}", **given)
    for part in page.locator("details:not(.confirm) > summary").all():
        if not part.evaluate("e => e.parentElement.open"):
            part.click()
    checked(page, f"run-{look}-{width}")
    page.select_option("#field-to", two[0])
    page.get_by_role("button", name="Compare").click()
    assert page.get_by_role("row", name="hormon").get_by_role("cell").count() == 5
    assert page.get_by_role("row", name="nodes").get_by_role("cell").all_inner_texts()[2:] == ["–", "–", "–"]
    checked(page, f"compare-{look}-{width}")
    page = visit(IDA, "/operations", **given)
    expect(page.get_by_role("row", name=re.compile("^curie"))).to_be_visible()
    checked(page, f"operations-{look}-{width}")


def test_it_is_read_without_a_script(site: Site, visit: Any, two: tuple[str, str]) -> None:
    page = visit(ADA, "/studies", java_script_enabled=False)
    page.get_by_role("link", name="Who relapses", exact=True).click()
    expect(page.get_by_role("cell", name=re.compile(r"1\.25 \(")).first).to_be_visible()
    page.goto(site.url + "/studies/new")
    page.fill("#field-text", "a =\n")
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_text("Line 1.", exact=True)).to_be_visible()


# Who may, and what is hostile ---------------------------------------------------------------------------------


def cookies(site: Site, person: Person) -> dict[str, str]:
    return {"confrere": site.store.begin(person).id}


def test_a_run_is_its_researchers_alone(site: Site, two: tuple[str, str]) -> None:
    """For anybody else there is no such page, whatever it is."""
    run = two[0]
    session = site.store.begin(BOB)
    with httpx.Client(base_url=site.url, cookies={"confrere": session.id}) as bob:
        paths = ["", "/live", "/leaves", "/report", "/files/result.json", f"/compare?to={run}"]
        assert {bob.get(f"/studies/{run}{path}").status_code for path in paths} == {404}
        assert bob.get(f"/studies/new?like={run}").status_code == 404
        for deed in ("cancel", "again", "ask"):
            said = bob.post(f"/studies/{run}/{deed}", data={"csrf": session.csrf, "word": "x"})
            assert said.status_code == 404
        assert run not in bob.get("/studies").text
        assert {bob.get(path).status_code for path in ("/airlock", f"/airlock/{run}", "/operations")} == {403}
        again = bob.post("/studies/new", data={"csrf": session.csrf, "text": FIRST, "do": "submit"})
        assert (again.status_code, "another researcher" in again.text) == (422, True)
    own = f"/studies/{run}/compare?to=none"
    assert httpx.get(site.url + own, cookies=cookies(site, ADA)).status_code == 404


def test_roles_are_kept_apart(site: Site, two: tuple[str, str]) -> None:
    run = two[0]
    closed = {
        GRACE: ["/studies", f"/studies/{run}", "/tokens", "/operations"],
        IDA: ["/studies", f"/studies/{run}/report", "/airlock", f"/airlock/{run}/findings"],
    }
    for person, paths in closed.items():
        known = cookies(site, person)
        assert {httpx.get(site.url + path, cookies=known).status_code for path in paths} == {403}
    assert "hormon" not in httpx.get(site.url + "/operations", cookies=cookies(site, IDA)).text


def test_nobody_reads_what_they_asked_for(site: Site, two: tuple[str, str]) -> None:
    """Also with both roles; and nobody releases what they have not read."""
    run, session = two[0], site.store.begin(BOTH)
    with httpx.Client(base_url=site.url, cookies={"confrere": session.id}) as both:
        assert {both.get(f"/airlock/{run}{path}").status_code for path in ("", "/findings", "/report")} == {403}
        for deed in ("read", "release", "reject"):
            data = {"csrf": session.csrf, "sha256": site.service.airlock.standing(run).sha256, "comment": "x"}
            assert both.post(f"/airlock/{run}/{deed}", data=data).status_code == 403


def test_what_was_read_is_what_is_released(site: Site) -> None:
    """Findings that changed in between are not released, nor what another person read."""
    text = study("read-and-changed")
    site.approve(text)
    run, session = ended(site, text), site.store.begin(GRACE)
    sha256 = site.service.airlock.standing(run).sha256
    file = site.service.home.folder(run).path / "found"
    with httpx.Client(base_url=site.url, cookies={"confrere": session.id}) as grace:
        release = {"csrf": session.csrf, "sha256": sha256}
        assert grace.get(f"/airlock/{run}/findings").headers["location"] == f"/airlock/{run}"
        assert grace.get(f"/airlock/{run}/report").status_code == 403
        assert grace.post(f"/airlock/{run}/release", data=release).headers.get("location") == f"/airlock/{run}"
        assert grace.post(f"/airlock/{run}/read", data=release).status_code == 303
        assert grace.post(f"/airlock/{run}/release", data=release | {"sha256": "0" * 64}).status_code == 403
        before = file.read_bytes()
        file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert grace.post(f"/airlock/{run}/release", data=release).status_code == 403
        assert grace.get(f"/airlock/{run}/findings").status_code == 403
        file.write_bytes(before)
        assert grace.post(f"/airlock/{run}/release", data=release).headers["location"] == "/airlock"
    assert site.service.airlock.standing(run).readers == ("grace",)
    file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    said = httpx.get(f"{site.url}/studies/{run}", cookies=cookies(site, ADA)).text
    assert "Nothing is given out" in said
    assert "1.25" not in said
    file.write_bytes(before)


def test_a_check_that_did_not_pass_is_let_through_by_name_or_rejected(
    site: Site, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule is made harsh, so that counts of our patients are small ones."""
    harsh = "confrere.coordinator.release.checks"
    monkeypatch.setattr(harsh, lambda findings, rule: output_checks(findings, Rule(5000, rule.allow)))
    texts = [study("let-through", title="Let through"), study("to-reject", title="To reject")]
    site.approve(*texts)
    first, second = (ended(site, text) for text in texts)
    grace = visit(GRACE, f"/airlock/{first}")
    expect(grace.get_by_role("cell", name="not passed").first).to_be_visible()
    grace.get_by_role("button", name="Read the findings").click()
    grace.get_by_role("button", name="Release these findings").click()
    assert "did not pass" in grace.get_by_role("alert").inner_text()
    checked(grace, "airlock-not-passed")
    for box in grace.locator("input[name=accept]").all():
        box.check()
    grace.fill("#field-comment", "Agreed with the steward.")
    grace.get_by_role("button", name="Release these findings").click()
    grace.get_by_text("You have released the findings.").wait_for()
    grace.goto(f"{site.url}/airlock/{second}")
    grace.get_by_role("button", name="Read the findings").click()
    grace.get_by_text("Reject", exact=True).click()
    grace.fill("#field-why", f"Merge the levels {EVIL}")
    grace.get_by_role("button", name="Reject these findings").click()
    ada = visit(ADA, f"/studies/{second}")
    expect(ada.get_by_text(f"Merge the levels {EVIL}")).to_be_visible()
    assert ada.title().startswith("To reject")
    checked(ada, "rejected")
    assert httpx.get(f"{site.url}/studies/{second}/report", cookies=cookies(site, ADA)).status_code == 403


HOSTILE = [
    EVIL, "{{7*7}}{% raw %}", "' OR 1=1 --", "../../../etc/passwd", "%00", "\x00", "\u202e", "=cmd|'/c calc'!A1",
    "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_injection_in_every_field(site: Site, two: tuple[str, str], value: str) -> None:
    """Whatever is written comes back as text, or is refused in words; never a fault of ours, never markup."""
    session = site.store.begin(ADA)
    with httpx.Client(base_url=site.url, cookies={"confrere": session.id}, timeout=30.0) as ada:
        toml = json.dumps(value)
        texts = [value, FIRST.replace('"Who relapses"', toml), FIRST.replace('"recur ~ hormon + age"', toml)]
        texts += [FIRST.replace(f'"{word}"', toml) for word in ("first", "risk", "logistic", "breast")]
        answers = [ada.post("/studies/new", data={"csrf": session.csrf, "text": t, "do": "check"}) for t in texts]
        answers += [ada.post("/studies/check", data={"csrf": session.csrf, "text": t}) for t in texts]
        answers.append(ada.post(f"/studies/{two[0]}/ask", data={"csrf": session.csrf, "word": value}))
        for field in ("method", "like"):
            answers.append(ada.get("/studies/new", params={field: value}))
        answers += [
            ada.get(f"/studies/{two[0]}/compare", params={"to": value}),
            ada.get("/studies", params={"csv": value}),
        ]
        files = {"file": (value.replace("\x00", "0"), FIRST.encode(), "text/plain")}
        answers.append(ada.post("/studies/new", data={"csrf": session.csrf, "do": "check"}, files=files))
    assert {answer.status_code for answer in answers} <= {200, 400, 404, 422}
    assert not [a for a in answers if "<script>document" in a.text or "<b>x</b>" in a.text or ">49" in a.text]


@pytest.mark.parametrize(
    "name",
    ["../found", "..%2ffound", "%2e%2e/study.toml", "tables/../../journal", "/etc/passwd", "result.json%00", "tables",
     "..\\found", "tables/%2e%2e/%2e%2e/%2e%2e/found", "result.json/..", ".", "figures//x", "nothing.csv"],
)  # fmt: skip
def test_no_path_leads_out_of_a_report(site: Site, two: tuple[str, str], name: str) -> None:
    known = cookies(site, ADA)
    answer = httpx.get(f"{site.url}/studies/{two[0]}/files/{name}", cookies=known)
    assert answer.status_code == 404
    kept = httpx.get(f"{site.url}/studies/{two[0]}/files/tables/risk_coefficients.csv", cookies=known)
    assert (kept.status_code, kept.headers["content-disposition"]) == (
        200,
        'attachment; filename="risk_coefficients.csv"',
    )


def test_a_model_comes_with_what_was_released(site: Site) -> None:
    """The files of the model, listed on the page of the run, and the same that its report tells of."""
    site.approve(TREES)
    run = ended(site, TREES)
    at = f"/studies/{run}"
    with httpx.Client(base_url=site.url, cookies=cookies(site, ADA), timeout=60) as ada:
        assert ada.get(f"{at}/files/models/risk.json").status_code == 503
        released(site, run)
        listed = re.findall(rf'href="({at}/files/models/[^"]+)" download', ada.get(at).text)
        kinds = ["json", "card.md", "xgboost.json", "onnx"]
        assert [path.rpartition("/")[2] for path in listed] == [f"risk.{kind}" for kind in kinds]
        plain, card, boosted, onnx = (ada.get(path) for path in listed)
        (analysis,) = ada.get(f"{at}/files/result.json").json()["analyses"]
    assert plain.headers["content-disposition"] == 'attachment; filename="risk.json"'
    assert plain.json()["card"]["model"]["sha256"] in card.text
    assert Forest.from_plain(plain.json()).sha256 == analysis["facts"]["model_sha256"]
    assert analysis["facts"]["model_sha256"].encode() in onnx.content
    assert len(boosted.json()["learner"]["gradient_booster"]["model"]["trees"]) == analysis["facts"]["trees"]


def test_uploads_have_a_bound_and_forms_their_token(site: Site) -> None:
    session = site.store.begin(ADA)
    with httpx.Client(base_url=site.url, cookies={"confrere": session.id}) as ada:
        token = {"csrf": session.csrf, "do": "submit"}
        for size, statuses in ((1_000_001, {422}), (3_000_000, {413})):
            huge = ada.post("/studies/new", data=token, files={"file": ("s.toml", b"#" * size, "text/plain")})
            assert huge.status_code in statuses
        latin = ada.post("/studies/new", data=token, files={"file": ("s.toml", b"\xe9", "text/plain")})
        assert (latin.status_code, "UTF-8" in latin.text) == (422, True)
        count = len(site.service.book.all())
        for deed in ("/studies/new", "/studies/check", "/studies/x/cancel", "/studies/x/again", "/studies/x/ask"):
            assert ada.post(deed, data={"text": FIRST, "do": "submit"}).status_code == 419
        for deed in ("read", "release", "reject"):
            assert ada.post(f"/airlock/x/{deed}", data={"comment": "x"}).status_code == 419
        assert len(site.service.book.all()) == count


def test_a_report_may_do_nothing(site: Site, two: tuple[str, str]) -> None:
    said = httpx.get(f"{site.url}/studies/{two[0]}/report", cookies=cookies(site, ADA)).headers
    assert "sandbox" in said["content-security-policy"]
    assert "script-src" not in said["content-security-policy"]
    assert (said["x-content-type-options"], said["cache-control"]) == ("nosniff", "no-store")


def test_a_ladder_that_is_too_long_is_not_tried_out(site: Site) -> None:
    """A page that ran it over dummy people would need all the memory there is."""
    text = COX.replace("[data]", '[disclosure]\nallow = ["fine_times"]\n[data]\ntime_step = 1\nhorizon = 900000000')
    session = site.store.begin(ADA)
    data = {"csrf": session.csrf, "text": text, "do": "check"}
    said = httpx.post(f"{site.url}/studies/new", data=data, cookies={"confrere": session.id})
    assert "larger than a page may try out" in said.text
