"""The airlock for whoever reads: what is held, the findings with their checks, and the two words that end it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from confrere.console.client import fetched
from confrere.console.result import as_dict, models
from confrere.console.show import findings, text
from confrere.coordinator.book import Book
from confrere.coordinator.home import Home
from confrere.coordinator.release import Airlock, Standing
from confrere.errors import StudyError


def listed(home: Path) -> Iterator[str]:
    """Every run that is held, why, and which checks did not pass; the last link of the record of releases."""
    airlock, book = _airlock(home)
    link = book.verify()
    held = airlock.held()
    for standing in held:
        yield f"{standing.run}  {standing.why}"
        for check in standing.failing:
            yield f"    {check.analysis or 'all analyses'}, {check.check} ({check.verdict}): {check.reason}"
    if not held:
        yield "nothing is held"
    yield f"record of releases: {link or 'empty'}"


def shown(home: Path, run: str, reader: str, out: Path | None) -> Iterator[str]:
    """The findings of a run, its checks and its SHA-256; that `reader` read them is written down."""
    if not reader:
        raise StudyError("--reader NAME says who reads it")
    airlock, _ = _airlock(home)
    standing, data = airlock.read(run, reader)
    results = fetched(Home(home).folder(run).study, data, standing.record)
    yield text(findings(results))
    for name, error in results.errors.items():
        yield f"{name} has no result: {error}"
    yield ""
    for check in standing.checks:
        yield f"{check.verdict:6s}  {check.analysis or 'all analyses'}, {check.check}: {check.reason} [{check.source}]"
    if out is not None:
        from confrere.report import write

        yield f"Report: {write(as_dict(results), out, models=models(results)).report}"
    yield f"SHA-256 of what was read: {standing.sha256}"


def let_go(home: Path, run: str, reader: str, accept: Sequence[str], comment: str) -> str:
    """One reader's release; where the run then is."""
    return _line(_airlock(home)[0].release(run, reader, accept=accept, comment=comment))


def kept_back(home: Path, run: str, reader: str, comment: str) -> str:
    """One reader's rejection; where the run then is."""
    return _line(_airlock(home)[0].reject(run, reader, comment))


def _airlock(home: Path) -> tuple[Airlock, Book]:
    here = Home(home)
    book = Book(here.database)
    return Airlock(here, book), book


def _line(standing: Standing) -> str:
    why = f" ({standing.why})" if standing.why else ""
    return f"{standing.run} is {standing.state}{why}; SHA-256 {standing.sha256}"
