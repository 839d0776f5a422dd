"""Generated people of whom some start a treatment while they are followed."""

from __future__ import annotations

import numpy as np
import pandas as pd


def drawn(n: int, seed: int, effect: float, wait: float = 500) -> pd.DataFrame:
    """People (n, 5 columns) of whom some start, after `wait` days in the mean of those with x and z at 0.

    The log hazard ratio of having started is `effect`; x makes starts and events sooner, z events sooner, starts later.
    """
    rng = np.random.default_rng(seed)
    x, z = np.clip(rng.normal(size=n), -2, 2), (rng.random(n) < 0.4).astype(float)
    start = rng.exponential(wait * np.exp(-0.5 * x + 0.4 * z))
    rate, e = np.exp(-7 + 0.6 * x + 0.3 * z), rng.exponential(size=n)
    time = np.where(e < rate * start, e / rate, start + (e - rate * start) / (rate * np.exp(effect)))
    end = rng.uniform(400, 2500, n)
    event = (time <= end).astype(float)
    time = np.minimum(time, end)
    return pd.DataFrame({"x": x, "z": z, "time": time, "event": event, "start": np.where(start <= time, start, np.nan)})
