"""A hospital behind a proxy: its connections go out through it, and the proxy learns nothing of what they say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from confrere.errors import StudyError
from confrere.hospital.home import Home
from confrere.hospital.tunnel import way_out
from confrere.kits import Profile
from engines.proxy import proxy

if TYPE_CHECKING:
    from engines.flare import Machines


@contextmanager
def coordinator() -> Iterator[int]:
    """A port that says back what it hears, in capitals, once it has heard all."""

    def answer() -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            with near:
                near.sendall(near.makefile("rb").read().upper())

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def hospital(place: Path, port: int, transport: str = "") -> Home:
    """A hospital's folder whose coordinator is at a port of this machine."""
    made = Home.make(place, "curie", {"people": "people.csv"})
    Profile("test", "localhost", port).write(place / "federation.json")
    settings = place / "hospital.toml"
    settings.write_text(settings.read_text() + (f"\n[transport]\nproxy = {transport}\n" if transport else ""))
    return Home(made.path)


def said(target: str, what: bytes) -> bytes:
    """What comes back from a place; nothing where the connection is closed."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as near:
        try:
            near.sendall(what)
            near.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: near.recv(1 << 16), b""))
        except OSError:
            return b""


def test_without_a_proxy_the_engine_connects_to_the_coordinator_itself(tmp_path: Path) -> None:
    with way_out(hospital(tmp_path, 8102), print) as target:
        assert target == "localhost:8102"


@pytest.mark.parametrize("word", ["", "curie:sea/horse@9"])
def test_a_connection_goes_through_the_proxy_both_ways(tmp_path: Path, word: str) -> None:
    what = b"answers " * 100_000
    typed = word.replace("/", "%2F").replace("@", "%40") + ("@" if word else "")
    with coordinator() as port, proxy(word) as through:
        home = hospital(tmp_path, port, f'"http://{typed}127.0.0.1:{through.port}"')
        told: list[str] = []
        with way_out(home, told.append) as target:
            assert target != f"localhost:{port}"
            assert said(target, what) == what.upper()
            assert said(target, b"again") == b"AGAIN"
        assert through.asked == [f"CONNECT localhost:{port} HTTP/1.1"] * 2
        assert len(through.carried) == 2 * len(what) + 10
    assert not told
    with pytest.raises(OSError, match="refused"):
        said(target, b"later")  # the port is closed with the process


def test_what_the_proxy_has_against_it_is_said_once_and_without_the_password(tmp_path: Path) -> None:
    told: list[str] = []
    with coordinator() as port, proxy("curie:right") as through:
        home = hospital(tmp_path, port, f'"http://curie:wrong@127.0.0.1:{through.port}"')
        with way_out(home, told.append) as target:
            assert said(target, b"hello") == b""
            assert said(target, b"hello") == b""
    (why,) = told
    assert why.endswith("gives no way to the coordinator: it answered 407 Proxy Authentication Required")
    assert "wrong" not in why


def test_a_proxy_that_is_away_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    with proxy() as gone:
        pass
    with way_out(hospital(tmp_path, 8102, f'"http://127.0.0.1:{gone.port}"'), told.append) as target:
        assert said(target, b"hello") == b""
    assert "127.0.0.1" in told[0]
    assert "refused" in told[0]


@pytest.mark.parametrize("wrong", ['"proxy:3128"', '"https://proxy:3128"', '"http://a:secret@:31x8"', "3128", '["a"]'])
def test_an_address_that_is_none_is_named_and_no_password_said(tmp_path: Path, wrong: str) -> None:
    with (
        pytest.raises(StudyError, match="proxy must be an address") as error,
        way_out(hospital(tmp_path, 8102, wrong), print),
    ):
        pass
    assert "secret" not in str(error.value)


@pytest.mark.slow
def test_a_federation_whose_hospital_is_behind_a_proxy(federation: Machines) -> None:
    from engines.flare import study_of

    name, text = "gouda", study_of("behind a proxy")
    settings = federation.home(name) / "hospital.toml"
    before = settings.read_text(encoding="utf-8")
    port = Profile.read(federation.home(name) / "federation.json").port
    with proxy("gouda:secret") as through:
        federation.stop(name)
        settings.write_text(f'{before}\n[transport]\nproxy = "http://gouda:secret@127.0.0.1:{through.port}"\n')
        try:
            federation.up()
            found = federation.found(federation.submit(text), text)
            ends = [c.raddr.port for p in federation.processes(name) for c in p.net_connections("tcp") if c.raddr]
            federation.stop(name)
        finally:
            settings.write_text(before, encoding="utf-8")
        assert found == federation.memory(text)
        assert set(through.asked) == {f"CONNECT localhost:{port} HTTP/1.1"}
        assert len(through.carried) > 10_000
        assert through.port in ends
        assert port not in ends  # nothing of this hospital went another way
        assert b"breast" not in through.carried  # it is TLS from end to end
        assert b"-----BEGIN" not in through.carried
