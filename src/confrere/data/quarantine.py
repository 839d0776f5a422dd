"""Records that could not be read: kept with their place and reason, so that nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import IO

QUARANTINE = "quarantine.ndjson"


class Quarantine:
    """A file of lines {place, reason, line}, made when the first record comes, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / QUARANTINE
        self._file: IO[str] | None = None

    @property
    def path(self) -> Path | None:
        """The file; None where nothing had to be kept."""
        return self._path if self._file else None

    def add(self, place: str, reason: str, line: str) -> None:
        """Keep a record: where it stood, why it could not be read, and the record as it stood."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
            self._path.chmod(0o600)
        told = {"place": place, "reason": reason, "line": line.rstrip("\r\n")}
        self._file.write(json.dumps(told, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Nothing more comes."""
        if self._file is not None:
            self._file.close()


def reasons(path: Path, most: int = 5) -> list[str]:
    """Why records were kept, the commonest reasons first, each with how many and the place of the first."""
    first: dict[str, str] = {}
    number = Counter[str]()
    with path.open(encoding="utf-8") as file:
        for line in file:
            kept = json.loads(line)
            first.setdefault(kept["reason"], kept["place"])
            number[kept["reason"]] += 1
    return [f"{n:,} x {reason} (first: {first[reason]})" for reason, n in number.most_common(most)]
