"""What was staged of a FHIR export, as tables of OMOP: codes become concepts, by the vocabulary's own tables.

A code is mapped as OHDSI's conventions have it: system and code give a concept (`concept`), from which "Maps to"
(`concept_relationship`) leads to the standard concept, or to several, which make a row each. Of several codings the
first that has a standard concept counts. Without one the concept is 0, and the code stays as the source value. The
domain of the concept decides on the table.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confrere.data import sources
from confrere.data.cdm import RELEASE, TABLES, source_of
from confrere.data.fhir import Code
from confrere.errors import DataError

UNMAPPED = "unmapped.csv"
KNOWN_VOCABULARY = ("concept", "concept_ancestor", "concept_relationship", "vocabulary")

SYSTEMS: Mapping[str, str] = {  # https://hl7.org/fhir/R4/terminologies-systems.html to vocabularies of OHDSI
    "http://snomed.info/sct": "SNOMED", "http://loinc.org": "LOINC", "http://unitsofmeasure.org": "UCUM",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm", "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10", "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://hl7.org/fhir/sid/ndc": "NDC", "http://hl7.org/fhir/sid/cvx": "CVX", "http://www.whocc.no/atc": "ATC",
    "http://www.ama-assn.org/go/cpt": "CPT4", "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "ICD10GM",
    "http://fhir.de/CodeSystem/bfarm/ops": "OPS",
}  # fmt: skip

STAGED = {
    "patient": {
        "id": "bigint", "source": "varchar", "gender": "varchar", "year": "bigint", "month": "bigint", "day": "bigint",
        "death": "timestamp", "updated": "varchar", "place": "varchar",
    },
    "encounter": {
        "id": "bigint", "patient": "bigint", "kind": "varchar", "started": "timestamp", "ended": "timestamp",
        "updated": "varchar", "place": "varchar",
    },
    "event": {
        "resource": "varchar", "id": "varchar", "patient": "bigint", "visit": "bigint", "code": "bigint",
        "unit": "bigint", "value": "bigint", "started": "timestamp", "ended": "timestamp", "number": "double",
        "operator": "varchar", "text": "varchar", "low": "double", "high": "double", "quantity": "double",
        "days": "bigint", "refills": "bigint", "updated": "varchar", "place": "varchar",
    },
    "withdrawn": {  # what a version says that is no fact, or no longer
        "resource": "varchar", "id": "varchar", "number": "bigint", "updated": "varchar",
    },
}  # fmt: skip


def insert(db: Any, name: str, columns: Mapping[str, str], held: Sequence[tuple[Any, ...]]) -> None:
    """Put rows into a table of DuckDB whose columns have these types."""
    import pyarrow as pa

    kinds = {"varchar": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "timestamp": pa.timestamp("us")}
    arrays = [
        pa.array(values, kinds[kind]) for values, kind in zip(zip(*held, strict=True), columns.values(), strict=True)
    ]
    with _registered(db, pa.Table.from_arrays(arrays, names=list(columns))) as batch:
        db.execute(f"insert into {name} select * from {batch}")


@contextmanager
def _registered(db: Any, table: Any) -> Iterator[str]:
    db.register("batch", table)
    try:
        yield "batch"
    finally:
        db.unregister("batch")


# Vocabulary ---------------------------------------------------------------------------------------------------


def lay(db: Any, folder: Path) -> None:
    """Make the tables to stage in, and read the vocabulary in a folder. DataError: it has none."""
    for name, columns in STAGED.items():
        _create(db, name, columns)
    files = {path.name.split(".")[0].lower(): path for path in sorted(folder.glob("*"))} if folder.is_dir() else {}
    for name in KNOWN_VOCABULARY:
        if name in files:
            db.execute(f"create table {name} as {_selected(files[name], name)}")
        elif name == "vocabulary":
            _create(db, name, {"vocabulary_id": "varchar", "vocabulary_version": "varchar"})
        elif name in ("concept", "concept_relationship"):
            raise DataError(f"{folder}: there is no table '{name}'; give the folder of a download from Athena")


def _create(db: Any, name: str, columns: Mapping[str, str]) -> None:
    db.execute(f"create table {name} ({', '.join(f'{c} {kind}' for c, kind in columns.items())})")


def _selected(path: Path, name: str) -> str:
    quoted = "'" + glob.escape(str(path)).replace("'", "''") + "'"
    if path.suffix.lower() in sources.PARQUET:
        given, names = f"read_parquet({quoted})", _names_of(quoted)
    else:
        separator, names = sources.header(sources.Source(path), path, [*TABLES[name], name.upper()], str(path))
        quote = "quote=''" if separator == "\t" else "quote='\"'"  # Athena's files have no quotes
        columns = ", ".join(f"'{n}': 'VARCHAR'" for n in names)
        given = (
            f"read_csv({quoted}, delim='{separator}', header=true, {quote}, escape='', auto_detect=false, "
            f"nullstr='', columns={{{columns}}})"
        )
    there = {n.lower(): n for n in names}
    wanted = []
    for column, kind in TABLES[name].items():
        if column not in there:
            value = "null"
        elif kind == "date":  # Athena writes 20991231
            value = rf"regexp_replace(\"{there[column]}\"::varchar, '^(\d{{4}})(\d\d)(\d\d)$', '\1-\2-\3')".replace(
                '\\"', '"'
            )
        else:
            value = f'"{there[column]}"'
        wanted.append(f"try_cast({value} as {_SQL[kind]}) as {column}")
    return f"select {', '.join(wanted)} from {given}"


_SQL = {"int64": "bigint", "float64": "double", "date": "date", "timestamp": "timestamp", "string": "varchar"}


def _names_of(quoted: str) -> list[str]:
    import duckdb

    with duckdb.connect() as db:
        return [str(row[0]) for row in db.execute(f"describe select * from read_parquet({quoted})").fetchall()]


def make(db: Any, codes: Mapping[Code, int], systems: Mapping[str, str], name: str) -> None:
    """Map codes, {code: its number in what was staged}, and make the tables of the source `name` as views."""
    _resolve(db, codes, systems)
    _tables(db, name)


def _resolve(db: Any, codes: Mapping[Code, int], systems: Mapping[str, str]) -> None:
    """The table `mapped`: of each code its concepts (one row each), its source concept and its source value."""
    listed = [
        (key, rank, systems.get(system), system, own, code.text)
        for code, key in codes.items()
        for rank, (system, own) in enumerate(code.codings or (("", code.text),))
    ]
    columns = dict.fromkeys(("system", "own", "text"), "varchar")
    columns = {"key": "bigint", "rank": "bigint", "vocabulary": "varchar", **columns}
    _create(db, "coded", columns)
    if listed:
        insert(db, "coded", columns, listed)
    db.execute(RESOLVE)


RESOLVE = """
create table mapped as
with found as (
    select coded.*, c.concept_id as source, c.standard_concept = 'S' as standard
    from coded left join concept c on c.vocabulary_id = coded.vocabulary and c.concept_code = coded.own
), target as (
    select found.key, found.rank, s.concept_id, s.domain_id
    from found join concept s on found.standard and s.concept_id = found.source
    union
    select found.key, found.rank, s.concept_id, s.domain_id
    from found join concept_relationship r
        on r.concept_id_1 = found.source and r.relationship_id = 'Maps to' and r.invalid_reason is null
    join concept s on s.concept_id = r.concept_id_2 and s.standard_concept = 'S'
    where found.standard is distinct from true
), best as (  -- of several codings: one with a standard concept, else one that is known, else the first
    select found.key, arg_min(found.rank, (t.key is null, found.source is null, found.rank)) as rank
    from found left join target t on t.key = found.key and t.rank = found.rank group by found.key
)
select f.key, f.system, f.own, f.text, coalesce(f.source, 0) as source, coalesce(t.concept_id, 0) as concept,
    t.domain_id as domain
from (
    select key, rank, any_value(system) as system, any_value(own) as own, any_value(text) as text, min(source) as source
    from found group by key, rank
) f
join best using (key, rank) left join target t on t.key = f.key and t.rank = f.rank
"""


# Tables -------------------------------------------------------------------------------------------------------

EHR, PERIOD = 32817, 32817  # type concepts: from the records
MALE, FEMALE, NOBODY = 8507, 8532, 0
VISITS = {"AMB": 9202, "IMP": 9201, "ACUTE": 9201, "NONAC": 9201, "EMER": 9203}  # class of an Encounter
OPERATORS = {"<": 4171756, "<=": 4171754, ">=": 4171755, ">": 4172704}
MAPPED = ("condition_occurrence", "drug_exposure", "procedure_occurrence", "measurement", "observation")
HOME = {  # {resource: (its table, tables to which the domain of a concept may send it)}
    "Condition": ("condition_occurrence", ("Condition", "Observation", "Procedure", "Measurement")),
    "Procedure": ("procedure_occurrence", ("Procedure", "Observation", "Measurement", "Condition")),
    "MedicationRequest": ("drug_exposure", ("Drug",)),
    "MedicationAdministration": ("drug_exposure", ("Drug",)),
    "Observation": ("observation", ("Observation", "Measurement")),
}
DOMAINS = {
    "Condition": "condition_occurrence", "Drug": "drug_exposure", "Procedure": "procedure_occurrence",
    "Measurement": "measurement", "Observation": "observation",
}  # fmt: skip


def _case(value: str, cases: Mapping[str, Any], other: str) -> str:
    whens = " ".join(f"when '{key}' then {result}" for key, result in cases.items())
    return f"case {value} {whens} else {other} end"


LAST = "updated desc, place"  # of several versions of a resource, the latest


def _tables(db: Any, name: str) -> None:
    """The tables of the data model as views over what was staged, and `repeated`, lines by resource.

    A resource whose latest version is no fact (entered in error, cancelled, refuted) has no rows.
    """
    once = f"row_number() over (partition by id order by {LAST}) = 1"
    db.execute(f"create table person_of as select * from patient qualify {once}")
    gone = "(select {id} as id, max(updated) as said from withdrawn where {of} group by all)"
    visits = gone.format(id="number", of="resource = 'Encounter'")
    db.execute(f"""create table visit_of as select v.* from (select * from encounter qualify {once}) v
        left join {visits} g using (id) where g.said is null or g.said < v.updated""")
    first = f"dense_rank() over (partition by resource, id order by {LAST}) = 1"
    db.execute(f"""create table once as select e.* from (select * from event qualify {first}) e
        left join {gone.format(id="resource, id", of="true")} g using (resource, id)
        where g.said is null or g.said < e.updated""")
    db.execute("""create table repeated as
        select resource, (count(distinct e.place) - count(distinct o.id))::bigint as lines
        from event e left join once o using (resource, place) group by resource
        union all select 'Patient', count(*) - count(distinct id) from patient
        union all select 'Encounter', (select count(*) from encounter) - (select count(*) from visit_of)""")
    sends = {
        resource: _case("m.domain", {d: f"'{DOMAINS[d]}'" for d in domains}, f"'{home}'")
        for resource, (home, domains) in HOME.items()
    }
    loose = "case when e.number is not null or u.key is not null then 'measurement' else 'observation' end"
    sends["Observation"] = f"case when m.domain is null then {loose} else {sends['Observation']} end"
    one = "(from mapped qualify row_number() over (partition by key order by concept) = 1)"
    db.execute(f"""create table row_of as
        select {_case("e.resource", sends, "null")} as target, e.*, m.concept, m.source, m.own, m.text as shown,
            m.system, v.id as visit_id, u.concept as unit_concept, u.source as unit_source, u.own as unit_own,
            w.concept as value_concept, coalesce(w.text, w.own) as value_text,
            {_case("e.operator", OPERATORS, "null")} as compared
        from once e join mapped m on m.key = e.code left join visit_of v on v.id = e.visit and v.patient = e.patient
            left join {one} u on u.key = e.unit left join {one} w on w.key = e.value
        """)
    for table, (given, columns) in _content(name).items():
        db.execute(f"create view out_{table} as select {_columns(table, columns)} from {given}")


def _columns(table: str, columns: Mapping[str, str]) -> str:
    if strange := set(columns) - set(TABLES[table]):
        raise KeyError(f"{table} has no columns {sorted(strange)}")
    return ", ".join(f"({columns.get(c, 'null')})::{_SQL[kind]} as {c}" for c, kind in TABLES[table].items())


def _content(name: str) -> dict[str, tuple[str, dict[str, str]]]:
    """{table: (what it is made from, {column: expression})}."""
    seen = """(select patient, min(s) as s, max(e) as e from (
            select patient, started as s, coalesce(ended, started) as e from once
            union all select patient, started, ended from visit_of) group by patient)"""
    made: dict[str, tuple[str, dict[str, str]]] = {
        "person": ("person_of", {
            "person_id": "id", "gender_concept_id": _case("gender", {"male": MALE, "female": FEMALE}, str(NOBODY)),
            "year_of_birth": "year", "month_of_birth": "month", "day_of_birth": "day", "race_concept_id": "0",
            "ethnicity_concept_id": "0", "person_source_value": "source", "gender_source_value": "gender",
            "gender_source_concept_id": "0", "race_source_concept_id": "0", "ethnicity_source_concept_id": "0",
        }),
        "death": ("person_of where death is not null", {
            "person_id": "id", "death_date": "death::date", "death_datetime": "death",
            "death_type_concept_id": str(EHR), "cause_concept_id": "0", "cause_source_concept_id": "0",
        }),
        "observation_period": (seen, {
            "observation_period_id": "row_number() over (order by patient)", "person_id": "patient",
            "observation_period_start_date": "s::date", "observation_period_end_date": "e::date",
            "period_type_concept_id": str(PERIOD),
        }),
        "visit_occurrence": ("visit_of", {
            "visit_occurrence_id": "id", "person_id": "patient", "visit_concept_id": _case("kind", VISITS, "0"),
            "visit_start_date": "started::date", "visit_start_datetime": "started", "visit_end_date": "ended::date",
            "visit_end_datetime": "ended", "visit_type_concept_id": str(EHR), "visit_source_value": "kind",
            "visit_source_concept_id": "0", "admitted_from_concept_id": "0", "discharged_to_concept_id": "0",
        }),
        "cdm_source": ("(select 1)", source_of(name, "FHIR R4 bulk export", f"coalesce({RELEASE}, 'unknown')")),
    }  # fmt: skip
    for table in MAPPED:
        made[table] = (f"row_of where target = '{table}'", _clinical(table))
    return made


def _clinical(table: str) -> dict[str, str]:
    """The columns that tables of events share, and each one's own."""
    short = table.removesuffix("_occurrence").removesuffix("_exposure")
    day = "drug_exposure_start" if short == "drug" else f"{short}_start" if short == "condition" else short
    end = "drug_exposure_end" if short == "drug" else f"{short}_end"
    columns = {
        f"{table}_id": "row_number() over (order by patient, started, place, concept)", "person_id": "patient",
        f"{short}_concept_id": "concept", f"{day}_date": "started::date", f"{day}_datetime": "started",
        f"{short}_type_concept_id": str(EHR), "visit_occurrence_id": "visit_id", f"{short}_source_value": "own",
        f"{short}_source_concept_id": "source",
    }  # fmt: skip
    if short in ("condition", "drug", "procedure"):
        columns |= {f"{end}_date": "ended::date", f"{end}_datetime": "ended"}
    if short == "drug":
        columns |= {"quantity": "quantity", "days_supply": "days", "refills": "refills", "route_concept_id": "0"}
    if short in ("measurement", "observation"):
        columns |= {
            "value_as_number": "number", "value_as_concept_id": "value_concept", "unit_concept_id": "unit_concept",
            "unit_source_value": "unit_own", "value_source_value": "coalesce(text, value_text, number::varchar)",
        }  # fmt: skip
    if short == "measurement":
        columns |= {"operator_concept_id": "compared", "range_low": "low", "range_high": "high"}
        columns |= {"unit_source_concept_id": "unit_source"}
    if short == "observation":
        columns |= {"value_as_string": "coalesce(text, value_text)", "qualifier_concept_id": "0"}
    return columns


def write(db: Any, out: Path) -> dict[str, tuple[int, int]]:
    """Write every table, the vocabulary, and the list of unmapped codes; {table: (rows, of these with concept 0)}."""
    made = {}
    for (view,) in db.execute(
        "select view_name from duckdb_views() where view_name like 'out\\_%' escape '\\'"
    ).fetchall():
        table = view.removeprefix("out_")
        _copy(db, f"select * from {view} order by {next(iter(TABLES[table]))}", out / f"{table}.parquet")
        concept = f"{table.removesuffix('_occurrence').removesuffix('_exposure')}_concept_id"
        zero = f"count(*) filter ({concept} = 0)" if table in MAPPED else "0"
        made[table] = db.execute(f"select count(*), {zero} from {view}").fetchone()
    for name in KNOWN_VOCABULARY:
        if db.execute(f"select count(*) from duckdb_tables() where table_name = '{name}'").fetchone()[0]:
            _copy(db, f"select * from {name}", out / f"{name}.parquet")
    _list_unmapped(db, out)
    return made


def _copy(db: Any, select: str, path: Path) -> None:
    quoted = str(path).replace("'", "''")
    kind = "header" if path.suffix == ".csv" else "format parquet, compression zstd"
    db.execute(f"copy ({select}) to '{quoted}' ({kind})")


def _list_unmapped(db: Any, out: Path) -> None:
    """The codes without a standard concept, the most frequent first: what a mapping should begin with."""
    if db.execute("select count(*) from row_of where concept = 0").fetchone()[0]:
        _copy(
            db,
            'select target as "table", system, own as code, any_value(shown) as text, count(*) as "rows" from row_of '
            "where concept = 0 group by all order by all desc".replace(
                "order by all desc", 'order by "rows" desc, code'
            ),
            out / UNMAPPED,
        )
