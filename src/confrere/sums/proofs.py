"""What proves that something was erased: a few facts, signed by whoever removed it.

A hospital signs with its identity key, which a signed roster says is its own. A coordinator is in no roster and has no
such key: it makes one for its proofs alone, which stands in the proof. That such a proof is the coordinator's, its
fingerprint tells, compared over another way. A proof says who says that what was kept under this hash of the journal
was removed, and when by their clock; not that there is no copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from confrere.errors import KeysError
from confrere.sums.keys import Identity, verify


class Kind(NamedTuple):
    """What is signed: a use of keys of its own, and the facts in their order."""

    use: str
    facts: tuple[str, ...]


HOSPITAL = Kind("erasure", ("hospital", "study", "erased", "journal_sha256", "worklists"))
COORDINATOR = Kind("run erasure", ("run", "study", "erased", "journal_sha256", "key"))


def kind_of(proof: Mapping[str, object]) -> Kind:
    """Which kind of proof it is. KeysError where it is neither, has other facts, or facts that are not one line each:
    whoever reads them printed must not take a part of one for another."""
    lines = all(isinstance(value, str) and value.isprintable() for value in proof.values())
    for kind in (HOSPITAL, COORDINATOR):
        if set(proof) == {*kind.facts, "signature"} and lines:
            return kind
    raise KeysError(
        "it is no proof of an erasure: it has not the facts that `confrere hospital erase` or `confrere coordinator "
        "erase` print, and no others"
    )


def signed(kind: Kind, facts: Mapping[str, str], identity: Identity) -> dict[str, str]:
    """The facts with a signature over them."""
    return {**facts, "signature": identity.sign(kind.use, *(facts[name].encode() for name in kind.facts)).hex()}


def check(proof: Mapping[str, str], key: bytes) -> None:
    """KeysError unless the facts are signed, exactly as they stand, by this key (32 bytes)."""
    kind = kind_of(proof)
    try:
        signature = bytes.fromhex(proof["signature"])
    except ValueError:
        signature = b""  # which no key verifies
    verify(key, signature, kind.use, *(proof[name].encode() for name in kind.facts))
