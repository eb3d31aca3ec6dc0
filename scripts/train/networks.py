"""The networks that `mini` learns from, with their published weights, batch norm folded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from search.embedders.efficientnet import EfficientNetLite
from search.embedders.mobilenet import MiniNet

EPSILON = 1e-3  # of batch norm in the TensorFlow models


def mobilenet(data: Path) -> MiniNet:
    """MobileNetV2 at 224 px from `data`/mobilenetv2: the convolutions in the topology's order.

    Raises SystemExit when files are missing.
    """
    net = MiniNet().eval()
    files = sorted(
        (data / "mobilenetv2").glob("*_weight.npy"), key=lambda p: int(p.name.split("_")[1])
    )
    convolutions = list(net.convolutions())
    if len(files) != len(convolutions):
        raise SystemExit(f"{data}/mobilenetv2 has {len(files)} convolutions, expected 52")
    for file, conv in zip(files, convolutions, strict=True):
        bias = file.with_name(file.name.replace("weight", "bias"))
        conv.weight.data = torch.from_numpy(np.load(file))
        conv.bias.data = torch.from_numpy(np.load(bias))
    return net.to(memory_format=torch.channels_last)


def efficientnet(data: Path) -> EfficientNetLite:
    """EfficientNet-Lite2 at 260 px from `data`/efficientnet-lite2; `retrieval` stays random."""
    state = load_file(data / "efficientnet-lite2" / "weights.safetensors")
    net = EfficientNetLite().eval()
    pairs = list(_convolutions_and_norms(state))
    convolutions = list(net.convolutions())
    if len(pairs) != len(convolutions):
        raise SystemExit(f"{data}/efficientnet-lite2 has {len(pairs)} convolutions")
    for (weight, norm), conv in zip(pairs, convolutions, strict=True):
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale = state[f"{norm}.weight"].float() / (variance.float() + EPSILON).sqrt()
        conv.weight.data = state[weight].float() * scale.view(-1, 1, 1, 1)
        conv.bias.data = state[f"{norm}.bias"].float() - mean.float() * scale
    net.classes.weight.data = state["classifier.weight"].float()
    net.classes.bias.data = state["classifier.bias"].float()
    return net.to(memory_format=torch.channels_last)


def _convolutions_and_norms(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, str]]:
    """Keys of each convolution's weight and of the batch norm after it, from the picture up."""
    yield "conv_stem.weight", "bn1"
    blocks = sorted(
        {tuple(int(n) for n in key.split(".")[1:3]) for key in state if key.startswith("blocks.")}
    )
    for stage, block in blocks:
        prefix = f"blocks.{stage}.{block}"
        names = ("conv_pw", "conv_dw", "conv_pwl") if stage else ("conv_dw", "conv_pw")
        for number, name in enumerate(names, 1):
            yield f"{prefix}.{name}.weight", f"{prefix}.bn{number}"
    yield "conv_head.weight", "bn2"
