"""Record tests/oracles/cohort.json: what OHDSI's own SQL finds for our definition in a generated hospital.

    python tests/cohorts/make_oracle.py

The SQL is that of circe-be's query builder (its port in `ohdsi-circepy`, which writes the same text), rendered for
DuckDB and executed there; the cohorts of this package are made by Ibis expressions instead, without it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))


def main() -> None:
    """Write the file."""
    from circe.api import build_cohort_query, cohort_expression_from_json
    from circe.cohortdefinition import BuildExpressionQueryOptions

    from cohorts.definitions import DEFINITION, TEXT
    from cohorts.reference import copied, execute
    from cohorts.world import world, written
    from confrere.data.omop import opened

    options = BuildExpressionQueryOptions()
    options.generate_stats = True
    sql = build_cohort_query(cohort_expression_from_json(TEXT), options)
    with tempfile.TemporaryDirectory() as folder:
        source = written(world(DEFINITION, people=400, seed=6), Path(folder))
        with opened(source) as cdm, copied(cdm) as found:
            expected = execute(found, sql)
            entered = found.execute("SELECT count(*) FROM cdm.person").fetchone()
    oracle = {
        "software": {name: version(name) for name in ("ohdsi-circepy", "duckdb", "sqlglot")},
        "data": "cohorts.world.world(DEFINITION, people=400, seed=6)",
        "call": "circe.api.build_cohort_query, circe.sqlrender.translate(..., 'duckdb')",
        "people": entered[0] if entered else 0,
        "masks": {str(mask): n for mask, n in sorted(expected.masks.items())},
        "rows": expected.rows,
    }
    (TESTS / "oracles" / "cohort.json").write_text(json.dumps(oracle, indent=1) + "\n")


if __name__ == "__main__":
    main()
