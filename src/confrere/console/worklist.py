"""`confrere hospital worklist ...`: lists of this hospital's own patients, for clinicians whom the steward names.

Whoever may run this may read the hospital's folder: it is the hospital's IT that shows and exports a list for a
clinician, and the ledger says for whom.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confrere.console.hospital import HERE, At
from confrere.errors import StudyError
from confrere.study.counted import counted
from confrere.study.recruitment import STATUSES

if TYPE_CHECKING:
    from confrere.hospital.worklists import Head, Line, Worklists

app = typer.Typer(no_args_is_help=True, help="Lists of this hospital's patients, for its clinicians. They stay here.")

Name = Annotated[str, typer.Argument(help="The list, as `worklist list` names it.")]
Who = Annotated[str, typer.Option("--clinician", metavar="WHO", help="The clinician who sees it; the ledger has it.")]
Lang = Annotated[str, typer.Option("--lang", metavar="LANG", help="Language: en or fr.")]

TYPED = tuple(status.replace(" ", "-") for status in STATUSES)  # as a terminal likes them

FRENCH = {
    "no worklists": "aucune liste",
    "{people}, until {until}": "{people}, jusqu’au {until}",
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
    "to see": "à voir",
    "seen": "vu",
    "not eligible": "non éligible",
    "eligible": "éligible après lecture",
    "contacted": "contacté",
    "declined": "refus",
    "consented": "consentement donné",
    "enrolled": "inclus",
    "reason": "motif",
    "no longer on the list": "n’est plus sur la liste",
    "no longer on it, status kept: {people}": "plus sur la liste, statut conservé : {people}",
    "left off, since they oppose being contacted: {people}": "écartés, car opposés à être contactés : {people}",
    "people": "personnes",
    "screened": "présélectionnés",
    "entry event": "événement d’entrée",
    "not ruled out": "non exclus",
    "meet all criteria": "remplissent tous les critères",
    "recent entry event": "événement d’entrée récent",
    "not cut off by censoring": "non écartés par la censure",
    "few criteria unknown": "peu de critères inconnus",
    "on the list": "sur la liste",
    "read": "lus et décidés",
    "found eligible": "jugés éligibles",
    "answered": "ont répondu",
    "step": "étape",
    "criterion": "critère",
    "Every status is as the ledger has it.": "Chaque statut est tel que le registre le connaît.",
    "not as the ledger has them: {count} statuses": "différents du registre : {count} statuts",
    "{file}: the screening log. It stays in this hospital.": "{file} : le journal de présélection. Il reste ici.",
    "{file}: {people}. It stays in this hospital.": "{file} : {people}. Il reste dans cet hôpital.",
    "{who} may see {name}.": "{who} peut voir {name}.",
    "{who} may not see {name} any more.": "{who} ne peut plus voir {name}.",
    "The status is noted.": "Le statut est noté.",
}


STEPS = {"seen": "vus", "contacted": "contactés", "consented": "ont consenti"}  # of people, where a status is of one


def patients(n: int) -> str:
    """So many patients, in English and in French."""
    return counted(n, "patient")


class Words:
    """What is printed, in English or French."""

    def __init__(self, lang: str) -> None:
        from confrere.console.output import check_language

        check_language(lang)
        self._french = lang == "fr"

    def __call__(self, text: str, **values: object) -> str:
        """`text` in the language, its {fields} filled."""
        return (FRENCH[text] if self._french else text).format(**values)

    def step(self, text: str) -> str:
        """A step of a funnel; one that a study words itself as it stands."""
        return STEPS.get(text, FRENCH.get(text, text)) if self._french else text


@app.command("list")
def show_lists(lang: Lang = "en", home: At = HERE) -> None:
    """Say which lists there are, what for, until when, and who may see them. No patient is shown."""
    words = Words(lang)
    heads = _lists(home).heads()
    for head in heads:
        typer.echo(f"{head.name}: {head.title}")
        until = words("{people}, until {until}", people=patients(head.people), until=f"{head.expires:%Y-%m-%d}")
        who = ", ".join(head.clinicians)
        typer.echo(f"    {until}; {words('for {who}', who=who) if who else words('nobody may see it yet')}")
        if head.gone:
            typer.echo("    " + words("no longer on it, status kept: {people}", people=patients(head.gone)))
        if head.contact:
            off = patients(head.opposed or 0)
            typer.echo("    " + words("left off, since they oppose being contacted: {people}", people=off))
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
    for column in (*page.head.columns, words("criteria"), words("status"), words("reason")):
        table.add_column(escape(column))
    for line in page.lines:
        values = ["" if v is None else number(v) for v in line.values]
        why = reason(page.head, line, words) if line.listed else words("no longer on the list")
        cells = [line.person, *values, why, words(line.status), line.moves[-1].reason if line.moves else ""]
        table.add_row(*map(escape, cells))
    terminal().print(table)


@app.command()
def export(
    name: Name, clinician: Who,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new CSV file, which its owner alone may read.")],
    with_patients: Annotated[
        bool, typer.Option("--with-patients", help="The word that you know: the file names patients, and stays here.")
    ] = False,
    lang: Lang = "en", home: At = HERE,
) -> None:  # fmt: skip
    """Write a list to a CSV file inside the hospital, for a clinician whom the steward named for it."""
    words = Words(lang)
    if not with_patients:
        raise StudyError("the file names patients and must stay in this hospital; say so, --with-patients")
    rows = _lists(home).export(name, clinician, out)
    typer.echo(words("{file}: {people}. It stays in this hospital.", file=out, people=patients(rows)))


@app.command()
def status(
    name: Name, clinician: Who,
    person_and_status: Annotated[
        tuple[str, str],
        typer.Argument(
            metavar="PERSON STATUS",
            help=f"The patient's id, as the list prints it, and what became of it: {', '.join(TYPED)}.",
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the hospital.")] = "",
    lang: Lang = "en", home: At = HERE,
) -> None:  # fmt: skip
    """Note what became of a patient on a list. It stays in this hospital."""
    from confrere.study.file import meant

    words, (person, to) = Words(lang), person_and_status
    if to.replace(" ", "-") not in TYPED:
        raise StudyError(f"{to!r} is no status; {meant(to, TYPED)}")
    _lists(home).mark(name, clinician, person, to.replace("-", " "), reason)
    typer.echo(words("The status is noted."))


@app.command()
def log(
    name: Name,
    clinician: Annotated[
        str, typer.Option("--clinician", metavar="WHO", help="A clinician who may see the list; else the steward.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A new CSV file, which its owner alone may read.")
    ] = None,
    lang: Lang = "en", home: At = HERE,
) -> None:  # fmt: skip
    """Show the screening log of a list, for the hospital's own trial file: numbers of this hospital, no patient."""
    from rich.markup import escape
    from rich.table import Table

    from confrere.console.output import terminal
    from confrere.hospital.exports import log_csv, write_new
    from confrere.hospital.home import Home
    from confrere.hospital.screening import marks

    words, here = Words(lang), Home(home)
    head, found = here.worklists.log(name, clinician or "steward", marks(here.ledger), steward=not clinician)
    if out is not None:
        write_new(out, log_csv(found))
        typer.echo(words("{file}: the screening log. It stays in this hospital.", file=out))
        return
    typer.echo(head.title)
    table = Table()
    for column in ("step", "criterion", "people"):
        table.add_column(words(column), justify="right" if column == "people" else "left")
    for step, criterion, n in found.steps:
        table.add_row(escape(words.step(step)), escape(criterion), str(n))
    for reason_, n in found.reasons:
        table.add_row(words("not eligible"), escape(reason_), str(n))
    terminal().print(table)
    typer.echo(words("no longer on it, status kept: {people}", people=patients(found.gone)))
    if found.opposed is not None:
        typer.echo(words("left off, since they oppose being contacted: {people}", people=patients(found.opposed)))
    wrong = "not as the ledger has them: {count} statuses"
    typer.echo(words(wrong if found.changed else "Every status is as the ledger has it.", count=found.changed))


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
    from confrere.hospital.exports import criteria_of

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
