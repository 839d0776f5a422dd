"""The ledger's figures: durable entries per second, and seconds to verify: `python -m benchmarks.ledger [--out DIR]`.

Every write waits until the disk says that it is there; threads that wait at the same time share an fsync. What the disk
alone can do stands beside it, since that differs by a factor of a hundred between disks and hours: measure on the one
that the ledger will be on (`--folder`).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from confrere.hospital.ledger import Ledger, verify
from confrere.sums import Identity

THREADS = 16
BATCH = 10_000
FACTS = {
    "study": "5f" * 32, "round": 12, "step": "hessian", "analysis": "recurrence", "bytes": 1408,
    "shapes": {"information": [5, 5], "score": [5]}, "supports": [1012, 611],
}  # fmt: skip


def ledger(folder: Path, entries: int, single: int) -> dict[str, Any]:
    """Entries per second of one writer, of sixteen threads and of batches; seconds to verify `entries` entries."""
    book = Ledger(folder / "ledger.sqlite", Identity.generate(), "benchmark")
    book.write("warm", FACTS)
    found: dict[str, Any] = {"entries": entries, "fsync_per_second": fsyncs(folder, single)}
    begin = time.perf_counter()
    for _ in range(single):
        book.write("answer", FACTS)
    found["one_writer_per_second"] = single / (time.perf_counter() - begin)
    threads = [threading.Thread(target=several, args=(book, single // THREADS)) for _ in range(THREADS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found["sixteen_threads_per_second"] = single // THREADS * THREADS / (time.perf_counter() - begin)
    begin, start = time.perf_counter(), len(book)
    while left := entries - len(book):
        book.write_many([("answer", FACTS)] * min(BATCH, left))
    found["batches_per_second"] = (entries - start) / (time.perf_counter() - begin)
    book.close()
    found["bytes_per_entry"] = book.path.stat().st_size / entries
    begin = time.perf_counter()
    if verify(book.path).entries != entries:
        raise RuntimeError("the ledger has not as many entries as were written")
    found["verify_seconds"] = time.perf_counter() - begin
    return found


def several(book: Ledger, times: int) -> None:
    """One thread's entries."""
    for _ in range(times):
        book.write("answer", FACTS)


def fsyncs(folder: Path, times: int) -> float:
    """How often in a second the disk takes 4096 bytes more and says that they are there."""
    handle = os.open(folder / "disk", os.O_CREAT | os.O_WRONLY)
    begin = time.perf_counter()
    for _ in range(times):
        os.write(handle, bytes(4096))
        os.fsync(handle)
    os.close(handle)
    return times / (time.perf_counter() - begin)


def main() -> None:
    """Measure, print, and write ledger.json if a folder is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the ledger that is verified")
    parser.add_argument("--single", type=int, default=3_000, help="entries that wait for the disk one by one")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; a temporary one by default")
    parser.add_argument("--out", type=Path, help="folder for ledger.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = ledger(Path(folder), given.entries, given.single)
    rows = (
        ("the disk alone, fsyncs per second", f"{found['fsync_per_second']:,.0f}"),
        ("durable entries per second, one writer", f"{found['one_writer_per_second']:,.0f}"),
        ("durable entries per second, sixteen threads", f"{found['sixteen_threads_per_second']:,.0f}"),
        (f"entries per second in batches of {BATCH:,}", f"{found['batches_per_second']:,.0f}"),
        ("bytes per entry", f"{found['bytes_per_entry']:,.0f}"),
        (f"seconds to verify {found['entries']:,} entries", f"{found['verify_seconds']:.1f}"),
    )
    print("\n".join(["| ledger | |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in rows)]))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": described(), "ledger": found}, indent=1)
        (given.out / "ledger.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
