"""How long a change of a criterion takes on the page of `confrere feasibility --serve`.

    python -m benchmarks.feasibility [--hospitals 10] [--people 100000] [--changes 20] [--folder DIR]

Synthetic hospitals (made in DIR unless they are there), a cohort of three criteria; ages, windows and switches change
in turn, and the counts and their tables are made anew each time: all that the server does before the page shows them.
Pictures are drawn afterwards, once somebody looks at them; their seconds stand apart. No change is asked twice, so that
none is answered from memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confrere.analyses.feasibility import Feasibility
from confrere.console.pages.feasibility import pictures
from confrere.console.pages.feasibility_counts import Explorer, changed, numbers
from confrere.console.pages.languages import Tongue
from confrere.data.copies import copied
from confrere.data.synthesize import Plan, synthesize
from confrere.study.eligibility import compiled
from confrere.study.schema import Schema

TRIAL = {
    "entry": {"condition": [80180], "first": True},
    "observed": {"before": 180},
    "criteria": [
        {"name": "50 to 80 years old", "age": [50, 80]},
        {"name": "no peptic ulcer or bleeding before", "no": {"condition": [4027663, 192671]}, "before": 1000},
        {"name": "no warfarin or aspirin in the last year", "no": {"drug": [1310149, 1112807]}, "before": 365},
    ],
}


def hospitals(folder: Path, count: int, people: int) -> dict[str, Path]:
    """Folders of synthetic hospitals by name; made if they are not there."""
    found = sorted(folder.glob("hospital-*"))
    if len(found) < count:
        synthesize(Plan(count, people, 1, 0.5, -0.5), folder, 2, lambda more: None)
        found = sorted(folder.glob("hospital-*"))
    return {one.name: one for one in found[:count]}


def changes(rules: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Criteria with one number changed, each time another; now and then a criterion is off as well."""
    fields = [(j, n) for j, rule in enumerate(rules) for n in numbers(rule) if n.value]
    for turn in range(1, 1000):
        j, number = fields[turn % len(fields)]
        now = [changed(r, {number.name: str(number.value + turn)}) if i == j else r for i, r in enumerate(rules)]
        yield now if turn % 4 else [r for i, r in enumerate(now) if i != (j + 1) % len(now)]


def measured(folder: Path, count: int, people: int, times: int) -> dict[str, Any]:
    """Seconds of the start and of each change."""
    sources = hospitals(folder, count, people)
    text = compiled("trial", TRIAL, {}).text
    analysis, tongue = Feasibility(text, (2013, 2022)), Tongue("en")
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        with copied(sources, text, Path(place), Schema()) as copies:
            explorer = Explorer(analysis, copies, 11)
            pictures(explorer.count(explorer.rules), tongue)
            start, seconds, drawing = time.perf_counter() - begun, list[float](), list[float]()
            for rules, _ in zip(changes(explorer.rules), range(times), strict=False):
                begun = time.perf_counter()
                found = explorer.count(rules)
                counted = time.perf_counter()
                pictures(found, tongue)
                seconds.append(counted - begun)
                drawing.append(time.perf_counter() - counted)
    return {"hospitals": count, "people": people, "start": start, "changes": times,
            "median": statistics.median(seconds), "max": max(seconds),
            "pictures": statistics.median(drawing)}  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hospitals", type=int, default=10)
    parser.add_argument("--people", type=int, default=100_000, help="in each")
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="of the hospitals; a temporary one unless given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given.folder or Path(folder) / "made", given.hospitals, given.people, given.changes)
    print(json.dumps({key: round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
