"""From slides to bags: every slide is looked at, its tiles are encoded, and each person has the rows of all own slides.

    extract(folder, Path("slides.bags"), Recipe(Tiling(mpp=0.5), encoder("stain")))

Work is kept per slide in a cache, `slides.cache/`, under the hash of what made it: the slide's bytes, the stated
resolution, the recipe and the encoder. A run that was killed goes on where it was; a slide that changed is done again.
Files are written beside their place and moved there, so that what has a name is whole.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import BadZipFile

import numpy as np

from confrere.data import bags
from confrere.errors import DataError
from confrere.images.encoders import Encoder
from confrere.images.slides import Resolution, Slide, digest
from confrere.images.slides_list import LEDGER, MAPS, Entry, Listed, listed, read, unlisted, write
from confrere.images.stain import Strength, Values, strength
from confrere.images.tiles import Places, Tiling, stream
from confrere.images.tissue import Look, focus, look

VERSION: Final = 2  # of what is in the cache
TILES: Final = "tiles.csv"
TILE_COLUMNS: Final = ("slide", "x", "y", "step")  # corner and side, in pixels of the finest level
MAKER: Final = "confrere slides"


@dataclass(frozen=True)
class Quality:
    """What a slide and a tile must be like.

    tiles   fewest tiles of a slide, after the blurred ones are left out
    sharp   least focus of a tile (`tissue.focus`)
    blurred largest share of a slide's tiles that may be out of focus
    pen     largest share of a slide's tissue that may be marked
    """

    tiles: int = 4
    sharp: float = 0.03
    blurred: float = 0.5
    pen: float = 0.3


@dataclass(frozen=True)
class Recipe:
    """How slides become rows."""

    tiling: Tiling
    encoder: Encoder
    quality: Quality = field(default_factory=Quality)

    def about(self) -> dict[str, Any]:
        """What about.json says of it, and the cache goes by."""
        tiling, quality = asdict(self.tiling), asdict(self.quality)
        return self.encoder.about() | {"tiling": tiling, "quality": quality, "maker": MAKER, "size": self.encoder.size}


class Done(NamedTuple):
    """A slide after its tiles were encoded."""

    entry: Entry
    rows: Values  # (m, d)
    places: Places  # (m, 2) corners, in pixels of the finest level
    step: float  # pixels of the finest level on a tile's side


class Extracted(NamedTuple):
    """What `extract` made."""

    bags: bags.Bags
    ledger: list[Entry]
    fresh: int  # slides that were encoded now; the others came from the cache

    @property
    def tiles(self) -> int:
        """Tiles in the bags."""
        return sum(entry.tiles or 0 for entry in self.ledger if entry.used)


Said = Callable[[Entry], None]


def extract(folder: Path, out: Path, recipe: Recipe, said: Said | None = None, jobs: int | None = None) -> Extracted:
    """Encode the slides of a folder into bags at `out`; `said` hears of each slide, `jobs` are done at a time.

    DataError: no slides.csv, `out` holds something else, or no slide can be used.
    """
    lines = listed(folder)
    _free(out)
    cache = out.with_name(f"{out.stem}.cache")
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = {path.name for path in cache.iterdir()}
    hashes, ledger = _hashed(folder, lines)
    kept = {x.slide: _place(cache, hashes[x.slide], x.mpp, recipe) for x in lines if x.slide in hashes}

    def one(line: Listed) -> Entry:
        entry = _one(folder / line.slide, line, hashes[line.slide], recipe, kept[line.slide])
        if said:
            said(entry)
        return entry

    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        ledger += pool.map(one, [line for line in lines if line.slide in kept])
    ledger = sorted(ledger + unlisted(folder, lines))
    whole = _assembled if any(entry.used for entry in ledger) else _none_used
    made = whole(out, recipe, ledger, kept)
    (cache / LEDGER).unlink(missing_ok=True)  # of a time when none could be used
    return Extracted(made, ledger, len({path.name for path in cache.iterdir()} - before))


def examined(folder: Path, recipe: Recipe, said: Said | None = None) -> list[Entry]:
    """The ledger as `extract` would write it, but for focus: slides are looked at, no tile is encoded."""
    lines = listed(folder)
    hashes, ledger = _hashed(folder, lines)
    for line in lines:
        if line.slide in hashes:
            ledger.append(_seen(folder / line.slide, line, hashes[line.slide], recipe, None))
            if said:
                said(ledger[-1])
    return sorted(ledger + unlisted(folder, lines))


def _free(out: Path) -> None:
    """DataError where something else than bags of ours is at `out`."""
    if out.suffix != bags.ENDING:
        raise DataError(f"--out {out}: bags are a folder NAME{bags.ENDING}, such as slides{bags.ENDING}")
    if out.exists() and any(out.iterdir()) and not (out / TILES).is_file():
        raise DataError(f"{out} holds something else than bags of slides; choose another folder")


def _hashed(folder: Path, lines: list[Listed]) -> tuple[dict[str, str], list[Entry]]:
    """{slide: sha256} of slides to look at, and ledger lines of those that are missing or there twice."""
    there = {line.slide: digest(folder / line.slide) for line in lines if (folder / line.slide).is_file()}
    absent = [Entry(x.slide, x.person, "missing", "mend slides.csv") for x in lines if x.slide not in there]
    owners = defaultdict(list)
    for line in lines:
        if line.slide in there:
            owners[there[line.slide]].append(line)
    again = []
    for same, of in owners.items():
        disputed = len({line.person for line in of}) > 1
        for line in of if disputed else of[1:]:
            others = ", ".join(x.slide for x in of if x is not line)
            again.append(Entry(line.slide, line.person, "twice", f"the same bytes as {others}", same))
    rejected = {entry.slide for entry in again}
    return {slide: found for slide, found in there.items() if slide not in rejected}, absent + again


def _one(path: Path, line: Listed, sha256: str, recipe: Recipe, at: Path) -> Entry:
    """A slide's ledger line; its rows are kept at `at` afterwards."""
    kept = _kept(at)
    if kept is None:
        return _seen(path, line, sha256, recipe, at)
    return kept.entry._replace(slide=line.slide, person=line.person)


def _seen(path: Path, line: Listed, sha256: str, recipe: Recipe, at: Path | None) -> Entry:
    """Look at a slide, and encode it into `at` (not at all without)."""
    entry = Entry(line.slide, line.person, sha256=sha256)
    try:
        slide = Slide(path, line.mpp)
    except DataError as error:
        reason = "resolution" if isinstance(error, Resolution) else "unreadable"
        return entry._replace(reason=reason, detail=str(error))
    with slide:
        try:
            slide.times(recipe.tiling.mpp)
        except DataError as error:
            return entry._replace(reason="coarse", detail=str(error), mpp=slide.mpp)
        try:
            seen = look(slide)
            entry = entry._replace(
                vendor=slide.vendor, mpp=slide.mpp, width=slide.size.width, height=slide.size.height,
                tissue=seen.share, pen=seen.inked,
            )  # fmt: skip
            done = _encoded(slide, seen, entry, recipe, encode=at is not None)
        except DataError as error:  # damaged further in
            return entry._replace(reason="unreadable", detail=str(error))
        except MemoryError:
            return entry._replace(reason="unreadable", detail=f"{path.name} needs more memory than this machine has")
    if at is not None:
        _keep(at, done)
    return done.entry


def _encoded(slide: Slide, seen: Look, entry: Entry, recipe: Recipe, *, encode: bool) -> Done:
    """The rows of a slide's tiles, or why there are none."""
    quality, grid = recipe.quality, recipe.tiling.grid(slide, seen)
    nothing = Done(entry, np.zeros((0, recipe.encoder.size), np.float32), grid.places[:0], grid.step)
    if seen.inked > quality.pen:
        found = f"{seen.inked:.0%} of its tissue, and {quality.pen:.0%} may be; wipe the glass and scan it again"
        return nothing._replace(entry=entry._replace(reason="pen", detail=found))
    if grid.possible < quality.tiles:
        found = f"{grid.possible} tiles with tissue, and {quality.tiles} are the least"
        return nothing._replace(entry=entry._replace(reason="no tissue", detail=found))
    if not encode:
        return nothing._replace(entry=entry._replace(tiles=len(grid.places)))
    by = strength(seen.picture, seen.tissue)
    rows, at, blurred = _rows(slide, grid, recipe, by)
    entry = entry._replace(blurred=blurred, tiles=len(rows))
    if blurred > quality.blurred * len(grid.places) or len(rows) < quality.tiles:
        found = f"{blurred} of {len(grid.places)} tiles, scan it again"
        return nothing._replace(entry=entry._replace(reason="blurred", detail=found, tiles=None))
    return Done(entry, rows, grid.places[at], grid.step)


def _rows(slide: Slide, grid: Any, recipe: Recipe, by: Strength) -> tuple[Values, Any, int]:
    """Rows of the sharp tiles of a grid, which they are, in order, and how many were blurred."""
    parts, at, blurred = [np.zeros((0, recipe.encoder.size), np.float32)], [np.zeros(0, np.int64)], 0
    for batch in stream(slide, grid):
        sharp = focus(batch.tiles) >= recipe.quality.sharp
        blurred += int((~sharp).sum())
        parts.append(recipe.encoder.rows(batch.tiles[sharp], by))
        at.append(batch.rows[sharp])
    which = np.concatenate(at)
    order = np.argsort(which)
    return np.concatenate(parts)[order], which[order], blurred


def _place(cache: Path, sha256: str, mpp: float | None, recipe: Recipe) -> Path:
    """Where the rows of a slide are kept: the hash of all that they depend on."""
    said = json.dumps([VERSION, sha256, mpp, recipe.about()], sort_keys=True)
    return cache / f"{hashlib.sha256(said.encode()).hexdigest()[:40]}.npz"


def _keep(at: Path, done: Done) -> None:
    """Write what a slide gave, at once or not at all."""
    part = at.with_name(f".{at.stem}.{os.getpid()}")
    with part.open("wb") as file:
        entry = np.array(json.dumps(done.entry._asdict()))
        np.savez(file, rows=done.rows, places=done.places, step=done.step, entry=entry)
        file.flush()
        os.fsync(file.fileno())
    part.replace(at)


def _kept(at: Path) -> Done | None:
    """What a slide gave before; None where it was not done, or the file is not whole."""
    try:
        with at.open("rb") as file, np.load(file, allow_pickle=False) as found:
            entry = Entry(**json.loads(str(found["entry"])))
            return Done(entry, found["rows"], found["places"], float(found["step"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None


def _assembled(out: Path, recipe: Recipe, ledger: list[Entry], kept: Mapping[str, Path]) -> bags.Bags:
    """The bags of all used slides, each person's together, with the ledger and the places of the tiles beside them."""
    used: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger:
        if entry.used:
            used[entry.person].append(entry)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)

    def each(tiles: Any) -> Iterator[tuple[str, Values]]:
        for person, entries in sorted(used.items()):
            done = [(entry, _whole(kept[entry.slide])) for entry in entries]
            for entry, found in done:
                tiles.writerows((entry.slide, x, y, f"{found.step:.3f}") for x, y in found.places.tolist())
            yield person, np.concatenate([found.rows for _, found in done])

    places = out.with_name(f".{out.name}.tiles")
    with places.open("w", newline="", encoding="utf-8") as file:
        tiles = csv.writer(file)
        tiles.writerow(TILE_COLUMNS)
        bags.write(part, each(tiles), recipe.about())
    places.replace(part / TILES)
    write(part / LEDGER, ledger)
    _maps(out, part)
    _swap(part, out)
    return bags.Bags.open(out)


def unusable(ledger: list[Entry], where: str) -> DataError:
    """That no slide can be used, for which reasons, and `where` it is said of each."""
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(Counter(e.reason for e in ledger).items()))
    return DataError(f"no slide can be used ({why or 'there is none'}); {where}")


def _none_used(out: Path, recipe: Recipe, ledger: list[Entry], kept: Mapping[str, Path]) -> bags.Bags:
    """Write the ledger where the work is kept, since there are no bags to write it into. Always a DataError."""
    cache = out.with_name(f"{out.stem}.cache")
    write(cache / LEDGER, ledger)
    raise unusable(ledger, f"`confrere slides ledger {cache}` says why of each")


def _maps(out: Path, part: Path) -> None:
    """Take the heat maps of before along, of slides of people whose rows are the same: the others show what was."""
    if not (out / MAPS).is_dir():
        return
    before, after = bags.Bags.open(out), bags.Bags.open(part)
    owners = [{e.sha256: e for e in read(folder / LEDGER) if e.used} for folder in (out, part)]
    same = before.recipe == after.recipe
    for picture in sorted((out / MAPS).glob("*.png")):
        old, new = (of.get(picture.stem) for of in owners)
        if old is None or new is None or (old.slide, old.person) != (new.slide, new.person):
            continue
        if same and np.array_equal(before.of(old.person), after.of(new.person)):
            (part / MAPS).mkdir(mode=0o700, exist_ok=True)
            shutil.copy2(picture, part / MAPS / picture.name)


def _whole(at: Path) -> Done:
    """What a slide gave, which was kept a moment ago."""
    found = _kept(at)
    if found is None:
        raise DataError(f"{at} is gone, or was changed while slides were extracted; run it again")
    return found


def _swap(part: Path, out: Path) -> None:
    """Put a new folder in the place of the one before."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.replace(old)
    part.replace(out)
    shutil.rmtree(old, ignore_errors=True)
