"""One command makes the README's performance table: `python -m benchmarks --out DIR`. See README.md of this folder."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.beside import beside
from benchmarks.growth import growth
from benchmarks.machine import described
from benchmarks.masking import masking
from benchmarks.people import store
from benchmarks.published import equivalence
from benchmarks.start import start
from benchmarks.table import markdown
from benchmarks.traffic import traffic

QUICK = 100_000


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for results.json, table.md, growth.svg")
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--hospitals", type=int, default=10)
    parser.add_argument("--times", type=int, default=3, help="fresh processes per measurement")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} people")
    given = parser.parse_args()
    if given.quick:
        given.people = QUICK
    return given


def main() -> None:
    """Run all parts, and write what they found."""
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = measured(given, Path(folder))
    results["seconds"] = time.monotonic() - begin
    (given.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (given.out / "table.md").write_text(markdown(results), encoding="utf-8")
    if not plot.draw(results["growth"], given.out / "growth.svg"):
        print("no growth.svg: altair and vl-convert-python are not installed")
    print(f"\n{markdown(results)}\n{given.out} was written; {results['seconds']:.0f} s in all")


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All numbers, part by part."""
    size = {key: getattr(given, key) for key in ("people", "terms", "hospitals", "times")}
    results: dict[str, Any] = {"machine": described(), "size": size}
    path = folder / "people.npy"
    say("people")
    results["people"] = about = store(path, given.people, given.terms, given.hospitals)
    print(f"  {about['people']:,} people, {about['share_of_events']:.2%} with the event, {about['file_bytes']:,} bytes")
    say("beside its peers")
    results["beside"] = rows = beside(path, about, given.times, results["machine"])
    path.unlink()
    results["traffic"] = traffic(rows, given.terms)
    say("beside published figures")
    results["published"] = equivalence(folder, given.times, results["machine"])
    say("growth")
    results["growth"] = growth(folder, (given.people, given.terms, given.hospitals), given.times)
    say("masking")
    results["masking"] = masking(given.hospitals, 9, rows[0].get("step_seconds", {}))
    say("start")
    results["start"] = start(min(5, 2 * given.times - 1))
    return results


def say(part: str) -> None:
    """Which part begins."""
    print(f"{part}", flush=True)


if __name__ == "__main__":
    main()
