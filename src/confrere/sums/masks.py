"""Masks that cancel only in the sum over all members (Bonawitz et al. 2017, without recovery).

Every pair of members derives the same key stream; the one whose name comes first adds it, the other
subtracts it. What a hospital sends is then uniform over the ring to whoever lacks one of its pair
secrets, and the streams cancel in the total over exactly the members the keys are bound to.

Blinding puts one more stream on the total itself, from the group secret: the first member adds it
to its own part, every hospital can take it off, and the coordinator, who sees the total, cannot.

A key is bound to everything that makes a message different from every other (`Context`), so a stream
is used twice only if the same context is; `confrere.sums.attempts` sees to that. Streams are
ChaCha20 from a key used for nothing else, hence the constant nonce.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from confrere.errors import KeysError
from confrere.sums.agreement import derive
from confrere.sums.fixed import Ring, add_into, check_ring, subtract_into
from confrere.sums.frames import frames, number

SUM: Final = "sum"
BLINDED: Final = "blinded sum"
_NONCE: Final = bytes(16)
_ZEROS: Final = bytes(1 << 16)  # enciphered, they are the stream


class Context(NamedTuple):
    """Everything that sets one masked message apart from all others."""

    study: bytes
    run: bytes  # (32,) run id
    epoch: int
    round: int  # numbers the asks of a run; asks to different groups have different numbers
    attempt: int  # counts up when a round is asked again with other data
    members: tuple[str, ...]  # in roster order; the masks cancel over exactly these
    digest: bytes  # (32,) of the ask
    label: str  # SUM or BLINDED

    def encoded(self) -> bytes:
        """Canonical bytes: different contexts never give the same."""
        members = frames(*(name.encode() for name in self.members))
        numbers = (number(self.epoch), number(self.round), number(self.attempt))
        return frames(self.study, self.run, *numbers, members, self.digest, self.label.encode())


def masked(rings: Sequence[Ring], context: Context, me: str, secrets: Mapping[str, bytes]) -> list[Ring]:
    """My arrays with the streams of all my pairs, as new arrays of the same shapes.

    `secrets` are pair secrets by the other member's name. KeysError when I am not a member or lack a secret.
    """
    if me not in context.members:
        raise KeysError(f"{me!r} is not among the members {list(context.members)} of round {context.round}")
    result, bound = _copies(rings), context.encoded()
    for other in context.members:
        if other == me:
            continue
        if other not in secrets:
            raise KeysError(f"{me!r} shares no secret with {other!r} in this run")
        first, second = sorted((me, other))
        key = derive(secrets[other], "mask", bound, first.encode(), second.encode())
        _apply(result, key, adding=me == first)
    return result


def blind(rings: Sequence[Ring], context: Context, group_secret: bytes) -> list[Ring]:
    """Arrays plus the group's stream; exactly one member does this to its part before masking."""
    result = _copies(rings)
    _apply(result, derive(group_secret, "blind", context.encoded()), adding=True)
    return result


def unblind(totals: Sequence[Ring], context: Context, group_secret: bytes) -> list[Ring]:
    """Totals minus the group's stream: undoes `blind`, for those who hold the group secret."""
    result = _copies(totals)
    _apply(result, derive(group_secret, "blind", context.encoded()), adding=False)
    return result


def add_masked(answers: Sequence[Sequence[Ring]]) -> list[Ring]:
    """The coordinator's whole part: array by array, the sum over hospitals.

    `answers` has one list of arrays per member. ProtocolError when numbers or shapes of arrays differ.
    """
    if not answers:
        raise KeysError("there are no answers to add")
    totals = _copies(answers[0])
    for rings in answers[1:]:
        if len(rings) != len(totals):
            raise KeysError(f"one hospital sent {len(totals)} arrays and another {len(rings)}")
        for total, ring in zip(totals, rings, strict=True):
            add_into(total, ring)
    return totals


def key_stream(key: bytes, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The first `count` words of 64 bits of the ChaCha20 stream of a key."""
    encryptor = Cipher(ChaCha20(key, _NONCE), mode=None).encryptor()
    words = np.empty(count, dtype="<u8")
    out = words.view(np.uint8).data
    for at in range(0, len(out), len(_ZEROS)):  # in place: new memory would cost more than the cipher
        part = out[at : at + len(_ZEROS)]
        encryptor.update_into(_ZEROS[: len(part)], part)
    return words.astype(np.uint64, copy=False)


def _apply(rings: Sequence[Ring], key: bytes, *, adding: bool) -> None:
    """Add or subtract one stream, running on from array to array, in place."""
    words = key_stream(key, sum(ring.size for ring in rings))
    at = 0
    for ring in rings:
        part = words[at : at + ring.size].reshape(ring.shape)
        if adding:
            add_into(ring, part)
        else:
            subtract_into(ring, part)
        at += ring.size


def _copies(rings: Sequence[Ring]) -> list[Ring]:
    for ring in rings:
        check_ring(ring)
    return [np.array(ring, dtype=np.uint64, order="C") for ring in rings]
