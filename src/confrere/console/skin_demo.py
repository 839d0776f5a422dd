"""`confrere demo skin`: image banks of four hospitals, a classifier that they learn together, and similar cases.

The pictures are made (`images.lesions`), or those of HAM10000 where a folder is given, `confrere demo skin=FOLDER`:
Parquet files with the columns image_id, lesion_id, dx and image_jpeg, or HAM10000_metadata.csv with the pictures as
IMAGE_ID.jpg beside it (Tschandl et al., Sci Data 2018;5:180161; not for commercial use). Some of the files are as life
has them: with a name in their EXIF or burned in, under two names, or no picture at all; some people did not consent.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import typer

from confrere.errors import DataError, StudyError
from confrere.study.file import parse

HOSPITALS = ("brest", "lille", "lyon", "nice")
PEOPLE = 1500  # of a rule of 11 the error rate, and how many abstain, need some 450 held out
MOST = 1200  # people of HAM10000 who are dealt: the demo stays under two minutes
KINDS = {"nevus": 0.45, "melanoma": 0.2, "keratosis": 0.2, "vascular": 0.15}
DX = {  # of HAM10000; two kinds that few people have are one
    "nv": "nevus", "mel": "melanoma", "bkl": "keratosis", "bcc": "basal cell", "akiec": "actinic", "vasc": "other",
    "df": "other",
}  # fmt: skip
WHO = "Dr Demo"
NO_CONSENT = 0.06  # of the pictures
STUDY = """
[study]
id = "{id}"
title = "{title}"
purpose = "public-interest research"
licence = "for trying Confrere alone"

[data]
table = "images"
person = "person"
bags = ["images"]

[data.columns.label]
levels = {levels}
"""
CLASSIFIER = """
[disclosure]
allow = ["model_weights"]

[[analysis]]
name = "classifier"
method = "network"
outcome = "label"
bags = "images"
bag_size = {size}
bag_recipe = "{recipe}"
module = "mean_pool"
settings = {{ hidden = 32 }}
rounds = 25
steps = 8
batch = 64
optimizer = "adam"
learning_rate = 0.003
holdout = 0.3
conformal = 0.05
one_row = true
"""
QUESTION = """
[[analysis]]
name = "{name}"
method = "similar_cases"
outcome = "label"
bags = "images"
bag_recipe = "{recipe}"
question = {numbers}
neighbours = 30
"""


class Photo(NamedTuple):
    """A file before it enters a bank."""

    person: str
    label: str
    raw: bytes
    consents: bool = True


class Photos(NamedTuple):
    """The files of all hospitals, and cases of nobody in them to ask about: (what they are, pixels)."""

    hospitals: dict[str, list[Photo]]
    asked: dict[str, Any]
    levels: tuple[str, ...]
    title: str


def demonstrated(out: Path, lang: str, deadline: float | None, folder: Path | None = None) -> None:
    """Fill the banks, say what they hold, run both studies over their bags, and write their reports."""
    from confrere.console.app import go
    from confrere.console.local import Local

    photos = ham(folder) if folder else synthetic()
    with tempfile.TemporaryDirectory() as place:
        tables = {name: filled(Path(place) / name, name, theirs) for name, theirs in photos.hospitals.items()}
        for name, text in texts_of(photos).items():
            go(Local(tables), parse(text, name), out if name == "study.toml" else out / "similar", lang, deadline)


def texts_of(photos: Photos) -> dict[str, str]:
    """The study files: a classifier that may abstain, and a question about each case.

    They are two: where the weights of a network leave, the thirty nearest of a hospital are too few to be counted.
    """
    from confrere.data.bags import recipe_of
    from confrere.images.skin import SKIN

    levels, questions, recipe = list(photos.levels), "", recipe_of(SKIN.about())
    for name, pixels in photos.asked.items():
        numbers = [round(float(n), 4) for n in SKIN.rows(pixels[None])[0]]
        questions += QUESTION.format(name=name, numbers=numbers, recipe=recipe)
    similar = f"Similar cases: {photos.title[0].lower()}{photos.title[1:]}"
    return {
        "study.toml": STUDY.format(id="demo-skin", title=photos.title, levels=levels)
        + CLASSIFIER.format(size=SKIN.size, recipe=recipe),
        "similar.toml": STUDY.format(id="demo-skin-similar", title=similar, levels=levels) + questions,
    }


def filled(folder: Path, name: str, photos: Sequence[Photo]) -> Path:
    """Make a hospital with a bank of these pictures and extract its bags; the table beside them."""
    from confrere.hospital.home import Home
    from confrere.images.skin import SKIN

    home = Home.make(folder, name, {})
    states: dict[str, int] = {}
    for photo in photos:
        got = home.images.add(photo.raw, photo.person, WHO, label=photo.label)
        states[got.state] = states.get(got.state, 0) + 1
        if got.image and photo.consents:
            home.images.consent(got.image, "training", WHO)
    made = home.images.bagged.extract(folder / "images.bags", SKIN)
    said = ", ".join(f"{n} {state}" for state, n in states.items())
    typer.echo(
        f"{name}: {len(photos)} files, {said}; {made.images} pictures of {made.people} people may be learned from"
    )
    return made.table


def synthetic() -> Photos:
    """Lesion-like pictures, dealt to the hospitals; each has its own light and mix of skins."""
    from confrere.images.lesions import SKINS, lesion

    rng, kinds = np.random.default_rng(7), list(KINDS)
    deal = rng.choice(len(HOSPITALS), PEOPLE, p=(0.32, 0.26, 0.22, 0.20))
    dealt: dict[str, list[Photo]] = {name: [] for name in HOSPITALS}
    for i, h in enumerate(deal):
        kind = str(rng.choice(kinds, p=list(KINDS.values())))
        skin = str(rng.choice(list(SKINS), p=((0.6, 0.2, 0.15, 0.05), (0.4, 0.3, 0.2, 0.1))[h % 2]))
        for _ in range(1 + int(rng.random() < 0.25)):
            raw = jpeg(lesion(rng, kind, skin))
            dealt[HOSPITALS[h]].append(Photo(f"{HOSPITALS[h]}-{i}", kind, raw, bool(rng.random() > NO_CONSENT)))
    for photos in dealt.values():
        photos += list(awkward(photos))
    own = np.random.default_rng(99)
    asked = {f"like-a-{kind}": lesion(own, kind) for kind in ("melanoma", "nevus")}
    return Photos(dealt, asked, tuple(kinds), "Four kinds of skin lesions (made pictures) in four hospitals")


def awkward(photos: Sequence[Photo]) -> Iterator[Photo]:
    """Files as life has them: a name burned in, a picture under two names, and something that is no picture."""
    from PIL import Image, ImageDraw, ImageFont

    from confrere.images.bank_pixels import FORMATS

    first, second = photos[0], photos[1]
    with Image.open(io.BytesIO(first.raw), formats=FORMATS) as opened:
        image = opened.convert("RGB").resize((288, 288))
    ImageDraw.Draw(image).text((6, 6), "MARTIN J 04/05/1961", fill="white", font=ImageFont.load_default(14))
    yield first._replace(raw=jpeg(np.asarray(image)))
    yield second._replace(person=f"{second.person}-again")
    yield first._replace(raw=b"no picture")


def jpeg(pixels: Any) -> bytes:
    """A file as a camera writes it, with a name in its EXIF."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x010E] = "MARTIN Jeanne"
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def ham(folder: Path) -> Photos:
    """HAM10000, a lesion for a person, dealt by the lesion. DataError where neither form of it is there."""
    from confrere.images.bank_pixels import cleaned

    found = list(_parquet(folder)) or list(_files(folder))
    if not found:
        raise DataError(f"{folder} has no Parquet file with image_jpeg, and no HAM10000_metadata.csv with pictures")
    rng = np.random.default_rng(7)
    lesions = [str(i) for i in rng.permutation(sorted({p.person for p in found}))]
    asked = {}
    for kind in ("melanoma", "nevus"):  # held back: in no bank
        one = next((p for i in lesions for p in found if p.person == i and p.label == kind), None)
        if one is None:
            raise StudyError(f"{folder} has no picture of a {kind}; the demo asks about one")
        asked[f"like-a-{kind}"], found = cleaned(one.raw).pixels, [p for p in found if p.person != one.person]
        lesions.remove(one.person)
    place = {person: HOSPITALS[i % len(HOSPITALS)] for i, person in enumerate(lesions[:MOST])}
    dealt: dict[str, list[Photo]] = {name: [] for name in HOSPITALS}
    for photo in found:
        if photo.person in place:
            dealt[place[photo.person]].append(photo)
    levels = tuple(
        name for name in dict.fromkeys(DX.values()) if any(p.label == name for photos in dealt.values() for p in photos)
    )
    return Photos(dealt, asked, levels, "Skin lesions of HAM10000 in four hospitals")


def _parquet(folder: Path) -> Iterator[Photo]:
    import pandas as pd

    for file in sorted(folder.glob("*.parquet")):
        frame = pd.read_parquet(file)
        if "image_jpeg" in frame:
            for row in frame.itertuples():
                yield Photo(str(row.lesion_id), DX.get(str(row.dx), ""), bytes(row.image_jpeg))


def _files(folder: Path) -> Iterator[Photo]:
    import pandas as pd

    table = folder / "HAM10000_metadata.csv"
    if not table.is_file():
        return
    pictures = {file.stem: file for file in folder.rglob("*.jpg")}
    frame = pd.read_csv(table).sample(frac=1, random_state=7)
    for row in frame[frame.image_id.isin(list(pictures))].head(MOST).itertuples():
        yield Photo(str(row.lesion_id), DX.get(str(row.dx), ""), pictures[str(row.image_id)].read_bytes())


def written(folder: Path) -> list[Path]:
    """Write the studies, and of each hospital its files and the list of them that `images add` reads."""
    import csv

    from confrere.console.output import installed

    installed(("PIL",), "making pictures needs", "images")
    photos = synthetic()
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, text in texts_of(photos).items():
        made.append(folder / name)
        made[-1].write_text(text, encoding="utf-8")
    for name, theirs in photos.hospitals.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        lines = []
        for i, photo in enumerate(theirs):
            file = place / f"{i:04d}.jpg"
            file.write_bytes(photo.raw)
            lines.append((file.name, photo.person, photo.label, "yes", "yes" if photo.consents else "no"))
        with (place / "list.csv").open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([("file", "person", "label", "discussing", "training"), *lines])
        made.append(place / "list.csv")
    return made
