"""The figures that a hospital's rules are held against: `python -m benchmarks.rules --write docs/figures-rules.md`.

Attacks are counted by running `tests/attacks`; a control (an attack on what has no protection) is counted apart, and
what is known to succeed counts as succeeded. The gate is timed in whole runs over three hospitals' folders in this
process, with approvals, rules, oppositions and ledger as in a federation, and no network: of a real round it is less.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
KINDS = {  # the files of tests/attacks, and what their attacks are
    "test_active": "hostile asks, forged totals, replays",
    "test_deny": "asks that no manifest lists",
    "test_cases": "whole views: differences, rows solved for",
    "test_merging": "cells and unions of cells",
    "test_balance_kept": "how far arms are apart in one hospital, by a count of hospitals",
    "test_between": "what one hospital learns of another's effect",
    "test_margins": "sparse tables, people divided in several ways",
    "test_gradients": "records from the first update of a network",
    "test_crowds": "hospitals too small for a network, beside other analyses",
    "test_folds": "hospitals too small for the fits without a fold",
    "test_guessed": "losses of people in two models of a study",
    "test_left_out": "groups of hospitals left out in turn",
    "test_line_weights": "times read from the weights of a calibration line",
    "test_patterns": "weighted curves of confounders with few patterns",
    "test_permutation": "features whose values are replaced",
    "test_risk_patterns": "published risks with few patterns",
    "test_habits": "hospitals that one analysis leaves out",
    "test_held_out": "who is held out in two studies",
    "test_inputs": "inputs of a score that are all but its risk",
    "test_levels": "levels of a column beside everybody",
    "test_measures_kept": "measures that stay in a hospital",
    "test_mixture": "mixtures of larger studies, smoothly",
    "test_moves": "clusters from round to round",
    "test_sets": "sets of classes beside cells of scores",
    "test_cut": "the limit of sets of classes",
    "test_stopping": "who stops a treatment, in trials one after the other",
    "test_scores_together": "two models of one study that score the same people",
    "test_cells_of_time": "cells of one time by two methods, spellings or kinds of loss",
    "test_similar": "questions of similar cases that move by little",
    "test_opposition": "runs before and after an opposition",
    "test_pictures": "bags of images with a picture more or less",
    "test_rules_coordinator": "desks: messages, order, stops, supports tried out",
    "test_rules_insider": "folders: files changed or taken away",
    "test_rules_researcher": "study files: cuts, criteria, groups, purposes",
    "test_sponsor": "a trial's arm at one member, whose sums are its own",
    "test_small": "rare levels, few people, adjacent analyses",
    "test_small_cohorts": "groups of hospitals, and many sets of columns, that a few people tell apart",
    "test_together": "analyses of one study that tell few people apart",
    "test_heavy_arms": "arms that a few people carry by their weights",
    "test_classes_parted": "a model of classes by which people are counted",
    "test_transcript": "supports guessed by signatures",
    "test_trial_parts": "the parts of a trial, one less the other",
    "test_trackers": "trackers over several studies",
}
CONTROL = ("test_controls", "control", "is_caught", "is_answered")  # in names of what must come out the other way
NEITHER = ("is_measured", "is_attacked")  # in names of what neither succeeds nor fails as an attack


class Attacks(NamedTuple):
    """Attacks by kind as (tried, succeeded), controls as (tried, right), what succeeded, membership by study."""

    kinds: dict[str, tuple[int, int]]
    controls: tuple[int, int]
    succeeded: list[str]
    auc: dict[str, str]


# Attacks ------------------------------------------------------------------------------------------------------


def attacks(but: str) -> Attacks:
    """Run all attacks, also those that take minutes, `but` those with this word in their names.

    RuntimeError where they cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "attacks.xml"
        marks = ["-m", "slow or not slow", *(["-k", f"not {but}"] if but else [])]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/attacks", *marks]
        subprocess.run(
            [*command, "-o", "junit_family=xunit1", f"--junitxml={report}"], cwd=ROOT, check=False, capture_output=True
        )
        if not report.is_file():
            raise RuntimeError("tests/attacks could not be run: try `pytest tests/attacks`")
        return counted(report)


def counted(*reports: Path) -> Attacks:
    """What reports of pytest (JUnit XML) say of the attacks; of one that is in several the last holds."""
    tried: Counter[str] = Counter()
    won: Counter[str] = Counter()
    succeeded, auc = [], {}
    cases = [case for report in reports for case in ET.parse(report).getroot().iter("testcase")]
    for (place, name), case in {(str(c.get("classname")), str(c.get("name"))): c for c in cases}.items():
        file = place.split(".")[-1]
        said = case.find("skipped")
        known = said is not None and said.get("type") == "pytest.xfail"
        if said is not None and not known:
            continue
        for one in case.iter("property"):
            key = ast.literal_eval(str(one.get("name"))) if str(one.get("name")).startswith("(") else ("",)
            if key[0] == "attack" and key[2] == "AUC":
                auc[key[1]] = str(one.get("value"))
        if any(word in name for word in NEITHER):
            continue
        test = f"{file}.{name.partition('[')[0]}"  # of a study with negative controls the name has the word too
        kind = "control" if any(word in test for word in CONTROL) else KINDS.get(file, file)
        tried[kind] += 1
        if known or case.find("failure") is not None or case.find("error") is not None:
            won[kind] += 1
            succeeded.append(f"`{name}`: {said.get('message') if said is not None else 'failed'}")
    kinds = {kind: (tried[kind], won[kind]) for kind in tried if kind != "control"}
    return Attacks(kinds, (tried["control"], tried["control"] - won["control"]), succeeded, auc)


# The gate -----------------------------------------------------------------------------------------------------


class Clock:
    """Adds up how long named functions take: seconds of the processor, or of the clock where a disk is waited for."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def over(self, name: str, owner: Any, function: str, now: Callable[[], float]) -> Iterator[None]:
        """Time a function of a class or module while this is open."""
        inner = getattr(owner, function)

        def timed(*args: Any, **named: Any) -> Any:
            begin = now()
            try:
                return inner(*args, **named)
            finally:
                with self._lock:
                    self.spent[name] += now() - begin
                    self.calls[name] += 1

        with patch.object(owner, function, timed):
            yield


def gate(times: int) -> dict[str, float]:
    """Medians over runs: milliseconds per ask of the gate, of the desk with its ledger, and of a support; shares."""
    sys.path.insert(0, str(ROOT / "tests"))
    from confrere.hospital import run as runs
    from confrere.hospital.desk import Desk
    from confrere.hospital.gate import Gate

    made: list[dict[str, float]] = []
    for _ in range(times):
        clock = Clock()
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            for name, owner, function, now in (
                ("gate", Gate, "settle", time.thread_time), ("gate", Gate, "admit", time.thread_time),
                ("support", runs, "support_of", time.thread_time), ("desk", Desk, "_before", time.perf_counter),
            ):  # fmt: skip
                stack.enter_context(clock.over(name, owner, function, now))
            found, ledger = conducted(Path(folder), stack, clock)
        asks, hospitals = clock.calls["gate"], len(found.hospitals)
        whole = found.seconds * hospitals  # hospitals answer one beside the other
        spent, calls, rounds = clock.spent, clock.calls, found.rounds
        made.append({
            "gate_ms": 1000 * spent["gate"] / asks, "gate_share": spent["gate"] / whole,
            "support_ms": 1000 * spent["support"] / calls["support"], "support_share": spent["support"] / whole,
            "desk_ms": 1000 * spent["desk"] / calls["desk"], "ledger_ms": 1000 * ledger / rounds / hospitals,
            "round_ms": 1000 * found.seconds / rounds, "rounds": float(rounds),
        })  # fmt: skip
    return {key: statistics.median(one[key] for one in made) for key in made[0]}


def conducted(place: Path, stack: ExitStack, clock: Clock) -> tuple[Any, float]:
    """One run over three hospitals' folders, and the seconds that their ledgers took during it."""
    from confrere.coordinator.conduct import Folder, conduct
    from confrere.hospital.ledger import Ledger
    from engines.inprocess import STUDY, found, let_go, links

    coordinator, homes = found(place)
    stack.enter_context(clock.over("ledger", Ledger, "write", time.perf_counter))
    given = links(homes)
    try:
        ended = conduct(Folder.make(coordinator.path / "runs" / "one", STUDY), given)
    finally:
        let_go(given)
    return ended, clock.spent["ledger"]


# The page -----------------------------------------------------------------------------------------------------


def page(told: Attacks, but: str, took: dict[str, float], rest: dict[str, Any]) -> str:
    """The Markdown page of all figures."""
    lines = [
        "# Figures of the rules", "",
        f"Made by `python -m benchmarks.rules` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, on a machine with "
        f"{os.cpu_count()} cores of a server, shared with other work (load {os.getloadavg()[0]:.1f} at the end). Read "
        "ratios and orders of size: seconds on a machine of your own are others.", "",
        *_table(("figure", "goal", "measured"), list(_all(told, took, rest))),
        *_attacks(told, but), *_gate(took), *_others(rest["pages"]),
    ]  # fmt: skip
    return "\n".join(lines).rstrip("\n") + "\n"


def _all(told: Attacks, took: dict[str, float], rest: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """A row for each figure: its goal, and what was measured."""
    tried, won = (sum(one[i] for one in told.kinds.values()) for i in (0, 1))
    ledger, guard = rest["ledger"], rest["differencing"]
    yield "attacks tried, succeeded", "all, 0", f"{tried}, {won} ([which](#attacks))"
    yield "controls tried, as they must come out", "all, all", f"{told.controls[0]}, {told.controls[1]}"
    yield "membership, area under the curve", "printed", f"{_range(told.auc)} ([by study](#membership))"
    yield "the gate, for an ask", "under 1 ms", f"{took['gate_ms']:.2f} ms of processor"
    yield "the gate, share of a round without a network", "under 2 %", f"{took['gate_share']:.1%}"
    several, one = ledger["sixteen_threads_per_second"], ledger["one_writer_per_second"]
    yield "durable entries of the ledger in a second, sixteen threads", "1,000", f"{several:,.0f}"
    yield "the same, one writer", "", f"{one:,.0f}"
    yield "the disk alone, waits for it in a second", "", f"{ledger['fsync_per_second']:,.0f}"
    yield f"to verify {ledger['entries']:,} entries", "10 s for 1,000,000", f"{ledger['verify_seconds']:.1f} s"
    yield f"refused by the differencing guard, of {guard['studies']} studies", "printed", f"{guard['refused']:.1f}"
    yield "histories that single out 1 to 10 people, without the guard", "printed", f"{guard['unguarded']:.0%}"
    yield "the same, with the guard", "0 %", f"{guard['open']:.0%}"


def _attacks(told: Attacks, but: str) -> list[str]:
    known = "which take long; what is known of them stands in `LEAKS` of `tests/attacks/test_cases.py`"
    which = "all of `tests/attacks`" + (f", but for those with {but!r} in their names, {known}" if but else "")
    rows = [(kind, str(tried), str(won)) for kind, (tried, won) in sorted(told.kinds.items())]
    lines = ["## Attacks", "", f"Run: {which}.", "", *_table(("attack", "tried", "succeeded"), rows)]
    if told.succeeded:
        lines += ["What succeeded, in the words of the test:", "", *(f"- {one}" for one in told.succeeded), ""]
    rows = [(study, value) for study, value in sorted(told.auc.items())]
    text = (
        "Who knows a person's whole row guesses from the released sums whether the person took part; 0.5 is a coin, in "
        "brackets 95 % limits. It is measured and not promised, since no differential privacy is on. *Ranges* are "
        "studies whose values stay within what their columns declare; *heavy tails* have people far off."
    )
    return [*lines, "## Membership", "", text, "", *_table(("study", "area under the curve"), rows)]


def _gate(took: dict[str, float]) -> list[str]:
    each = f"{took['gate_ms']:.2f} ms for an ask, {took['gate_share']:.1%} of the run"
    before = f"{took['desk_ms']:.2f} ms for a round, waiting for the disk included"
    rows = [
        ("the gate: judging a design, letting an answer pass", each),
        (
            "counting what a design rests on, once",
            f"{took['support_ms']:.2f} ms, {took['support_share']:.1%} of the run",
        ),
        ("before a round: approval, hours, oppositions, an entry of the ledger", before),
        ("entries of the ledger, for a round at one hospital", f"{took['ledger_ms']:.2f} ms"),
        ("a round, of which there were " + f"{took['rounds']:.0f}", f"{took['round_ms']:.1f} ms"),
    ]
    text = "Three hospitals of about 1,000 people, in one process, with a Cox, a logistic and a descriptive analysis."
    return ["## What the gate costs", "", text, "", *_table(("part", "median"), rows)]


def _others(pages: list[str]) -> list[str]:
    goals = "under 100 ms for a page at 1,000 studies, and 50 people at once without an error"
    ran = "" if pages else " It was not run for this page."
    text = f"The goals are {goals}. Measured by `python -m benchmarks.pages`.{ran}"
    return ["## Pages", "", text, "", *pages]


def _table(head: tuple[str, ...], rows: list[Any]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def _range(auc: dict[str, str]) -> str:
    values = [float(value.split()[0]) for value in auc.values()]
    return (
        f"{min(values):.2f} to {max(values):.2f}, median {statistics.median(values):.2f}" if values else "not measured"
    )


def main() -> None:
    """Measure, and write or print the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--but", default="", help="leave out attacks with this word in their names, such as imputed")
    said = "of attacks that were run already: pytest --junitxml, junit_family=xunit1"
    parser.add_argument("--report", type=Path, nargs="*", help=said)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the ledger that is verified")
    parser.add_argument("--histories", type=int, default=100, help="of studies, for the differencing guard")
    parser.add_argument("--times", type=int, default=5, help="runs in which the gate is timed")
    parser.add_argument("--write", type=Path, help="the page, such as docs/figures-rules.md")
    given = parser.parse_args()
    took = gate(given.times)
    rest = others(given.entries, given.histories)
    text = page(counted(*given.report) if given.report else attacks(given.but), given.but, took, rest)
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


def others(entries: int, histories: int) -> dict[str, Any]:
    """The figures of the benchmarks beside this one: ledger, differencing guard, and the pages where they have one."""
    from benchmarks import differencing, ledger

    with tempfile.TemporaryDirectory() as folder:
        book = ledger.ledger(Path(folder), entries, min(3_000, entries // 4))
    studies = 25
    rules = differencing.histories(histories, studies, 2_000)
    guard, none = rules["rank, alike (this guard)"], rules["nothing"]
    pages: list[str] = []
    if find_spec("benchmarks.pages"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.pages"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        pages = done.stdout.splitlines() if done.returncode == 0 else []
    known = {"studies": studies, "refused": guard[0], "open": guard[2], "unguarded": none[2]}
    return {"ledger": book, "differencing": known, "pages": pages}


if __name__ == "__main__":
    main()
