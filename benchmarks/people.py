"""Synthetic people for benchmarks: strata of risk, day-rounded times up to ten years, 30 % events; kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq

SHARE = 0.3  # of people who have the event
HORIZON, FIRST, LAST = 3650, 300, 5000  # days: end of follow-up, and the range of the times of censoring
OTHERS = ("time", "event", "ill", "hospital")  # columns beside the terms

Array = np.ndarray[Any, np.dtype[np.float64]]


class Data(NamedTuple):
    """The pooled people, as a file holds them."""

    x: Array  # (n, terms), columns lie together
    time: Array  # (n,) whole days, 1 to 3650
    event: Array  # (n,) 0 or 1
    ill: Array  # (n,) 0 or 1, the outcome of the logistic model
    hospital: Array  # (n,) 0, 1, ...


def people(n: int, terms: int, hospitals: int, seed: int = 1) -> dict[str, pd.DataFrame]:
    """`hospitals` tables with `terms` covariates x0, x1, ..., `time` in days, `event` and `ill`, from a seed."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, terms)) + rng.integers(0, 3, n)[:, None] * 0.2
    beta = np.linspace(-0.3, 0.3, terms)
    risk = x @ beta
    hazard = np.exp(risk + level(risk))
    death = rng.exponential(1 / hazard)
    censor = rng.uniform(FIRST, LAST, n)
    end = np.minimum(np.minimum(death, censor), HORIZON)
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(terms)])
    frame["time"] = np.ceil(end)
    frame["event"] = ((death <= censor) & (death <= HORIZON)).astype(float)
    frame["ill"] = (rng.uniform(size=n) < 1 / (1 + np.exp(-(risk - 0.8)))).astype(float)
    deal = rng.choice(hospitals, n, p=rng.dirichlet(np.full(hospitals, 5.0)))
    return {f"hospital {h:02d}": frame[deal == h].reset_index(drop=True) for h in range(hospitals)}


def level(risk: Array) -> float:
    """The log hazard at risk 0 by which the expected share of events among people of these log risks is `SHARE`."""
    some = risk[:100_000]

    def excess(log_hazard: float) -> float:
        rate = np.exp(some + log_hazard)
        end = np.exp(-HORIZON * rate)
        alive = (np.exp(-FIRST * rate) - end) / rate + (LAST - HORIZON) * end  # over the uniform time of censoring
        return float(1 - alive.mean() / (LAST - FIRST)) - SHARE

    return float(brentq(excess, -30.0, 0.0))


def check_share(event: Array) -> float:
    """The share of events. ValueError when it is off by more than 0.5 % (for few people: by four deviations)."""
    share = float(event.mean())
    most = max(0.005, 4 * np.sqrt(SHARE * (1 - SHARE) / event.size))
    if abs(share - SHARE) > most:
        raise ValueError(f"{share:.1%} of the people have the event; it must be {SHARE:.1%} within {most:.1%}")
    return share


def store(path: Path, n: int, terms: int, hospitals: int, seed: int = 1) -> dict[str, Any]:
    """Write people to an .npy file, column by column, by hospital. Gives what to say about them."""
    tables = people(n, terms, hospitals, seed)
    pooled = pd.concat([t.assign(hospital=float(i)) for i, t in enumerate(tables.values())])
    keep(path, pooled.to_numpy())
    share = check_share(pooled["event"].to_numpy())
    smallest = min(len(t) for t in tables.values())
    return {
        "people": n, "terms": terms, "hospitals": hospitals, "seed": seed, "share_of_events": share,
        "smallest_hospital": smallest, "file_bytes": path.stat().st_size,
    }  # fmt: skip


def keep(path: Path, columns: Array) -> None:
    """Write columns (n, terms + 4) so that R, too, reads one column after the other."""
    np.save(path, np.asfortranarray(columns))


def load(path: Path) -> Data:
    """The people of a file."""
    columns = np.load(path)
    terms = columns.shape[1] - len(OTHERS)
    return Data(columns[:, :terms], *columns[:, terms:].T)


def some(data: Data, n: int) -> Data:
    """Every so many-th of the people, n at least if there are as many."""
    step = max(1, data.time.size // n)
    return Data(*(np.asfortranarray(part[::step]) for part in data))


def tables_of(data: Data) -> dict[str, pd.DataFrame]:
    """The table of each hospital."""
    tables = {}
    for h in np.unique(data.hospital):
        here = data.hospital == h
        frame = pd.DataFrame(data.x[here], columns=[f"x{j}" for j in range(data.x.shape[1])])
        tables[f"hospital {int(h):02d}"] = frame.assign(
            time=data.time[here], event=data.event[here], ill=data.ill[here]
        )
    return tables
