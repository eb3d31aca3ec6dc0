"""`mini`: the small encoder that ships with the package, so that search works with no network.

`weights/mini.md` tells how it was trained and how good it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open

from search.embedders.base import Pixels, Preparation, Vectors
from search.embedders.names import Names
from search.errors import ModelError
from search.images import DECODE_RULE

if TYPE_CHECKING:
    from search.embedders.mobilenet import MiniNet

WEIGHTS, NAMES = "mini.safetensors", "names.safetensors"
HEAD = "retrieval.weight"


class Mini:
    """The embedder over `MiniNet`; see `search.embedders.base.TextEmbedder`, whose texts here are
    names of things alone. The network is loaded when the first picture comes: a sync that finds
    nothing new never pays for torch."""

    name = "mini"
    batch = 16
    terms = "its weights are for non-commercial use (they learned from ImageNet pictures)"

    def __init__(self, device: str = "cpu", weights: Path | None = None) -> None:
        """weights: another file of the same kind (`path`); by default the one in the package.

        Raises ModelError when the file is missing or is not one of this network.
        """
        self.path = weights or Path(str(files("search.embedders") / "weights" / WEIGHTS))
        self._device = device
        self._net: MiniNet | None = None
        self._names: Names | None = None
        try:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
            with safe_open(self.path, framework="numpy") as file:
                self.preparation = Preparation(
                    **json.loads(file.metadata()["config"])["preparation"]
                )
                self.dim = int(file.get_slice(HEAD).get_shape()[0])
        except Exception as error:  # every way in which a file can be foreign
            raise self._foreign(error) from error
        said = f"mini {digest} {self.preparation} decode {DECODE_RULE}"
        self.fingerprint = hashlib.sha256(said.encode()).hexdigest()[:16]

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each (size, size, 3) uint8 -> (n, 512) float32 of unit length."""
        from search.embedders.mobilenet import normalise
        from search.runtime import torch

        if not pixels:
            return np.empty((0, self.dim), np.float32)
        net = self.load()
        with torch.inference_mode():
            vectors: Vectors = net(normalise(pixels, self._device)).cpu().numpy()
        return vectors

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """n names of things -> (n, 512) float32 of unit length. Raises QueryError for a text that
        is no name in its table, and ModelError where that is missing."""
        return self.names().embed(texts)

    def names(self) -> Names:
        """The names that it finds by: a file beside the weights. Raises ModelError."""
        if self._names is None:
            self._names = Names(self.path.with_name(NAMES), self.fingerprint)
        return self._names

    def load(self) -> MiniNet:
        """The network, read into memory. Raises ModelError."""
        from search.embedders.mobilenet import MiniNet
        from search.runtime import torch

        if self._net is not None:
            return self._net
        try:
            net = MiniNet().eval()
            with safe_open(self.path, framework="pt") as file:
                net.load_state_dict({key: file.get_tensor(key).float() for key in file.keys()})
        except Exception as error:
            raise self._foreign(error) from error
        try:
            net.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            why = str(error).partition("\n")[0].partition(": ")[0]
            raise ModelError(
                f"mini cannot run on the device {self._device!r} ({why}); give cpu, or another"
            ) from error
        self._net = net
        return net

    def _foreign(self, error: Exception) -> ModelError:
        return ModelError(
            f"the weights of mini in {self.path} cannot be used ({error}); give another file, "
            "or reinstall the package"
        )
