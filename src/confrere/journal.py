"""The journal of a run: one file that is audit trail, provenance and recovery.

A `Journal` is a list of plain records (`wire`) that only grows. A record is its length (8 bytes), the SHA-256 over the
link before and this record (32), and the packed record. One that was cut off by a crash is dropped; one that was
changed is an error. A coordinator writes rounds down, a hospital the totals it has learned: neither a patient's value.

`recorded(answer, path)` answers as `answer` does and writes each round down before it goes on. Over a journal that
exists it first gives back what was written, as long as the flow asks the same: flows are deterministic, so replay
equals live bit for bit.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

from confrere import wire
from confrere.errors import ProtocolError
from confrere.rounds import Answer, Answers, Ask, Round, Sum, Verdict, same, sums_of

HEAD = 40


class Journal:
    """Records in a file, made if it is not there. ProtocolError where a record was changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Any] = []
        self._chain = b""
        path.touch(exist_ok=True)
        self._end = self._read(path.read_bytes())
        if self._end < path.stat().st_size:
            with path.open("r+b") as handle:
                handle.truncate(self._end)

    def write(self, at: int, value: Any) -> None:
        """Write the record of place `at`, the next one, and wait until it is on the disk.

        A place that is taken must hold the same already: what is asked again is the same, or something is wrong.
        """
        record = wire.pack(value)
        if at < len(self.records):
            if wire.pack(self.records[at]) != record:
                raise ProtocolError(
                    f"round {at + 1} of {self.path.name} has other numbers than before: the data or the package "
                    f"changed. To begin anew, every hospital erases the run, the coordinator too: `coordinator erase`"
                )
            return
        if at > len(self.records):
            raise ProtocolError(f"{self.path.name} has {len(self.records)} rounds; round {at + 1} cannot follow")
        chain = hashlib.sha256(self._chain)
        chain.update(record)  # not joined first: a record may have megabytes
        link = chain.digest()
        with self.path.open("r+b") as handle:
            handle.seek(self._end)  # over the torn tail of a write that failed
            handle.write(len(record).to_bytes(8, "big") + link)
            handle.write(record)
            handle.truncate()
            handle.flush()
            os.fsync(handle.fileno())
        self._chain = link
        self._end += HEAD + len(record)
        self.records.append(wire.unpack(record))

    def _read(self, data: bytes) -> int:
        """Take in every whole record; where the first torn one starts, or the end."""
        at = 0
        while at + HEAD <= len(data):
            size = int.from_bytes(data[at : at + 8], "big")
            link, record = data[at + 8 : at + HEAD], data[at + HEAD : at + HEAD + size]
            if len(record) < size:
                break
            if hashlib.sha256(self._chain + record).digest() != link:
                raise ProtocolError(f"the journal {self.path.name} was changed at byte {at}: it cannot be replayed")
            self._chain, at = link, at + HEAD + size
            self.records.append(wire.unpack(record))
        return at


class Book(Protocol):
    """What else is to be found again after a restart: what left, by round."""

    def taken(self) -> Any:
        """Plain data about the last round."""
        ...

    def restore(self, taken: Any) -> None:
        """The same of a round that the journal gave back."""
        ...


class _NoBook:
    def taken(self) -> Any:
        return ()

    def restore(self, taken: Any) -> None: ...


def recorded(answer: Answer, path: Path, *, rounds: int | None = None, book: Book | None = None) -> Answer:
    """Answer from the journal while it lasts (at most `rounds`), then live, writing every round down before it goes on.

    A live round that stands in the journal already must come out the same.
    """
    journal, keeper, at = Journal(path), book or _NoBook(), 0
    known = len(journal.records) if rounds is None else min(rounds, len(journal.records))

    def one(asks: Round) -> Answers:
        nonlocal at
        at += 1
        plain = tuple(a.plain() for a in asks)
        if at <= known:
            before = journal.records[at - 1]
            if not same(before["asks"], _through(plain)):
                raise ProtocolError(
                    f"round {at} of the journal {path.name} is of another study: it asked something else"
                )
            keeper.restore(before["left"])
            return tuple(_thawed(a, got) for a, got in zip(asks, before["answers"], strict=True))
        answers = answer(asks)
        frozen = tuple(_frozen(got) for got in answers)
        journal.write(at - 1, {"asks": plain, "answers": frozen, "left": keeper.taken()})
        return answers

    return one


def replay(path: Path, *, book: Book | None = None) -> Answer:
    """Answer from a journal alone; `ProtocolError` where it ends."""

    def ended(asks: Round) -> Answers:
        raise ProtocolError(f"the journal {path.name} ends before this round")

    return recorded(ended, path, book=book)


def _through(value: Any) -> Any:
    """What a value is after the wire: tuples for lists."""
    return wire.unpack(wire.pack(value))


def _frozen(got: Any) -> Any:
    if got is None:
        return None
    if isinstance(got, Verdict):
        return {"verdict": dict(got._asdict())}
    return {"sums": tuple({"value": s.value, "dims": s.dims, "scale": s.scale, "symmetric": s.symmetric} for s in got)}


def _thawed(a: Ask, got: Any) -> Any:
    if got is None:
        return None
    if "verdict" in got:
        return Verdict(**got["verdict"])
    return sums_of(a)(*(Sum(s["value"], s["dims"], (), s["scale"], symmetric=s["symmetric"]) for s in got["sums"]))
