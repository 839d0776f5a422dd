"""A regression as data: what predicts a hospital's own people once it is released, as `forest` is of boosted trees.

The score of a person is the sum over terms of coefficient times value. Of Cox's model the prediction is the hazard
ratio to the mean person where the fit knows one, else to somebody whose terms are all 0; of the others the mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from confrere.analyses.families import family_of
from confrere.analyses.finding import Finding
from confrere.errors import StudyError
from confrere.rounds import Array
from confrere.study.ground import Ground, model_of
from confrere.study.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "confrere-terms/1"
METHODS = ("penalised", "cox", "logistic")


@dataclass(frozen=True, eq=False)
class Terms:
    """A model: coefficients of the terms of a formula, the intercept first where there is one.

    family  `cox`, or as in `glm`, with its `link`
    centre  (p,) the terms of the person with whom Cox's model compares; empty: all 0
    ground  levels, ranges, and the moments by which the formula standardises
    """

    method: str
    formula: str
    family: str
    link: str
    coefficients: tuple[float, ...]
    centre: tuple[float, ...]
    ground: Ground

    @property
    def names(self) -> tuple[str, ...]:
        """The terms (p,), without the intercept."""
        return model_of(self.formula, self.ground).names

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a prediction reads."""
        model = model_of(self.formula, self.ground)
        left = {name for part in (model.outcome.expressions() if model.outcome else ()) for name in part.sources()}
        return tuple(name for name in model.columns if name not in left)

    def parts(self, table: pd.DataFrame) -> Array:
        """What each term adds to the score, (n, p); NaN where a value is missing."""
        from confrere.analyses.predict import evaluated

        return np.asarray(evaluated(self, table).x * np.array(self.coefficients[-len(self.names) :]))

    def contributions(self, table: pd.DataFrame) -> Array:
        """What each term adds to the score (n, p), less its mean in the table; NaN of who misses a value."""
        parts = self.parts(table)
        known = np.asarray(~np.isnan(parts).any(axis=1))
        return np.where(known[:, None], parts - (parts[known].mean(axis=0) if known.any() else 0.0), np.nan)

    def score(self, table: pd.DataFrame) -> Array:
        """The linear predictor (n,), NaN where a value is missing; without the offset, which new people have not."""
        start = self.coefficients[0] if len(self.coefficients) > len(self.names) else 0.0
        slopes = np.array(self.coefficients[-len(self.names) :])
        return np.asarray(self.parts(table).sum(axis=1) + start - (slopes @ self.centre if self.centre else 0.0))

    def prediction(self, score: Array) -> Array:
        """What scores mean: hazard ratios, probabilities, rates or the outcome itself."""
        if self.family == "cox":
            return np.exp(score)
        return family_of(self.family, self.link)[1].mean(score).mu

    @property
    def sha256(self) -> str:
        """Hash of the model: equal where formula, levels and coefficients are the same to the bit."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The model as plain data; floats as Python spells them, which loses no bit."""
        about = {key: getattr(self, key) for key in ("method", "formula", "family", "link")}
        numbers = {key: list(getattr(self, key)) for key in ("coefficients", "centre")}
        pooled = [list(one) for one in self.ground.pooled]
        columns = {name: said for name, said in self.ground.schema.to_dict().items() if name in self.columns}
        return {"format": FORMAT, **about, "terms": list(self.names), **numbers, "columns": columns, "pooled": pooled}

    @classmethod
    def of(cls, finding: Finding) -> Terms:
        """The model that a finding holds. StudyError where it holds none."""
        analysis = finding.analysis
        if finding.method not in METHODS or "estimate" not in finding.arrays:
            raise StudyError(f"{finding.method} has no model of terms; {', '.join(METHODS)} have one")
        if model_of(analysis.formula, analysis.ground).offsets:
            raise StudyError(f"{analysis.formula!r} has an offset, which new people have not; it makes no model")
        family = "cox" if finding.method == "cox" else getattr(analysis, "family", "binomial")
        link = "" if family == "cox" else str(finding.facts.get("link", "logit"))
        slopes, centre = (_numbers(finding.arrays.get(key, ())) for key in ("estimate", "centre"))
        return cls(finding.method, analysis.formula, family, link, slopes, centre, analysis.ground)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Terms:
        """The inverse of `plain`. StudyError where it is something else, FormulaError for a formula that is none."""
        if plain.get("format") != FORMAT:
            raise StudyError(f"this is no model of a regression as Confrere writes it ({FORMAT})")
        schema = Schema.from_dict(plain["columns"])
        ground = Ground(schema, pooled=tuple((str(n), float(m), float(s)) for n, m, s in plain["pooled"]))
        method, formula, family, link = (str(plain[key]) for key in ("method", "formula", "family", "link"))
        slopes, centre = (_numbers(plain[key]) for key in ("coefficients", "centre"))
        made = cls(method, formula, family, link, slopes, centre, ground)
        if not np.isfinite((*slopes, *centre)).all():
            raise StudyError("the model has coefficients that are no numbers")
        if list(made.names) != list(plain["terms"]) or len(made.coefficients) - len(made.names) not in (0, 1):
            raise StudyError(f"the model has coefficients of {', '.join(plain['terms'])}, which its formula has not")
        return made


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype=float).tolist())
