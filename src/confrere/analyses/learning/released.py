"""Models that were learned, opened from their files: what a hospital predicts its own people with, in a list of its own
and in an evaluation.

`opened` takes the text that stands in a study (`study.learnt`). A model is data, and may come from anybody: what cannot
be one is refused before it is used.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from confrere.analyses.cox import Cox
from confrere.analyses.finding import Finding
from confrere.analyses.learning import terms
from confrere.analyses.learning.boosting import Boosting
from confrere.analyses.learning.conformal import Conformal
from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.penalised import Penalised
from confrere.analyses.learning.terms import Terms
from confrere.analyses.logistic import Logistic
from confrere.analyses.networks import model as networks
from confrere.analyses.networks.model import Net
from confrere.analyses.networks.network import Network
from confrere.errors import StudyError, UserError
from confrere.rounds import Array
from confrere.study.ground import Ground
from confrere.study.learnt import SETTING, TENSORS, is_model, parsed
from confrere.study.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

Model = Forest | Net | Terms
LEARN = ("boosting", "network", *terms.METHODS)  # methods that fit a model
CLASSES = "multiclass"  # the objective whose prediction is a probability of each class
FAMILIES = {"binomial": "binary", "gaussian": "squared", "gamma": "squared"}  # of regressions, by their objective
RISKS = ("binary", "discrete")  # objectives whose prediction is a probability
NOTHING: Mapping[str, Any] = {"outcome": "", "levels": [], "time_unit": ""}  # of what a card says that is predicted
WRONG = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, MemoryError, UserError)


def of(finding: Finding) -> Model:
    """The model that a finding holds. StudyError where it holds none."""
    if finding.method not in LEARN:
        raise StudyError(f"{finding.method} has no model; {', '.join(LEARN)} have one")
    kinds: dict[str, type[Model]] = {"boosting": Forest, "network": Net}
    return kinds.get(finding.method, Terms).of(finding)


def defaults(method: str) -> dict[str, Any]:
    """The settings of a method that fits a model, with what they are by default; none of those that have to be set."""
    kinds: dict[str, type[Any]] = {
        "boosting": Boosting, "network": Network, "penalised": Penalised, "cox": Cox, "logistic": Logistic
    }  # fmt: skip
    given = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(kinds[method])}
    return {name: value for name, value in given.items() if value is not MISSING and name != "ground"}


def of_plain(plain: Mapping[str, Any], tensors: bytes = b"") -> Model:
    """The model of a file's content, and of a network's parameters. One of `WRONG`: it is none, or what stands beside
    it is not as it is written."""
    kinds: dict[object, Callable[[], Model]] = {
        networks.FORMAT: lambda: Net.from_plain(plain, tensors), terms.FORMAT: lambda: Terms.from_plain(plain)
    }  # fmt: skip
    model = kinds.get(plain.get("format"), lambda: Forest.from_plain(plain))()
    if sets := plain.get("sets"):
        classes = max(2, classes_of(model))
        if len(Conformal.from_plain(sets).levels) != classes:
            raise StudyError(f"its sets of classes are not of its {classes} classes")
    known = plain.get("baseline") or {"survival": 0.5, "times": 1.0}
    if not (0 < float(known["survival"]) < 1 and 0 < float(known["times"]) < np.inf):
        raise StudyError("its baseline must have a survival between 0 and 1, and a time above 0")
    what = plain.get("card", {}).get("predicts", NOTHING)
    if not all(isinstance(what[key], type(of)) for key, of in NOTHING.items()):
        raise StudyError("its card does not say what it predicts")
    return model


def read(path: Path) -> Model:
    """The model in a file. StudyError where there is none."""
    try:
        plain = parsed(path.read_text(encoding="utf-8"))
        return of_plain(plain, path.with_suffix(".safetensors").read_bytes() if "weights_sha256" in plain else b"")
    except WRONG as error:
        raise StudyError(
            f"{path} is no model that Confrere wrote ({error}); give models/NAME.json of a result"
        ) from None


@lru_cache(maxsize=4)
def opened(text: str) -> Model:
    """The model that stands in a study. StudyError where it is none, or the study names a file in its place."""
    if not is_model(text):
        raise StudyError(
            f"{SETTING} is {text!r}, a file, and the study goes to others with the model within. Run or submit it by "
            f"its path, and the model is put there"
        )
    try:
        plain = parsed(text)
        return of_plain(plain, base64.b64decode(plain.get(TENSORS, "")))
    except WRONG as error:
        raise StudyError(f"{SETTING}: this is no model that Confrere wrote ({error})") from None


def reader(forest: Forest) -> Boosting:
    """What reads a forest's features from a table. StudyError where it has features that no table has."""
    levels: dict[str, list[str]] = {}
    for name in forest.features:
        column, bracket, level = name.partition("[")
        if bracket:
            levels.setdefault(column, []).append(level.removesuffix("]"))
    schema = Schema({name: Column(name, tuple(values)) for name, values in levels.items()})
    features = tuple(dict.fromkeys(name.partition("[")[0] for name in forest.features))
    made = Boosting("", features, forest.objective, ground=Ground(schema))
    if made.terms != forest.features:
        raise StudyError(f"the model reads {', '.join(forest.features)}, which no table has; was it changed?")
    return made


def columns_of(model: Model) -> tuple[str, ...]:
    """The columns that a prediction reads."""
    return reader(model).features if isinstance(model, Forest) else model.columns


def schema_of(model: Model) -> Schema:
    """The levels that a model knows, of columns that have some."""
    known = reader(model).ground.schema if isinstance(model, Forest) else model.ground.schema
    return Schema({name: c for name, c in known.columns.items() if name in columns_of(model) and c.levels is not None})


def valued(model: Model) -> dict[str, tuple[float, ...]]:
    """Values of a forest's numeric features between all its cuts, with which it predicts all that it may."""
    if not isinstance(model, Forest):
        return {}
    found: dict[str, tuple[float, ...]] = {}
    for j, name in enumerate(model.features):
        cuts = np.unique([c for t in model.trees for c in t.cut[t.feature == j] if np.isfinite(c)])
        if cuts.size and "[" not in name:
            found[name] = (float(cuts[0]) - 1, *((cuts[1:] + cuts[:-1]) / 2).tolist(), float(cuts[-1]) + 1)
    return found


def kind(model: Model) -> str:
    """What a model predicts, by the objectives of boosted trees and networks."""
    return FAMILIES.get(model.family, model.family) if isinstance(model, Terms) else model.objective


def ranks(model: Model) -> bool:
    """Whether a prediction is a hazard ratio, which orders people, and is a risk with a baseline alone."""
    return kind(model) == "cox"


def by(model: Model) -> float:
    """The time by which a network of discrete time predicts the risk; 0 of models whose risk has none."""
    return model.intervals[-1] if isinstance(model, Net) and model.intervals else 0.0


def classes_of(model: Model) -> int:
    """Of how many classes a model predicts the probabilities; 0 where it predicts one number."""
    if isinstance(model, Terms) or model.objective != CLASSES:
        return 0
    return model.classes if isinstance(model, Forest) else len(model.levels)


def check(model: Model, levels: tuple[str, ...] = ()) -> None:
    """StudyError where a model predicts no risk of one outcome, or not of its three `levels` or more, or cannot be
    carried to a hospital."""
    what = kind(model)
    named = tuple(model.levels) if isinstance(model, Net) else ()
    if levels and (classes_of(model) != len(levels) or (named and named != levels)):
        raise StudyError(
            f"{SETTING}: the outcome has the levels {', '.join(levels)}, and the model predicts "
            f"{', '.join(named) or classes_of(model) or 'one number'}. Declare those that it was learned with"
        )
    if not levels and what not in RISKS and not ranks(model):
        raise StudyError(
            f"{SETTING}: the model predicts no risk ({what}); evaluate one of an outcome of two levels, or of a "
            f"time to an event; or declare the three levels or more of the outcome of a model of classes"
        )
    if isinstance(model, Net) and model.personal:
        raise StudyError(
            f"{SETTING}: the network has layers that stayed in the hospitals; have each hospital predict with it, and "
            f"evaluate the column: risk = ..."
        )


def risks(model: Model, frame: pd.DataFrame, baseline: float | None = None, bags: Any = None, ids: Any = ()) -> Array:
    """The predicted risk (N,) of the people of a table, of classes (N, K), NaN where a regression or a network misses
    a value, or a network of images the person's among `bags` (`confrere.data.bags.Bags`), by `ids` (N,).

    `baseline` is the survival of somebody whose hazard ratio is 1, where a model `ranks`. DataError: a missing column.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are too large, in a model of anybody's making
        if isinstance(model, Forest):
            found = model.prediction(model.score(reader(model).values(frame)))
        else:
            score = model.score(frame) if isinstance(model, Terms) else model.scored(frame, bags, ids)
            found = model.prediction(score)
        if not ranks(model) or baseline is None:
            return np.asarray(found)
        return np.asarray(-np.expm1(found * np.log(baseline)))
