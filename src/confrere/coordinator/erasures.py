"""A run is forgotten at the coordinator, and a signed proof says so.

proof.key in the coordinator's folder signs, made when it is first needed; it signs nothing else and opens nothing. The
proofs stay in erased.jsonl, for a run that is forgotten cannot be erased again.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from confrere.coordinator.book import Book
from confrere.coordinator.home import Home
from confrere.coordinator.service import erase
from confrere.sums import Identity
from confrere.sums.files import write_private
from confrere.sums.proofs import COORDINATOR, signed


def signing_key(home: Home) -> Identity:
    """The coordinator's key for proofs. KeysError where its file is none."""
    file = home.path / "proof.key"
    if not file.is_file():
        write_private(file, Identity.generate().to_bytes())
    return Identity.from_bytes(file.read_bytes())


def erased(home: Home, run: str) -> dict[str, str]:
    """Remove a run that is over; the signed proof. StudyError if there is none, or it is not over."""
    key, book, journal = signing_key(home), Book(home.database), home.folder(run).journal
    proof = {
        "run": run,
        "journal_sha256": hashlib.sha256(journal.read_bytes()).hexdigest() if journal.is_file() else "",
        "erased": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    entry = book.get(run)
    erase(home, book, run)
    made = signed(COORDINATOR, {**proof, "study": entry.study if entry else "", "key": key.public.hex()}, key)
    with (home.path / "erased.jsonl").open("a", encoding="utf-8") as kept:
        kept.write(json.dumps(made) + "\n")
    return made
