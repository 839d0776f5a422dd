"""A manifest as a data officer reads it: by analysis and step what may leave, in which shape, how often, how much."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from confrere.console.pages.hospital_words import DIMS
from confrere.console.pages.languages import Tongue
from confrere.console.pages.tables import Column, Table
from confrere.hospital.manifest import PEOPLE, Entry, Manifest
from confrere.study.file import Study


class Asked(NamedTuple):
    """A step of an analysis: what it does (English, as its method says), whether its rows stay, and its arrays."""

    step: str
    method: str
    does: str
    stays: bool
    entries: list[Entry]


class Part(NamedTuple):
    """An analysis: its name as the study has it, whom it asks, its steps, and a sentence where it has none."""

    name: str
    group: tuple[str, ...]
    steps: list[Asked]
    silent: bool  # what the analyses above ask for is enough


def parts(study: Study, found: Manifest) -> Iterator[Part]:
    """The analyses of a manifest; first, under the name "", what is asked before them: whom the study is about."""
    groups = {spec.name: spec.group for spec in study.analyses}
    for name, entries in itertools.groupby(found.entries, key=lambda e: e.analysis):
        yield Part("" if name == PEOPLE else name, groups.get(name, ()), list(_steps(list(entries))), False)
    told = {e.analysis for e in found.entries} | {missed.analysis for missed in found.unreached}
    for spec in study.analyses:
        if spec.name not in told:
            yield Part(spec.name, spec.group, [], True)


def _steps(entries: list[Entry]) -> Iterator[Asked]:
    for (method, step), arrays in itertools.groupby(entries, key=lambda e: (e.method, e.step)):
        held = list(arrays)
        yield Asked(step, method, held[0].does, held[0].kind == "keep", held)


def shape(entry: Entry, _: Tongue) -> str:
    """The shape of an array in words: `terms 10 × terms 10`."""
    sizes = (f"{_(DIMS.get(d, d))} {_.numbers.count(n)}" for d, n in zip(entry.dims, entry.bounds, strict=True))
    return " × ".join(sizes) or _("one number")


def times(entry: Entry, _: Tongue) -> str:
    """How often an array may be asked."""
    if entry.repeats == 0:
        return _("until agreed")
    return _("once") if entry.repeats == 1 else _.plural("{count} time", "{count} times", entry.repeats)


def size(entry: Entry, _: Tongue) -> str:
    """How many bytes an array has, each time."""
    bytes_ = _.numbers.size(entry.bytes)
    return bytes_ if entry.repeats == 1 else _("{size} each time", size=bytes_)


def sheet(found: Manifest, _: Tongue) -> Table:
    """All arrays that may leave, for the CSV."""
    records = [
        {
            "analysis": e.analysis, "method": e.method, "step": e.step, "array": e.name, "kind": e.kind,
            "shape": shape(e, _), "times": times(e, _), "bytes": e.bytes, "does": e.does,
        }
        for e in found.entries
        if e.kind != "keep"
    ]  # fmt: skip
    heads = {
        "analysis": _("Analysis"), "method": _("Method"), "step": _("Step"), "array": _("Array"), "kind": _("Kind"),
        "shape": _("Shape, at most"), "times": _("How often"), "bytes": _("Bytes each time"), "does": _("What it does"),
    }  # fmt: skip
    columns = tuple(Column(field, head, "size" if field == "bytes" else "text") for field, head in heads.items())
    return Table("manifest", _("What may leave this hospital"), columns, records)
