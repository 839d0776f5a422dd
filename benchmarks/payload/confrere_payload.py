"""A method that only moves numbers: so many in each of so many rounds, masked as those of any other.

A plug-in of the benchmarks alone, which the processes of a measured federation have on their path. Its numbers mean
nothing; they go as a network's weights would, under the class `model_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Finding
from confrere.rounds import Design, Flow, People, Sum, ask, local, register, support
from confrere.study.ground import Ground


class Part(NamedTuple):
    """What leaves in one round."""

    numbers: Sum  # (numbers,)


@register("payload")
@dataclass(frozen=True)
class Payload:
    """Ask for the sum of `numbers` numbers, `rounds` times. Finding: the table `payload`."""

    numbers: int
    rounds: int
    ground: Ground = Ground()

    @property
    def reads(self) -> frozenset[str]:
        """The one column that says how many people there are."""
        return frozenset({"age"})

    def design(self, people: People) -> Design:
        """Everybody."""
        age = people.table.frame["age"].to_numpy(dtype=float)
        return Design(len(age), np.ones(len(age), dtype=bool), age[:, None], ("age",), columns=("age",))

    @local(on="design", repeats=100)
    def part(self, people: People, number: int) -> Part:
        """The numbers of a round."""
        values = people.design.once("values", lambda: np.linspace(0.0, people.design.n, self.numbers))
        return Part(people.derived(values + number, needs="model_weights"))

    def flow(self) -> Flow[Finding]:
        """All rounds, one after another."""
        verdict = yield from support(self.design)
        for number in range(self.rounds):
            got = yield from ask(self.part, number)
        last = float(got.numbers.value[-1])
        return Finding("payload", verdict.n, verdict.hospitals, {"payload": [{"last": last}]})
