"""The coordinator: an adder. It drives a flow over the hospitals and sees masked arrays and their totals.

A `Link` carries one message to one hospital and its answer back; in this process it is a function call, over a
network an engine's. The coordinator cannot choose a question: every hospital follows the same flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np

from confrere import wire
from confrere.errors import ProtocolError, Refused, Waiting
from confrere.rounds import Answers, Ask, Round, Sum, Verdict, name_of, sums_of
from confrere.sums import add_masked, fixed

Link = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Near:
    """A link to a hospital of this process. Where all are, what many are told is read once; else each reads bytes."""

    answer: Link
    take: Callable[[Mapping[str, Any]], tuple[int, Any]]  # the same of what was read, which nobody can write to; bytes

    def __call__(self, message: bytes) -> bytes:
        return self.answer(message)


class Left(NamedTuple):
    """One array that left every hospital: what, in which form, in how many rounds, how many bytes each time."""

    analysis: str
    settings: str  # hash that tells two analyses of one method apart
    step: str
    name: str
    kind: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    numbers: int
    bytes: int


class Federation:
    """Answers rounds over the hospitals' links. `groups` gives the members of each group of the study.

    `at_once` is how many hospitals are asked at a time, 0 for all of them.
    """

    def __init__(self, links: Mapping[str, Link], groups: Mapping[str, tuple[str, ...]], at_once: int = 0) -> None:
        self._links = dict(sorted(links.items()))
        self._pool = ThreadPoolExecutor(at_once or len(links))  # its threads end with the federation
        self._groups = groups
        self._near = all(isinstance(link, Near) for link in links.values())
        self._number = 0
        self._before: tuple[Any, ...] = ()
        self._new: list[Left] = []  # of the last round
        self._size = 0
        self.left: list[Left] = []
        self.bytes = 0  # that left one hospital, the largest

    def start(self, study: str, without: tuple[str, ...] = (), text: str = "") -> dict[str, Any]:
        """Have every hospital open its approved study: `rounds` it has learned, its last `epoch` of keys.

        `without` names hospitals of the roster that take no part, from the first sum to the last; `text` is the study
        file, for the stewards who have not seen it yet. ProtocolError where a hospital runs another release, Waiting
        where a steward has not decided.
        """
        message = {"do": "start", "study": study, "version": wire.release(), "without": without, "text": text}
        replies = self._all(message)
        if other := {n: r["version"] for n, r in replies.items() if r["version"] != wire.release()}:
            theirs = ", ".join(f"{name} runs {version}" for name, version in other.items())
            raise ProtocolError(
                f"{theirs}, the coordinator runs Confrere {wire.release()}; install the same release everywhere"
            )
        if undecided := [name for name, r in replies.items() if "undecided" in r]:
            raise Waiting(f"waiting for the stewards of {', '.join(undecided)} to decide")
        return replies

    def open(self, epoch: int = 1, rounds: int = 0) -> bytes:
        """Make the keys of the run: every hospital signs a fresh key, and all agree on the run's id.

        `epoch` is higher at every restart; `rounds` that every hospital has learned before it are not asked again.
        """
        self._number = rounds
        hellos = {n: r["hello"] for n, r in self._all({"do": "hello", "epoch": epoch}).items()}
        sealed = self._all({"do": "agree", "hellos": hellos})
        seeds = {n: {s: r["seeds"][n] for s, r in sealed.items() if s != n} for n in self._links}
        opened = self._sent({n: {"do": "open", "seeds": seeds[n], "rounds": rounds} for n in self._links})
        self.taken()  # the keys of a run belong to no round
        return bytes(_agreed([r["run"] for r in opened.values()], "the run's id"))

    def answer(self, asks: Round) -> Answers:
        """One round: masked parts in, totals out."""
        self._number += 1
        message = {"do": "round", "round": self._number, "asks": self._shared(tuple(a.plain() for a in asks))}
        replies = self._back(message, "before", self._before)
        parts = [{n: r["parts"][i] for n, r in replies.items()} for i in range(len(asks))]
        answers = tuple(self._answers(a, part) for a, part in zip(asks, parts, strict=True))
        verdicts = iter(self._settle(asks, parts, answers))
        self._before = tuple({} if a.kind == "support" else given for a, given in zip(asks, answers, strict=True))
        return tuple(
            next(verdicts) if a.kind == "support" else self._sums(a, part, given)
            for a, part, given in zip(asks, parts, answers, strict=True)
        )

    def close(self) -> None:
        """Give every hospital the totals of the last round, after which the keys of the run are forgotten."""
        self._back({"do": "close", "round": self._number}, "before", self._before)

    def taken(self) -> Any:
        """What left in the last round, for the journal: records of `Left` and the bytes."""
        arrays, self._new = tuple(dict(one._asdict()) for one in self._new), []
        size, self._size = self._size, 0
        return {"arrays": arrays, "bytes": size}

    def restore(self, taken: Any) -> None:
        """What left in a round that was answered before this coordinator was started."""
        self.left += [Left(**one) for one in taken["arrays"]]
        self.bytes += taken["bytes"]

    def _all(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send every hospital the same message."""
        return self._sent(dict.fromkeys(self._links, message))

    def _back(self, message: Mapping[str, Any], word: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send every hospital a message with the others' answers under `word`: its own it has."""
        parts = answers if self._near else [{m: wire.Part(a) for m, a in given.items()} for given in answers]
        others = {n: tuple({m: a for m, a in part.items() if m != n} for part in parts) for n in self._links}
        return self._sent({n: {**message, word: others[n]} for n in self._links})

    def _sent(self, messages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Send every hospital its message, at once; one refusal refuses the round."""
        sent = {n: self._pool.submit(self._say, n, m) for n, m in messages.items()}
        wait(sent.values())  # for all, also where one has failed: no hospital is still at work when a round ends
        if lost := [reason for f in sent.values() if isinstance(reason := f.exception(), Waiting)]:
            raise Waiting("; ".join(map(str, lost)))
        size = max(f.result()[0] for f in sent.values())
        self.bytes, self._size = self.bytes + size, self._size + size
        replies = {n: f.result()[1] for n, f in sent.items()}
        if any("refused" in r for r in replies.values()):
            raise Refused()
        if unable := [n for n, r in replies.items() if "unable" in r]:
            raise Waiting(f"{', '.join(unable)} cannot answer now; the steward has the reason")
        return replies

    def _shared(self, value: Any) -> Any:
        """What stands in the messages to all hospitals: written once, and in one process read once."""
        return wire.unpack(wire.pack(value)) if self._near else wire.Part(value)

    def _say(self, name: str, message: Mapping[str, Any]) -> tuple[int, Any]:
        """Send one hospital a message: how many bytes came back, and what they say."""
        link = self._links[name]
        if self._near:
            return cast(Near, link).take(message)
        reply = link(wire.pack(message))
        return len(reply), wire.unpack(reply)

    def _answers(self, a: Ask, part: Mapping[str, Any]) -> dict[str, Any]:
        """The masked arrays of the members and their signatures, which go back to every other hospital."""
        if a.kind == "keep":
            return {}
        return {m: (part[m]["rings"], part[m]["signature"]) for m in self._groups[a.group]}

    def _settle(
        self, asks: Round, parts: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
    ) -> list[Verdict]:
        """The verdicts on this round's designs, the same at every hospital."""
        if not any(a.kind == "support" for a in asks):
            return []
        replies = self._back({"do": "settle", "round": self._number}, "answers", answers)
        for a, part in zip(asks, parts, strict=True):
            if a.kind == "support":
                forms = _agreed([p["forms"] for p in part.values()], f"the form of {a.step}")
                numbers = sum(int(np.prod(f["shape"])) for f in forms)
                self._leave(a, "support", ((numbers,), ("counts",)), (numbers, numbers * 16))
        return [Verdict(**v) for v in _agreed([r["verdicts"] for r in replies.values()], "the verdict on a design")]

    def _sums(self, a: Ask, part: Mapping[str, Any], answers: Mapping[str, Any]) -> Any:
        """The totals as the NamedTuple of the step."""
        if a.kind == "keep":
            return None
        kind = sums_of(a)
        forms = _agreed([p["forms"] for p in part.values()], f"the form of {a.step}")
        totals = add_masked([list(rings) for rings, _ in answers.values()])
        sums = []
        for name, form, ring in zip(kind._fields, forms, totals, strict=True):
            # `needs` too: what is remembered of a run depends on it, here as in the hospitals
            of = {"symmetric": form["symmetric"], "needs": form["needs"], "bits": form["bits"]}
            empty = Sum(np.zeros(form["shape"]), form["dims"], (), form["scale"], **of)
            size = empty.numbers().size
            sums.append(empty.filled(fixed.decode(ring, form["scale"], size, form["bits"])))
            self._leave(a, name, (form["shape"], form["dims"]), (size, ring.nbytes))
        return kind(*sums)

    def _leave(
        self, a: Ask, name: str, form: tuple[tuple[int, ...], tuple[str, ...]], size: tuple[int, int]
    ) -> None:  # fmt: skip
        """Note an array that left: its shape and dimensions, its distinct numbers and bytes."""
        one = Left(name_of(a.analysis), _settings(a.analysis), a.step, name, a.kind, *form, *size)
        self.left.append(one)
        self._new.append(one)


@lru_cache(maxsize=64)
def _settings(analysis: Any) -> str:
    """What tells two analyses of one method apart: a hash of their settings, in hexadecimal digits."""
    return wire.digest(Ask(analysis, "").plain()["settings"]).hex()[:16]


def _agreed(values: Sequence[Any], what: str) -> Any:
    """What every hospital said, if all said the same."""
    first = wire.pack(values[0])
    if any(wire.pack(v) != first for v in values[1:]):
        raise ProtocolError(f"the hospitals do not agree on {what}: they may run different versions")
    return values[0]
