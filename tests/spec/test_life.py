"""The life of a study is a table: every move stands in it with who may do it, and nothing else is possible."""

from __future__ import annotations

import pytest

from confrere.errors import StudyError
from confrere.study.life import ANSWERED, LIFE, ROLES, SELF, moved

STATES = {"draft", "submitted", "approved", "refused", "running", "waiting", "done", "paused", "revoked", "expired"}


def test_the_states_are_those_of_the_design_and_every_move_leads_to_one() -> None:
    assert set(LIFE) == STATES
    assert {m.to for moves in LIFE.values() for m in moves.values()} <= STATES
    assert {who for moves in LIFE.values() for m in moves.values() for who in m.who} <= {*ROLES, *SELF}


def test_every_state_can_be_reached() -> None:
    reached, new = {"draft"}, {"draft"}
    while new:
        new = {m.to for state in new for m in LIFE[state].values()} - reached
        reached |= new
    assert reached == STATES


def test_only_a_steward_says_yes_and_nothing_is_answered_before() -> None:
    yes = [
        (s, m) for s, moves in LIFE.items() for action, m in moves.items() if m.to == "approved" and action != "resume"
    ]
    assert all(m.who == ("steward",) for _, m in yes)
    assert {"approved", "running", "waiting", "done"} == ANSWERED
    for state in STATES - ANSWERED:
        assert all(m.to not in ("running", "done") for m in LIFE[state].values())


def test_a_steward_can_stop_whatever_is_answered() -> None:
    for state in ANSWERED:
        stops = {m.to for m in LIFE[state].values() if "steward" in m.who}
        assert {"refused", "revoked"} <= stops
        if state != "done":
            assert "paused" in stops


def test_the_end_date_ends_every_study_that_could_still_be_answered() -> None:
    assert all(LIFE[s]["expire"].to == "expired" for s in ANSWERED | {"paused", "submitted"})
    assert not LIFE["expired"]


def test_a_move_that_is_not_in_the_table_says_what_is() -> None:
    assert moved("submitted", "approve", "steward") == "approved"
    with pytest.raises(StudyError, match=r"submitted cannot finish; from there: approve, refuse$"):
        moved("submitted", "finish", "steward")
    with pytest.raises(StudyError, match="approve is for the steward, not for the researcher"):
        moved("submitted", "approve", "researcher")
