"""The process that a measurement runs in: a fresh one each, its seconds, its peak of memory."""

from __future__ import annotations

import compileall
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
SLOWS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # meant for older builds of numpy; they slow a current one
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Timed(NamedTuple):
    """What a call took."""

    result: Any
    wall: float  # seconds
    cpu: float  # seconds, of all threads
    peak: int  # bytes, the whole process
    more: int  # bytes, peak beyond what was there before the call


def fresh(command: list[str]) -> dict[str, Any]:
    """Run a command in a fresh process; its last line is JSON. `{"failed": why}` when it ends with an error."""
    env = {k: v for k, v in os.environ.items() if k not in SLOWS}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"failed": lines[-1]}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def as_installed() -> None:
    """Compile the package, as pip does when it installs it: a start from sources would be timed otherwise."""
    import confrere

    compileall.compile_dir(str(Path(confrere.__file__).parent), quiet=2)


def python(module: str, *arguments: str) -> list[str]:
    """The command of a module of this folder."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]


def timed(call: Callable[[], Any]) -> Timed:
    """Call, and say what it took. The peak is exact on Linux; elsewhere the highest of the process so far."""
    before = reset()
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = highest()
    return Timed(result, wall, cpu, peak, max(0, peak - before))


def reset() -> int:
    """Forget the peak so far; gives the bytes of memory now.

    getrusage will not do on Linux: a child inherits its parent's peak.
    """
    if not RESET.exists():
        return highest()
    RESET.write_text("5", encoding="ascii")
    return _status("VmRSS")


def highest() -> int:
    """The peak of this process, in bytes."""
    if STATUS.exists():
        return _status("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))
    return 1024 * int(found[1]) if found else 0


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": median(values), "min": min(values), "max": max(values)}
