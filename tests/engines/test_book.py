"""The service's memory in SQLite and in a real PostgreSQL, which the test starts itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

import postgres
from confrere.coordinator.book import Book, Entry
from confrere.errors import StudyError


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a server of ours."""
    with postgres.server() as place:
        yield f"postgresql+psycopg://{place}"


@pytest.fixture(params=["sqlite", "postgresql"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    url = f"sqlite:///{tmp_path / 'state.db'}" if request.param == "sqlite" else request.getfixturevalue("postgresql")
    made = Book(url)
    for entry in made.all():
        made.forget(entry.run)
    yield made
    made.close()


def entry(run: str, at: float = 1.5) -> Entry:
    return Entry(run, "a" * 64, "Étude", "ada", at, at + 10, "queued", "", "", 0, at)


def test_what_is_written_is_found_again(book: Book) -> None:
    book.add(entry("b", 2.0))
    book.add(entry("a", 1.0))
    assert book.get("a") == entry("a", 1.0)
    assert [e.run for e in book.all()] == ["a", "b"]
    book.change("a", state="running", handle="h", attempts=1)
    changed = book.get("a")
    assert changed is not None
    assert (changed.state, changed.handle, changed.attempts) == ("running", "h", 1)
    assert changed.changed > 1e9
    book.forget("a")
    assert book.get("a") is None


def test_a_run_has_one_entry(book: Book) -> None:
    from sqlalchemy.exc import IntegrityError

    book.add(entry("a"))
    with pytest.raises(IntegrityError):
        book.add(entry("a"))


def test_tokens_are_kept_as_hashes_and_taken_back(book: Book) -> None:
    tokens = [book.token("grace") for _ in range(2)]
    assert {book.researcher(t) for t in tokens} == {"grace"}
    assert book.researcher("") is None
    assert book.revoke("grace") == 2
    assert {book.researcher(t) for t in tokens} == {None}
    with pytest.raises(StudyError, match="no token"):
        book.revoke("grace")


def test_acts_of_several_writers_are_one_chain(book: Book) -> None:
    before = len(book.acts())

    def write(who: str) -> None:
        for i in range(8):
            book.write("a", "read", "0" * 64, person=who, comment=f"été {i}", details='{"checks": []}')

    threads = [threading.Thread(target=write, args=(who,)) for who in ("ada", "grace", "mary")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acts = book.acts("a")[-24:]
    assert [a.number for a in book.acts()] == list(range(1, before + 25))
    assert all(
        [a.comment for a in acts if a.person == who] == [f"été {i}" for i in range(8)] for who in ("ada", "mary")
    )
    assert book.verify() == book.acts()[-1].link


def test_a_token_may_do_what_its_scopes_say_until_it_expires(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = book.token("hedy", "notebook", ("read",), 7)
    assert book.researcher(reads) == book.researcher(reads, "read") == "hedy"
    assert book.researcher(reads, "submit") is None
    assert book.researcher(book.token("hedy"), "submit") == "hedy"
    (mine, other) = book.tokens("hedy")
    assert (mine.label, mine.scopes, round((mine.expires - mine.made) / 86400)) == ("notebook", ("read",), 7)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    assert book.researcher(reads) is None
    assert book.tokens("hedy") == [other]
    book.revoke("hedy")


def test_a_token_is_taken_back_by_its_owner_alone(book: Book) -> None:
    token = book.token("hedy")
    (mine,) = book.tokens("hedy")
    for who, id in (("eve", mine.id), ("hedy", ""), ("hedy", mine.id[:4]), ("hedy", "%" * 12), ("hedy", "_" * 12)):
        assert not book.withdraw(who, id)
    assert book.researcher(token) == "hedy"
    assert book.withdraw("hedy", mine.id)
    assert book.researcher(token) is None
    assert book.tokens("hedy") == []


@pytest.mark.parametrize(("scopes", "days", "said"), [
    ((), 1, "scopes"), (("write",), 1, "scopes"), (("read",), 0, "at most 365 days"), (("read",), 366, "at most"),
])  # fmt: skip
def test_a_token_that_could_not_be(book: Book, scopes: tuple[str, ...], days: float, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        book.token("hedy", "", scopes, days)


def test_tokens_of_the_version_before_hold_on(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    made = Book(f"sqlite:///{tmp_path / 'state.db'}")
    token = made.token("ada")
    made.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        for column in ("label", "scopes", "expires"):
            db.execute(f"ALTER TABLE tokens DROP COLUMN {column}")
        db.commit()
    for _ in range(2):
        again = Book(f"sqlite:///{tmp_path / 'state.db'}")
        assert again.researcher(token, "submit") == "ada"
        assert [t.scopes for t in again.tokens("ada")] == [("read", "submit")]
        again.close()
