"""What a run found, as pages give it out: its parts to be read, its report, and the files beside it.

The report is made once for each language and each state of the release, in the run's own folder; what is asked for
later are files of that folder, found by their names in its list, so that no path leads out of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from fastapi import HTTPException, Response
from fastapi.responses import FileResponse

from confrere.console.client import fetched
from confrere.console.pages.languages import N_
from confrere.console.result import as_dict, models
from confrere.coordinator.conduct import Folder
from confrere.coordinator.release import Standing
from confrere.report.numerals import Language
from confrere.report.page import Part, parts
from confrere.report.schema import Result
from confrere.report.words import Words
from confrere.report.write import learned, write

NO_FILE = N_("This run has no such file.")
_KINDS: Final = {".html": "text/html", ".json": "application/json", ".csv": "text/csv", ".svg": "image/svg+xml"}
_POLICY: Final = (  # a report has its style inside and data to download: it may do nothing else
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox allow-downloads"
)


def result(folder: Folder, standing: Standing, data: bytes) -> Result:
    """The findings in the bytes that the airlock gave, as `result.json` has them."""
    return as_dict(fetched(folder.study, data, standing.record))


def read(made: Result, lang: Language) -> list[Part]:
    """The findings as a page shows them: each analysis with its tables set for reading."""
    return parts(made, Words(lang))


def report(folder: Folder, standing: Standing, data: bytes, lang: Language) -> Path:
    """The folder of the report in a language, made if it is not there."""
    state = hashlib.sha256(json.dumps(standing.record, sort_keys=True).encode()).hexdigest()[:16]
    place = folder.path / "report" / f"{lang}-{state}"
    if not (place / "result.json").is_file():  # written last
        found = fetched(folder.study, data, standing.record)
        write(as_dict(found), place, lang=lang, models=models(found, lang))
    return place


def listed(made: Result, shown: list[Part]) -> list[str]:
    """Files that the report of a result, shown in these parts, has, by their names in addresses."""
    tables = [f"tables/{table.stem}.csv" for part in shown for table in part.tables]
    figures = [f"figures/{figure.stem}.svg" for part in shown for figure in part.figures]
    return ["result.json", *learned(made), *tables, *figures]


def files(place: Path) -> dict[str, Path]:
    """Files of a report by their names in addresses, those of its models, tables and figures after their folder."""
    found = [path for under in ("", "models/", "tables/", "figures/") for path in place.glob(f"{under}*.*")]
    return {str(path.relative_to(place)): path for path in sorted(found) if path.is_file()}


def file(place: Path, name: str) -> Response:
    """One of these files: the report to be read, any other to be kept. HTTPException 404 for any other name."""
    path = files(place).get(name)
    if path is None:
        raise HTTPException(404, NO_FILE)
    kind = _KINDS.get(path.suffix, "application/octet-stream")
    if name == "report.html":
        return FileResponse(path, media_type=kind, headers={"Content-Security-Policy": _POLICY})
    return FileResponse(path, media_type=kind, filename=path.name)
