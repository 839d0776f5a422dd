"""The research console without a browser: studies while they are written, settings, and what is served."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("joserfc")
pytest.importorskip("sqlalchemy")

import httpx
from typer.testing import CliRunner

import serve_pages as pages
from confrere.console.coordinator import app
from confrere.console.pages import drafts
from confrere.console.pages.languages import Tongue
from confrere.console.pages.research import settings
from confrere.console.pages.researcher import why
from confrere.console.pages.starts import STARTS
from confrere.coordinator.book import SCOPES, Book
from confrere.coordinator.home import Home
from confrere.errors import StudyError
from confrere.rounds import installed
from confrere.study.file import LARGEST, parse
from serve_research import COX, FIRST

# Studies while they are written -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", installed())
def test_every_method_has_a_study_to_begin_with(method: str) -> None:
    """Nothing is to be mended in it, and what would leave is known."""
    text = drafts.started(method)
    made = drafts.checked(text)
    assert made.faults == ()
    assert made.study is not None
    assert made.study.analyses[0].method == method
    assert '"..."' not in text
    found = drafts.leaving(made.study)
    assert found.entries or found.unreached


def test_of_a_plug_in_the_settings_it_must_have_are_left_to_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(STARTS, "effect")
    text = drafts.started("effect")
    assert re.findall(r'^(\w+) = "\.\.\."$', text, re.MULTILINE) == ["treatment", "outcome", "confounders"]
    assert parse(text).analyses[0].method == "effect"
    with pytest.raises(StudyError, match="no-such"):
        drafts.started("no-such")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (FIRST.replace("purpose", "purp"), 4, "did you mean 'purpose'?"),
        (FIRST.replace("formula", "formul"), 10, "did you mean 'formula'?"),
        (FIRST.replace('"logistic"', '"logistik"'), 9, "did you mean 'logistic'?"),
        (FIRST.replace("recur ~", "open('/etc/passwd') ~"), 10, "not an allowed function"),
        ("a =\n", 1, "not valid TOML"),
        ("", None, "[study] is missing"),
        ("\x00", 1, "not valid TOML"),
        ("#" * (LARGEST + 1), None, "too large"),
    ],
)
def test_a_fault_has_its_line(text: str, line: int | None, said: str) -> None:
    made = drafts.checked(text)
    assert made.study is None
    (fault,) = made.faults
    assert fault.line == line
    assert said.lower() in fault.sentence.lower()
    assert (line in dict(fault.around)) == (line is not None)
    assert len(fault.around) <= 2 * drafts.AROUND + 1


def test_every_analysis_is_checked() -> None:
    second = FIRST[FIRST.index("[[analysis]]") :].replace("risk", "second").replace("~", "~~")
    made = drafts.checked(FIRST.replace('"logistic"', '"x"') + second)
    assert [fault.line for fault in made.faults] == [9, 14]


def test_two_studies_have_their_own_manifests_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "KEPT", 1)
    drafts._known.clear()
    one, other = (drafts.leaving(parse(text, "")) for text in (FIRST, COX))
    assert one != other
    assert list(drafts._known.values()) == [other]
    assert drafts.leaving(parse(FIRST, "")) == one


def test_what_is_too_large_to_try_out_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST", 1)
    second = FIRST[FIRST.index("[[analysis]]") :].replace("risk", "second")
    fine = '[disclosure]\nallow = ["fine_times"]\n[data]\ntime_step = 1'
    for text in (FIRST + second, COX.replace("[data]", fine), COX.replace("[data]", "[data]\nhorizon = 900000")):
        with pytest.raises(StudyError, match="larger than a page may try out"):
            drafts.leaving(parse(text, ""))


def test_reasons_are_told_in_french_where_they_are_usual() -> None:
    fr = Tongue("fr")
    said = {text: why(text, fr) for text in (
        "waiting for the stewards of curie, lyon to decide", "waiting for curie", "cancelled by the researcher",
        "curie did not answer (Timeout)", "something else", "",
    )}  # fmt: skip
    assert list(said.values()) == [
        "attend la décision des responsables de curie, lyon", "attend curie", "annulée par le chercheur",
        "curie n’a pas répondu", "something else", "",
    ]  # fmt: skip
    assert why("waiting for <b>", Tongue("en")) == "waiting for <b>"


# Settings -----------------------------------------------------------------------------------------------------

IDENTITY = """[identity]
address = "https://confrere.example"
issuer = "https://login.example"
client_id = "confrere"
roles = {researcher = ["lab"]}
"""


def home_of(path: Path, text: str = "") -> Home:
    made = Home.make(path / "coordinator")
    (made.path / "coordinator.toml").write_text(text)
    return Home(made.path)


def test_who_signs_in_stands_in_the_coordinators_settings(tmp_path: Path) -> None:
    home = home_of(tmp_path, "runs = 2\n[pages]\nport = 9000\n" + IDENTITY)
    assert settings(home).roles == {"researcher": ("lab",)}
    assert (home.settings["pages.port"], home.settings["runs"], home.certificate) == (9000, 2, None)
    assert settings(home_of(tmp_path / "alone")).alone


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('identity = "x"', r"write \[identity\] as a table"),
        ("[pages]\nport = 'x'", "pages.port must be a int"),
        ("[pages]\nprt = 1", "did you mean 'pages.port'"),
        ("[identity]\nissuer = 'https://login.example'", "needs address, client_id, roles"),
        ("[pages]\ncertificate = 'x.crt'", "needs both certificate and key"),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, text: str, said: str) -> None:
    def wrong() -> object:
        made = home_of(tmp_path, text)
        return settings(made), made.certificate

    with pytest.raises(StudyError, match=said):
        wrong()


def test_the_pages_certificate_is_relative_to_the_folder(tmp_path: Path) -> None:
    home = home_of(tmp_path, "[pages]\ncertificate = 'x.crt'\nkey = '/keys/x.key'")
    assert home.certificate == (home.path / "x.crt", Path("/keys/x.key"))


# Commands -----------------------------------------------------------------------------------------------------


def test_a_token_of_the_command_line_has_scopes_an_end_and_a_name(tmp_path: Path) -> None:
    pytest.importorskip("nvflare")
    home = home_of(tmp_path)
    at, run = ["--home", str(home.path)], CliRunner()
    short = run.invoke(app, ["token", "ada", "--scope", "read", "--days", "2", "--label", "notebook", *at])
    whole = run.invoke(app, ["token", "ada", *at])
    assert (short.exit_code, whole.exit_code) == (0, 0)
    book = Book(home.database)
    one, other = book.tokens("ada")
    assert (one.label, one.scopes, round((one.expires - one.made) / 86400)) == ("notebook", ("read",), 2)
    assert (other.scopes, round((other.expires - other.made) / 86400)) == (SCOPES, 365)
    assert book.researcher(short.stdout.strip(), "submit") is None
    book.close()
    for wrong in (["--scope", "all"], ["--days", "0"], ["--days", "366"], ["--days", "nan"]):
        said = run.invoke(app, ["token", "ada", *wrong, *at])
        assert isinstance(said.exception, StudyError)


def test_the_pages_alone_are_served_until_stopped(tmp_path: Path) -> None:
    """By the command, on this machine, for the one person who has the link."""
    pytest.importorskip("nvflare")
    home, port = home_of(tmp_path), pages.free()
    words = [sys.executable, "-m", "confrere", "coordinator", "pages", "--port", str(port), "--home", str(home.path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        with httpx.Client(follow_redirects=True) as client:
            end = time.monotonic() + 30
            while True:
                try:
                    said = client.get(found[0])
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < end
                    time.sleep(0.1)
            assert (said.status_code, "API tokens" in said.text, "Airlock" in said.text) == (200, True, False)
            assert client.get(f"http://127.0.0.1:{port}/studies").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()
    assert '"sign-in"' in (home.path / "pages.jsonl").read_text()


def test_nobody_alone_listens_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("nvflare")
    home = home_of(tmp_path, '[pages]\nlisten = "0.0.0.0"\n')
    said = CliRunner().invoke(app, ["pages", "--port", str(pages.free()), "--home", str(home.path)])
    assert isinstance(said.exception, StudyError)
    assert "127.0.0.1 only" in str(said.exception)
