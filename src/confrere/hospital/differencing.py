"""The differencing guard: no combination of answers to different studies rests on 1 to k-1 people (DESIGN 4.4).

A *cohort* is the people of one analysis of one study at this hospital: who is complete in the columns it needs. A
hospital remembers the people of every cohort that it answered, as pseudonyms. Atoms are the distinct patterns of
membership over all cohorts, old and new. A combination of cohorts that is 0 on every atom of k people or more rests
on small atoms alone: what leaves could be subtracted until a few people remain. How many such combinations there are,
of cohorts X, is the fall f(X) = (cohorts of X) - (rank of X x atoms of k or more). Pairwise checks do not see them: A
+ B - C may rest on one person where every two differ by hundreds.

**Across studies.** Inside one study differences are judged by the whole network (`study.cohorts.agreed`, and the
gate's pairs): 3 people here may be 50 in the network. So a study N after the studies O is refused where

    f(O u N) > f(O) + f(N) - f(O n N)

that is, where a combination needs both. (f(O n N) is there because cohorts that are asked again bring what they fell
by once, not twice: without it a study could be padded with old cohorts until a new fall is excused.) And where small
combinations of N rest on people on whom small ones of O rest: each may be many people in the network, their
difference one. With `strict` (the scope "own" of a hospital's policy) the study may not fall by itself either.

**A changed definition is treated alike** whether it changes nobody or 1 to k-1 people, or the refusal itself would
tell which. f counts cohorts, not their rank over all atoms: each definition stands for a row of its own, as if
somebody were in it alone. So a new definition needs people by the k to tell it from combinations of old ones; one
with the very people of an old cohort is refused as well. The same definition with the same people (so: on the same
cut) always passes.

What a definition is, and why a column without gaps is no part of it: `hospital.populations`.

**Other hospitals.** The same people asked with other hospitals give the difference of those hospitals alone. The same
rule, hospitals in the place of people and 3 in the place of k: those who joined or left are at least three, or the
study is refused.

Nothing is forgotten, and there is no command for it: a number that left cannot be called back, so what it could be
subtracted from stays dangerous when its study is over, erased or revoked. The file belongs into the hospital's
backup.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from confrere.errors import KeysError
from confrere.hospital.atoms import crossing, members
from confrere.hospital.populations import Cohort, Texts

HOSPITALS = 3  # that make a sum, as in the gate's policy
WAIT = 60.0  # seconds for another process of this hospital to finish writing
NAMED = 3  # earlier answers that a refusal names
Words = NDArray[np.uint64]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS key (mark BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS people (first INTEGER PRIMARY KEY, words BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sets (digest BLOB PRIMARY KEY, members BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cohorts (
    study TEXT NOT NULL, analysis TEXT NOT NULL, definition TEXT NOT NULL, family TEXT NOT NULL,
    hospitals TEXT NOT NULL, cut TEXT NOT NULL, digest BLOB NOT NULL, date TEXT NOT NULL,
    UNIQUE (study, analysis, definition, family, hospitals, digest));
"""

_WORDS = {
    "en": {
        "people": "Together with earlier answers this study would allow a calculation that rests on fewer than {k} "
        "people, or on none; which of the two is told to nobody. What to do: have the analyses declared as variants in "
        "one study, or ask for the same columns as before, or wait for a cut with at least {k} more people.",
        "cuts": "The study divides people at a value so near to one that was answered that fewer than {k} people, or "
        "none, lie between. What to do: take the value that was answered, or declare both in one study.",
        "bags": "What is in the bags of images changed since a study was answered from them, and so few people, or "
        "none, came or left that the difference would be about fewer than {k}. What to do: restore the bags that were "
        "answered from, or wait for bags with at least {k} more people.",
        "hospitals": "The same people were answered for with other hospitals, and fewer than {k} hospitals make the "
        "difference: it would show their sums. A hospital with too few people for a network counts as one that was not "
        "asked. What to do: run the study with the same hospitals, and the same disclosure classes, as before.",
    },
    "fr": {
        "people": "Avec des réponses antérieures, cette étude permettrait un calcul qui repose sur moins de {k} "
        "personnes, ou sur aucune ; lequel des deux n'est dit à personne. Que faire : déclarer les analyses comme "
        "variantes d'une seule étude, ou demander les mêmes colonnes, ou attendre au moins {k} personnes de plus.",
        "cuts": "L'étude sépare les personnes à une valeur si proche d'une valeur déjà utilisée que moins de {k} "
        "personnes, ou aucune, se trouvent entre les deux. Que faire : reprendre la valeur déjà utilisée, ou déclarer "
        "les deux dans une seule étude.",
        "bags": "Le contenu des sacs d'images a changé depuis qu'une étude y a trouvé sa réponse, et si peu de "
        "personnes, ou aucune, y sont entrées ou en sont sorties que la différence porterait sur moins de {k}. Que "
        "faire : rétablir les sacs d'alors, ou attendre des sacs avec au moins {k} personnes de plus.",
        "hospitals": "Une réponse a été donnée pour les mêmes personnes avec d'autres hôpitaux, et moins de {k} "
        "hôpitaux font la différence : elle montrerait leurs sommes. Un hôpital qui a trop peu de personnes pour un "
        "réseau compte comme non interrogé. Que faire : lancer l'étude avec les mêmes hôpitaux et les mêmes classes "
        "de divulgation.",
    },
}
_EARLIER = {"en": "Concerned: {}.", "fr": "Concernées : {}."}
_THIS_STUDY = {"en": "This study alone is concerned.", "fr": "Seule cette étude est concernée."}


class Answer(NamedTuple):
    """A remembered cohort, for pages: `people` is rounded down to a multiple of k, `date` is ISO."""

    study: str
    analysis: str
    people: int
    date: str
    cut: str
    hospitals: tuple[str, ...]


class Judgement(NamedTuple):
    """Whether a study may be answered after the earlier ones, and why not.

    about    "people", "cuts", "bags" or "hospitals": which rule refused; "" where none did
    earlier  the earlier answers concerned
    k        people, or hospitals, that a combination must rest on
    """

    ok: bool
    about: str = ""
    earlier: tuple[Answer, ...] = ()
    k: int = 0

    @property
    def why(self) -> str:
        """For the steward, in plain words: names earlier studies, never a patient nor how many people differ."""
        return self.said("en")

    def said(self, lang: str) -> str:
        """The same in "en" or "fr"."""
        if self.ok:
            return ""
        named = list(dict.fromkeys(f"{a.study[:12]} ({a.analysis}, {a.date})" for a in self.earlier))
        more = {"en": "and others", "fr": "et d'autres"}[lang]
        shown = ", ".join([*named[:NAMED], *([more] if len(named) > NAMED else [])])
        first, then, rest = _WORDS[lang][self.about], _THIS_STUDY[lang], _EARLIER[lang].format(shown)
        return f"{first.format(k=self.k)} {rest if shown else then}"


class Answered:
    """Whom a hospital's earlier answers were about, in one SQLite file; any number of processes may open it.

    A person is a place in the order of first mention, found by a keyed hash (blake2b, 8 bytes) of the id: the file
    holds no id, and without `key` (at least 16 bytes) none can be tried against it. KeysError where the file was
    written with another key, OSError where it cannot be read or written.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        if len(key) < 16:
            raise KeysError(f"the key of {path.name} has {len(key)} bytes; it needs 16 or more")
        self.path, self._key = path, hashlib.blake2b(key, digest_size=32, person=b"answered").digest()
        with self._open() as db:
            db.executescript(_SCHEMA)
        with self._writing() as db:
            mark = hashlib.blake2b(b"mark", key=self._key, digest_size=16).digest()
            if (found := db.execute("SELECT mark FROM key").fetchone()) is None:
                db.execute("INSERT INTO key VALUES (?)", (mark,))
            elif found[0] != mark:
                raise KeysError(f"{path} was written with another key; restore the key of this hospital, or its backup")

    def judge(self, cohorts: Sequence[Cohort], k: int, strict: bool = False) -> Judgement:
        """Whether a study of these cohorts may be answered. Nothing is written."""
        with self._open() as db:
            db.execute("BEGIN")
            return _judged(_remembered(db, cohorts, self._rows(db, cohorts)), k, strict)

    def record(self, study: str, cohorts: Sequence[Cohort]) -> None:
        """Remember the cohorts of a study, before its first value leaves. The same again changes nothing."""
        with self._writing() as db:
            self._record(db, study, cohorts)

    def admit(self, study: str, cohorts: Sequence[Cohort], k: int, strict: bool = False) -> Judgement:
        """Judge, and record what passes, as one: of two studies that must not both be answered one is."""
        with self._writing() as db:
            judgement = _judged(_remembered(db, cohorts, self._rows(db, cohorts)), k, strict)
            if judgement.ok:
                self._record(db, study, cohorts)
            return judgement

    def history(self, k: int) -> list[Answer]:
        """All remembered cohorts of analyses, the oldest first."""
        with self._open() as db:
            known = db.execute("SELECT * FROM cohorts NATURAL JOIN sets WHERE family = '' ORDER BY cohorts.rowid")
            return [_answer(row, len(BitMap.deserialize(row["members"])) // k * k) for row in known]

    def _record(self, db: sqlite3.Connection, study: str, cohorts: Sequence[Cohort]) -> None:
        today = datetime.now(UTC).date().isoformat()
        for cohort, people in zip(cohorts, self._rows(db, cohorts, keep=True), strict=True):
            digest, hospitals = _digest(people), json.dumps(cohort.hospitals)
            db.execute("INSERT OR IGNORE INTO sets VALUES (?, ?)", (digest, people.serialize()))
            db.execute(
                "INSERT OR IGNORE INTO cohorts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (study, cohort.analysis, cohort.definition, cohort.family, hospitals, cohort.cut, digest, today),
            )

    def _rows(self, db: sqlite3.Connection, cohorts: Sequence[Cohort], keep: bool = False) -> list[BitMap]:
        """The people of each cohort as places; who is new is given the next ones, and with `keep` they stay."""
        chunks = [row["words"] for row in db.execute("SELECT words FROM people ORDER BY first")]
        known = np.frombuffer(b"".join(chunks), dtype=np.uint64)
        places: dict[int, NDArray[np.uint32]] = {}
        for who in {id(c.who): c.who for c in cohorts}.values():
            words = self._words(who)
            fresh = np.setdiff1d(words, known)
            if keep and len(fresh):
                db.execute("INSERT INTO people VALUES (?, ?)", (len(known), fresh.tobytes()))
            known = np.concatenate([known, fresh])
            order = np.argsort(known)
            places[id(who)] = order[np.searchsorted(known, words, sorter=order)].astype(np.uint32)
        return [_ascending(places[id(c.who)][c.rows], len(known)) for c in cohorts]

    def _words(self, who: Texts) -> Words:
        """(N,) a keyed hash of each person."""
        made = (hashlib.blake2b(text.encode(), digest_size=8, key=self._key).digest() for text in who)
        return np.frombuffer(b"".join(made), dtype=np.uint64)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            db = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = FULL")
            yield db
        except sqlite3.Error as error:
            raise OSError(
                f"{self.path}: {error}; the hospital answers nothing until it can be read and written"
            ) from None
        finally:
            if db is not None:
                db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is whole or not at all; others wait."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")  # what raises before is rolled back when the connection closes


def _ascending(places: NDArray[np.uint32], everyone: int) -> BitMap:
    """The set of these places. Ascending, and as an `array`, they make a bitmap ten times as fast."""
    inside = np.zeros(everyone, dtype=bool)
    inside[places] = True
    return BitMap(array("I", np.flatnonzero(inside).astype(np.uint32).tobytes()))


def _digest(people: BitMap) -> bytes:
    return hashlib.blake2b(members(people).tobytes(), digest_size=32).digest()


def _answer(row: sqlite3.Row, people: int) -> Answer:
    hospitals = tuple(json.loads(row["hospitals"]))
    return Answer(row["study"], row["analysis"], people, row["date"], row["cut"], hospitals)


# Judging ------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A row of cohorts x atoms: cohorts of the same definition and the same people are one."""

    family: str
    definition: str
    digest: bytes


class _Memory(NamedTuple):
    """Who asked each row earlier, and who asks it now; the people of each digest."""

    old: dict[_Row, list[Answer]]
    new: dict[_Row, list[Cohort]]
    sets: dict[bytes, BitMap]


def _remembered(db: sqlite3.Connection, cohorts: Sequence[Cohort], rows: Sequence[BitMap]) -> _Memory:
    """What a study asks, and what was answered in the families that it asks of."""
    memory = _Memory({}, {}, {})
    for cohort, people in zip(cohorts, rows, strict=True):
        row = _Row(cohort.family, cohort.definition, _digest(people))
        memory.new.setdefault(row, []).append(cohort)
        memory.sets[row.digest] = people
    for family in {c.family for c in cohorts}:
        for found in db.execute("SELECT * FROM cohorts WHERE family = ? ORDER BY rowid", (family,)):
            row = _Row(family, found["definition"], found["digest"])
            memory.old.setdefault(row, []).append(_answer(found, 0))
    for digest in {row.digest for row in memory.old} - set(memory.sets):
        (blob,) = db.execute("SELECT members FROM sets WHERE digest = ?", (digest,)).fetchone()
        memory.sets[digest] = BitMap.deserialize(blob)
    return memory


def _judged(memory: _Memory, k: int, strict: bool) -> Judgement:
    for family in sorted({row.family for row in memory.new}):
        old, new = ([r for r in rows if r.family == family] for rows in (memory.old, memory.new))
        shared, before, after = _ordered(old, new)
        if not after:
            continue
        rows = [*shared, *before, *after]
        found = crossing([memory.sets[r.digest] for r in rows], len(shared), len(old), k, strict)
        if found.refused:
            earlier = [a for r, on in zip(rows[: len(old)], found.rows, strict=False) if on for a in memory.old[r]]
            return Judgement(False, family.split()[0] if family else "people", tuple(earlier), k)
    return _with_others(memory)


def _with_others(memory: _Memory) -> Judgement:
    """The rows that are asked again, by the hospitals that were asked for them."""
    for row in set(memory.new) & set(memory.old):
        asked = {a.hospitals for a in memory.old[row]}, {c.hospitals for c in memory.new[row]}
        place = {name: i for i, name in enumerate(sorted({n for names in asked[0] | asked[1] for n in names}))}
        shared, before, after = _ordered(sorted(asked[0]), sorted(asked[1]))
        sets = [BitMap([place[n] for n in names]) for names in (*shared, *before, *after)]
        if after and crossing(sets, len(shared), len(shared) + len(before), HOSPITALS).refused:
            return Judgement(False, "hospitals", tuple(memory.old[row]), HOSPITALS)
    return Judgement(True)


def alone(groups: Collection[Sequence[str]]) -> bool:
    """Whether sums over these groups of hospitals together give the sums of fewer than `HOSPITALS` of them."""
    place = {name: i for i, name in enumerate(sorted({n for group in groups for n in group}))}
    sets = [BitMap([place[n] for n in group]) for group in {tuple(sorted(group)) for group in groups}]
    return crossing(sets, 0, 0, HOSPITALS, strict=True).refused


def _ordered(old: Sequence[Any], new: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Those asked earlier and again, those asked earlier alone, those asked now alone."""
    return [o for o in old if o in new], [o for o in old if o not in new], [n for n in new if n not in old]
