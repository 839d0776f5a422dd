"""What hospitals write down about synthetic people: tables of the OMOP common data model, for a block of people.

People come to the hospital on days of their own (more often with more diseases), and on the days when something
happens: a disease begins, an acute illness, the first dose, a bleeding. One day is one visit; each row of a clinical
table hangs on a visit. Identifiers in a block start at 1; `shifted` gives them their place in the hospital.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from confrere.data.synthetic_people import DISEASES, END, NEVER, PLACE, YEAR, Days, Flags, Floats, Lives, Site
from confrere.data.synthetic_vocabulary import MAPS, schema

Whole = NDArray[np.int64]

OUTPATIENT, EMERGENCY, INPATIENT = range(3)
VISITS = np.array([9202, 9203, 9201])
EHR, DISPENSED, INFERRED, CAUSE = 38000280, 38000175, 44814725, 254  # type concepts
MALE, FEMALE, NOT_HISPANIC = 8507, 8532, 38003564
BLEED, BLEED_CODE = 192671, "K92.2"
STUDIED = ("osteoarthritis", "ulcer", "fibrillation")  # the known effect rests on them: always mapped
AGAIN = 0.15  # of the visits after a disease began record it again
CELECOXIB, DICLOFENAC = (1118084, 1118088), (1124300, 40162359)


class Acute(NamedTuple):
    """An illness that passes: cases per year below 15, to 65 and above; how its visits are; `drug` for half of them."""

    concept: int
    source: str
    rates: tuple[float, float, float]
    kind: int = OUTPATIENT
    drug: tuple[int, ...] = ()


ACUTE = (
    Acute(40481087, "J01.9", (0.15, 0.12, 0.06), drug=(1713332, 19073188)),
    Acute(260139, "J20.9", (0.12, 0.08, 0.12), drug=(1713332, 19073188)),
    Acute(81902, "N39.0", (0.02, 0.06, 0.12), drug=(1713332, 19073188)),
    Acute(372328, "H66.9", (0.2, 0.01, 0.005), drug=(1713332, 19073188)),
    Acute(81151, "S93.4", (0.03, 0.03, 0.01), EMERGENCY, drug=(1115008, 19019273)),
    Acute(255848, "J18.9", (0.01, 0.008, 0.04), INPATIENT),
)
SUDDEN = ("infarction", "stroke", "failure")  # begin with a stay


class Regimen(NamedTuple):
    """A drug that a share of the people with a disease take; general concept first."""

    disease: str
    drug: tuple[int, ...]
    share: float


REGIMENS = (
    Regimen("hypertension", (1308216, 19080128), 0.55), Regimen("hypertension", (1332418, 1332419), 0.4),
    Regimen("hyperlipidemia", (1539403, 1539411), 0.6), Regimen("diabetes", (1503297, 40163924), 0.75),
    Regimen("coronary", (1112807, 19059056), 0.75), Regimen("fibrillation", (1310149, 40163554), 0.6),
    Regimen("failure", (957136,), 0.7), Regimen("emphysema", (1154343, 1154615), 0.6),
    Regimen("asthma", (1154343, 1154615), 0.8), Regimen("emphysema", (1551099, 1551192), 0.2),
    Regimen("depression", (739207,), 0.5), Regimen("hypothyroidism", (1501700, 40174880), 0.9),
    Regimen("gout", (1167323,), 0.5), Regimen("osteoporosis", (1557272, 40173590), 0.5),
)  # fmt: skip
STATIN = 2  # its place in REGIMENS
REFILL, SUPPLY = 0.5, 90


class Analyte(NamedTuple):
    """A measurement: its concept, unit (concept, UCUM), usual range, plausible range, digits that are written."""

    concept: int
    unit: int
    symbol: str
    usual: tuple[float, float] | None
    plausible: tuple[float, float]
    digits: int = 0


ANALYTES: Mapping[str, Analyte] = {
    "systolic": Analyte(3004249, 8876, "mm[Hg]", (90, 140), (70, 240)),
    "diastolic": Analyte(3012888, 8876, "mm[Hg]", (60, 90), (40, 140)),
    "height": Analyte(3036277, 8582, "cm", None, (45, 210)),
    "weight": Analyte(3025315, 9529, "kg", None, (2.5, 220), 1),
    "bmi": Analyte(3038553, 9531, "kg/m2", (18.5, 25), (10, 65), 1),
    "hba1c": Analyte(3004410, 8554, "%", (4, 5.6), (3.5, 15), 1),
    "creatinine": Analyte(3016723, 8840, "mg/dL", (0.6, 1.3), (0.2, 12), 2),
    "hemoglobin": Analyte(3000963, 8713, "g/dL", (12, 17), (5, 20), 1),
    "ldl": Analyte(3009966, 8840, "mg/dL", (0, 130), (20, 330)),
    "pain": Analyte(43055141, 44777566, "[score]", None, (0, 10)),
}
MOLAR = Analyte(3016723, 8749, "umol/L", (53, 115), (18, 1060))
MICROMOLES = 88.42  # creatinine, umol/L of one mg/dL


class Visits(NamedTuple):
    """Visits of a block, by person and day: `person` (v,) from 0, `day`, `kind`, and what finds them."""

    person: Whole
    day: Days
    kind: Whole
    key: Whole

    def at(self, person: Whole, day: Days) -> Whole:
        """The visits of people on days on which they have one."""
        return np.asarray(np.searchsorted(self.key, _key(person, day)))


class Rows(NamedTuple):
    """Rows of one kind: the visit of each, and their concept; `code` is the source's, one for all."""

    visit: Whole
    concept: Whole
    code: str
    source: int = 0


class Block(NamedTuple):
    """People of a hospital, and what drawing their records takes."""

    rng: np.random.Generator
    here: Site
    lives: Lives
    visits: Visits
    users: Flags  # (len(REGIMENS), n) who takes which drug
    acute: tuple[Whole, ...]  # visits of each acute illness


def records(rng: np.random.Generator, here: Site, lives: Lives) -> dict[str, pa.Table]:
    """The tables of a block of people, identifiers counted from 1."""
    cases = [_cases(rng, lives, illness) for illness in ACUTE]
    visits = _visits(rng, here, lives, cases)
    shares = np.array([regimen.share for regimen in REGIMENS])[:, None]
    users = rng.random((len(REGIMENS), len(lives.birth))) < shares
    block = Block(rng, here, lives, visits, users, tuple(visits.at(*case) for case in cases))
    return {
        "person": _person(lives), "observation_period": _observation_period(lives), "death": _death(lives),
        "visit_occurrence": _visit_occurrence(block), "condition_occurrence": _conditions(block),
        "drug_exposure": _drugs(block), "measurement": _measurements(block),
    }  # fmt: skip


def shifted(name: str, rows: pa.Table, before: Mapping[str, int]) -> pa.Table:
    """Rows of a block with the identifiers that they have in their hospital; `before`: rows of the blocks before it."""
    import pyarrow.compute as pc

    keys = {f"{name}_id": name, "person_id": "person", "visit_occurrence_id": "visit_occurrence"}
    for column, table in keys.items():
        if column in rows.column_names and before[table]:
            at = rows.column_names.index(column)
            rows = rows.set_column(at, rows.schema.field(at), pc.add(rows[column], before[table]))
    if name == "person":
        at = rows.column_names.index("person_source_value")
        rows = rows.set_column(at, rows.schema.field(at), rows["person_id"].cast(pa.string()))
    return rows


# Visits -------------------------------------------------------------------------------------------------------


def _key(person: Whole, day: Days) -> Whole:
    return np.asarray(person.astype(np.int64) * 65536 + day + 32768)  # 1880 to 2059


def _cases(rng: np.random.Generator, lives: Lives, illness: Acute) -> tuple[Whole, Days]:
    """(person, day) of an acute illness."""
    age = (lives.end - lives.birth) / YEAR
    rate = np.select([age < 15, age < 65], illness.rates[:2], illness.rates[2])
    return _scattered(rng, lives, rate)


def _scattered(rng: np.random.Generator, lives: Lives, rate: Floats) -> tuple[Whole, Days]:
    """(person, day): a Poisson number of days a year, anywhere while people are observed."""
    span = (lives.end - lives.start + 1).astype(np.float64)
    person = np.repeat(np.arange(len(span)), rng.poisson(rate * span / YEAR))
    day = lives.start[person] + np.floor(rng.random(len(person)) * span[person]).astype(np.int32)
    return person, day.astype(np.int32)


def _visits(rng: np.random.Generator, here: Site, lives: Lives, cases: list[tuple[Whole, Days]]) -> Visits:
    n, burden = len(lives.birth), (lives.onset < NEVER).sum(axis=0)
    rate = (1.3 + 0.4 * burden) * np.exp(rng.normal(here.visits, 0.4, n))
    person, day = _scattered(rng, lives, rate)
    kind = rng.choice(3, len(person), p=[0.92, 0.06, 0.02])
    parts = [(person, day, kind)]
    for name, onset in zip(DISEASES, lives.onset, strict=True):
        parts.append(_once(onset, INPATIENT if name in SUDDEN else OUTPATIENT))
    parts += [_once(lives.drug, OUTPATIENT), _once(lives.bleed, INPATIENT)]
    parts += [(*case, np.full(len(case[0]), a.kind)) for case, a in zip(cases, ACUTE, strict=True)]
    person, day, kind = (np.concatenate([part[i] for part in parts]) for i in range(3))
    ranked = np.sort(_key(person, day) * 4 + kind)
    ranked = ranked[np.append(ranked[1:] // 4 != ranked[:-1] // 4, True)]  # of a day, the gravest kind
    key = ranked // 4
    return Visits(key // 65536, (key % 65536 - 32768).astype(np.int32), ranked % 4, key)


def _once(day: Days, kind: int) -> tuple[Whole, Days, Whole]:
    (person,) = np.nonzero(day < NEVER)
    return person, day[person], np.full(len(person), kind)


# Rows ---------------------------------------------------------------------------------------------------------


def _conditions(block: Block) -> pa.Table:
    rows = list(_diagnosed(block))
    made = _gathered(rows)
    acute = np.isin(made["code"], [len(rows) - 1 - i for i in range(len(ACUTE) + 1)])  # the last ones
    day = block.visits.day[made["visit"]]
    last = np.minimum(day + 10, block.lives.end[block.visits.person[made["visit"]]])
    return _table("condition_occurrence", len(day), {
        **_who(block, made["visit"]), "condition_concept_id": made["concept"], "condition_start_date": day,
        "condition_end_date": pa.array(last, pa.int32(), mask=~acute), "condition_type_concept_id": EHR,
        "condition_status_concept_id": 0, "condition_source_value": _coded(made["code"], [r.code for r in rows]),
        "condition_source_concept_id": np.array([r.source for r in rows])[made["code"]],
    })  # fmt: skip


def _diagnosed(block: Block) -> Iterator[Rows]:
    visits, rng = block.visits, block.rng
    for (name, disease), onset in zip(DISEASES.items(), block.lives.onset, strict=True):
        began = onset[visits.person]
        told = (visits.day == began) | ((visits.day > began) & (rng.random(len(began)) < AGAIN))
        (visit,) = np.nonzero(told)
        concept = _detailed(block, disease.codes, visit)
        if name not in STUDIED:
            concept[rng.random(len(visit)) < block.here.unmapped] = 0
        yield Rows(visit, concept, disease.source)
    for illness, visit in zip(ACUTE, block.acute, strict=True):
        concept = np.full(len(visit), illness.concept)
        concept[rng.random(len(visit)) < block.here.unmapped] = 0
        yield Rows(visit, concept, illness.source)
    (person,) = np.nonzero(block.lives.bleed < NEVER)
    visit = visits.at(person, block.lives.bleed[person])
    (source,) = (code for code, standard in MAPS.items() if standard == BLEED)
    yield Rows(visit, np.full(len(visit), BLEED), BLEED_CODE, source)


def _detailed(block: Block, codes: tuple[int, ...], visit: Whole) -> Whole:
    """Concepts of rows: the general one, or the person's one in detail, as the hospital's habit is."""
    concept = np.full(len(visit), codes[0])
    if len(codes) > 1:
        own = block.rng.choice(np.array(codes[1:]), len(block.lives.birth))
        fine = block.rng.random(len(visit)) < block.here.specific
        concept[fine] = own[block.visits.person[visit[fine]]]
    return concept


def _drugs(block: Block) -> pa.Table:
    rows = list(_prescribed(block))
    made = _gathered(rows)
    day = block.visits.day[made["visit"]]
    supply = np.array([10 if r.code in _SHORT else SUPPLY for r in rows])[made["code"]]
    last = np.minimum(day + supply - 1, block.lives.end[block.visits.person[made["visit"]]])
    return _table("drug_exposure", len(day), {
        **_who(block, made["visit"]), "drug_concept_id": made["concept"], "drug_exposure_start_date": day,
        "drug_exposure_end_date": last, "drug_type_concept_id": DISPENSED, "quantity": supply.astype(np.float64),
        "days_supply": supply, "drug_source_value": _coded(made["code"], [r.code for r in rows]),
        "drug_source_concept_id": 0, "route_concept_id": 0,
    })  # fmt: skip


def _prescribed(block: Block) -> Iterator[Rows]:
    visits, rng, lives = block.visits, block.rng, block.lives
    for regimen, users in zip(REGIMENS, block.users, strict=True):
        began = lives.onset[PLACE[regimen.disease]][visits.person]
        chosen = users[visits.person] & (visits.day >= began) & (rng.random(len(began)) < REFILL)
        (visit,) = np.nonzero(chosen)
        yield Rows(visit, _detailed(block, regimen.drug, visit), _name(regimen.drug))
    first = lives.drug[visits.person]
    given = (visits.day == first) | ((visits.day > first) & (rng.random(len(first)) < REFILL))
    for drug, mine in ((CELECOXIB, lives.celecoxib), (DICLOFENAC, ~lives.celecoxib)):
        (visit,) = np.nonzero(given & mine[visits.person])
        yield Rows(visit, _detailed(block, drug, visit), _name(drug))
    for illness, visit in zip(ACUTE, block.acute, strict=True):
        if illness.drug:
            visit = visit[rng.random(len(visit)) < 0.5]
            yield Rows(visit, _detailed(block, illness.drug, visit), _name(illness.drug))


def _name(drug: tuple[int, ...]) -> str:
    from confrere.data.synthetic_vocabulary import CONCEPTS

    return CONCEPTS[drug[0]][0]


_SHORT = {_name(illness.drug) for illness in ACUTE if illness.drug}


def _gathered(rows: list[Rows]) -> dict[str, Whole]:
    """Rows of all kinds by visit; `code` is their place in the list."""
    visit = np.concatenate([r.visit for r in rows])
    order = np.argsort(visit, kind="stable")
    code = np.repeat(np.arange(len(rows)), [len(r.visit) for r in rows])
    return {"visit": visit[order], "concept": np.concatenate([r.concept for r in rows])[order], "code": code[order]}


# Measurements -------------------------------------------------------------------------------------------------


def _measurements(block: Block) -> pa.Table:
    analytes = dict(ANALYTES, creatinine=MOLAR) if block.here.molar else ANALYTES
    found = _measured(block)
    if block.here.molar:
        found["creatinine"] = found["creatinine"][0], found["creatinine"][1] * MICROMOLES
    written = [np.round(np.clip(found[k][1], *one.plausible), one.digits) for k, one in analytes.items()]
    visit = np.concatenate([found[k][0] for k in analytes])
    order = np.argsort(visit, kind="stable")
    code = np.repeat(np.arange(len(analytes)), [len(one) for one in written])[order]
    visit, value = visit[order], np.concatenate(written)[order]
    kinds = list(analytes.values())
    low, high = (np.array([k.usual[i] if k.usual else np.nan for k in kinds])[code] for i in (0, 1))
    return _table("measurement", len(visit), {
        **_who(block, visit), "measurement_concept_id": np.array([k.concept for k in kinds])[code],
        "measurement_date": block.visits.day[visit], "measurement_type_concept_id": EHR, "value_as_number": value,
        "unit_concept_id": np.array([k.unit for k in kinds])[code],
        "range_low": pa.array(low, mask=np.isnan(low)), "range_high": pa.array(high, mask=np.isnan(high)),
        "measurement_source_value": _coded(code, list(analytes)), "measurement_source_concept_id": 0,
        "unit_source_value": _coded(code, [k.symbol for k in kinds]),
    })  # fmt: skip


def _measured(block: Block) -> dict[str, tuple[Whole, Floats]]:
    """{name in ANALYTES: (visits, values)}, in the units of ANALYTES."""
    lives, rng, (person, day, _, _) = block.lives, block.rng, block.visits
    n, age = len(lives.birth), (day - lives.birth[person]) / YEAR
    adult, female = age >= 18, lives.female[person]

    def drawn(share: Floats | float) -> Whole:
        return np.flatnonzero(rng.random(len(person)) < share)

    def has(name: str, visit: Whole) -> Flags:
        return np.asarray(lives.onset[PLACE[name]][person[visit]] <= day[visit])

    def about(visit: Whole, own: float, error: float) -> Floats:
        """What a person always has, and what a day brings; standard deviations."""
        return np.asarray(rng.normal(0, own, n)[person[visit]] + rng.normal(0, error, len(visit)))

    pressure, panel = drawn(np.where(adult, 0.65, 0.2)), drawn(np.where(adult, 0.4, 0.1))
    at, years = pressure, np.minimum(age, 80)
    upper = 100 + 0.45 * years[at] - 3 * female[at] + 14 * has("hypertension", at) + about(at, 8, 8)
    found = {"systolic": (at, upper), "diastolic": (at, 40 + 0.3 * upper + about(at, 3, 5))}
    found |= _sizes(block, drawn(0.4), age)
    diabetic = lives.onset[PLACE["diabetes"]][person] <= day
    at = drawn(np.where(diabetic, 0.6, np.where(adult, 0.1, 0.0)))
    found["hba1c"] = at, 5.2 + 0.005 * years[at] + 1.9 * has("diabetes", at) + about(at, 0.3, 0.25)
    at = panel
    high = np.exp(0.55 * has("kidney", at) + about(at, 0.12, 0.08)) * np.where(female[at], 0.75, 0.92)
    found["creatinine"] = at, high * np.where(years[at] < 15, 0.6, 1 + 0.002 * years[at])
    bled = lives.bleed[person[at]] <= day[at]
    found["hemoglobin"] = (
        at,
        np.where(female[at], 13.6, 14.9) - 2.2 * has("anemia", at) - 1.5 * bled + about(at, 0.8, 0.5),
    )
    at = drawn(np.where(adult, 0.25, 0.02))
    treated = block.users[STATIN][person[at]] & has("hyperlipidemia", at)
    found["ldl"] = at, 108 + 0.15 * years[at] + 38 * has("hyperlipidemia", at) - 45 * treated + about(at, 22, 12)
    (first,) = np.nonzero(lives.drug < NEVER)
    found["pain"] = block.visits.at(first, lives.drug[first]), lives.pain[first]
    return found


def _sizes(block: Block, visit: Whole, age: Floats) -> dict[str, tuple[Whole, Floats]]:
    """Height, weight and body mass index, which agree with each other."""
    lives, rng, person = block.lives, block.rng, block.visits.person[visit]
    n, years, female = len(lives.birth), age[visit], lives.female[person]
    grown = np.where(female, 163.0, 177.0) + rng.normal(0, 6.5, n)[person]
    height = grown * np.where(years < 18, 0.3 + 0.7 * np.sqrt(np.clip(years, 0, 18) / 18), 1.0)
    mean = np.where(years < 18, 15 + 0.4 * years, 23.5 + 0.05 * np.minimum(years, 65))
    diabetic = (lives.onset[PLACE["diabetes"]] < NEVER)[person]
    bmi = mean * np.exp(rng.normal(0, 0.15, n)[person] + rng.normal(0, 0.02, len(visit))) + 2.5 * diabetic
    return {"height": (visit, height), "weight": (visit, bmi * (height / 100) ** 2), "bmi": (visit, bmi)}


# Tables -------------------------------------------------------------------------------------------------------


def _person(lives: Lives) -> pa.Table:
    n, days = len(lives.birth), lives.birth.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    return _table("person", n, {
        "person_id": np.arange(1, n + 1), "gender_concept_id": np.where(lives.female, FEMALE, MALE),
        "year_of_birth": days.astype("datetime64[Y]").astype(np.int64) + 1970,
        "month_of_birth": months.astype(np.int64) % 12 + 1, "day_of_birth": (days - months).astype(np.int64) + 1,
        "race_concept_id": lives.race, "ethnicity_concept_id": NOT_HISPANIC,
        "gender_source_value": _coded(lives.female.astype(np.int64), ["M", "F"]), "gender_source_concept_id": 0,
        "race_source_concept_id": 0, "ethnicity_source_concept_id": 0,
        "person_source_value": pa.array(np.arange(1, n + 1)).cast(pa.string()),
    })  # fmt: skip


def _observation_period(lives: Lives) -> pa.Table:
    each = np.arange(1, len(lives.birth) + 1)
    return _table("observation_period", len(each), {
        "observation_period_id": each, "person_id": each, "observation_period_start_date": lives.start,
        "observation_period_end_date": lives.end, "period_type_concept_id": INFERRED,
    })  # fmt: skip


def _death(lives: Lives) -> pa.Table:
    (dead,) = np.nonzero(lives.death < NEVER)
    return _table("death", len(dead), {
        "person_id": dead + 1, "death_date": lives.death[dead], "death_type_concept_id": CAUSE,
        "cause_concept_id": lives.cause[dead], "cause_source_concept_id": 0,
    })  # fmt: skip


def _visit_occurrence(block: Block) -> pa.Table:
    person, day, kind, _ = block.visits
    stay = np.where(kind == INPATIENT, block.rng.geometric(0.2, len(day)), 0)
    last = np.minimum(day + stay, np.minimum(block.lives.end[person], END))
    return _table("visit_occurrence", len(day), {
        "visit_occurrence_id": np.arange(1, len(day) + 1), "person_id": person + 1, "visit_concept_id": VISITS[kind],
        "visit_start_date": day, "visit_end_date": last, "visit_type_concept_id": EHR, "visit_source_concept_id": 0,
        "visit_source_value": _coded(kind, ["OP", "ER", "IP"]), "admitted_from_concept_id": 0,
        "discharged_to_concept_id": 0,
    })  # fmt: skip


def _who(block: Block, visit: Whole) -> dict[str, Whole]:
    return {"person_id": block.visits.person[visit] + 1, "visit_occurrence_id": visit + 1}


def _coded(codes: Whole, words: list[str]) -> pa.Array:
    """Text by its place in `words`; files of equal rows are equal only where a dictionary has each word once."""
    once = {word: place for place, word in enumerate(dict.fromkeys(words))}
    places = np.array([once[word] for word in words], dtype=np.int32)[codes]
    return pa.DictionaryArray.from_arrays(pa.array(places), pa.array(list(once), pa.string()))


def _table(name: str, n: int, columns: dict[str, Any]) -> pa.Table:
    """A table of the data model with these columns, the others empty; a whole number fills its column."""
    key = f"{name}_id"
    if key in schema(name).names and key not in columns:
        columns[key] = np.arange(1, n + 1)
    made, fields = [], []
    for field in schema(name):
        value = columns.pop(field.name, None)
        if value is None:
            value = _empty(field.type, n)
        elif isinstance(value, int):
            value = pa.repeat(pa.scalar(value, field.type), n)
        elif isinstance(value, np.ndarray):
            value = pa.array(value.astype(np.int32) if field.type == pa.date32() else value).cast(field.type)
        elif not isinstance(value, pa.DictionaryArray):
            value = value.cast(field.type)
        made.append(value)
        fields.append(field.with_type(value.type))
    if columns:
        raise KeyError(f"{name} has no columns {sorted(columns)}")
    return pa.Table.from_arrays(made, schema=pa.schema(fields))


def _empty(kind: pa.DataType, n: int) -> pa.Array:
    """n missing values, of one array for all columns."""
    return _nothing(kind, 1 << max(n, 1).bit_length()).slice(0, n)


@lru_cache(maxsize=16)
def _nothing(kind: pa.DataType, n: int) -> pa.Array:
    return pa.nulls(n, kind)
