"""The port to an engine: what moves bytes between the coordinator and the hospitals and keeps a process for each run.

Everything that decides is ours: keys, journal, resuming, deadlines. An engine starts the conducting of a run over all
hospitals, says whether that still lives, and ends it. One suite of tests (tests/engines) holds for every engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class Vitals(NamedTuple):
    """What a hospital last said of its machine. Its own word: it decides nothing here."""

    heard: float  # clock time at the coordinator, seconds since 1970
    version: str  # the release that runs there
    ahead: float  # seconds by which its clock is ahead of the coordinator's, less the time that its word took
    free: int  # bytes of its folder's disk
    worklists: int = 0  # people on its worklists: one number a month, floored to a multiple of k

    @classmethod
    def of(cls, said: Any, heard: float) -> Vitals | None:
        """The vitals of what a hospital said (`version`, `clock`, `free`); None where it is nothing of the kind."""
        try:
            version, clock, free = str(said["version"]), float(said["clock"]), int(said["free"])
            worklists = max(0, int(said.get("worklists", 0)))
        except (AttributeError, TypeError, ValueError, KeyError, OverflowError):
            return None
        if not (math.isfinite(clock) and version.isascii() and version.isprintable() and 0 <= free < 1 << 63):
            return None
        return cls(heard, version[:40], clock - heard, free, worklists)


class Engine(Protocol):
    """An engine as the service uses it. Methods give their answer within seconds, or raise `Waiting`."""

    def hospitals(self) -> Mapping[str, float]:
        """The hospitals that are connected now, and the clock time at which each was last heard of."""
        ...

    def vitals(self) -> Mapping[str, Vitals]:
        """What the hospitals last said of their machines, also those that are not connected now."""
        ...

    def start(self, run: str, hospitals: tuple[str, ...]) -> str:
        """Have the run of this name conducted over the hospitals; a handle of this attempt."""
        ...

    def alive(self, handle: str) -> bool:
        """Whether an attempt is still under way. False for one that the engine does not know."""
        ...

    def stop(self, handle: str) -> None:
        """End an attempt, at the coordinator and at every hospital; nothing if it is over."""
        ...

    def close(self) -> None:
        """Let go of what the engine holds; attempts under way are stopped."""
        ...
