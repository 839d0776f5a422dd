"""Who a hospital is: its long-term key, and the roster that every hospital has signed.

An identity key (Ed25519, RFC 8032) is made at the hospital and never leaves it. Stewards compare
fingerprints by telephone, in digits, which sound alike in no language. A roster is the pinned list
of hospitals and their public keys: at least three, each of whom has signed the whole list, so that
nobody can add, drop or swap a hospital for some of the others only.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from confrere.errors import KeysError
from confrere.sums.frames import frames, purpose

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
FEWEST_MEMBERS: Final = 3  # a sum over two hospitals shows each the other's
LONGEST_NAME: Final = 64
_DIGITS: Final = 40  # 132 bits: nobody can find a second key with the same digits
_MOST: Final = 1 << 12  # signatures of this process that are remembered
_MADE: dict[bytes, tuple[bytes, str, tuple[bytes, ...]]] = {}  # whose they are, and over what: these are verified


class Identity:
    """A hospital's long-term signing key. Its text form never shows the key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: Final[bytes] = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> Identity:
        """The key that `to_bytes` gave. KeysError unless 32 bytes."""
        if len(secret) != KEY_BYTES:
            raise KeysError(f"an identity key has {KEY_BYTES} bytes, not {len(secret)}")
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def to_bytes(self) -> bytes:
        """The secret key, 32 bytes, for the hospital's own disk and nowhere else."""
        return self._private.private_bytes_raw()

    def sign(self, use: str, *parts: bytes) -> bytes:
        """Sign the parts for one named use (64 bytes); `verify` with the same use and parts."""
        signature = self._private.sign(frames(purpose(use), *parts))
        if len(_MADE) >= _MOST:
            _MADE.clear()
        _MADE[signature] = self.public, use, parts
        return signature

    @property
    def fingerprint(self) -> str:
        """The public key's fingerprint: what stewards read to each other."""
        return fingerprint(self.public)

    def __repr__(self) -> str:
        return f"Identity({self.fingerprint})"


def fingerprint(public: bytes) -> str:
    """Forty digits in eight groups of five, from SHA-256 of the public key."""
    value = int.from_bytes(hashlib.sha256(frames(purpose("fingerprint"), public)).digest(), "big")
    digits = f"{value % 10**_DIGITS:0{_DIGITS}d}"
    return " ".join(digits[i : i + 5] for i in range(0, _DIGITS, 5))


def verify(public: bytes, signature: bytes, use: str, *parts: bytes) -> None:
    """KeysError unless `signature` is that of `public` over exactly these parts for this use."""
    if _MADE.get(signature) != (public, use, parts):
        _verify(public, signature, use, *parts)


@lru_cache(maxsize=1 << 14)  # in one process many hospitals verify the same signature; errors are not kept
def _verify(public: bytes, signature: bytes, use: str, *parts: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, frames(purpose(use), *parts))
    except (InvalidSignature, ValueError) as error:
        raise KeysError(f"a signature for {use!r} is not by the key {fingerprint(public)}") from error


class Rotation(NamedTuple):
    """A hospital's change of key: the old key signs the new one, and the new one that it consents."""

    name: str
    old: bytes  # (32,) public key in the roster so far
    new: bytes  # (32,) public key from now on
    by_old: bytes  # (64,)
    by_new: bytes  # (64,)


def rotate(name: str, old: Identity, new: Identity) -> Rotation:
    """Hand `name` over from one key to the next. A lost old key cannot: that is a new member."""
    parts = (name.encode(), old.public, new.public)
    return Rotation(name, old.public, new.public, old.sign("rotation", *parts), new.sign("rotation", *parts))


@dataclass(frozen=True)
class Roster:
    """The hospitals of a federation: public keys by name, and the signatures gathered so far.

    Names are ordered by code point; that order is the order of members everywhere. KeysError for
    fewer than three members, two with one key, and names that could be mistaken for one another.
    """

    keys: Mapping[str, bytes]  # name -> (32,) Ed25519 public key
    signatures: Mapping[str, bytes] = field(default_factory=dict)  # name -> (64,)

    def __post_init__(self) -> None:
        _check_members(self.keys)
        strangers = sorted(set(self.signatures) - set(self.keys))
        if strangers:
            raise KeysError(f"the roster is signed by {strangers}, who are not in it")
        object.__setattr__(self, "keys", MappingProxyType(dict(sorted(self.keys.items()))))
        object.__setattr__(self, "signatures", MappingProxyType(dict(sorted(self.signatures.items()))))

    @property
    def names(self) -> tuple[str, ...]:
        """The members in roster order."""
        return tuple(self.keys)

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of names and keys (32,), which every member signs; signatures are not part of it."""
        members = (frames(name.encode(), key) for name, key in self.keys.items())
        return hashlib.sha256(frames(purpose("roster"), *members)).digest()

    def signed(self, name: str, identity: Identity) -> Roster:
        """This roster with the signature of `name` added. KeysError when the key is not that member's."""
        if self.keys.get(name) != identity.public:
            raise KeysError(f"{name!r} with the key {identity.fingerprint} is not a member of this roster")
        signature = identity.sign("roster", name.encode(), self.hash)
        return Roster(self.keys, {**self.signatures, name: signature})

    def verify(self) -> None:
        """KeysError unless every member has signed exactly this list."""
        missing = [name for name in self.names if name not in self.signatures]
        if missing:
            raise KeysError(f"the roster is not signed by {missing}; every member signs before a run")
        for name, key in self.keys.items():
            verify(key, self.signatures[name], "roster", name.encode(), self.hash)

    def rotated(self, rotation: Rotation) -> Roster:
        """The roster with one key changed, unsigned: it is a new list, and everybody signs again."""
        if self.keys.get(rotation.name) != rotation.old:
            raise KeysError(f"the key that {rotation.name!r} wants to replace is not its key in the roster")
        parts = (rotation.name.encode(), rotation.old, rotation.new)
        verify(rotation.old, rotation.by_old, "rotation", *parts)
        verify(rotation.new, rotation.by_new, "rotation", *parts)
        return Roster({**self.keys, rotation.name: rotation.new})


def _check_members(keys: Mapping[str, bytes]) -> None:
    if len(keys) < FEWEST_MEMBERS:
        raise KeysError(
            f"a roster has {FEWEST_MEMBERS} hospitals at least, not {len(keys)}: "
            "in a sum of two, each can subtract its own part"
        )
    for name, key in keys.items():
        _check_name(name)
        if len(key) != KEY_BYTES:
            raise KeysError(f"the public key of {name!r} has {len(key)} bytes, not {KEY_BYTES}")
    # One hospital under two names would be a sum over fewer hospitals than the roster says.
    if len(set(keys.values())) < len(keys):
        raise KeysError("two members of the roster have the same key")
    if len({name.casefold() for name in keys}) < len(keys):
        raise KeysError("two names of the roster differ only in upper and lower case")


def _check_name(name: str) -> None:
    tidy = name == unicodedata.normalize("NFKC", name).strip() and name.isprintable()
    if not (tidy and 1 <= len(name) <= LONGEST_NAME):
        raise KeysError(f"{name!r} is no hospital's name: 1 to {LONGEST_NAME} printable characters, NFKC, trimmed")
