"""Generated patients: one table for all methods, in which no two numbers of a continuous column are alike.

Times lie half a day off the whole days, at least one day apart, so that a small change of a time moves nobody
across the edge of a cell or past another patient: derivatives of sums exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
import pandas as pd

from confrere.data.bags import Bags
from confrere.study.circe import definition
from confrere.study.ground import Ground
from confrere.study.recruitment import Look
from confrere.study.schema import Column, Schema

CIRCE = '{"PrimaryCriteria": {}, "InclusionRules": [{}, {}, {}, {}, {}]}'
LISTED = Look("trial", "To be seen", "2026-10-31")
TRIAL = definition('{"PrimaryCriteria": {}, "InclusionRules": [{"expression": {}}, {}, {}, {}]}')
STAYS = {
    name: definition(f'{{"PrimaryCriteria": {{}}, "Title": "{name}"}}')
    for name in ("target", "outcome", "one", "two", "three")
}
WIDER = definition(TRIAL.text.replace('{"expression":{}}', '{"expression":{"Type":"ANY"}}'))
RANGES = {"x1": (-3.0, 3.0), "x2": (0.0, 10.0), "y": (-15.0, 15.0), "lab": (-10.0, 10.0)}
LEVELS = {"arm": ("a", "b"), "stage": ("I", "II", "III"), "status": ("alive", "relapse", "death"),
          "_sex": ("female", "male", "other")}  # fmt: skip
GROUND = Ground(
    Schema(
        {name: Column(name, range=r) for name, r in RANGES.items()}
        | {name: Column(name, levels=levels) for name, levels in LEVELS.items()}
    )
)


@dataclass(frozen=True)
class Table:
    """One hospital's records, as `rounds.Site` wants them."""

    frame: pd.DataFrame

    @cached_property
    def bags(self) -> dict[str, Bags]:
        """Of everybody one picture to three, of x1, x2 and noise; about 0, so that half of them move a unit."""
        rows = {}
        for pid, *mean in self.frame[["pid", "x1", "x2"]].itertuples(index=False):
            own = crc32(pid.encode())
            noise = np.random.default_rng(own).normal(size=(1 + own % 3, 2))
            rows[pid] = np.array(mean) - [0, 5] + noise
        return {"pictures": Bags.made(rows, 2)}

    def nobody(self) -> Table:
        """The same table of nobody."""
        return Table(self.frame.iloc[:0])


def patients(n: int, seed: int = 1, *, heavy: bool = False) -> pd.DataFrame:
    """`n` patients. `heavy` draws x1 and x2 with long tails, as columns look that declare no range."""
    rng = np.random.default_rng(seed)
    x1 = np.exp(rng.normal(0, 1, n)) if heavy else np.clip(rng.normal(0, 1, n), *RANGES["x1"])
    x2 = np.exp(rng.normal(1, 0.8, n)) if heavy else rng.uniform(*RANGES["x2"], n)
    z1, z2 = (x1 - x1.mean()) / x1.std(), (x2 - x2.mean()) / x2.std()
    treated = (rng.random(n) < 0.5).astype(float)
    eta = 0.3 * z1 - 0.2 * z2 - 0.4 * treated
    event = (rng.random(n) < 0.6).astype(float)
    frame = pd.DataFrame(
        {
            "x1": x1,
            "x2": x2,
            "treated": treated,
            "time": _apart(rng.exponential(np.exp(-eta), n)),
            "event": event,
            "y": np.clip(1 + z1 - z2 + rng.normal(0, 1, n), *RANGES["y"]),
            "ill": (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float),
            "visits": rng.poisson(np.exp(0.5 + 0.3 * eta)).astype(float),
            "cost": rng.gamma(3.0, np.exp(0.3 * eta) / 3.0) + 0.05,
        }
    )
    frame["arm"] = _levels("arm", rng.integers(0, 2, n))
    frame["stage"] = _levels("stage", rng.integers(0, 3, n))
    frame["status"] = _levels("status", np.where(event > 0, rng.integers(1, 3, n), 0))
    frame["lab"] = np.clip(0.5 * z1 + 0.3 * frame["y"] + rng.normal(0, 1, n), *RANGES["lab"])
    frame["mild"] = (rng.random(n) < 1 / (1 + np.exp(-0.5 * z1))).astype(float)
    for name in ("lab", "mild"):
        frame[name] = frame[name].mask(rng.random(n) < 0.3)
    frame[definition(CIRCE).column] = np.minimum(np.floor(frame["x2"] / frame["x2"].max() * 8), 7)
    made = definition(CIRCE)  # entry events of the last 200 days, rules that some miss, statuses of most
    frame[made.entry] = np.round(20_757 - 200 * rng.random(n))
    for j in range(1, 3):
        frame[made.rule(j)] = (rng.random(n) < 0.8).astype(float)
        frame[made.rule(j)] = frame[made.rule(j)].mask(rng.random(n) < 0.1)
    for j in range(3, 6):
        frame[made.rule(j)] = (frame["x2"] > j / 4).astype(float)
    frame[LISTED.column] = rng.integers(0, 8, n).astype(float)
    for j, met in enumerate((z1 > -0.8, frame["stage"] != "III", treated == 1, z2 < 0.9), 1):
        frame[TRIAL.rule(j)] = np.where(x2 > 1, np.asarray(met, dtype=float), np.nan)
    frame[WIDER.rule(1)] = np.where(x2 > 1, (z1 > -1.0).astype(float), np.nan)
    frame[TRIAL.entry] = np.where(x2 > 1, np.floor(17532 + 1500 * rng.random(n)), np.nan)
    frame["_birth"] = np.floor(rng.uniform(-20000, 0, n))
    frame["_sex"] = _levels("_sex", rng.choice(3, n, p=[0.5, 0.48, 0.02]))
    frame["pid"] = [f"p{seed}-{i}" for i in range(n)]
    other = np.random.default_rng(seed + 50)
    frame = frame.assign(**{f"m{j}": (other.random(n) < 1 / (1 + np.exp(-0.3 * z1))).astype(float) for j in range(5)})
    frame = frame.assign(**_treated_later(frame, np.random.default_rng(seed + 60)))
    return _staying(frame, rng)


def _treated_later(frame: pd.DataFrame, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Outcomes of three years, the year from which some are treated; half days on which some start a treatment."""
    n, time = len(frame), frame["time"].to_numpy()
    years = {f"y{t}": np.clip(frame["y"] + 0.3 * t + rng.normal(0, 1, n), *RANGES["y"]) for t in (1, 2, 3)}
    start = np.floor(rng.exponential(900 * np.exp(-0.3 * np.clip(frame["x1"], -3, 3)), n)) + 0.25
    began = np.where(rng.random(n) < 0.6, rng.choice([2.0, 3.0], n), np.nan)
    stop = start + np.floor(np.random.default_rng(11).exponential(900, n)) + 0.25
    stop = np.where((start < time - 1) & (stop < time - 1), stop, np.nan)
    return {**years, "began": began, "start": np.where(start < time - 1, start, np.nan), "stop": stop}


def _staying(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """With days of observation, of a third in whole years, and first stays in a target, an outcome and treatments."""
    n = len(frame)
    year = rng.integers(2012, 2019, n)
    first, last = (np.array([days_until(y) for y in years]) for years in (year, year + rng.integers(1, 4, n)))
    part = rng.random(n) < 2 / 3
    begin = np.where(part, np.floor(first + rng.uniform(0, 364, n)), first)
    end = np.where(part, np.floor(last + rng.uniform(0, 364, n)), last - 1)
    made = {"_observed_from": begin, "_observed_to": end}
    for name, stay in STAYS.items():
        start = begin if name == "target" else np.floor(begin + rng.random(n) * (end - begin))
        inside = rng.random(n) < {"target": 0.9, "outcome": 0.5}.get(name, 0.4)
        stop = end if name == "target" else np.minimum(end, start + np.floor(rng.exponential(150, n)))
        made |= {stay.start: np.where(inside, start, np.nan), stay.end: np.where(inside, stop, np.nan)}
    return frame.assign(**made)


def days_until(year: int) -> float:
    """Days from 1970-01-01 to 1 January of a year."""
    return float((np.datetime64(f"{year}-01-01") - np.datetime64("1970-01-01")).astype(int))


def _apart(time: np.ndarray) -> np.ndarray:
    """Days, ten years at most, each on a half day of its own."""
    places = np.argsort(np.argsort(time))
    return np.round(3650 * (places + 1) / (len(time) + 1)) + 0.5 if len(time) < 3000 else np.round(365 * time) + 0.5


def _levels(name: str, codes: np.ndarray) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, list(LEVELS[name]))


def dealt(frame: pd.DataFrame, sizes: Sequence[int] | int = 3) -> dict[str, Table]:
    """Deal the rows to hospitals: into so many like ones, or of these sizes; in turn, so that all are alike."""
    n = len(frame)
    at = np.arange(n) % sizes if isinstance(sizes, int) else np.repeat(np.arange(len(sizes)), sizes)
    names = [f"h{i}" for i in range(int(at.max()) + 1)]
    return {name: Table(frame[at == i].reset_index(drop=True)) for i, name in enumerate(names)}


def pooled(tables: Mapping[str, Table]) -> pd.DataFrame:
    """All rows, hospital after hospital: the order of people in every detector."""
    return pd.concat([t.frame for t in tables.values()], ignore_index=True)
