"""A model whose risks are put right, as a model of its own: what it adds up is moved by an intercept and a slope.

An evaluation finds the logistic regression of the outcome on the logit of the risk, and the model with the risk
expit(intercept + slope * logit(risk)) is again one of the same kind: coefficients, leaves, or the last layer times the
slope. Of hazards the slope is that of Cox's model of the complementary log-log of the risk: hazard ratios are raised to
it, and the intercept is in the baseline. Of a network of discrete time the line is that of the complementary log-log of
the risk by the end of its last interval, and stands beside the weights, since no layer adds that up. Of three classes
or more each has an intercept of its own (`evaluate_classes`). Source: Cox, Biometrika 1958;45:562; Van Hoorde et al.,
Stat Med 2014;33:2585 (classes); Steyerberg, Clinical Prediction Models, 2nd ed. 2019, chapter 20; van Houwelingen, Stat
Med 2000;19:3401.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from confrere.analyses.learning.forest import Forest
from confrere.analyses.learning.released import Model, by, classes_of, ranks
from confrere.analyses.learning.terms import Terms
from confrere.analyses.networks.model import Net
from confrere.errors import StudyError
from confrere.rounds import Array

LOGIT = ("binomial", "binary")  # families and objectives whose score is the logit of a risk


def recalibrated(model: Model, intercept: float | Sequence[float], slope: float) -> Model:
    """The model whose score is intercept + slope * score; of hazards the intercept is 0, of classes one for each.

    Of discrete time it is the complementary log-log of the risk that moves.

    StudyError where the score is no logit of a risk nor a log hazard ratio, or the slope would turn the order round.
    """
    kind = model.family if isinstance(model, Terms) else model.objective
    logit = kind in LOGIT and not (isinstance(model, Terms) and model.link != "logit")
    if not (ranks(model) or by(model) or classes_of(model) or logit):
        raise StudyError(f"the model predicts no risk by its logit, and no hazards ({kind}); learn it anew instead")
    starts = np.atleast_1d(np.asarray(intercept, dtype=float))
    if len(starts) != (wanted := classes_of(model) or 1):
        raise StudyError(f"{len(starts)} intercepts, and the model has {wanted} scores; give one for each")
    if not (np.isfinite(starts).all() and np.isfinite(slope) and slope > 0):
        raise StudyError(f"the slope is {slope:g}: the risks order these people the other way; learn the model anew")
    if isinstance(model, Terms):
        own = model.coefficients if len(model.coefficients) > len(model.names) else (0.0, *model.coefficients)
        moved = tuple(slope * one for one in own)
        return replace(model, coefficients=moved[1:] if ranks(model) else (float(starts[0]) + moved[0], *moved[1:]))
    if isinstance(model, Forest):
        trees = tuple(tree._replace(value=slope * tree.value) for tree in model.trees)
        return replace(model, base=tuple((starts + slope * np.array(model.base)).tolist()), trees=trees)
    return _network(model, starts, slope)


def _network(net: Net, intercept: Array, slope: float) -> Net:
    """The last layer times the slope; tried on a few people, since a module may do anything with it."""
    if net.bags or net.personal:
        raise StudyError("the network reads images, or has layers that stayed in the hospitals; learn it anew instead")
    if by(net):
        return replace(net, line=(float(intercept[0]) + slope * net.line[0], slope * net.line[1]))
    *_, weight, bias = [p.numel() for p in net.built.parameters()] if net.weights.size > 1 else [0, 0]
    weights = net.weights.copy()
    weights[weights.size - weight - bias :] *= slope
    weights[weights.size - bias :] += intercept
    made = replace(net, weights=weights)
    tried = np.random.default_rng(0).normal(size=(8, len(net.names)))
    if bias != net.sizes.outputs or not np.allclose(made.score(tried), intercept + slope * net.score(tried), atol=1e-9):
        raise StudyError(
            f"the last layer of the module {net.module!r} is not linear in the score; learn it anew instead"
        )
    return made
