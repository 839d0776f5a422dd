"""A federation in this process: several hospitals, their own masks and gates, and an adder.

    hospitals = confrere.local({"curie": "curie.csv", "lyon": "lyon.parquet", "paris": frame})
    fit = hospitals.run(confrere.Cox("Surv(rtime, recur) ~ hormon + age + nodes"))

Nothing is left out that a network would have: keys, masks, the gate, the followed flow. Two things differ. Hospitals
follow one flow together (`shared`), and the coordinator one of its own; in a network each has its own. And whoever runs
it owns all the data, so the study is self-approved under the default policy, and refusals say why.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

from threadpoolctl import threadpool_limits

from confrere.analyses.finding import Caution, Finding
from confrere.analyses.target_trial import cautioned
from confrere.console.arguments import in_python, recorded
from confrere.console.fit import Results
from confrere.coordinator.federation import Federation, Near
from confrere.data import bags, people, sources
from confrere.data.table import Table
from confrere.errors import ConfrereError, DataError, Refused, StudyError, UserError
from confrere.hospital.classes import enough
from confrere.hospital.gate import Gate, Policy, Violation
from confrere.hospital.run import Run
from confrere.hospital.session import start_sessions
from confrere.hospital.shared import Shared
from confrere.rounds import Round, Site, drive, name_of, supported
from confrere.study import build
from confrere.study.cohorts import reads
from confrere.study.counted import counted
from confrere.study.file import Study, meant
from confrere.study.file import read as read_study
from confrere.study.ground import Ground
from confrere.study.omop import Omop
from confrere.study.schema import Column, Schema

Progress = Callable[[int, Round], None]


def _silent(number: int, asks: Round) -> None:
    """No progress shown."""


class Local:
    """Hospitals of this process. `sources` maps a hospital's name to a file, a folder or a DataFrame.

    `made` says what people are made of where the sources are OMOP records.
    `key` (32 bytes at most) is what the random numbers of all people come from, whose ids then differ between
    hospitals; without it each hospital has its own, from the study and its name.
    """

    def __init__(
        self, sources: Mapping[str, Any], ground: Ground | None = None, person: str | None = None,
        key: bytes | None = None, made: Omop | None = None,
    ) -> None:  # fmt: skip
        if len(sources) < 3:
            raise StudyError(
                f"{counted(len(sources), 'hospital')} {'was' if len(sources) == 1 else 'were'} given; a sum needs "
                f"three at least, or one could subtract itself. Add hospitals"
            )
        for name in sources:
            if not name or not name.isprintable() or "," in name:
                raise StudyError(f"{name!r} cannot name a hospital: use letters and digits, without commas")
        self.sources = dict(sorted(sources.items()))
        self.ground = ground or Ground()
        self.person = person
        self.key = key
        self.omop = made
        self.bags: Mapping[str, Mapping[str, Any]] = {}  # of hospitals whose records are no file: {name: folder, Bags}

    def run(
        self, study: Any, *, deadline: float | None = None, cancelled: Callable[[], bool] = lambda: False,
        progress: Progress = _silent, **disclosure: Unpack[build.Disclosure],
    ) -> Any:  # fmt: skip
        """Run an analysis (gives its `Fit`), or a `Study` or the path of a study file (gives `Results`).

        Of an analysis you say here what a study file has under [disclosure]: `allow` names disclosure classes that you
        approve, `alone` members whose own sums may leave (a trial's sponsor), `k` the fewest people behind a number.
        """
        if isinstance(study, (str, Path)):
            study = read_study(study)
        if isinstance(study, Study):
            return self._run(study, deadline, cancelled, progress)
        with in_python(type(study).__name__):
            one = build.single(study, self.ground_for(study, disclosure.get("allow", ())), **disclosure)
            one = replace(one, person=self.person or one.person)
            one = build.recorded(one, self.omop)
            self._check_declared(one)
            results = self._run(one, deadline, cancelled, progress)
            return results[one.analyses[0].name]

    def __repr__(self) -> str:
        return f"{len(self.sources)} hospitals in this process: {', '.join(self.sources)}"

    def _check_declared(self, study: Study) -> None:
        """That declared columns exist: other analyses may read them, but a misspelt one would count as a number."""
        built = build.analyses(study)
        read = build.columns_of(built)
        if people.asked(study, built):
            return
        unread = [c for c in study.schema.columns if c not in read]
        for name, source in self.sources.items() if unread else ():
            try:
                sources.check(source, unread, name)
            except DataError as error:
                raise DataError(f"{error} (levels of {', '.join(unread)} are declared)", about=error.about) from None

    def ground_for(self, analysis: Any, allow: Sequence[str]) -> Ground:
        """The ground of an analysis: its own, or this federation's."""
        return build.grounded(analysis, self.ground, allow)

    def _run(self, study: Study, deadline: float | None, cancelled: Callable[[], bool], progress: Progress) -> Results:
        start = time.monotonic()
        built = build.analyses(study)
        columns = build.columns_of(built)
        tables = {name: self._read(source, study, built, name) for name, source in self.sources.items()}
        flow = Shared(supported(build.flow_of(study, built)))
        runs = self._hospitals(study, tables, flow, len(columns))
        links = {name: Near(run.answer, run.take) for name, run in runs.items()}
        federation = Federation(links, build.groups_of(study, list(runs)), at_once=os.cpu_count() or 1)
        rounds, asked = 0, cast(Round, ())

        def shown(number: int, asks: Round) -> None:
            nonlocal rounds, asked
            rounds, asked = number, asks
            progress(number, asks)

        try:
            # a core for each hospital: BLAS that takes them all would make the hospitals wait for one another
            with threadpool_limits(1, "blas"):
                federation.open()
                found = drive(flow.copy(), federation.answer, deadline=deadline, cancelled=cancelled, progress=shown)
        except Refused:
            raise _explained(runs, tables, asked) from None
        named = dict(zip([s.name for s in study.analyses], found, strict=True))
        findings = {n: f for n, f in named.items() if not isinstance(f, UserError)}
        least = enough(study.k, study.allow)
        said = {n: _cautioned(f, self._asked(study, n), least, tables) for n, f in findings.items()}
        return Results(
            study, tuple(runs), cautioned(study, said),
            {n: f for n, f in named.items() if isinstance(f, UserError)}, federation.left, rounds, federation.bytes,
            time.monotonic() - start,
        )  # fmt: skip

    def _read(self, source: Any, study: Study, built: Sequence[Any], name: str) -> Table:
        """A hospital's people, with the bags that were given, or that stand beside its file."""
        path = source.path if isinstance(source, sources.Source) else source
        bound = {**bags.beside(path, study.bags), **self.bags.get(name, {})}
        return bags.attached(_read(source, study, built, name), study, bound, name)

    def _asked(self, study: Study, name: str) -> int:
        """How many hospitals an analysis asks."""
        return next(len(s.group) for s in study.analyses if s.name == name) or len(self.sources)

    def _key(self, study: Study, name: str) -> bytes:
        """What a hospital's random numbers of people come from: the same in every run of a study."""
        return hashlib.sha256(f"{study.hash} {name}".encode()).digest() if self.key is None else self.key

    def _site(self, study: Study, name: str, table: Any, built: Sequence[Any]) -> Site:
        """A hospital's records, with what random numbers of people come from."""
        shared = hashlib.sha256(study.hash.encode()).digest() if self.key is None else self.key
        return Site(table, self._key(study, name), shared, build.parts_of(built))

    def _hospitals(
        self, study: Study, tables: Mapping[str, Any], flow: Shared, columns: int
    ) -> dict[str, Run]:  # fmt: skip
        """Every hospital with its copy of the study's flow, its gate and its keys."""
        if strange := sorted(set(study.alone) - set(tables)):
            raise StudyError(f"[disclosure] alone: {strange[0]!r} is no member; {meant(strange[0], tuple(tables))}")
        policy = Policy(k=study.k, allow=frozenset(study.allow))
        groups, built = build.groups_of(study, list(tables)), build.analyses(study)
        sessions = start_sessions(list(tables), bytes.fromhex(study.hash))
        return {
            name: Run(
                flow.copy(), self._site(study, name, table, built),
                Gate(replace(policy, alone=name in study.alone), columns),
                sessions[name], groups,
            )
            for name, table in tables.items()
        }  # fmt: skip


class Ladder(TypedDict, total=False):
    """The ladder of times, as [data] of a study file has it."""

    time_unit: str
    time_step: float | None
    horizon: float | None


_LADDER = {"time_unit": "unit", "time_step": "step", "horizon": "horizon"}


def local(
    sources: Mapping[str, Any], *, levels: Mapping[str, Sequence[Any]] | None = None, person: str | None = None,
    records: Mapping[str, Any] | None = None, bags: Mapping[str, Mapping[str, Any]] | None = None,
    **ladder: Unpack[Ladder],
) -> Local:  # fmt: skip
    """A federation in this process. `sources` maps each hospital's name to a file, a folder or a DataFrame.

    `levels` declares the values of text columns, in order, the first being the reference; `time_unit`, `time_step` and
    `horizon` the ladder of times; `person` the column that names the person. Where sources are OMOP records, `records`
    says what people are made of, in the tables of a study file: concepts, cohorts, features, outcomes, and the names of
    the target and the comparator. `bags` gives each hospital its bags of images by name, a folder or
    `confrere.data.bags.Bags`; those beside a file are found.
    """
    with in_python("cf.local"):
        schema = Schema({name: Column(name, tuple(str(v) for v in values)) for name, values in (levels or {}).items()})
        if misspelt := next(iter(set(ladder) - set(_LADDER)), ""):
            raise StudyError(
                f"cf.local takes no {misspelt}; {meant(misspelt, ('levels', 'person', 'records', *_LADDER))}"
            )
        ground = Ground(schema, **{_LADDER[key]: cast(Any, value) for key, value in ladder.items()})
        made = recorded(records)
        if strange := next(iter(set(bags or {}) - set(sources)), ""):
            raise StudyError(f"bags are given for {strange!r}, which is no hospital; {meant(strange, tuple(sources))}")
    hospitals = Local(sources, ground, person, made=made)
    hospitals.bags = dict(bags or {})
    return hospitals


def _read(source: Any, study: Study, built: Sequence[Any], name: str) -> Table:
    """A hospital's people: the columns that a study names, of one table or made of OMOP records."""
    if not people.asked(study, built) or sources.is_table(source):
        return people.table(source, build.columns_of(built), study, name)
    if looks := build.looks_of(built):
        raise StudyError(
            f"{name}: which status a patient of '{looks[0].title}' has is kept by the hospital, not with its OMOP "
            f"records; submit the study to the federation that made the list"
        )
    return people.people(source.path if isinstance(source, sources.Source) else source, study, built, name)


def _cautioned(finding: Finding, asked: int, least: int, tables: Mapping[str, Table]) -> Finding:
    """A finding with what only the run knows: hospitals that gave nothing, values out of their declared range."""
    found: list[Caution] = []
    if finding.hospitals < asked:
        few = asked - finding.hospitals
        have, take = ("has", "takes") if few == 1 else ("have", "take")
        text = f"{few} of {asked} hospitals {have} fewer than {least} people for this and {take} part with nothing."
        found.append(Caution("hospitals-left-out", text))
    clamped = [c for c in reads(finding.analysis) if any(t.clamped.get(c) for t in tables.values())]
    if clamped:
        columns = ", ".join(repr(c) for c in clamped)
        text = f"{columns}: some values outside the declared range were set to its nearer end."
        found.append(Caution("clamped-values", text))
    return replace(finding, warnings=(*finding.warnings, *found))


def _explained(runs: Mapping[str, Run], tables: Mapping[str, Table], asked: Round) -> Exception:
    """Why hospitals refused: told, since whoever runs in this process owns all the data."""
    reasons = {name: run.notes[0].reason for name, run in runs.items() if run.notes}
    if not reasons:
        return Refused()
    # what is wrong with data or study goes first: the gate of others may only see what follows from it
    name, reason = min(reasons.items(), key=lambda item: not isinstance(item[1], UserError))
    asks = " and ".join(dict.fromkeys(f"{name_of(a.analysis).lstrip('_')} ({a.step})" for a in asked))
    if isinstance(reason, DataError):
        return DataError(f"{tables[name].source}: {reason}", about=reason.about)
    if isinstance(reason, UserError):
        return reason
    who = "every hospital" if len(reasons) == len(runs) else ", ".join(reasons)
    if not isinstance(reason, ConfrereError):
        what = f"{type(reason).__name__}: {reason}"
        return Refused(f"{who} stopped at {asks}, by an error that Confrere did not expect; please report it: {what}")
    what = f"the gate of {who} refused" if isinstance(reason, Violation) else f"{who} stopped at"
    return Refused(
        f"{what} {asks}: {str(reason).rstrip('.')}.{_gaps(tables)}\n"
        f"(You see why because this run is local. In a federation the reason stays with the steward.)"
    )


def _gaps(tables: Mapping[str, Table]) -> str:
    """Columns that everybody of a hospital misses, which leaves it without people."""
    gaps = [
        f"'{column}' is missing for everybody at {name}"
        for name, table in tables.items()
        for column in table.frame.columns
        if len(table.frame) and table.frame[column].isna().all()
    ]
    return f" Note that {', '.join(gaps)}." if gaps else ""
