"""The networks of `mini` in numpy, for a few pictures: importing torch takes as long as twenty.

Vectors and logits are those of torch but for the rounding of float32. All arrays of pixels and
features are (H, W, C).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.embedders.mini_designs import FEATURES, STEM, Design
from search.types import Pixels

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """weight: (kernel, kernel, cin, cout), or (kernel, kernel, 1, C) if each channel has its own.
    bias: (cout,). relu: ReLU6 follows."""

    weight: Floats
    bias: Floats
    stride: int
    relu: bool
    pads_below: bool

    def apply(self, x: Floats) -> Floats:
        """(H, W, cin) -> (ceil(H / stride), ceil(W / stride), cout)."""
        kernel, _, depth, cout = self.weight.shape
        y: Floats
        if kernel == 1:
            y = (x.reshape(-1, depth) @ self.weight[0, 0] + self.bias).reshape(*x.shape[:2], cout)
        else:
            y = self._slide(x)
        if self.relu:
            np.clip(y, 0, 6, out=y)
        return y

    def _slide(self, x: Floats) -> Floats:
        """Add up the picture, shifted to each place of the kernel, times the weights there."""
        kernel, step = self.weight.shape[0], self.stride
        sides = [-(-side // step) for side in x.shape[:2]]
        spans = [(side - 1) * step + 1 for side in sides]
        pads = [self._pad(side, span) for side, span in zip(x.shape[:2], spans, strict=True)]
        padded = np.pad(x, (*pads, (0, 0)))
        y = np.tile(self.bias, (*sides, 1))
        product = np.empty_like(y)
        multiply = np.multiply if self.weight.shape[2] == 1 else np.matmul
        for row in range(kernel):
            for column in range(kernel):
                window = padded[row : row + spans[0] : step, column : column + spans[1] : step]
                multiply(window, self.weight[row, column], out=product)
                y += product
        return y

    def _pad(self, side: int, span: int) -> tuple[int, int]:
        """Return the zeros before and after a side. span: pixels from the first to the last place
        of the kernel's corner."""
        kernel = self.weight.shape[0]
        needed = max(span + kernel - 1 - side, 0)
        before = needed // 2 if self.pads_below else kernel // 2
        return before, max(needed - before, 0)


class NumpyNetwork:
    """A network of `mini`, and its heads. One thread at a time."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float16]], design: Design) -> None:
        """tensors: the weights by their names in the file. Raises KeyError and ValueError for those
        of another network."""
        self._tensors, self._design = dict(tensors), design
        width = STEM
        self._stem = self._take("body.0", 3, STEM, 3, 2)
        self._blocks: list[tuple[list[Convolution], bool]] = []
        for expansion, cout, blocks, stride, kernel in design.stages:
            for i in range(blocks):
                name = f"body.{len(self._blocks) + 1}.layers"
                self._blocks.append(
                    self._take_block(name, width, cout, expansion, stride if i == 0 else 1, kernel)
                )
                width = cout
        self._last = self._take(f"body.{len(self._blocks) + 1}", width, FEATURES)
        if unknown := sorted(name for name in self._tensors if name.startswith("body.")):
            raise ValueError(f"unexpected tensors: {', '.join(unknown[:3])}")
        heads = [name for name in ("retrieval", "classes") if f"{name}.weight" in self._tensors]
        self._heads = [
            (self._take_tensor(f"{name}.weight"), self._take_tensor(f"{name}.bias"))
            for name in heads
        ]

    def run(self, pixels: Pixels) -> list[Floats]:
        """Return the vector (512,) of unit length of a picture (S, S, 3), and its class logits if
        the network has a class head."""
        mean, std = (np.array(v, np.float32) * 255 for v in (self._design.mean, self._design.std))
        x = self._stem.apply((pixels.astype(np.float32) - mean) / std)
        for layers, is_residual in self._blocks:
            y = x
            for layer in layers:
                y = layer.apply(y)
            x = x + y if is_residual else y
        features = self._last.apply(x).mean((0, 1))
        vector, *logits = (weight @ features + bias for weight, bias in self._heads)
        return [vector / max(float(np.linalg.norm(vector)), 1e-12), *logits]

    def _take_block(
        self, name: str, cin: int, cout: int, expansion: int, stride: int, kernel: int
    ) -> tuple[list[Convolution], bool]:
        """Return the layers of an inverted residual block, and whether its input is added."""
        hidden = cin * expansion
        layers = [self._take(f"{name}.0", cin, hidden)] if expansion > 1 else []
        layers.append(self._take(f"{name}.{len(layers)}", 1, hidden, kernel, stride))
        layers.append(self._take(f"{name}.{len(layers)}", hidden, cout, relu=False))
        return layers, stride == 1 and cin == cout

    def _take(
        self, name: str, cin: int, cout: int, kernel: int = 1, stride: int = 1, relu: bool = True
    ) -> Convolution:
        weight, bias = (self._take_tensor(f"{name}.0.{part}") for part in ("weight", "bias"))
        if weight.shape != (cout, cin, kernel, kernel) or bias.shape != (cout,):
            raise ValueError(f"{name}.0.weight has the shape {weight.shape}")
        by_place = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
        return Convolution(by_place, bias, stride, relu, self._design.pads_below)

    def _take_tensor(self, name: str) -> Floats:
        return self._tensors.pop(name).astype(np.float32)
