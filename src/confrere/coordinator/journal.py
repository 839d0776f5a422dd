"""The journal of a run: every round's asks and answers, one file, which is audit trail, provenance and recovery.

`recorded(answer, path)` answers as `answer` does and writes each round down before it goes on. Over a journal that
exists it first gives back what was written, as long as the flow asks the same: flows are deterministic, so replay
equals live bit for bit. Only sums and verdicts stand in it, nothing of a hospital.

A record is its length (8 bytes), the SHA-256 over the record before and this one (32), and the packed round. A record
that was cut off by a crash is dropped; one that was changed is an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confrere import wire
from confrere.errors import ProtocolError
from confrere.rounds import Answer, Answers, Ask, Round, Sum, Verdict, same, sums_of

HEAD = 40


def recorded(answer: Answer, path: Path) -> Answer:
    """Answer from the journal while it lasts, then live, writing every round down before it goes on."""
    path.touch(exist_ok=True)
    written, chain = _read(path)
    at = 0

    def one(asks: Round) -> Answers:
        nonlocal at, chain
        plain = tuple(a.plain() for a in asks)
        if at < len(written):
            before = written[at]
            at += 1
            if not same(before["asks"], _through(plain)):
                raise ProtocolError(
                    f"round {at} of the journal {path.name} is of another study: it asked something else"
                )
            return tuple(_thawed(a, got) for a, got in zip(asks, before["answers"], strict=True))
        answers = answer(asks)
        frozen = tuple(_frozen(got) for got in answers)
        chain = _append(path, chain, wire.pack({"asks": plain, "answers": frozen}))
        return answers

    return one


def replay(path: Path) -> Answer:
    """Answer from a journal alone; `ProtocolError` where it ends."""

    def ended(asks: Round) -> Answers:
        raise ProtocolError(f"the journal {path.name} ends before this round")

    return recorded(ended, path)


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


def _append(path: Path, chain: bytes, record: bytes) -> bytes:
    """Write a record and wait until it is on the disk."""
    link = hashlib.sha256(chain + record).digest()
    with path.open("ab") as handle:
        handle.write(len(record).to_bytes(8, "big") + link + record)
        handle.flush()
        os.fsync(handle.fileno())
    return link


def _records(path: Path) -> Iterator[tuple[bytes, bytes, int]]:
    """Links, records and where each ends; what was cut off at the end is not given."""
    data = path.read_bytes()
    at, chain = 0, b""
    while at + HEAD <= len(data):
        size = int.from_bytes(data[at : at + 8], "big")
        link, record = data[at + 8 : at + HEAD], data[at + HEAD : at + HEAD + size]
        if len(record) < size:
            return
        if hashlib.sha256(chain + record).digest() != link:
            raise ProtocolError(f"the journal {path.name} was changed at byte {at}: it cannot be replayed")
        chain, at = link, at + HEAD + size
        yield link, record, at


def _read(path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The rounds in a journal and its last link; a record cut off by a crash is dropped from the file."""
    rounds, chain, end = [], b"", 0
    for link, record, after in _records(path):
        rounds.append(wire.unpack(record))
        chain, end = link, after
    if end < path.stat().st_size:
        with path.open("r+b") as handle:
            handle.truncate(end)
    return rounds, chain
