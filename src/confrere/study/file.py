"""The study file: TOML in, a frozen `Study` out, whose hash is what a steward approves.

    study = read("rotterdam.toml")
    study.analyses[0].settings["formula"]

Every message names the file, the line where it can, the key, the rule and the remedy; a misspelt key is
answered with the one that was meant. What a method's settings must be is known by the analyses, which check
theirs with `settings`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from confrere.errors import StudyError
from confrere.study import learnt, omop, target_trial
from confrere.study.ground import DAYS, Ground
from confrere.study.kinds import converted
from confrere.study.schema import Schema

LARGEST = 1_000_000  # bytes of a study file
K = 11  # people behind a published number; a study may ask for more, never for less
FINEST = 30.0  # days; a finer public ladder needs the class fine_times
CLASSES = ("fine_times", "small_cells", "histograms", "model_weights", "per_hospital")
SMALLEST_GROUP = 3

_KEYS: Mapping[str, tuple[str, ...]] = {
    "": ("study", "data", "disclosure", "groups", "analysis", target_trial.TABLE, *omop.TABLES),
    "study": ("id", "title", "purpose", "legal_basis", "people", "ends", "licence"),
    "data": ("table", "person", "bags", "time_unit", "time_step", "horizon", "missing", "columns", *omop.KEYS),
    "data.columns": ("levels", "range", "unit"),
    "disclosure": ("allow", "alone", "k"),
    target_trial.TABLE: target_trial.KEYS,
}
TIMES = ("times", "tau", "time", "grace", "intervals", "grid")  # settings of analyses: times that are reported
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Spec:
    """One [[analysis]] as written: its settings are checked by its method.

    group  the hospitals that take part, three at least; () means all
    """

    name: str
    method: str
    group: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study file, checked.

    time_step  width of a cell of the public ladder of times, in `time_unit`; None is 30 days (a month)
    horizon    where the ladder ends, in `time_unit`; None: the hospitals find a round one
    k          people behind every published number
    legal_basis  what the law asks a study to stand on: in France an MR-004 number or an authorisation of the CNIL
    people     who will read the findings
    ends       the last day on which hospitals answer
    licence    on what terms others may use the models that it fits; "" where it releases none but those it learns
    omop       the table of people that hospitals make of their OMOP records; None where they have one table
    target_trial  the trial that its analyses of effects emulate; None where it says none
    bags       what its analyses may read of images, by the names under which hospitals have bound them
    """

    id: str
    title: str
    purpose: str
    table: str
    analyses: tuple[Spec, ...]
    person: str | None = None
    time_unit: str = "days"
    time_step: float | None = None
    horizon: float | None = None
    missing: str = "complete"
    schema: Schema = field(default_factory=Schema)
    allow: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()  # members whose own sums may leave, such as a trial's sponsor
    k: int = K
    legal_basis: str = ""
    people: tuple[str, ...] = ()
    ends: date | None = None
    licence: str = ""
    omop: omop.Omop | None = None
    target_trial: target_trial.TargetTrial | None = None
    bags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Canonical plain content: what the hash is over. Blanks, comments and order of keys do not count."""
        data = {key: getattr(self, key) for key in ("table", "person", "time_unit", "time_step", "horizon")}
        stated = {"legal_basis": self.legal_basis, "people": list(self.people), "ends": str(self.ends or "")}
        stated |= {"licence": self.licence}
        about = {"id": self.id, "title": self.title, "purpose": self.purpose}
        return {
            "study": about | {key: value for key, value in stated.items() if value},
            "data": {**data, "missing": self.missing, "columns": self.schema.to_dict()}
            | ({"bags": sorted(self.bags)} if self.bags else {}),
            "disclosure": {"allow": sorted(self.allow), "k": self.k}
            | ({"alone": sorted(self.alone)} if self.alone else {}),
            "analysis": [
                {"name": a.name, "method": a.method, "group": list(a.group), **a.settings} for a in self.analyses
            ],
            **({"omop": dict(self.omop.plain)} if self.omop else {}),
            **({"target_trial": self.target_trial.to_dict()} if self.target_trial else {}),
        }

    @property
    def hash(self) -> str:
        """sha256 over `to_dict`, 64 hexadecimal digits."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def ground(self) -> Ground:
        """What all its analyses stand on: levels, unit and ladder of times."""
        given = [a.settings.get(key) for a in self.analyses for key in TIMES]
        times = [t for value in given for t in (value if isinstance(value, list | tuple) else (value,))]
        marks = tuple(sorted({float(t) for t in times if isinstance(t, int | float)}))
        made = Ground(
            self.schema,
            self.time_unit,
            self.time_step,
            self.horizon,
            "fine_times" in self.allow,
            marks,
            person=self.person or "",
        )
        return self.omop.grounded(made) if self.omop else made

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that the person key and the formulas name, sorted. Settings of a method that name
        further columns (weights, groups) are known by its analysis, which adds them."""
        from confrere.study.formulas import model

        names = {self.person} if self.person else set()
        for spec in self.analyses:
            for key, value in spec.settings.items():
                if key == "formula" or key.endswith("_formula"):
                    for text in [value] if isinstance(value, str) else value:
                        names |= set(model(text, self.schema).columns)
        return tuple(sorted(names))


def read(path: str | Path, *, bare: bool = False) -> Study:
    """The study in a file, models that it names within it; a `bare` one may be without analyses.

    StudyError: missing, not UTF-8, not TOML, no study, no such model.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StudyError(f"cannot read the study file {path}: {error.strerror}; check its path") from error
    if len(raw) > LARGEST:
        raise StudyError(f"{path} has {len(raw)} bytes; a study file has at most {LARGEST}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise StudyError(f"{path}, line {line}: not UTF-8; save the file with the encoding UTF-8") from error
    made = parse(text, str(path), bare=bare)
    specs = tuple(replace(a, settings=learnt.embedded(a.settings, path.parent)) for a in made.analyses)
    return replace(made, analyses=specs)


def parse(text: str, where: str = "study", *, bare: bool = False) -> Study:
    """The study in a TOML text; `where` names it in messages. Raises StudyError."""
    try:
        content = tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{where} is not valid TOML: {error}. Texts stand in quotes, lists in [ ]") from error
    return _Reader(text, where, bare).study(content)


class _Reader:
    """Checks the content of one study file, and says where it went wrong."""

    def __init__(self, text: str, where: str, bare: bool) -> None:
        self.text, self.where, self.bare = text, where, bare

    def study(self, content: dict[str, Any]) -> Study:
        self.keys("", content)
        about, data = self.table(content, "study"), self.table(content, "data", required=False)
        disclosure = self.table(content, "disclosure", required=False)
        identity = self.value("study", about, "id", str)
        if not _SAFE.fullmatch(identity):
            raise self.error("study", "id", f"'{identity}' must be letters, digits, - and _ (at most 64)")
        allow, k = self.allowed(disclosure)
        unit, step, horizon = self.time(data, allow)
        people, schema = omop.read(content, data, self.error), self.schema(data)
        made = Study(
            id=identity,
            title=self.value("study", about, "title", str, identity),
            purpose=self.value("study", about, "purpose", str),
            table=self.value("data", data, "table", str, identity),
            analyses=self.analyses(content),
            person=self.value("data", data, "person", str | None, None),
            time_unit=unit, time_step=step, horizon=horizon,
            missing=self.one_of("data", data, "missing", ("complete",), "complete"),
            schema=people.declared(schema) if people else schema, allow=allow, k=k, omop=people,
            alone=tuple(sorted(set(self.value("disclosure", disclosure, "alone", tuple[str, ...], ())))),
            legal_basis=self.value("study", about, "legal_basis", str, ""),
            people=self.value("study", about, "people", tuple[str, ...], ()),
            ends=self.value("study", about, "ends", date | None, None),
            licence=self.value("study", about, "licence", str, ""),
            target_trial=target_trial.read(content, self.error), bags=self.bags(data, people is not None),
        )  # fmt: skip
        target_trial.check(made, self.error)
        return made

    # --- the parts ---

    def bags(self, data: dict[str, Any], named: bool) -> tuple[str, ...]:
        """The bags that are named; `named` says that people have ids without a word."""
        bags = self.value("data", data, "bags", tuple[str, ...], ())
        for name in bags:
            if not _SAFE.fullmatch(name):
                raise self.error("data", "bags", f"'{name}' must be letters, digits, - and _ (at most 64)")
        if bags and not (named or data.get("person")):
            raise self.error("data", "bags", 'bags are joined to people by their id: name its column, person = "..."')
        return tuple(sorted(set(bags)))

    def time(self, data: dict[str, Any], allow: tuple[str, ...]) -> tuple[str, float | None, float | None]:
        unit = self.one_of("data", data, "time_unit", tuple(DAYS), "days")
        step = self.value("data", data, "time_step", float | None, None)
        if step is not None and not 0 < step < 1e9:
            raise self.error("data", "time_step", f"{step:g} must be above 0, in {unit}")
        ladder = Ground(unit=unit, step=step)
        if step is not None and ladder.days < FINEST - 1e-9 and "fine_times" not in allow:
            raise self.error(
                "data", "time_step", f"{step:g} {unit} is finer than {FINEST:g} days; take a longer step, or ask "
                'the stewards for it: allow = ["fine_times"] under [disclosure]'
            )  # fmt: skip
        horizon = self.value("data", data, "horizon", float | None, None)
        if horizon is not None and not ladder.width <= horizon < 1e9:
            shortest = f"one time_step ({ladder.width:g} {unit})"
            raise self.error("data", "horizon", f"{horizon:g} must be at least {shortest}")
        return unit, step, horizon

    def allowed(self, disclosure: dict[str, Any]) -> tuple[tuple[str, ...], int]:
        self.keys("disclosure", disclosure)
        allow = self.value("disclosure", disclosure, "allow", tuple[str, ...], ())
        for name in allow:
            if name not in CLASSES:
                raise self.error("disclosure", "allow", f"'{name}' is no disclosure class; {meant(name, CLASSES)}")
        k = self.value("disclosure", disclosure, "k", int, K)
        if not K <= k <= 10_000:
            raise self.error("disclosure", "k", f"{k} must be {K} or more: a study may be stricter, never laxer")
        return tuple(sorted(set(allow))), k

    def schema(self, data: dict[str, Any]) -> Schema:
        self.keys("data", data)
        columns = self.value("data", data, "columns", dict[str, Any], {})
        for name, said in columns.items():
            if not isinstance(said, dict):
                raise self.error("data.columns", name, f"write a table: [data.columns.{name}]")
            self.keys("data.columns", said, f"data.columns.{name}")
        try:
            return Schema.from_dict(columns)
        except StudyError as error:
            raise StudyError(f"{self.where}: {error}") from error

    def analyses(self, content: dict[str, Any]) -> tuple[Spec, ...]:
        listed = content.get("analysis")
        if listed is None and self.bare:
            return ()
        if not isinstance(listed, list) or not listed or not all(isinstance(item, dict) for item in listed):
            raise self.error("", "analysis", "a study has one [[analysis]] or more (in double brackets)")
        groups = self.groups(self.table(content, "groups", required=False))
        specs = tuple(self.analysis(item, groups) for item in listed)
        seen: set[str] = set()
        for spec in specs:
            # Names become file names, and some file systems do not tell A from a.
            if spec.name.casefold() in seen:
                raise self.error("analysis", "name", f"'{spec.name}' stands there twice; give each analysis its own")
            seen.add(spec.name.casefold())
        return specs

    def analysis(self, item: dict[str, Any], groups: Mapping[str, tuple[str, ...]]) -> Spec:
        for key in ("name", "method"):
            if key not in item and (near := get_close_matches(key, [*item], 1)):
                raise self.error("analysis", near[0], f"did you mean '{key}'?")
        name = self.value("analysis", item, "name", str)
        if not _SAFE.fullmatch(name):
            raise self.error("analysis", "name", f"'{name}' must be letters, digits, - and _ (at most 64)")
        group = self.value("analysis", item, "group", str | tuple[str, ...], ())
        if isinstance(group, str):
            if group not in groups:
                raise self.error("analysis", "group", f"'{group}' is no group of [groups]; {meant(group, groups)}")
            group = groups[group]
        elif group:
            group = self.members("analysis", "group", group)
        rest = {key: value for key, value in item.items() if key not in ("name", "method", "group")}
        return Spec(name, self.value("analysis", item, "method", str), group, rest)

    def groups(self, written: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        return {
            name: self.members("groups", name, self.value("groups", written, name, tuple[str, ...])) for name in written
        }

    def members(self, table: str, key: str, hospitals: Sequence[str]) -> tuple[str, ...]:
        if len(set(hospitals)) < max(SMALLEST_GROUP, len(hospitals)):
            raise self.error(table, key, f"a group is {SMALLEST_GROUP} different hospitals or more")
        return tuple(sorted(hospitals))

    # --- one key ---

    def keys(self, table: str, given: Collection[str], name: str | None = None) -> None:
        for key in given:
            if key not in _KEYS[table]:
                raise self.error(name or table, key, f"is no key here; {meant(key, _KEYS[table])}")

    def table(self, content: dict[str, Any], name: str, required: bool = True) -> dict[str, Any]:
        found = content.get(name, None if required else {})
        if found is None:
            raise StudyError(f"{self.where}: [{name}] is missing; it holds {', '.join(_KEYS[name])}")
        if not isinstance(found, dict):
            raise self.error("", name, f"write [{name}] as a table, in single brackets")
        if name in ("study", "data"):
            self.keys(name, found)
        return found

    def value(self, table: str, given: Mapping[str, Any], key: str, kind: Any, default: Any = ...) -> Any:
        if key not in given:
            if default is ...:
                raise StudyError(f"{self.where}: {key} is missing under [{table}]")
            return default
        try:
            value = converted(given[key], kind)
        except msgspec.ValidationError as error:
            raise self.error(table, key, f"has the wrong type: {error}") from error
        if isinstance(value, str) and not value.strip():
            raise self.error(table, key, "is empty")
        return value

    def one_of(self, table: str, given: Mapping[str, Any], key: str, choices: tuple[str, ...], default: str) -> str:
        value = str(self.value(table, given, key, str, default))
        if value not in choices:
            raise self.error(table, key, f"'{value}' is not known; {meant(value, choices)}")
        return value

    def error(self, table: str, key: str, message: str) -> StudyError:
        line = _line(self.text, table, key)
        place = f"{self.where}, line {line}" if line else self.where
        return StudyError(f"{place}: {f'[{table}] ' if table else ''}{f'{key}: ' if key else ''}{message}")


def _line(text: str, table: str, key: str) -> int | None:
    """The first line, from 1, that sets `key` under [table] or opens it; None where that cannot be told."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
            current = header[1].replace('"', "").replace("'", "")
            if current == ".".join(part for part in (table, key) if part):
                return number
        elif current == table and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line):
            return number
    return None


def meant(word: str, choices: Collection[str], nearness: float = 0.6) -> str:
    """'did you mean ...?', or the list of choices. `nearness` is 1 for the same word, 0 for no common letter."""
    near = get_close_matches(word, list(choices), 1, nearness)
    return f"did you mean '{near[0]}'?" if near else f"there is {', '.join(choices) or 'none'}"


def settings(spec: Spec, fields: Mapping[str, Any], required: Collection[str] = ()) -> dict[str, Any]:
    """The settings of an analysis, converted to the types of its method's fields.

    fields    {name: type}, as `typing.get_type_hints` gives them
    required  names that have no default
    Raises StudyError for a misspelt key (with the one that was meant), a wrong type, a missing key.
    """
    where = f"analysis '{spec.name}' ({spec.method})"
    found: dict[str, Any] = {}
    for key, value in spec.settings.items():
        if key not in fields:
            raise StudyError(f"{where}: '{key}' is no setting of {spec.method}; {meant(key, fields)}")
        try:
            found[key] = converted(value, fields[key])
        except msgspec.ValidationError as error:
            raise StudyError(f"{where}: {key}: {_choice(value, fields[key], str(error))}") from error
    for key in required:
        if key not in found:
            raise StudyError(f"{where}: '{key}' is missing; {spec.method} needs {', '.join(required)}")
    return found


def _choice(value: Any, kind: Any, message: str) -> str:
    """The message for a value of the wrong type, with the choices where the type lists them."""
    if isinstance(value, type):
        return f"{value.__name__} is a class; write {value.__name__}(), with parentheses"
    choices = [c for c in getattr(kind, "__args__", ()) if isinstance(c, str)]
    if choices and isinstance(value, str):
        return f"'{value}' is not known; {meant(value, choices)}"
    return message
