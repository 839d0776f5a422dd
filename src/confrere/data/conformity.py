"""Whether a source keeps to the OMOP common data model, and where its records are not plausible.

After OHDSI's DataQualityDashboard (https://ohdsi.github.io/DataQualityDashboard, its name in brackets) and the terms of
Kahn et al., eGEMs 2016;4:1244 (doi:10.13063/2327-9214.1244): conformance, completeness, plausibility.

    conformance   tables and columns [cdmTable, cdmField], types [cdmDatatype], missing keys and dates [isRequired],
                  repeated keys [isPrimaryKey], people and concepts that are not there [isForeignKey], concepts that are
                  not standard [isStandardValidConcept] or of another domain [fkDomain], versions
    completeness  records without a concept [standardConceptRecordCompleteness], people without observation
                  [measurePersonCompleteness], tables that stopped
    plausibility  years of birth, negative numbers [plausibleValueLow/High], dates in the future or before birth
                  [plausibleAfterBirth], after death [plausibleBeforeDeath], ends before starts
                  [plausibleStartBeforeEnd], overlapping observation [measureObservationPeriodOverlap], ranges

Each table is read once for all that is counted of its rows, and once by the columns of its concept. The engine does it.
What is found is for the hospital's steward: it holds small counts, and does not leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from typing import Any, NamedTuple

from confrere.data.cdm import NEEDED, PERSONAL, TABLES
from confrere.data.omop import Cdm, misfit
from confrere.data.without import text

ERROR, WARNING, NOTE = "error", "warning", "note"
OLDEST = 1850  # year of birth, as DataQualityDashboard has it
AFTER_DEATH = 60  # days; what is written down later than that is not about a dead person's care
UNMAPPED = 0.05  # of the rows of a table; above it is a warning
BEHIND = 365  # days of a table behind the newest one
FEW = 100  # rows; a smaller table says nothing of when it stopped
FEEDS = (
    "visit_occurrence", "condition_occurrence", "drug_exposure", "procedure_occurrence", "measurement", "observation",
)  # fmt: skip
DOMAINS = {
    "condition_occurrence": "Condition", "drug_exposure": "Drug", "procedure_occurrence": "Procedure",
    "measurement": "Measurement", "device_exposure": "Device", "visit_occurrence": "Visit",
    "condition_era": "Condition", "drug_era": "Drug", "specimen": "Specimen",
}  # fmt: skip
COUNTED = ("quantity", "days_supply", "refills", "gap_days", "drug_exposure_count", "condition_occurrence_count")
_PATTERNS = {  # where an engine has no cast that may fail
    "int64": r"^[+-]?[0-9]+$", "float64": r"^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}", "timestamp": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
}  # fmt: skip


class Problem(NamedTuple):
    """One finding: `found` of `total` rows (people, concepts) of a table."""

    severity: str
    table: str
    column: str
    what: str
    found: int
    total: int
    remedy: str

    @property
    def share(self) -> float:
        """Of the total; 1 where nothing can be counted."""
        return self.found / self.total if self.total else 1.0


class Table(NamedTuple):
    """A table of the source: its rows, first and latest day (None without dates), rows without a concept."""

    name: str
    rows: int
    first: date | None
    latest: date | None
    unmapped: int | None


class Report(NamedTuple):
    """What was found. `cdm` and `vocabulary` are the versions that the source names itself."""

    source: str
    today: date
    cdm: str | None
    vocabulary: str | None
    released: date | None
    tables: tuple[Table, ...]
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: dates as text, problems with their share."""
        return {
            "source": self.source, "checked": self.today.isoformat(), "cdm_version": self.cdm,
            "vocabulary_version": self.vocabulary, "released": self.released and self.released.isoformat(),
            "tables": [
                t._asdict() | {"first": t.first and t.first.isoformat(), "latest": t.latest and t.latest.isoformat()}
                for t in self.tables
            ],
            "findings": [_named(p) for p in self.problems],
        }  # fmt: skip


def _named(problem: Problem) -> dict[str, Any]:
    told = problem._asdict()
    return told | {"count": told.pop("found"), "share": problem.share}


class _Question(NamedTuple):
    """A condition on rows; how often it holds is a problem."""

    severity: str
    column: str
    what: str
    holds: Any
    remedy: str
    of: Any = None  # the rows it may hold of; None: all


def checked(cdm: Cdm, today: date, progress: Callable[[str], None] = lambda table: None) -> Report:
    """Check a source as of a day. DataError: what cannot be read at all.

    progress  is told the name of each table before it is read
    """
    people = cdm.keep(_people(cdm))
    tables, problems = [], list(_missing(cdm))
    for name in (n for n in PERSONAL if cdm.has(n)):
        progress(name)
        absent = [c for c in NEEDED[name] if c not in cdm.stored(name).columns]
        problems += [
            Problem(ERROR, name, c, "the column is not there", 0, 0, "add it; without it the table cannot be read")
            for c in absent
        ]
        if absent:
            continue
        table, found = _table(cdm, name, people, today)
        tables.append(table)
        problems += [*found, *_concepts(cdm, name)]
    problems += [*_observed(cdm, people), *_overlaps(cdm, problems), *_behind(tables)]
    about, found = _versions(cdm)
    order = (ERROR, WARNING, NOTE)
    problems = sorted([*problems, *found], key=lambda p: (order.index(p.severity), p.table, p.what))
    return Report(cdm.where, today, *about, tuple(tables), tuple(problems))


# Reading ------------------------------------------------------------------------------------------------------


def tried(cdm: Cdm, name: str) -> tuple[Any, dict[str, Any]]:
    """A table in the model's types, what does not cast being missing; and of each column of text, whether it does not.

    Columns that are not there are missing.
    """
    import ibis

    rows, columns, wrong = cdm.stored(name), {}, {}
    for column, kind in TABLES[name].items():
        if column not in rows.columns:
            columns[column] = ibis.null().cast(kind)
        elif kind == "string" or not rows[column].type().is_string():
            columns[column] = rows[column].cast(kind)
        elif cdm.backend.name == "postgres":  # it has no cast that may fail
            given = text(rows[column])
            fits = given.re_search(_PATTERNS[kind])
            columns[column], wrong[column] = fits.ifelse(given, None).cast(kind), given.notnull() & ~fits
        else:
            bad = misfit(rows[column], kind, cdm.dash)
            columns[column], wrong[column] = cdm.readable(rows[column], kind).try_cast(kind), bad
    marks = {f"wrong_{column}": condition.ifelse(1, 0) for column, condition in wrong.items()}
    typed = rows.select(**columns, **marks)
    return typed, {column: typed[f"wrong_{column}"] == 1 for column in wrong}


def _people(cdm: Cdm) -> Any:
    """whose, born, died: one row per person, dates missing where they are not known."""
    import ibis

    person, _ = tried(cdm, "person")
    month, day = (ibis.coalesce(person[c], 1) for c in ("month_of_birth", "day_of_birth"))
    known = person.year_of_birth.between(1, 9999) & month.between(1, 12) & day.between(1, 28)
    sound = person.year_of_birth.between(1, 9999) & month.between(1, 12)
    born = ibis.cases(
        (known, ibis.date(person.year_of_birth, month, day)),
        # the days 29 to 31 are not of every month: the first of it is early enough to accuse nobody
        (sound, ibis.date(person.year_of_birth, month, ibis.literal(1))),
        else_=ibis.null().cast("date"),
    )
    people = person.mutate(born=born).group_by(whose=person.person_id).agg(born=ibis._.born.min())
    people = people.filter(people.whose.notnull())
    if not cdm.has("death") or "death_date" not in cdm.stored("death").columns:
        return people.mutate(died=ibis.null().cast("date"))
    death, _ = tried(cdm, "death")
    died = death.group_by(dead=death.person_id).agg(died=death.death_date.min())
    return people.left_join(died, people.whose == died.dead).select("whose", "born", "died")


def when(name: str) -> tuple[str | None, str | None]:
    """The columns of the day on which a table's records start, and end."""
    start = next((c for c in NEEDED[name] if c.endswith("_date")), None)
    return start, next((c for c in TABLES[name] if c.endswith("end_date") and c != "verbatim_end_date"), None)


def concept_of(name: str) -> str | None:
    """The column of what a table's records are about."""
    return next((c for c in NEEDED[name] if c.endswith("_concept_id")), None) if name != "person" else None


def _table(cdm: Cdm, name: str, people: Any, today: date) -> tuple[Table, list[Problem]]:
    """All that is counted of a table's rows, in one query."""
    rows, wrong = tried(cdm, name)
    rows = rows.left_join(people, rows.person_id == people.whose)
    start, _ = when(name)
    asked = [*_conformance(name, rows, wrong), *_plausible(name, rows, today)]
    asked += list(_born(rows, today) if name == "person" else _ranges(rows) if name == "measurement" else ())
    counts = {f"q{i}": q.holds.ifelse(1, 0).sum() for i, q in enumerate(asked)}
    counts |= {f"of{i}": q.of.ifelse(1, 0).sum() for i, q in enumerate(asked) if q.of is not None}
    concept, key = concept_of(name), next(iter(TABLES[name]))
    if concept:
        counts["unmapped"] = (rows[concept].isnull() | (rows[concept] == 0)).ifelse(1, 0).sum()
    if start:
        counts |= {"first": rows[start].min(), "latest": rows[start].max()}
    counts |= {"n": rows.count(), "keys": rows[key].nunique(), "keyed": rows[key].notnull().ifelse(1, 0).sum()}
    (told,) = rows.aggregate(**counts).to_pyarrow().to_pylist()
    n = int(told["n"])
    found = [
        Problem(q.severity, name, q.column, q.what, int(told[f"q{i}"]), int(told.get(f"of{i}") or n), q.remedy)
        for i, q in enumerate(asked)
        if told[f"q{i}"]
    ]
    if n and told["keyed"] > told["keys"]:
        remedy = "give every row its own key; rows that stand twice count twice"
        found.append(Problem(ERROR, name, key, "the key is repeated", told["keyed"] - told["keys"], n, remedy))
    if share := int(told.get("unmapped") or 0) / n if n else 0:
        severity = WARNING if share > UNMAPPED else NOTE
        remedy = "map the most frequent source codes first; nobody finds a record whose concept is 0"
        found.append(Problem(severity, name, str(concept), "without a concept (0)", told["unmapped"], n, remedy))
    return Table(name, n, told.get("first"), told.get("latest"), told.get("unmapped") if n else None), found


# What is asked of rows ----------------------------------------------------------------------------------------


def _conformance(name: str, rows: Any, wrong: Mapping[str, Any]) -> Iterator[_Question]:
    for column, holds in wrong.items():
        kind = TABLES[name][column]
        yield _Question(ERROR, column, f"no {kind}", holds, "correct these values, or leave them empty")
    for column in NEEDED[name]:
        if column == "person_id" or column.endswith("_date"):
            missing = rows[column].isnull() & ~wrong[column] if column in wrong else rows[column].isnull()
            yield _Question(ERROR, column, "missing", missing, "no study sees these rows; complete them")
    if name != "person":
        orphans = rows.person_id.notnull() & rows.whose.isnull()
        remedy = "add these people to person, or remove their records"
        yield _Question(ERROR, "person_id", "of nobody in person", orphans, remedy)


def _plausible(name: str, rows: Any, today: date) -> Iterator[_Question]:
    start, end = when(name)
    if start:
        later = "look for slips in years, and for appointments that were taken for visits"
        yield _Question(WARNING, start, "in the future", rows[start] > today, later)
    if start and end:
        yield _Question(WARNING, end, "end before start", rows[end] < rows[start], "correct one of the two dates")
    if start and name != "death":
        dead = rows[start] > rows.died + _days(AFTER_DEATH)
        remedy = "check the date of death, and whether the record is this person's"
        yield _Question(WARNING, start, f"more than {AFTER_DEATH} days after death", dead, remedy, rows.died.notnull())
    if start:
        remedy = "check the date of birth, and default dates such as 1900-01-01"
        yield _Question(WARNING, start, "before birth", rows[start] < rows.born, remedy)
    for column in (c for c in COUNTED if c in TABLES[name]):
        of = rows[column].notnull()
        yield _Question(WARNING, column, "negative", rows[column] < 0, "leave it empty, or correct the sign", of)


def _days(n: int) -> Any:
    import ibis

    return ibis.interval(days=n)


def _born(rows: Any, today: date) -> Iterator[_Question]:
    year, month, day = rows.year_of_birth, rows.month_of_birth, rows.day_of_birth
    yield _Question(ERROR, "year_of_birth", "missing", year.isnull(), "nobody knows their age; complete it")
    remedy = "correct it; ages would be impossible"
    yield _Question(WARNING, "year_of_birth", f"before {OLDEST}", year < OLDEST, remedy)
    yield _Question(WARNING, "year_of_birth", "in the future", year > today.year, remedy)
    remedy = "leave it empty where it is not known"
    yield _Question(WARNING, "month_of_birth", "not 1 to 12", ~month.between(1, 12), remedy)
    yield _Question(WARNING, "day_of_birth", "not 1 to 31", ~day.between(1, 31), remedy)
    unknown = rows.gender_concept_id.isnull() | ~rows.gender_concept_id.isin([8507, 8532])
    yield _Question(NOTE, "gender_concept_id", "neither female nor male", unknown, "they count as 'other'")


def _ranges(rows: Any) -> Iterator[_Question]:
    value, low, high = rows.value_as_number, rows.range_low, rows.range_high
    swapped = (low > high).fill_null(False)
    both = low.notnull() & high.notnull()
    yield _Question(WARNING, "range_low", "range_low above range_high", swapped, "swap or correct the limits", both)
    outside = ~swapped & ((value < low).fill_null(False) | (value > high).fill_null(False))
    ranged = value.notnull() & (low.notnull() | high.notnull())
    remedy = "some are: people are ill. Where most are, look at units"
    yield _Question(NOTE, "value_as_number", "outside range_low to range_high", outside, remedy, ranged)


# What is asked of tables --------------------------------------------------------------------------------------


def _missing(cdm: Cdm) -> Iterator[Problem]:
    for name in PERSONAL:
        if not cdm.has(name):
            yield Problem(NOTE, name, "", "the table is not there", 0, 0, "it reads as empty")
    for name in (n for n in ("concept", "concept_ancestor", "concept_relationship") if not cdm.has(n)):
        remedy = "add OHDSI's vocabulary (athena.ohdsi.org); codes and descendants are looked up there"
        yield Problem(WARNING, name, "", "the table is not there", 0, 0, remedy)
    for name in filter(cdm.has, PERSONAL):
        there = cdm.stored(name).columns
        absent = [c for c in TABLES[name] if c not in there and c not in NEEDED[name] and not _optional(c)]
        if absent:
            yield Problem(NOTE, name, "", f"columns not there: {', '.join(absent)}", 0, 0, "they read as empty")


def _optional(column: str) -> bool:
    """Whether a column may well be left out: free text, codes of the source, and what one version of the model has."""
    return column not in (
        "month_of_birth", "day_of_birth", "visit_occurrence_id", "value_as_number", "value_as_concept_id",
        "unit_concept_id", "range_low", "range_high", "days_supply", "quantity", "condition_end_date",
        "drug_exposure_end_date", "visit_end_date", "cause_concept_id",
    )  # fmt: skip


def _concepts(cdm: Cdm, name: str) -> Iterator[Problem]:
    """Concepts that the vocabulary does not have, that are not standard, or of another domain: rows of each."""
    import ibis

    column = concept_of(name)
    if column is None or not cdm.has("concept"):
        return
    rows, _ = tried(cdm, name)
    used = rows.filter(rows[column] != 0).group_by(used=rows[column]).agg(n=ibis._.count())
    words, _ = tried(cdm, "concept")
    told = {column: words[column].max() for column in ("standard_concept", "domain_id")}
    words = words.group_by("concept_id").agg(**told)  # a concept that stands twice does not double the rows
    joined = used.left_join(words, used.used == words.concept_id)
    known, domain = joined.concept_id.notnull(), DOMAINS.get(name)
    asked = {
        "unknown": ~known, "other": known & (joined.standard_concept.fill_null("") != "S"),
        "domain": known & (~joined.domain_id.contains(domain) if domain else joined.domain_id.isnull()),
    }  # fmt: skip
    counts = {key: holds.ifelse(joined.n, 0).sum() for key, holds in asked.items()}
    (counted,) = joined.aggregate(n=joined.n.sum(), **counts).to_pyarrow().to_pylist()
    said = {
        "unknown": ("concepts that are not in the vocabulary", "load the vocabulary that the records were mapped with"),
        "other": ("concepts that are not standard", "follow 'Maps to'; concept sets name standard concepts"),
        "domain": (f"concepts of another domain than {domain}", "move them to the table of their domain"),
    }
    for key, (what, remedy) in said.items():
        if counted[key] and (key != "domain" or domain):
            yield Problem(WARNING, name, column, what, int(counted[key]), int(counted["n"]), remedy)


def _observed(cdm: Cdm, people: Any) -> Iterator[Problem]:
    """People without an observation period: no cohort can hold them."""
    if "person_id" not in cdm.stored("observation_period").columns:
        return
    period, _ = tried(cdm, "observation_period")
    alone = people.anti_join(period, people.whose == period.person_id)
    total, count = (int(rows.count().to_pyarrow().as_py()) for rows in (people, alone))
    if count:
        remedy = "no cohort holds them; make periods of their visits, or of enrolment"
        yield Problem(WARNING, "observation_period", "person_id", "people without one", count, total, remedy)


def _overlaps(cdm: Cdm, known: list[Problem]) -> Iterator[Problem]:
    """Observation periods that begin before the last one of the same person ended."""
    import ibis

    name = "observation_period"
    if any(p.table == name and p.what == "the column is not there" for p in known):
        return
    rows, _ = tried(cdm, name)
    start, end = when(name)
    order = ibis.window(group_by="person_id", order_by=[str(start), str(end)], preceding=(None, 1))
    rows = rows.filter(rows[str(start)].notnull())
    marked = rows.mutate(before=rows[str(end)].max().over(order))
    told = marked.aggregate(count=(marked.before >= marked[str(start)]).ifelse(1, 0).sum(), n=marked.count())
    ((count, n),) = (tuple(row.values()) for row in told.to_pyarrow().to_pylist())
    if count:
        remedy = "merge them; time at risk would count twice"
        yield Problem(WARNING, name, str(start), "overlaps another one of the same person", int(count), int(n), remedy)


def _behind(tables: list[Table]) -> Iterator[Problem]:
    """Tables whose latest record is much older than that of the others: a feed that stopped."""
    dated = [t for t in tables if t.name in FEEDS and t.latest and t.rows >= FEW]
    newest = max((t.latest for t in dated if t.latest), default=None)
    for table in dated:
        if newest and table.latest and table.latest < newest - timedelta(BEHIND):
            what = f"ends {table.latest}, the newest table {newest}"
            yield Problem(WARNING, table.name, "", what, 0, 0, "look whether its feed stopped")


def _versions(cdm: Cdm) -> tuple[tuple[str | None, str | None, date | None], list[Problem]]:
    """The versions of model and vocabulary, and the day of release, that the source names."""
    problem = partial(Problem, WARNING, "cdm_source")
    found: dict[str, Any] = {}
    if cdm.has("cdm_source"):
        rows, _ = tried(cdm, "cdm_source")
        wanted = ("cdm_version", "vocabulary_version", "source_release_date", "cdm_release_date")
        found = next(iter(rows.select(*wanted).limit(1).to_pyarrow().to_pylist()), {})
    version, vocabulary = found.get("cdm_version"), found.get("vocabulary_version")
    problems = []
    if not found:
        problems.append(problem("", "nothing says which version this is", 0, 0, "fill cdm_source, one row"))
    elif str(version or "").lower().lstrip("v")[:3] not in ("5.3", "5.4"):
        told = f"version {version or 'unknown'} of the model"
        problems.append(problem("cdm_version", told, 0, 0, "5.3 and 5.4 are read here; say which it is"))
    if cdm.has("vocabulary"):
        words, _ = tried(cdm, "vocabulary")
        none = words.filter(words.vocabulary_id == "None").select("vocabulary_version").limit(1)
        here = next((row["vocabulary_version"] for row in none.to_pyarrow().to_pylist()), None)
        if here and vocabulary and here != vocabulary:
            told = f"says vocabulary {vocabulary}, and the vocabulary is {here}"
            problems.append(problem("vocabulary_version", told, 0, 0, "map again with the vocabulary that is there"))
        vocabulary = vocabulary or here
    released = found.get("source_release_date") or found.get("cdm_release_date")
    return (version, vocabulary, released), problems
