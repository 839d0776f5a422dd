"""The port to an engine: what moves bytes between the coordinator and the hospitals and keeps a process for each run.

Everything that decides is ours: keys, journal, resuming, deadlines. An engine starts the conducting of a run over all
hospitals, says whether that still lives, and ends it. One suite of tests (tests/engines) holds for every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Engine(Protocol):
    """An engine as the service uses it. Methods give their answer within seconds, or raise `Waiting`."""

    def hospitals(self) -> Mapping[str, float]:
        """The hospitals that are connected now, and the clock time at which each was last heard of."""
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
