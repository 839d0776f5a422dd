"""The way out through a proxy: a port of loopback that leads to the coordinator by HTTP CONNECT (RFC 9110, 9.3.6).

The engine itself knows no proxies. So its process is told to connect here, and every connection is carried on. TLS
goes from end to end through it: the proxy sees whom the hospital talks to, when and how much, and not a byte of what.
"""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from confrere.hospital.home import Home
from confrere.kits import Profile

PATIENCE: Final = 30.0  # seconds for the proxy to answer
_HEAD: Final = 1 << 14  # bytes of a proxy's answer at most
_PIECE: Final = 1 << 16


@contextmanager
def way_out(home: Home, say: Callable[[str], Any]) -> Iterator[str]:
    """HOST:PORT to which the hospital's engine connects: the coordinator's, or one of loopback that leads there.

    `say` gets what a proxy has against it, once for each reason. StudyError where hospital.toml or federation.json is
    wrong.
    """
    profile = Profile.read(home.path / "federation.json")
    if home.proxy is None:
        yield f"{profile.host}:{profile.port}"
        return
    server = _Server(home.proxy, f"{profile.host}:{profile.port}", say)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, proxy: SplitResult, target: str, say: Callable[[str], Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._at = (str(proxy.hostname), proxy.port or 80)
        self._said: set[str] = set()
        self._say = say
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if proxy.username is not None:
            word = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(word.encode()).decode()}")
        self._request = "\r\n".join([*lines, "", ""]).encode()

    def connected(self) -> socket.socket | None:
        """A connection to the coordinator through the proxy; None where there is none, and why is said."""
        far = None
        try:
            far = socket.create_connection(self._at, timeout=PATIENCE)
            far.sendall(self._request)
            answer = _head(far).split(b"\r\n", 1)[0].decode("latin-1").split(" ", 1)
            if not answer[-1].startswith("2"):
                raise OSError(f"it answered {answer[-1][:100]}")
        except OSError as error:
            if far is not None:
                far.close()
            why = f"the proxy {self._at[0]}:{self._at[1]} gives no way to the coordinator: {error}"
            if why not in self._said:
                self._said.add(why)
                self._say(why)
            return None
        far.settimeout(None)
        return far


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Carry one connection, both ways, until both ends have said all."""
        far = self.server.connected()
        if far is None:
            return
        with far:
            for one in (self.request, far):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_carry, args=(far, self.request), daemon=True)
            back.start()
            _carry(self.request, far)
            back.join()


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Bytes from one end to the other, and that there are no more."""
    with suppress(OSError):
        while data := one.recv(_PIECE):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def _head(far: socket.socket) -> bytes:
    """What the proxy answers before the tunnel begins, byte by byte: what follows is not ours. OSError where none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = far.recv(1)
        if not byte or len(head) > _HEAD:
            raise OSError("its answer is no answer of a proxy")
        head += byte
    return head
