"""A federation of real processes on loopback over TLS: `python -m benchmarks.federation --out DIR`.

Seconds of a round by its size, from submit to the first round and to the report, memory at rest, and what the
coordinator carries as hospitals grow. Writes federation.json and federation.md into DIR. The seconds of rounds are the
run's own, from its log: from the first byte of a question to the sum of all answers, masks and signatures included.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.machine import described
from benchmarks.process import as_installed, spread
from benchmarks.table import grid
from confrere.console import federated
from confrere.console.client import Remote
from confrere.console.demo import load
from confrere.console.output import delivered
from confrere.coordinator.home import Home as Coordinator
from confrere.errors import Waiting
from confrere.hospital.home import Home

if TYPE_CHECKING:
    import pandas as pd

SIZES = {"1 kB": 1 << 10, "1 MB": 1 << 20, "50 MB": 50 << 20}  # that leave one hospital in a round
ROUNDS = {"1 kB": 60, "1 MB": 40, "50 MB": 8}
TARGETS = {"1 kB": 0.1, "1 MB": 0.15, "50 MB": 3.0}  # seconds
FIRST, REPORT, REST = 10.0, 8.0, 200e6  # seconds, seconds, bytes
NUMBER = 16  # bytes of a masked number
NAMES = ("delft", "dordrecht", "gouda", "leiden", "rotterdam")
UP, OVER = 120.0, 900.0  # seconds
MEGABYTES = 10_000  # that may leave a hospital under one study

HEAD = """\
[study]
id = "measured"
title = "{title}"
purpose = "measuring a federation"
[data]
table = "breast"
[data.columns.size]
levels = ["<=20", "20-50", ">50"]
[data.columns.hormon]
levels = ["0", "1"]
"""
COX = (
    HEAD
    + """\
[[analysis]]
name = "recurrence"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + chemo + age + meno + C(size) + grade + nodes + pgr + er"
"""
)
PAYLOAD = (
    HEAD
    + """\
[disclosure]
allow = ["model_weights"]
[[analysis]]
name = "payload"
method = "payload"
numbers = {numbers}
rounds = {rounds}
"""
)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.federation", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--hospitals", nargs="*", type=int, default=[4, 5], help="more federations, for what grows")
    parser.add_argument("--times", type=int, default=3, help="studies per measurement of submit and report")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    results = measured(given.sizes, given.hospitals, given.times)
    (given.out / "federation.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (given.out / "federation.md").write_text(markdown(results), encoding="utf-8")
    print(f"\n{markdown(results)}")


def measured(sizes: list[str], hospitals: list[int], times: int) -> dict[str, Any]:
    """All numbers."""
    results: dict[str, Any] = {"machine": described(), "rounds": {}, "carried": {}}
    with tempfile.TemporaryDirectory() as folder, plugged(Path(folder)):
        with founded(Path(folder) / "3", 3) as three:
            results["rest"] = three.rest()
            results["reports"] = [
                three.report(COX.format(title=f"Cox {i}"), Path(folder) / f"report-{i}") for i in range(times)
            ]
            for size in sizes:
                results["rounds"][size] = three.rounds(size)
                print(f"  {size}: {results['rounds'][size]['seconds']['median']:.3f} s", flush=True)
            results["carried"]["3"] = three.carried()
        for many in hospitals:
            with founded(Path(folder) / str(many), many) as more:
                results["carried"][str(many)] = more.carried()
    return results


@contextmanager
def plugged(folder: Path) -> Iterator[None]:
    """The method `payload` installed for this process and all that it starts, as a package's metadata would."""
    metadata = folder / "plugin" / "confrere_payload-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: confrere-payload\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[confrere.analyses]\npayload = confrere_payload:Payload\n")
    added = [str(Path(__file__).parent / "payload"), str(folder / "plugin")]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*added, *([before] if before else [])])
    sys.path[:0] = added
    try:
        yield
    finally:
        sys.path[:] = [p for p in sys.path if p not in added]
        os.environ.pop("PYTHONPATH")
        if before:
            os.environ["PYTHONPATH"] = before


class Measured:
    """A federation that serves, and what is measured on it."""

    def __init__(self, place: Path, names: list[str], token: str, pids: dict[str, int]) -> None:
        self.remote: Remote = federated.remote_of(place, token)
        self._place, self._names, self._pids = place, names, pids
        self._coordinator = Coordinator(place / "coordinator")

    def until_up(self) -> None:
        """Wait until every hospital is connected."""
        end = time.monotonic() + UP
        while True:
            try:
                if all(said["connected"] for said in self.remote.health()["hospitals"].values()):
                    return
            except Waiting:
                pass
            if time.monotonic() > end:
                raise RuntimeError(f"the federation is not up after {UP:g} s; see the logs in {self._place}")
            time.sleep(0.1)

    def rest(self) -> dict[str, Any]:
        """Resident bytes of a hospital that waits for work: its serving process, the engine's that it keeps, and both
        together, a file's pages that both have mapped being counted once."""
        time.sleep(10.0)
        found: dict[str, dict[str, int]] = {}
        for name in self._names:
            first = psutil.Process(self._pids[name])
            both = [first, *first.children(recursive=True)]
            serving, *engine = (p.memory_info().rss for p in both)
            found[name] = {"serving": serving, "engine": sum(engine), "together": resident(both)}
        kinds = ("serving", "engine", "together")
        return {"hospitals": found} | {k: spread([float(f[k]) for f in found.values()]) for k in kinds}

    def report(self, text: str, out: Path) -> dict[str, float]:
        """Seconds from submit of a study to the first round that is over, to the finding, and to the report."""
        began = time.time()
        run, study = self._submitted(text)
        over = self._waited(run)
        results = self.remote.fetch(run, study)
        fetched = time.time()
        delivered(results, out, "en")
        rounds = [line for line in self._log(run) if line["event"] == "round"]
        return {
            "first": rounds[0]["at"] - began, "rounds": len(rounds), "in_rounds": sum(r["seconds"] for r in rounds),
            "found": over - began, "fetched": fetched - began, "report": time.time() - began,
        }  # fmt: skip

    def rounds(self, size: str) -> dict[str, Any]:
        """Seconds of the rounds of one size, the first of which is left out: it also makes the numbers."""
        lines = self._payload(SIZES[size], ROUNDS[size])
        return {"seconds": spread([line["seconds"] for line in lines[1:]]), "rounds": len(lines) - 1}

    def carried(self) -> dict[str, dict[str, float]]:
        """Bytes that the coordinator received and sent in a round of 1 kB and of 1 MB from each hospital."""
        found = {}
        for size in ("1 kB", "1 MB"):
            last = self._payload(SIZES[size], 4)[-1]
            found[size] = {"received": last["received"], "sent": last["sent"]}
        return found

    def _payload(self, size: int, rounds: int) -> list[dict[str, Any]]:
        """The lines of the log on rounds that moved so many bytes from each hospital."""
        title = f"{size} bytes, {rounds} times, {time.time_ns()}"
        run, _ = self._submitted(PAYLOAD.format(title=title, numbers=size // NUMBER, rounds=rounds))
        self._waited(run)
        return [line for line in self._log(run) if line["event"] == "round" and line["what"].startswith("payload part")]

    def _submitted(self, text: str) -> tuple[str, Path]:
        for name in self._names:
            Home(self._place / "hospitals" / name).approve(text)
        file = self._place / "study.toml"
        file.write_text(text, encoding="utf-8")
        return str(self.remote.submit(file, deadline=OVER)["run"]), file

    def _waited(self, run: str) -> float:
        """When a run was done, as a researcher's client sees it."""
        status = self.remote.wait(run)
        if status["state"] != "done":
            raise RuntimeError(f"the run {run} is {status['state']}: {status['why']}; see the logs in {self._place}")
        return time.time()

    def _log(self, run: str) -> list[dict[str, Any]]:
        lines = (self._coordinator.folder(run).path / "log.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def resident(processes: Sequence[psutil.Process]) -> int:
    """Resident bytes of processes together: of a file that several have mapped, the largest part that one has of it,
    and what each has changed; of a page that was forked and not changed since, the share of each."""
    own, shared = 0, Counter[str]()
    for process in processes:
        for place in process.memory_maps(grouped=True):
            if place.path.startswith("["):
                own += place.pss
                continue
            own += place.private_dirty
            shared[place.path] = max(shared[place.path], place.rss - place.private_dirty)
    return own + shared.total()


@contextmanager
def founded(place: Path, many: int) -> Iterator[Measured]:
    """A federation of so many hospitals on the breast cancer records, up; their policy allows the method `payload`."""
    import pandas as pd

    frame = pd.concat(load("breast")[1].values(), ignore_index=True)
    names = [*NAMES[: many - 1], NAMES[-1]]
    frames = {name: frame[i::many].reset_index(drop=True) for i, name in enumerate(names)}
    with up(place, frames, COX.format(title="founded"), allow=True) as made:
        yield made


@contextmanager
def up(place: Path, frames: Mapping[str, pd.DataFrame], text: str, allow: bool = False) -> Iterator[Measured]:
    """A federation of hospitals with these records, for studies like this one, up."""
    place.mkdir()
    as_installed()
    token = federated.found(place, frames, text)
    for name in frames if allow else ():
        _allowed(place / "hospitals" / name / "hospital.toml")
    print(f"a federation of {len(frames)} hospitals", flush=True)
    with federated.serving(place, list(frames)) as processes:
        made = Measured(place, list(frames), token, {name: process.pid for name, process in processes.items()})
        made.until_up()
        yield made
        made.remote.close()


def _allowed(settings: Path) -> None:
    """Have a hospital's policy allow what the method `payload` sends."""
    text = re.sub(r"(?m)^(allow|megabytes) = .*\n", "", settings.read_text(encoding="utf-8"))
    more = f'allow = ["model_weights"]\nmegabytes = {MEGABYTES}\n'
    settings.write_text(re.sub(r"(?m)^(\[policy\].*\n)", lambda found: found[1] + more, text), encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    machine, first = results["machine"], results["reports"]
    rows = [
        [f"round of {size}, {found['rounds']} rounds", _seconds(found["seconds"]), f"{TARGETS[size]:g} s"]
        for size, found in results["rounds"].items()
    ]
    rows += [
        ["submit to the first round's sum", _seconds(spread([r["first"] for r in first])), f"{FIRST:g} s"],
        ["Cox on Rotterdam, submit to report", _seconds(spread([r["report"] for r in first])), f"{REPORT:g} s"],
        [
            "memory of a hospital at rest: serving process; the engine's; both",
            "; ".join(f"{results['rest'][k]['median'] / 1e6:.0f} MB" for k in ("serving", "engine", "together")),
            f"{REST / 1e6:.0f} MB",
        ],
    ]
    carried = [
        [many, *(f"{found[s][k]:,.0f}" for s in ("1 kB", "1 MB") for k in ("received", "sent"))]
        for many, found in results["carried"].items()
    ]
    return (
        f"Three hospitals and a coordinator as processes, loopback, TLS. {machine['processor']}, {machine['cores']} "
        f"cores for all of them, {machine['date']}.\n\n"
        f"{grid(('measured', 'median (least to most)', 'target'), rows)}\n\n"
        f"{grid(('hospitals', '1 kB: received', '1 kB: sent', '1 MB: received', '1 MB: sent'), carried)}\n"
    )


def _seconds(found: dict[str, float]) -> str:
    return f"{found['median']:.3g} s ({found['min']:.3g} to {found['max']:.3g})"


if __name__ == "__main__":
    main()
