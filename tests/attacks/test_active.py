"""(c) A coordinator that does not keep to the protocol, against whole hospitals: keys, masks, gate, followed flow.

It knows the study, sees every message and may send what it likes. It must get nothing but the one uniform refusal,
the reason must stay at the hospital, and no hospital may have computed anything for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attacks import controls
from attacks.cases import registered
from attacks.network import Network, Tamper
from attacks.people import GROUND, dealt, patients
from confrere import wire
from confrere.errors import ConfrereError, ProtocolError, Refused
from confrere.hospital.gate import Gate, Policy, Violation
from confrere.hospital.run import Follower
from confrere.rounds import Ask, Site, find, one_by_one, supported

TABLES = dealt(patients(180))
UNIFORM = {"refused": True}
Message = dict[str, Any]


def cox() -> Any:
    """A plain study."""
    registered()
    return find("cox")("Surv(time, event) ~ x1 + x2 + treated", diagnostics=False, ground=GROUND)


def curves() -> Any:
    """Kaplan-Meier on the ladder."""
    registered()
    return find("kaplan_meier")("Surv(time, event) ~ arm", ground=GROUND)


def network(tamper: Tamper, study: Callable[[], Any] = cox) -> Network:
    """Three hospitals behind a tampering coordinator."""
    return Network(lambda: study().flow(), TABLES, 5, tamper=tamper)


def at(step: str, change: Callable[[Message], Message]) -> Tamper:
    """Change the asks of the first round that asks for a step."""
    return lambda name, m: m | {"asks": tuple(change(dict(a)) for a in m["asks"])} if _asks(m, step) else m


def _asks(m: Message, step: str) -> bool:
    return m.get("do") == "round" and any(a["step"] == step for a in m["asks"])


def _argument(i: int, change: Callable[[Any], Any]) -> Callable[[Message], Message]:
    def changed(a: Message) -> Message:
        args = list(a["args"])
        args[i] = change(args[i])
        return a | {"args": tuple(args)}

    return changed


def _first(change: Callable[[float], float]) -> Callable[[Any], Any]:
    return lambda beta: (change(beta[0]), *beta[1:])


HOSTILE = {
    "a thousand times the coefficient": at("slope", _argument(0, lambda b: tuple(1000 * v for v in b))),
    "a coefficient off by a millionth": at("slope", _argument(0, _first(lambda v: v * 1.000001))),
    "not a number": at("slope", _argument(0, _first(lambda v: float("nan")))),
    "a whole number for a float": at("slope", _argument(0, _first(lambda v: 1))),
    "one coefficient more": at("slope", _argument(0, lambda b: (*b, 0.5))),
    "another step": at("slope", lambda a: a | {"step": "curve"}),
    "a step that is none": at("slope", lambda a: a | {"step": "flow"}),
    "the design as a sum": at("slope", lambda a: a | {"step": "design"}),
    "another kind": at("slope", lambda a: a | {"kind": "support"}),
    "a group that the study does not have": at("slope", lambda a: a | {"group": "two of them"}),
    "another formula": at("slope", lambda a: a | {"settings": dict(a["settings"]) | {"formula": "y ~ x1"}}),
    "another analysis": at("slope", lambda a: a | {"analysis": "linear"}),
    "the ask twice in one round": lambda n, m: m | {"asks": m["asks"] * 2} if _asks(m, "slope") else m,
    "no ask": lambda n, m: m | {"asks": ()} if _asks(m, "slope") else m,
    "support skipped": at("design", lambda a: a | {"step": "start", "kind": "ask"}),
    "a round again": lambda n, m: m | {"round": m["round"] - 1} if _asks(m, "slope") else m,
    "a round skipped": lambda n, m: m | {"round": m["round"] + 1} if _asks(m, "slope") else m,
    "words that are none": lambda n, m: {"do": "rows"} if _asks(m, "slope") else m,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_asks_are_refused_alike(name: str):
    """The message that comes back is the same for all of them; the steward can read why."""
    run = network(HOSTILE[name])
    with pytest.raises(Refused) as refusal:
        run.drive()
    assert str(refusal.value) == Refused.uniform
    assert len(run.reasons) == 3
    assert all(r.partition(": ")[2] for r in run.reasons)


@pytest.mark.parametrize("by", [1.0, -1.0, 1e-3])
def test_adjacent_cuts_are_refused(by: float):
    """A ladder moved by a day: the difference of two answers would be the events of one day."""
    moved = lambda edges: tuple(e + by for e in edges)  # noqa: E731
    run = network(at("table", _argument(1, moved)), curves)
    with pytest.raises(Refused):
        run.drive()
    assert all("what the study does not ask" in r for r in run.reasons)


def test_a_tiny_change_within_rounding_gets_the_hospitals_own_question():
    """Within 1e-7 the hospital answers its own copy's arguments: the finding is that of the honest run."""
    honest = network(lambda n, m: m).drive().arrays["estimate"]
    nudged = network(at("slope", _argument(0, _first(lambda v: v * (1 + 5e-9))))).drive().arrays["estimate"]
    np.testing.assert_array_equal(nudged, honest)


def _forged(name: str, m: Message) -> Message:
    """Broadcast another total than the hospitals' parts add up to: it would move everybody's next coefficients."""
    if m.get("do") == "round" and m["round"] == 5:
        return m | {"before": _bumped(m["before"])}
    return m


def _bumped(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value + np.ones(1, dtype=value.dtype)
    if isinstance(value, dict):
        return {k: _bumped(v) for k, v in value.items()}
    return tuple(_bumped(v) for v in value) if isinstance(value, tuple | list) else value


def test_forged_totals_are_refused():
    """A coordinator that lies about the totals would choose the next question; every hospital adds them up itself."""
    run = network(_forged)
    with pytest.raises(ConfrereError):
        run.drive()
    assert len(run.reasons) == 3


def test_forged_supports_are_refused():
    """Adding 20 to a blinded count would make a cell of 3 people look like 23."""
    run = network(
        lambda n, m: {k: v if k != "answers" else _bumped(v) for k, v in m.items()} if m["do"] == "settle" else m
    )
    with pytest.raises(ConfrereError):
        run.drive()
    assert len(run.reasons) == 3


GROUPS = {"a": ("h0", "h1", "h2"), "b": ("h3", "h4", "h5")}


def test_totals_of_another_group_cannot_be_forged():
    """Group b is shown forged answers of group a, which it cannot add up by itself, and a is not spoken to again.

    All of b believe the same lie, so that their masks cancel: they answer a question that the coordinator chose.
    """
    run = Network(controls.TwoGroups().flow, dealt(patients(360), 6), 12, tamper=_shifted, groups=GROUPS)
    links, answer = run.coordinator._links, run.coordinator.answer

    def silent(asks: Any) -> Any:
        if run.coordinator._number == 2:
            run.coordinator._links = {name: links[name] for name in GROUPS["b"]}
        return answer(asks)

    run.coordinator.answer = silent
    with pytest.raises(ConfrereError):
        run.drive()


def _shifted(name: str, m: Message) -> Message:
    """From the third round on, what follows if three answers were each larger by one."""
    if m["do"] != "round" or m["round"] < 3:
        return m
    asks = tuple(a | {"args": tuple(v + 3 for v in a["args"])} for a in m["asks"])
    return m | ({"before": _bumped(m["before"])} if m["round"] == 3 else {}) | {"asks": asks}


def test_a_hospital_cannot_be_left_out_of_a_sum():
    """One of the others' answers goes back as if it were all: all minus all but one is one hospital."""

    def short(name: str, m: Message) -> Message:
        if m.get("do") == "round" and m["round"] == 4:
            return m | {"before": tuple(dict(list(b.items())[:-1]) for b in m["before"])}
        return m

    run = network(short)
    with pytest.raises(ConfrereError):
        run.drive()
    assert len(run.reasons) == 3


def test_a_hospital_adds_what_it_sent_and_nothing_that_comes_back_under_its_name():
    """h0's own place in the sum is not the coordinator's to fill, whatever stands there."""

    def back(name: str, m: Message) -> Message:
        if name == "h0" and m.get("do") == "round" and m["round"] == 4:
            return m | {"before": tuple({"h0": next(iter(b.values())), **b} for b in m["before"])}
        return m

    run = network(back)
    with pytest.raises(ConfrereError):
        run.drive()
    assert any("own answer came back" in reason for reason in run.reasons)


def test_a_finished_or_refused_run_answers_nothing_more():
    """The last round again, the next number, or a settle out of turn: refused alike."""
    sent: list[Message] = []
    run = network(lambda n, m: sent.append(m) or m)  # type: ignore[func-returns-value]
    run.drive()
    last = [m for m in sent if m["do"] == "round"][-1]
    for message in (last, last | {"round": last["round"] + 1}, {"do": "settle", "round": last["round"], "answers": ()}):
        reply = run.say("h0", message)
        assert reply == UNIFORM or reply == {"verdicts": ()}


def test_a_refusal_has_one_size_and_no_reason():
    """All refusals are the same bytes, so that their length tells nothing either."""
    run = network(lambda n, m: m)
    run.coordinator.open()
    replies = {run.runs["h0"].answer(b) for b in (b"", b"junk", wire.pack({"do": "rows"}), wire.pack({"do": "settle"}))}
    assert replies == {wire.pack(UNIFORM)}


# The parts, by themselves -------------------------------------------------------------------------------------


def test_the_follower_says_what_may_be_asked():
    """Its own first ask and no other; after the end, nothing."""
    follower = Follower(supported(cox().flow()))
    (own,) = follower.asks
    assert follower.check([own.plain()]) == (own,)
    with pytest.raises(Violation, match="does not ask"):
        follower.check([own.plain() | {"step": "start", "kind": "ask"}])
    done = Follower(iter_nothing())
    with pytest.raises(Violation, match="over"):
        done.check([own.plain()])


def iter_nothing() -> Any:
    """A flow that asks nothing."""
    return
    yield


def test_the_gate_knows_only_designs_that_it_judged():
    """A step of an unjudged design, a method without a mark, and a step asked more often than it may be."""
    study, site, gate = cox(), Site(TABLES["h0"]), Gate(Policy(), 5)
    ask = Ask(study, "start")
    site.design(Ask(study, "design", (), "support"))
    sums = site.run(ask)
    with pytest.raises(Violation, match="not judged"):
        gate.admit(ask, sums, 60)
    with pytest.raises(ProtocolError, match="has no step"):
        gate.admit(Ask(study, "with_nobody"), sums, 60)
    gate._about[study, "design", ""] = 1_000
    gate.people = 180
    gate.admit(ask, sums, 60)
    with pytest.raises(Violation, match="more than 1 times"):
        gate.admit(ask, sums, 60)


def test_the_budget_of_numbers_runs_out():
    """A study that fits the same terms again and again, with another penalty each time, is stopped on its way."""
    fits = [find("cox")("Surv(time, event) ~ x1 + x2 + treated", ridge=float(i), ground=GROUND) for i in range(1, 6)]
    run = Network(lambda: one_by_one([f.flow() for f in fits]), TABLES, 5)
    with pytest.raises(Refused):
        run.drive()
    assert all("the budget is" in r for r in run.reasons)
    assert len(run.coordinator.left) > 5
