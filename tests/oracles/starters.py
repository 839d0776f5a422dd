"""Generated people of whom some start a treatment while they are followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

VISITS, APART = 8, 60.0  # at which treatments start, and the days between them


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


Turn = Callable[[int, Any], Any]


def never(visit: int, x: Any) -> Any:
    """Nobody."""
    return np.zeros(len(x), dtype=bool)


def lives(rng: Any, people: tuple[Any, Any, Any], effect: float, starts: Turn, stops: Turn = never) -> Any:
    """What becomes of `people`, x, z and the visit (n,) from which on, 0 being entry: x (n, visits) as it is seen, the
    starts, ends and stops.

    `starts` says of a visit and x who starts there, `stops` who of those who have started before. Being treated lowers
    the hazard by exp(effect), and x afterwards.
    """
    (x, z, visit), n = people, len(people[0])
    seen, start, end, stop = np.full((n, VISITS), np.nan), *(np.full(n, np.inf) for _ in range(3))
    for k in range(VISITS + 1):
        here, now = (visit <= k) & np.isinf(end), APART * k
        if k:
            seen[here, k - 1] = x[here]
            stop = np.where(here & (start < now) & np.isinf(stop) & stops(k, x), now, stop)
            start = np.where(here & np.isinf(start) & starts(k, x), now, start)
        treated = (start <= now) & (now < stop)
        spent = rng.exponential(size=n) / np.exp(-6.6 + 0.6 * x + 0.3 * z + effect * treated)
        end = np.where(here & (spent <= APART), now + spent, end)
        x = np.where(here, 0.7 * x - 0.5 * (effect < 0) * treated + rng.normal(0, 0.5, n), x)
    return seen, start, end, stop


def visited(n: int, seed: int, effect: float, stopping: bool = False) -> pd.DataFrame:
    """People who are seen at every visit as x1, x2, ..., and start there the sooner the larger x is; with `stopping`
    they stop again the sooner the larger x is."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.integers(0, 2, n).astype(float)
    seen, start, end, stop = lives(
        rng, (x, z, np.zeros(n)), effect, lambda _, now: rng.random(n) < 1 / (1 + np.exp(2 - 0.9 * now + 0.4 * z)),
        (lambda _, now: rng.random(n) < 1 / (1 + np.exp(1.5 - 1.2 * now))) if stopping else never,
    )  # fmt: skip
    last = APART * (VISITS + 1)
    made = pd.DataFrame(seen, columns=[f"x{k}" for k in range(1, VISITS + 1)]).assign(z=z)
    made = made.assign(stop=np.where(stop < end, stop, np.nan)) if stopping else made
    return made.assign(
        time=np.minimum(end, last), event=(end <= last).astype(float), start=np.where(start < end, start, np.nan)
    ).assign(start=lambda f: f["start"].replace(np.inf, np.nan))


def risks_kept(frame: pd.DataFrame, seed: int, effect: float, until: float) -> list[float]:
    """The risks until a time had everybody in each trial never started, and had they started at its beginning.

    As the method counts them: hazards even between visits, of all trials but the last, followed until the last visit.
    """
    rng, made = np.random.default_rng(seed), []
    for treat in (False, True):
        events, time = np.zeros(VISITS), np.zeros(VISITS)
        for k in range(1, VISITS):
            own = frame[(frame["time"] > APART * k) & ~(frame["start"] < APART * k)]
            people = own[f"x{k}"].to_numpy(), own["z"].to_numpy(), np.full(len(own), k)
            end = lives(rng, people, effect, lambda at, _, k=k, treat=treat: treat & (at == k))[2]
            after = np.minimum(end, APART * VISITS) - APART * k
            for cell in range(VISITS - k):
                time[cell] += np.clip(after - APART * cell, 0, APART).sum()
                events[cell] += ((end <= APART * VISITS) & (after > APART * cell) & (after <= APART * (cell + 1))).sum()
        hazard = events[: round(until / APART)] / time[: round(until / APART)]
        made.append(float(1 - np.exp(-APART * hazard.sum())))
    return made
