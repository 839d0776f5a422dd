"""Modules of features alone: a linear score, and a perceptron of some layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import nn

from confrere.analyses.networks.catalogue import Sizes
from confrere.errors import StudyError


def _some(sizes: Sizes) -> None:
    if not sizes.inputs:
        raise StudyError("the module reads features, and there are none; give `features`, or take a module of bags")


def linear(sizes: Sizes, settings: Mapping[str, Any]) -> nn.Module:
    """Scores that are linear in the features: with the binary loss, logistic regression."""
    _some(sizes)
    return nn.Sequential(OrderedDict(out=nn.Linear(sizes.inputs, sizes.outputs)))


def mlp(sizes: Sizes, settings: Mapping[str, Any]) -> nn.Module:
    """Layers `layer1`, `layer2`, ... of the widths `hidden` with ReLU and `dropout` between, and `out`."""
    _some(sizes)
    layers: dict[str, nn.Module] = {}
    for i, (before, after) in enumerate(pairwise((sizes.inputs, *settings["hidden"])), 1):
        layers |= {f"layer{i}": nn.Linear(before, after), f"relu{i}": nn.ReLU()}
        layers |= {f"dropout{i}": nn.Dropout(settings["dropout"])} if settings["dropout"] else {}
    last = settings["hidden"][-1] if settings["hidden"] else sizes.inputs
    return nn.Sequential(OrderedDict(layers, out=nn.Linear(last, sizes.outputs)))
