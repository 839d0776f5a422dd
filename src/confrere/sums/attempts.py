"""What a hospital has sent, written down before it is sent.

A masked message is safe as long as its mask is never used with other data. So each message is first
claimed: its SHA-256 is written under a name (hash of run, hospital, round and attempt). Whoever
claims a name again gets back what stands there, and may send only the message which that belongs to.
Masking is deterministic, so the same data give the same bytes again; large ones need not be stored.

The file only grows. A record is a name (32 bytes), a message's hash (32) and a SHA-256 over the previous
record's last 32 bytes, name and hash. A crash can tear only the last record, whose message was not sent
by then: opening the file drops it. A damaged record before the end is an error. The file holds neither
data nor keys.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from confrere.errors import KeysError
from confrere.sums.frames import frames, number, purpose

_HASH_BYTES: Final = 32
_RECORD_BYTES: Final = 3 * _HASH_BYTES
_MAGIC: Final = b"confrere attempts 1\n"


class Attempts(Protocol):
    """A memory of what was sent, shared by all sessions of a hospital."""

    def claim(self, name: bytes, message: bytes) -> bytes:
        """Write a message's hash (32,) under a name (32,) unless it is taken; return what stands there.

        When it returns, what it returns is on the disk (if there is one). Atomic between threads.
        """
        ...


def attempt_name(run: bytes, hospital: str, round: int, attempt: int) -> bytes:
    """The name (32,) under which a hospital's message of one attempt is claimed."""
    parts = (run, hospital.encode(), number(round), number(attempt))
    return hashlib.sha256(frames(purpose("attempt"), *parts)).digest()


class MemoryAttempts:
    """Attempts that last as long as the process: for tests and runs in one process."""

    def __init__(self) -> None:
        self._messages: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def claim(self, name: bytes, message: bytes) -> bytes:
        """See `Attempts.claim`."""
        with self._lock:
            return self._messages.setdefault(name, message)


class FileAttempts:
    """Attempts in an append-only file, of one process at a time. KeysError when the file is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._messages: dict[bytes, bytes] = {}
        self._last = hashlib.sha256(_MAGIC).digest()
        self._lock = threading.Lock()
        new = not path.exists()
        self._file: BinaryIO = path.open("x+b" if new else "r+b")
        _lock_file(self._file, path)
        try:
            self._end = self._read_all()
        except KeysError:
            self._file.close()
            raise
        if self._end == 0:
            self._append(_MAGIC)
        if new:
            _sync_directory(path.parent)

    def claim(self, name: bytes, message: bytes) -> bytes:
        """See `Attempts.claim`: the record is written and synced before this returns."""
        if len(name) != _HASH_BYTES or len(message) != _HASH_BYTES:
            raise KeysError(f"an attempt is two hashes of {_HASH_BYTES} bytes, not {len(name)} and {len(message)}")
        with self._lock:
            if name not in self._messages:
                link = _chain(self._last, name, message)
                self._append(name + message + link)
                self._messages[name], self._last = message, link
            return self._messages[name]

    def close(self) -> None:
        """Close the file; what was claimed stays in it."""
        self._file.close()

    def __enter__(self) -> FileAttempts:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        # From the known end: a write that failed half way leaves a torn tail, which this one replaces.
        self._file.seek(self._end)
        self._file.write(data)
        self._file.truncate()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._end += len(data)

    def _read_all(self) -> int:
        """Take in every whole record; the offset where the first torn one starts, or the end."""
        data = self._file.read()
        if not data.startswith(_MAGIC):
            if _MAGIC.startswith(data):
                return 0
            raise KeysError(f"{self._path} is not a file of attempts, or of another version than {_MAGIC!r}")
        at = len(_MAGIC)
        while len(data) - at >= _RECORD_BYTES:
            name, message, link = (data[i : i + _HASH_BYTES] for i in range(at, at + _RECORD_BYTES, _HASH_BYTES))
            if link != _chain(self._last, name, message):
                if at + _RECORD_BYTES == len(data):
                    break  # the last record's blocks never reached the disk
                raise KeysError(f"{self._path} is damaged at byte {at}: set it aside and start a new epoch")
            self._messages[name], self._last = message, link
            at += _RECORD_BYTES
        return at


def _chain(last: bytes, name: bytes, message: bytes) -> bytes:
    return hashlib.sha256(last + name + message).digest()  # three of 32 bytes: unambiguous


def _lock_file(file: BinaryIO, path: Path) -> None:
    """KeysError when another process (or session) has the file open: two writers would tear it."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise KeysError(f"{path} is in use: one process of a hospital writes its attempts") from error


def _sync_directory(directory: Path) -> None:
    """Make a new file's name itself survive a crash (where directories can be opened: not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
