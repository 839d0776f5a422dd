"""A trained network as data: what predicts a hospital's own people, and is written as safetensors and JSON.

Features are standardised by the means and SDs of the people of training, over the network; scores come out of the
module as its loss has them. Of a number the outcome was standardised too, and predictions are turned back. The file
`NAME.safetensors` holds the parameters by their names in 64-bit floats, `NAME.json` all else, with their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from confrere.analyses.finding import Finding
from confrere.analyses.networks.catalogue import Sizes, built, needs_torch
from confrere.errors import StudyError
from confrere.rounds import Array
from confrere.study.ground import Ground, model_of
from confrere.study.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

FORMAT = "confrere-network/1"
STRAIGHT = (0.0, 1.0)  # intercept and slope of a risk as it was learned


@dataclass(frozen=True, eq=False)
class Net:
    """A model.

    outcome    what is predicted, and `levels` where these are 3 or more
    formula    `outcome ~ features`, on `ground`
    mean, sd   (p,) of the features, and of the outcome, last; 0 and 1 where that is no number
    intervals  right ends, of `discrete`
    personal   layers that stayed in the hospitals: here they are as they began, and nobody is predicted
    weights    (parameters,) all, in the module's order
    bag_recipe how the rows of the bags were made; other bags are refused
    line       intercept and slope of a recalibration of `discrete`: of the complementary log-log of the risk
    """

    objective: str
    outcome: str
    levels: tuple[str, ...]
    formula: str
    module: str
    settings: Mapping[str, Any]
    sizes: Sizes
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    intervals: tuple[float, ...]
    personal: tuple[str, ...]
    bags: str
    weights: Array = field(repr=False)
    ground: Ground = Ground()
    line: tuple[float, float] = STRAIGHT
    bag_recipe: str = ""

    @property
    def built(self) -> nn.Module:
        """The module, with other weights than these."""
        from confrere.analyses.networks.training import repeatable

        with repeatable(0):
            return built(self.module, self.sizes, self.settings).double()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a prediction reads."""
        model = model_of(self.formula, self.ground)
        left = {name for part in (model.outcome.expressions() if model.outcome else ()) for name in part.sources()}
        return tuple(name for name in model.columns if name not in left)

    @property
    def names(self) -> tuple[str, ...]:
        """The features (p,)."""
        return model_of(self.formula, self.ground).names

    def standardised(self, x: Array) -> Array:
        """Features (n, p) as the module reads them."""
        return np.asarray((x - np.array(self.mean[:-1])) / np.array(self.sd[:-1]))

    def score(self, x: Array, bag: Any = None) -> Array:
        """Scores (n, outputs) of people with raw features x (n, p), NaN where one is missing; `bag` gives the rows of
        the i-th. StudyError where layers stayed in the hospitals, or bags are wanted."""
        from confrere.analyses.networks.training import Rows, scores

        if self.personal:
            raise StudyError(f"the layers {', '.join(self.personal)} stayed in each hospital; the model is not whole")
        if self.bags and bag is None:
            raise StudyError("the network reads images beside the table: predict with its file, `confrere predict`")
        places = np.flatnonzero(np.isfinite(x).all(axis=1))
        rows = Rows(
            self.standardised(x[places]), np.zeros(len(places)), None if bag is None else lambda i: bag(int(places[i]))
        )
        out = np.full((len(x), self.sizes.outputs), np.nan)
        out[places] = scores(self.built, self.weights, rows)
        return out

    def scored(self, frame: pd.DataFrame, bags: Any = None, ids: Any = ()) -> Array:
        """Scores (N, outputs) of the people of a table, NaN where a feature is missing, or the bag of a network of
        images: `bags` (`confrere.data.bags.Bags`) knows people by their `ids` (N,)."""
        x = self.features(frame)
        if not self.bags or bags is None:
            return self.score(x)
        out, places = np.full((len(x), self.sizes.outputs), np.nan), np.flatnonzero(bags.known(ids))
        out[places] = self.score(x[places], lambda i: bags.of(ids[places[i]]))
        return out

    def index(self, score: Array) -> Array:
        """Scores (n, outputs) as they add up: of discrete time (n, 1), the complementary log-log of the risk."""
        if self.objective != "discrete":
            return score
        return np.asarray(self.line[0] + self.line[1] * np.log(_cumulated(score))[:, None])

    def contributions(self, x: Array, bag: Any = None) -> Array:
        """What each feature adds to the index (n, p, outputs): less what it is with the mean of the people of training
        in its place. NaN as `score`."""
        whole = self.index(self.score(x, bag))
        out = np.empty((len(x), x.shape[1], whole.shape[1]))
        for j in range(x.shape[1]):
            changed = np.where(np.isnan(x[:, j]), np.nan, self.mean[j])  # a missing value stays one
            out[:, j] = whole - self.index(self.score(np.column_stack([x[:, :j], changed, x[:, j + 1 :]]), bag))
        return out

    def features(self, frame: pd.DataFrame) -> Array:
        """The raw features (n, p) of a table, NaN where missing. DataError names a missing column."""
        right = self.formula.partition("~")[2]
        if right.strip() == "1":
            return np.empty((len(frame), 0))
        model = model_of(f"~ {right}", self.ground)
        return model.evaluate(frame, {name: (mean, sd) for name, mean, sd in self.ground.pooled}).x

    def prediction(self, score: Array) -> Array:
        """What scores (n, outputs) mean: probabilities (n,) or (n, levels), the outcome, rates, hazard ratios to who
        has the score 0, or the risk of an event by the end of the last interval."""
        if self.line != STRAIGHT:
            return np.asarray(-np.expm1(-np.exp(self.index(score)[:, 0])))
        return predicted(self.objective, score, self.mean[-1], self.sd[-1])

    @property
    def sha256(self) -> str:
        """Hash of the model: equal where settings and parameters are the same to the bit."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The model as plain data, but for the parameters, whose hash it has."""
        keys = ("objective", "outcome", "levels", "formula", "module", "intervals", "personal", "bags", "mean", "sd")
        about = {key: _listed(getattr(self, key)) for key in keys}
        digest = hashlib.sha256(np.ascontiguousarray(self.weights, dtype="<f8").tobytes()).hexdigest()
        read = {*model_of(self.formula, self.ground).columns, self.outcome}
        columns = {name: said for name, said in self.ground.schema.to_dict().items() if name in read}
        return {
            "format": FORMAT, **about, "settings": {k: _listed(v) for k, v in self.settings.items()},
            "sizes": dict(self.sizes._asdict()), "columns": columns, "parameters": int(self.weights.size),
            **({"line": list(self.line)} if self.line != STRAIGHT else {}),
            **({"bag_recipe": self.bag_recipe} if self.bag_recipe else {}),
            "pooled": [list(one) for one in self.ground.pooled], "weights_sha256": digest,
        }  # fmt: skip

    def tensors(self) -> bytes:
        """The parameters by their names, as safetensors."""
        from safetensors.numpy import save

        found, at = {}, 0
        for name, p in self.built.named_parameters():
            found[name] = np.ascontiguousarray(self.weights[at : at + p.numel()].reshape(p.shape))
            at += p.numel()
        return bytes(save(found, metadata={"format": FORMAT}))

    @classmethod
    def of(cls, finding: Finding) -> Net:
        """The model that a finding holds. StudyError where it holds none."""
        if "weights" not in finding.arrays or finding.method != "network":
            raise StudyError(f"{finding.method} has no network; the method 'network' has one")
        a = finding.analysis
        mean, sd = (tuple(np.asarray(finding.arrays[key]).tolist()) for key in ("mean", "sd"))
        return cls(
            a.goal, a.outcome, a.levels, a.formula, a.module, a.made, a.sizes, mean, sd, a.intervals, a.personal,
            a.bags, np.asarray(finding.arrays["weights"]), a.ground, bag_recipe=a.bag_recipe,
        )  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], tensors: bytes) -> Net:
        """The inverse of `plain` and `tensors`. StudyError where they are something else, or not of one model."""
        needs_torch()
        import torch
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if plain.get("format") != FORMAT:
            raise StudyError(f"this is no network as Confrere writes it ({FORMAT})")
        schema = Schema.from_dict(plain["columns"])
        ground = Ground(schema, pooled=tuple((str(n), float(m), float(s)) for n, m, s in plain["pooled"]))
        try:
            sizes, parts = Sizes(**plain["sizes"]), load(tensors)
        except SafetensorError as error:
            raise StudyError(f"the parameters beside it cannot be read ({error})") from None
        with torch.device("meta"):  # of its shapes alone: whoever wrote the file may ask for any size
            shapes = {
                name: tuple(p.shape) for name, p in built(plain["module"], sizes, plain["settings"]).named_parameters()
            }
        if {name: part.shape for name, part in parts.items()} != shapes:
            raise StudyError("the parameters beside it are not those of its module")
        weights = np.concatenate([np.ravel(parts[name]) for name in shapes])
        lists: dict[str, Any] = {key: tuple(plain[key]) for key in ("levels", "mean", "sd", "intervals", "personal")}
        names: dict[str, Any] = {key: plain[key] for key in ("objective", "outcome", "formula", "module", "bags")}
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["settings"].items()}
        a, b = (float(one) for one in plain.get("line", STRAIGHT))
        if not (np.isfinite(a) and 0 < b < np.inf) or ("line" in plain and names["objective"] != "discrete"):
            raise StudyError("its line must be an intercept and a slope above 0, of a network of discrete time")
        numbers = [np.array(one, dtype=float) for one in (lists["mean"], lists["sd"], weights)]
        if not (all(np.isfinite(one).all() for one in numbers) and (numbers[1] >= np.finfo(float).tiny).all()):
            raise StudyError("it has parameters, means or standard deviations that are no numbers, or none above 0")
        names["bag_recipe"] = str(plain.get("bag_recipe", ""))
        made = cls(**names, **lists, settings=settings, sizes=sizes, weights=weights, ground=ground, line=(a, b))
        if made.plain()["weights_sha256"] != plain["weights_sha256"]:
            raise StudyError("the parameters are not those of this model: their SHA-256 differs")
        return made


def predicted(objective: str, score: Array, mean: float = 0.0, sd: float = 1.0) -> Array:
    """What scores (n, outputs) mean; `mean` and `sd` of the outcome turn back numbers."""
    if objective == "binary":
        return np.asarray(special.expit(score[:, 0]))
    if objective == "multiclass":
        return np.asarray(special.softmax(score, axis=1))
    if objective == "squared":
        return np.asarray(mean + sd * score[:, 0])
    if objective == "discrete":
        return np.asarray(1 - np.exp(-_cumulated(score)))
    return np.asarray(np.exp(score[:, 0]))


def _cumulated(score: Array) -> Array:
    """The hazard (n,) to the end of the last interval, NaN where scores are."""
    with np.errstate(invalid="ignore"):  # of a missing score
        return np.asarray(np.logaddexp(0, score).sum(axis=1))


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
