"""The same cohort and the same tables on DuckDB and on a real Spark, of this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("circe")
pytest.importorskip("pyspark")

from pyspark.sql import SparkSession

from cohorts.definitions import DEFINITION, TEXT
from cohorts.reference import rows_of
from cohorts.world import world, written
from confrere.data.circe import cohort
from confrere.data.omop import opened

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java"),
    pytest.mark.filterwarnings("ignore"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of Parquet files; the same are the tables of a schema `cdm` of Spark."""
    folder = written(world(DEFINITION, people=40, seed=5), tmp_path_factory.mktemp("world"))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder: Any = SparkSession.builder
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2",
                "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}  # fmt: skip
    session = builder.master("local[1]").config(map=settings).getOrCreate()
    session.sql("CREATE SCHEMA cdm")
    for file in folder.glob("*.parquet"):
        session.sql(f"CREATE TABLE cdm.{file.stem} USING parquet LOCATION '{file}'")
    yield folder
    session.stop()


def answer(source: str | Path) -> tuple[Any, ...]:
    """A cohort, who got how far, and two tables of the source, one of them not there."""
    with opened(source, without=["3"]) as cdm:
        made = cohort(cdm, TEXT)
        reached = made.reached.select("person_id", "reached").to_pyarrow().to_pylist()
        tables = [sorted(map(str, cdm.table(t).to_pyarrow().to_pylist())) for t in ("person", "device_exposure")]
        return rows_of(made.rows), sorted((r["person_id"], r["reached"]) for r in reached), tables


def test_tables_are_identical_and_nothing_stays(hospital: Path) -> None:
    assert answer("spark:///cdm") == answer(hospital)
    session: Any = SparkSession.getActiveSession()
    assert [t.name for t in session.catalog.listTables() if t.name.startswith("cf_")] == []
