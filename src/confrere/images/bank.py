"""The image bank of a hospital: clinical pictures, what each may be used for, and nothing that a file says beside.

    bank = Home(folder).images
    got = bank.add(file.read_bytes(), "p17", "Dr Martin", label="nevus")   # got.state: in, held, known, quarantine
    bank.consent(got.image, "training", "Dr Martin")
    bank.revoke(got.image, "training", "Dr Martin")      # gone from training at once

A picture is used only where somebody noted the patient's consent to that use, `discussing` or `training`; both are
given and revoked by themselves, with date and name, and what was revoked is remembered. Without consent it is
in the bank and nowhere else. Nor is that of a person who opposes every purpose, or one named as the use, in the
hospital's register (`confrere.data.opposition`).

A picture is *held* until a person has looked at it (`release`) where text seems to be burned into it, or where it looks
like that of another patient: one of the two has a wrong name, or the two are one person, and a model would be tried on
what it was trained on. So is a picture of a person that looks like one of theirs that was erased, painted over or
revoked: it has come back in another file, and no list gives a consent to it (`refused`). Text can be painted over
(`mask`), and is looked for again. What is no picture is in
*quarantine*, by the hash of the file; the file stays where it was.
The ledger knows pictures by a random name, never a patient.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, Refused, StudyError
from confrere.images import bank_pixels
from confrere.images.bank_bags import Bagged
from confrere.images.bank_pixels import Box, Clean, Unusable, Whole, alike, cleaned, painted, png_of, words
from confrere.images.bank_store import Opposed, Store, stamp
from confrere.images.bank_text import burned_in

USES: Final = ("discussing", "training")
TEXT = "text seems to be burned into it"
TWIN = "it looks like a picture of another person"
BACK = "it looks like a picture of this person that was erased, painted over or revoked"
MASKING = "it is being painted over"
PAINTED = "text was painted over: look at all of it"
RESTORED = "it comes from a backup: perhaps it was taken back, painted over or erased since"
_REVOKED = (  # what was taken back of a person, and not given again
    "SELECT DISTINCT id, use, dhash FROM images JOIN consents ON image = id WHERE person = ? AND revoked <> ''"
    " AND NOT EXISTS (SELECT 1 FROM consents AS c WHERE c.image = id AND c.use = consents.use AND c.revoked = '')"
)
Log = Callable[..., None]  # log(event, **facts)


class Added(NamedTuple):
    """What became of a file: `in` the bank, `held`, `known` (this person's already), or in `quarantine`."""

    image: str  # its name in the bank, "" for quarantine
    state: str
    why: str = ""


class Picture(NamedTuple):
    """A picture of the bank, without its pixels."""

    image: str
    person: str
    label: str
    size: tuple[int, int]  # width, height
    tone: float | None  # individual typology angle in degrees
    added: str  # ISO time, UTC
    state: str  # in, held
    why: str
    uses: tuple[str, ...]  # consented to at present, and not opposed


class Consent(NamedTuple):
    """One consent and its end, if it was revoked; times are ISO, UTC."""

    use: str
    given: str
    by: str
    revoked: str
    revoked_by: str


class Check(NamedTuple):
    """What `check` finds."""

    pictures: int
    people: int
    by_use: dict[str, int]  # pictures that may be used
    held: tuple[Picture, ...]
    quarantine: tuple[tuple[str, str], ...]  # name of the file, why
    twins: tuple[tuple[str, ...], ...]  # pictures that look alike, in groups
    groups: tuple[tuple[str, ...], ...]  # people whose pictures look alike: to be kept in one part of any split
    damaged: tuple[str, ...]  # pictures whose file is gone or changed
    strays: int  # files that no picture names


class Bank:
    """The image bank in the folder of a hospital. `log(event, **facts)` writes an entry of its ledger, and
    `opposed(use, people)` says who of some people opposes a use of their pictures."""

    def __init__(self, path: Path, log: Log, opposed: Opposed = lambda use, people: ()) -> None:
        self.store = Store(path, opposed)
        self._log = log
        self.bagged = Bagged(self.store, log)

    # in

    def add(self, raw: bytes, person: str, by: str, *, label: str = "", name: str = "") -> Added:
        """Take up the pixels of a file `name` of a person. What cannot be used is noted, and never an error."""
        named(by)
        if not person.strip():
            raise DataError("a picture needs the person whose it is; name them")
        person = person.strip()  # as the register of oppositions has people
        try:
            clean = cleaned(raw)
        except Unusable as error:
            return self._quarantine(raw, name, str(error), by)
        text = burned_in(clean.pixels)
        with self.store.open() as db:
            found = db.execute("SELECT id FROM images WHERE sha256 = ? AND person = ?", (clean.sha256, person))
            if known := found.fetchone():
                self.store.put(clean.sha256, clean.png)  # mends a file that was lost
                return Added(known["id"], "known", "the person has this very picture in the bank")
            back = alike(_past(db, person), words([clean.dhash])[0]).any()
            why = BACK if back else TEXT if text else TWIN if _twin(db, clean, person) else ""
            image = f"im-{secrets.token_hex(6)}"
            self._insert(db, image, clean, (person, label, by, why))
        return Added(image, "held" if why else "in", why)

    def _insert(self, db: sqlite3.Connection, image: str, clean: Clean, said: tuple[str, str, str, str]) -> None:
        """The file first, then the ledger, then the row. `said`: person, label, by whom, why it is held."""
        person, label, by, why = said
        self.store.put(clean.sha256, clean.png)
        state, (height, width) = "held" if why else "in", clean.pixels.shape[:2]
        self._log("image added", image=image, by=by, state=state, why=why)
        db.execute(
            "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (image, person, label, clean.sha256, f"{clean.dhash:032x}", width, height, clean.tone, stamp(),
             by, state, why),
        )  # fmt: skip

    def _quarantine(self, raw: bytes, name: str, why: str, by: str) -> Added:
        with self.store.open() as db:
            digest = hashlib.sha256(raw).hexdigest()
            self._log("image quarantined", by=by, why=why)
            db.execute("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?)", (digest, name, why, stamp(), by))
        return Added("", "quarantine", why)

    def release(self, image: str, by: str) -> None:
        """Somebody has looked at a held picture: it may be used as its consents say."""
        named(by)
        with self.store.open() as db:
            if _row(db, image)["state"] != "held":
                raise StudyError(f"{image} is not held; there is nothing to release")
            self._log("image released", image=image, by=by)
            db.execute("UPDATE images SET state = 'in', why = '' WHERE id = ?", (image,))

    def mask(self, image: str, boxes: Sequence[Box], by: str) -> Added:
        """Paint over boxes of a picture: the pixels under them are gone for good, and text is looked for again.

        Held stays what had text, until somebody has looked at all of it and releases it: text in the middle, or what
        is left of a word, is not found again; and what looks like the picture of another person. A picture that was not
        held is held meanwhile, and in no bags until they are extracted anew: they have what its old pixels were.
        StudyError for a box that is not within the picture, or nothing left of it; DataError where its file is gone.
        """
        named(by)
        before, clean = self._painted(image, boxes)
        text = burned_in(clean.pixels)
        self._hold(image, by)
        with self.store.open() as db:
            row = _row(db, image)
            if row["sha256"] != before:
                raise StudyError(f"{image} was painted over by somebody else meanwhile; look at it, then try again")
            why = TEXT if text else self._why(db, row, clean)
            self._repaint(db, row, clean, (by, why), boxes)
        self._sweep()
        return Added(image, "held" if why else "in", why)

    def _painted(self, image: str, boxes: Sequence[Box]) -> tuple[str, Clean]:
        """The hash of a picture, and what it would be with boxes painted over. Nothing is changed."""
        with self.store.open() as db:
            row = _row(db, image)
        found = bank_pixels.whole(self.store.place(row["sha256"]), row["sha256"])
        if found is None:
            raise DataError(f"the file of {image} is gone or changed; add the picture again")
        try:
            clean = cleaned(png_of(painted(found.pixels, boxes)))
        except Unusable as error:
            raise StudyError(f"{image} would be {error} under these boxes; `confrere images erase` it") from None
        same = "SELECT id FROM images WHERE person = ? AND sha256 = ? AND id <> ?"
        with self.store.open() as db:
            if other := db.execute(same, (row["person"], clean.sha256, image)).fetchone():
                raise StudyError(f"{image} would be {other['id']}, which the bank has already; erase one of them")
        return row["sha256"], clean

    def _hold(self, image: str, by: str) -> None:
        """Hold a picture that is not: in no bags from now on, also where the machine stops before it is painted."""
        with self.bagged.remade(), self.store.open() as db:
            if _row(db, image)["state"] != "held":
                self.bagged.aside(db)
                self._log("image held", image=image, by=by, why=MASKING)
                end_cases(db, self._log, _cases(db, image))
                db.execute("UPDATE images SET state = 'held', why = ? WHERE id = ?", (MASKING, image))

    def _why(self, db: sqlite3.Connection, row: sqlite3.Row, clean: Clean) -> str:
        """Why a picture is held once it is painted over and has no text; "" for nothing. Paint hides no likeness to
        another person: that of the pixels before counts too, but where somebody had looked already."""
        before = clean._replace(sha256=row["sha256"], dhash=int(row["dhash"], 16))
        twin = any(_twin(db, one, row["person"]) for one in (before, clean))
        if row["why"] == RESTORED:
            return RESTORED
        if row["why"] != MASKING and twin:
            return TWIN
        return PAINTED if row["why"] in (TEXT, PAINTED, BACK) else ""

    def _repaint(
        self, db: sqlite3.Connection, row: sqlite3.Row, clean: Clean, said: tuple[str, str], boxes: Sequence[Box]
    ) -> None:
        """The new file, then the ledger, then the row. `said`: by whom, why it is held."""
        (by, why), image = said, row["id"]
        self.store.put(clean.sha256, clean.png)
        db.execute("INSERT OR IGNORE INTO painted VALUES (?)", (row["sha256"],))
        db.execute("INSERT OR IGNORE INTO past VALUES (?, ?)", (row["person"], row["dhash"]))
        state = "held" if why else "in"
        self._log(
            "image masked", image=image, by=by, boxes=[list(box) for box in boxes], before=row["sha256"][:8],
            after=clean.sha256, state=state, why=why,
        )  # fmt: skip
        db.execute(
            "UPDATE images SET sha256 = ?, dhash = ?, tone = ?, state = ?, why = ? WHERE id = ?",
            (clean.sha256, f"{clean.dhash:032x}", clean.tone, state, why, image),
        )

    def _sweep(self) -> None:
        """Remove the files of what was painted over, once no row can name them any more: also after a stop."""
        with self.store.open() as db:
            for (sha256,) in db.execute("SELECT sha256 FROM painted").fetchall():
                if not db.execute("SELECT 1 FROM images WHERE sha256 = ?", (sha256,)).fetchone():
                    self.store.place(sha256).unlink(missing_ok=True)
            db.execute("DELETE FROM painted")

    def erase(self, image: str, by: str) -> None:
        """Remove a picture, its consents and its cases for good; gone from training first. How it looked (128 bits) is
        kept with its person, so that it does not come back unseen."""
        named(by)
        self._sweep()
        with self.bagged.remade(), self.store.open() as db:
            sha256 = (row := _row(db, image))["sha256"]
            self.bagged.aside(db)
            self._log("image erased", image=image, by=by)
            db.execute("INSERT OR IGNORE INTO past VALUES (?, ?)", (row["person"], row["dhash"]))
            db.execute("DELETE FROM images WHERE id = ?", (image,))
            if not db.execute("SELECT 1 FROM images WHERE sha256 = ?", (sha256,)).fetchone():
                self.store.place(sha256).unlink(missing_ok=True)

    def erase_quarantine(self, by: str) -> int:
        """Forget what is noted of files that are no pictures: their names may be patients'. How many they were."""
        named(by)
        with self.store.open() as db:
            (many,) = db.execute("SELECT count(*) FROM quarantine").fetchone()
            self._log("quarantine erased", by=by, files=many)
            db.execute("DELETE FROM quarantine")
        return int(many)

    def restored(self) -> int:
        """After a backup was restored: hold every picture, end every case, know no bags. How many are held.

        Nobody here knows what was revoked, painted over, erased or said since the backup; and a backup has no bags.
        """
        with self.store.open() as db:
            end_cases(db, self._log, [row["name"] for row in db.execute("SELECT name FROM cases").fetchall()])
            db.execute("DELETE FROM bags")
            which = "state = 'in' OR why = ?"
            return db.execute(f"UPDATE images SET state = 'held', why = ? WHERE {which}", (RESTORED, MASKING)).rowcount

    # what for

    def consent(self, image: str, use: str, by: str) -> None:
        """Note that the patient agreed to one use of one picture. The same again changes nothing."""
        named(by)
        _use(use)
        with self.store.open() as db:
            _row(db, image)
            if use not in _uses(db, image):
                self._log("image consent", image=image, use=use, by=by)
                db.execute(
                    "INSERT INTO consents (image, use, given, by) VALUES (?, ?, ?, ?)", (image, use, stamp(), by)
                )

    def refused(self, image: str) -> frozenset[str]:
        """The uses to which no list gives consent, only somebody who knows that the patient agreed anew: those taken
        back, and all where the picture looks like another of its person that was erased, painted over or revoked."""
        with self.store.open() as db:
            row = _row(db, image)
            if alike(_past(db, row["person"], but=image), words([int(row["dhash"], 16)])[0]).any():
                return frozenset(USES) - set(_uses(db, image))
            return frozenset(u["use"] for u in db.execute(f"{_REVOKED} AND id = ?", (row["person"], image)).fetchall())

    def revoke(self, image: str, use: str, by: str) -> None:
        """Take one consent back: the picture is in no bags and on no page from now on. StudyError if there is none.

        Bags are set aside before the word is written and made anew after it: whenever the machine stops, they are
        without the picture, or not to be found until the bank is opened again.
        """
        named(by)
        _use(use)
        with self.bagged.remade(), self.store.open() as db:
            _row(db, image)
            if use not in _uses(db, image):
                raise StudyError(f"{image} has no consent for {use} to revoke; see `confrere images list`")
            if use == "training":
                self.bagged.aside(db)
            self._log("image revoked", image=image, use=use, by=by)
            if use == "discussing":  # at once: given again, it would open them again
                end_cases(db, self._log, _cases(db, image))
            db.execute(
                "UPDATE consents SET revoked = ?, revoked_by = ? WHERE image = ? AND use = ? AND revoked = ''",
                (stamp(), by, image, use),
            )

    def consents(self, image: str) -> tuple[Consent, ...]:
        """Every consent to a picture, also those revoked, in the order in which they were given."""
        with self.store.open() as db:
            _row(db, image)
            found = db.execute("SELECT * FROM consents WHERE image = ? ORDER BY rowid", (image,)).fetchall()
            return tuple(Consent(*tuple(row)[1:]) for row in found)

    # out

    def pictures(self, use: str = "", *, person: str = "") -> tuple[Picture, ...]:
        """All pictures, of one person if named; with `use`, those that may be used so: consented to, and not held."""
        with self.store.open() as db:
            rows = db.execute("SELECT * FROM images ORDER BY person, added, id").fetchall()
            people = {row["person"] for row in rows}
            out = {one: set(self.store.opposed(one, people)) for one in USES if people}
            found = [_picture(db, row, out) for row in rows]
        if use:
            _use(use)
            found = [p for p in found if p.state == "in" and use in p.uses]
        return tuple(p for p in found if not person or p.person == person)

    def pixels(self, image: str, use: str) -> bank_pixels.Pixels:
        """The pixels of a picture for a use. Refused without the consent, and for one that is held."""
        return self._whole(image, use).pixels

    def png(self, image: str, use: str) -> bytes:
        """The same as PNG. DataError where the file is gone or changed."""
        return self._whole(image, use).png

    def _whole(self, image: str, use: str) -> Whole:
        _use(use)
        with self.store.open() as db:
            row = usable(self.store, db, image, use)
        return sound(self.store, row)

    def file(self, image: str) -> Path:
        """Where a picture is, so that somebody can look at one that is held. Whoever may is its owner alone."""
        with self.store.open() as db:
            return self.store.place(_row(db, image)["sha256"])

    def check(self) -> Check:
        """Look through the whole bank: files, what is held, what looks alike. Reads every picture."""
        self.bagged.mend()
        self._sweep()
        pictures = self.pictures()
        with self.store.open() as db:
            rows = {row["id"]: row for row in db.execute("SELECT id, person, sha256, dhash FROM images").fetchall()}
            apart_ = tuple(
                (row["name"], row["why"]) for row in db.execute("SELECT * FROM quarantine ORDER BY at, name")
            )
        pairs = list(_pairs({i: int(row["dhash"], 16) for i, row in rows.items()}))
        twins = groups_of(list(rows), pairs)
        owners = {i: str(row["person"]) for i, row in rows.items()}
        people = sorted(set(owners.values()))
        linked = groups_of(people, [(owners[a], owners[b]) for a, b in pairs if owners[a] != owners[b]])
        names = {f"{row['sha256']}.png" for row in rows.values()}
        here = {file.name for file in self.store.pictures.glob("*")} if self.store.pictures.is_dir() else set()
        return Check(
            len(pictures), len(people), {u: sum(u in p.uses and p.state == "in" for p in pictures) for u in USES},
            tuple(p for p in pictures if p.state == "held"), apart_, twins, linked,
            tuple(i for i, r in rows.items() if bank_pixels.whole(self.store.place(r["sha256"]), r["sha256"]) is None),
            len(here - names),
        )  # fmt: skip


def usable(store: Store, db: sqlite3.Connection, image: str, use: str) -> sqlite3.Row:
    """The row of a picture that may be used so. Refused otherwise."""
    _row(db, image)
    if (row := store.may(db, use, [image]).get(image)) is None:
        raise Refused(
            f"{image} may not be used for {use}: there is no consent to it, the patient opposes, or the picture is held"
        )
    return row


def end_cases(db: sqlite3.Connection, log: Log, names: Iterable[str]) -> None:
    """Erase cases with what was said."""
    for name in names:
        log("case erased", case=name)
        db.execute("DELETE FROM cases WHERE name = ?", (name,))


def sound(store: Store, row: sqlite3.Row) -> Whole:
    """The file of a picture, which takes seconds to read: outside of the transaction. DataError where it is gone or
    changed."""
    if (found := bank_pixels.whole(store.place(row["sha256"]), row["sha256"])) is None:
        raise DataError(f"the file of {row['id']} is gone or changed; add the picture again, or restore the backup")
    return found


def groups_of(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Groups of names that pairs connect, directly or by others; without those that are alone."""
    root = {name: name for name in names}

    def of(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for one, other in pairs:
        root[of(one)] = of(other)
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(of(name), []).append(name)
    return tuple(tuple(group) for group in found.values() if len(group) > 1)


def _pairs(hashes: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Pictures that are the same, or look it."""
    names, every = list(hashes), words(list(hashes.values()))
    for i, one in enumerate(names):
        yield from ((names[j], one) for j in np.flatnonzero(alike(every[:i], every[i])))


def _twin(db: sqlite3.Connection, clean: Clean, person: str) -> bool:
    """Whether another person has a picture that is the same, or looks it."""
    others = db.execute("SELECT dhash FROM images WHERE person <> ?", (person,)).fetchall()
    return bool(alike(words([int(row["dhash"], 16) for row in others]), words([clean.dhash])[0]).any())


def _past(db: sqlite3.Connection, person: str, but: str = "") -> NDArray[np.uint64]:
    """How pictures of a person looked that were erased, painted over or revoked, but one of the bank; as `words`."""
    found = db.execute(
        f"SELECT dhash FROM past WHERE person = ? UNION SELECT dhash FROM ({_REVOKED} AND id <> ?)",
        (person, person, but),
    ).fetchall()
    return words([int(row["dhash"], 16) for row in found])


def _row(db: sqlite3.Connection, image: str) -> sqlite3.Row:
    row = db.execute("SELECT * FROM images WHERE id = ?", (image,)).fetchone()
    if row is None:
        raise StudyError(f"there is no picture {image!r} here; `confrere images list` names them")
    return row  # type: ignore[no-any-return]


def _cases(db: sqlite3.Connection, image: str) -> list[str]:
    return [row["name"] for row in db.execute("SELECT name FROM cases WHERE image = ?", (image,)).fetchall()]


def _uses(db: sqlite3.Connection, image: str) -> tuple[str, ...]:
    found = db.execute("SELECT DISTINCT use FROM consents WHERE image = ? AND revoked = '' ORDER BY use", (image,))
    return tuple(row["use"] for row in found)


def _picture(db: sqlite3.Connection, row: sqlite3.Row, out: Mapping[str, set[str]]) -> Picture:
    size = row["width"], row["height"]
    uses = tuple(use for use in _uses(db, row["id"]) if row["person"] not in out[use])
    return Picture(
        row["id"], row["person"], row["label"], size, row["tone"], row["added"], row["state"], row["why"], uses
    )


def _use(use: str) -> None:
    if use not in USES:
        raise StudyError(f"{use!r} is no use of a picture; it is {' or '.join(USES)}")


def named(by: str) -> None:
    """StudyError unless somebody is named."""
    if not by.strip() or not by.isprintable():
        raise StudyError(f"{by!r} names nobody; say who does this, --by")
