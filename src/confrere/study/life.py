"""The life of a study at one hospital, as a table: where it may go from each state, by which action, and who may act.

    draft -> submitted -> approved -> running -> done
                 |            |         |  ^
              refused       paused   waiting

The table is all there is: `moved` looks up, nothing decides elsewhere, and docs/rules.md draws it.
Hospitals decide alone, so one study may be approved here and refused there; a run needs the yes of all its members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from confrere.errors import StudyError

ROLES: Final = ("researcher", "steward", "second reader", "clinician", "operator")
SELF: Final = ("coordinator", "gate", "clock")  # what acts without a person: a run, three strikes, an end date


class Move(NamedTuple):
    """Where an action leads, and which roles may do it."""

    to: str
    who: tuple[str, ...]


_STEWARD: Final = ("steward",)
_YES: Final = Move("approved", _STEWARD)  # again, where a method or the roster is another one than before
_STOP: Final = {
    "approve": _YES,
    "pause": Move("paused", ("steward", "operator", "gate")),
    "revoke": Move("revoked", ("steward", "researcher")),
    "expire": Move("expired", ("clock",)),
}

LIFE: Final[Mapping[str, Mapping[str, Move]]] = {
    "draft": {"submit": Move("submitted", ("researcher", "steward"))},
    "submitted": {
        "approve": _YES,
        "refuse": Move("refused", _STEWARD),
        "revoke": Move("revoked", ("researcher",)),
        "expire": Move("expired", ("clock",)),
    },
    "approved": {"start": Move("running", ("coordinator",)), "refuse": Move("refused", _STEWARD), **_STOP},
    "running": {
        "wait": Move("waiting", ("coordinator",)),
        "finish": Move("done", ("coordinator",)),
        "start": Move("running", ("coordinator",)),  # a new attempt takes up what an interrupted one left
        "refuse": Move("refused", _STEWARD),
        **_STOP,
    },
    "waiting": {"start": Move("running", ("coordinator",)), "refuse": Move("refused", _STEWARD), **_STOP},
    "paused": {
        "approve": _YES,
        "resume": Move("approved", _STEWARD),
        "refuse": Move("refused", _STEWARD),
        "revoke": Move("revoked", ("steward", "researcher")),
        "expire": Move("expired", ("clock",)),
    },
    "done": {
        "approve": _YES,
        "start": Move("running", ("coordinator",)),  # the same answers again, for a coordinator that lost them
        "refuse": Move("refused", _STEWARD),
        "revoke": Move("revoked", ("steward", "researcher")),
        "expire": Move("expired", ("clock",)),
    },
    "refused": {"approve": _YES},
    "revoked": {"approve": _YES},
    "expired": {},
}
ANSWERED: Final = frozenset(s for s, moves in LIFE.items() if "start" in moves)  # in which a hospital answers asks


def moved(state: str, action: str, role: str) -> str:
    """The state after an action of a role. StudyError where the table does not have it, or not for this role."""
    moves = LIFE[state]
    if action not in moves:
        may = ", ".join(name for name, move in moves.items() if role in move.who) or "nothing more"
        raise StudyError(f"a study that is {state} cannot {action}; from there: {may}")
    if role not in moves[action].who:
        raise StudyError(f"{action} is for the {' or the '.join(moves[action].who)}, not for the {role}")
    return moves[action].to
