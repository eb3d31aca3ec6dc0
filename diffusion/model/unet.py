"""The network: a U-Net with attention, told the noise level and, if wanted, a condition.

Blocks as in Ho et al. 2020 (appendix B), with the scale and shift of Dhariwal and Nichol 2021
(arXiv:2105.05233) or, as in the article, an added embedding. Resolution halves by averages and
doubles by repetition between levels, and no size is built in: whatever `multiple` divides goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.errors import ConfigError

L = TypeVar("L", bound=nn.Module)

WRITTEN_OUT = 256  # places up to which attention in bfloat16 is products and softmax
SIZE_SCALE = 100.0  # of log2 of a size, so that its sines and cosines tell sizes apart


@dataclass(frozen=True)
class Shape:
    """What a U-Net is built from.

    channels: of each level, the finest first. blocks: residual blocks of a level on the way down,
    and as many on the way up. attention: which levels have it behind each block. head: channels of
    an attention head. patch: pixels a side that the stem packs into channels, so that 64 px cost
    what 32 px do with 2. scale_shift: the embedding scales and shifts, else it is added. condition:
    `none`, `class` or `vector`; width: how many classes, or the vector's length. inputs: channels
    of what it denoises. size_condition: it is also conditioned on the size of the whole picture,
    so that it can be trained on crops (Podell et al. 2023, arXiv:2307.01952, section 2.2).
    augmentation: numbers that tell how a picture was transformed (`diffusion.training.augment`);
    0 for a network that is trained without.
    """

    channels: tuple[int, ...]
    blocks: int
    attention: tuple[bool, ...]
    head: int = 32
    patch: int = 1
    scale_shift: bool = True
    dropout: float = 0.0
    condition: str = "none"
    width: int = 0
    inputs: int = 3
    size_condition: bool = False
    augmentation: int = 0

    def __post_init__(self) -> None:
        wrong = (
            not self.channels
            or len(self.attention) != len(self.channels)
            or min(self.head, self.blocks, self.patch, self.inputs) < 1
            or any(c < 1 or c % self.head for c in self.channels)
            or self.channels[0] % 2
            or self.condition not in ("none", "class", "vector")
            or (self.condition != "none") != (self.width > 0)
        )
        if wrong:
            raise ConfigError(f"no network has the shape {self}")

    @property
    def multiple(self) -> int:
        """Height and width are to be multiples of it."""
        return self.patch << (len(self.channels) - 1)


def sinusoidal(time: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width) sines and cosines, wavelengths 2 pi to 20000 pi (Vaswani et al. 2017)."""
    half = width // 2
    speeds = torch.exp(-math.log(10_000) / half * torch.arange(half, device=time.device))
    angles = time.float()[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Norm(nn.GroupNorm):
    """Group norm over groups of 16 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(max(1, channels // 16) if channels % 16 == 0 else 1, channels)


class Attention(nn.Module):
    """Self-attention between all places, added to its input; it begins as nothing."""

    def __init__(self, channels: int, head: int) -> None:
        super().__init__()
        self.heads = channels // head
        self.norm = Norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zero_initialized(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        b, c, h, w = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        q, k, v = self.qkv(tokens).view(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = _attend(q, k, v).transpose(1, 2).reshape(b, h, w, c)
        y: Tensor = x + self.out(mixed).permute(0, 3, 1, 2)
        return y


class Block(nn.Module):
    """Two convolutions beside a skip, under the embedding; attention behind them, or not."""

    def __init__(self, into: int, out: int, embedding: int, shape: Shape, attention: bool) -> None:
        super().__init__()
        self.scale_shift = shape.scale_shift
        self.norm1, self.conv1 = Norm(into), nn.Conv2d(into, out, 3, padding=1)
        self.condition_projection = nn.Linear(embedding, 2 * out if shape.scale_shift else out)
        self.norm2, self.dropout = Norm(out), nn.Dropout(shape.dropout)
        self.conv2 = _zero_initialized(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(into, out, 1) if into != out else nn.Identity()
        self.attention = Attention(out, shape.head) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, into, H, W), embedding (B, E) -> (B, out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        projection = self.condition_projection(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = projection.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + projection)
        h = self.conv2(self.dropout(F.silu(h)))
        y: Tensor = self.attention(self.skip(x) + h)
        return y


class UNet(nn.Module):
    """Pictures, how noisy they are, and a condition -> a tensor of the pictures' shape.

    `blocks` names the residual blocks in the order in which they run: `down.0.0`, ..., `middle.0`,
    ..., `up.0.1`; the first number is the level.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        first, embedding = shape.channels[0], 4 * shape.channels[0]
        packed = shape.inputs * shape.patch**2
        self.stem = nn.Conv2d(packed, first, 3, padding=1)
        self.time_embedding = nn.Sequential(
            nn.Linear(first, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        if shape.condition == "class":
            self.condition_embedding: nn.Module = nn.Embedding(shape.width + 1, embedding)
        elif shape.condition == "vector":
            self.condition_embedding = _zero_initialized(
                nn.Linear(shape.width, embedding, bias=False)
            )
        if shape.size_condition:
            self.size_embedding = _zero_initialized(nn.Linear(first, embedding))
        if shape.augmentation:
            self.augmentation_embedding = _zero_initialized(
                nn.Linear(shape.augmentation, embedding, bias=False)
            )
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        inner, carried = first, list[int]()
        for out, attends in zip(shape.channels, shape.attention, strict=True):
            level = nn.ModuleList()
            for _ in range(shape.blocks):
                level.append(Block(inner, out, embedding, shape, attends))
                carried.append(inner := out)
            self.down.append(level)
        self.middle = nn.ModuleList(
            Block(inner, inner, embedding, shape, attends)
            for attends in (shape.attention[-1], False)
        )
        for out, attends in reversed(list(zip(shape.channels, shape.attention, strict=True))):
            level = nn.ModuleList()
            for _ in range(shape.blocks):
                level.append(Block(inner + carried.pop(), out, embedding, shape, attends))
                inner = out
            self.up.insert(0, level)
        self.norm = Norm(first)
        self.head = _zero_initialized(nn.Conv2d(first, packed, 3, padding=1))

    @property
    def blocks(self) -> list[str]:
        """Names of the residual blocks, in the order in which they run."""
        return [name for name, module in self._running() if isinstance(module, Block)]

    def _running(self) -> Iterator[tuple[str, nn.Module]]:
        for i, level in enumerate(self.down):
            yield from ((f"down.{i}.{j}", block) for j, block in enumerate(_list(level)))
        yield from ((f"middle.{j}", block) for j, block in enumerate(self.middle))
        for i, level in reversed(list(enumerate(self.up))):
            yield from ((f"up.{i}.{j}", block) for j, block in enumerate(_list(level)))

    def embed(
        self,
        time: Tensor,
        condition: Tensor | None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """(B,) times and conditions -> (B, E).

        condition: (B,) classes, -1 for none; or (B, width) unit vectors, zeros for none. size: (B,)
        short sides of the whole pictures, for a shape with `size_condition`.
        """
        embedding: Tensor = self.time_embedding(
            sinusoidal(time, self.shape.channels[0]).to(self.stem.weight.dtype)
        )
        kind, width = self.shape.condition, self.shape.width
        if self.shape.size_condition and size is not None:
            waves = sinusoidal(SIZE_SCALE * size.float().log2(), self.shape.channels[0])
            embedding = embedding + self.size_embedding(waves.to(embedding.dtype))
        if self.shape.augmentation and augmentation is not None:
            embedding = embedding + self.augmentation_embedding(augmentation.to(embedding.dtype))
        if kind == "none":
            return F.silu(embedding)
        if kind == "class":
            if condition is None:
                condition = torch.full(time.shape, -1, device=time.device)
            return F.silu(embedding + self.condition_embedding(condition.remainder(width + 1)))
        if condition is not None:
            embedding = embedding + self.condition_embedding(
                condition.to(embedding.dtype) * math.sqrt(width)
            )
        return F.silu(embedding)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        condition: Tensor | None = None,
        until: nn.Module | None = None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """x (B, inputs, H, W) of about unit variance, time (B,) of a thousand -> x's shape.

        until: a residual block, behind which it stops and gives that one's output (B, C, h, w).
        size: (B,) short sides of the whole pictures that x are crops of, in the units of x; by
        default x are whole pictures. augmentation: (B, shape.augmentation) labels of what was done
        to the pictures, for a shape that has them; None for pictures as they are.
        """
        if size is None and self.shape.size_condition:
            size = torch.full((len(x),), float(min(x.shape[-2:])), device=x.device)
        embedding = self.embed(time, condition, size, augmentation)
        h: Tensor = self.stem(F.pixel_unshuffle(x, self.shape.patch))
        carried = list[Tensor]()
        for i, level in enumerate(self.down):
            h = F.avg_pool2d(h, 2) if i else h
            for block in _list(level):
                carried.append(h := block(h, embedding))
                if block is until:
                    return h
        for block in self.middle:
            h = block(h, embedding)
            if block is until:
                return h
        for i, level in reversed(list(enumerate(self.up))):
            for block in _list(level):
                h = block(torch.cat([h, carried.pop()], dim=1), embedding)
                if block is until:
                    return h
            h = F.interpolate(h, scale_factor=2.0) if i else h
        return F.pixel_shuffle(self.head(F.silu(self.norm(h))), self.shape.patch)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot product attention, (B, heads, N, d) each.

    On processors torch's own is slow in bfloat16 for few places: its backward pass took 3.6 times
    as long as products and softmax at 64 places, and as long at 256.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] <= WRITTEN_OUT:
        mixed: Tensor = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        return mixed
    return F.scaled_dot_product_attention(q, k, v)


def _zero_initialized(layer: L) -> L:
    """The layer with zeros for weights."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _list(modules: nn.Module) -> nn.ModuleList:
    """For the type checker: what a list of lists of modules holds."""
    if not isinstance(modules, nn.ModuleList):
        raise TypeError("not a list of modules")
    return modules
