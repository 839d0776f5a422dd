"""A flow that hospitals and a coordinator of one process follow together: what is asked next is worked out once.

A flow is a function of the answers that it is given. Every hospital still adds up and decodes the totals by itself;
where they are, to the bit, what another copy was given, the next asks are those of the other. In a federation all have
a flow each.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np

from confrere.errors import ProtocolError
from confrere.rounds import Answers, Flow, Round, Sum


class Shared:
    """A flow under way, and what it was given last. Nobody is more than a round behind the others."""

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow, self._lock = flow, Lock()
        self._number = -1
        self._given: Answers | None = None
        self._asks: Round = ()
        self._end: BaseException | None = None  # a `StopIteration` too

    def copy(self) -> Flow[Any]:
        """The flow, for one who follows it. ProtocolError where its answers are not those of the others."""
        number, answers = 0, None
        while True:
            with self._lock:
                if number > self._number:
                    self._advance(answers)
                elif number < self._number or not alike(answers, self._given):
                    raise ProtocolError("hospitals and coordinator of this process were not given the same totals")
                if isinstance(self._end, StopIteration):
                    return self._end.value
                if self._end is not None:
                    raise self._end
                asks, self._given = self._asks, answers  # totals are often the very arrays of the hospital before
            answers = yield asks
            number += 1

    def _advance(self, answers: Answers | None) -> None:
        self._number, self._given = self._number + 1, answers
        try:
            self._asks = self._flow.send(answers)  # type: ignore[arg-type]
        except Exception as end:  # noqa: BLE001 - which each hospital is told as if its own copy had raised it
            self._end = end


def alike(a: Any, b: Any) -> bool:
    """Whether two answers are the same to the bit, in what a flow sees of them."""
    if isinstance(a, Sum) and isinstance(b, Sum):
        return (a.needs, a.scale, a.bits) == (b.needs, b.scale, b.bits) and alike(a.value, b.value)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or np.array_equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(value, b[name]) for name, value in a.items())
    return type(a) is type(b) and bool(a == b)
