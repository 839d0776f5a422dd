"""Features of people, computed in the engine of their records: one pass over each table of the data model.

    made(cdm, wanted, index, columns)      # {name: (n,) numbers, or categories}

All features of a table are one query: its rows, joined with the concepts that features look for and with the index
dates of people, within each feature's window, grouped by person and feature. Of measurements, values of one day are
averaged first, so that the last value does not depend on the order of rows; sums are of decimals with nine places, so
that they do not depend on the order in which an engine adds. What a feature is: `study/features.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from confrere.data import concepts
from confrere.data.charlson import DISEASES
from confrere.data.omop import Cdm
from confrere.errors import DataError
from confrere.study.concepts import ConceptSet, inline
from confrere.study.features import LONGEST, SEXES, SOURCES, Feature, Together
from confrere.study.omop import BIRTH, FROM, PERSON, SEX
from confrere.study.rows import Array
from confrere.study.schema import Schema

YEAR = 365.25  # days
PLACES = "decimal(38, 9)"
LARGEST = 1e15  # of a value: sums of more would not be exact


class Index(NamedTuple):
    """Index dates: ids (n,) of everybody, ascending; day (n,) since 1970-01-01, NaN of those without; and `rows`, the
    person_id and day of the others, in the engine."""

    ids: Any
    day: Array
    rows: Any


class Found(NamedTuple):
    """What one look found: (m,) places of people, and by name (m,) numbers."""

    place: Any
    values: Mapping[str, Array]


def made(
    cdm: Cdm, wanted: Sequence[Feature], index: Index, columns: Mapping[str, Any], schema: Schema
) -> dict[str, Any]:
    """The features by name, (n,); NaN of people without an index date. `columns` has the basics of everybody, `schema`
    the levels of sex. DataError: units that differ, and values that are no numbers to reckon with."""
    looks = [look for feature in wanted for look in _looks(feature)]
    found: dict[int, Found] = {}
    for kind in dict.fromkeys(look.kind for look in looks):
        for valued in (False, True):
            group = {j: look for j, look in enumerate(looks) if look.kind == kind and look.measured == valued}
            if group:
                found |= _Domain(cdm, kind, group, index).found(valued)
    place = iter(range(len(looks)))
    result: dict[str, Any] = {}
    for feature in wanted:
        if isinstance(feature, Together):
            result[feature.name] = _together(cdm, feature, index)
            continue
        here = [found[next(place)] for _ in _looks(feature)]
        result[feature.name] = _column(feature, here, index, columns, schema)
    return result


def _looks(feature: Feature) -> Iterator[Feature]:
    """What has to be looked for: events of one set of concepts each."""
    if feature.kind == "charlson":
        for disease in DISEASES:
            of = inline(disease.ancestors)
            yield Feature(disease.name, "condition", of, "any", feature.before, feature.after)
    elif feature.of is not None and not isinstance(feature, Together):
        yield feature


class Spans(NamedTuple):
    """Spans of days: (m,) places of people, first and last day after the index date, both in it."""

    place: Any
    low: Any
    high: Any


class _Domain:
    """The looks of one table of the data model: {number: look}."""

    def __init__(self, cdm: Cdm, kind: str, looks: Mapping[int, Feature], index: Index) -> None:
        self.cdm, self.source, self.looks, self.index = cdm, SOURCES[kind], looks, index
        self.temporary: list[Any] = []

    def kept(self, rows: Any) -> Any:
        """Rows, kept by the engine until what they are for is found."""
        self.temporary.append(self.cdm.keep(rows))
        return self.temporary[-1]

    def found(self, valued: bool) -> dict[int, Found]:
        """What each look found."""
        rows = self._rows(self.kept(self._asked()))
        grouped = self._values(rows) if valued else self._events(rows)
        got = grouped.order_by("look", PERSON).to_pyarrow()
        while self.temporary:
            self.cdm.forget(self.temporary.pop())
        look, place = got["look"].to_numpy(), np.searchsorted(self.index.ids, np.asarray(got[PERSON]))
        numbers = {n: np.asarray(got[n].cast("float64").to_numpy(), dtype=np.float64) for n in got.column_names[2:]}
        if valued:
            self._check(look, numbers)
        edges = {j: np.searchsorted(look, [j, j + 1]) for j in self.looks}
        return {j: Found(place[a:b], {n: v[a:b] for n, v in numbers.items()}) for j, (a, b) in edges.items()}

    def _asked(self) -> Any:
        """look, concept_id, and the days of its window; each set of concepts is looked up once, however many looks."""
        import ibis
        import pyarrow as pa

        sets = list(dict.fromkeys(look.of or ConceptSet("", ()) for look in self.looks.values()))
        listed = [concepts.ids(self.cdm, of).mutate(of=ibis.literal(j, "int64")) for j, of in enumerate(sets)]
        members = ibis.union(*listed) if len(listed) > 1 else listed[0]
        windows = [
            (
                j,
                sets.index(look.of or ConceptSet("", ())),
                -LONGEST if look.before is None else -look.before,
                look.after,
            )
            for j, look in self.looks.items()
        ]
        columns = dict(zip(("look", "of", "low", "high"), map(list, zip(*windows, strict=True)), strict=True))
        return members.join(ibis.memtable(pa.table(columns)), "of").select("look", "concept_id", "low", "high")

    def _rows(self, asked: Any) -> Any:
        """The rows of the table that some look finds: person_id, look, off (days after the index date), and more."""
        import ibis

        table, (_, concept, start, end) = self.cdm.table(self.source.table), self.source
        more = {name: table[name] for name in ("value_as_number", "unit_concept_id") if name in table.columns}
        if end:
            length = table[end].fill_null(table[start]).delta(table[start], unit="day").cast("int64")
            more["stay"] = ibis.greatest(length, 0)
        rows = table.select(PERSON, concept_id=table[concept], start=table[start], **more)
        rows = rows.join(asked, "concept_id").join(self.index.rows, PERSON)
        rows = rows.mutate(off=days(rows.start) - rows.day)
        return rows.filter((rows.off >= rows.low) & (rows.off <= rows.high))

    def _events(self, rows: Any) -> Any:
        """How many, when last, and for how long."""
        stay = {"stay": rows.stay.sum()} if self.source.end else {}
        return rows.group_by("look", PERSON).agg(n=rows.count(), last=rows.off.max(), **stay)

    def _values(self, rows: Any) -> Any:
        """Of values: how many, their sum, least, greatest, what a slope is made of, and means of the first and the last
        day."""
        import ibis

        rows = self._in_units(rows.filter(self.cdm.is_number(rows.value_as_number)))
        odd = rows.value.abs() >= LARGEST
        rows = self.kept(rows.mutate(value=ibis.ifelse(odd, None, rows.value), odd=odd.ifelse(1, 0)))
        value, off = rows.value.cast(PLACES), rows.value.isnull().ifelse(None, rows.off)
        every = rows.group_by("look", PERSON).agg(
            n=rows.value.count(), total=value.sum(), low=rows.value.min(), high=rows.value.max(), begin=rows.off.min(),
            end=rows.off.max(), x=off.sum(), xx=(off * off).sum(), xy=(value * off.cast("decimal(6, 0)")).sum(),
            odd=rows.odd.sum(), unit=rows.unit.min(), other=rows.unit.max(),
        )  # fmt: skip
        every = made = self.kept(every)
        for name, at in (("first", "begin"), ("last", "end")):
            if looks := [j for j, look in self.looks.items() if look.value == name]:
                there = rows.filter(rows.look.isin(looks)).join(every, ["look", PERSON, rows.off == every[at]])
                day = there.group_by("look", PERSON).agg(
                    **{name: there.value.cast(PLACES).sum().cast("float64") / there.value.count().nullif(0)}
                )
                made = made.left_join(day, ["look", PERSON]).select(*made.columns, name)
        return made.drop("begin", "end")

    def _in_units(self, rows: Any) -> Any:
        """The rows with `value` in the unit of the feature, and `unit`, missing where the feature fixes it."""
        import ibis
        import pyarrow as pa

        named = [(j, *rule) for j, look in self.looks.items() for rule in self._rules(look)]
        free = [j for j, look in self.looks.items() if look.unit == ""]
        parts = []
        if free:
            unit = ibis.ifelse(rows.unit_concept_id == 0, None, rows.unit_concept_id)
            parts.append(rows.filter(rows.look.isin(free)).mutate(value=rows.value_as_number, unit=unit))
        if named:
            columns = dict(zip(("at", "in_unit", "factor", "shift"), zip(*named, strict=True), strict=True))
            rules = ibis.memtable(pa.table({name: list(values) for name, values in columns.items()}))
            joined = rows.join(rules, [rows.look == rules["at"], rows.unit_concept_id == rules.in_unit])
            value = joined.value_as_number * joined.factor + joined["shift"]
            parts.append(joined.mutate(value=value, unit=ibis.null("int64")))
        wanted = ("look", PERSON, "off", "value", "unit")
        tables = [part.select(*wanted) for part in parts]
        return ibis.union(*tables) if len(tables) > 1 else tables[0]

    def _rules(self, look: Feature) -> Iterator[tuple[int, float, float]]:
        """(concept id of a unit, factor, shift) of the units that a look takes."""
        if look.unit == "":
            return
        known: set[int] = set()
        for unit, factor, shift in ((look.unit, 1.0, 0.0), *look.convert):
            if (concept := concepts.one(self.cdm, unit)) in known:
                raise DataError(
                    f"{self.cdm.where}: feature '{look.name}' says twice what to do with the unit {concept}"
                )
            known.add(concept)
            yield concept, factor, shift

    def _check(self, look: Any, numbers: Mapping[str, Array]) -> None:
        """Refuse values that are no numbers to reckon with, and several units where the study names none."""
        for j, feature in self.looks.items():
            mine = look == j
            if bad := int(numbers["odd"][mine].sum()):
                raise DataError(
                    f"{self.cdm.where}: feature '{feature.name}': {bad} values of table '{self.source.table}' are "
                    f"infinite or beyond {LARGEST:g}; correct them, or leave them empty"
                )
            units = numbers["unit"][mine], numbers["other"][mine]
            found = {int(u) for part in units for u in part[~np.isnan(part)]}
            if len(found) > 1:
                raise DataError(
                    f"{self.cdm.where}: feature '{feature.name}': its values are in several units (concepts "
                    f"{', '.join(map(str, sorted(found)))}); the study must say unit = ..., and may convert others"
                )


# Columns --------------------------------------------------------------------------------------------------------


def _column(feature: Feature, found: Sequence[Found], index: Index, columns: Mapping[str, Any], schema: Schema) -> Any:
    """The column of a feature."""
    if feature.kind == "charlson":
        score = sum(d.weight * _zeros(f, index, np.ones(len(f.place))) for d, f in zip(DISEASES, found, strict=True))
        return score + 0 * index.day
    if feature.of is None:
        return _about(feature, index, columns, schema)
    (one,) = found
    values = one.values
    if feature.value in ("any", "count", "days"):
        if feature.value == "any":
            return _zeros(one, index, np.ones(len(one.place)))
        return _zeros(one, index, values["n" if feature.value == "count" else "stay"])
    result = np.full(len(index.ids), np.nan)
    result[one.place] = _measured(feature.value, values)
    return result


def _zeros(found: Found, index: Index, values: Array) -> Array:
    """Values (m,) at their places, 0 of other people with an index date."""
    result = np.where(np.isnan(index.day), np.nan, 0.0)
    result[found.place] = values
    return result


def _measured(value: str, v: Mapping[str, Array]) -> Array:
    """A number of each person who has values, or an event."""
    if value == "days since":
        return -v["last"]
    if value == "mean":
        return v["total"] / v["n"]
    if value == "trend":
        spread = v["n"] * v["xx"] - v["x"] ** 2
        with np.errstate(all="ignore"):
            slope = YEAR * (v["n"] * v["xy"] - v["x"] * v["total"]) / spread
        return np.where(spread > 0, slope, np.nan)
    return v[{"min": "low", "max": "high"}.get(value, value)]


def _together(cdm: Cdm, feature: Together, index: Index) -> Array:
    """Days of the window on which drug eras of both sets run: those of the one and of the other, less those of any."""
    one, other = (_eras(cdm, of, feature, index) for of in (feature.of, feature.other) if of is not None)
    either = Spans(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))
    n = len(index.ids)
    return np.where(np.isnan(index.day), np.nan, covered(one, n) + covered(other, n) - covered(either, n))


def _eras(cdm: Cdm, of: ConceptSet, feature: Feature, index: Index) -> Spans:
    """Drug eras of a set within the window; one without an end has that of its first day."""
    import ibis

    eras, members = cdm.table("drug_era"), concepts.ids(cdm, of)
    eras = eras.join(members, eras.drug_concept_id == members.concept_id).join(index.rows, PERSON)
    low, high = -LONGEST if feature.before is None else -feature.before, feature.after
    end = eras.drug_era_end_date.coalesce(eras.drug_era_start_date)  # engines differ in the least of a missing value
    spans = {
        "low": ibis.greatest(days(eras.drug_era_start_date) - eras.day, low),
        "high": ibis.least(days(end) - eras.day, high),
    }
    rows = eras.select(PERSON, **spans)
    got = rows.filter(rows.low <= rows.high).to_pyarrow()
    first, last = (np.asarray(got[name].cast("int64")) for name in ("low", "high"))
    return Spans(np.searchsorted(index.ids, np.asarray(got[PERSON])), first, last)


def covered(spans: Spans, n: int) -> Array:
    """Days (n,) that some of the spans of each person hold."""
    order = np.lexsort((spans.low, spans.place))
    place, low, high = (np.asarray(column, dtype=np.int64)[order] for column in spans)
    own = (2 * LONGEST + 2) * place  # everybody on a stretch of days of their own: no span reaches into the next one's
    begin, end = own + low, own + high + 1
    begin = np.maximum(begin, np.concatenate([begin[:1], np.maximum.accumulate(end)[:-1]]))
    return np.bincount(place, np.maximum(end - begin, 0), minlength=n).astype(float)


def _about(feature: Feature, index: Index, columns: Mapping[str, Any], schema: Schema) -> Any:
    """What is no event: of the person and the index date."""
    import pandas as pd

    inside = np.isfinite(index.day)
    if feature.kind == "sex":
        levels = schema.levels(feature.name) or SEXES
        own = [levels.index(name) if name in levels else -1 for name in SEXES]  # one that is not declared is unknown
        codes = np.where(inside, np.array([*own, -1])[columns[SEX].codes], -1)
        return pd.Categorical.from_codes(codes, list(levels))
    if feature.kind == "observation_days":
        return index.day - columns[FROM]
    if feature.kind == "age":
        return years(index.day) - years(columns[BIRTH])
    return years(index.day) if feature.kind == "index_year" else _months(index.day) % 12 + 1


def _months(day: Array) -> Array:
    """Months since January 1970 of days since 1970-01-01; NaN stays."""
    whole = np.nan_to_num(day).astype("datetime64[D]").astype("datetime64[M]").astype(np.float64)
    return np.where(np.isnan(day), np.nan, whole)


def years(day: Array) -> Array:
    """Calendar years of days since 1970-01-01; NaN stays."""
    return 1970 + _months(day) // 12


def days(column: Any) -> Any:
    """A date column of the engine as days since 1970-01-01."""
    import ibis

    return column.delta(ibis.date(1970, 1, 1), unit="day").cast("int64")
