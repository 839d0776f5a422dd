"""The coordinator as a service: runs wait in a queue, several go at once, and a fault is taken up again by itself.

`step` is one look at everything, asked five times a second: it starts what can start, sees what ended, and starts again
what waits once all hospitals are back. It keeps nothing in memory that a restart would miss: runs stand in the `Book`,
their progress in their folders. An attempt that the engine lists but that says nothing, such as the ghost that a killed
server leaves behind, is stopped and taken up again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

from confrere.coordinator.book import Book, Entry
from confrere.coordinator.conduct import OVER, STATES, Folder
from confrere.coordinator.engine import Engine
from confrere.coordinator.home import Home
from confrere.coordinator.release import Airlock
from confrere.errors import ConfrereError, StudyError
from confrere.rounds import installed
from confrere.study import build
from confrere.study.file import parse

STARTING: Final = 120.0  # seconds in which an attempt must say its first word
SPOKEN: Final = 2.0  # seconds after a word of an attempt in which the engine is not asked whether it lives
STOPPING: Final = 10.0  # seconds that a cancelled run has to stop by itself
PAUSE: Final = 2.0  # seconds before a run that waits is tried again; longer after many attempts, up to a minute
FEWEST: Final = 3  # hospitals of a run
_SAID: Final = 2000  # characters of a reason

Seen = Callable[[], dict[str, float]]  # when each hospital that is connected was last heard of


class Service:
    """The coordinator's queue. `engine` conducts, `book` remembers; one process at a time has both."""

    def __init__(self, home: Home, engine: Engine, book: Book) -> None:
        self.home = home
        self._engine = engine
        self.book = book
        self.airlock = Airlock(home, book)

    def recover(self) -> None:
        """After a restart: every attempt that was under way is a ghost; its run waits for another."""
        for entry in self.book.all():
            if entry.state == "running":
                self._halt(entry.handle)
                self._settle(entry, "the coordinator was restarted")

    # what a researcher asks

    def submit(
        self, text: str, researcher: str, deadline: float | None = None, without: Sequence[str] = ()
    ) -> Entry:  # fmt: skip
        """Queue a study; the same study again is the same run. `deadline` is in seconds from now.

        `without` names hospitals that the run does not wait for: they take no part in it, and cannot join later.
        """
        study = parse(text, "study.toml")
        build.analyses(study)
        run = study.hash[:16]
        now = time.time()
        known = self.book.get(run)
        if known is not None and known.researcher != researcher:
            raise StudyError("the same study is run for another researcher; ask whoever runs the coordinator")
        if known is not None and known.state not in ("cancelled", "expired", "failed", "refused"):
            return known
        if known is not None:
            self.book.forget(run)  # what was learned stays in the folder, and is not asked again
        if strange := sorted(set(without) - set(self.home.members)):
            raise StudyError(f"without {', '.join(strange)}: not a hospital of this federation")
        if len(set(self.home.members) - set(without)) < FEWEST:
            raise StudyError(f"a run needs {FEWEST} hospitals at least")
        folder = Folder.make(self.home.path / "runs" / run, text, without)
        (folder.path / "cancel").unlink(missing_ok=True)
        folder.say("queued")
        until = now + (deadline if deadline is not None else 3600.0 * float(self.home.settings["deadline_hours"]))
        entry = Entry(run, study.hash, study.title[:500], researcher, now, until, "queued", "", "", 0, now)
        self.book.add(entry)
        return entry

    def status(self, run: str) -> dict[str, Any]:
        """Where a run is: state, round, what is asked, and for whom it waits."""
        entry = self._known(run)
        progress = self.home.folder(run).progress
        live = {k: v for k, v in progress.items() if k in ("round", "what")} if entry.state == "running" else {}
        return {
            "run": entry.run, "study": entry.study, "title": entry.title, "researcher": entry.researcher,
            "submitted": entry.submitted, "deadline": entry.deadline, "state": entry.state, "why": entry.why,
            "attempts": entry.attempts, **live, **self._release(entry),
        }  # fmt: skip

    def _release(self, entry: Entry) -> dict[str, Any]:
        """Where the findings of a run that is done are; all that is known of them once they are released."""
        if entry.state != "done":
            return {}
        standing = self.airlock.standing(entry.run)
        said = standing.record if standing.state == "released" else {"state": standing.state, "why": standing.why}
        return {"release": said}

    def cancel(self, run: str) -> None:
        """Stop a run before its next round. StudyError if it is over."""
        entry = self._known(run)
        if entry.state in OVER:
            raise StudyError(f"the run {run} is over already ({entry.state})")
        (self.home.folder(run).path / "cancel").touch()
        if entry.state != "running":
            self._change(entry, "cancelled", "cancelled by the researcher")

    def health(self) -> dict[str, Any]:
        """Who is connected and how its machine is, what runs, which methods are installed."""
        return {
            "hospitals": self._hospitals(),
            "runs": {state: sum(e.state == state for e in self.book.all()) for state in STATES},
            "methods": installed(),
        }

    def _hospitals(self) -> dict[str, dict[str, Any]]:
        """Every hospital: last seen, release, seconds by which its clock is ahead, free disk, people on worklists."""
        now, seen, vitals = time.time(), self._seen(), self._engine.vitals()
        found = {}
        for name in self.home.members:
            said = vitals.get(name)
            at = max((at for at in (seen.get(name), said.heard if said else None) if at is not None), default=None)
            found[name] = {
                "connected": name in seen, "seconds_ago": None if at is None else round(max(0.0, now - at), 1),
                "version": said.version if said else None, "clock_ahead": round(said.ahead, 3) if said else None,
                "disk_free": said.free if said else None, "on_worklists": said.worklists if said else None,
            }  # fmt: skip
        return found

    def erase(self, run: str) -> None:
        """Remove a run that is over with all that was kept of it."""
        erase(self.home, self.book, run)

    # what happens by itself

    def step(self) -> None:
        """One look at everything."""
        entries = [e for e in self.book.all() if e.state not in OVER]
        seen = cache(self._seen)  # asked for where it matters: a run under way needs nobody's word but its own
        going = sum(e.state == "running" for e in entries)
        for entry in entries:
            if time.time() > entry.deadline:
                self._halt(entry.handle)
                why = self._missing(entry, seen) or entry.why or "the run was under way"
                self._change(entry, "expired", f"the deadline passed; {why}")
            elif entry.state == "running":
                self._watch(entry, seen)
            elif going < int(self.home.settings["runs"]):
                going += self._begin(entry, seen)

    def tidy(self) -> None:
        """Remove runs that have been over for longer than they are to be kept."""
        least = time.time() - 86400.0 * float(self.home.settings["keep_days"])
        for entry in self.book.all():
            if entry.state in OVER and entry.changed < least:
                self.erase(entry.run)

    def _begin(self, entry: Entry, seen: Seen) -> bool:
        """Start a run, if all its hospitals are there."""
        if missing := self._missing(entry, seen):
            if entry.why != missing:
                self.book.change(entry.run, why=missing)
            return False
        if entry.state == "waiting" and time.time() - entry.changed < min(PAUSE * max(1, entry.attempts - 8), 60.0):
            return False
        folder = self.home.folder(entry.run)
        folder.say("queued")  # whatever stands there afterwards was said by the new attempt
        try:
            handle = self._engine.start(entry.run, self._members(entry))
        except ConfrereError as error:
            self.book.change(entry.run, why=str(error)[:_SAID])
            return False
        self.book.change(entry.run, state="running", why="", handle=handle, attempts=entry.attempts + 1)
        return True

    def _watch(self, entry: Entry, seen: Seen) -> None:
        """See whether an attempt ended, by its own word or without one, or cannot begin since a hospital left."""
        folder = self.home.folder(entry.run)
        progress = folder.progress
        state, speaks = progress["state"], time.time() - progress["at"] < SPOKEN
        if state in OVER:
            self._change(entry, state, str(progress.get("why", "")))
        elif state == "waiting" or not ((state == "running" and speaks) or self._engine.alive(entry.handle)):
            self._halt(entry.handle)
            self._settle(entry, "the run was interrupted")
        elif state == "queued" and (why := self._missing(entry, seen) or self._silent(entry)):
            self._halt(entry.handle)
            self._change(entry, "waiting", why)
        elif (stop := folder.path / "cancel").exists() and time.time() - stop.stat().st_mtime > STOPPING:
            self._halt(entry.handle)
            self._change(entry, "cancelled", "cancelled by the researcher")

    def _silent(self, entry: Entry) -> str:
        """Why an attempt that has said nothing yet is given up, if it had its time."""
        return "the engine did not start the run" if time.time() - entry.changed > STARTING else ""

    def _settle(self, entry: Entry, why: str) -> None:
        """An attempt is over: by its last word the run is, or waits for the next attempt."""
        progress = self.home.folder(entry.run).progress
        state = str(progress["state"])
        if state in OVER:
            self._change(entry, state, str(progress.get("why", "")))
        else:
            self._change(entry, "waiting", str(progress.get("why", why)))

    def _change(self, entry: Entry, state: str, why: str) -> None:
        self.book.change(entry.run, state=state, why=why[:_SAID], handle="")
        if state == "done":
            with suppress(ConfrereError):  # looked at again, and said, when somebody asks for it
                self.airlock.standing(entry.run)

    def _halt(self, handle: str) -> None:
        if handle:
            self._engine.stop(handle)

    def _seen(self) -> dict[str, float]:
        try:
            return dict(self._engine.hospitals())
        except ConfrereError:
            return {}

    def _members(self, entry: Entry) -> tuple[str, ...]:
        """The hospitals of a run."""
        without = self.home.folder(entry.run).without
        return tuple(name for name in self.home.members if name not in without)

    def _missing(self, entry: Entry, seen: Seen) -> str:
        missing = [name for name in self._members(entry) if name not in seen()]
        return f"waiting for {', '.join(missing)}" if missing else ""

    def _known(self, run: str) -> Entry:
        entry = self.book.get(run)
        if entry is None:
            raise StudyError(f"no run is called {run!r}")
        return entry


def erase(home: Home, book: Book, run: str) -> None:
    """Remove a run that is over with all that was kept of it.

    StudyError if there is none, it is not over, or its folder cannot be removed: then it can be tried again.
    """
    entry = book.get(run)
    if entry is None:
        raise StudyError(f"no run is called {run!r}")
    if entry.state not in OVER:
        raise StudyError(f"the run {run} is not over ({entry.state}); cancel it first")
    Airlock(home, book).forget(run)
    folder = home.folder(run).path
    try:
        if folder.exists():
            shutil.rmtree(folder.resolve())
        if folder.is_symlink():
            folder.unlink()
    except OSError as error:
        raise StudyError(f"{folder} cannot be removed ({error.strerror}); mend that, and erase the run again") from None
    book.forget(run)
