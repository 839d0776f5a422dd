"""Who is held out in several studies: what the training of one tells less that of another.

Inside one study another share is refused (`study.build`). Across studies the guard does not compare who is held out: it
is drawn anew under a key of the study, so that no choice of shares and seeds makes two studies differ by few people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.histories import K
from confrere.console.local import Local
from confrere.data.table import Table
from confrere.hospital import run as runs
from confrere.hospital.home import Home
from confrere.hospital.run import Run
from confrere.rounds import People, find
from confrere.study.file import parse
from confrere.study.ground import Ground
from engines.conftest import beginning, place  # noqa: F401
from engines.inprocess import NAMES, STUDY
from engines.test_desk import run
from federate import table

N = 400
SHARES = ((0.2, 0.2, 1), (0.2, 0.205, 1), (0.2, 0.2, 2), (0.05, 0.06, 1))  # of two studies, and the second's seed

ONE = STUDY.partition('[[analysis]]\nname = "recurrence"')[0]


def people() -> Table:
    rng = np.random.default_rng(1)
    return table(pd.DataFrame({"pid": [f"p{i}" for i in range(N)], "y": rng.normal(size=N), "x": rng.normal(size=N)}))


def trains(share: float, seed: int, key: bytes) -> Any:
    """(N,) who trains."""
    trees = find("boosting")("y", ("x",), objective="squared", holdout=share, seed=seed, ground=Ground(person="pid"))
    return trees.people(People(people(), shared=key)).data[2]


def keys(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> list[bytes]:
    """The key that desks have made for the people of each study; the coordinator lacks it."""
    found: list[bytes] = []

    def noted(self: Run, asked: Any) -> Any:
        said = Run._open(self, asked)
        found.append(self.site.shared or b"")
        return said

    monkeypatch.setitem(runs._DO, "open", noted)
    made = []
    for text in texts:
        for name in NAMES:
            Home(folder / name).approve(text)
        run(folder, text=text)
        assert len(set(found)) == 1
        made.append(found[0])
        found.clear()
    return made


@pytest.mark.slow
def test_two_studies_at_desks_draw_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    one, other = keys(place, monkeypatch, [ONE, ONE.replace('title = "', 'title = "Again: ')])
    assert one != other
    for first, then, seed in SHARES:
        assert np.count_nonzero(trains(first, 1, one) ^ trains(then, seed, other)) >= K


def test_two_studies_in_one_process_draw_anew() -> None:
    hospitals = Local({name: people().frame for name in "abc"})
    head = '[study]\nid = "{}"\npurpose = "public-interest research"\n[data]\ntable = "t"\n[[analysis]]\nname = "a"\n'
    texts = [head.format(i) + 'method = "linear"\nformula = "y ~ x"\n' for i in "ab"]
    one, other = (hospitals._site(parse(text), "a", people(), ()).shared or b"" for text in texts)
    for first, then, seed in SHARES:
        assert np.count_nonzero(trains(first, 1, one) ^ trains(then, seed, other)) >= K


def test_control_under_one_key_two_shares_differ_by_few() -> None:
    key = bytes(32)
    assert 0 < np.count_nonzero(trains(0.2, 1, key) ^ trains(0.205, 1, key)) < K
