"""The memory of what was sent: it survives restarts and torn files, and one claim wins."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from confrere.errors import KeysError
from confrere.sums import FileAttempts, MemoryAttempts
from confrere.sums.attempts import Attempts, attempt_name


def name_of(i: int) -> bytes:
    return hashlib.sha256(f"name {i}".encode()).digest()


def message_of(i: int) -> bytes:
    return hashlib.sha256(f"message {i}".encode()).digest()


def test_what_was_claimed_is_there_after_a_restart(tmp_path: Path) -> None:
    with FileAttempts(tmp_path / "attempts") as file:
        assert file.claim(name_of(0), message_of(0)) == message_of(0)
        assert file.claim(name_of(0), message_of(1)) == message_of(0)
    with FileAttempts(tmp_path / "attempts") as file:
        assert file.claim(name_of(0), message_of(2)) == message_of(0)
        assert file.claim(name_of(1), message_of(1)) == message_of(1)


def test_a_file_cut_at_any_byte_keeps_every_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    with FileAttempts(path) as file:
        sizes = []
        for i in range(3):
            file.claim(name_of(i), message_of(i))
            sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with FileAttempts(path) as file:
            for i in range(sum(size <= cut for size in sizes)):
                assert file.claim(name_of(i), bytes(32)) == message_of(i)
            assert file.claim(name_of(9), message_of(9)) == message_of(9)  # and it can go on
        with FileAttempts(path) as file:
            assert file.claim(name_of(9), bytes(32)) == message_of(9)


def test_a_last_record_whose_blocks_are_zeros_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    with FileAttempts(path) as file:
        file.claim(name_of(0), message_of(0))
    path.write_bytes(path.read_bytes() + bytes(96))
    with FileAttempts(path) as file:
        assert file.claim(name_of(0), bytes(32)) == message_of(0)
        assert file.claim(name_of(1), message_of(1)) == message_of(1)


@pytest.mark.parametrize("damage", ["bit", "order", "missing", "other file"])
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "attempts"
    with FileAttempts(path) as file:
        start = path.stat().st_size
        for i in range(3):
            file.claim(name_of(i), message_of(i))
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[start + 40] ^= 1
    elif damage == "order":
        data[start : start + 192] = data[start + 96 : start + 192] + data[start : start + 96]
    elif damage == "missing":
        del data[start : start + 96]
    else:
        data[:7] = b"ledger "
    path.write_bytes(data)
    with pytest.raises(KeysError, match=r"damaged at byte|not a file of attempts"):
        FileAttempts(path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with FileAttempts(tmp_path / "attempts") as file:
        with pytest.raises(KeysError, match="is in use"):
            FileAttempts(tmp_path / "attempts")
        with pytest.raises(KeysError, match="two hashes of 32 bytes"):
            file.claim(b"name", message_of(0))


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_of_many_threads_one_claims(tmp_path: Path, kind: str) -> None:
    attempts: Attempts = MemoryAttempts() if kind == "memory" else FileAttempts(tmp_path / "attempts")
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda i=i: got.append(attempts.claim(name_of(0), message_of(i)))) for i in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 16
    assert len(set(got)) == 1
    if isinstance(attempts, FileAttempts):
        attempts.close()


def test_every_message_has_a_name_of_its_own() -> None:
    base = (b"run", "curie", 1, 0)
    others = [(b"run 2", "curie", 1, 0), (b"run", "lyon", 1, 0), (b"run", "curie", 0, 1), (b"run", "curie", 1, 1)]
    assert len({attempt_name(*parts) for parts in (base, *others)}) == 5
