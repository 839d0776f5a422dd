"""Studies one after the other at one hospital: tables whose gaps select people, and what the guard says to each study.

A researcher selects people by columns that the others miss: `selecting(n, a=..., b=...)` is a table in which the column
`a` is known for the people of `a` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from confrere.data import sources
from confrere.hospital.differencing import Answered, Judgement
from confrere.hospital.populations import Cohort, Here, cohorts_of
from confrere.study import build
from confrere.study.file import Study, parse

K = 11
MEMBERS = ("here", "lyon", "metz")


def selecting(n: int, **known: Collection[int]) -> pd.DataFrame:
    """n people with an outcome, and columns that are known for some of them; p0, p1, ... are their ids."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"pid": [f"p{i}" for i in range(n)], "y": rng.normal(size=n), "age": np.arange(n) % 90.0})
    for name, people in known.items():
        frame[name] = np.where(np.isin(np.arange(n), list(people)), rng.normal(size=n), np.nan)
    return frame


def study(*formulas: str, person: str = "", more: str = "", **settings: str) -> Study:
    """A study of one linear model for each formula; `more` is further TOML, `person` a column that the study names."""
    head = '[study]\nid = "s"\npurpose = "public-interest research"\n[data]\ntable = "t"\n'
    head += f'person = "{person}"\n' if person else ""
    parts = [f'[[analysis]]\nname = "a{i}"\nmethod = "linear"\nformula = "{f}"\n' for i, f in enumerate(formulas)]
    parts = [part + "".join(f"{key} = {value}\n" for key, value in settings.items()) for part in parts]
    return parse(head + "".join(parts) + more)


def asked(
    asks: Study, frame: pd.DataFrame, cut: str = "2026-11", members: Sequence[str] = MEMBERS, named: bool = True
) -> list[Cohort]:
    """The cohorts of a study on this table; `named` says whether the hospital knows its column of ids."""
    built = build.analyses(asks)
    table = sources.read(frame, build.columns_of(built), asks.schema, asks.person)
    return cohorts_of(asks, built, table, Here("here", tuple(members), cut, K, tuple(frame["pid"]) if named else ()))


@dataclass
class History:
    """A hospital that answers what its guard lets pass."""

    answered: Answered
    frame: pd.DataFrame
    strict: bool = False
    named: bool = True
    said: list[Judgement] = field(default_factory=list)

    def ask(self, *formulas: str, cut: str = "2026-11", members: Sequence[str] = MEMBERS, person: str = "") -> bool:
        """Whether a study of these formulas is answered."""
        asks = study(*formulas, person=person)
        cohorts = asked(asks, self.frame, cut, members, self.named)
        self.said.append(self.answered.admit(asks.hash, cohorts, K, self.strict))
        return self.said[-1].ok
