"""A link between a hospital and the coordinator that can be slow, or cut: a relay on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from engines.flare import Machines


class Link:
    """Relays bytes to a port, every piece later by `delay` seconds; while it is `cut` nothing gets through."""

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self._port, self._delay = port, delay
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.cut = False
        self.carried = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def sever(self) -> None:
        """Cut the link: what is connected is lost, and nothing connects."""
        self.cut = True
        self._hang_up()

    def close(self) -> None:
        """Take the link away."""
        self.cut = True
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            gone, self._open = self._open, []
        for one in gone:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                if self.cut:
                    raise OSError("the link is cut")
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(1 << 16):
                time.sleep(self._delay)
                far.sendall(data)
                self.carried += len(data)
        for one in (near, far):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        near.close()


@contextmanager
def linked(federation: Machines, name: str, delay: float = 0.0) -> Iterator[Link]:
    """A hospital whose connections go over a link of its own."""
    file = federation.home(name) / "federation.json"
    before = file.read_text(encoding="utf-8")
    link = Link(json.loads(before)["port"], delay)
    federation.stop(name)
    file.write_text(json.dumps({**json.loads(before), "port": link.port}), encoding="utf-8")
    try:
        federation.up()
        yield link
    finally:
        federation.stop(name)
        file.write_text(before, encoding="utf-8")
        link.close()
