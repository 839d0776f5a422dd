"""Certificates of the transport are renewed before they end: identity, roster and findings stay as they are."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from typer.testing import CliRunner

pytest.importorskip("nvflare", reason="needs the extra `federation`")

from confrere.console.app import app
from confrere.hospital.home import Home
from confrere.kits import KitError, ending

if TYPE_CHECKING:
    from engines.flare import Machines


def said(*words: object) -> str:
    """What a command prints, once it has done what it should."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def certified(place: Path, side: str, home: Path, days: int) -> str:
    """What `install` says after the authority has signed a site's requests anew."""
    requests = sorted(home.glob("*.request.zip"))
    said("authority", "approve", *requests, "--days", days, "--home", place / "authority")
    digits = said("authority", "fingerprint", "--home", place / "authority").strip()
    answers = sorted(home.glob("*.signed.zip"))
    return said(side, "install", *answers, "--fingerprint", digits, "--home", home)


def founded(place: Path, days: int) -> tuple[Path, Path]:
    """The folders of a hospital and a coordinator, certified for so many days by an authority."""
    said("authority", "init", "test", "--host", "localhost", "--home", place / "authority")
    profile, hospital, coordinator = place / "authority" / "federation.json", place / "curie", place / "coordinator"
    said("hospital", "init", "curie", "--federation", profile, "--home", hospital)
    said("coordinator", "init", "--federation", profile, "--home", coordinator)
    certified(place, "hospital", hospital, days)
    certified(place, "coordinator", coordinator, days)
    return hospital, coordinator


def kit(home: Path) -> Path:
    return home / "engine" / "site" / "startup"


def certificate(home: Path) -> x509.Certificate:
    (file,) = (kit(home) / name for name in ("server.crt", "client.crt") if (kit(home) / name).exists())
    return x509.load_pem_x509_certificate(file.read_bytes())


def met(hospital: Path, coordinator: Path) -> str:
    """Whom the coordinator sees when a hospital connects with what lies in its folder. SSLError where it is nobody."""
    theirs, ours = (ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    for context, home, name in ((theirs, coordinator, "server"), (ours, hospital, "client")):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(kit(home) / "rootCA.pem")
        context.load_cert_chain(kit(home) / f"{name}.crt", kit(home) / f"{name}.key")
    near, far = socket.socketpair()
    seen: list[str] = []

    def answer() -> None:
        try:
            with theirs.wrap_socket(far, server_side=True) as served:
                shown = x509.load_der_x509_certificate(served.getpeercert(binary_form=True) or b"")
                named = shown.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
                served.sendall(str(named).encode())
        except ssl.SSLError:
            far.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with near, ours.wrap_socket(near) as connected:
            seen.append(connected.recv(100).decode())
    finally:
        thread.join()
    return seen[0]


def test_a_certificate_is_renewed_and_nothing_else_changes(tmp_path: Path) -> None:
    hospital, coordinator = founded(tmp_path, days=30)
    assert met(hospital, coordinator) == "curie"
    before, identity = certificate(hospital), Home(hospital).identity.public
    assert "ends on" in ending(kit(hospital).parent)  # what `confrere hospital serve` says of it
    assert str(before.not_valid_after_utc.date()) in ending(kit(hospital).parent)
    said("hospital", "renew", "--home", hospital)
    assert certificate(hospital) == before
    assert met(hospital, coordinator) == "curie"  # the old one holds until the new one is laid in
    until = (datetime.now(UTC) + timedelta(days=700)).date()
    assert f"until {until}" in certified(tmp_path, "hospital", hospital, 700)
    after = certificate(hospital)
    assert after.serial_number != before.serial_number
    assert after.public_key() != before.public_key()  # a new key, born here
    assert (kit(hospital) / "client.key").stat().st_mode & 0o077 == 0
    assert ending(kit(hospital).parent) == ""
    assert met(hospital, coordinator) == "curie"
    assert Home(hospital).identity.public == identity
    said("coordinator", "renew", "--home", coordinator)
    old = certificate(coordinator)
    certified(tmp_path, "coordinator", coordinator, 700)
    assert certificate(coordinator) != old
    assert met(hospital, coordinator) == "curie"


def test_an_answer_of_another_authority_is_not_laid_in(tmp_path: Path) -> None:
    hospital, coordinator = founded(tmp_path, days=700)
    before, digits = certificate(hospital), said("authority", "fingerprint", "--home", tmp_path / "authority").strip()
    said("hospital", "renew", "--home", hospital)
    other = tmp_path / "other"
    said("authority", "init", "test", "--host", "localhost", "--home", other / "authority")
    said("authority", "approve", hospital / "curie.request.zip", "--home", other / "authority")
    with pytest.raises(KitError):
        said("hospital", "install", hospital / "curie.signed.zip", "--fingerprint", digits, "--home", hospital)
    assert certificate(hospital) == before
    assert met(hospital, coordinator) == "curie"
    certified(other, "hospital", hospital, 700)  # somebody who was told the other one's fingerprint
    with pytest.raises(ssl.SSLError):
        met(hospital, coordinator)


@pytest.mark.parametrize(("jobs", "beats"), [([], 2), (["a-run"], 4)])
def test_a_hospital_that_is_not_answered_signs_in_anew_whatever_jobs_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: list[str], beats: int
) -> None:
    """Later while it has jobs, which end by it; and never while every second heartbeat is answered."""
    from nvflare.apis.event_type import EventType

    from confrere.hospital import flare

    ended: list[int] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setenv(flare.HOME, str(tmp_path))
    monkeypatch.setattr(flare, "vitals", lambda home: {})
    monkeypatch.setattr(flare.os, "_exit", ended.append)
    monkeypatch.setattr(flare.time, "monotonic", lambda: clock.now)
    engine = SimpleNamespace(get_all_job_ids=lambda: jobs)
    context = SimpleNamespace(get_engine=lambda: engine, set_prop=lambda *given, **more: None)

    def beat(pulse: flare.Pulse, seconds: float, returned: bool = True) -> None:
        """A heartbeat that took so long; the engine says that it was sent whether or not an answer came in time."""
        pulse.handle_event(EventType.BEFORE_CLIENT_HEARTBEAT, context)
        clock.now += seconds
        if returned:
            pulse.handle_event(EventType.AFTER_CLIENT_HEARTBEAT, context)

    for returned in (True, False):
        pulse = flare.Pulse()
        for _ in range(beats):
            beat(pulse, 30.0, returned)
        assert ended == []
        beat(pulse, 30.0, returned)
        assert ended == [1]
        ended.clear()
    pulse = flare.Pulse()
    for _ in range(20):
        beat(pulse, 30.0)
        beat(pulse, 0.1)
    assert ended == []


@pytest.mark.slow
def test_a_federation_goes_on_after_its_certificates_were_renewed(federation: Machines) -> None:
    """A hospital's while it serves; the coordinator's, which it reads when it starts, between two starts."""
    from engines.flare import study_of, until

    place, name = federation.place, "gouda"
    hospital, coordinator = federation.home(name), federation.home("coordinator")
    before = certificate(hospital), certificate(coordinator)
    said("hospital", "renew", "--home", hospital)
    certified(place, "hospital", hospital, 700)
    federation.freeze(name)  # its connection is lost, and it connects anew
    until(lambda: name not in federation.seen(), "it is still connected", every=0.2)
    federation.thaw(name)
    federation.up()
    federation.stop("coordinator")  # hospitals go on; the new one does not know that it let them in
    said("coordinator", "renew", "--home", coordinator)
    certified(place, "coordinator", coordinator, 700)
    federation.up()
    text = study_of("renewed")
    assert federation.found(federation.submit(text), text) == federation.memory(text)
    assert (certificate(hospital), certificate(coordinator)) != before
    federation.stop(name)
    federation.up()  # with the new one from the start
    text = study_of("renewed again")
    assert federation.found(federation.submit(text), text) == federation.memory(text)


@pytest.mark.slow
def test_a_run_under_way_goes_on_after_the_coordinators_certificate_was_renewed(federation: Machines) -> None:
    """Hospitals whose job goes on are let in anew as well: the engine never tells them that their job is over."""
    from engines.flare import HOSPITALS, study_of, until

    coordinator, text = federation.home("coordinator"), study_of("renewed in a run", 3)
    run = federation.submit(text)
    federation.reach(run, 3)
    federation.kill("coordinator")  # nobody is left to say to hospitals that their job is over
    said("coordinator", "renew", "--home", coordinator)
    certified(federation.place, "coordinator", coordinator, 700)
    federation.start("coordinator")
    until(lambda: set(federation.seen()) == set(HOSPITALS), "not all have signed in anew", seconds=400, every=0.5)
    assert federation.found(run, text) == federation.memory(text)
