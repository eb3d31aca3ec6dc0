"""Augmentation that does not leak into samples: random geometric transformations, with labels that
tell the network which one was applied. Samples are drawn with labels of zero, so that they look
like pictures without any (Karras et al. 2022, arXiv:2206.00364, appendix F.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.training.draws import Draws

LABELS = 9
"""Mirror, upside down, scale, rotation (2), stretch (2), shift (2)."""

SCALE, STRETCH, SHIFT = 0.2, 0.2, 0.125
"""Standard deviations: of log2 of the scale, of log2 of the stretch, and of the shift as a share of
the picture's side."""


def augment(pictures: Tensor, draws: Draws, probability: float) -> tuple[Tensor, Tensor]:
    """Transform each of (B, C, H, W) float pictures. Returns them and (B, 9) float32 labels.

    probability: of each transformation, for each picture. What comes from beyond the edges is the
    mirror image.
    """
    device, count = pictures.device, len(pictures)

    def draw_mask() -> Tensor:
        return (draws.uniform().to(device) < probability).float()

    def normal() -> Tensor:
        return draws.normal().to(device)

    mirror = draw_mask() * (draws.uniform().to(device) < 0.5)
    turn = draw_mask() * (draws.uniform().to(device) < 0.5)
    scale = draw_mask() * normal()
    angle = draw_mask() * (2 * draws.uniform().to(device).float() - 1) * math.pi
    stretched, direction = draw_mask() * normal(), draws.uniform().to(device).float() * math.pi
    moved = draw_mask()
    right, down = moved * normal(), moved * normal()
    matrix = torch.eye(2, device=device).repeat(count, 1, 1)
    matrix[:, 0, 0] = 1 - 2 * mirror.float()
    matrix[:, 1, 1] = 1 - 2 * turn.float()
    matrix = torch.exp2(-SCALE * scale)[:, None, None] * matrix
    size = torch.exp2(STRETCH * stretched)
    along = torch.diag_embed(torch.stack([size, 1 / size], 1))
    tilt = _rotations(direction)
    matrix = _rotations(angle) @ tilt @ along @ tilt.transpose(1, 2) @ matrix
    shift = 2 * SHIFT * torch.stack([right, down], 1)  # of a side, which is 2 long
    grid = F.affine_grid(
        torch.cat([matrix, shift[:, :, None]], 2), list(pictures.shape), align_corners=False
    )
    changed = F.grid_sample(pictures, grid, "bilinear", "reflection", align_corners=False)
    labels = torch.stack(
        [
            mirror.float(),
            turn.float(),
            scale,
            angle.cos() - 1,
            angle.sin(),
            stretched * direction.cos(),
            stretched * direction.sin(),
            right,
            down,
        ],
        dim=1,
    )
    same = (labels == 0).all(1)[:, None, None, None]  # without the rounding of interpolation
    return torch.where(same, pictures, changed), labels


def _rotations(angle: Tensor) -> Tensor:
    """(B,) radians -> (B, 2, 2)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
