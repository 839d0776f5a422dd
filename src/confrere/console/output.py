"""What commands share: checks before long work, progress on a terminal, results written and shown."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from confrere.errors import StudyError

if TYPE_CHECKING:
    from rich.console import Console

    from confrere.console.fit import Results
    from confrere.report.numerals import Language


def check_language(lang: str) -> None:
    """A language that there is."""
    if lang not in ("en", "fr"):
        raise StudyError(f"--lang {lang!r} is not known; it is en or fr")


def named(given: list[str], what: str) -> dict[str, str]:
    """Hospitals from NAME=FILE, where `what` says what FILE is. StudyError unless names and files differ."""
    hospitals: dict[str, str] = {}
    for item in given:
        name, equals, path = (part.strip() for part in item.partition("="))
        if not equals or not name or not path:
            raise StudyError(f"--hospital {item!r} must be NAME={what}, such as --hospital curie=curie.csv")
        if name in hospitals:
            raise StudyError(f"two hospitals are called {name!r}; give each its own name")
        for other, known in hospitals.items():
            if Path(known).resolve() == Path(path).resolve():
                raise StudyError(f"{other!r} and {name!r} are the same file {path}; its people would count twice")
        hospitals[name] = path
    return hospitals


def federated() -> None:
    """StudyError where what a federation of processes needs is not installed."""
    installed(("nvflare", "fastapi", "uvicorn", "sqlalchemy", "httpx"), "a federation needs", "federation")


def installed(modules: Sequence[str], what: str, extra: str) -> None:
    """StudyError where modules are not installed: which, and by which extra they are."""
    if missing := [name for name in modules if find_spec(name) is None]:
        verb = "is" if len(missing) == 1 else "are"
        raise StudyError(f"{', '.join(missing)} {verb} not installed; {what}: pip install 'confrere[{extra}]'")


def apart(out: Path, *read: str | Path) -> None:
    """StudyError where a command would write `out` over a file that it reads, by its path, another, or a link; of a
    folder that it reads, over one of its tables."""
    from confrere.data.sources import PARQUET, TEXTS

    for path in map(Path, read):
        table = path.is_dir() and path.resolve() in out.resolve().parents and out.suffix.lower() in (*PARQUET, *TEXTS)
        if out.exists() and path.exists() and (table or out.samefile(path)):
            raise StudyError(f"--out {out}: {path} is read here, and would be written over; give another file")


def checked(out: Path, lang: str, deadline: float | None) -> None:
    """Find out before a long run that its result cannot be written, or that an option says nothing."""
    check_language(lang)
    if deadline is not None and not deadline >= 0:
        raise StudyError(f"--deadline {deadline:g} is not a number of seconds; it is 0 or more")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        why = "a file stands in its place" if isinstance(error, FileExistsError) else error.strerror
        raise StudyError(f"--out {out}: nothing can be written there ({why}); choose another folder") from None
    for path in sorted(out.glob("models/*.json")):
        if _kept(path):
            raise StudyError(
                f"--out {out}: models/{path.name} was signed, evaluated or recalibrated, and would go "
                f"with the result; choose another folder, or move it"
            )


def _kept(model: Path) -> bool:
    """Whether there is more in the file of a model than a study wrote, which no study makes again."""
    try:
        plain = json.loads(model.read_text(encoding="utf-8"))
        return bool(plain.get("signatures") or {"evaluations", "recalibration"} & plain.get("card", {}).keys())
    except (OSError, ValueError, AttributeError):
        return False


class Progress:
    """One line that says what goes on: on stderr, and only where it is a terminal."""

    def __init__(self, first: str) -> None:
        from rich.console import Console
        from rich.status import Status

        console = Console(stderr=True)
        self._shown = console.is_terminal
        self._status = Status(first, console=console)

    def say(self, line: str) -> None:
        """Show another line."""
        self._status.update(line)

    def __enter__(self) -> Progress:
        if self._shown:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def delivered(results: Results, out: Path, lang: str) -> None:
    """Write the results of a study, and show them; errors of single analyses are told at the end, with exit code 2."""
    from confrere.console.result import as_dict, models
    from confrere.console.show import findings
    from confrere.report import write

    try:
        tongue: Language = "fr" if lang == "fr" else "en"
        written = write(as_dict(results), out, lang=tongue, models=models(results, tongue))
    except OSError as error:
        raise StudyError(f"--out {out}: {error.strerror}; make room there, or choose another folder") from None
    console = terminal()
    for line in findings(results):
        console.print(line, highlight=False)
    console.print(f"\nReport: {written.report}", soft_wrap=True, highlight=False)
    if written.models:
        console.print(f"Models: {', '.join(map(str, written.models))}", soft_wrap=True, highlight=False)
    for name, why in results.errors.items():
        complain(f"analysis {name!r} has no result: {why}", why.page)
    if results.errors:
        raise typer.Exit(2)


def terminal() -> Console:
    """stdout, 110 characters wide where it is no terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110)


def complain(message: str, page: str) -> None:
    """An error on stderr, and where the documentation says more."""
    from rich.console import Console

    from confrere.console.show import more

    typer.echo(f"confrere: {message}", err=True)
    Console(stderr=True).print(more(page), highlight=False, soft_wrap=True)
