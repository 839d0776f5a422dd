"""How the hospitals' updates become the next weights: the server's half of federated averaging and its relatives.

Every hospital trains from the weights w and sends its change d_h, of which the sum over hospitals, weighted by their
people n_h / n, is the network's change d.

- `fedavg`   w + rate d (McMahan et al., AISTATS 2017; rate 1)
- `fedprox`  the same; in the hospital (proximal / 2) |v - w|^2 is added to the loss (Li et al., MLSys 2020)
- `scaffold` the same; in the hospital gradients are corrected by c - c_h, and c moves by the weighted mean of the
             changes of c_h (Karimireddy et al., ICML 2020, option II)
- `fedadam`, `fedyogi`  d is a gradient for Adam or Yogi at the server (Reddi et al., ICLR 2021, Algorithm 2; beta 0.9
             and 0.99, tau 1e-3, without correction of the bias)

With one full-batch step in each hospital, fedavg is gradient descent on all people at once, whatever their deal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Citation
from confrere.rounds import Array

BETA1, BETA2, TAU = 0.9, 0.99, 1e-3
RATES: Mapping[str, float] = {"fedavg": 1.0, "fedprox": 1.0, "scaffold": 1.0, "fedadam": 0.01, "fedyogi": 0.01}
CITE: Mapping[str, Citation] = {
    "fedavg": Citation(
        "McMahan B, Moore E, Ramage D, Hampson S, Aguera y Arcas B. Communication-efficient learning of deep networks "
        "from decentralized data. AISTATS 2017;54:1273-1282", "10.48550/arXiv.1602.05629"
    ),
    "fedprox": Citation(
        "Li T, Sahu AK, Zaheer M, Sanjabi M, Talwalkar A, Smith V. Federated optimization in heterogeneous networks. "
        "MLSys 2020;2:429-450", "10.48550/arXiv.1812.06127"
    ),
    "scaffold": Citation(
        "Karimireddy SP, Kale S, Mohri M, Reddi S, Stich S, Suresh AT. SCAFFOLD: stochastic controlled averaging for "
        "federated learning. ICML 2020;119:5132-5143", "10.48550/arXiv.1910.06378"
    ),
}  # fmt: skip
REDDI = Citation(
    "Reddi S, Charles Z, Zaheer M, Garrett Z, Rush K, Konecny J, Kumar S, McMahan HB. Adaptive federated optimization. "
    "ICLR 2021", "10.48550/arXiv.2003.00295"
)  # fmt: skip


class Server(NamedTuple):
    """What goes from round to round: weights, and the state of the strategy; all (parameters,)."""

    strategy: str
    rate: float
    weights: Array
    first: Array  # moments of Adam and Yogi; the control variate of scaffold is `first`
    second: Array

    @classmethod
    def start(cls, strategy: str, rate: float, weights: Array) -> Server:
        """Before the first round. `rate` 0 is the strategy's own."""
        state = np.zeros_like(weights) if strategy in ("scaffold", "fedadam", "fedyogi") else np.zeros(0)
        second = np.full_like(weights, TAU**2) if strategy in ("fedadam", "fedyogi") else np.zeros(0)
        return cls(strategy, rate or RATES[strategy], weights, state, second)

    @property
    def control(self) -> Array:
        """The control variate that goes to the hospitals, or nothing."""
        return self.first if self.strategy == "scaffold" else np.zeros(0)

    def stepped(self, change: Array, control: Array) -> Server:
        """After a round: `change` of the weights, and of the control variate."""
        if self.strategy in ("fedadam", "fedyogi"):
            first = BETA1 * self.first + (1 - BETA1) * change
            square = change**2
            if self.strategy == "fedadam":
                second = BETA2 * self.second + (1 - BETA2) * square
            else:
                second = self.second - (1 - BETA2) * square * np.sign(self.second - square)
            moved = self.weights + self.rate * first / (np.sqrt(second) + TAU)
            return self._replace(weights=moved, first=first, second=second)
        first = self.first + control if self.strategy == "scaffold" else self.first
        return self._replace(weights=self.weights + self.rate * change, first=first)
