"""EfficientNet-Lite2 (Tan and Le 2019, arXiv:1905.11946; the Lite family has ReLU6 and no
squeeze-and-excitation), with all of its blocks or fewer, and two linear heads.

Batch norm is folded into the convolutions, so that training and inference are the same network.
One head gives the vector for retrieval, the other the logits of the 1000 ImageNet classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.embedders.mini_designs import (
    CLASSES,
    DEPTHS,
    DIM,
    EFFICIENTNET_LITE2,
    FEATURES,
    describe_efficientnet_lite,
)
from search.embedders.mobilenet import stack_blocks
from search.runtime import torch


class SameConv2d(torch.nn.Conv2d):
    """A convolution that is padded as TensorFlow's SAME: the odd pixel goes right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, cin, H, W) -> (B, cout, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:  # the same on all sides, which the convolution does itself
            return super().forward(x)
        pads = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        (top, left), (bottom, right) = [p // 2 for p in pads], [p - p // 2 for p in pads]
        padded = torch.nn.functional.pad(x, (left, right, top, bottom))
        return torch.nn.functional.conv2d(
            padded, self.weight, self.bias, self.stride, groups=self.groups
        )


class EfficientNetLite(torch.nn.Module):
    """Pictures -> features -> a vector for retrieval, and logits of the ImageNet classes.

    mean, std: by which its input is normalised, per channel, for RGB in [0, 1].
    """

    mean, std = EFFICIENTNET_LITE2.mean, EFFICIENTNET_LITE2.std

    def __init__(self, depths: Sequence[int] = DEPTHS) -> None:
        """depths: blocks of each of the seven stages, at least 1."""
        super().__init__()
        self.body = stack_blocks(SameConv2d, describe_efficientnet_lite(depths).stages)
        self.retrieval = torch.nn.Linear(FEATURES, DIM)
        self.classes = torch.nn.Linear(FEATURES, CLASSES)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) RGB, normalised by `mean` and `std` -> (B, 1280)."""
        y: torch.Tensor = self.body(x).mean((2, 3))
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) RGB, normalised -> (B, 512): retrieval vectors of unit length."""
        return torch.nn.functional.normalize(self.retrieval(self.features(x)), dim=1)

    def convolutions(self) -> Iterator[torch.nn.Conv2d]:
        """All convolutions from the picture up."""
        return (m for m in self.body.modules() if isinstance(m, torch.nn.Conv2d))
