"""A hospital's way out to the internet: a plain proxy on loopback that knows CONNECT and nothing else."""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy(socketserver.ThreadingTCPServer):
    """Notes every request and every byte that it carries; with `word`, "user:password", it wants to hear it."""

    daemon_threads = True

    def __init__(self, word: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.port = int(self.server_address[1])
        self.wanted = f"Basic {base64.b64encode(word.encode()).decode()}" if word else ""
        self.asked: list[str] = []
        self.carried = bytearray()


class _Asked(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        first, *headers = iter(lambda: self.rfile.readline().decode().strip(), "")
        self.server.asked.append(first)
        method, target, _ = first.split(" ")
        if self.server.wanted and f"Proxy-Authorization: {self.server.wanted}" not in headers:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        if method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
            back = threading.Thread(target=self._carry, args=(far, self.request), daemon=True)
            back.start()
            self._carry(self.request, far)
            back.join()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                self.server.carried += data
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(word: str = "") -> Iterator[Proxy]:
    """A proxy that serves until the end."""
    with Proxy(word) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()
