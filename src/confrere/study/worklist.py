"""The value that a `keep` step returns for clinicians: people of one hospital, and why each of them is listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from confrere.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

Answer = Literal["met", "unknown", "failed"]


@dataclass(frozen=True, eq=False)
class Worklist:
    """People of one hospital. It stays there: it is no `Sum`, and says nothing of its rows when it is printed.

    title     what the list is called
    purpose   what it is for, in the study's words
    criteria  as the study writes them, (c,)
    rows      (n, 1 + columns) the person's id as text, then what a clinician sees; numbers, texts, or missing
    answers   (n, c) of each row, whether each criterion is met
    funnel    how many people of this hospital were left at each step: (step, criterion or "", people)
    contact   whether people of the list may be contacted for research: who opposes that is left off
    Raises StudyError where these do not fit together, or a person is listed twice.
    """

    title: str
    purpose: str
    criteria: tuple[str, ...]
    rows: pd.DataFrame = field(repr=False)
    answers: tuple[tuple[Answer, ...], ...] = field(repr=False)
    funnel: tuple[tuple[str, str, int], ...] = field(default=(), repr=False)
    contact: bool = True

    def __post_init__(self) -> None:
        if len(self.answers) != len(self.rows) or any(len(a) != len(self.criteria) for a in self.answers):
            raise StudyError(f"worklist {self.title!r}: give every row an answer to each of its criteria")
        if not len(self.rows.columns) or self.rows.iloc[:, 0].duplicated().any():
            raise StudyError(f"worklist {self.title!r}: the first column must name each person once")

    def __repr__(self) -> str:
        return f"Worklist({self.title!r}, {len(self.rows)} rows that stay here)"
