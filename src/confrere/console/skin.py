"""`confrere images ...`: the image bank of a hospital: take up, check, consents, features, cases to discuss.

Whoever may run this may read the hospital's folder. Everything stays in the hospital; the ledger says who did what.
"""

from __future__ import annotations

import csv
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.console.hospital import HERE, At
from confrere.errors import DataError, StudyError

if TYPE_CHECKING:
    from confrere.hospital.home import Home
    from confrere.images.bank import Added, Bank
    from confrere.images.bank_pixels import Box

app = typer.Typer(no_args_is_help=True, help="A hospital's bank of clinical pictures. They stay here.")

Image = Annotated[list[str], typer.Argument(help="Pictures, as `images list` names them.", metavar="IMAGE...")]
By = Annotated[str, typer.Option("--by", metavar="WHO", help="Who says so; the ledger has it.")]
Use = Annotated[list[str], typer.Option("--use", metavar="USE", help="discussing or training; may be given again.")]
Person = Annotated[
    str, typer.Option("--person", metavar="PERSON", help="The patient, as the hospital's tables have them.")
]
COLUMNS = ("file", "person", "label", "discussing", "training")
YES = ("1", "yes", "oui", "true")


@app.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="Pictures of one person; or one list of them (.csv).")],
    by: By,
    person: Person = "",
    label: Annotated[str, typer.Option("--label", metavar="LABEL", help="What is on them, such as a diagnosis.")] = "",
    consent: Annotated[
        list[str], typer.Option("--consent", metavar="USE", help="A use the patient consented to; may be given twice.")
    ] = [],  # noqa: B006 - Typer copies it
    home: At = HERE,
) -> None:
    """Take pictures into the bank: their pixels and nothing else. Files stay where they are.

    A list has the columns file, person, label, discussing, training (the last three may be missing; consent is yes).
    A consent that was taken back stays so: only `images consent` gives it anew. So it is for a picture that looks like
    one of the same person that was erased, painted over or revoked; such a picture is held.
    """
    bank = _bank(home)
    if len(files) == 1 and files[0].suffix.lower() == ".csv":
        wanted = _list(files[0])
    else:
        if not person:
            raise StudyError("say whose pictures these are, --person, or give a list (.csv) with a column person")
        wanted = [(file, person, label, tuple(consent)) for file in files]
    counted: dict[str, int] = {}
    for file, whose, what, uses in wanted:
        got = bank.add(_read(file), whose, by, label=what, name=file.name)
        refused = bank.refused(got.image) if got.image and uses else ()
        for use in uses if got.image else ():
            if use in refused:
                typer.echo(
                    f"{file.name}: {got.image}: no consent for {use} from here: it, or a picture that looks like this "
                    f"one, was taken back; `images consent` gives it"
                )
            else:
                bank.consent(got.image, use, by)
        counted[got.state] = counted.get(got.state, 0) + 1
        _say(file.name, got, len(wanted))
    typer.echo(", ".join(f"{n} {state}" for state, n in counted.items()))


@app.command("list")
def show_list(
    use: Annotated[str, typer.Option("--use", metavar="USE", help="Only those that may be used so.")] = "",
    person: Person = "",
    home: At = HERE,
) -> None:
    """Name the pictures, what each may be used for, and which are held."""
    bank = _bank(home)
    for picture in bank.pictures(use, person=person):
        uses = ", ".join(picture.uses) or "no consent, or opposed"
        held = f"; held: {picture.why}; {bank.file(picture.image)}" if picture.state == "held" else ""
        typer.echo(f"{picture.image}  {picture.person}  {picture.label or '-'}  {uses}{held}")


@app.command()
def check(home: At = HERE) -> None:
    """Look through the bank: what is held and why, what looks alike, what is damaged, what may be used for what."""
    bank = _bank(home)
    found = bank.check()
    uses = ", ".join(f"{n} for {use}" for use, n in found.by_use.items())
    typer.echo(f"{_many(found.pictures, 'picture')} of {found.people} people; {uses}")
    for picture in found.held:
        typer.echo(
            f"held: {picture.image} ({picture.person}): {picture.why}. Look at {bank.file(picture.image)}, then "
            f"`images mask`, `images release` or `images erase`"
        )
    for name, why in found.quarantine:
        typer.echo(f"quarantine: {name}: {why}")
    for group in found.twins:
        typer.echo(f"look alike: {', '.join(group)}")
    for group in found.groups:
        typer.echo(f"perhaps one person: {', '.join(group)}")
    for image in found.damaged:
        typer.echo(f"damaged: {image}; add the picture again")
    if found.strays:
        typer.echo(
            f"{_many(found.strays, 'file')} of no picture: add what was interrupted again; what remains may be removed"
        )
    if found.damaged:
        raise DataError(f"{_many(len(found.damaged), 'picture')} of the bank cannot be used")


@app.command()
def consent(image: Image, use: Use, by: By, home: At = HERE) -> None:
    """Note that patients agreed to one use of pictures."""
    bank = _bank(home)
    for one, each in product(image, use):
        bank.consent(one, each, by)
        typer.echo(f"{one} may be used for {each}")


@app.command()
def revoke(image: Image, use: Use, by: By, home: At = HERE) -> None:
    """Take a consent back. The pictures are in no bags and on no page from now on."""
    bank = _bank(home)
    none: list[str] = []
    for one, each in product(image, use):
        try:
            bank.revoke(one, each, by)
        except StudyError as error:  # there is none of this one: the others are taken back all the same
            none.append(str(error))
            continue
        typer.echo(f"{one} may not be used for {each} any more")
    if none:
        raise StudyError("; ".join(none))


@app.command()
def release(
    by: By,
    image: Image = [],  # noqa: B006 - Typer copies it
    restored: Annotated[
        bool, typer.Option("--restored", help="All that are held because they come from a backup.")
    ] = False,
    home: At = HERE,
) -> None:
    """Somebody has looked at held pictures: they may be used as their consents say.

    Of pictures from a backup: that what was revoked, painted over and erased since was so again.
    """
    from confrere.images.bank import RESTORED

    bank = _bank(home)
    if not (image or restored):
        raise StudyError("say which pictures are released, as `images list` names them")
    for one in [*image, *(p.image for p in bank.pictures() if restored and p.why == RESTORED)]:
        bank.release(one, by)
        typer.echo(f"{one} is released")


@app.command()
def mask(
    image: Annotated[str, typer.Argument(help="The picture, as `images list` names it.")],
    box: Annotated[
        list[str],
        typer.Option("--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="Pixels from the upper left; may be given again."),
    ],
    by: By,
    home: At = HERE,
) -> None:
    """Paint over text in a picture, for good, and look for text again before it is no longer held."""
    bank = _bank(home)
    got = bank.mask(image, [_box(one) for one in box], by)
    state = f"still held: {got.why}" if got.why else "not held"
    typer.echo(f"{image}: {_many(len(box), 'box', 'boxes')} painted over; {state}. Look at {bank.file(image)}")


@app.command()
def erase(
    by: By,
    image: Image = [],  # noqa: B006 - Typer copies it
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="The names of the files in quarantine; they may be patients'.")
    ] = False,
    home: At = HERE,
) -> None:
    """Remove pictures, their consents and their cases for good; or what is noted of the files in quarantine."""
    bank = _bank(home)
    if not (image or quarantine):
        raise StudyError("say which pictures are erased, as `images list` names them; or --quarantine")
    for one in image:
        bank.erase(one, by)
        typer.echo(f"{one} is erased")
    if quarantine:
        typer.echo(f"{_many(bank.erase_quarantine(by), 'file')} in quarantine forgotten; the files are where they were")


@app.command()
def extract(
    out: Annotated[
        Path, typer.Option("--out", metavar="NAME.bags", help="Folder of the bags; NAME.csv comes beside it.")
    ],
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="NAME", help="skin, or an encoder of slides or a file of your own.")
    ] = "skin",
    home: At = HERE,
) -> None:
    """Make bags of features of the pictures that may be used for training, and a table of their labels."""
    from confrere.images.encoders import encoder as named
    from confrere.images.skin import SKIN

    got = _bank(home).bagged.extract(out, SKIN if encoder == SKIN.name else named(encoder))
    typer.echo(
        f"{out}: {got.images} pictures of {got.people} people, {got.size} numbers each; labels in {got.table.name}"
    )
    if got.several:
        typer.echo(
            f"{_many(got.several, 'person has', 'people have')} pictures of several kinds, and so no label: a study of "
            f"labels leaves them out"
        )
    if got.none:
        typer.echo(f"{_many(got.none, 'person has', 'people have')} no picture with a label")
    typer.echo(f'In a study: bag_size = {got.size}, bag_recipe = "{got.recipe}".')


@app.command()
def similar(
    image: Annotated[str, typer.Argument(help="The picture, as `images list` names it.")],
    bags: Annotated[Path, typer.Option("--bags", metavar="NAME.bags", help="Bags that `images extract` made.")],
    most: Annotated[int, typer.Option("--most", metavar="N", help="How many people, at most.")] = 10,
    home: At = HERE,
) -> None:
    """Name the pictures of other people that are most like one, by the features in bags. It stays in this hospital."""
    from confrere.images.similar import similar as nearest

    for found in nearest(_bank(home), image, bags, most):
        typer.echo(f"{found.image}  {found.person}  {found.label or '-'}  {found.distance:.3f}")


@app.command()
def discuss(
    image: Annotated[str, typer.Argument(help="The picture, as `images list` names it.")],
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="What to discuss; no patient's name.")],
    by: By,
    invite: Annotated[
        list[str], typer.Option("--invite", metavar="WHO", help="Who may see it, as they sign in; may be given twice.")
    ],
    days: Annotated[int, typer.Option("--days", metavar="N", help="For how long, 90 at most.")] = 14,
    home: At = HERE,
) -> None:
    """Open a case: those invited see the picture on the hospital's pages, and comment on it, until it expires."""
    name = _home(home).cases.begin(image, title, by, tuple(invite), days)
    typer.echo(f"{name}: for {', '.join(invite)}, {days} days")


@app.command()
def cases(
    close: Annotated[str, typer.Option("--close", metavar="CASE", help="End this case now.")] = "",
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who closes it; the ledger has it.")] = "",
    home: At = HERE,
) -> None:
    """Name the cases that are discussed, until when, and who may see them; or close one."""
    here = _home(home).cases
    if close:
        here.close(close, by)
        typer.echo(f"{close} is closed")
    for case in here.heads():
        typer.echo(f"{case.name}: {case.title}; until {case.expires[:10]}, for {', '.join(case.invited)}")


def _list(file: Path) -> list[tuple[Path, str, str, tuple[str, ...]]]:
    """Files with their person, label and uses, from a list, also one with semicolons.

    DataError before any is added where a line is not whole.
    """
    from confrere.data import sources

    if not file.is_file():
        raise DataError(f"there is no list {file}; it has a line for each picture: {', '.join(COLUMNS)}")
    with file.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle, delimiter=sources.separator(file, COLUMNS))
        lines = [{name: (line.get(name) or "").strip() for name in COLUMNS} for line in reader]
    if not lines or not {"file", "person"} <= set(reader.fieldnames or ()):
        raise DataError(f"{file} needs the columns file and person; {', '.join(COLUMNS)} are read")
    for number, line in enumerate(lines, 2):
        if not line["file"] or not line["person"]:
            raise DataError(f"{file}, line {number}: file and person must both be there; nothing was added")
        if not (file.parent / line["file"]).is_file():
            raise DataError(f"{file}, line {number}: there is no file {line['file']}; nothing was added")
    return [
        (
            file.parent / line["file"], line["person"], line["label"],
            tuple(use for use in ("discussing", "training") if line[use].lower() in YES),
        )
        for line in lines
    ]  # fmt: skip


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or 'cannot be read'}") from None


def _say(name: str, got: Added, many: int) -> None:
    """A line for each of a few files; of many, for those that somebody must look at."""
    if many <= 10 or got.state in ("held", "quarantine"):
        why = f"{got.state}: {got.why}"
        typer.echo(f"{name}: {f'{got.image} ({why})' if got.image and got.why else got.image or why}")


def _box(text: str) -> Box:
    try:
        left, top, right, bottom = (int(part) for part in text.split(","))
    except ValueError:
        raise StudyError(f"--box {text!r} is not left,top,right,bottom in pixels, such as 0,0,200,24") from None
    return left, top, right, bottom


def _many(n: int, what: str, more: str = "") -> str:
    return f"{n} {what if n == 1 else more or f'{what}s'}"


def _home(home: Path) -> Home:
    from confrere.hospital.home import Home

    return Home(home)


def _bank(home: Path) -> Bank:
    return _home(home).images
