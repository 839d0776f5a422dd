"""Keys and rosters on a disk: private files for their owner alone, and the roster as JSON that people can read.

{"hospitals": {"curie": {"key": "64 hex digits", "signature": "128 hex digits, once curie has signed"}, ...}}
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from confrere.errors import KeysError
from confrere.sums.keys import Roster, Rotation


def write_private(path: Path, data: bytes) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made for the owner alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_roster(path: Path) -> Roster:
    """The roster of a file, with the signatures it has. KeysError where it is none."""
    try:
        listed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["hospitals"]
        keys = {name: bytes.fromhex(one["key"]) for name, one in listed.items()}
        signed = {name: bytes.fromhex(one["signature"]) for name, one in listed.items() if one.get("signature")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeysError(f"{path.name} is no roster: {type(error).__name__}. It comes from `confrere roster`") from error
    return Roster(keys, signed)


def write_roster(path: Path, roster: Roster) -> None:
    """The roster as a file."""
    listed = {
        name: {"key": key.hex(), "signature": roster.signatures.get(name, b"").hex()}
        for name, key in roster.keys.items()
    }
    path.write_text(json.dumps({"hospitals": listed}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_rotation(path: Path, rotation: Rotation) -> None:
    """A change of key as a file."""
    said = {"name": rotation.name} | {f: getattr(rotation, f).hex() for f in Rotation._fields[1:]}
    path.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_rotation(path: Path) -> Rotation:
    """The change of key of a file. KeysError where it is none; whether its signatures hold, the roster checks."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Rotation(str(said["name"]), *(bytes.fromhex(said[f]) for f in Rotation._fields[1:]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeysError(f"{path.name} is no rotation ({error}); `confrere hospital rotate` makes it") from error
