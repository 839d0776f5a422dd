"""One unambiguous way to turn parts into bytes, for everything that is hashed, signed or derived from.

Each part is preceded by its length in eight bytes, so no two lists of parts give the same bytes
(`frames(b"ab", b"c") != frames(b"a", b"bc")`), and what one signs cannot be read as anything else.
Every use begins with a purpose, so that a signature or key made for one thing never serves another.
"""

from __future__ import annotations

from typing import Final

from confrere.errors import KeysError

VERSION: Final = "confrere/1"
_LENGTH: Final = 8  # bytes, little endian


def frames(*parts: bytes) -> bytes:
    """The parts, each after its length: injective from lists of byte strings to byte strings."""
    return b"".join(len(part).to_bytes(_LENGTH, "little") + part for part in parts)


def unframes(data: bytes) -> tuple[bytes, ...]:
    """The parts of `frames(*parts)`. KeysError when the bytes are not exactly such a list."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH
        end = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or end > len(data):
            raise KeysError(f"a message of {len(data)} bytes ends inside its part number {len(parts) + 1}")
        parts.append(data[start:end])
        at = end
    return tuple(parts)


def purpose(name: str) -> bytes:
    """The first part of every hash, signature and derivation: version and use, `confrere/1 roster`."""
    return f"{VERSION} {name}".encode()


def number(value: int) -> bytes:
    """A number of 0 to 2^63 - 1 as eight bytes. KeysError for others: they would not be unambiguous."""
    if not 0 <= value < 1 << 63:
        raise KeysError(f"{value} is not a number from 0 to 2^63 - 1, as rounds, epochs and attempts must be")
    return value.to_bytes(_LENGTH, "little")
