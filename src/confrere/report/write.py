"""Puts a result into a folder: result.json, report.html, tables and figures, each file whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from confrere.errors import ConfrereError
from confrere.report.files import csv_bytes
from confrere.report.model_card import is_model
from confrere.report.numerals import Language
from confrere.report.page import drawings, parts, set_page
from confrere.report.schema import Result, check
from confrere.report.vega import json_bytes
from confrere.report.words import Words


class Written(NamedTuple):
    """Where everything went."""

    folder: Path
    result: Path
    report: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]  # SVG files, each with its CSV and Vega-Lite specification beside it
    models: tuple[Path, ...]


def write(result: Result, out: Path, *, lang: Language = "en", models: Mapping[str, bytes] | None = None) -> Written:
    """Write the result and its report into `out`, which is made where it is absent.

    Everything is made in memory first, so that an error leaves the folder as it was. Every file is replaced
    at one stroke, result.json last: whoever sees it finds the rest there. `models` are files by name for the folder
    `models`, of the models that the result tells of. Tables and figures of the result that
    stood there before, and only those, are removed where the new one has none of their name.
    Raises StudyError where `result` is not what result.schema.json says, NaN included.
    """
    made = {f"models/{name}": content for name, content in (models or {}).items()} | contents(result, lang)
    old = _former(out)
    for name, content in made.items():
        _replace(out / name, content)
    for name in old - made.keys():
        (out / name).unlink(missing_ok=True)
    under = {kind: tuple(out / n for n in made if n.startswith(kind)) for kind in ("tables/", "figures/", "models/")}
    drawings = tuple(path for path in under["figures/"] if path.suffix == ".svg")
    return Written(out, out / "result.json", out / "report.html", under["tables/"], drawings, under["models/"])


def contents(result: Result, lang: Language = "en") -> dict[str, bytes]:
    """Every file of a result by its path in the folder; result.json is the last."""
    check(result)
    words = Words(lang)
    shown = parts(result, words)
    drawn = drawings(shown, words)
    made = {"report.html": set_page(result, shown, drawn, words).encode()}
    for part in shown:
        for table in part.tables:
            made[f"tables/{table.stem}.csv"] = csv_bytes(table.records)
        for figure in part.figures:
            made[f"figures/{figure.stem}.svg"] = drawn[figure.stem].svg.encode()
            made[f"figures/{figure.stem}.vl.json"] = json_bytes(drawn[figure.stem].spec)
            made[f"figures/{figure.stem}.csv"] = csv_bytes(figure.records)
    text = json.dumps(result, ensure_ascii=False, allow_nan=False, indent=1)
    return made | {"result.json": (text + "\n").encode()}


def learned(result: Result) -> list[str]:
    """The files of the models that the result tells of, by their paths in the folder."""
    found = [a for a in result["analyses"] if is_model(a)]
    return [f"models/{a['name']}.{kind}" for a in found for kind in kinds(a["method"])]


def kinds(method: str) -> tuple[str, ...]:
    """The endings of the files of a model: itself with its card, the card as a page; trees as XGBoost and ONNX
    have them."""
    further = {"boosting": ("xgboost.json", "onnx"), "network": ("safetensors",)}
    return ("json", "card.md", *further.get(method, ()))


def _former(out: Path) -> set[str]:
    """The tables and figures that the result already in `out` accounts for; none where it is not ours."""
    try:
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
        check(result)
        shown = parts(result, Words())
    except (OSError, ValueError, ConfrereError):
        return set()
    names = {f"tables/{table.stem}.csv" for part in shown for table in part.tables}
    stems = [figure.stem for part in shown for figure in part.figures]
    return {*names, *learned(result)} | {
        f"figures/{stem}.{kind}" for stem in stems for kind in ("svg", "vl.json", "csv")
    }


def _replace(path: Path, content: bytes) -> None:
    """Write beside the place, then rename: a reader sees the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
