"""What hospitals agree on before a run: fresh keys, a run id, pair secrets and one group secret.

Every hospital signs a `Hello`: a fresh X25519 key (RFC 7748) for this study, roster and epoch, with
a commitment to its seed. The run id hashes all of them, so hospitals that were shown different
hellos have different run ids, and nothing of theirs cancels or opens. From each pair's key exchange
HKDF (RFC 5869) derives a pair secret. Under it each hospital sends its seed to each other one
(ChaCha20-Poly1305, RFC 8439); all seeds together make the group secret, which the coordinator, who
carried every message, lacks. The commitment lets nobody give different seeds to different hospitals.

The group secret depends on study, members and seeds, not on the run: a hospital that keeps its seed
finds the same folds and samples again after a restart. Streams made from it are bound to the run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confrere.errors import KeysError
from confrere.sums.frames import frames, number, purpose, unframes
from confrere.sums.keys import KEY_BYTES, SIGNATURE_BYTES, Identity, Roster, verify

SEED_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_HASH: Final = SHA256()


class Run(NamedTuple):
    """What a run is about: the same for all its hospitals."""

    study: bytes  # hash of what the stewards approved
    roster: bytes  # (32,) hash of the roster
    epoch: int  # counts up after every restart


class Hello(NamedTuple):
    """One hospital's fresh key for one run, with its signature."""

    run: Run
    name: str
    key: bytes  # (32,) X25519 public key
    commitment: bytes  # (32,) hash of the seed it will send
    signature: bytes  # (64,) by its identity

    @classmethod
    def parse(cls, data: bytes) -> Hello:
        """A hello from bytes, unverified. KeysError when the bytes are no hello."""
        parts = unframes(data)
        sizes_of = (0, 32, 8, 0, KEY_BYTES, 32, SIGNATURE_BYTES)  # 0: any
        if len(parts) != 7 or any(size and len(p) != size for p, size in zip(parts, sizes_of, strict=True)):
            raise KeysError(f"{len(data)} bytes are not a hello")
        study, roster, epoch, name, key, commitment, signature = parts
        try:
            text = name.decode()
        except UnicodeDecodeError as error:
            raise KeysError("a hello's name is not text") from error
        return cls(Run(study, roster, int.from_bytes(epoch, "little")), text, key, commitment, signature)

    def verify(self, run: Run, name: str, public: bytes) -> None:
        """KeysError unless this is the hello of `name` (identity `public`) for exactly this run."""
        for what, got, wanted in (
            ("study", self.run.study.hex(), run.study.hex()),
            ("roster", self.run.roster.hex(), run.roster.hex()),
            ("epoch", self.run.epoch, run.epoch),
            ("name", self.name, name),
        ):
            if got != wanted:
                raise KeysError(f"the hello of {name!r} is for {what} {got!r}, but this run has {wanted!r}")
        verify(public, self.signature, "hello", *_hello_parts(run, name, self.key, self.commitment))


def say_hello(identity: Identity, run: Run, name: str, key: bytes, seed: bytes) -> bytes:
    """A signed hello for the public X25519 `key`, as bytes for `Hello.parse`."""
    parts = _hello_parts(run, name, key, commitment(run.study, name, seed))
    return frames(*parts, identity.sign("hello", *parts))


def _hello_parts(run: Run, name: str, key: bytes, committed: bytes) -> tuple[bytes, ...]:
    return (run.study, run.roster, number(run.epoch), name.encode(), key, committed)


def read_hellos(run: Run, roster: Roster, hellos: Mapping[str, bytes]) -> dict[str, Hello]:
    """Every hello verified against the roster, in roster order. KeysError for any that is not right."""
    found = {}
    for name in sorted(hellos):
        if name not in roster.keys:
            raise KeysError(f"a hello came from {name!r}, who is not in the roster")
        hello = Hello.parse(hellos[name])
        hello.verify(run, name, roster.keys[name])
        found[name] = hello
    if len({hello.key for hello in found.values()}) < len(found):
        raise KeysError("two hospitals said hello with the same key")
    return found


def run_id(study: bytes, roster: bytes, hellos: Mapping[str, bytes]) -> bytes:
    """SHA-256 (32,) of the study, the roster's hash and all signed keys in roster order."""
    signed = (frames(name.encode(), hellos[name]) for name in sorted(hellos))
    return hashlib.sha256(frames(purpose("run"), study, roster, *signed)).digest()


def derive(secret: bytes, use: str, *parts: bytes) -> bytes:
    """HKDF-SHA256 of a secret for one named use and parts, 32 bytes."""
    return expand(secret, frames(purpose(use), *parts))


def expand(secret: bytes, use: bytes) -> bytes:
    """The same for a use that is framed already."""
    return HKDF(_HASH, KEY_BYTES, salt=None, info=use).derive(secret)


def pair_secret(private: X25519PrivateKey, public: bytes, run: bytes, names: tuple[str, str]) -> bytes:
    """What two hospitals share in one run (32,): the same for both, whichever name comes first."""
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # a point of small order: the outcome would be known to everyone
        raise KeysError(f"the fresh key of one of {sorted(names)} is not a usable X25519 key") from error
    first, second = sorted(names)
    return derive(shared, "pair", run, first.encode(), second.encode())


def commitment(study: bytes, name: str, seed: bytes) -> bytes:
    """Hash (32,) of a seed: says nothing about 32 random bytes, and fits no others."""
    return hashlib.sha256(frames(purpose("seed"), study, name.encode(), seed)).digest()


def seal(secret: bytes, run: bytes, path: tuple[str, str], seed: bytes) -> bytes:
    """A seed on its path (sender, recipient), readable only by the two who share the pair secret."""
    bound = frames(run, path[0].encode(), path[1].encode())
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(derive(secret, "seal", bound)).encrypt(nonce, seed, bound)


def unseal(secret: bytes, run: bytes, path: tuple[str, str], sealed: bytes) -> bytes:
    """The seed of `seal`. KeysError when it was changed, or sealed for another run, path or pair."""
    bound = frames(run, path[0].encode(), path[1].encode())
    cipher = ChaCha20Poly1305(derive(secret, "seal", bound))
    try:
        seed = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise KeysError(f"the sealed seed from {path[0]!r} is not for {path[1]!r} in this run") from error
    return check_seed(seed)


def check_seed(seed: bytes) -> bytes:
    """The seed itself. KeysError unless it has 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise KeysError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return seed


def group_secret(study: bytes, roster: bytes, seeds: Mapping[str, bytes]) -> bytes:
    """HKDF over the members' seeds in roster order (32,): unknown as long as one seed is."""
    names = sorted(seeds)
    secret = frames(*(seeds[name] for name in names))
    return derive(secret, "group", study, roster, *(name.encode() for name in names))
