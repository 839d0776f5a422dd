"""One person on the own machine, without a provider: a link from the terminal, and loopback only.

The link holds a token of 256 random bits, of which the process keeps the hash; it signs one browser in, once, and then
the next link is shown. Nothing answers beyond this machine: `listening` refuses another address, and the guard refuses
requests that did not come over loopback, or under a name that is not this machine's (DNS rebinding).
"""

import hashlib
import ipaddress
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confrere.console.pages.settings import LOOPBACK, IdentitySettings
from confrere.errors import StudyError

LINK = "/sign-in/link"


class Link:
    """The link that signs in next. `say` shows each, such as `typer.echo`; `port` is where the pages answer."""

    def __init__(self, say: Callable[[str], Any], port: int) -> None:
        self._say, self._port = say, port
        self._lock = threading.Lock()
        self._hash = b""
        self.renew()

    def renew(self) -> None:
        """Make and show a new link; the one before is worth nothing."""
        token = secrets.token_urlsafe(32)
        self._hash = hashlib.sha256(token.encode()).digest()
        self._say(f"open http://127.0.0.1:{self._port}{LINK}?token={token} (signs in once)")

    def take(self, token: str) -> bool:
        """Whether this is the token of the link; it is used up then, and the next one shown."""
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            if not secrets.compare_digest(given, self._hash):
                return False
            self.renew()
            return True


def listening(
    app: Any, identity: IdentitySettings, host: str, port: int, certificate: tuple[Path, Path] | None = None
) -> Any:
    """What uvicorn needs to serve the pages (a `uvicorn.Config`). `certificate`: files of the chain and its key.

    Raises StudyError, naming the address, where one person works alone and `host` is not this machine's own.
    """
    import uvicorn

    if identity.alone and not _own(host):
        raise StudyError(
            f"the pages would listen on {host}, but without [identity] one person works alone and they may listen on "
            "127.0.0.1 only. Write [identity] with your provider, or leave the address out."
        )
    chain, key = certificate or (None, None)
    return uvicorn.Config(
        app, host=host, port=port, log_level="warning", access_log=False, server_header=False,
        proxy_headers=not identity.alone, ssl_certfile=chain, ssl_keyfile=key, timeout_graceful_shutdown=2,
    )  # fmt: skip


def _own(host: str) -> bool:
    try:
        return host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
