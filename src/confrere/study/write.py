"""A study as the text of its file: what `file.parse` reads back, written so that a steward can read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from confrere.study.file import K, Spec, Study, parse, read
from confrere.study.omop import KEYS, TABLES


def written(study: Study) -> str:
    """The study file (TOML): `file.parse` makes the same study of it, of the same hash."""
    data = {key: getattr(study, key) for key in ("table", "person", "time_unit", "time_step", "horizon")}
    data |= {key: study.omop.plain.get(key) for key in KEYS} if study.omop else {}
    data |= {"bags": list(study.bags) or None}
    if data["time_unit"] == "days":
        del data["time_unit"]
    stated = ("id", "title", "purpose", "legal_basis", "people", "ends", "licence")
    about = {key: getattr(study, key) or None for key in stated}
    parts = [_table("[study]", about), _table("[data]", data)]
    parts += [_table(f"[data.columns.{_word(name)}]", said) for name, said in study.schema.to_dict().items()]
    for kind in TABLES:
        tables = study.omop.plain.get(kind, {}) if study.omop else {}
        parts += [_table(f"[{kind}.{_word(name)}]", said) for name, said in tables.items()]
    asked = {
        "allow": list(study.allow) or None,
        "alone": list(study.alone) or None,
        "k": None if study.k == K else study.k,
    }
    if any(asked.values()):
        parts.append(_table("[disclosure]", asked))
    parts += [_table("[target_trial]", study.target_trial.to_dict())] if study.target_trial else []
    parts += [_table("[[analysis]]", _analysis(spec)) for spec in study.analyses]
    return "\n".join(parts)


def sent(path: str | Path) -> tuple[str, Study]:
    """The text of a study's file as it goes to others, and the study: models that it names by files stand within."""
    text, study = Path(path).read_text(encoding="utf-8"), read(path)
    return text if parse(text, str(path)).hash == study.hash else written(study), study


def _analysis(spec: Spec) -> dict[str, Any]:
    return {"name": spec.name, "method": spec.method, "group": list(spec.group) or None, **spec.settings}


def _table(header: str, content: Mapping[str, Any]) -> str:
    lines = [f"{_word(key)} = {_value(value)}" for key, value in content.items() if value is not None]
    return "\n".join([header, *lines, ""])


def _word(key: str) -> str:
    """A key, quoted where TOML wants it."""
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    """A value in TOML, whose strings are JSON's but for one sign."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, Iterable):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return _value(msgspec.to_builtins(value))
