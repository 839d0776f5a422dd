"""What each study found among a hospital's own people: a file per kind in the folder of the run, for its stewards.

It goes when the run is erased. A run that is taken up again writes the same over it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar

from confrere.study.kept import Own
from confrere.study.own_balance import OwnBalance
from confrere.study.own_measures import OwnMeasures
from confrere.sums.files import write_private

FILES: Final = {OwnBalance: "balances.json", OwnMeasures: "measures.json"}
Kind = TypeVar("Kind", OwnBalance, OwnMeasures)


def keep(folder: Path, made: Own) -> None:
    """Write down what a study made, in the place of what it made before of the same kind about the same."""
    file = folder / FILES[type(made)]
    held = {plain["about"]: plain for plain in _plain(file)} | {made.about: made.plain()}
    write_private(file, json.dumps(list(held.values())).encode())


def kept(folder: Path, kind: type[Kind]) -> list[Kind]:
    """What studies made of a kind, in the order in which they asked first; nothing where none did."""
    return [kind.of(plain) for plain in _plain(folder / FILES[kind])]


def _plain(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_bytes())) if file.is_file() else []
