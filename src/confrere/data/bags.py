"""Bags: what each person has of images, as rows of numbers that an encoder made, beside the hospital's table.

A folder `NAME.bags/`:

| file | what it holds |
| `features.npy` | (rows, d) float16 or float32, read through the memory map: the bags need not fit into memory |
| `index.csv` | `person,start,rows`: a line per person; rows `start` to `start + rows` of the features are theirs |
| `about.json` | `size` (d), `encoder`, `encoder_sha256`, `made` and whatever the maker adds: `recipe_of` reads it |

    write("slides.bags", ((person, features) for ...), {"encoder": "efficientnet-lite0", "encoder_sha256": "..."})
    Bags.open("slides.bags").of("curie-17")    # (m, d) float32; m differs between people, 0 where there is nothing

A study names its bags, `[data] bags = ["slides"]`; a hospital binds the name to a folder, `[data.bags]` of its
hospital.toml. What is not bound, or not as it was written, is an error: nothing is looked for elsewhere. Bags stay in
the hospital. Rows can be compared between hospitals where their recipe is the same; who reads bags says which (`fit`).
Attention over bags of instances: Ilse et al., ICML 2018.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from confrere.data.table import Table
from confrere.errors import DataError
from confrere.study.file import Study
from confrere.study.omop import PERSON

Features = NDArray[np.float32]

ENDING = ".bags"
FILES = ("features.npy", "index.csv", "about.json")
HALF = 65504.0  # the largest number of float16
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Bags:
    """The bags of one hospital; `open` reads a folder, `made` takes arrays.

    size      d, numbers in a row
    about     what about.json says
    places    {person: (start, rows)}
    rows      (all rows, d) float16 or float32, mapped from the disk
    where     the folder, for the hospital's own messages
    """

    size: int
    about: Mapping[str, Any] = field(repr=False)
    places: Mapping[str, tuple[int, int]] = field(repr=False)
    rows: Any = field(repr=False)
    where: str

    @classmethod
    def open(cls, folder: str | Path) -> Bags:
        """The bags of a folder. DataError where it is not whole, or its files do not fit together."""
        folder = Path(folder)
        for name in FILES:
            if not (folder / name).is_file():
                raise DataError(f"{folder}: there is no {name}; make the folder with `confrere.data.bags.write`")
        about, places, rows = _about(folder), _places(folder), _mapped(folder)
        size = about["size"]
        if rows.ndim != 2 or rows.shape[1] != size or rows.dtype not in (np.float16, np.float32):
            raise DataError(
                f"{folder}: features.npy is {rows.dtype} {rows.shape}; about.json says rows of {size} numbers, float16 "
                f"or float32. Write the bags again"
            )
        if any(start < 0 or many < 0 or start + many > len(rows) for start, many in places.values()):
            raise DataError(f"{folder}: index.csv names rows beyond the {len(rows)} of features.npy; write them again")
        return cls(size, about, places, rows, str(folder))

    @classmethod
    def made(cls, bags: Mapping[str, Any], size: int, about: Mapping[str, Any] | None = None) -> Bags:
        """Bags of arrays in memory, {person: (m, size)}."""
        places: dict[str, tuple[int, int]] = {}
        total = 0
        for person, given in bags.items():
            places[str(person)] = (total, len(given))
            total += len(given)
        rows = np.concatenate([np.empty((0, size)), *bags.values()]).astype(np.float32)
        return cls(size, {**(about or {}), "size": size}, places, rows, "bags in memory")

    @property
    def people(self) -> tuple[str, ...]:
        """Whose bags are here, also empty ones."""
        return tuple(self.places)

    def many(self, person: object) -> int:
        """How many rows a person has."""
        return self.places.get(named(person), (0, 0))[1]

    def known(self, people: Iterable[object]) -> NDArray[np.bool_]:
        """Which of these people (n,) have a row."""
        return np.array([self.many(person) > 0 for person in people], dtype=bool)

    def of(self, person: object) -> Features:
        """The rows (m, d) of a person; (0, d) of who has none. DataError where a number is not finite."""
        start, many = self.places.get(named(person), (0, 0))
        found = np.asarray(self.rows[start : start + many], dtype=np.float32)
        if not np.isfinite(found).all():
            raise DataError(f"{self.where}: a bag holds numbers that are not finite; encode its images again")
        return found

    def only(self, people: Collection[object]) -> Bags:
        """The bags of these people alone: what a study sees once those who oppose were left out."""
        known = {named(p) for p in people}
        return replace(self, places={p: at for p, at in self.places.items() if p in known})

    @property
    def recipe(self) -> str:
        """How the rows were made, as `recipe_of` says it; "" where about.json does not."""
        return recipe_of(self.about)

    def fit(self, name: str, size: int, recipe: str) -> Bags:
        """These bags, for who reads rows of `size` numbers that were made by `recipe` (""; it is not stated).

        DataError where they are others: rows that were made otherwise cannot be compared.
        """
        if self.size != size:
            raise DataError(f"rows of the bags {name!r} have {self.size} numbers, and bag_size is {size}")
        if self.recipe != recipe:
            here, asked = (f"'{said}'" if said else "not stated" for said in (self.recipe, recipe))
            raise DataError(
                f"the recipe of the bags {name!r} in {self.where} is {here}, and that of the study or the model which "
                f"reads them is {asked} (bag_recipe). Rows made otherwise cannot be compared: make the bags again by "
                f"the same encoder, resolution and tile in every hospital, and state these in the study"
            )
        return self

    def check(self) -> None:
        """DataError unless the features are those that about.json has the hash of; without one another program wrote
        them, and they are taken as they are."""
        said = self.about.get("features_sha256")
        if isinstance(self.rows, np.memmap) and said and said != _hashed(*_state(Path(self.where) / "features.npy")):
            raise DataError(f"{self.where}: features.npy was changed after it was written; make the bags again")

    @cached_property
    def digest(self) -> str:
        """sha256 over about.json (with the hash of the features as they were written) and over whose rows are where."""
        said = json.dumps([dict(self.about), sorted(self.places.items())], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()

    @cached_property
    def content(self) -> str:
        """sha256 over the features, however often they were written, and over whose rows are where."""
        features = self.about.get("features_sha256") or _digested(self.rows)
        said = json.dumps([features, self.size, sorted(self.places.items())])
        return hashlib.sha256(said.encode()).hexdigest()


def write(folder: str | Path, bags: Iterable[tuple[str, Any]], about: Mapping[str, Any], *, half: bool = True) -> Bags:
    """Write bags, (person, rows (m, d)) of one person after the other, into a new or empty folder; `half` as float16.

    Rows go to the disk as they come. A person may come once. `about` names the `encoder`; `size`, `made` and
    `features_sha256` are added. DataError: rows of different sizes, numbers that are not finite or do not fit, a folder
    that is in use.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; write bags into a new folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    places: dict[str, tuple[int, int]] = {}
    dtype, size, total, raw, digest = np.float16 if half else np.float32, 0, 0, folder / "rows", hashlib.sha256()
    with raw.open("wb") as file:
        for person, rows in bags:
            given = np.asarray(rows, dtype=np.float32)
            _check(folder, str(person), given, places, (size, half))
            block = given.astype(dtype).tobytes()
            file.write(block)
            digest.update(block)
            places[str(person)] = (total, len(given))
            size, total = given.shape[1], total + len(given)
    if not size:
        raise DataError(f"{folder}: there are no bags to write")
    made = open_memmap(folder / "features.npy", mode="w+", dtype=dtype, shape=(total, size))
    if total:
        made[:] = np.memmap(raw, dtype=dtype, shape=(total, size), mode="r")
    made.flush()
    raw.unlink()
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("person", "start", "rows"), *((p, *at) for p, at in places.items())])
    said = {"encoder": "", "encoder_sha256": "", "made": datetime.now(UTC).isoformat(timespec="seconds"), **about}
    whole = {**said, "size": size, "features_sha256": digest.hexdigest()}
    (folder / "about.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
    return Bags.open(folder)


def named(person: object) -> str:
    """A person's id as bags have it: a column with a missing id has whole numbers as 17.0."""
    return str(int(person)) if isinstance(person, float) and person.is_integer() else str(person)


def recipe_of(about: Mapping[str, Any]) -> str:
    """How rows were made, of what about.json says: the encoder, the start of its SHA-256, and of tiles the resolution
    and the pixels on a side (`tiling`), as in "stain 1f00aa05c1f0e9b2, mpp 0.5, tile 256"; of an encoder with a card
    also what it says of pictures (`normalised`: side, mean, std). A maker may say it in words of its own, `recipe`. The
    same text where rows can be compared; "" where nothing is said.
    """
    if said := about.get("recipe"):
        return str(said)
    parts = [" ".join(filter(None, (str(about.get("encoder", "")), str(about.get("encoder_sha256", ""))[:16])))]
    tiling, card = about.get("tiling") or {}, about.get("normalised") or {}
    if tiling:
        parts.append(f"mpp {tiling['mpp']:g}, tile {tiling['side']}")
    if card:
        parts.append(f"input {card['side']}")
        parts += [f"{key} {' '.join(f'{n:g}' for n in card[key])}" for key in ("mean", "std")]
    return ", ".join(filter(None, parts))


def _state(file: Path) -> tuple[Path, int, int]:
    """A file, and what changes with its content."""
    at = file.stat()
    return file, at.st_size, at.st_mtime_ns


@lru_cache(maxsize=64)
def _hashed(file: Path, _size: int, _changed: int) -> str:
    """sha256 of the rows in a file, read once for each state of it."""
    return _digested(np.load(file, mmap_mode="r", allow_pickle=False))


def _digested(rows: NDArray[Any]) -> str:
    """sha256 of rows, a block at a time."""
    digest = hashlib.sha256()
    for low in range(0, len(rows), ROWS_AT_ONCE):
        digest.update(np.ascontiguousarray(rows[low : low + ROWS_AT_ONCE]).tobytes())
    return digest.hexdigest()


def _check(folder: Path, person: str, given: Features, places: Mapping[str, Any], like: tuple[int, bool]) -> None:
    """DataError unless these rows may stand beside those before, of `like` (numbers in a row, as float16)."""
    size, half = like
    if not person or person in places:
        raise DataError(f"{folder}: a person has no name or two bags; give each person once, with all rows")
    if given.ndim != 2 or (size and given.shape[1] != size):
        raise DataError(f"{folder}: a bag has shape {given.shape}; make all of them (m, {size or 'd'})")
    if not np.isfinite(given).all() or (half and np.abs(given).max(initial=0) > HALF):
        raise DataError(f"{folder}: a bag holds numbers that are not finite, or beyond float16; give half=False")


def standing(folders: Iterable[Path]) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes whenever bags in these folders are written anew, set aside or removed; cheap to look at."""
    found: list[tuple[int, int, int] | None] = []
    for folder in folders:
        try:
            at = (folder / "about.json").stat()
            found.append((at.st_ino, at.st_size, at.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def attached(table: Table, study: Study, bound: Mapping[str, Any], hospital: str) -> Table:
    """A table with the bags that the study names, of the people who are in it. DataError where one is not bound, or its
    features are not those that were written."""
    if not study.bags:
        return table
    found = opened(study.bags, bound, hospital)
    people = table.frame[study.person or PERSON].tolist()
    for bags in found.values():
        bags.check()
    return replace(table, bags={name: bags.only(people) for name, bags in found.items()})


def fitted(table: Table, analyses: Iterable[Any]) -> Table:
    """The table, where each of these analyses could read its bags. DataError where their size or recipe is another."""
    for analysis in analyses:
        if (name := getattr(analysis, "bags", "")) in table.bags:
            of = getattr(analysis, "opened", analysis)  # of a learned model, the model's
            table.bags[name].fit(name, int(analysis.bag_size), of.bag_recipe)
    return table


def beside(table: Any, names: Iterable[str]) -> dict[str, Path]:
    """Where bags of these names are beside a table that is a file: `NAME.bags/` in its folder; those that are there."""
    if not isinstance(table, (str, Path)):
        return {}
    folder = Path(table).parent
    return {name: folder / f"{name}{ENDING}" for name in names if (folder / f"{name}{ENDING}").is_dir()}


def opened(names: Iterable[str], bound: Mapping[str, Any], hospital: str = "this hospital") -> dict[str, Bags]:
    """The bags that a study names, of those that a hospital has bound: {name: folder, or `Bags`}.

    DataError where one is not bound: nothing else is looked for.
    """
    found: dict[str, Bags] = {}
    for name in names:
        if name not in bound:
            raise DataError(
                f"{hospital}: the study reads the bags '{name}', which are not bound. Name a folder in hospital.toml, "
                f'[data.bags] {name} = "{name}{ENDING}"; for a trial put it beside the table'
            )
        given = bound[name]
        found[name] = given if isinstance(given, Bags) else Bags.open(given)
    return found


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        raise DataError(f"{folder}: about.json is no JSON; write the bags again") from None
    if not isinstance(about, dict) or not isinstance(about.get("size"), int) or about["size"] < 1:
        raise DataError(f"{folder}: about.json must say `size`, how many numbers a row has")
    return about


def _places(folder: Path) -> dict[str, tuple[int, int]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    if not lines or lines[0] != ["person", "start", "rows"]:
        raise DataError(f"{folder}: index.csv must begin with person,start,rows")
    try:
        found = {person: (int(start), int(many)) for person, start, many in lines[1:]}
    except ValueError:
        raise DataError(f"{folder}: a line of index.csv is not person,start,rows; write the bags again") from None
    if len(found) < len(lines) - 1:
        raise DataError(f"{folder}: index.csv names a person twice; write the bags again")
    return found


def _mapped(folder: Path) -> Any:
    try:
        return np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise DataError(f"{folder}: features.npy cannot be read; write the bags again") from None
