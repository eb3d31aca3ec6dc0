"""What every embedder promises, and how a picture is prepared for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preparation:
    """Fit an upright RGB picture to a model's square input.

    It is plain data, so it travels to the decoding processes and the pictures come back small.

    size: side of the square in pixels, at least 1.
    fit: `crop` scales the short side to `size` and takes the centre square (as open_clip does by
        default), `squash` scales both sides to `size`.
    """

    size: int
    fit: Literal["crop", "squash"] = "crop"

    def __call__(self, picture: Image.Image) -> Pixels:
        """RGB picture -> (size, size, 3) uint8, by antialiased bicubic resampling."""
        box: tuple[float, float, float, float] | None = None
        if self.fit == "crop":
            width, height = picture.size
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
        square = picture.resize((self.size, self.size), Image.Resampling.BICUBIC, box)
        return np.asarray(square, dtype=np.uint8)


@runtime_checkable
class Embedder(Protocol):
    """A model that turns prepared pictures into unit vectors.

    An embedder is used by one thread at a time (the inference thread of `search.runtime`).

    name: what a user types after `--model`.
    fingerprint: hexadecimal; changes whenever the same picture could get another vector
        (architecture, weights, preparation, decode rule). Vectors of two fingerprints never mix.
    dim: length of a vector.
    terms: what its weights may be used for, in one line.
    batch: pictures a call should get for good throughput within 100 ms or so.
    preparation: applied to each picture before `embed`.
    """

    name: str
    fingerprint: str
    dim: int
    batch: int
    terms: str
    preparation: Preparation

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each (size, size, 3) uint8 -> (n, dim) float32 of unit length."""
        ...
