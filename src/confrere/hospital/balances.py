"""The balance of a hospital's own people under each study: balances.json in the folder of the run, for its stewards.

It goes when the run is erased. A run that is taken up again writes the same over it.
"""

from __future__ import annotations

import json
from pathlib import Path

from confrere.study.own_balance import OwnBalance
from confrere.sums.files import write_private

FILE = "balances.json"


def keep(folder: Path, made: OwnBalance) -> None:
    """Write down what a study made, in the place of what it made before about the same treatment and outcome."""
    held = {b.about: b for b in kept(folder)} | {made.about: made}
    write_private(folder / FILE, json.dumps([b.plain() for b in held.values()]).encode())


def kept(folder: Path) -> list[OwnBalance]:
    """What studies made, in the order in which they asked first; nothing where none did."""
    file = folder / FILE
    return [OwnBalance.of(plain) for plain in json.loads(file.read_bytes())] if file.is_file() else []
