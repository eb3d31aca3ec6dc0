"""The network: a U-Net with attention, conditioned on the noise level and optionally on more.

The blocks follow Ho et al. 2020 (appendix B). The embedding scales and shifts activations
(Dhariwal and Nichol 2021, arXiv:2105.05233) or is added to them, as in the article. Between levels
average pooling halves the resolution, and nearest-neighbour upsampling doubles it. With
`Shape.groups` the network is that of Ho et al. as `UNet2DModel` of diffusers builds it. The network
has no fixed input size: height and width are multiples of `Shape.multiple`.
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
MAX_LEVELS, MAX_CHANNELS = 8, 8192
MOST = {
    "blocks": (1, 64),
    "head": (1, MAX_CHANNELS),
    "patch": (1, 64),
    "width": (0, 2**20),
    "inputs": (1, 1024),
    "augmentation": (0, 1024),
    "groups": (0, 1024),
}
"""Least and most of each whole number of a shape. A configuration may come with a checkpoint of a
stranger, and even a network without weights takes memory for each block."""

SIZE_SCALE = 100.0  # times log2 of a size: spreads sizes over the sinusoidal embedding


@dataclass(frozen=True)
class Shape:
    """Hyperparameters of a U-Net. Raises ConfigError for values that do not fit together.

    channels: channels of each level, finest first; multiples of `head`.
    blocks: residual blocks of each level, in the encoder and again in the decoder.
    attention: for each level, whether attention follows every block.
    head: channels of an attention head.
    patch: side in pixels of the patches that the stem packs into channels. With 2, a picture of
        64 px costs what one of 32 px costs with 1.
    scale_shift: the embedding scales and shifts activations; False adds it to them.
    dropout: dropout rate inside a block, 0 to 1.
    condition: `none`, `class` or `vector`.
    width: number of classes or length of the vector; 0 without a condition.
    inputs: channels of the input.
    size_condition: also condition on the size of the whole picture, for training on crops (Podell
        et al. 2023, arXiv:2307.01952, section 2.2).
    augmentation: numbers that describe how a picture was transformed
        (`diffusion.training.augment`); 0 for a network that is trained without.
    groups: groups of each normalization, which divide the channels. The network then learns its
        resampling by convolutions, and has a skip connection and a block in the decoder more for
        each level. 0 for 16 channels in each group, pooling, and fewer skip connections.
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
    groups: int = 0

    def __post_init__(self) -> None:
        whole = {name: getattr(self, name) for name in MOST}
        levels = (self.channels, self.attention)
        invalid = (
            not all(isinstance(level, tuple) and len(level) <= MAX_LEVELS for level in levels)
            or not all(_is_whole(channels, 1, MAX_CHANNELS) for channels in self.channels)
            or not all(_is_whole(value, *MOST[name]) for name, value in whole.items())
            or not all(isinstance(flag, bool) for flag in (*self.attention, *self._flags))
            or not self.channels
            or len(self.attention) != len(self.channels)
            or any(c % self.head for c in self.channels)
            or (self.groups > 0 and any(c % self.groups for c in self.channels))
            or self.channels[0] % 2
            or not 0 <= self.dropout <= 1
            or self.condition not in ("none", "class", "vector")
            or (self.condition != "none") != (self.width > 0)
        )
        if invalid:
            raise ConfigError(
                f"no network can have the shape {str(self)[:500]}; give an attention flag for each "
                f"of at most {MAX_LEVELS} levels, multiples of head and groups as channels, an "
                f"even number of them in the first level, {MOST['blocks'][1]} blocks at most, and "
                "a width above 0 only for a class or vector condition"
            )

    @property
    def _flags(self) -> tuple[bool, bool]:
        return self.scale_shift, self.size_condition

    @property
    def multiple(self) -> int:
        """Height and width of an input are multiples of this number."""
        return self.patch << (len(self.channels) - 1)


def _is_whole(value: object, least: int, most: int) -> bool:
    """Whether a value, perhaps out of JSON, is a whole number within bounds."""
    return type(value) is int and least <= value <= most


def sinusoidal_embedding(time: Tensor, width: int) -> Tensor:
    """Embed (B,) numbers as (B, width) sines and cosines (Vaswani et al. 2017).

    The wavelengths go from 2 pi to 20000 pi.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Norm(nn.GroupNorm):
    """Group normalization. groups: 0 for 16 channels in each group, or a single group."""

    def __init__(self, channels: int, groups: int = 0) -> None:
        usual = max(1, channels // 16) if channels % 16 == 0 else 1
        super().__init__(groups or usual, channels)


class Attention(nn.Module):
    """Residual self-attention over all positions. Before training it is the identity."""

    def __init__(self, channels: int, head: int, groups: int = 0) -> None:
        super().__init__()
        self.heads = channels // head
        self.norm = Norm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zero_initialized(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        b, c, h, w = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        q, k, v = self.qkv(tokens).view(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = _attend(q, k, v).transpose(1, 2).reshape(b, h, w, c)
        y: Tensor = x + self.out(mixed).permute(0, 3, 1, 2)
        return y


class Block(nn.Module):
    """Residual block: two convolutions that depend on the embedding, then optional attention."""

    def __init__(self, into: int, out: int, embedding: int, shape: Shape, attention: bool) -> None:
        super().__init__()
        self.scale_shift = shape.scale_shift
        self.norm1 = Norm(into, shape.groups)
        self.conv1 = nn.Conv2d(into, out, 3, padding=1)
        self.condition_projection = nn.Linear(embedding, 2 * out if shape.scale_shift else out)
        self.norm2, self.dropout = Norm(out, shape.groups), nn.Dropout(shape.dropout)
        self.conv2 = _zero_initialized(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(into, out, 1) if into != out else nn.Identity()
        self.attention = Attention(out, shape.head, shape.groups) if attention else nn.Identity()

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
    """A U-Net from noisy pictures, noise level and condition to a tensor of the pictures' shape.

    Residual blocks are called `down.LEVEL.INDEX`, `middle.INDEX` and `up.LEVEL.INDEX`; level 0 is
    the finest. `block_names` lists them.
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
        inner, skips = first, list[int]()
        if shape.groups:
            skips.append(first)
            self.downsample = nn.ModuleList(
                nn.Conv2d(c, c, 3, stride=2, padding=1) for c in shape.channels[:-1]
            )
            self.upsample = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in shape.channels[1:])
        for i, (out, attention) in enumerate(zip(shape.channels, shape.attention, strict=True)):
            level = nn.ModuleList()
            if i and shape.groups:
                skips.append(inner)
            for _ in range(shape.blocks):
                level.append(Block(inner, out, embedding, shape, attention))
                skips.append(inner := out)
            self.down.append(level)
        self.middle = nn.ModuleList(
            Block(inner, inner, embedding, shape, attention)
            for attention in (shape.attention[-1], False)
        )
        for out, attention in reversed(list(zip(shape.channels, shape.attention, strict=True))):
            level = nn.ModuleList()
            for _ in range(shape.blocks + (shape.groups > 0)):
                level.append(Block(inner + skips.pop(), out, embedding, shape, attention))
                inner = out
            self.up.insert(0, level)
        self.norm = Norm(first, shape.groups)
        self.head = _zero_initialized(nn.Conv2d(first, packed, 3, padding=1))

    @property
    def block_names(self) -> list[str]:
        """Names of the residual blocks in the order in which they run."""
        return [name for name, module in self._iterate_blocks() if isinstance(module, Block)]

    def _iterate_blocks(self) -> Iterator[tuple[str, nn.Module]]:
        for i, level in enumerate(self.down):
            yield from ((f"down.{i}.{j}", block) for j, block in enumerate(_as_module_list(level)))
        yield from ((f"middle.{j}", block) for j, block in enumerate(self.middle))
        for i, level in reversed(list(enumerate(self.up))):
            yield from ((f"up.{i}.{j}", block) for j, block in enumerate(_as_module_list(level)))

    def embed(
        self,
        time: Tensor,
        condition: Tensor | None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """Embed noise level, condition, size and augmentation as one (B, E) tensor.

        time: (B,) timesteps, 0 to 1000.
        condition: (B,) classes, -1 for the empty condition; or (B, width) unit vectors, zeros for
            the empty condition. None is the empty condition for all.
        size: (B,) short sides of the whole pictures in the units of the input; None ignores them.
            Only a shape with `size_condition` uses them.
        """
        embedding: Tensor = self.time_embedding(
            sinusoidal_embedding(time, self.shape.channels[0]).to(self.stem.weight.dtype)
        )
        kind, width = self.shape.condition, self.shape.width
        if self.shape.size_condition and size is not None:
            waves = sinusoidal_embedding(SIZE_SCALE * size.float().log2(), self.shape.channels[0])
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
        stop_at: nn.Module | None = None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """Run the network. Returns a tensor of the shape of x, or the output of `stop_at`.

        x: (B, inputs, H, W) of about unit variance; H and W are multiples of `Shape.multiple`.
        time: (B,) timesteps, 0 to 1000. condition: see `embed`.
        stop_at: a residual block; its output (B, C, h, w) is returned, and later blocks do not run.
        size: (B,) short sides of the whole pictures if x are crops, in the units of x. By default
            x are whole pictures.
        augmentation: (B, shape.augmentation) labels of how the pictures were transformed, for a
            shape that has them; None for pictures as they are.
        """
        if size is None and self.shape.size_condition:
            size = torch.full((len(x),), float(min(x.shape[-2:])), device=x.device)
        embedding = self.embed(time, condition, size, augmentation)
        h: Tensor = self.stem(F.pixel_unshuffle(x, self.shape.patch))
        learned = self.shape.groups > 0
        skips = [h] if learned else list[Tensor]()
        for i, level in enumerate(self.down):
            if i and learned:
                skips.append(h := self.downsample[i - 1](h))
            elif i:
                h = F.avg_pool2d(h, 2)
            for block in _as_module_list(level):
                skips.append(h := block(h, embedding))
                if block is stop_at:
                    return h
        for block in self.middle:
            h = block(h, embedding)
            if block is stop_at:
                return h
        for i, level in reversed(list(enumerate(self.up))):
            for block in _as_module_list(level):
                h = block(torch.cat([h, skips.pop()], dim=1), embedding)
                if block is stop_at:
                    return h
            h = F.interpolate(h, scale_factor=2.0) if i else h
            h = self.upsample[i - 1](h) if i and learned else h
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
    """Set all parameters of a layer to zero, and return the layer."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _as_module_list(modules: nn.Module) -> nn.ModuleList:
    """Narrow the type of an element of a nested module list."""
    if not isinstance(modules, nn.ModuleList):
        raise TypeError(f"expected a ModuleList, not {type(modules).__name__}")
    return modules
