"""Synthetic hospitals: OMOP common data models of any size, from a seed, with a known effect of a treatment in them.

    synthesize(Plan(hospitals=3, people=10_000, seed=1), Path("hospitals"))

makes hospitals/hospital-01 and so on, a folder of Parquet files each, and hospitals/truth.json. People are made in
blocks of `BLOCK`, and every block is drawn from (seed, hospital, block): the same arguments give the same rows whatever
the number of processes, and memory does not grow with people. The model is ours, in `synthetic_people.py` and
`synthetic_records.py`: Synthea, the usual simulator (https://github.com/synthetichealth/synthea), is a program in Java,
and knows neither hospitals that differ nor an effect whose size is given.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from math import exp
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from confrere.data import synthetic_people as people
from confrere.data.synthetic_records import BLEED, CELECOXIB, DICLOFENAC, records, shifted
from confrere.data.synthetic_vocabulary import vocabulary
from confrere.errors import DataError, StudyError

BLOCK = 10_000  # people
FEWEST, MOST = 100, 10_000_000
TRUTH = "truth.json"


class Plan(NamedTuple):
    """What to make.

    people   in each hospital, 100 to 10 million
    shift    how much hospitals differ: 0 not at all, 1 markedly
    effect   log hazard ratio of gastrointestinal bleeding, new users of celecoxib against those of diclofenac
    """

    hospitals: int
    people: int
    seed: int
    shift: float = 0.5
    effect: float = -0.5


class Made(NamedTuple):
    """A hospital that was made: its folder, and the rows of each table."""

    folder: Path
    rows: dict[str, int]


def synthesize(
    plan: Plan, out: Path, processes: int = 1, progress: Callable[[int], None] = lambda people: None
) -> list[Made]:
    """Make the hospitals of a plan in an empty or new folder.

    `progress` is told of each number of people that is finished. StudyError: a plan outside its bounds. DataError: the
    folder holds something already. An interrupted run has no truth.json.
    """
    _checked(plan)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder; give another one, or remove what is in it")
    out.mkdir(parents=True, exist_ok=True)
    numbers = range(1, plan.hospitals + 1)
    if processes > 1 and plan.hospitals > 1:
        made = _together(plan, out, min(processes, plan.hospitals), progress)
    else:
        made = [hospital(plan, number, out, progress) for number in numbers]
    (out / TRUTH).write_text(json.dumps(truth(plan, made), indent=2) + "\n", encoding="utf-8")
    return made


def _checked(plan: Plan) -> None:
    for name, value, low, high in (
        ("hospitals", plan.hospitals, 1, 99), ("people", plan.people, FEWEST, MOST), ("seed", plan.seed, 0, 2**63 - 1),
        ("site-shift", plan.shift, 0, 2), ("effect", plan.effect, -3, 3),
    ):  # fmt: skip
        if not low <= value <= high:
            raise StudyError(f"--{name} {value:g} must lie between {low:,} and {high:,}")


def _together(plan: Plan, out: Path, processes: int, progress: Callable[[int], None]) -> list[Made]:
    """Hospitals in processes of their own."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(hospital, plan, number, out) for number in range(1, plan.hospitals + 1)]
        for task in as_completed(tasks):
            task.result()
            progress(plan.people)
    return [task.result() for task in tasks]


def hospital(plan: Plan, number: int, out: Path, progress: Callable[[int], None] | None = None) -> Made:
    """Write one hospital, block by block; `progress` is told how many people each has."""
    import pyarrow.parquet as pq

    folder = out / f"hospital-{number:02d}"
    folder.mkdir()
    here = site(plan, number)
    rows: Counter[str] = Counter()
    for name, table in vocabulary(folder.name).items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        rows[name] = table.num_rows
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        for index, first in enumerate(range(0, plan.people, BLOCK)):
            size, before = min(BLOCK, plan.people - first), Counter(rows)
            for name, made in block(plan, number, here, index, size).items():
                table = shifted(name, made, before)
                if name not in writers:
                    path = folder / f"{name}.parquet"  # dictionaries are the file's affair, not its schema's
                    writer = pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False)
                    writers[name] = stack.enter_context(writer)
                writers[name].write_table(table)
                rows[name] += table.num_rows
            if progress is not None:
                progress(size)
    return Made(folder, dict(rows))


def site(plan: Plan, number: int) -> people.Site:
    """How hospital `number` of a plan differs from the others."""
    return people.site(np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(number,))), plan.shift)


def block(plan: Plan, number: int, here: people.Site, index: int, size: int) -> dict[str, Any]:
    """The tables of one block of people, identifiers counted from 1; drawn from (seed, hospital, block)."""
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(number, index)))
    return records(rng, here, people.lives(rng, here, size, plan.effect))


def truth(plan: Plan, made: list[Made]) -> dict[str, Any]:
    """What truth.json says: the plan, the effect and how to find it, and how each hospital differs."""
    return {
        "plan": plan._asdict(),
        "effect": {
            "target": {"drug": "celecoxib", "concept_id": CELECOXIB[0]},
            "comparator": {"drug": "diclofenac", "concept_id": DICLOFENAC[0]},
            "outcome": {"condition": "Gastrointestinal hemorrhage", "concept_id": BLEED},
            "log_hazard_ratio": plan.effect,
            "hazard_ratio": exp(plan.effect),
            "entry": "first exposure to either drug, descendants included; on that day osteoarthritis is known",
            "follow_up": "from entry to the first outcome, or to the end of observation; on treatment or not",
            "baseline": "outcomes per year of diclofenac users at 65, pain 5, without ulcer and fibrillation",
            "baseline_hazard": people.BLEEDING,
            "confounders": {
                name: {"log_hazard_ratio": people.OUTCOME[name], "log_odds_of_target": people.TREATMENT[name], **about}
                for name, about in _CONFOUNDERS.items()
            },
        },
        "hospitals": [_told(plan, number, one) for number, one in enumerate(made, 1)],
    }


_CONFOUNDERS: dict[str, dict[str, Any]] = {
    "pain": {"table": "measurement", "concept_id": 43055141, "how": "value on the day of entry"},
    "age": {"table": "person", "how": "year of entry less year of birth"},
    "ulcer": {"table": "condition_occurrence", "concept_id": 4027663, "how": "recorded on or before the day of entry"},
    "fibrillation": {"table": "condition_occurrence", "concept_id": 313217, "how": "recorded on or before that day"},
}


def _told(plan: Plan, number: int, made: Made) -> dict[str, Any]:
    here = site(plan, number)
    told = here._asdict() | {"diseases": dict(zip(people.DISEASES, here.diseases.tolist(), strict=True))}
    return {"name": made.folder.name, "rows": made.rows, "differs": told}
