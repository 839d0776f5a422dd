"""A hospital's word for a model: its identity key signs the model's file, card and all, and others check it.

What is signed is the file without its signatures, in one canonical form: whoever changes a coefficient or a line of the
card is found out. A roster, which every hospital has signed, says whose key is whose.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from confrere.errors import KeysError, StudyError
from confrere.hospital.home import Home
from confrere.study.file import meant
from confrere.study.learnt import parsed
from confrere.sums.keys import Roster, verify

USE = "model"


def digest(plain: dict[str, Any], path: Path) -> bytes:
    """SHA-256 (32 bytes) of a model's file without its signatures, and of a network's parameters beside it.

    StudyError where these are not there.
    """
    bare = {key: value for key, value in plain.items() if key != "signatures"}
    made = hashlib.sha256(json.dumps(bare, sort_keys=True, ensure_ascii=True).encode())
    if "weights_sha256" in plain:
        beside = path.with_suffix(".safetensors")
        try:
            made.update(beside.read_bytes())
        except OSError as error:
            raise StudyError(f"{beside} cannot be read ({error.strerror}); it lies beside {path.name}") from None
    return made.digest()


def sign_model(home: Home, path: Path) -> str:
    """Add a hospital's signature to a model's file, and an entry to its ledger; the digest in hexadecimal digits.

    StudyError where the file is no model with a card, or the card is of another model.
    """
    from confrere.analyses.learning.released import read

    plain = _plain(path)
    if "card" not in plain:
        raise StudyError(f"{path} has no card, and nothing to put a name to; give models/NAME.json of a result")
    found, said = read(path).sha256, of_card(plain)
    if found != said:
        raise StudyError(
            f"{path}: the card is of the model {said[:16] or 'without a SHA-256'}, and the file holds {found[:16]}; "
            f"give models/NAME.json of a result, unchanged"
        )
    made = digest(plain, path)
    signature = home.identity.sign(USE, made).hex()
    plain["signatures"] = plain.get("signatures", {}) | {home.name: signature}
    home.log("signed model", model=made.hex(), file=path.name)  # first: there is no signature without its entry
    rewritten(path, plain)
    return made.hex()


def rewritten(path: Path, plain: dict[str, Any]) -> None:
    """Write a model's file anew, whole or not at all."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(plain), encoding="utf-8")
    os.replace(beside, path)


def signers(path: Path, roster: Roster) -> tuple[str, ...]:
    """The hospitals of a roster that have signed a model's file.

    KeysError where a signature is not that of these bytes, or where there is none.
    """
    plain = _plain(path)
    signatures = plain.get("signatures", {})
    for name, signature in signatures.items():
        if name not in roster.keys:
            raise KeysError(f"{path} is signed by {name!r}, who is not in the roster; {meant(name, roster.names)}")
        verify(roster.keys[name], _bytes(signature), USE, digest(plain, path))
    if not signatures:
        raise KeysError(f"{path}: no hospital has signed it; ask for one that a hospital of the roster has signed")
    return tuple(sorted(signatures))


def of_card(plain: dict[str, Any]) -> str:
    """The SHA-256 of the model that a card is of; "" where it says none."""
    card = plain["card"]
    model = card.get("model") if isinstance(card, dict) else None
    return str(model.get("sha256", "")) if isinstance(model, dict) else ""


def _bytes(signature: Any) -> bytes:
    """The bytes of a signature; none that verify where it is no hexadecimal text."""
    try:
        return bytes.fromhex(signature)
    except (TypeError, ValueError):
        return b""


def _plain(path: Path) -> dict[str, Any]:
    try:
        plain = parsed(path.read_text(encoding="utf-8"))
        if not isinstance(plain.get("signatures", {}), dict):
            raise StudyError("its signatures are not by hospital")
    except (OSError, ValueError, StudyError) as error:
        raise StudyError(f"{path} is no model that Confrere wrote ({error}); give models/NAME.json") from None
    return plain
