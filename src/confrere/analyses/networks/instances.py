"""Multiple instance learning: modules that make one score of a person's bag of rows, whatever its number of rows.

| module | how rows count | source |
| `mean_pool` | alike | |
| `abmil` | by gated attention | Ilse, Tomczak & Welling, ICML 2018, equation 9 |
| `clam` | as `abmil`, and it learns to tell the rows it attends to most from the least | Lu et al., one branch |
| `chowder` | the highest and lowest scores of rows, sorted | Courtiol et al., arXiv:1802.02212 |

CLAM: Nat Biomed Eng 2021;5:555, here with cross-entropy for its smooth SVM loss.

Interface: `catalogue.py`. `of` (m,) says whose each row is, and rows of a person stand together. No rows are padded and
no bag is looked at by itself: sums over bags are `index_add`, so that a batch costs its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from confrere.analyses.networks.catalogue import Sizes


def summed(values: Tensor, of: Tensor, many: int) -> Tensor:
    """Sums of the rows (m, ...) of each of `many` bags."""
    return torch.zeros((many, *values.shape[1:]), dtype=values.dtype).index_add(0, of, values)


def softmax(scores: Tensor, of: Tensor, many: int) -> Tensor:
    """Weights (m,) that add up to 1 in each bag, of scores (m,)."""
    most = torch.full((many,), -torch.inf, dtype=scores.dtype).scatter_reduce(0, of, scores.detach(), "amax")
    weights = (scores - most[of]).exp()
    return weights / summed(weights, of, many)[of]


def extremes(scores: Tensor, of: Tensor, many: int, each: int) -> tuple[Tensor, Tensor]:
    """The places of each bag's highest and lowest scores, (many, each) both, the most extreme first.

    A bag with fewer rows has its last one again.
    """
    order = torch.argsort(scores.detach(), stable=True)
    order = order[torch.argsort(of[order], stable=True)]
    counts = torch.bincount(of, minlength=many)
    first = counts.cumsum(0) - counts
    steps = torch.minimum(torch.arange(each)[None], counts[:, None] - 1)
    return order[(first + counts - 1)[:, None] - steps], order[first[:, None] + steps]


class Embedded(nn.Module):
    """Rows to `hidden` numbers each, and a linear head on what becomes of them and the person's features."""

    def __init__(self, sizes: Sizes, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.embed = nn.Linear(sizes.bag, settings["hidden"])
        self.drop = nn.Dropout(settings["dropout"])
        self.head = nn.Linear(settings["hidden"] + sizes.inputs, sizes.outputs)

    def embedded(self, rows: Tensor) -> Tensor:
        """(m, hidden) of rows (m, d)."""
        made: Tensor = self.drop(torch.relu(self.embed(rows)))
        return made

    def scored(self, pooled: Tensor, x: Tensor) -> Tensor:
        """Scores (n, outputs) of what the bags became (n, hidden) and the features x (n, p)."""
        made: Tensor = self.head(torch.cat([pooled, x], dim=1))
        return made


class MeanPool(Embedded):
    """The mean of a person's embedded rows."""

    def forward(self, x: Tensor, rows: Tensor, of: Tensor) -> Tensor:
        """Scores (n, outputs)."""
        embedded = self.embedded(rows)
        counts = torch.bincount(of, minlength=len(x)).to(rows.dtype)
        return self.scored(summed(embedded, of, len(x)) / counts[:, None], x)


class Attention(Embedded):
    """ABMIL: a weighted mean, its weights made by tanh(V h) * sigmoid(U h)."""

    def __init__(self, sizes: Sizes, settings: Mapping[str, Any]) -> None:
        super().__init__(sizes, settings)
        self.value = nn.Linear(settings["hidden"], settings["attention"])
        self.gate = nn.Linear(settings["hidden"], settings["attention"])
        self.weigh = nn.Linear(settings["attention"], 1)

    def weights(self, embedded: Tensor, of: Tensor, many: int) -> Tensor:
        """Attention (m,) to embedded rows (m, hidden)."""
        scores = self.weigh(torch.tanh(self.value(embedded)) * torch.sigmoid(self.gate(embedded)))
        return softmax(scores[:, 0], of, many)

    def attention(self, rows: Tensor, of: Tensor) -> Tensor:
        """Weights (m,) of rows, adding up to 1 for each person."""
        return self.weights(self.embedded(rows), of, int(of.max()) + 1)

    def forward(self, x: Tensor, rows: Tensor, of: Tensor) -> Tensor:
        """Scores (n, outputs)."""
        embedded = self.embedded(rows)
        return self.scored(summed(self.weights(embedded, of, len(x))[:, None] * embedded, of, len(x)), x)


class Clam(Attention):
    """CLAM with one branch: attention that also tells its most from its least attended rows."""

    def __init__(self, sizes: Sizes, settings: Mapping[str, Any]) -> None:
        super().__init__(sizes, settings)
        self.tell = nn.Linear(settings["hidden"], 1)
        self.instances, self.share = settings["instances"], settings["weight"]

    def beside(self, rows: Tensor, of: Tensor) -> Tensor:
        """The further loss of a batch: cross-entropy of telling the most attended rows (1) from the least (0)."""
        many, embedded = int(of.max()) + 1, self.embedded(rows)
        most, least = extremes(self.weights(embedded, of, many), of, many, self.instances)
        told = self.tell(embedded[torch.cat([most.reshape(-1), least.reshape(-1)])])[:, 0]
        right = torch.cat([torch.ones(most.numel()), torch.zeros(least.numel())]).to(told.dtype)
        made: Tensor = self.share * functional.binary_cross_entropy_with_logits(told, right)
        return made


class Chowder(nn.Module):
    """CHOWDER: one linear score a row; of a person's the highest and lowest, sorted, through a perceptron."""

    def __init__(self, sizes: Sizes, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.each = settings["extremes"]
        self.score = nn.Linear(sizes.bag, 1)
        self.drop = nn.Dropout(settings["dropout"])
        self.middle = nn.Linear(2 * self.each + sizes.inputs, settings["hidden"])
        self.head = nn.Linear(settings["hidden"], sizes.outputs)

    def row_scores(self, rows: Tensor) -> Tensor:
        """Scores (m,) of rows, of either sign: the lowest count as the highest do."""
        made: Tensor = self.score(rows)[:, 0]
        return made

    def forward(self, x: Tensor, rows: Tensor, of: Tensor) -> Tensor:
        """Scores (n, outputs)."""
        scores = self.row_scores(rows)
        both = torch.cat([scores[places] for places in extremes(scores, of, len(x), self.each)], dim=1)
        made: Tensor = self.head(torch.relu(self.middle(self.drop(torch.cat([both, x], dim=1)))))
        return made
