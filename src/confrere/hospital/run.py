"""One run at one hospital: it follows the flow by itself, passes every ask through the gate, masks every answer.

Messages are plain data (`wire`), each a dict with `do`: `hello`, `agree` and `open` make the keys of the run,
`round` brings everybody's masked answers to the round before and the next asks, `settle` brings those on supports
and takes back the public verdict. A hospital verifies and adds up by itself: it need not believe the coordinator's
sum, from which the next question follows. Whatever goes wrong, the answer is the same: refused. The reason stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confrere import wire
from confrere.errors import ProtocolError
from confrere.hospital.gate import Gate, Support, Violation, support_of
from confrere.rounds import Answers, Ask, Design, Flow, Round, Site, Sums, same
from confrere.sums import Answer, Session, fixed

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
        if not same(tuple(asks), tuple(a.plain() for a in self.asks)):
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


class Run:
    """One run. `groups` gives the members of every group that the study fixed; "" is all of them."""

    def __init__(
        self, flow: Flow[Any], site: Site, gate: Gate, session: Session, groups: Mapping[str, tuple[str, ...]]
    ):
        self.notes: list[Note] = []
        self.site = site
        self._gate = gate
        self._session = session
        self._groups = groups
        self._follower = Follower(flow)
        self._number = 0
        self._transcript = hashlib.sha256()
        self._designs: dict[int, Design] = {}  # of this round's support asks, by their place
        self._given: dict[int, Any] = {}  # this round's own sums or verdicts, by their place

    def answer(self, message: bytes) -> bytes:
        """Answer one message of the coordinator; a refusal is uniform and says nothing of its reason."""
        try:
            asked = wire.unpack(message)
            return wire.pack(_DO[asked["do"]](self, asked))
        except Exception as reason:  # noqa: BLE001 - the boundary: no error of ours or others' may carry a value out
            self.notes.append(Note(self._number, reason))
            return wire.pack({"refused": True})

    # keys

    def _hello(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"hello": self._session.hello()}

    def _agree(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"seeds": self._session.agree(asked["hellos"])}

    def _open(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        run = self._session.open(asked["seeds"])
        self._transcript.update(run)
        return {"run": run}

    # rounds

    def _round(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        number = asked["round"]
        if number != self._number + 1:
            raise ProtocolError(f"round {number} was asked, the next one is {self._number + 1}")
        if self._number:
            self._learn(asked["before"])
        self._number = number
        asks = self._follower.check(asked["asks"])
        self._designs, self._given = {}, {}
        parts = [self._part(i, a) for i, a in enumerate(asks)]
        return {"parts": tuple(parts)}

    def _part(self, i: int, a: Ask) -> dict[str, Any]:
        """This hospital's part of one ask: masked rings and their public form; nothing outside the group."""
        members = self._groups[a.group]
        member = self._session.name in members
        if a.kind == "support":
            self._designs[i] = self.site.design(a, self._gate.policy.k, member)
            support = support_of(self._designs[i])
            rings = [fixed.encode(part.ravel(), SUPPORT_SCALE, len(members)) for part in support]
            forms: tuple[Any, ...] = tuple({"shape": part.shape} for part in support)
        else:
            sums = self.site.run(a)
            self._given[i] = sums
            if a.kind == "keep":
                return {"rings": (), "signature": b"", "forms": ()}
            self._gate.admit(a, sums, self.site.people(a))
            rings = [fixed.encode(s.numbers(), s.scale, len(members)) for s in sums]
            forms = tuple(form(s) for s in sums)
        if not member:
            return {"rings": (), "signature": b"", "forms": forms}
        at = self._number * PLACES + i
        blinded = a.kind == "support"
        masked = self._session.mask(at, self._digest(i), rings, members=members, blinded=blinded)
        return {"rings": tuple(masked), "signature": self._session.sign(at), "forms": forms}

    def _digest(self, i: int) -> bytes:
        """Binds a mask to all that was broadcast before and to the place of the ask in its round."""
        return hashlib.sha256(self._transcript.digest() + i.to_bytes(4, "big")).digest()

    def _settle(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Unblind the totals of this round's supports, judge them, and say the verdict."""
        if asked["round"] != self._number:
            raise ProtocolError(f"round {asked['round']} is not the one under way")
        verdicts = []
        for i, a in enumerate(self._follower.asks):
            if a.kind == "support":
                verdict = self._gate.settle(a, self._designs[i], self._support(i, a, asked["answers"][i]))
                self.site.settle(a, verdict)
                self._given[i] = verdict
                verdicts.append(dict(verdict._asdict()))
        return {"verdicts": tuple(verdicts)}

    def _support(self, i: int, a: Ask, answers: Mapping[str, Any]) -> Support:
        """What the design of a support ask rests on over the network: only hospitals can know."""
        totals = self._total(i, a, answers)
        at = self._number * PLACES + i
        clear = self._session.unblind(at, self._digest(i), totals, members=self._groups[a.group])
        own = support_of(self._designs[i])
        return Support(*(fixed.decode(r, SUPPORT_SCALE).reshape(o.shape) for r, o in zip(clear, own, strict=True)))

    def _total(self, i: int, a: Ask, answers: Mapping[str, Any]) -> list[fixed.Ring]:
        """The total of everybody's verified answers."""
        given = {name: Answer(rings, signature) for name, (rings, signature) in answers.items()}
        if self._session.name in self._groups[a.group]:
            return self._session.add(self._number * PLACES + i, given)
        at = self._number * PLACES + i
        return self._session.overhear(
            at, self._digest(i), given, members=self._groups[a.group], blinded=a.kind == "support"
        )

    def _learn(self, before: Sequence[Mapping[str, Any]]) -> None:
        """Advance the own copy of the flow with the totals of the round before."""
        answers = []
        for i, (a, given) in enumerate(zip(self._follower.asks, before, strict=True)):
            own = self._given[i]
            if a.kind == "ask":
                totals = self._total(i, a, given)
                self._transcript.update(fixed.to_bytes(totals))
                own = filled(own, totals)
            answers.append(own)
        self._follower.learn(tuple(answers))


_DO = {"hello": Run._hello, "agree": Run._agree, "open": Run._open, "round": Run._round, "settle": Run._settle}


def filled(sums: Sums, rings: Sequence[fixed.Ring]) -> Sums:
    """The same NamedTuple with the network's totals."""
    fields = [s.filled(fixed.decode(r, s.scale)) for s, r in zip(sums, rings, strict=True)]
    return tuple.__new__(type(sums), fields)


def form(s: Any) -> dict[str, Any]:
    """What is public about a sum: everything but its value."""
    return {
        "shape": s.value.shape,
        "dims": s.dims,
        "scale": s.scale,
        "symmetric": s.symmetric,
        "needs": s.needs,
    }
