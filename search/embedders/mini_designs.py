"""What the networks of `mini` are built from. Their torch modules and `mini_numpy` both read it.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FEATURES, DIM, CLASSES = 1280, 512, 1000
STEM = 32  # channels of the first convolution
DEPTHS = (1, 3, 3, 4, 4, 5, 1)  # blocks of each stage of EfficientNet-Lite2, as published

Stage = tuple[int, int, int, int, int]
"""Expansion, channels out, blocks, stride of the first block, kernel of the depthwise one."""


@dataclass(frozen=True)
class Design:
    """A network of inverted residual blocks.

    stages: from the picture up. mean, std: by which the input is normalised, per channel, for RGB
    in [0, 1]. pads_below: where a stride leaves an odd pixel of padding, it goes right and below,
    as TensorFlow's SAME does; else left and above.
    """

    stages: tuple[Stage, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pads_below: bool


# table 2 of the paper
MOBILENET_V2 = Design(
    (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 32, 3, 2, 3),
        (6, 64, 4, 2, 3),
        (6, 96, 3, 1, 3),
        (6, 160, 3, 2, 3),
        (6, 320, 1, 1, 3),
    ),
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
    pads_below=False,
)

# expansion, channels out, kernel, stride of the first block
_LITE = (
    (1, 16, 3, 1),
    (6, 24, 3, 2),
    (6, 48, 5, 2),
    (6, 88, 3, 2),
    (6, 120, 5, 1),
    (6, 208, 5, 2),
    (6, 352, 3, 1),
)


def describe_efficientnet_lite(depths: Sequence[int] = DEPTHS) -> Design:
    """Return the design of EfficientNet-Lite2 with so many blocks in each of its seven stages."""
    stages = tuple(
        (expansion, cout, blocks, stride, kernel)
        for (expansion, cout, kernel, stride), blocks in zip(_LITE, depths, strict=True)
    )
    return Design(stages, (127 / 255,) * 3, (128 / 255,) * 3, pads_below=True)


EFFICIENTNET_LITE2 = describe_efficientnet_lite()
