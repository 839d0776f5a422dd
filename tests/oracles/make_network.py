"""Federated averaging and its relatives in plain PyTorch, with all rows in one place: makes network.json.

    python tests/oracles/make_network.py          # some seconds, from the top of the repository; needs torch alone

Each strategy is written down anew from its paper's pseudo-code, by autograd on full batches; nothing of the package
trains here. The people are those of `confrere.testing`, and parameters begin where the stored ones do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from confrere.testing.people import patients

HERE = Path(__file__).parent
ROUNDS, EPOCHS, RATE, HIDDEN, PROXIMAL, DECAY = 6, 3, 0.2, 3, 0.5, 0.01
TERMS = ("x1", "x2", "treated")
CUTS = (365.0, 730.0, 1460.0)
CASES: dict[str, dict[str, Any]] = {
    "gradient descent": {"objective": "binary", "strategy": "fedavg", "steps": 1},
    "fedavg": {"objective": "binary", "strategy": "fedavg", "decay": DECAY},
    "fedprox": {"objective": "squared", "strategy": "fedprox", "proximal": PROXIMAL},
    "scaffold": {"objective": "binary", "strategy": "scaffold"},
    "fedadam": {"objective": "poisson", "strategy": "fedadam"},
    "fedyogi": {"objective": "binary", "strategy": "fedyogi"},
    "cox": {"objective": "cox", "strategy": "fedavg"},
    "discrete": {"objective": "discrete", "strategy": "fedavg"},
    "adam": {"objective": "squared", "strategy": "fedavg", "optimizer": "adam"},
}
OUTCOMES = {"binary": "ill", "squared": "y", "poisson": "visits"}


def hospitals() -> list[Any]:
    """240 people of three hospitals of 120, 80 and 40."""
    frame = patients(240, 3)
    return [frame.iloc[:120], frame.iloc[120:200], frame.iloc[200:]]


def start(outputs: int) -> list[np.ndarray]:
    """Parameters to begin with: of a layer of `HIDDEN` and of one on top, in torch's order."""
    rng = np.random.default_rng(17)
    shapes = [(HIDDEN, len(TERMS)), (HIDDEN,), (outputs, HIDDEN), (outputs,)]
    return [rng.normal(size=shape) / 2 for shape in shapes]


def score(w: list[Tensor], x: Tensor) -> Tensor:
    """The perceptron."""
    return torch.relu(x @ w[0].T + w[1]) @ w[2].T + w[3]


def loss(objective: str, s: Tensor, frame: Any, y: Tensor) -> Tensor:
    """Means over people, from the definitions."""
    if objective == "binary":
        p = torch.sigmoid(s[:, 0])
        return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
    if objective == "squared":
        return ((s[:, 0] - y) ** 2).mean() / 2
    if objective == "poisson":
        return (torch.exp(s[:, 0]) - y * s[:, 0]).mean()
    time, event = (torch.tensor(frame[c].to_numpy(float)) for c in ("time", "event"))
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(time)):
        if objective == "cox":
            if event[i]:
                total = total - s[i, 0] + torch.log(torch.exp(s[time >= time[i], 0]).sum())
            continue
        low = 0.0
        for j, high in enumerate(CUTS):
            h = torch.sigmoid(s[i, j])
            if event[i] and low < time[i] <= high:
                total = total - torch.log(h)
            elif time[i] >= high:
                total = total - torch.log(1 - h)
            low = high
    return total / len(time)


def trained(case: dict[str, Any]) -> list[float]:
    """The parameters after all rounds, flat."""
    objective, strategy, parts = case["objective"], case["strategy"], hospitals()
    raw = np.concatenate([p[list(TERMS)].to_numpy(float) for p in parts])
    mean, sd = raw.mean(axis=0), raw.std(axis=0)
    xs = [torch.tensor((p[list(TERMS)].to_numpy(float) - mean) / sd) for p in parts]
    ys = [torch.tensor(p[OUTCOMES.get(objective, "ill")].to_numpy(float)) for p in parts]
    if objective == "squared":
        whole = torch.cat(ys)
        ys = [(y - whole.mean()) / whole.std(correction=0) for y in ys]
    shares = np.array([len(p) for p in parts]) / sum(len(p) for p in parts)
    w = [torch.tensor(v) for v in start(len(CUTS) if objective == "discrete" else 1)]
    c = [torch.zeros_like(v) for v in w]
    own = [[torch.zeros_like(v) for v in w] for _ in parts]
    m, v2 = [torch.zeros_like(v) for v in w], [torch.full_like(v, 1e-6) for v in w]
    for _ in range(ROUNDS):
        moves, turns = [], []
        for h, (x, y, frame) in enumerate(zip(xs, ys, parts, strict=True)):
            local = [v.clone().requires_grad_() for v in w]
            adam = torch.optim.Adam(local, lr=RATE) if case.get("optimizer") == "adam" else None
            steps = case.get("steps", EPOCHS)
            for _step in range(steps):
                grads = torch.autograd.grad(loss(objective, score(local, x), frame, y), local)
                for p, g, before, all_, mine in zip(local, grads, w, c, own[h], strict=True):
                    full = g + case.get("proximal", 0.0) * (p.detach() - before) + case.get("decay", 0.0) * p.detach()
                    if strategy == "scaffold":
                        full = full - mine + all_
                    if adam is None:
                        with torch.no_grad():
                            p -= RATE * full
                    else:
                        p.grad = full
                if adam is not None:
                    adam.step()
            moves.append([p.detach() - before for p, before in zip(local, w, strict=True)])
            if strategy == "scaffold":
                new = [mine - all_ - d / (steps * RATE) for mine, all_, d in zip(own[h], c, moves[-1], strict=True)]
                turns.append([a - b for a, b in zip(new, own[h], strict=True)])
                own[h] = new
        d = [sum(s * move[i] for s, move in zip(shares, moves, strict=True)) for i in range(len(w))]
        if strategy in ("fedadam", "fedyogi"):
            m = [0.9 * a + 0.1 * b for a, b in zip(m, d, strict=True)]
            if strategy == "fedadam":
                v2 = [0.99 * a + 0.01 * b**2 for a, b in zip(v2, d, strict=True)]
            else:
                v2 = [a - 0.01 * b**2 * torch.sign(a - b**2) for a, b in zip(v2, d, strict=True)]
            d = [0.01 * a / (torch.sqrt(b) + 1e-3) for a, b in zip(m, v2, strict=True)]
        w = [a + b for a, b in zip(w, d, strict=True)]
        if strategy == "scaffold":
            c = [a + sum(s * t[i] for s, t in zip(shares, turns, strict=True)) for i, a in enumerate(c)]
    return [float(v) for p in w for v in p.ravel()]


if __name__ == "__main__":
    made = {"software": {"torch": str(torch.__version__)}, **{name: trained(case) for name, case in CASES.items()}}
    (HERE / "network.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
