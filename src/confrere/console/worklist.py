"""`confrere hospital worklist ...`: lists of this hospital's own patients, for clinicians whom the steward names.

Whoever may run this may read the hospital's folder: it is the hospital's IT that shows and exports a list for a
clinician, and the ledger says for whom.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.console.hospital import HERE, At

if TYPE_CHECKING:
    from confrere.hospital.worklists import Head, Line, Worklists

app = typer.Typer(no_args_is_help=True, help="Lists of this hospital's patients, for its clinicians. They stay here.")

Name = Annotated[str, typer.Argument(help="The list, as `worklist list` names it.")]
Who = Annotated[str, typer.Option("--clinician", metavar="WHO", help="The clinician who sees it; the ledger has it.")]
Lang = Annotated[str, typer.Option("--lang", metavar="LANG", help="Language: en or fr.")]

FRENCH = {
    "no worklists": "aucune liste",
    "{people} patients, until {until}": "{people} patients, jusqu’au {until}",
    "for {who}": "pour {who}",
    "nobody may see it yet": "personne ne peut encore la voir",
    "Purpose: {purpose}": "Finalité : {purpose}",
    "What it is for: {purpose}": "À quoi elle sert : {purpose}",
    "Criteria: {criteria}": "Critères : {criteria}",
    "to be checked": "à vérifier",
    "not met": "non remplis",
    "all met": "tous remplis",
    "criteria": "critères",
    "status": "statut",
    "todo": "à voir",
    "contacted": "contacté",
    "done": "fait",
    "declined": "refus",
    "ineligible": "non éligible",
    "{file}: {rows} patients. It stays in this hospital.": "{file} : {rows} patients. Il reste dans cet hôpital.",
    "{who} may see {name}.": "{who} peut voir {name}.",
    "{who} may not see {name} any more.": "{who} ne peut plus voir {name}.",
    "The status is noted.": "Le statut est noté.",
}


class Words:
    """What is printed, in English or French."""

    def __init__(self, lang: str) -> None:
        from confrere.console.output import check_language

        check_language(lang)
        self._french = lang == "fr"

    def __call__(self, text: str, **values: object) -> str:
        """`text` in the language, its {fields} filled."""
        return (FRENCH[text] if self._french else text).format(**values)


@app.command("list")
def show_lists(lang: Lang = "en", home: At = HERE) -> None:
    """Say which lists there are, what for, until when, and who may see them. No patient is shown."""
    words = Words(lang)
    heads = _lists(home).heads()
    for head in heads:
        typer.echo(f"{head.name}: {head.title}")
        until = words("{people} patients, until {until}", people=head.people, until=f"{head.expires:%Y-%m-%d}")
        who = ", ".join(head.clinicians)
        typer.echo(f"    {until}; {words('for {who}', who=who) if who else words('nobody may see it yet')}")
        _purposes(head, words, "    ")
    if not heads:
        typer.echo(words("no worklists"))


@app.command()
def show(name: Name, clinician: Who, lang: Lang = "en", home: At = HERE) -> None:
    """Show a list to a clinician whom the steward named for it."""
    from rich.markup import escape
    from rich.table import Table

    from confrere.console.output import terminal
    from confrere.console.show import number

    words = Words(lang)
    page = _lists(home).show(name, clinician)
    typer.echo(page.head.title)
    _purposes(page.head, words)
    typer.echo(words("Criteria: {criteria}", criteria="; ".join(page.head.criteria)))
    table = Table()
    for column in (*page.head.columns, words("criteria"), words("status")):
        table.add_column(escape(column))
    for line in page.lines:
        values = ["" if v is None else number(v) for v in line.values]
        cells = [line.person, *values, reason(page.head, line, words), words(line.status)]
        table.add_row(*map(escape, cells))
    terminal().print(table)


@app.command()
def export(
    name: Name, clinician: Who,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new CSV file, which its owner alone may read.")],
    lang: Lang = "en", home: At = HERE,
) -> None:  # fmt: skip
    """Write a list to a CSV file inside the hospital, for a clinician whom the steward named for it."""
    words = Words(lang)
    rows = _lists(home).export(name, clinician, out)
    typer.echo(words("{file}: {rows} patients. It stays in this hospital.", file=out, rows=rows))


@app.command()
def status(
    name: Name, clinician: Who,
    person: Annotated[str, typer.Argument(help="The patient's id, as the list prints it.")],
    what: Annotated[
        str, typer.Argument(metavar="STATUS", help="What became of it: todo, contacted, done, declined, ineligible.")
    ],
    lang: Lang = "en", home: At = HERE,
) -> None:  # fmt: skip
    """Note what became of a patient on a list. It stays in this hospital."""
    words = Words(lang)
    _lists(home).mark(name, clinician, person, what)
    typer.echo(words("The status is noted."))


@app.command()
def grant(name: Name, clinician: Who, lang: Lang = "en", home: At = HERE) -> None:
    """Name a clinician who may see a list; the steward's word."""
    words = Words(lang)
    _lists(home).grant(name, clinician)
    typer.echo(words("{who} may see {name}.", who=clinician, name=name))


@app.command()
def withdraw(name: Name, clinician: Who, lang: Lang = "en", home: At = HERE) -> None:
    """Take a grant back."""
    words = Words(lang)
    _lists(home).withdraw(name, clinician)
    typer.echo(words("{who} may not see {name} any more.", who=clinician, name=name))


def reason(head: Head, line: Line, words: Words) -> str:
    """Why a patient is on a list: which criteria are unknown, or not met."""
    from confrere.hospital.worklists import criteria_of

    said = {"to be checked": criteria_of(head, line, "unknown"), "not met": criteria_of(head, line, "failed")}
    named = [f"{words(what)}: {', '.join(texts)}" for what, texts in said.items() if texts]
    return "; ".join(named) or words("all met")


def _purposes(head: Head, words: Words, margin: str = "") -> None:
    """Both purposes: the study's, and what the list is for."""
    typer.echo(margin + words("Purpose: {purpose}", purpose=head.study_purpose))
    if head.purpose:
        typer.echo(margin + words("What it is for: {purpose}", purpose=head.purpose))


def _lists(home: Path) -> Worklists:
    """The worklists of a hospital's folder."""
    from confrere.hospital.home import Home

    return Home(home).worklists
