"""A cohort and its funnel against OHDSI's own SQL, and against a case worked out on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from by_hand import COHORT

from cohorts.definitions import DEFINITION, TEXT
from cohorts.reference import rows_of
from cohorts.world import world, written
from confrere.analyses.cohort import Cohort
from confrere.console.local import Local
from confrere.data.circe import cohort
from confrere.data.omop import opened
from confrere.errors import DataError
from federate import GATE, LOOSE, fit, oracle

SQL = oracle("cohort")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated hospital of the oracle."""
    return written(world(DEFINITION, people=400, seed=6), tmp_path_factory.mktemp("omop"))


def sequence() -> list[int]:
    """People left after each rule, by the rules that their best entry event meets."""
    masks = {int(mask): n for mask, n in SQL["masks"].items()}
    rules = len(DEFINITION["InclusionRules"])
    after = [sum(n for mask, n in masks.items() if mask & (2**j - 1) == 2**j - 1) for j in range(rules + 1)]
    return [SQL["people"], *after]


def test_rows_and_dates_are_those_of_ohdsi(hospital: Path) -> None:
    with opened(hospital) as cdm:
        assert rows_of(cohort(cdm, TEXT).rows) == [tuple(row) for row in SQL["rows"]]


def test_who_is_left_after_each_rule(hospital: Path) -> None:
    """A person's best event meets the most rules, so the last step is exact, and no earlier one has fewer people."""
    with opened(hospital) as cdm:
        reached = cohort(cdm, TEXT).reached.to_pyarrow().to_pandas()["reached"]
    left = [int((reached >= j).sum()) for j in range(len(sequence()) + 1)]
    assert left[:2] == sequence()[:2]
    assert left[-1] == left[-2] == sequence()[-1] == len({row[0] for row in SQL["rows"]})
    assert all(one >= other for one, other in zip(left, sequence(), strict=False))


def test_the_network_counts_the_same(tmp_path: Path) -> None:
    """The same hospital dealt to three, through masks and gate."""
    tables = world(DEFINITION, people=400, seed=6)
    sources = {}
    for i, name in enumerate(("brest", "lille", "nice")):
        own = {t: f[f["person_id"] % 3 == i] if "person_id" in f else f for t, f in tables.items()}
        sources[name] = str(written(own, tmp_path / name))
    found = Local(sources).run(Cohort(TEXT))
    told = [record["n"] for record in found.tables["funnel"]]
    assert (told[0], told[-1]) == (SQL["people"], sequence()[-1])
    assert found.hospitals == 3


def people(counts: dict[int, int]) -> pd.DataFrame:
    """So many people who pass so many steps, of a definition with two rules."""
    reached = [float(steps) for steps, n in counts.items() for _ in range(n)]
    return pd.DataFrame({Cohort(BY_HAND).counts.column: reached})


BY_HAND = '{"PrimaryCriteria": {"CriteriaList": []}, "InclusionRules": [{"name": "one"}, {}]}'


@pytest.mark.parametrize(("policy", "expected"), [(LOOSE, "n"), (GATE, "told")])
def test_by_hand(policy: Any, expected: str) -> None:
    frame = people(COHORT["reached"])
    frames = [frame[i::3] for i in range(3)]
    records = fit(Cohort(BY_HAND), frames, policy).tables["funnel"]
    assert [record["n"] for record in records] == COHORT[expected]
    assert [record["criterion"] for record in records] == ["", "", "one", "rule 2", ""]
    assert all(record.get("suppressed", False) == (record["n"] is None) for record in records)


def test_steps_that_no_definition_has() -> None:
    frame = people({0: 20, 5: 30})
    with pytest.raises(DataError, match="0 to 4"):
        fit(Cohort(BY_HAND), [frame[i::3] for i in range(3)], LOOSE)
