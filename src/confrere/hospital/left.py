"""What has left a hospital so far, by study and month, from the ledger: names and shapes, no value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from confrere.hospital.ledger import Entry


class Left(NamedTuple):
    """What left under one study in one month (YYYY-MM, UTC)."""

    study: str
    month: str
    rounds: int
    arrays: int
    numbers: int
    bytes: int


def left(answers: Iterable[Entry]) -> list[Left]:
    """What left, by study and month, from entries of the event "answered"; the latest month first."""
    found: dict[tuple[str, str], Left] = {}
    for entry in answers:
        facts, at = entry.facts, (str(entry.facts["study"]), entry.at[:7])
        known = found.get(at, Left(*at, 0, 0, 0, 0))
        arrays = facts["left"]
        found[at] = known._replace(
            rounds=known.rounds + 1,
            arrays=known.arrays + len(arrays),
            numbers=known.numbers + sum(math.prod(a["shape"]) for a in arrays),
            bytes=known.bytes + int(facts["bytes"]),
        )
    return sorted(found.values(), key=lambda one: (one.month, one.study), reverse=True)
