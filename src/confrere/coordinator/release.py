"""The airlock: what a run found stays at the coordinator until its checks, or its readers, let it go (DESIGN 4.8).

    arrived -> (checks pass, no reader asked for) -> released
    arrived -> read by a person -> released by that person -> ... as many as coordinator.toml asks for
                                -> rejected, with a comment
    meanwhile the researcher may leave a word for the readers

What is released is exactly what was read: reading writes down the SHA-256 of the findings, releasing compares it, and
so does every fetch. Nobody releases what they asked for themselves, and no two readers are the same person. A check
that does not pass is let through by its name and a comment alone. Everything is an act in the `Book`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from confrere.coordinator.airlock import Check, Rule, checks
from confrere.coordinator.book import Act, Book
from confrere.coordinator.conduct import found_of
from confrere.coordinator.home import Home
from confrere.errors import Refused, StudyError, Waiting

LONGEST: Final = 2000  # characters of a researcher's word


class Standing(NamedTuple):
    """Where a run's findings are: `held`, `released` or `rejected`; `why` in words that the researcher may read."""

    run: str
    state: str
    why: str
    sha256: str
    checks: tuple[Check, ...]
    acts: tuple[Act, ...]  # since the findings arrived

    @property
    def failing(self) -> tuple[Check, ...]:
        """Checks that did not pass."""
        return tuple(c for c in self.checks if c.verdict != "pass")

    @property
    def readers(self) -> tuple[str, ...]:
        """Who has released it so far."""
        return tuple(act.person for act in self.acts if act.act == "released" and act.person)

    @property
    def asked(self) -> tuple[Act, ...]:
        """What the researcher told the readers."""
        return tuple(act for act in self.acts if act.act == "asked")

    def has_read(self, reader: str) -> bool:
        """Whether a person has read exactly these findings."""
        return any(a.act == "read" and a.sha256 == self.sha256 and _same(reader, [a.person]) for a in self.acts)

    @property
    def record(self) -> dict[str, Any]:
        """What `result.json` says of a release: who, when, of what, in spite of which checks."""
        last = self.acts[-1] if self.acts else None
        return {
            "state": self.state,
            "by": list(self.readers),
            "at": None if last is None else datetime.fromtimestamp(last.at, UTC).isoformat(timespec="seconds"),
            "sha256": self.sha256,
            "comment": "; ".join(act.comment for act in self.acts if act.comment and act.act != "asked"),
            "checks": [check._asdict() for check in self.checks],
        }


class Airlock:
    """The airlock of a coordinator."""

    def __init__(self, home: Home, book: Book) -> None:
        self._home, self._book = home, book

    def standing(self, run: str) -> Standing:
        """Where the findings of a run are; a run that has just ended goes in. StudyError where there are none."""
        acts = self._since(run)
        if not acts:
            self._enter(run)
            acts = self._since(run)
        return _standing(run, acts, self._needed)

    def held(self) -> list[Standing]:
        """All findings that wait for somebody, the oldest first."""
        acts: dict[str, list[Act]] = {}
        for act in self._book.acts():
            acts.setdefault(act.run, []).append(act)
        ended = [e.run for e in self._book.all() if e.state == "done"]
        known = {run: _since(acts.get(run, [])) for run in ended}
        standings = (_standing(r, a, self._needed) if a else self.standing(r) for r, a in known.items())
        return [standing for standing in standings if standing.state == "held"]

    def ask(self, run: str, researcher: str, word: str) -> Standing:
        """The researcher's word for the readers. StudyError where it is none, or the findings are not held."""
        if not word.strip() or len(word) > LONGEST:
            raise StudyError(f"a word for the readers has 1 to {LONGEST:,} characters")
        self._book.write(run, "asked", self._open(run).sha256, person=researcher, comment=word.strip())
        return self.standing(run)

    def read(self, run: str, reader: str) -> tuple[Standing, bytes]:
        """The findings, for a named reader: that they were read, and their hash, is written down."""
        self.reader(run, reader)
        data = self._bytes(run)
        self._book.write(run, "read", _sha256(data), person=reader.strip())
        return self.standing(run), data

    def again(self, run: str, reader: str) -> tuple[Standing, bytes]:
        """The findings once more, for a person who has read exactly these. Refused for anybody else."""
        standing, name = self.standing(run), self.reader(run, reader)
        if not standing.has_read(name):
            raise Refused(f"{name} has not read {run}")
        return standing, self._bytes(run)

    def release(self, run: str, reader: str, *, accept: Sequence[str] = (), comment: str = "") -> Standing:
        """Let the findings go, as far as this reader is concerned.

        `accept` names every check that did not pass, and needs a comment. Refused where the reader may not, has not
        read exactly these findings, or leaves a check unsaid; StudyError where the run is not held.
        """
        standing, name = self._open(run), self.reader(run, reader)
        sha256 = _sha256(self._bytes(run))
        if _same(name, standing.readers):
            raise Refused(f"{name} has released {run} already; another person must read it")
        if not standing.has_read(name):
            raise Refused(f"{name} has not read {run}: `confrere coordinator airlock {run} --reader NAME` shows it")
        failing = {check.check for check in standing.failing}
        if strange := sorted(set(accept) - failing):
            raise StudyError(f"accept {', '.join(strange)}: not a check of {run} that did not pass")
        if unsaid := sorted(failing - set(accept)):
            raise Refused(f"these checks of {run} did not pass: {', '.join(unsaid)}; accept each by name, or reject it")
        if failing and not comment.strip():
            raise StudyError("say in a comment why the checks that did not pass are accepted")
        details = {"accepted": sorted(failing), "last": len(standing.readers) + 1 >= self._needed}
        self._book.write(run, "released", sha256, person=name, comment=comment.strip(), details=json.dumps(details))
        return self.standing(run)

    def reject(self, run: str, reader: str, comment: str) -> Standing:
        """Keep the findings for good, and tell the researcher why. StudyError without a comment."""
        name = self.reader(run, reader)
        if not comment.strip():
            raise StudyError("say in a comment why: the researcher reads it")
        sha256 = self._open(run).sha256
        self._book.write(run, "rejected", sha256, person=name, comment=comment.strip())
        return self.standing(run)

    def fetch(self, run: str) -> bytes:
        """The findings as they were released. `Waiting` while they are held, Refused where rejected or changed."""
        standing = self.standing(run)
        if standing.state == "held":
            raise Waiting(f"held in the airlock: {standing.why}")
        if standing.state == "rejected":
            raise Refused(f"rejected in the airlock: {standing.why}")
        return self._bytes(run)

    def forget(self, run: str) -> None:
        """The run is erased; what happened stays in the record. The next findings of the same study come in anew."""
        if acts := self._since(run):
            self._book.write(run, "erased", acts[0].sha256)

    @property
    def _needed(self) -> int:
        """Readers of what is held: one at least, where the checks did not let it go."""
        return max(1, self._home.readers)

    def _enter(self, run: str) -> None:
        """Check findings that have just come, and let them go where nobody need read them."""
        folder, entry = self._home.folder(run), self._book.get(run)
        if entry is None or entry.state != "done":
            raise StudyError("the run has no findings yet; ask for its status")
        data = (folder.path / "found").read_bytes()
        study, sha256 = folder.study, _sha256(data)
        made = checks(found_of(data).findings, Rule(study.k, study.allow))
        happened: dict[str, dict[str, Any]] = {"arrived": {"checks": [list(check) for check in made]}}
        if self._home.readers == 0 and all(check.verdict == "pass" for check in made):
            happened["released"] = {"accepted": [], "last": True}  # at once, so that nobody sees them held
        self._book.writes(*(Act(0, run, act, "", "", sha256, json.dumps(d), 0.0, "") for act, d in happened.items()))

    def _since(self, run: str) -> tuple[Act, ...]:
        return _since(self._book.acts(run))  # verified before anything is given out

    def _open(self, run: str) -> Standing:
        standing = self.standing(run)
        if standing.state != "held":
            raise StudyError(f"the run {run} is {standing.state} already")
        return standing

    def _bytes(self, run: str) -> bytes:
        """The findings' file. Refused where it is not what came in, ProtocolError where the record was changed."""
        self._book.verify()
        standing = self.standing(run)
        data = (self._home.folder(run).path / "found").read_bytes()
        if _sha256(data) != standing.sha256:
            raise Refused(
                f"the findings of {run} are not those that were checked and read: their SHA-256 is "
                f"{_sha256(data)[:16]}..., and was {standing.sha256[:16]}... Nothing is given out; erase the run"
            )
        return data

    def reader(self, run: str, reader: str) -> str:
        """Who reads. StudyError without a name, Refused where it is the researcher."""
        entry, name = self._book.get(run), reader.strip()
        if entry is None:
            raise StudyError(f"no run is called {run!r}")
        if not name or len(name) > 200 or not name.isprintable():
            raise StudyError(f"{reader!r} names nobody; give the name of the person who reads")
        if _same(name, [entry.researcher]):
            raise Refused(f"{name} asked for {run}: somebody else must read it")
        return name


def _since(acts: Sequence[Act]) -> tuple[Act, ...]:
    """What happened to a run's findings since they arrived; nothing where they did not.

    Two who ask at once may both let the same findings arrive: it is the first that counts.
    """
    found: list[Act] = []
    for act in acts:
        if act.act == "erased" or (act.act == "arrived" and found and found[0].sha256 != act.sha256):
            found = []
        if act.act != "erased" and not (act.act == "arrived" and found):
            found.append(act)
    return tuple(found)


def _standing(run: str, acts: Sequence[Act], needed: int) -> Standing:
    """Where a run is, from what happened to it."""
    arrived = acts[0]
    made = tuple(Check(*check) for check in json.loads(arrived.details)["checks"])
    rejected = next((act for act in acts if act.act == "rejected"), None)
    if rejected:
        return Standing(run, "rejected", rejected.comment, arrived.sha256, made, tuple(acts))
    releases = [act for act in acts if act.act == "released"]
    if any(json.loads(act.details)["last"] for act in releases):
        return Standing(run, "released", "", arrived.sha256, made, tuple(acts))
    failing = list(dict.fromkeys(c.check for c in made if c.verdict != "pass"))
    why = f"{len(releases)} of {needed} readers {'has' if len(releases) == 1 else 'have'} released it"
    if failing:
        why += f"; {', '.join(failing)} did not pass the output checks"
    return Standing(run, "held", why, arrived.sha256, made, tuple(acts))


def _same(name: str, others: Sequence[str]) -> bool:
    """Whether a person is among others, however their names are spelt."""
    return name.casefold().split() in [other.casefold().split() for other in others]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
