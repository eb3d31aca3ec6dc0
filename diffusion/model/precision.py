"""Where bfloat16 is fast, and where samples in it look the same."""

from __future__ import annotations

import torch

BF16_SIGMA = 0.7
"""Highest sigma from which variants are denoised in bfloat16.

Up to it, no value of a variant at 256 px differed by more than 2 of 255 from float32 (8 pictures,
`scripts/bench precision`). From higher sigmas rounding grows into other details.
"""


def supports_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16 numbers. They may still be slower
    than those for float32: see `choose_speed`."""
    if device.type == "cpu":
        known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return device.type in ("cuda", "xpu")
