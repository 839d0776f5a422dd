"""What secure sums cost in federated averaging of a large network, beside the local training that they carry.

    python -m benchmarks.networks                        # 10,000,000 parameters, three hospitals of 2,000 people
    python -m benchmarks.networks --parameters 1000000 --people 1000

A whole federation in this process: keys, gates, followed flows, masks and signatures, with weights as messages. Clocks
count processor seconds over all hospitals: of training; of secure sums, which are putting numbers into the ring, masks,
signatures, verifying and adding up everybody's answers and reading totals; and of all else of a round, with messages,
flows and the building of modules.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd

import confrere as cf
from confrere.analyses.networks.training import Client
from confrere.hospital import run
from confrere.rounds import find
from confrere.sums import Session

INPUTS = 100


def people(n: int, seed: int) -> pd.DataFrame:
    """`n` people: 100 numbers, and an outcome of three of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, INPUTS))
    y = (rng.random(n) < 1 / (1 + np.exp(-x[:, 0] + x[:, 1] * x[:, 2]))).astype(float)
    return pd.DataFrame(x, columns=[f"x{j}" for j in range(INPUTS)]).assign(y=y)


def hidden(parameters: int) -> list[int]:
    """Widths of three equal layers with about so many parameters."""
    width = int((np.sqrt(INPUTS**2 + 8.0 * parameters) - INPUTS) / 4)
    return [width] * 3


class Clock:
    """Processor seconds in a method of a class, over all hospitals; torch has one thread in it."""

    def __init__(self, owner: Any, name: str) -> None:
        self.seconds, inner = 0.0, getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(*given, **named)
            finally:
                self.seconds += time.thread_time() - start

        setattr(owner, name, timed)


def main() -> None:
    """Train, and print what was training and what was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--people", type=int, default=2000, help="of each hospital")
    parser.add_argument("--hospitals", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    federation = cf.local({f"h{i}": people(given.people, i) for i in range(given.hospitals)})
    network = find("network")(
        "y", " + ".join(f"x{j}" for j in range(INPUTS)), module="mlp", settings={"hidden": hidden(given.parameters)},
        rounds=given.rounds, epochs=given.epochs, batch=32, precision="single",
    )  # fmt: skip
    clock, times = Clock(Client, "_passes"), []
    parts = ((Session, "mask"), (Session, "sign"), (Session, "add"), (run, "_ring"), (run, "filled"))
    sums = [Clock(owner, name) for owner, name in parts]
    start = time.perf_counter()
    found = federation.run(
        network,
        allow=["model_weights"],
        progress=lambda number, asks: times.append((asks[0].step, time.process_time())),
    )
    ends = [*(later for _, later in times[1:]), time.process_time()]
    rounds = sum(end - at for (step, at), end in zip(times, ends, strict=True) if step == "update")
    print(f"{found.facts['parameters']:,} parameters, {given.hospitals} hospitals of {given.people:,} people")
    secure, rest = sum(c.seconds for c in sums), rounds - clock.seconds
    share, all_else = 100 * secure / clock.seconds, 100 * rest / clock.seconds
    print(f"training {clock.seconds:.1f} s of a processor, all else of {given.rounds} rounds {rest:.1f} s")
    print(f"secure sums {secure:.1f} s: {share:.1f} % of training; with messages, flows and modules {all_else:.1f} %")
    sent = sum(one.bytes for one in found.results.left if one.step == "update") / given.rounds / 1e6
    print(f"{sent:.1f} MB left each hospital in a round; {time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
