"""Generated hospitals in the OMOP common data model, full of what a cohort definition looks for.

A definition's own concepts, with invented descendants, are what its people have: around one date each, in several
observation periods, with values and units that the definition names. So cohorts are not empty, and their rules decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from confrere.data.cdm import TABLES

INVENTED = 2_000_000_000  # concepts of ours start here
VISITS = (9201, 9202, 9203, 262)
OF = {
    "Condition": "condition_occurrence", "Drug": "drug_exposure", "Procedure": "procedure_occurrence",
    "Measurement": "measurement", "Observation": "observation", "Device": "device_exposure",
}  # fmt: skip
START = {
    "condition_occurrence": "condition_start_date", "drug_exposure": "drug_exposure_start_date",
    "procedure_occurrence": "procedure_date", "measurement": "measurement_date",
    "observation": "observation_date", "device_exposure": "device_exposure_start_date",
    "condition_era": "condition_era_start_date", "drug_era": "drug_era_start_date",
    "visit_occurrence": "visit_start_date", "death": "death_date",
}  # fmt: skip


def walked(node: Any) -> Iterator[Mapping[str, Any]]:
    """All objects of a JSON."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walked(value)
    elif isinstance(node, list):
        for value in node:
            yield from walked(value)


def concepts(expression: Mapping[str, Any]) -> dict[int, str]:
    """Concept ids of a definition's sets, with their domains."""
    found = {}
    for node in walked(expression.get("ConceptSets", [])):
        if "CONCEPT_ID" in node:
            found[int(node["CONCEPT_ID"])] = str(node.get("DOMAIN_ID", "")).split("/")[0].title()
    return found


def used(expression: Mapping[str, Any]) -> dict[str, list[int]]:
    """Tables by the names that criteria have, with the concepts of the sets that they look for."""
    sets = {
        s["id"]: [int(i["concept"]["CONCEPT_ID"]) for i in s["expression"]["items"] if not i.get("isExcluded")]
        for s in expression.get("ConceptSets", [])
    }
    kinds = {
        "ConditionOccurrence": "condition_occurrence", "ConditionEra": "condition_era", "DrugEra": "drug_era",
        "DrugExposure": "drug_exposure", "ProcedureOccurrence": "procedure_occurrence", "Measurement": "measurement",
        "Observation": "observation", "DeviceExposure": "device_exposure", "VisitOccurrence": "visit_occurrence",
    }  # fmt: skip
    found: dict[str, list[int]] = {}
    for node in walked(expression):
        for kind, table in kinds.items():
            if isinstance(node.get(kind), dict):
                inner = node[kind]
                source = inner.get("ConditionSourceConcept", inner.get("ProcedureSourceConcept"))
                found.setdefault(table, []).extend(sets.get(inner.get("CodesetId", source), []))
    return found


def named(expression: Mapping[str, Any], key: str) -> list[int]:
    """Concept ids that criteria name by themselves under a key, such as Unit."""
    return sorted({int(c["CONCEPT_ID"]) for n in walked(expression) for c in n.get(key) or [] if isinstance(c, dict)})


def numbers(expression: Mapping[str, Any]) -> list[float]:
    """Numbers near those that the definition compares with."""
    given = [n[k]["Value"] for n in walked(expression) for k in ("ValueAsNumber", "RangeHigh", "RangeLow") if n.get(k)]
    return [float(v) * f for v in given for f in (0.5, 1.0, 1.5)] or [1.0]


def world(expression: Mapping[str, Any], people: int = 150, seed: int = 0) -> dict[str, pd.DataFrame]:
    """The tables of a hospital for a definition; tables that are not given are empty."""
    rng = np.random.default_rng(seed)
    known = concepts(expression)
    tables = {"person": _people(rng, people), "observation_period": _periods(rng, people), **_vocabulary(known)}
    index = pd.Timestamp("2005-01-01") + pd.to_timedelta(rng.integers(0, 3650, people), "D")
    tables["visit_occurrence"] = _visits(rng, index)
    for table, wanted in used(expression).items():
        pool = sorted({c for c in wanted for c in (c, *_below(c))} & set(tables["concept"]["concept_id"]))
        if table != "visit_occurrence" and pool:
            tables[table] = _events(rng, table, pool, index, expression)
    tables["death"] = _typed("death", {
        "person_id": np.arange(1, people // 10 + 1), "death_date": index[: people // 10] + pd.Timedelta(days=200),
        "cause_concept_id": rng.choice(sorted(known) or [0], people // 10), "death_type_concept_id": 0,
    })  # fmt: skip
    return tables


def written(tables: Mapping[str, pd.DataFrame], folder: Path) -> Path:
    """The tables as Parquet files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as made:
        for name, frame in tables.items():
            kinds = {"int64": "BIGINT", "float64": "DOUBLE", "date": "DATE", "timestamp": "TIMESTAMP"}
            made.register("frame", frame)
            columns = ", ".join(f"{c}::{kinds.get(TABLES[name][c], 'VARCHAR')} AS {c}" for c in frame.columns)
            made.execute(f"COPY (SELECT {columns} FROM frame) TO '{folder / name}.parquet' (FORMAT parquet)")
            made.unregister("frame")
    return folder


def _typed(table: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    for name in frame.columns:
        if TABLES[table][name] == "date":
            frame[name] = pd.to_datetime(frame[name]).dt.strftime("%Y-%m-%d")
    return frame


def _people(rng: np.random.Generator, n: int) -> pd.DataFrame:
    return _typed("person", {
        "person_id": np.arange(1, n + 1), "gender_concept_id": rng.choice([8507, 8532], n),
        "year_of_birth": rng.integers(1930, 2012, n), "month_of_birth": rng.integers(1, 13, n),
        "day_of_birth": rng.integers(1, 29, n), "race_concept_id": 0, "ethnicity_concept_id": 0,
    })  # fmt: skip


def _periods(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Of everybody one long observation period; of every third, two with a gap between."""
    who = np.arange(1, n + 1)
    first = pd.DataFrame({"person_id": who, "start": pd.Timestamp("1995-01-01"), "end": pd.Timestamp("2019-12-31")})
    cut = pd.Timestamp("2008-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    split = who % 3 == 0
    first.loc[split, "end"] = cut[split]
    second = pd.DataFrame({"person_id": who, "start": cut + pd.Timedelta(days=30), "end": pd.Timestamp("2019-12-31")})
    both = pd.concat([first, second[split]], ignore_index=True)
    return _typed("observation_period", {
        "observation_period_id": np.arange(1, len(both) + 1), "person_id": both["person_id"],
        "observation_period_start_date": both["start"], "observation_period_end_date": both["end"],
        "period_type_concept_id": 0,
    })  # fmt: skip


def _below(concept: int) -> tuple[int, int]:
    """Two invented descendants of a concept."""
    return INVENTED + 2 * (concept % 500_000_000), INVENTED + 2 * (concept % 500_000_000) + 1


def _vocabulary(known: Mapping[int, str]) -> dict[str, pd.DataFrame]:
    """Every concept with two descendants; one descendant of every seventh concept is no longer valid."""
    rows = [(c, domain, None) for c, domain in known.items()]
    rows += [(d, known[c], "D" if c % 7 == 0 and i else None) for c in known for i, d in enumerate(_below(c))]
    rows = list({row[0]: row for row in rows}.values())
    below = [(c, d, 1) for c in known for d in _below(c)] + [(row[0], row[0], 0) for row in rows]
    concept = pd.DataFrame(rows, columns=["concept_id", "domain_id", "invalid_reason"])
    ancestor = pd.DataFrame(below, columns=[*list(TABLES["concept_ancestor"])[:2], "min_levels_of_separation"])
    return {"concept": concept.assign(vocabulary_id="Test", standard_concept="S"), "concept_ancestor": ancestor}


def _visits(rng: np.random.Generator, index: pd.DatetimeIndex) -> pd.DataFrame:
    n = len(index)
    who = np.repeat(np.arange(1, n + 1), 3)
    start = index[who - 1] + pd.to_timedelta(np.tile([-100, -1, 30], n) + rng.integers(0, 3, 3 * n), "D")
    return _typed("visit_occurrence", {
        "visit_occurrence_id": np.arange(1, 3 * n + 1), "person_id": who, "visit_concept_id": rng.choice(VISITS, 3 * n),
        "visit_start_date": start, "visit_end_date": start + pd.to_timedelta(rng.integers(0, 9, 3 * n), "D"),
        "visit_type_concept_id": 0,
    })  # fmt: skip


def _events(
    rng: np.random.Generator, table: str, pool: list[int], index: pd.DatetimeIndex, expression: Mapping[str, Any]
) -> pd.DataFrame:
    """Two to six events of two thirds of the people, most of them around the person's index date."""
    people = len(index)
    some = rng.permutation(np.arange(1, people + 1))[: 2 * people // 3]
    who = np.repeat(some, rng.integers(2, 7, some.size))
    n = who.size
    days = np.where(rng.random(n) < 0.6, rng.integers(-8, 9, n), rng.integers(-400, 400, n))
    start = index[who - 1] + pd.to_timedelta(days, "D")
    stem = START[table].rsplit("_date", 1)[0].removesuffix("_start")
    concept = next(c for c in TABLES[table] if c.endswith("_concept_id"))
    columns: dict[str, Any] = {
        next(iter(TABLES[table])): np.arange(1, n + 1), "person_id": who, concept: rng.choice(pool, n),
        START[table]: start, "visit_occurrence_id": 3 * (who - 1) + rng.integers(1, 4, n),
    }  # fmt: skip
    if f"{stem}_end_date" in TABLES[table]:
        end = start + pd.to_timedelta(rng.integers(0, 40, n), "D")
        columns[f"{stem}_end_date"] = end if table.endswith("_era") else pd.Series(end).where(rng.random(n) < 0.7)
    source = concept.replace("_concept_id", "_source_concept_id")
    more = {
        source: lambda: rng.choice(pool, n), "days_supply": lambda: rng.integers(1, 90, n),
        "value_as_number": lambda: rng.choice(numbers(expression), n),
        "value_as_concept_id": lambda: rng.choice([*named(expression, "ValueAsConcept"), 0], n),
        "unit_concept_id": lambda: rng.choice([*named(expression, "Unit"), 0], n),
        "range_low": lambda: rng.choice([0.5, 1.0], n), "range_high": lambda: rng.choice([1.0, 1.5], n),
        "condition_occurrence_count": lambda: rng.integers(1, 4, n),
        "drug_exposure_count": lambda: rng.integers(1, 4, n), "gap_days": lambda: rng.integers(0, 30, n),
    }  # fmt: skip
    columns |= {name: make() for name, make in more.items() if name in TABLES[table]}
    kinds = [c for c in TABLES[table] if c.endswith("_type_concept_id")]
    return _typed(table, {c: v for c, v in columns.items() if c in TABLES[table]} | dict.fromkeys(kinds, 0))


def parsed(text: str) -> dict[str, Any]:
    """A definition's JSON."""
    found: dict[str, Any] = json.loads(text)
    return found
