"""By what the people of a feasibility count are described: sex, age at entry in public bands, region. Public levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from confrere.errors import DataError
from confrere.rounds import Array, Ints
from confrere.study.omop import BIRTH, REGION, SEX, TOLD_SEXES
from confrere.study.rows import TableRows, nearest
from confrere.study.schema import Schema

AGES = (0, 18, 30, 40, 50, 60, 70, 80)  # years; the same in every study, so that no two differ by a few people
REST = "other or unknown"


@dataclass(frozen=True)
class Group:
    """A way to describe people: `by` a word, `levels` its public levels, `place` everybody's level (n,).

    Levels of few people are told together with their neighbours (`merge`), or hidden where they have no order (`hide`).
    """

    by: str
    column: str
    levels: tuple[str, ...]
    place: Callable[[Any, Array], Ints]  # of a frame and the days of entry (n,)
    rule: str = "merge"


def groups(schema: Schema) -> tuple[Group, ...]:
    """Sex and age; region too where the study declares the levels of `_region`."""
    bands = (*(f"{low} to {high - 1}" for low, high in pairwise(AGES)), f"{AGES[-1]} or more")
    found = [
        Group("sex", SEX, (*TOLD_SEXES, REST), lambda frame, entry: _sex(frame)),
        Group("age", BIRTH, (*bands, "unknown"), lambda frame, entry: _age(frame, entry, schema)),
    ]
    if (levels := schema.levels(REGION)) is not None:
        found.append(Group("region", REGION, (*levels, "unknown"), lambda frame, entry: _region(frame, schema),
                           rule="hide"))  # fmt: skip
    return tuple(found)


def _sex(frame: Any) -> Ints:
    """(n,) place among female, male, other."""
    if SEX not in frame:
        raise DataError(f"no column {SEX!r} in the table; {nearest(SEX, [str(c) for c in frame])}")
    said = np.array(frame[SEX].astype(str), dtype=str)
    return np.select([said == name for name in TOLD_SEXES], range(len(TOLD_SEXES)), len(TOLD_SEXES)).astype(np.int64)


def _age(frame: Any, entry: Array, schema: Schema) -> Ints:
    """(n,) band of the completed years at entry; the last where the birth or the entry is not known, or is later."""
    years = np.floor((entry - TableRows(frame, schema, {}).numbers(BIRTH)) / 365.25)
    band = np.searchsorted(AGES, years, side="right") - 1
    return np.where(np.isnan(years) | (years < 0), len(AGES), band).astype(np.int64)


def _region(frame: Any, schema: Schema) -> Ints:
    """(n,) place among the declared regions; the last where it is not known."""
    codes = TableRows(frame, schema, {}).codes(REGION)
    return np.where(codes < 0, len(schema.levels(REGION) or ()), codes).astype(np.int64)
