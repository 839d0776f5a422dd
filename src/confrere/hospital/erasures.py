"""Check what proves an erasure, a hospital's or the coordinator's: anybody can who has the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from confrere.errors import KeysError, StudyError
from confrere.study.file import meant
from confrere.sums import fingerprint
from confrere.sums.files import read_roster
from confrere.sums.proofs import HOSPITAL, check, kind_of

LARGEST = 65_536  # bytes of a proof


class Erased(NamedTuple):
    """What a proof says, and by whose key. `pinned`: that key was given, or is the hospital's in a signed roster."""

    who: str
    study: str
    day: str
    journal_sha256: str
    worklists: str
    fingerprint: str
    pinned: bool


def verified(file: Path, roster: Path | None, key: str) -> Erased:
    """What a proof says. StudyError where `key` or the roster is missing; KeysError where it does not hold.

    `key` is a public key in hexadecimal digits or, of a coordinator's proof, its fingerprint; "" for none.
    """
    proof = _read(file)
    hospital = kind_of(proof) is HOSPITAL
    if roster is not None and not hospital:
        raise StudyError(
            "a coordinator is in no roster: its key stands in the proof; leave --roster out, and give --key"
        )
    public = _hospitals(proof["hospital"], roster, key) if hospital else _hex(proof["key"])
    print_ = fingerprint(public)
    if key and key.lower() not in (public.hex(), "".join(print_.split())):
        raise KeysError(f"it is signed by the key {print_}, not by the one that was given")
    check(proof, public)
    who = f"hospital {proof['hospital']}" if hospital else f"coordinator, of the run {proof['run']}"
    lists = proof["worklists"] if hospital else ""
    return Erased(
        who, proof["study"], proof["erased"], proof["journal_sha256"], lists, print_, bool(roster is not None or key)
    )


def _hospitals(name: str, roster: Path | None, key: str) -> bytes:
    """The public key of a hospital: that of a roster which all of it signed, or the one given."""
    if roster is not None:
        listed = read_roster(roster)
        listed.verify()
        if name not in listed.keys:
            raise KeysError(f"{name!r} is not in the roster; {meant(name, listed.names)}")
        return listed.keys[name]
    if len(key) != 64:
        raise StudyError("a hospital's proof is checked by --roster roster.json, or by --key with its 64 hex digits")
    return _hex(key)


def _hex(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise KeysError("its key is none: a public key is 64 hex digits")
    return found


def _read(file: Path) -> dict[str, str]:
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        proof = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{file} cannot be read as a proof ({error}); give what `erase` printed, as a file") from None
    if not isinstance(proof, dict):
        raise StudyError(f"{file} is no proof; give what `erase` printed, as a file")
    return proof
