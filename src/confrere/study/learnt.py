"""A model that a study names by its file: what stands in the study is the model itself, and its hash is over it.

    learnt = "models/risk.json"     # of a result, beside the study file

`embedded` puts the model there when the file of a study is read, without its card and its signatures, so that stewards
approve, and hospitals predict with, these very bytes. Nothing in it is code.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confrere.errors import StudyError

SETTING = "learnt"  # of analyses: the model's file, or the model
TENSORS = "tensors"  # the parameters of a network, which lie in a file of their own
BESIDE = ("card", "signatures")  # what a model's file says of it, and is no part of it
LARGEST = 900_000  # bytes of a model in a study


def embedded(settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Settings of an analysis, the model that they name by a file in their place. StudyError where there is none."""
    said = settings.get(SETTING)
    if not isinstance(said, str) or is_model(said):
        return settings
    return {**settings, SETTING: written(folder / said)}


def is_model(text: str) -> bool:
    """Whether a setting is the model itself, and no file's name."""
    return text.lstrip().startswith("{")


def parsed(text: str) -> dict[str, Any]:
    """The content of a model's file, which may come from anybody. StudyError where it is no JSON of one."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(f"it is no JSON of a model: {error}") from None
    if not isinstance(plain, dict):
        raise StudyError("it is no JSON of a model, which has names and values")
    return plain


def written(path: Path) -> str:
    """A model's file as it stands in a study: one canonical text. StudyError where it is none, or too large."""
    try:
        bare = {key: value for key, value in parsed(path.read_text(encoding="utf-8")).items() if key not in BESIDE}
        if "weights_sha256" in bare:
            bare[TENSORS] = base64.b64encode(path.with_suffix(".safetensors").read_bytes()).decode()
    except (OSError, ValueError, StudyError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON of one"
        raise StudyError(f"{SETTING}: {path} is no model ({reason}); give models/NAME.json of a result") from None
    text = json.dumps(bare, sort_keys=True)
    if len(text) > LARGEST:
        raise StudyError(
            f"{SETTING}: the model in {path} has {len(text)} bytes; a study has room for {LARGEST}. Learn fewer or "
            f"shallower trees, or have each hospital predict, and evaluate the column: risk = ..."
        )
    return text


def shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a person reads them: of a model in them, the beginning of the SHA-256 of its text."""
    said = settings.get(SETTING)
    if not isinstance(said, str) or not is_model(said):
        return dict(settings)
    return {**settings, SETTING: f"SHA-256 {hashlib.sha256(said.encode()).hexdigest()[:16]}"}
