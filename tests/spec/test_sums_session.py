"""A run of several hospitals: the table of states, what is refused, and that no mask is used twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import KeysError, MaskReuse
from confrere.sums import (
    Answer,
    FileAttempts,
    Identity,
    MemoryAttempts,
    Ring,
    Roster,
    Session,
    add_answers,
    add_masked,
    decode,
    encode,
    subtract,
    total,
)
from confrere.sums.attempts import Attempts
from confrere.sums.session import TABLE

NAMES = ("curie", "lyon", "rennes", "toulouse")
STUDY = hashlib.sha256(b"study").digest()
ASK = hashlib.sha256(b"an ask").digest()
OTHER_ASK = hashlib.sha256(b"another ask").digest()
DATA = [encode([1.5, -2.0, 3.25], 40, 4), encode([7.0], 40, 4)]
CHANGED = [encode([1.5, -2.0, 3.5], 40, 4), encode([7.0], 40, 4)]


def identity(name: str) -> Identity:
    return Identity.from_bytes(hashlib.sha256(name.encode()).digest())


def make_roster(names: Sequence[str] = NAMES) -> Roster:
    result = Roster({name: identity(name).public for name in names})
    for name in names:
        result = result.signed(name, identity(name))
    return result


ROSTER = make_roster()


def session(name: str, epoch: int = 1, attempts: Attempts | None = None) -> Session:
    return Session(identity(name), name, ROSTER, STUDY, epoch, attempts or MemoryAttempts())


def run(epoch: int = 1, attempts: dict[str, Attempts] | None = None, seeds: dict[str, bytes] | None = None):
    """All hospitals' sessions, open; and everything the coordinator carried, as one byte string."""
    sessions = {name: session(name, epoch, (attempts or {}).get(name)) for name in NAMES}
    hellos = {name: s.hello(seed=(seeds or {}).get(name)) for name, s in sessions.items()}
    sealed = {name: s.agree(hellos) for name, s in sessions.items()}
    for name, s in sessions.items():
        s.open({sender: seeds_out[name] for sender, seeds_out in sealed.items() if sender != name})
    carried = b"".join(hellos.values()) + b"".join(b"".join(out.values()) for out in sealed.values())
    return sessions, carried


def same(a: Sequence[Ring], b: Sequence[Ring]) -> bool:
    return [x.tobytes() for x in a] == [y.tobytes() for y in b]


# The whole way


def test_a_round_of_four_hospitals() -> None:
    sessions, _ = run()
    sent = [s.mask(0, ASK, DATA) for s in sessions.values()]
    assert decode(add_masked(sent)[0], 40).tolist() == [6.0, -8.0, 13.0]
    assert not any(same(message, DATA) for message in sent)


def test_all_have_one_run_id_and_one_group_secret() -> None:
    sessions, _ = run()
    assert len({s.group_secret for s in sessions.values()}) == 1
    assert len({s.context(0).run for s in sessions.values() if s.mask(0, ASK, DATA)}) == 1
    assert all(s.members == NAMES for s in sessions.values())


def test_a_group_of_three_sums_alone() -> None:
    sessions, _ = run()
    group = ("toulouse", "curie", "lyon")  # in any order
    sent = [sessions[name].mask(2, ASK, DATA, members=group) for name in group]
    assert same(add_masked(sent), [total([d] * 3) for d in DATA])
    with pytest.raises(KeysError, match="not among the members"):
        sessions["rennes"].mask(2, ASK, DATA, members=group)


def test_a_blinded_total_is_read_by_hospitals_and_not_by_the_coordinator() -> None:
    sessions, _ = run()
    for members in (NAMES, NAMES[1:]):
        number = len(members)
        sent = [sessions[n].mask(number, ASK, DATA, members=members, blinded=True) for n in members]
        totals = add_masked(sent)
        clear = [total([d] * number) for d in DATA]
        assert all((t != c).all() for t, c in zip(totals, clear, strict=True))
        for s in sessions.values():  # also the one outside the group holds the group secret
            assert same(s.unblind(number, ASK, totals, members=members), clear)


def test_a_run_may_start_without_a_hospital_if_every_hospital_knows_it() -> None:
    sessions = {name: session(name) for name in NAMES[:3]}
    hellos = {name: s.hello() for name, s in sessions.items()}
    with pytest.raises(KeysError, match=r"\['toulouse'\] missing"):
        sessions["curie"].agree(hellos)  # the coordinator alone cannot leave anybody out
    sealed = {name: s.agree(hellos, without=["toulouse"]) for name, s in sessions.items()}
    for name, s in sessions.items():
        s.open({sender: out[name] for sender, out in sealed.items() if sender != name})
    sent = [s.mask(0, ASK, DATA) for s in sessions.values()]
    assert same(add_masked(sent), [total([d] * 3) for d in DATA])
    two = session("curie")
    with pytest.raises(KeysError, match="3 hospitals at least, not 2"):
        two.agree({"curie": two.hello(), "lyon": hellos["lyon"]}, without=["rennes", "toulouse"])


# The table of states


CALLS = {
    "hello": lambda s: s.hello(),
    "agree": lambda s: s.agree({}),
    "open": lambda s: s.open({}),
    "mask": lambda s: s.mask(0, ASK, DATA),
    "sign": lambda s: s.sign(0),
    "add": lambda s: s.add(0, {}),
    "unblind": lambda s: s.unblind(0, ASK, DATA),
    "secret": lambda s: s.group_secret,
    "close": lambda s: s.close(),
}


def in_state(state: str) -> Session:
    if state == "open":
        return run()[0]["curie"]
    sessions = {name: session(name) for name in NAMES}
    one = sessions["curie"]
    if state in ("hello", "agreed"):
        hellos = {name: s.hello() for name, s in sessions.items()}
        if state == "agreed":
            one.agree(hellos)
    if state == "closed":
        one.close()
    assert one.state == state
    return one


@pytest.mark.parametrize("state", ["new", "hello", "agreed", "open", "closed"])
def test_what_the_table_does_not_have_is_refused_and_says_what_is_legal(state: str) -> None:
    one = in_state(state)
    legal = sorted(event for known, event in TABLE if known == state)
    for event in sorted(set(CALLS) - set(legal)):
        with pytest.raises(KeysError) as caught:
            CALLS[event](one)
        assert str(caught.value) == f"a session in state {state!r} cannot {event!r}; it can {legal}"
        assert one.state == state


def test_every_event_of_the_table_has_a_call_here() -> None:
    assert {event for _, event in TABLE} == set(CALLS)


def test_a_failed_event_leaves_the_state_as_it_was() -> None:
    sessions = {name: session(name) for name in NAMES}
    hellos = {name: s.hello() for name, s in sessions.items()}
    with pytest.raises(KeysError):
        sessions["curie"].agree({**hellos, "lyon": hellos["rennes"]})
    assert sessions["curie"].state == "hello"
    assert set(sessions["curie"].agree(hellos)) == set(NAMES) - {"curie"}


def test_a_closed_session_has_forgotten_its_secrets() -> None:
    sessions, _ = run()
    one = sessions["curie"]
    secrets = [one.group_secret, one.seed, *one._secrets.values()]
    one.close()
    left = repr(vars(one))
    assert not any(repr(secret) in left for secret in secrets)
    with pytest.raises(KeysError, match="has no seed"):
        _ = one.seed


# Keys and messages that were changed on the way


def test_who_is_not_in_a_signed_roster_cannot_take_part() -> None:
    with pytest.raises(KeysError, match="not a member"):
        Session(identity("evil"), "curie", ROSTER, STUDY, 1, MemoryAttempts())
    with pytest.raises(KeysError, match="not signed by"):
        Session(identity("curie"), "curie", Roster(ROSTER.keys), STUDY, 1, MemoryAttempts())


def test_a_swapped_replayed_or_forged_hello_is_refused() -> None:
    earlier = {name: session(name).hello() for name in NAMES}
    sessions = {name: session(name, epoch=2) for name in NAMES}
    hellos = {name: s.hello() for name, s in sessions.items()}
    stranger = Session(identity("lyon"), "lyon", ROSTER, bytes(32), 2, MemoryAttempts()).hello()
    again = session("curie", epoch=2).hello()  # signed by curie, but not what this session sent
    for wrong, message in (
        ({"lyon": hellos["rennes"]}, "is for name"),
        ({"lyon": earlier["lyon"]}, "is for epoch"),
        ({"lyon": stranger}, "is for study"),
        ({"lyon": hellos["lyon"][:-1] + bytes([hellos["lyon"][-1] ^ 1])}, "is not by the key"),
        ({"curie": earlier["curie"]}, "not the one it sent"),
        ({"curie": again}, "not the one it sent"),
        ({"evil": hellos["lyon"]}, "too many"),
    ):
        with pytest.raises(KeysError, match=message):
            sessions["curie"].agree({**hellos, **wrong})
    with pytest.raises(KeysError, match=r"\['lyon'\] missing"):
        sessions["curie"].agree({name: h for name, h in hellos.items() if name != "lyon"})


def agreed() -> tuple[dict[str, Session], dict[str, dict[str, bytes]]]:
    sessions = {name: session(name) for name in NAMES}
    hellos = {name: s.hello() for name, s in sessions.items()}
    return sessions, {name: s.agree(hellos) for name, s in sessions.items()}


def test_a_seed_that_was_swapped_replayed_or_changed_is_refused() -> None:
    sessions, sealed = agreed()
    _, earlier = agreed()
    mine = {sender: out["curie"] for sender, out in sealed.items() if sender != "curie"}
    for wrong, message in (
        ({"lyon": mine["rennes"]}, "sealed seed from 'lyon'"),
        ({"lyon": sealed["lyon"]["rennes"]}, "sealed seed from 'lyon'"),
        ({"lyon": sealed["curie"]["lyon"]}, "sealed seed from 'lyon'"),  # my own, sent back
        ({"lyon": earlier["lyon"]["curie"]}, "sealed seed from 'lyon'"),
        ({"lyon": b""}, "sealed seed from 'lyon'"),
        ({"curie": mine["lyon"]}, "sealed seeds are needed"),
    ):
        with pytest.raises(KeysError, match=message):
            sessions["curie"].open({**mine, **wrong})
    with pytest.raises(KeysError, match="sealed seeds are needed"):
        sessions["curie"].open({})
    sessions["curie"].open(mine)


def test_a_hospital_cannot_give_different_seeds_to_different_hospitals() -> None:
    sessions, sealed = agreed()
    sessions["lyon"]._seeds["lyon"] = b"another seed, of 32 bytes length"
    mine = {sender: out["curie"] for sender, out in sealed.items() if sender != "curie"}
    mine["lyon"] = sessions["lyon"]._sealed_for("curie")
    with pytest.raises(KeysError, match="not the one its hello committed to"):
        sessions["curie"].open(mine)


def test_hospitals_that_were_shown_different_hellos_do_not_open() -> None:
    """Two keys signed by lyon in one epoch: some see one, some the other; their run ids differ."""
    sessions = {name: session(name) for name in NAMES}
    hellos = {name: s.hello() for name, s in sessions.items()}
    other = {**hellos, "lyon": session("lyon").hello()}
    sealed = {name: sessions[name].agree(other if name == "curie" else hellos) for name in NAMES}
    with pytest.raises(KeysError, match="sealed seed"):
        sessions["curie"].open({s: out["curie"] for s, out in sealed.items() if s != "curie"})


# Totals that need not be believed


def answers_of(sessions: dict[str, Session], number: int, attempt: int = 0) -> dict[str, Answer]:
    sent = {name: s.mask(number, ASK, DATA, attempt=attempt) for name, s in sessions.items()}
    return {name: Answer(sent[name], s.sign(number, attempt)) for name, s in sessions.items()}


def test_every_hospital_can_add_up_by_itself() -> None:
    sessions, _ = run()
    answers = answers_of(sessions, 1)
    for s in sessions.values():
        assert same(s.add(1, answers), [total([d] * 4) for d in DATA])
    context = sessions["curie"].context(1)
    assert same(add_answers(ROSTER, context, answers), [total([d] * 4) for d in DATA])


def test_a_changed_swapped_or_replayed_answer_is_refused() -> None:
    sessions, _ = run()
    earlier, answers = answers_of(sessions, 1), answers_of(sessions, 2)
    retried = answers_of(sessions, 2, attempt=1)
    lyon = answers["lyon"]
    one_bit = [lyon.rings[0] ^ np.uint64(1), lyon.rings[1]]
    for wrong in (
        Answer(one_bit, lyon.signature),
        Answer(lyon.rings[::-1], lyon.signature),  # arrays in another order
        Answer([lyon.rings[0][::-1], lyon.rings[1]], lyon.signature),
        answers["rennes"],
        earlier["lyon"],
        retried["lyon"],
        Answer(lyon.rings, answers["rennes"].signature),
    ):
        with pytest.raises(KeysError, match="is not by the key"):
            sessions["curie"].add(2, {**answers, "lyon": wrong})
    with pytest.raises(KeysError, match="not the one it sent"):
        sessions["curie"].add(2, {**answers, "curie": earlier["curie"]})
    with pytest.raises(KeysError, match="answers are needed"):
        sessions["curie"].add(2, {n: a for n, a in answers.items() if n != "lyon"})
    with pytest.raises(KeysError, match="nothing was masked"):
        sessions["curie"].add(3, answers)
    with pytest.raises(KeysError, match="nothing was masked"):
        sessions["curie"].sign(2, attempt=2)


# The group secret


@pytest.mark.parametrize("place", [0, 7, 8, 500, 999])
def test_an_answer_changed_anywhere_is_refused_though_the_true_one_was_hashed_before(place: int) -> None:
    sessions, _ = run()
    data = [encode(np.arange(1000.0), 0, 4, bits=64)]
    answers = {}
    for name, s in sessions.items():
        rings = [ring.copy() for ring in s.mask(1, ASK, data)]  # which nobody can write to
        answers[name] = Answer(rings, s.sign(1))
    assert same(sessions["lyon"].add(1, answers), [encode(4 * np.arange(1000.0), 0, 1, bits=64)])
    changed = answers["curie"].rings[0].copy()
    changed[place] ^= np.uint64(1)
    for mine in ("lyon", "curie"):  # another's answer, and its own
        with pytest.raises(KeysError):
            sessions[mine].add(1, answers | {"curie": Answer([changed], answers["curie"].signature)})
    answers["curie"].rings[0][place] ^= np.uint64(1)  # in place: nothing that was hashed may change with it
    with pytest.raises(KeysError):
        sessions["curie"].add(1, answers)


def test_the_coordinator_cannot_derive_the_group_secret_from_what_it_carries() -> None:
    """It has every hello and every sealed seed. Neither seeds nor secrets stand in them, and a changed
    seed changes the secret while everything the coordinator can compute keeps its form."""
    sessions, carried = run()
    secret = sessions["curie"].group_secret
    pairs = [pair for s in sessions.values() for pair in s._secrets.values()]
    for hidden in (secret, *(s.seed for s in sessions.values()), *pairs):
        assert hidden not in carried
    guesses = [hashlib.sha256(carried[i : i + 32]).digest() for i in range(len(carried))]
    assert secret not in guesses
    assert len({run()[0]["curie"].group_secret for _ in range(3)} | {secret}) == 4


def test_hospitals_that_keep_their_seeds_find_the_group_secret_again() -> None:
    first, _ = run(epoch=1)
    again, _ = run(epoch=2, seeds={name: s.seed for name, s in first.items()})
    assert again["curie"].group_secret == first["curie"].group_secret
    # All else is new: the same blinded round gives other bits.
    a, b = (s["curie"].mask(0, ASK, DATA, blinded=True) for s in (first, again))
    assert not same(a, b)
    with pytest.raises(KeysError, match="32 bytes, not 3"):
        session("curie").hello(seed=b"abc")


# No mask is used twice


def test_the_same_call_again_gives_the_same_bits() -> None:
    one = run()[0]["curie"]
    assert same(one.mask(5, ASK, DATA), one.mask(5, ASK, DATA))


def test_changed_data_another_ask_or_group_under_one_attempt_are_refused() -> None:
    one = run()[0]["curie"]
    sent = one.mask(5, ASK, DATA)
    for call in (
        lambda: one.mask(5, ASK, CHANGED),
        lambda: one.mask(5, OTHER_ASK, DATA),
        lambda: one.mask(5, ASK, DATA[:1]),
        lambda: one.mask(5, ASK, DATA[::-1]),
    ):
        with pytest.raises(MaskReuse, match="attempt 0 of round 5"):
            call()
    with pytest.raises(KeysError, match="another attempt is the same"):
        one.mask(5, ASK, DATA, members=NAMES[:3])
    with pytest.raises(KeysError, match="another attempt is the same"):
        one.mask(5, ASK, DATA, blinded=True, attempt=1)
    assert same(one.mask(5, ASK, DATA), sent)


def test_a_new_attempt_has_a_new_mask() -> None:
    sessions, _ = run()
    first = {name: s.mask(5, ASK, DATA) for name, s in sessions.items()}
    second = {name: s.mask(5, ASK, CHANGED, attempt=1) for name, s in sessions.items()}
    assert same(add_masked(list(second.values())), [total([c] * 4) for c in CHANGED])
    # Where the data are the same, the difference of the two messages is noise, not zero.
    assert (first["curie"][1] != second["curie"][1]).all()
    mixed = [first["curie"], *(second[name] for name in NAMES[1:])]
    assert not same(add_masked(mixed), [total([d] * 4) for d in DATA])  # attempts do not mix


def test_a_restart_needs_a_new_epoch(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in NAMES}
    files = {name: FileAttempts(path) for name, path in paths.items()}
    before, _ = run(epoch=1, attempts=dict(files))
    sent = before["curie"].mask(0, ASK, DATA)
    for file in files.values():
        file.close()
    files = {name: FileAttempts(path) for name, path in paths.items()}
    with pytest.raises(MaskReuse, match="epoch 1 of this study was used before"):
        session("curie", 1, files["curie"]).hello()
    after, _ = run(epoch=2, attempts=dict(files))
    resent = after["curie"].mask(0, ASK, DATA)
    assert all((a != b).all() for a, b in zip(sent, resent, strict=True))
    for file in files.values():
        file.close()


def test_an_attempt_is_written_down_before_it_is_returned() -> None:
    class Full(MemoryAttempts):
        broken = False

        def claim(self, name: bytes, message: bytes) -> bytes:
            if self.broken:
                raise OSError("no space left on device")
            return super().claim(name, message)

    disk = Full()
    one = run(attempts={"curie": disk})[0]["curie"]
    disk.broken = True
    with pytest.raises(OSError, match="no space"):
        one.mask(0, ASK, DATA)
    with pytest.raises(KeysError, match="nothing was masked"):
        one.sign(0)
    disk.broken = False
    assert one.mask(0, ASK, CHANGED)  # nothing had been sent


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.booleans(), st.booleans()), max_size=12))
def test_in_any_history_two_different_messages_never_share_a_mask(
    history: list[tuple[int, int, bool, bool]],
) -> None:
    """Messages that leave, minus their data, are the masks: no mask stands for two messages."""
    one = run()[0]["curie"]
    stood_for: dict[bytes, bytes] = {}
    for number, attempt, changed, other in history:
        data = CHANGED if changed else DATA
        try:
            sent = one.mask(number, OTHER_ASK if other else ASK, data, attempt=attempt)
        except MaskReuse:
            continue
        mask = b"".join(subtract(s, d).tobytes() for s, d in zip(sent, data, strict=True))
        message = b"".join(s.tobytes() for s in sent)
        assert stood_for.setdefault(mask, message) == message


def test_wrong_numbers_digests_and_groups_are_refused() -> None:
    one = run()[0]["curie"]
    for call, message in (
        (lambda: one.mask(-1, ASK, DATA), "not a number from 0"),
        (lambda: one.mask(0, b"short", DATA), "has 32 bytes, not 5"),
        (lambda: one.mask(0, ASK, DATA, members=("curie", "lyon")), "3 hospitals at least, not 2"),
        (lambda: one.mask(0, ASK, DATA, members=("curie", "lyon", "lyon")), "is not a group"),
        (lambda: one.mask(0, ASK, DATA, members=("curie", "lyon", "evil")), "is not a group"),
    ):
        with pytest.raises(KeysError, match=message):
            call()
