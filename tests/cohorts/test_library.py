"""The 100 definitions of OHDSI's PhenotypeLibrary: each runs, and gives the rows of the SQL that circe-be wrote for it.

    python tests/cohorts/test_library.py [FOLDER]     prints a line per definition, on a source or on generated people

The public sources have few of the concepts, so most cohorts are empty there; generated people have what each
definition looks for.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
pytest.importorskip("circe")

from cohorts.reference import Expected, Row, copied, execute, rows_of, text
from cohorts.world import world, written
from confrere.data.circe import cohort
from confrere.data.omop import Cdm, opened
from confrere.study.circe import definition
from federate import SHARED

# Where several entry events of a person begin on the same day with the same event id, circe-be's SQL leaves open which
# is first; its end then depends on the engine.
TIES = {219: "[P] Sudden Cardiac arrest or cardiac death: two entry events on one day"}
SOURCES = ("omop_gibleed", "omop_synthea27nj_54")


@cache
def library() -> dict[int, dict[str, Any]]:
    """The definitions by their id."""
    lines = (SHARED / "cohort_definitions" / "phenotype_library.jsonl").read_text().splitlines()
    return {found["cohort_id"]: found for found in map(json.loads, lines)}


def numbers() -> list[int]:
    """Ids of the definitions, where they are."""
    return sorted(library()) if SHARED.is_dir() else [0]


class Ours(NamedTuple):
    """rows of a cohort; people left at each step; people by the rules that their best entry event meets."""

    rows: list[Row]
    left: list[int]
    masks: dict[int, int]


def ours(cdm: Cdm, number: int) -> Ours:
    """A cohort as we make it."""
    made = cohort(cdm, text(library()[number]["expression"]))
    reached = made.reached.to_pyarrow()["reached"].to_pylist()
    read = definition(text(library()[number]["expression"]))
    people = made.people.to_pyarrow().to_pylist()
    masks = Counter(sum(2**j for j in range(len(read.rules)) if row[f"rule_{j + 1}"] == 1) for row in people)
    return Ours(rows_of(made.rows), [sum(r >= step for r in reached) for step in range(len(read.steps) + 1)], masks)


def check(number: int, found: Ours, expected: Expected) -> None:
    """Rows are equal, and so are the people with an entry event and which rules the best of their events meets."""
    rows, left, masks = found
    if number in TIES:
        rows, expected = [(*r[:2], "") for r in rows], expected._replace(rows=[(*r[:2], "") for r in expected.rows])
    assert rows == expected.rows
    assert left[-1] == len({row[0] for row in rows})
    if expected.masks:
        assert left[1] == sum(expected.masks.values())
        every = 2 ** len(definition(text(library()[number]["expression"])).rules) - 1
        assert left[-2] == expected.masks.get(every, 0)
        assert masks == dict(expected.masks)


@contextmanager
def generated(number: int) -> Iterator[Cdm]:
    """A hospital that has what a definition looks for."""
    expression = json.loads(text(library()[number]["expression"]))
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(written(world(expression, seed=number), Path(folder))) as cdm,
    ):
        yield cdm


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("number", numbers())
def test_on_generated_people(number: int) -> None:
    with generated(number) as cdm:
        with copied(cdm) as reference:
            expected = execute(reference, library()[number]["expected_ohdsi_sql"])
        check(number, ours(cdm, number), expected)


@pytest.fixture(scope="module")
def public(request: pytest.FixtureRequest) -> Iterator[tuple[Cdm, duckdb.DuckDBPyConnection]]:
    """A public source, and a copy for circe-be's SQL: all definitions on one connection, as a feasibility session."""
    with opened(SHARED / request.param) as cdm, copied(cdm) as reference:
        yield cdm, reference


@pytest.mark.shared
@pytest.mark.slow  # circe-be's own SQL takes most of the time, up to 50 s for one definition on a busy machine
@pytest.mark.parametrize("number", numbers())
@pytest.mark.parametrize("public", SOURCES, indirect=True)
def test_on_public_records(public: tuple[Cdm, duckdb.DuckDBPyConnection], number: int) -> None:
    cdm, reference = public
    check(number, ours(cdm, number), execute(reference, library()[number]["expected_ohdsi_sql"]))


@pytest.mark.shared
def test_some_on_public_records() -> None:
    """The larger cohorts of the public records: so many rows has circe-be's SQL for them, executed in DuckDB 1.5."""
    expected = {864: 136, 990: 2445, 1031: 192}
    with opened(SHARED / SOURCES[0]) as cdm:
        for number, rows in expected.items():
            assert len(ours(cdm, number).rows) == rows


def main(given: list[str]) -> None:
    """Print for each definition what it gives, or why it does not run."""
    for number, found in library().items():
        try:
            with opened(given[0]) if given else generated(number) as cdm:
                rows, left, _ = ours(cdm, number)
                said = f"{len(rows)} rows; people left: {', '.join(map(str, left))}"
        except Exception as error:  # noqa: BLE001 - a table of what happens
            said = f"{type(error).__name__}: {error}"
        print(f"{number:5} {found['cohort_name'][:60]:60} {said}")


if __name__ == "__main__":
    main(sys.argv[1:])
