"""Supports guessed by what hospitals sign: their signatures cover all that was broadcast before, blinded totals too."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from attacks.network import STUDY, Network, _roster
from attacks.people import GROUND, dealt, patients
from confrere import wire
from confrere.errors import KeysError
from confrere.hospital.run import PLACES, SUPPORT_SCALE
from confrere.rounds import find
from confrere.sums import fixed, masks
from confrere.sums.keys import verify
from confrere.sums.masks import Context
from confrere.sums.session import hashed

MISSING = 4  # people without the column, whom the verdict does not tell


def messages(at: str) -> list[tuple[Any, Any]]:
    """What the coordinator says to one hospital and hears of it, in a study of a column that few people miss."""
    frame = patients(180)
    frame["ill"] = frame["ill"].mask(frame.index.isin(range(0, 4 * MISSING, 4)))
    study = find("describe")(("ill",), ground=GROUND)
    network, said = Network(lambda: study.flow(), dealt(frame), 5), list[tuple[Any, Any]]()
    link = network.coordinator._links[at]

    def heard(raw: bytes) -> bytes:
        reply = link(raw)
        said.append((wire.unpack(raw), wire.unpack(reply)))
        return reply

    network.coordinator._links[at] = heard
    network.drive()
    return said


def fitting(said: list[tuple[Any, Any]], at: str, secret: bytes = b"") -> list[int]:
    """Guesses of the people whom the verdict does not tell, by which the signature of the second round is right."""
    run = next(reply["run"] for asked, reply in said if asked["do"] == "open")
    parts = {asked["round"]: reply["parts"][0] for asked, reply in said if asked["do"] == "round"}
    shapes = [form["shape"] for form in parts[1]["forms"]]
    roster, found = _roster(("h0", "h1", "h2")), []
    for few in range(11):
        n = 180.0 - MISSING + few
        known = {0: [n, 3, 0, 3], 4: [[n], [n]], 5: [n, few, n - few, few]}
        clear = [np.array(known.get(i, np.zeros(shape)), dtype=float) for i, shape in enumerate(shapes)]
        assert [part.shape for part in clear] == [tuple(shape) for shape in shapes]
        rings = tuple(fixed.encode(part.ravel(), SUPPORT_SCALE, 3) for part in clear)
        transcript = hashlib.sha256(run + secret + hashed(rings)).digest()
        digest = hashlib.sha256(transcript + (0).to_bytes(4, "big")).digest()
        context = Context(STUDY, run, 1, 2 * PLACES, 0, roster.names, digest, masks.BLINDED)
        try:
            verify(roster.keys[at], parts[2]["signature"], "answer", context.encoded(), at.encode(),
                   hashed(parts[2]["rings"]))  # fmt: skip
        except KeysError:
            continue
        found.append(few)
    return found


def test_no_guess_of_a_support_fits_a_signature() -> None:
    assert fitting(messages("h0"), "h0") == []


def test_control_a_transcript_that_the_coordinator_knows_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be without a part that only hospitals have: the guess that fits is right, and the only one."""
    secret = b"known to everybody"
    monkeypatch.setattr("confrere.hospital.run.derive", lambda *_: secret)
    assert fitting(messages("h0"), "h0", secret) == [MISSING]
