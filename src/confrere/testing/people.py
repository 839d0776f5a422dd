"""Generated patients: small tables with every kind of column, on whole days so that times tie."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from confrere.study.schema import Column, Schema
from confrere.testing.runs import typed

HOSPITALS = ("h0", "h1", "h2", "h3")
LEVELS = {
    "arm": ("a", "b"), "stage": ("I", "II", "III"), "fate": ("alive", "relapse", "death"), "hospital": HOSPITALS,
}  # fmt: skip
SCHEMA = Schema({name: Column(name, levels) for name, levels in LEVELS.items()})


@lru_cache
def patients(n: int, seed: int = 1) -> pd.DataFrame:
    """`n` patients followed for up to six years; `gap` and `part` miss some of their values."""
    rng = np.random.default_rng(seed)
    x1, x2 = np.round(np.clip(rng.normal(0, 1, n), -3, 3), 3), np.round(rng.uniform(0, 10, n), 3)
    treated = (rng.random(n) < 0.5).astype(float)
    eta = 0.4 * x1 - 0.1 * (x2 - 5) - 0.5 * treated
    time = np.clip(np.ceil(rng.exponential(900 * np.exp(-eta))), 2, 2190)
    event = (rng.random(n) < 0.7).astype(float)
    frame = pd.DataFrame(
        {
            "x1": x1, "x2": x2, "treated": treated, "time": time, "event": event,
            "entry": np.where(rng.random(n) < 0.5, 0.0, np.floor(time * rng.uniform(0, 0.8, n))),
            "y": np.round(1 + x1 - 0.3 * x2 + rng.normal(0, 1, n), 3),
            "ill": (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float),
            "visits": rng.poisson(np.exp(0.5 + 0.3 * eta)).astype(float),
            "cost": np.round(rng.gamma(3.0, np.exp(0.3 * eta) / 3.0) + 0.05, 3),
            "w": rng.choice([1.0, 1.5, 2.0], n),
            "gap": np.where(rng.random(n) < 0.2, np.nan, np.round(rng.normal(50, 9, n), 1)),
        }
    )  # fmt: skip
    frame["arm"] = rng.choice(LEVELS["arm"], n)
    frame["stage"] = rng.choice(LEVELS["stage"], n)
    frame["fate"] = np.where(event > 0, rng.choice(LEVELS["fate"][1:], n), "alive")
    return typed(frame, SCHEMA)


def placed(frame: pd.DataFrame, deal: ArrayLike) -> pd.DataFrame:
    """The people with the name of the hospital that each is dealt to."""
    return frame.assign(hospital=pd.Categorical.from_codes(np.asarray(deal), list(HOSPITALS)))
