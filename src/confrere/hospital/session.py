"""Keys of a run in one process: every hospital gets a fresh identity, and all sign the roster."""

from __future__ import annotations

from collections.abc import Sequence

from confrere.sums import Identity, MemoryAttempts, Pairs, Roster, Session


def start_sessions(names: Sequence[str], study: bytes, epoch: int = 1) -> dict[str, Session]:
    """A session for each hospital of a federation that lives in this process; `study` is its hash (32 bytes)."""
    identities = {name: Identity.generate() for name in names}
    roster = Roster({name: identity.public for name, identity in identities.items()})
    for name, identity in identities.items():
        roster = roster.signed(name, identity)
    sessions = {name: Session(i, name, roster, study, epoch, MemoryAttempts()) for name, i in identities.items()}
    pairs = Pairs()
    for session in sessions.values():
        session.pairs = pairs
    return sessions
