"""A result in the hands of its readers: result.json, a page for people, tables and figures as files.

Pure functions over one plain dict, the shape of which is published in `result.schema.json`. This package knows
no hospital, no network and no statistics: it prints what the analyses found.

    from confrere.report import write
    write(result, Path("out"))          # or write(result, Path("out"), lang="fr")
"""

from confrere.report.page import render
from confrere.report.schema import check, schema
from confrere.report.write import Written, write

__all__ = ["Written", "check", "render", "schema", "write"]
