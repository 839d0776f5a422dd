"""Masking and unmasking beside one step of a Cox fit: ten hospitals, 1 MB each."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.process import spread
from confrere.hospital.session import start_sessions
from confrere.sums import Answer, Session, add_masked

MEGABYTE = 1 << 20


def masking(hospitals: int, times: int, steps: Mapping[str, float]) -> dict[str, Any]:
    """Seconds for all hospitals to mask and sign 1 MB, to add it up at the coordinator, and to verify it everywhere.

    `steps` are the seconds of a Cox fit's rounds: `slope` asks for the score, `curve` for the information too.
    """
    sessions = opened(hospitals)
    rng = np.random.default_rng(1)
    rings = [rng.integers(0, 1 << 63, (MEGABYTE // 16, 2), dtype=np.uint64) for _ in sessions]
    low = np.sum([ring[:, 0] for ring in rings], axis=0, dtype=np.uint64)  # lower limbs of the total: no carry enters
    found: dict[str, list[float]] = {"mask": [], "add": [], "verify": []}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number in range(1, times + 1):
            taken, sums = _round(sessions, rings, number, pool)
            if not np.array_equal(sums[:, 0], low):
                raise RuntimeError("the masks did not cancel")
            for key, one in taken.items():
                found[key].append(one)
    seconds = {key: spread(values) for key, values in found.items()}
    both = seconds["mask"]["median"] + seconds["add"]["median"]
    ratios = {f"over_cox_{step}": both / steps[step] if step in steps else None for step in ("slope", "curve")}
    return {"hospitals": hospitals, "bytes": MEGABYTE, **seconds, "cox_steps": dict(steps), **ratios}


def opened(hospitals: int) -> dict[str, Session]:
    """The sessions of a run that has its keys."""
    sessions = start_sessions([f"hospital {h:02d}" for h in range(hospitals)], hashlib.sha256(b"benchmark").digest())
    hellos = {name: s.hello() for name, s in sessions.items()}
    sealed = {name: s.agree(hellos) for name, s in sessions.items()}
    for name, s in sessions.items():
        s.open({sender: seeds[name] for sender, seeds in sealed.items() if sender != name})
    return sessions


def _round(
    sessions: dict[str, Session], rings: list[Any], number: int, pool: ThreadPoolExecutor
) -> tuple[dict[str, float], Any]:
    """One round as in a run in one process: as many hospitals at once as there are cores."""
    digest = hashlib.sha256(number.to_bytes(4, "big")).digest()

    def answer(session: Session, ring: Any) -> Answer:
        masked = session.mask(number, digest, [ring])
        return Answer(masked, session.sign(number))

    mask, given = clocked(lambda: dict(zip(sessions, pool.map(answer, sessions.values(), rings), strict=True)))
    add, totals = clocked(lambda: add_masked([a.rings for a in given.values()]))
    verify, _ = clocked(lambda: list(pool.map(lambda s: s.add(number, given), sessions.values())))
    return {"mask": mask, "add": add, "verify": verify}, totals[0]


def clocked(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and what it gave."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result
