"""Dummy people, made from what a study declares alone: for the manifest, which nobody's data may shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from confrere.data.table import Table
from confrere.study.ground import Ground
from confrere.study.schema import Schema


def dummy(columns: Sequence[str], schema: Schema, roles: Mapping[str, str], ground: Ground, *, seed: int) -> Table:
    """A table of 600 dummy people. `roles` marks columns that are `time`, `entry`, `event` or `positive`."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    n = 600
    made: dict[str, Any] = {}
    for name in columns:
        levels = schema.levels(name)
        if levels is not None:
            codes = np.concatenate([np.arange(len(levels)), rng.integers(0, len(levels), n - len(levels))])
            made[name] = pd.Categorical.from_codes(codes, list(levels))
        else:
            made[name] = _numbers(roles.get(name, ""), schema.column(name).range, ground, rng, n)
    return Table(pd.DataFrame(made), n, {}, {}, "dummy people")


def _numbers(
    role: str, span: tuple[float, float] | None, ground: Ground, rng: np.random.Generator, n: int
) -> np.ndarray[Any, Any]:
    """Numbers that fit a role: times on the grid, events, groups, or anything positive."""
    if role == "time":
        end = ground.horizon or 60 * ground.width
        return np.asarray(np.ceil(rng.uniform(0.05, 1.0, n) * end / ground.width) * ground.width)
    if role == "entry":
        return np.zeros(n)
    if role in ("event", "group"):
        return rng.integers(0, 2, n).astype(float)
    if span is not None:
        return rng.uniform(*span, n)
    return np.exp(rng.normal(1.0, 0.4, n))
