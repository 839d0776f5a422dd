"""From the results of a run to the plain dict of `result.json` (its schema is in `confrere.report`)."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from confrere.analyses.finding import Finding
from confrere.analyses.learning.conformal import found_in
from confrere.analyses.learning.forest import Forest, to_xgboost
from confrere.analyses.learning.onnx import to_onnx
from confrere.analyses.learning.terms import Terms
from confrere.analyses.networks.model import Net
from confrere.console.fit import Results
from confrere.coordinator.federation import Left
from confrere.errors import StudyError
from confrere.report.model_card import card, markdown
from confrere.report.numerals import Language
from confrere.report.words import Words
from confrere.study.circe_words import LANGUAGES, described
from confrere.study.file import Study
from confrere.study.learnt import shown
from confrere.study.omop import KEYS

PACKAGES = ("numpy", "scipy", "pandas", "duckdb", "ibis-framework", "formulaic", "cryptography")
MORE = {"boosting": ("numba",), "network": ("torch", "safetensors")}  # by method, where they are installed


def _packages(results: Results) -> list[str]:
    """What computed the results: always, and what their methods use beside it."""
    beside = {p for found in results.findings.values() for p in MORE.get(found.method, ())}
    return [*PACKAGES, *sorted(p for p in beside if find_spec(p))]


def as_dict(results: Results) -> dict[str, Any]:
    """The result of a run as plain data."""
    study = results.study
    settings = {spec.name: shown(spec.settings) for spec in study.analyses}
    return {
        "confrere": installed_version("confrere"),
        "schema": 1,
        "study": {
            "id": study.id, "title": study.title, "purpose": study.purpose, "hash": study.hash,
            "time_unit": study.time_unit, "disclosure": list(study.allow), "k": study.k,
            "columns": study.schema.to_dict(), **({"licence": study.licence} if study.licence else {}),
            **({key: study.omop.plain[key] for key in KEYS if key in study.omop.plain} if study.omop else {}),
            **({"target_trial": target_trial(study)} if study.target_trial else {}),
        },
        "hospitals": list(results.hospitals),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "self_approved": results.self_approved,
        "versions": {"python": platform.python_version(), **{p: installed_version(p) for p in _packages(results)}},
        "analyses": [
            {
                "name": name, "method": found.method, "settings": plain(settings[name]), "n": found.n,
                "events": found.events, "hospitals": found.hospitals, "notes": list(found.notes),
                "warnings": [{"code": w.code, "text": w.text, "page": w.page} for w in found.warnings],
                "cite": [{"text": c.text, "doi": c.doi or None} for c in found.cite],
                "facts": plain(found.facts) | _hashed(found, study), "tables": plain(found.tables),
            }
            for name, found in results.findings.items()
        ],
        "release": plain(results.released),
        "left": left(results.left),
        "rounds": results.rounds,
        "bytes": results.bytes,
        "seconds": round(results.seconds, 3),
    }  # fmt: skip


def target_trial(study: Study) -> dict[str, Any]:
    """The target trial of a study, with what its names mean in OMOP records."""
    found = {**study.target_trial.to_dict(), "assignment": study.target_trial.assignment} if study.target_trial else {}
    if study.omop:
        texts = {name: study.omop.cohort(name).text for name in study.omop.compared}
        found["criteria"] = {lang: {n: described(t, lang) for n, t in texts.items()} for lang in LANGUAGES}
        tables = (study.omop.plain.get("features", {}), study.omop.plain.get("outcomes", {}))
        found["definitions"] = {name: plain(said) for table in tables for name, said in table.items()}
    return found


def model_of(found: Finding, study: Study) -> Forest | Net | Terms | None:
    """The model that a finding is delivered with: of methods that learn one, and, where the study states a licence, of
    Cox and logistic regression; None of any other."""
    if "trees" in found.arrays:
        return Forest.of(found)
    if found.method == "network":
        return Net.of(found)
    wanted = found.method == "penalised" or (found.method in ("cox", "logistic") and study.licence)
    try:
        return Terms.of(found) if wanted else None
    except StudyError:
        return None


def _hashed(found: Finding, study: Study) -> dict[str, str]:
    model = model_of(found, study)
    return {} if model is None else {"model_sha256": model.sha256}


def models(results: Results, lang: Language = "en") -> dict[str, bytes]:
    """The models that a run learned, as files by name: `NAME.json` with its card, `NAME.card.md`, the card as a page,
    of trees `NAME.xgboost.json`, which XGBoost loads, and `NAME.onnx`, of networks their parameters,
    `NAME.safetensors`."""
    made: dict[str, bytes] = {}
    result = as_dict(results) if results.findings else {"analyses": []}
    for analysis in result["analyses"]:
        name = analysis["name"]
        model = model_of(results.findings[name], results.study)
        if model is not None:
            sets = found_in(results.findings[name].tables)
            beside = {"card": card(result, analysis)} | ({"sets": sets.plain()} if sets else {})
            made |= files(name, model, beside)
            made[f"{name}.card.md"] = markdown(result, analysis, Words(lang)).encode()
    return made


def files(name: str, model: Forest | Net | Terms, beside: Mapping[str, Any]) -> dict[str, bytes]:
    """A model as files by name; what stands `beside` it in its own, such as the card."""
    made = {f"{name}.json": json.dumps({**model.plain(), **beside}).encode()}
    if isinstance(model, Net):
        made[f"{name}.safetensors"] = model.tensors()
    if isinstance(model, Forest):
        # XGBoost takes \u00e2 in a name for six letters
        made[f"{name}.xgboost.json"] = json.dumps(to_xgboost(model), ensure_ascii=False).encode()
        made[f"{name}.onnx"] = to_onnx(model)
    return made


def left(arrays: Sequence[Left]) -> list[dict[str, Any]]:
    """Arrays that left, one record per array, with rounds and bytes added up."""
    records: dict[tuple[str, ...], dict[str, Any]] = {}
    for a in arrays:
        record = records.setdefault(
            (a.analysis, a.settings, a.step, a.name),
            {"analysis": a.analysis.lstrip("_"), "step": a.step, "name": a.name, "shape": list(a.shape),
             "dims": list(a.dims), "rounds": 0, "bytes": 0, "kind": a.kind},
        )  # fmt: skip
        record["rounds"] += 1
        record["bytes"] += a.bytes
    return list(records.values())


def plain(value: Any) -> Any:
    """Numbers, strings, lists and dicts of Python alone; settings that are dataclasses become dicts."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value.item() if hasattr(value, "item") else value


def installed_version(package: str) -> str:
    """Version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
