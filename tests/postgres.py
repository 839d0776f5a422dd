"""A real PostgreSQL, which tests start themselves."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def program(name: str) -> str:
    """A program of PostgreSQL, on PATH or where Debian puts it."""
    found = shutil.which(name) or next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), "")
    if not found:
        pytest.skip(f"PostgreSQL is not installed: no {name}")
    return found


@contextmanager
def server() -> Iterator[str]:
    """user@host:port/database of a server of ours, on loopback, with its data in a temporary folder."""
    pytest.importorskip("psycopg")
    initdb, serves = program("initdb"), program("postgres")
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        data = Path(folder) / "data"
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        subprocess.run(
            [initdb, "-D", str(data), "-A", "trust", "-U", "confrere", "--no-sync"],
            check=True,
            capture_output=True,
            **who,
        )  # type: ignore[call-overload]
        words = [serves, "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", folder]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)  # type: ignore[call-overload]
        try:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            time.sleep(0.5)
            yield f"confrere@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(20)
