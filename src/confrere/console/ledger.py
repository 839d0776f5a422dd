"""`confrere ledger ...`: what anybody can do who is given a ledger's file: verify it, and write it out."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from confrere.hospital.ledger import Entry

app = typer.Typer(no_args_is_help=True, help="A hospital's ledger: verify its chain, write it out.")

LedgerFile = Annotated[Path, typer.Argument(help="The ledger, such as ledger.sqlite.", metavar="FILE")]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@app.callback()
def ready() -> None:
    """These commands need no federation."""


@app.command()
def verify(
    file: LedgerFile,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The hospital's public key (hex) or its fingerprint.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", metavar="HASH", help="A head that was noted before; it must be in it.")
    ] = None,
) -> None:
    """Check the whole ledger; the first bad entry is named, with exit code 3. The file is not changed."""
    from confrere.hospital.ledger import verify as check

    bare = "".join((key or "0" * 40).split())
    if not re.fullmatch(r"[0-9]{40}|[0-9a-fA-F]{64}", bare):
        raise StudyError(f"--key {key!r} is no key: give 64 hex digits, or the 40 digits of the fingerprint in quotes")
    if head and not re.fullmatch(r"[0-9a-fA-F]{64}", head):
        raise StudyError(f"--head {head!r} is no head: give its 64 hex digits")
    if not file.is_file():
        raise StudyError(f"there is no file {file}; a hospital's ledger is ledger.sqlite in its folder")
    found = check(file, key, head=head)
    typer.echo(f"{file.name} verifies: entries {found.entries:,}, daily heads {found.heads:,}.")
    typer.echo(f"head {found.head}\nkey  {found.key}")
    if key is None:
        typer.echo("Compare the key's fingerprint with the hospital's, or give it with --key.")


@app.command()
def export(
    file: LedgerFile,
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="jsonl (a line each) or csv.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to; else it is printed.")] = None,
) -> None:
    """Write all entries as JSON lines or CSV. It does not verify them."""
    from confrere.hospital.ledger import read

    if format not in ("jsonl", "csv"):
        raise StudyError(f"--format {format!r} is not known; it is jsonl or csv")
    if out is not None and out.exists():
        raise StudyError(f"--out {out} is there already; an export overwrites nothing")
    encoding = "utf-8-sig" if format == "csv" else "utf-8"  # spreadsheets need the mark to read accents
    try:
        with nullcontext(sys.stdout) if out is None else out.open("x", encoding=encoding, newline="") as to:
            to.writelines((jsonl if format == "jsonl" else table)(read(file)))
    except OSError as error:
        raise StudyError(f"--out {out}: it cannot be written ({error.strerror}); choose another place") from None
    except BaseException:
        if out is not None:
            out.unlink(missing_ok=True)
        raise


def jsonl(entries: Iterable[Entry]) -> Iterator[str]:
    """Entries as JSON lines."""
    for entry in entries:
        yield json.dumps(entry._asdict(), ensure_ascii=False) + "\n"


def table(entries: Iterable[Entry]) -> Iterator[str]:
    """Entries as the lines of a CSV with its head."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(("number", "at", "event", "facts", "hash"))
    for entry in entries:
        facts = json.dumps(entry.facts, ensure_ascii=False)
        writer.writerow((entry.number, _cell(entry.at), _cell(entry.event), _cell(facts), entry.hash))
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet runs: no formula at its start, and no separator inside it after which one could start.

    A spreadsheet set to semicolons splits at them whatever the quotes say, so they are written as JSON may.
    """
    for sign in ";\t\r\n":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
