"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2) with two linear heads.

Batch norm is folded into the convolutions, so that training and inference are the same network.
One head is for retrieval, the other in the text space of CLIP ViT-B/32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from search.embedders.mini_designs import DIM, FEATURES, MOBILENET_V2, STEM, Stage
from search.runtime import torch
from search.types import Pixels


def conv_layer(
    conv: type[torch.nn.Conv2d],
    cin: int,
    cout: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> torch.nn.Sequential:
    """A convolution of class `conv`, and ReLU6 after it."""
    layer = conv(cin, cout, kernel, stride, kernel // 2, groups=groups)
    return torch.nn.Sequential(layer, *([torch.nn.ReLU6(inplace=True)] if relu else []))


class Block(torch.nn.Module):
    """Inverted residual: expand, depthwise convolution, project; added to its input where shapes
    allow."""

    def __init__(
        self,
        conv: type[torch.nn.Conv2d],
        cin: int,
        cout: int,
        expansion: int,
        stride: int,
        kernel: int,
    ) -> None:
        super().__init__()
        hidden = cin * expansion
        layers = [conv_layer(conv, cin, hidden)] if expansion > 1 else []
        layers.append(conv_layer(conv, hidden, hidden, kernel, stride, hidden))
        layers.append(conv_layer(conv, hidden, cout, relu=False))
        self.layers = torch.nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, cin, H, W) -> (B, cout, ceil(H / stride), ceil(W / stride))."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


def stack_blocks(conv: type[torch.nn.Conv2d], stages: Sequence[Stage]) -> torch.nn.Sequential:
    """The convolutional part of a network, from RGB to `FEATURES` channels."""
    layers: list[torch.nn.Module] = [conv_layer(conv, 3, STEM, 3, 2)]
    width = STEM
    for expansion, cout, blocks, stride, kernel in stages:
        for i in range(blocks):
            layers.append(Block(conv, width, cout, expansion, stride if i == 0 else 1, kernel))
            width = cout
    layers.append(conv_layer(conv, width, FEATURES))
    return torch.nn.Sequential(*layers)


class MiniNet(torch.nn.Module):
    """Pictures -> features -> a retrieval vector, and a vector in CLIP's text space.

    mean, std: by which its input is normalised, per channel, for RGB in [0, 1].
    """

    mean, std = MOBILENET_V2.mean, MOBILENET_V2.std

    def __init__(self) -> None:
        super().__init__()
        self.body = stack_blocks(torch.nn.Conv2d, MOBILENET_V2.stages)
        self.retrieval = torch.nn.Linear(FEATURES, DIM)
        self.name = torch.nn.Linear(FEATURES, DIM)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) RGB, ImageNet-normalised -> (B, 1280)."""
        y: torch.Tensor = self.body(x).mean((2, 3))
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) RGB, ImageNet-normalised -> (B, 512): retrieval vectors of unit length."""
        return torch.nn.functional.normalize(self.retrieval(self.features(x)), dim=1)

    def convolutions(self) -> Iterator[torch.nn.Conv2d]:
        """The 52 convolutions from the picture up."""
        return (m for m in self.body.modules() if isinstance(m, torch.nn.Conv2d))


def to_tensor(
    pixels: Sequence[Pixels],
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """n pictures (S, S, 3) uint8 -> (n, 3, S, S) float32, normalised, channels last.

    mean, std: per channel, for RGB in [0, 1].
    """
    x = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2).float()
    shift = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
    scale = torch.tensor(std, device=device).view(1, 3, 1, 1) * 255
    return x.sub_(shift).div_(scale)
