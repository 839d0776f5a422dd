"""What becomes of a patient on a worklist, as a table: which status may follow which.

    to see -> seen -> eligible -> contacted -> consented -> enrolled
                  \\-> not eligible        \\-> declined

The table is all there is: `moved` looks up, nothing decides elsewhere, and docs/recruitment.md draws it. The order of
`STATUSES` is that of the flow diagram of a trial (CONSORT, Hopewell et al., BMJ 2025;389:e081123): whoever has a status
has got further than those before it, so that the statuses are an ordered partition and their counts a funnel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from confrere.errors import StudyError

STATUSES: Final = ("to see", "seen", "not eligible", "eligible", "contacted", "declined", "consented", "enrolled")
FIRST: Final = STATUSES[0]
STEPS: Final = (  # what it is called to have a status or to have got further than it, one for each of `STATUSES`
    "on the list", "seen", "read", "found eligible", "contacted", "answered", "consented", "enrolled",
)  # fmt: skip
REASONED: Final = ("not eligible",)  # a status that is told with a reason
NEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "to see": ("seen", "not eligible", "eligible"),
    "seen": ("not eligible", "eligible"),
    "eligible": ("contacted", "not eligible"),
    "contacted": ("consented", "declined", "not eligible"),
    "consented": ("enrolled", "declined", "not eligible"),  # withdrawn, or a screening failure
    "not eligible": (),
    "declined": (),
    "enrolled": (),
}


def following(status: str, before: str = "") -> tuple[str, ...]:
    """The statuses that may follow; `before`, the one that was before it, is among them: a move may be taken back."""
    return tuple(s for s in STATUSES if s in NEXT[status] or (s == before and s != status))


def moved(path: Sequence[str], to: str, reason: str) -> str:
    """The status after a move. `path` is every status so far, the first first.

    StudyError where the table does not have it, or where a reason is missing: for a move that is taken back, and for
    the statuses of `REASONED`.
    """
    status, before = path[-1], path[-2] if len(path) > 1 else ""
    if to not in STATUSES:
        raise StudyError(f"{to!r} is no status; it is one of {', '.join(STATUSES)}")
    if to not in following(status, before):
        raise StudyError(f"a patient who is {status!r} cannot become {to!r}; next is {_next(status, before)}")
    if not reason and (to in REASONED or to not in NEXT[status]):
        raise StudyError(f"a move from {status!r} to {to!r} needs a reason, which stays in the hospital; give one")
    return to


def reached(statuses: Mapping[str, int]) -> dict[str, int]:
    """How many people got as far as each of `STEPS`, of how many have each status."""
    return {what: sum(statuses.get(s, 0) for s in STATUSES[at:]) for at, what in enumerate(STEPS)}


class Look(NamedTuple):
    """What a study asks of a list of an earlier one: the statuses at the end of a day, as a column of the people.

    study, title  id of the study that made the list, and what the list is called
    as_of         the day, in ISO 8601; it must be over (UTC) when a hospital answers
    """

    study: str
    title: str
    as_of: str

    @property
    def column(self) -> str:
        """Its column: the place of each person's status among `STATUSES`, from 0; 0 too for who is not on the list."""
        return f"status_{hashlib.sha256(json.dumps(self).encode()).hexdigest()[:16]}"


def _next(status: str, before: str) -> str:
    return ", ".join(following(status, before)) or "nothing more"
