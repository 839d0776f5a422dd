"""FedECA's task over a federation of processes: `python -m benchmarks.fedeca --out DIR`.

A weighted (IPTW) Cox model of a treatment: 1,000 people, 10 confounders, three hospitals and a coordinator as processes
on loopback, over TLS, with masks and gate. Seconds from submit to report, with one baseline for all hospitals (FedECA's
model) and with a baseline per hospital; beside them what FedECA took (`benchmarks.published`). Our standard errors are
those of estimated weights, and balance and overlap are in the report. Writes fedeca.json and fedeca.md into DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.federation import up
from benchmarks.machine import described
from benchmarks.people import people
from benchmarks.process import spread
from benchmarks.published import FEDECA_SECONDS, HOSPITALS, PEOPLE, TERMS
from benchmarks.table import grid

TARGET = 5.0  # seconds from submit to report
BASELINES = {"one baseline for all": "shared", "a baseline per hospital": "per hospital"}
STUDY = """\
[study]
id = "weighted"
title = "{title}"
purpose = "measuring a federation"
[data]
table = "people"
[[analysis]]
name = "effect"
method = "effect"
estimator = "iptw"
treatment = "ill"
outcome = "Surv(time, event)"
confounders = "{confounders}"
baseline = "{baseline}"
"""


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fedeca", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--times", type=int, default=3, help="studies of each kind")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    results = measured(given.times)
    (given.out / "fedeca.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (given.out / "fedeca.md").write_text(markdown(results), encoding="utf-8")
    print(f"\n{markdown(results)}")


def measured(times: int) -> dict[str, Any]:
    """Seconds of each study, the kinds in turns."""
    frames = {name.replace(" ", "-"): frame for name, frame in people(PEOPLE, TERMS, HOSPITALS).items()}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in BASELINES}
    with tempfile.TemporaryDirectory() as folder, up(Path(folder) / "site", frames, _study("shared", 0)) as made:
        for i in range(times):
            for name, baseline in BASELINES.items():
                runs[name].append(made.report(_study(baseline, i), Path(folder) / f"{baseline}-{i}"))
    seconds = {name: spread([run["report"] for run in found]) for name, found in runs.items()}
    about = {"people": PEOPLE, "terms": TERMS, "hospitals": HOSPITALS, "load": os.getloadavg()}
    return {"machine": described(), **about, "runs": runs, "seconds": seconds, "fedeca": FEDECA_SECONDS}


def _study(baseline: str, number: int) -> str:
    confounders = " + ".join(f"x{j}" for j in range(TERMS))
    return STUDY.format(title=f"Effect, {baseline}, {number}", confounders=confounders, baseline=baseline)


def markdown(results: dict[str, Any]) -> str:
    """The table."""
    machine = results["machine"]
    rows = [
        [f"Confrere, {name}, submit to report", f"{s['median']:.1f} s ({s['min']:.1f} to {s['max']:.1f})", "measured"]
        for name, s in results["seconds"].items()
    ]
    for found in results["fedeca"]:
        least, most = found["least"], found["most"]
        rows.append(
            [f"FedECA, {found['what']}", f"{least:g} s" + (f" to {most:g} s" if most > least else ""), found["kind"]]
        )
    return (
        f"{results['people']:,} people, {results['terms']} confounders, {results['hospitals']} hospitals and a "
        f"coordinator as processes, loopback, TLS, masks. {machine['processor']}, {machine['cores']} cores for all of "
        f"them, {machine['date']}, load {results['load'][0]:.1f}. Target {TARGET:g} s.\n\n"
        f"{grid(('a weighted Cox model', 'median (least to most)', ''), rows)}\n"
    )


if __name__ == "__main__":
    main()
