"""Training inside one hospital: from the network's weights to the change that it sends, clipped, and kept state.

All is repeatable: parameters are drawn by numpy from the seed, batches and dropout from the seed, the round and the
epoch, sums of floats by one thread and in one order of people (by their values, not by how their rows stand). The same
people at the same hospitals and the same seed give the same weights on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from confrere.analyses.networks import losses
from confrere.analyses.networks.privacy import gaussian
from confrere.rounds import Array, Ints

_ONE = Lock()  # torch's generator and threads are shared by a process
MOST_AT_ONCE = 4096  # people whose scores are made at once


@dataclass(frozen=True)
class Plan:
    """How a hospital trains in a round; public.

    epochs, steps  passes over its people, or steps if not 0
    batch     people in a step; 0 is all of them
    clip      the largest Euclidean norm of its change
    noise     DP-SGD: Gaussian noise on the sum of gradients, times `person_clip`; each step takes everybody with the
              probability `sample`
    """

    objective: str
    epochs: int
    steps: int
    batch: int
    rate: float
    optimizer: str
    decay: float
    proximal: float
    clip: float
    seed: int
    noise: float = 0.0
    person_clip: float = 1.0
    sample: float = 1.0

    @property
    def unit(self) -> float:
        """How far the fewest steps go along a gradient of 1: what changes of control variates are multiplied by."""
        return self.rate * (self.steps or self.epochs)


class Rows(NamedTuple):
    """The people of one hospital: standardised features (n, p), outcome (n, ...), and how to get a bag (m, d)."""

    x: Array
    y: Array
    bag: Callable[[int], Any] | None = None
    ties: tuple[str, ...] = ()  # ids, which order people whose values are the same


@contextmanager
def repeatable(*seed: int) -> Iterator[None]:
    """Torch with one thread, repeatable algorithms and numbers of this seed; as it was, afterwards."""
    with _ONE:
        threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        try:
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
                yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)


def begun(module: nn.Module, seed: int) -> Array:
    """Parameters (all,) to begin with: matrices uniform within 1 / sqrt(what goes in), vectors 0, scales 1."""
    rng, parts = np.random.default_rng([seed, 0xC0F]), []
    for name, p in module.named_parameters():
        if p.dim() > 1:
            bound = 1 / math.sqrt(p[0].numel())
            parts.append(rng.uniform(-bound, bound, p.numel()))
        else:
            parts.append(np.full(p.numel(), float(_scales(module, name))))
    return np.concatenate([*parts, np.zeros(0)])


def _scales(module: nn.Module, name: str) -> bool:
    """Whether a vector is what a normalisation multiplies by."""
    owner = module.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, nn.LayerNorm | nn.GroupNorm) and name.endswith("weight")


def shared(module: nn.Module, personal: Sequence[str]) -> Any:
    """Which parameters (all,) leave: those of layers that are not personal, by the beginnings of their names."""
    marks = []
    for name, p in module.named_parameters():
        mine = any(name == one or name.startswith(f"{one}.") for one in personal)
        marks.append(np.full(p.numel(), not mine))
    return np.concatenate([*marks, np.zeros(0, dtype=bool)])


def clipped(change: Array, most: float) -> Array:
    """A vector, shortened to this Euclidean norm if it is longer."""
    norm = float(np.sqrt(change @ change))
    return change if norm <= most else change * (most / norm)


def load(module: nn.Module, weights: Array) -> None:
    """Set all parameters."""
    at = 0
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(weights[at : at + p.numel()].reshape(p.shape)))
            at += p.numel()


def unload(module: nn.Module) -> Array:
    """All parameters, flat: (all,)."""
    parts = [p.detach().reshape(-1).to(torch.float64) for p in module.parameters()]
    return np.asarray(torch.cat([*parts, torch.zeros(0, dtype=torch.float64)]).numpy())


@dataclass
class Client:
    """One hospital's half of a run: its people, its module, and what stays here between rounds.

    own      its personal layers, (all,) with others unused; `variate` its control variate (shared,)
    change   what this round's answer holds: (kinds, shared)
    key      of noise, 32 bytes
    """

    module: nn.Module
    rows: Rows
    plan: Plan
    mine: Any  # (all,) bool: what leaves
    own: Array
    key: bytes = field(repr=False, default=b"")
    variate: Array = field(init=False)
    change: Array = field(init=False)
    loss: float = 0.0

    def __post_init__(self) -> None:
        x, y = self.rows.x, self.rows.y
        y = y.reshape(len(y), math.prod(y.shape[1:]))
        order = np.lexsort([np.array(self.rows.ties or np.zeros(len(x))), *y.T, *x.T])
        self.order: Ints = order.astype(np.int64)
        self.variate = np.zeros(int(self.mine.sum()))
        self.change = np.zeros((1, self.variate.size))
        self.dtype = next(self.module.parameters()).dtype
        self.x = torch.from_numpy(np.ascontiguousarray(x[order])).to(self.dtype)
        self.y = torch.from_numpy(np.ascontiguousarray(self.rows.y[order])).to(self.dtype)

    @property
    def n(self) -> int:
        """People."""
        return len(self.order)

    def train(self, number: int, weights: Array, control: Array, epochs: int = 0) -> Array:
        """One round from the network's weights (shared,): sets `change`, clipped, and the loss while training.

        `epochs` trains so many passes instead. Gives all parameters as they are afterwards, (all,).
        """
        start = self.own.copy()
        start[self.mine] = weights
        drift = control - self.variate if control.size else control
        with repeatable(self.plan.seed, number):
            load(self.module, start)
            steps = self._passes(number, start, drift, epochs) if self.n else 0
            after = unload(self.module)
        moved = clipped(after[self.mine] - weights, self.plan.clip)
        self.own = after
        kinds = [moved]
        if control.size:  # option II; times `unit`, so that the same bound does
            turn = -control - moved / (max(1, steps) * self.plan.rate) if self.n else np.zeros_like(moved)
            kinds.append(clipped(turn * self.plan.unit, self.plan.clip))
            self.variate = self.variate + kinds[1] / self.plan.unit
        self.change = np.stack(kinds)
        return after

    def _passes(self, number: int, start: Array, drift: Array, epochs: int) -> int:
        """Steps over the people; how many."""
        optimizer = _optimizer(self.plan, self.module)
        pull = self._pull(start, drift)
        lost, seen, done = 0.0, 0, 0
        for batch in self._batches(number, epochs):
            optimizer.zero_grad()
            if self.plan.noise:
                lost += self._private(batch, number, done)
                seen += 1
            else:
                loss = self._loss(batch)
                loss.backward()  # type: ignore[no-untyped-call]
                lost, seen = lost + float(loss.detach()) * len(batch), seen + len(batch)
            pull()
            optimizer.step()
            done += 1
        self.loss = lost / max(1, seen)
        return done

    def _pull(self, start: Array, drift: Array) -> Callable[[], None]:
        """What is added to gradients: towards the start (fedprox), or by control variates (scaffold)."""
        near, push = self.plan.proximal, np.zeros(len(self.own))
        if drift.size:
            push[self.mine] = drift
        begun, pushed = (torch.from_numpy(v).to(self.dtype) for v in (start, push))

        def pull() -> None:
            at = 0
            for p in self.module.parameters():
                part = slice(at, at + p.numel())
                at += p.numel()
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
                if near:
                    p.grad += near * (p.detach() - begun[part].view_as(p))
                if drift.size:
                    p.grad += pushed[part].view_as(p)

        return pull

    def _batches(self, number: int, epochs: int) -> Iterator[Ints]:
        """The people (m,) of each step, by their places."""
        plan, most = self.plan, self.plan.batch or self.n
        every = epochs or (math.inf if plan.steps else plan.epochs)
        left, epoch = (math.inf if epochs or not plan.steps else plan.steps), 0
        while left > 0 and epoch < every:
            rng = np.random.default_rng([plan.seed, number, epoch])
            if plan.noise:  # whom a step takes must be nobody's guess
                rng = np.random.default_rng([*np.frombuffer(self.key, dtype=np.uint32).tolist(), number, epoch])
                drawn = [np.flatnonzero(rng.random(self.n) < plan.sample) for _ in range(round(1 / plan.sample))]
            else:
                order = rng.permutation(self.n) if most < self.n else np.arange(self.n)
                drawn = [np.sort(order[low : low + most]) for low in range(0, self.n, most)]
            for batch in drawn:
                if left > 0:
                    yield batch
                    left -= 1
            epoch += 1

    def _private(self, batch: Ints, number: int, step: int) -> float:
        """Gradients of a step, each person's clipped, with noise: Abadi et al., CCS 2016, Algorithm 1."""
        params = dict(self.module.named_parameters())
        total = {name: torch.zeros_like(p) for name, p in params.items()}
        for low in range(0, len(batch), 256):
            found = self._each(batch[low : low + 256])
            flat = torch.cat([g.reshape(len(g), -1) for g in found.values()], dim=1)
            norms = torch.linalg.vector_norm(flat, dim=1)
            scale = (self.plan.person_clip / norms.clamp(min=1e-30)).clamp(max=1.0)
            for name, g in found.items():
                total[name] += torch.einsum("n,n...->...", scale, g)
        size = sum(p.numel() for p in params.values())
        noise = torch.from_numpy(gaussian(size, self.key, (number << 32) + step)) * self.plan.noise
        at, expected = 0, self.plan.sample * self.n
        for name, p in params.items():
            drawn = noise[at : at + p.numel()].view_as(p).to(p.dtype) * self.plan.person_clip
            p.grad = (total[name] + drawn) / expected
            at += p.numel()
        return 0.0

    def _each(self, batch: Ints) -> dict[str, Tensor]:
        """The gradients (n, ...) of each person of a batch, by parameter."""
        params = {name: p.detach() for name, p in self.module.named_parameters()}

        def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            score = torch.func.functional_call(self.module, values, (x[None],))
            return losses.each(self.plan.objective, score, y[None])[0]

        grads = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0), randomness="different")
        found: dict[str, Tensor] = grads(params, self.x[batch], self.y[batch])
        return found

    def _loss(self, batch: Ints) -> Tensor:
        """The mean loss of some people, and of a module that has one the further loss of its rows, such as `clam`."""
        bags = self._stacked(batch)
        loss = losses.mean(self.plan.objective, self.module(self.x[batch], *bags), self.y[batch])
        own = getattr(self.module, "beside", None)
        return loss + own(*bags) if own and bags else loss

    def _stacked(self, batch: Ints) -> tuple[Tensor, ...]:
        """The rows of some people's bags, and whose each is; nothing where there are no bags."""
        if self.rows.bag is None:
            return ()
        rows, of = stacked([self.rows.bag(int(self.order[i])) for i in batch])
        return rows.to(self.dtype), of


def stacked(bags: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Bags (m_i, d) as rows (sum m_i, d), and whose each is (sum m_i,)."""
    of = np.repeat(np.arange(len(bags)), [len(b) for b in bags])
    return torch.from_numpy(np.concatenate(bags)), torch.from_numpy(of.astype(np.int64))


def _optimizer(plan: Plan, module: nn.Module) -> torch.optim.Optimizer:
    if plan.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), lr=plan.rate, weight_decay=plan.decay, foreach=False)
    return torch.optim.SGD(module.parameters(), lr=plan.rate, weight_decay=plan.decay, foreach=False)


def scores(module: nn.Module, weights: Array, rows: Rows) -> Array:
    """Scores (n, outputs) of people as they stand, without dropout."""
    dtype = next(module.parameters()).dtype
    parts: list[Array] = []
    with repeatable(0), torch.no_grad():
        load(module, weights)
        module.eval()
        for low in range(0, len(rows.x), MOST_AT_ONCE if rows.bag is None else 16):
            part = slice(low, low + (MOST_AT_ONCE if rows.bag is None else 16))
            x = torch.from_numpy(np.ascontiguousarray(rows.x[part])).to(dtype)
            if rows.bag is None:
                got = module(x)
            else:
                bags, of = stacked([rows.bag(i) for i in range(*part.indices(len(rows.x)))])
                got = module(x, bags.to(dtype), of)
            parts.append(got.to(torch.float64).numpy())
        module.train()
    return np.concatenate(parts) if parts else np.empty((0, 1))


def lost(objective: str, score: Array, y: Array) -> Array:
    """Losses (n,) of people with these scores (n, outputs), of all objectives but `cox`."""
    return np.asarray(losses.each(objective, torch.from_numpy(score), torch.from_numpy(np.asarray(y))).numpy())
