"""A model that a study names by its file: what stands in the study is the model itself, and its hash is over it.

    learnt = "models/risk.json"     # of a result, beside the study file

`embedded` puts the model there when the file of a study is read, without its card and its signatures, so that stewards
approve, and hospitals predict with, these very bytes. Nothing in it is code. Of the card the outcome that the model was
learned with goes along, which trees and regressions do not tell themselves.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from confrere.errors import StudyError

SETTING = "learnt"  # of analyses: the model's file, or the model
TENSORS = "tensors"  # the parameters of a network, which lie in a file of their own
BESIDE = ("card", "signatures")  # what a model's file says of it, and is no part of it
PREDICTS = "predicts"  # of a model in a study: the outcome that it was learned with
LARGEST = 900_000  # bytes of a model in a study


class Outcome(NamedTuple):
    """What a model predicts: a column or `Surv(time, event)`, and the levels of its column or event, if it has any."""

    name: str
    levels: tuple[str, ...]

    def __str__(self) -> str:
        of_two = len(self.levels) == 2 and not self.name.startswith("Surv(")
        return f"{self.name} = {self.levels[1]}" if of_two else self.name


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
        plain = parsed(path.read_text(encoding="utf-8"))
        bare = {key: value for key, value in plain.items() if key not in BESIDE}
        if said := dict(plain.get("card", {})).get(PREDICTS):
            bare[PREDICTS] = {key: said[key] for key in ("outcome", "levels")}
        if "weights_sha256" in bare:
            bare[TENSORS] = base64.b64encode(path.with_suffix(".safetensors").read_bytes()).decode()
    except (OSError, ValueError, TypeError, KeyError, StudyError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON of one"
        raise StudyError(f"{SETTING}: {path} is no model ({reason}); give models/NAME.json of a result") from None
    text = json.dumps(bare, sort_keys=True)
    if len(text) > LARGEST:
        raise StudyError(
            f"{SETTING}: the model in {path} has {len(text)} bytes; a study has room for {LARGEST}. Learn fewer or "
            f"shallower trees, or have each hospital predict, and evaluate the column: risk = ..."
        )
    return text


@lru_cache(maxsize=4)
def predicts(text: str) -> Outcome | None:
    """The outcome that the model of a study was learned with; None where its file does not say. StudyError where what
    stands there is none."""
    said = parsed(text).get(PREDICTS)
    if said is None:
        return None
    name, levels = (said.get("outcome"), said.get("levels")) if isinstance(said, dict) else (None, None)
    if not (isinstance(name, str) and isinstance(levels, list) and all(isinstance(one, str) for one in levels)):
        raise StudyError(f"{SETTING}: the model does not say what it predicts; give models/NAME.json of a result")
    return Outcome(name, tuple(levels))


def renamed(text: str, here: Outcome) -> tuple[str, ...]:
    """A note where the outcome here is of another name or level than that which the model of a study was learned with.

    StudyError where the levels are others of the same column, or the same in another order: the risk would be that of
    who has not the outcome.
    """
    was = predicts(text) if text else None
    if was is None:
        return ()
    same = "".join(was.name.split()) == "".join(here.name.split())
    of_classes = len(here.levels) > 2 and not here.name.startswith("Surv(")
    others = was.levels and here.levels and was.levels != here.levels
    if others and (same or of_classes or set(was.levels) == set(here.levels)):
        raise StudyError(
            f"{SETTING}: the model was learned with the levels {list(was.levels)} of {was.name!r}, and the study has "
            f"{list(here.levels)} of {here.name!r}; declare the same ones in the same order"
        )
    if same and was.levels == here.levels:
        return ()
    return (f"The model was learned to predict {was}; here its risks are compared with {here}.",)


def shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a person reads them: of a model in them, the beginning of the SHA-256 of its text."""
    said = settings.get(SETTING)
    if not isinstance(said, str) or not is_model(said):
        return dict(settings)
    return {**settings, SETTING: f"SHA-256 {hashlib.sha256(said.encode()).hexdigest()[:16]}"}
