"""Assembling the roster: cards in, signatures together, a key handed over. The list is the hospitals'."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from confrere.errors import KeysError
from confrere.sums import Roster, fingerprint
from confrere.sums.files import read_roster, read_rotation, write_roster


class Line(NamedTuple):
    """A hospital of a roster, as stewards compare it."""

    name: str
    fingerprint: str  # 40 digits
    signed: bool


def assemble(cards: Sequence[Path], out: Path) -> None:
    """A roster that nobody has signed, from the cards of `confrere hospital init`. KeysError for a wrong card."""
    keys: dict[str, bytes] = {}
    for card in cards:
        try:
            said = json.loads(card.read_text(encoding="utf-8"))
            name, key = str(said["name"]), bytes.fromhex(said["key"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeysError(f"{card} is no card of a hospital ({error}); `confrere hospital init` makes it") from None
        if name in keys:
            raise KeysError(f"two cards are of {name!r}; keep one")
        keys[name] = key
    write_roster(out, Roster(keys))


def merge(files: Sequence[Path], out: Path) -> None:
    """The signatures of several copies of one roster together. KeysError where they are not copies of one."""
    read = [read_roster(file) for file in files]
    if any(dict(one.keys) != dict(read[0].keys) for one in read):
        raise KeysError("these are different rosters: their hospitals or keys are not the same")
    write_roster(out, Roster(read[0].keys, {n: s for one in read for n, s in one.signatures.items()}))


def rotate(file: Path, rotation: Path, out: Path) -> None:
    """A roster with a hospital's new key, if its old key signed it over; nobody has signed the new list."""
    write_roster(out, read_roster(file).rotated(read_rotation(rotation)))


def pin(file: Path, home: Path) -> tuple[str, ...]:
    """Lay a roster that all have signed into the coordinator's folder; the hospitals."""
    found = read_roster(file)
    found.verify()
    write_roster(home / "roster.json", found)
    return found.names


def lines(file: Path) -> list[Line]:
    """What there is to compare."""
    found = read_roster(file)
    return [Line(name, fingerprint(key), name in found.signatures) for name, key in found.keys.items()]
