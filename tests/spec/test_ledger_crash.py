"""The ledger survives: writers killed at random moments, logs torn at random bytes, a disk that is really full."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from confrere.hospital.ledger import Ledger, read, verify
from confrere.sums import Identity

SECRET = bytes(range(32))
WRITER = f"""
import sys
from pathlib import Path
from confrere.hospital.ledger import Ledger
from confrere.sums import Identity
ledger = Ledger(Path(sys.argv[1]), Identity.from_bytes(bytes.fromhex("{SECRET.hex()}")), "curie")
while True:
    print(ledger.write("ask", {{"study": "x" * 64}}), flush=True)  # said only after it is durable
"""


def opened(path: Path) -> Ledger:
    """The ledger, in this process."""
    return Ledger(path, Identity.from_bytes(SECRET), "curie")


def killed(path: Path, seconds: float) -> list[int]:
    """Start a writer, kill it (-9) so long after its first entry; the numbers it said were written."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        said = [writer.stdout.readline()]
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().splitlines()
    return [int(line) for line in said]


def survived(path: Path, acknowledged: set[int]) -> None:
    """Verification passes, and nothing that was acknowledged is missing."""
    found = verify(path)
    assert acknowledged <= {entry.number for entry in read(path) if entry.event == "ask"}
    assert found.entries >= max(acknowledged)


@pytest.mark.parametrize("times", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_writer_is_killed_at_random_moments(tmp_path: Path, times: int) -> None:
    path, chance, acknowledged = tmp_path / "ledger.sqlite", random.Random(5), set[int]()
    for _ in range(times):
        acknowledged.update(killed(path, chance.uniform(0, 0.3)))
        survived(path, acknowledged)
    opened(path).write("ask", {})
    survived(path, acknowledged)


def test_writers_are_killed_before_there_is_a_ledger(tmp_path: Path) -> None:
    path, chance = tmp_path / "ledger.sqlite", random.Random(6)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        pass
    time.sleep(chance.uniform(0, 0.002))
    writer.kill()
    writer.wait()
    if path.exists():
        assert verify(path).entries >= 1
    assert opened(path).write("ask", {}) >= 2
    assert verify(path).entries >= 2


def test_a_torn_log_ends_at_the_last_whole_entry(tmp_path: Path) -> None:
    """The power fails: of the write-ahead log, any number of bytes is there, or other bytes in their place."""
    path, log, chance = tmp_path / "ledger.sqlite", tmp_path / "ledger.sqlite-wal", random.Random(7)
    first = opened(path)
    first.write("ask", {})
    first.close()
    before, settled, seconds = verify(path), path.read_bytes(), 0.3
    killed(path, seconds)
    while path.read_bytes() != settled:  # a fast writer moved its log into the file: no such log is torn
        seconds /= 2
        path.write_bytes(settled)
        for beside in ("-wal", "-shm"):
            Path(f"{path}{beside}").unlink(missing_ok=True)
        killed(path, seconds)
    whole = tmp_path / "whole"
    whole.mkdir()
    for file in (path, log):
        shutil.copy(file, whole)
    everything = {entry.number: entry.hash for entry in read(path)}
    size = log.stat().st_size
    found = set()
    for at in [0, 1, 31, 32, 33, *(chance.randrange(size) for _ in range(60)), size]:
        for rest in (b"", chance.randbytes(size - at)):
            shutil.copy(whole / path.name, path)
            log.write_bytes((whole / log.name).read_bytes()[:at] + rest)
            Path(f"{path}-shm").unlink(missing_ok=True)
            ended = verify(path)
            assert ended.entries >= before.entries
            assert everything[ended.entries] == ended.head
            found.add(ended.entries)
        book = opened(path)
        assert book.write("ask", {}) > ended.entries
        book.close()
        assert verify(path).entries > ended.entries
    assert len(found) > 1  # how many more depends on how busy the machine was


def full(folder: Path, path: Path) -> int:
    """Write until nothing more fits; how many were acknowledged."""
    ledger, done, why = opened(path), 0, ""
    while not why and done < 100_000:
        try:
            done = ledger.write("ask", {"text": "x" * 500})
        except OSError as error:
            why = str(error)
    assert str(path) in why
    assert done > 1
    assert verify(path).entries >= done
    with pytest.raises(OSError, match="ledger"):  # it stays so, and it stays well
        ledger.write("ask", {"text": "x" * 1_500_000})
    ledger.close()
    assert verify(path).entries >= done
    return done


def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of 1 MB, where this is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a small file system is not allowed here")
    try:
        path, filler = folder / "ledger.sqlite", folder / "filler"
        filler.write_bytes(bytes(400_000))
        done = full(folder, path)
        filler.unlink()  # room again
        assert opened(path).write("ask", {}) > done
        assert verify(path).entries > done
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


LIMITED = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_ledger_crash import full, opened, verify
path = Path(sys.argv[1])
opened(path).write("ask", {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
done = full(path.parent, path)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert opened(path).write("ask", {{}}) > done
assert verify(path).entries > done
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limits of file sizes")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "ledger.sqlite")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sqlite3.sqlite_version_info >= (3, 37)  # STRICT
