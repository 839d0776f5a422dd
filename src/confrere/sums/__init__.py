"""Secure sums: an array leaves a hospital only as a part of a total.

Numbers become exact integers (`fixed`), hospitals know each other by signed keys (`keys`), agree on
secrets for a run (`agreement`), mask what they send with streams that cancel in the total (`masks`),
write down what they sent (`attempts`), and do all this in the order of a table (`session`). Knows
arrays, never patients; does no I/O but the file of attempts.
"""

from confrere.sums.agreement import Hello, run_id
from confrere.sums.attempts import Attempts, FileAttempts, MemoryAttempts
from confrere.sums.fixed import Ring, add, decode, encode, negate, subtract, total
from confrere.sums.keys import Identity, Roster, Rotation, fingerprint, rotate
from confrere.sums.masks import Context, Pairs, add_masked
from confrere.sums.session import Answer, Session, add_answers

__all__ = [
    "Answer",
    "Attempts",
    "Context",
    "FileAttempts",
    "Hello",
    "Identity",
    "MemoryAttempts",
    "Pairs",
    "Ring",
    "Roster",
    "Rotation",
    "Session",
    "add",
    "add_answers",
    "add_masked",
    "decode",
    "encode",
    "fingerprint",
    "negate",
    "rotate",
    "run_id",
    "subtract",
    "total",
]
