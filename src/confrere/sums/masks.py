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
from functools import lru_cache
from itertools import groupby
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from confrere.errors import KeysError
from confrere.sums.agreement import derive, expand
from confrere.sums.fixed import Ring, check_alike, check_ring
from confrere.sums.frames import frames, number, purpose

SUM: Final = "sum"
BLINDED: Final = "blinded sum"
_NONCE: Final = bytes(16)
_ZEROS: Final = memoryview(bytes(1 << 18))  # enciphered, they are the stream; a part of them is no copy
_PIECE: Final = 1 << 14  # elements of a ring at a time
_HELD: Final = 1 << 26  # bytes of streams that wait for the second of a pair


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
        return _encoded(self)

    def bound(self) -> bytes:
        """What the key of every pair's stream is derived for, before the names of the pair."""
        return _bound(self)


@lru_cache(maxsize=4)  # asked for several times a message, and by all hospitals of a process
def _encoded(of: Context) -> bytes:
    members = frames(*(name.encode() for name in of.members))
    numbers = (number(of.epoch), number(of.round), number(of.attempt))
    return frames(of.study, of.run, *numbers, members, of.digest, of.label.encode())


@lru_cache(maxsize=4)
def _bound(of: Context) -> bytes:
    return frames(purpose("mask"), _encoded(of))


def masked(
    rings: Sequence[Ring], context: Context, me: str, secrets: Mapping[str, bytes], pairs: Pairs | None = None
) -> list[Ring]:
    """My arrays with the streams of all my pairs, as new arrays of the same shapes.

    `secrets` are pair secrets by the other member's name; `pairs` where both of a pair are of this process. KeysError
    when I am not a member or lack a secret.
    """
    if me not in context.members:
        raise KeysError(f"{me!r} is not among the members {list(context.members)} of round {context.round}")
    bound, words = context.bound(), sum(ring.size for ring in rings)
    streams: list[tuple[Stream | Lying, bool]] = []
    for other in context.members:
        if other == me:
            continue
        if other not in secrets:
            raise KeysError(f"{me!r} shares no secret with {other!r} in this run")
        path = (me, other) if me < other else (other, me)
        stream = pairs.stream(secrets[other], bound, path, words) if pairs else _stream(secrets[other], bound, path)
        streams.append((stream, me == path[0]))
    return _with_streams(rings, streams)


def _stream(secret: bytes, bound: bytes, path: tuple[str, str]) -> Stream:
    """The stream of a pair, in the order of their names, for what it is `bound` to."""
    return Stream(expand(secret, bound + frames(*(name.encode() for name in path))))


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
    first, *others = answers
    for rings in others:
        if len(rings) != len(first):
            raise KeysError(f"one hospital sent {len(first)} arrays and another {len(rings)}")
        for one, ring in zip(first, rings, strict=True):
            check_alike(one, ring)
    totals = [np.array(ring, order="C") for ring in first]
    for i, total in enumerate(totals):
        check_ring(total)
        _add_up(total, [(Lying(rings[i]), True) for rings in others])
    return totals


class Stream:
    """The ChaCha20 stream of a key, in words of 64 bits."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(ChaCha20(key, _NONCE), mode=None).encryptor()

    def next(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The next words, written into an array that is contiguous."""
        out = words.reshape(-1).view(np.uint8).data
        for at in range(0, len(out), len(_ZEROS)):  # in place: new memory would cost more than the cipher
            part = out[at : at + len(_ZEROS)]
            self._encryptor.update_into(_ZEROS[: len(part)], part)
        if sys.byteorder == "big":
            words.byteswap(inplace=True)
        return words


class Lying:
    """The words of a ring array, as they lie in memory, in the place of a stream."""

    def __init__(self, ring: NDArray[np.uint64]) -> None:
        self._flat, self._at = np.ascontiguousarray(ring).reshape(-1), 0

    def next(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The next words, as many as the array given has."""
        low, self._at = self._at, self._at + words.size
        return self._flat[low : self._at]


class Pairs:
    """Streams of pairs of which both hospitals are of this process: the first to ask makes one, the second takes it.

    Nothing stays of what both have had, and no more than `_HELD` bytes wait; a longer stream each makes for itself.
    """

    def __init__(self) -> None:
        self._lock, self._held = Lock(), 0
        self._waiting: dict[tuple[bytes, bytes, int], NDArray[np.uint64]] = {}

    def stream(self, secret: bytes, bound: bytes, path: tuple[str, str], words: int) -> Stream | Lying:
        """The stream of a pair that share `secret`, in the order of their names, for what it is `bound` to."""
        of = secret, bound, words
        if (made := self._taken(of)) is not None:
            return Lying(made)
        stream = _stream(secret, bound, path)
        if 8 * words > _HELD // 256:  # many pairs may wait at a time
            return stream
        whole = stream.next(np.empty(words, dtype=np.uint64))
        with self._lock:
            if of in self._waiting:  # the other made it meanwhile, and needs none
                self._held -= self._waiting.pop(of).nbytes
            elif self._held + whole.nbytes <= _HELD:
                self._waiting[of], self._held = whole, self._held + whole.nbytes
        return Lying(whole)

    def _taken(self, of: tuple[bytes, bytes, int]) -> NDArray[np.uint64] | None:
        with self._lock:
            if (made := self._waiting.pop(of, None)) is not None:
                self._held -= made.nbytes
            return made


def _with_streams(rings: Sequence[Ring], streams: Sequence[tuple[Stream | Lying, bool]]) -> list[Ring]:
    """New arrays with streams added (True) or subtracted (False), each running on from array to array."""
    for ring in rings:
        check_ring(ring)
    result: list[Ring] = []
    for _, group in groupby(rings, lambda ring: ring.shape[1]):
        parts = list(group)
        whole = np.ascontiguousarray(np.concatenate(parts))  # arrays of a round are many and small, or few and large
        _add_up(whole, streams)
        result += np.split(whole, np.cumsum([len(part) for part in parts[:-1]]))
    return result


def _add_up(ring: Ring, streams: Sequence[tuple[Stream | Lying, bool]]) -> None:
    """Add (True) or subtract (False) the next words of streams, in place, by pieces that fit a processor's cache."""
    for at in range(0, len(ring), _PIECE):
        _mix(ring[at : at + _PIECE], streams)


def _mix(ring: Ring, streams: Sequence[tuple[Stream | Lying, bool]]) -> None:
    """Add and subtract the next words of streams, in place.

    Limbs lie side by side and are added as they lie, apart from one another. What each word carries is counted over all
    streams, and goes to the limb above at the end; what the highest carries leaves the ring.
    """
    limbs, flat = ring.shape[1], np.frombuffer(ring, np.uint64)  # never a copy, which would leave the ring unmasked
    buffer, over = np.empty_like(flat), np.empty(flat.size, dtype=bool)
    carries: NDArray[Any] = np.zeros(flat.size, dtype=np.int8 if len(streams) < 1 << 7 else np.int64)
    for stream, adding in streams:
        words = stream.next(buffer)
        if limbs == 1:  # nothing is above
            (np.add if adding else np.subtract)(flat, words, out=flat)
        elif adding:
            flat += words
            carries += np.less(flat, words, out=over).view(np.int8)
        else:
            carries -= np.less(flat, words, out=over).view(np.int8)
            flat -= words
    if limbs == 2:
        flat[1::2] += carries[::2].astype(np.int64).view(np.uint64)
