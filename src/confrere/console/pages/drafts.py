"""A study while it is written: a text to begin with, what is to be mended in it, and what it would have leave."""

from __future__ import annotations

import dataclasses
import re
from threading import Lock
from typing import Any, Final, NamedTuple

from confrere.console.pages.hospital_manifest import shape, times
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.starts import HEAD, STARTS, Start
from confrere.console.pages.tables import Column, Table
from confrere.errors import StudyError, UserError
from confrere.hospital.manifest import PEOPLE, Manifest, manifest
from confrere.rounds import find
from confrere.study import build
from confrere.study.file import LARGEST, Study, parse

CELLS: Final = 5000  # of a ladder of times; over these a page does not run a study on dummy people
MOST: Final = 50  # analyses, likewise
AROUND: Final = 2  # lines shown before and after one that is to be mended
WHERE: Final = "study.toml"
KEPT: Final = 64  # manifests, by the hash of their study
TOO_LARGE = N_("This is too large for a study file.")
NOT_TEXT = N_("This file is no text in UTF-8. Save it with that encoding, and send it again.")
_TOO_LONG = N_("This study is larger than a page may try out. The hospitals show what would leave.")
_known: dict[str, Manifest] = {}
_one = Lock()  # a manifest takes a processor for a second or more


class Fault(NamedTuple):
    """What is to be mended: the line from 1, if it is known, the sentence, and the lines around it."""

    line: int | None
    sentence: str
    around: tuple[tuple[int, str], ...]


class Checked(NamedTuple):
    """A text that was checked: the study if there is nothing to mend."""

    study: Study | None
    faults: tuple[Fault, ...]


def started(method: str) -> str:
    """A study of one analysis by an installed method, to be filled in. StudyError for a method that is not there.

    Of a plug-in only the settings that it must have are known: their values are left to be written.
    """
    start = STARTS.get(method) or Start("\n".join(f'{name} = "..."' for name in _needed(find(method))))
    return f'{HEAD}{start.data}\n[[analysis]]\nname = "{method}"\nmethod = "{method}"\n{start.settings}\n'


def _needed(cls: type[Any]) -> list[str]:
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing]


def checked(text: str) -> Checked:
    """A study's text with all that is to be mended in it: the first fault of its form, or one of each analysis."""
    if len(text.encode()) > LARGEST:
        return Checked(None, (Fault(None, TOO_LARGE, ()),))
    try:
        study = parse(text, WHERE)
    except UserError as error:
        return Checked(None, (_fault(str(error), text),))
    faults = []
    for spec in study.analyses:
        try:
            build.analyses(dataclasses.replace(study, analyses=(spec,)))
        except UserError as error:
            faults.append(_fault(str(error), text, spec.name))
    return Checked(None if faults else study, tuple(faults))


def _fault(message: str, text: str, analysis: str = "") -> Fault:
    """A message with the line that it is about, and without saying it twice."""
    said = message.removeprefix(WHERE).removeprefix(" is ").lstrip(",: ")
    at: int | None = None
    if analysis:
        at = _place(said, text, analysis)
    elif found := re.search(r"\bline (\d+)\b(?:: )?", said):
        at, said = int(found[1]), said.replace(found[0], "", 1) if said.startswith(found[0]) else said
    lines = text.splitlines()
    shown = range(max(1, at - AROUND), min(len(lines), at + AROUND) + 1) if at else ()
    return Fault(at, said[:1].upper() + said[1:], tuple((i, lines[i - 1][:200]) for i in shown))


def _place(said: str, text: str, analysis: str) -> int | None:
    """The line of an analysis that has a word which the message quotes; else the one with its name."""
    lines = text.splitlines()
    name = re.compile(rf"""\s*name\s*=\s*["']{re.escape(analysis)}["']""")
    at = next((i for i, line in enumerate(lines) if name.match(line)), None)
    if at is None:
        return None
    heads = [i for i, line in enumerate(lines) if line.lstrip().startswith("[")]
    first = max((i for i in heads if i < at), default=0)
    last = min((i for i in heads if i > at), default=len(lines))
    for word in re.findall(r"'([^']+)'", said):
        for i in range(first + 1, last):
            if i != at and word in lines[i]:
                return i + 1
    return at + 1


def leaving(study: Study) -> Manifest:
    """What would leave each hospital. StudyError where that takes longer than a page may."""
    endless = "fine_times" in study.allow and study.horizon is None
    if endless or study.ground.width * CELLS < (study.horizon or 0.0) or len(study.analyses) > MOST:
        raise StudyError(_TOO_LONG)
    with _one:
        if study.hash not in _known:
            _known[study.hash] = manifest(study)
        if len(_known) > KEPT:
            del _known[next(iter(_known))]
        return _known[study.hash]


def arrays(found: Manifest, tongue: Tongue) -> Table:
    """A manifest as a table: every array that may leave, with its shape and how often at most."""
    _ = tongue
    columns = (
        Column("analysis", _("Analysis")), Column("step", _("Step")), Column("array", _("Array"), "code"),
        Column("shape", _("Shape, at most")), Column("times", _("How often")),
        Column("bytes", _("Bytes each time"), "size"),
    )  # fmt: skip
    records = [
        {
            "analysis": "" if e.analysis == PEOPLE else e.analysis, "step": f"{e.method} {e.step}", "array": e.name,
            "shape": _("rows that stay in the hospital") if e.kind == "keep" else shape(e, _),
            "times": times(e, _), "bytes": e.bytes,
        }
        for e in found.entries
    ]  # fmt: skip
    return Table("arrays", _("Arrays that may leave each hospital"), columns, records)
