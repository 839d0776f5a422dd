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

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from confrere.errors import KeysError
from confrere.sums.agreement import derive
from confrere.sums.fixed import Ring, add_into, check_ring
from confrere.sums.frames import frames, number

SUM: Final = "sum"
BLINDED: Final = "blinded sum"
_NONCE: Final = bytes(16)
_ZEROS: Final = bytes(1 << 16)  # enciphered, they are the stream
_PIECE: Final = 1 << 14  # elements of a ring at a time


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
    bound = context.encoded()
    streams = []
    for other in context.members:
        if other == me:
            continue
        if other not in secrets:
            raise KeysError(f"{me!r} shares no secret with {other!r} in this run")
        first, second = sorted((me, other))
        key = derive(secrets[other], "mask", bound, first.encode(), second.encode())
        streams.append((Stream(key), me == first))
    return _with_streams(rings, streams)


def blind(rings: Sequence[Ring], context: Context, group_secret: bytes) -> list[Ring]:
    """Arrays plus the group's stream; exactly one member does this to its part before masking."""
    return _with_streams(rings, [(Stream(derive(group_secret, "blind", context.encoded())), True)])


def unblind(totals: Sequence[Ring], context: Context, group_secret: bytes) -> list[Ring]:
    """Totals minus the group's stream: undoes `blind`, for those who hold the group secret."""
    return _with_streams(totals, [(Stream(derive(group_secret, "blind", context.encoded())), False)])


def add_masked(answers: Sequence[Sequence[Ring]]) -> list[Ring]:
    """The coordinator's whole part: array by array, the sum over hospitals.

    `answers` has one list of arrays per member. ProtocolError when numbers or shapes of arrays differ.
    """
    if not answers:
        raise KeysError("there are no answers to add")
    for ring in answers[0]:
        check_ring(ring)
    totals = [np.array(ring, dtype=np.uint64, order="C") for ring in answers[0]]
    for rings in answers[1:]:
        if len(rings) != len(totals):
            raise KeysError(f"one hospital sent {len(totals)} arrays and another {len(rings)}")
        for total, ring in zip(totals, rings, strict=True):
            add_into(total, ring)
    return totals


class Stream:
    """The ChaCha20 stream of a key, in words of 64 bits."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(ChaCha20(key, _NONCE), mode=None).encryptor()

    def fill(self, words: NDArray[np.uint64]) -> None:
        """Write the next words into an array that is contiguous."""
        out = words.reshape(-1).view(np.uint8).data
        for at in range(0, len(out), len(_ZEROS)):  # in place: new memory would cost more than the cipher
            part = out[at : at + len(_ZEROS)]
            self._encryptor.update_into(_ZEROS[: len(part)], part)
        if sys.byteorder == "big":
            words.byteswap(inplace=True)


def _with_streams(rings: Sequence[Ring], streams: Sequence[tuple[Stream, bool]]) -> list[Ring]:
    """New arrays with streams added (True) or subtracted (False), each running on from array to array."""
    for ring in rings:
        check_ring(ring)
    result: list[Ring] = []
    for _, group in groupby(rings, lambda ring: ring.shape[1]):
        parts = list(group)
        whole = np.concatenate(parts)  # arrays of a round are many and small, or few and large
        for at in range(0, len(whole), _PIECE):
            _mix(whole[at : at + _PIECE], streams)
        result += np.split(whole, np.cumsum([len(part) for part in parts[:-1]]))
    return result


def _mix(ring: Ring, streams: Sequence[tuple[Stream, bool]]) -> None:
    """Add and subtract the next words of streams, in place; all that it touches fits a processor's cache.

    Limbs are added apart, and the carries of all streams together, as numbers, at the end.
    """
    words, limbs = np.empty(ring.shape, dtype=np.uint64), [np.array(limb) for limb in ring.T]
    low, carries, carry = limbs[0], np.zeros(len(ring), dtype=np.int16), np.empty(len(ring), dtype=bool)
    for stream, adding in streams:
        stream.fill(words)
        if adding:
            for limb, word in zip(limbs, words.T, strict=True):
                limb += word
            carries += np.less(low, words[:, 0], out=carry)
        else:
            carries -= np.less(low, words[:, 0], out=carry)
            for limb, word in zip(limbs, words.T, strict=True):
                limb -= word
    for limb in limbs[1:]:
        limb += carries.astype(np.int64).view(np.uint64)
    for j, limb in enumerate(limbs):
        ring[:, j] = limb
