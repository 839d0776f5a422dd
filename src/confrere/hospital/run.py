"""One run at one hospital: it follows the flow by itself, passes every ask through the gate, masks every answer.

Messages are plain data (`wire`), each a dict with `do`: `hello`, `agree` and `open` make the keys of the run,
`round` brings everybody's masked answers to the round before and the next asks, `settle` brings those on supports
and takes back the public verdict. A hospital verifies and adds up by itself: it need not believe the coordinator's
sum, from which the next question follows. Whatever goes wrong, the answer is the same: refused. The reason stays.

The totals it has learned go into a journal of its own. After a crash, of whomever, a new run with new keys replays
them (`open` says how many rounds all have) and goes on; nobody's word is needed for what was learned before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np

from confrere import wire
from confrere.errors import ProtocolError, RangeError
from confrere.hospital.gate import UNSENT, Gate, Support, Violation, support_of
from confrere.journal import Journal
from confrere.rounds import Answers, Array, Ask, Design, Flow, Round, Site, Sum, Sums, Verdict, leaves, name_of, same
from confrere.study.kept import Kept
from confrere.sums import Answer, Session, fixed
from confrere.sums.agreement import derive
from confrere.sums.session import SHORT, hashed

SUPPORT_SCALE = 20  # counts are exact, sums of squares up to 2^100 fit
PLACES = 1 << 16  # asks in a round at most: every ask has a round of masks of its own


class Note(NamedTuple):
    """What the steward reads about a refusal: when, and why."""

    round: int
    reason: Exception


class Follower:
    """This hospital's own copy of the flow. It says what may be asked now, and nothing else is answered."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self.asks: Round = ()
        self.done = False
        self._advance(None)

    def check(self, asks: Sequence[Mapping[str, Any]]) -> Round:
        """The asks of the own copy, if the coordinator's are the same to 1e-7."""
        if self.done:
            raise Violation("the study is over: nothing more may be asked")
        if not _same(wire.Read(asks), wire.Read(_plain(self.asks))):
            raise Violation("the coordinator asks what the study does not ask at this point")
        return self.asks

    def learn(self, answers: Answers) -> None:
        """Advance with the totals that were broadcast."""
        self._advance(answers)

    def _advance(self, answers: Answers | None) -> None:
        try:
            self.asks = self._flow.send(answers)  # type: ignore[arg-type]
        except StopIteration:
            self.asks, self.done = (), True


@lru_cache(maxsize=1)  # hospitals of one process that follow one flow ask the same, a round at a time
def _plain(asks: Round) -> tuple[dict[str, Any], ...]:
    """Asks as plain data, to compare."""
    return tuple(a.plain() for a in asks)


@lru_cache(maxsize=1)  # in one process the very same asks are said to all hospitals, which have theirs of one flow
def _same(asked: wire.Read, own: wire.Read) -> bool:
    return same(tuple(asked.value), own.value)


class Memory(NamedTuple):
    """What a hospital keeps of a run on its disk: the totals it learned, and its part of the group secret."""

    journal: Journal
    seed: bytes  # (32,)
    without: tuple[str, ...] = ()  # hospitals of the roster that take no part
    keep: Callable[[Kept], object] | None = None  # where rows go that stay here
    settled: Journal | None = None  # what designs rest on, as it was first judged


class Run:
    """One run. `groups` gives the members of every group that the study fixed; "" is all of them."""

    def __init__(
        self, flow: Flow[Any], site: Site, gate: Gate, session: Session, groups: Mapping[str, tuple[str, ...]],
        memory: Memory | None = None,
    ) -> None:  # fmt: skip
        self.notes: list[Note] = []
        self.site = site
        self._gate = gate
        self._session = session
        self._groups = groups
        self._follower = Follower(flow)
        self._memory = memory
        self._number = 0
        self._learned = 0  # rounds whose totals this hospital has
        self._settled = 0  # rounds before this one in which designs were judged
        self._transcript = hashlib.sha256()
        self._designs: dict[int, Design] = {}  # of this round's support asks, by their place
        self._supports: dict[int, Support] = {}  # what they rest on here
        self._given: dict[int, Any] = {}  # this round's own sums or verdicts, by their place
        self._sent: dict[int, Answer] = {}  # what of them was sent, masked
        self._totals: dict[int, tuple[fixed.Ring, ...]] = {}  # this round's totals, by their place

    def answer(self, message: bytes) -> bytes:
        """Answer one message of the coordinator; a refusal is uniform and says nothing of its reason."""
        return self._said(lambda: cast(Mapping[str, Any], wire.unpack(message)))[0]

    def take(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """The same of a message that a coordinator of this process has at hand: plain data, as `wire.unpack` gives.

        The answer too, and how many bytes it has. Masked arrays go as they lie: nobody can write to them.
        """
        packed, reply = self._said(lambda: asked)
        return len(packed), reply if asked.get("do") == "round" else wire.unpack(packed)

    def _said(self, read: Callable[[], Mapping[str, Any]]) -> tuple[bytes, Mapping[str, Any]]:
        try:
            asked = read()
            reply = _DO[asked["do"]](self, asked)
            return wire.pack(reply), reply
        except OSError as reason:
            # a full disk or a file share that is away says nothing of a patient, and passes
            self.notes.append(Note(self._number, reason))
            reply = {"unable": True}
        except Exception as reason:  # noqa: BLE001 - the boundary: no error of ours or others' may carry a value out
            self.notes.append(Note(self._number, reason))
            reply = {"refused": True}
        return wire.pack(reply), reply

    # keys

    def _hello(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"hello": self._session.hello(seed=self._memory.seed if self._memory else None)}

    def _agree(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"seeds": self._session.agree(asked["hellos"], without=self._memory.without if self._memory else ())}

    def _open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        run = self._session.open(asked["seeds"])
        # signatures cover its digest: without a part that only hospitals know, clear supports could be guessed by them
        self._transcript.update(run + derive(self._session.group_secret, "transcript"))
        if self.site.key is None:  # of this hospital alone: the same id elsewhere is somebody else
            self.site.key = derive(self._session.seed, "people")
        if self.site.shared is None:
            self.site.shared = derive(self._session.group_secret, "people")
        self._replay(asked.get("rounds", 0))
        return {"run": run}

    def _replay(self, rounds: int) -> None:
        """Learn again what the own journal has of the first rounds."""
        known = self._memory.journal.records if self._memory else []
        if not 0 <= rounds <= len(known):
            raise ProtocolError(f"{rounds} rounds are to be taken up again; this hospital has {len(known)}")
        for record in known[:rounds]:
            self._number += 1
            self._begin()
            asks = self._follower.asks
            self._once({i: t for i, t in enumerate(record["totals"]) if asks[i].kind == "support"})
            for i, (a, totals) in enumerate(zip(asks, record["totals"], strict=True)):
                self._own(i, a)
                if a.kind == "support":
                    self._judge(i, a, totals)
                else:
                    self._totals[i] = totals
            self._advance()

    def _close(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Learn the last totals, and forget the keys."""
        if asked["round"] != self._number:
            raise ProtocolError(f"round {asked['round']} is not the one under way")
        if self._learned < self._number:
            self._learn(asked["before"])
        self._session.close()
        return {"done": self.done}

    @property
    def left(self) -> list[dict[str, Any]]:
        """What this hospital's answer to the last round holds: names, shapes and how many people; no value."""
        found: list[dict[str, Any]] = []
        for i, a in enumerate(self._follower.asks):
            what, own = f"{name_of(a.analysis).lstrip('_')}.{a.step}", self._given.get(i)
            if a.kind == "support":
                sizes = [part.size for part in self._supports.get(i, ())]
                found.append({"what": f"{what}.support", "shape": [sum(sizes)], "people": None})
            elif a.kind == "ask" and own is not None:
                shapes = {name: list(s.value.shape) for name, s in leaves(a, own)}
                people = self._gate.about(a)
                found += [{"what": f"{what}.{name}", "shape": shapes[name], "people": people} for name in shapes]
        return found

    @property
    def spent(self) -> int:
        """Distinct numbers answered in this run."""
        return self._gate.spent

    @property
    def done(self) -> bool:
        """Whether the study is over: the own copy of the flow has come to its finding."""
        return self._follower.done

    # rounds

    def _round(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        number = asked["round"]
        if number != self._number + 1:
            raise ProtocolError(f"round {number} was asked, the next one is {self._number + 1}")
        if self._learned < self._number:
            self._learn(asked["before"])
        self._number = number
        asks = self._follower.check(asked["asks"])
        self._begin()
        parts = [self._part(i, a) for i, a in enumerate(asks)]
        return {"parts": tuple(parts)}

    def _begin(self) -> None:
        self._designs, self._supports, self._given, self._totals, self._sent = {}, {}, {}, {}, {}

    def _own(self, i: int, a: Ask) -> Support | Sums | None:
        """What this hospital has to say to one ask, once its gate has let it; nothing if it stays here."""
        if a.kind == "support":
            member = self._session.name in self._groups[a.group]
            self._designs[i] = self.site.design(a, self._gate.policy.enough, member)
            self._supports[i] = support_of(self._designs[i], self._gate.policy)
            return self._supports[i]
        if a.kind == "keep":
            self._keep(a)
            return None
        sums = self._given[i] = self.site.run(a)
        self._gate.admit(a, sums, self.site.people(a))
        return cast(Sums, sums)

    def _keep(self, a: Ask) -> None:
        """Run a step whose result stays here, if this hospital is asked; what people read of it is written down."""
        if self._session.name not in self._groups[a.group]:
            return
        self.site.run(a)
        value = self.site.kept[name_of(a.analysis), a.step]
        if self._memory and self._memory.keep and isinstance(value, Kept):
            self._memory.keep(value)

    def _part(self, i: int, a: Ask) -> dict[str, Any]:
        """This hospital's part of one ask: masked rings and their public form; nothing outside the group."""
        members = self._groups[a.group]
        own = self._own(i, a)
        if own is None:
            return {"rings": (), "signature": b"", "forms": ()}
        if isinstance(own, Support):
            with _named(f"{name_of(a.analysis)}.{a.step}"):
                rings = [fixed.encode(part.ravel(), SUPPORT_SCALE, len(members)) for part in own]
            forms: tuple[Any, ...] = tuple({"shape": part.shape} for part in own)
        else:
            rings = [_ring(f"{name_of(a.analysis)}.{a.step}.{name}", s, len(members)) for name, s in leaves(a, own)]
            forms = tuple(form(s) for s in own)
        if self._session.name not in members:
            return {"rings": (), "signature": b"", "forms": forms}
        at = self._number * PLACES + i
        masked = self._session.mask(at, self._digest(i), rings, members=members, blinded=a.kind == "support")
        self._sent[i] = Answer(masked, self._session.sign(at))
        return {"rings": masked, "signature": self._sent[i].signature, "forms": forms}

    def _digest(self, i: int) -> bytes:
        """Binds a mask to all that was broadcast before and to the place of the ask in its round."""
        return hashlib.sha256(self._transcript.digest() + i.to_bytes(4, "big")).digest()

    def _settle(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Unblind the totals of this round's supports, judge them, and say the verdict."""
        if asked["round"] != self._number:
            raise ProtocolError(f"round {asked['round']} is not the one under way")
        designs = {i: a for i, a in enumerate(self._follower.asks) if a.kind == "support"}
        clear = {}
        for i, a in designs.items():
            totals, at = self._total(i, a, asked["answers"][i]), self._number * PLACES + i
            clear[i] = tuple(self._session.unblind(at, self._digest(i), totals, members=self._groups[a.group]))
        self._once(clear)
        return {"verdicts": tuple(dict(self._judge(i, a, clear[i])._asdict()) for i, a in designs.items())}

    def _once(self, totals: Mapping[int, tuple[fixed.Ring, ...]]) -> None:
        """Have what this round's designs rest on be judged once, and as nothing else in any later run of the study.

        A coordinator with one hospital could else try one count after the other, and read the others' off the verdicts.
        """
        if totals and self._memory and self._memory.settled:
            self._memory.settled.write(self._settled, {"totals": tuple(totals.values())})

    def _judge(self, i: int, a: Ask, totals: tuple[fixed.Ring, ...]) -> Verdict:
        """The verdict on what a design rests on over the network: only hospitals can know."""
        own = self._supports[i]
        shaped = (fixed.decode(r, SUPPORT_SCALE).reshape(o.shape) for r, o in zip(totals, own, strict=True))
        verdict = self._gate.settle(a, self._designs[i], Support(*shaped))
        self.site.settle(a, verdict)
        self._given[i], self._totals[i] = verdict, totals
        return verdict

    def _total(self, i: int, a: Ask, answers: Mapping[str, Any]) -> Sequence[fixed.Ring]:
        """The total of everybody's verified answers: the others' `answers`, and what was sent from here."""
        given = {name: Answer(rings, signature) for name, (rings, signature) in answers.items()}
        if self._session.name in given:
            raise ProtocolError("this hospital's own answer came back; it adds what it sent")
        if self._session.name in self._groups[a.group]:
            return self._session.add(self._number * PLACES + i, given | {self._session.name: self._sent[i]})
        at = self._number * PLACES + i
        return self._session.overhear(
            at, self._digest(i), given, members=self._groups[a.group], blinded=a.kind == "support"
        )

    def _learn(self, before: Sequence[Mapping[str, Any]]) -> None:
        """Take in the totals of the round before, and write them down."""
        for i, (a, given) in enumerate(zip(self._follower.asks, before, strict=True)):
            if a.kind == "ask":
                self._totals[i] = tuple(self._total(i, a, given))
        if self._memory:
            record = {"totals": tuple(self._totals.get(i, ()) for i in range(len(self._follower.asks)))}
            self._memory.journal.write(self._number - 1, record)
        self._advance()

    def _advance(self) -> None:
        """Advance the own copy of the flow with the totals of this round."""
        answers = []
        for i, a in enumerate(self._follower.asks):
            own = self._given.get(i)
            if i in self._totals:  # also what designs rest on: two hospitals of two minds must not add up
                self._transcript.update(hashed(self._totals[i]))
            if a.kind == "ask":
                own = filled(cast(Sums, own), self._totals[i])
            answers.append(own)
        self._settled += any(a.kind == "support" for a in self._follower.asks)
        self._follower.learn(tuple(answers))
        self._learned = self._number


_DO = {
    "hello": Run._hello,
    "agree": Run._agree,
    "open": Run._open,
    "round": Run._round,
    "settle": Run._settle,
    "close": Run._close,
}


def _ring(name: str, s: Sum, parties: int) -> fixed.Ring:
    """A sum in the ring; `name` is told where it does not fit. Where its total has a public bound that fits, it matters
    not how much of it is from here."""
    known = s.reach < 2.0 ** (s.bits - 1)
    if known and max(s.value.max(initial=0.0), -s.value.min(initial=0.0)) * 2.0**s.scale > s.reach:
        raise RangeError(f"{name}: a sum is larger than its step says that all of them are together; {UNSENT}")
    with _named(name):
        return fixed.encode(s.numbers(), s.scale, 1 if known else parties, bits=s.bits)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Names what does not fit the fixed point, and what to do: another scale, which the error names, nobody can set."""
    try:
        yield
    except RangeError as error:
        raise RangeError(f"{name}: {str(error).partition(';')[0]}; {UNSENT}") from None


def filled(sums: Sums, rings: Sequence[fixed.Ring]) -> Sums:
    """The same NamedTuple with the network's totals."""
    fields = []
    for s, ring in zip(sums, rings, strict=True):
        one = _value if ring.flags.writeable or ring.nbytes > SHORT else _shared
        fields.append(replace(s, value=one(wire.Read(ring), s.value.shape, s.symmetric, s.scale, s.bits)))
    return tuple.__new__(type(sums), fields)


def _value(ring: wire.Read, shape: tuple[int, ...], symmetric: bool, *kind: int) -> Array:
    """The total in a ring; `kind` is scale and bits."""
    empty = Sum(np.empty(shape), symmetric=symmetric)
    value = empty.filled(fixed.decode(ring.value, kind[0], empty.numbers().size, kind[1])).value
    value.flags.writeable = False
    return value


_shared = lru_cache(maxsize=8)(_value)  # in one process many hospitals have the very same totals


def form(s: Any) -> dict[str, Any]:
    """What is public about a sum: everything but its value."""
    return {
        "shape": s.value.shape,
        "dims": s.dims,
        "scale": s.scale,
        "symmetric": s.symmetric,
        "needs": s.needs,
        "bits": s.bits,
    }
