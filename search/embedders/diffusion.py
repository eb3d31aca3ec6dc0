"""`diffusion`: features of the latent diffusion model that ships, as vectors of pictures.

The activations of one block at one noise level, averaged over fixed noises and over all positions
(Xiang et al. 2023, arXiv:2303.09769), then whitened by a PCA (Jegou and Chum, ECCV 2012).
`scripts/train/diffusion_embedder.py` chose block, noise level and pooling, and fitted the PCA; its
table is in docs/diffusion.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from search.embedders.backends import Backends
from search.embedders.base import list_earlier_fingerprints, make_fingerprint
from search.embedders.json_cache import JsonCache
from search.errors import ModelError
from search.media.preprocessing import Preprocessing
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from diffusion.evaluation.features import Features

HAS_BF16 = False
NAME = NAMES = "diffusion"
TERMS = "its weights may be used commercially (trained on openly licensed pictures)"


class DiffusionEmbedder:
    """The embedder over `diffusion.evaluation.features.Features`; see `Embedder`.

    The diffusion model is loaded when the first picture comes.
    """

    name, terms, batch = NAME, TERMS, 16

    def __init__(
        self,
        device: str = "cpu",
        weights: Path | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """weights: another file of the same kind; by default the shipped one. breathe: called
        between the parts of a batch. Raises ModelError when the file is missing or of another kind.
        """
        self.path = weights or Path(
            str(files("search.embedders") / "weights/diffusion.safetensors")
        )
        self._device, self._breathe = device, breathe
        self._features: Features | None = None
        try:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
            with safe_open(self.path, framework="numpy") as file:
                self._config: dict[str, Any] = json.loads(file.metadata()["config"])
                self._mean = file.get_tensor("mean").astype(np.float32)
                self._projection = file.get_tensor("projection").astype(np.float32)
            self.preprocessing = Preprocessing(int(self._config["size"]), "squash")
        except Exception as error:  # a foreign file fails in many ways
            raise self._foreign(error) from error
        self.dim = self._projection.shape[1]
        parts = f"diffusion {digest} {self.preprocessing}"
        self.fingerprint = make_fingerprint(parts)
        self.earlier_fingerprints = list_earlier_fingerprints(parts)

    def load(self) -> Features:
        """Return the diffusion model, read into memory. Raises ModelError."""
        if self._features is None:
            from diffusion import load
            from diffusion.evaluation.features import Features
            from diffusion.model.checkpoint import shipped_path
            from search.runtime import torch  # noqa: F401

            names = ("block", "sigma", "noises", "seed", "grid")
            try:
                model_file = shipped_path(self._config["model"]).read_bytes()
                if hashlib.sha256(model_file).hexdigest() != self._config["sha256"]:
                    raise ModelError("they were fitted to another version of the diffusion model")
                model = load(self._config["model"], self._device)
                self._features = Features(model, *(self._config[name] for name in names))
            except Exception as error:  # of the file, of its checkpoint, or of the device
                raise self._foreign(error) from error
        return self._features

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each (size, size, 3) uint8 -> (n, dim) float32 of unit length.
        Raises ModelError."""
        parts = [np.empty((0, self.dim), np.float32)]
        for i in range(0, len(pixels), self.batch):
            self._breathe()
            parts.append(self._embed(pixels[i : i + self.batch]))
        return np.concatenate(parts)

    def _embed(self, pixels: Sequence[Pixels]) -> Vectors:
        from search.runtime import torch

        features = self.load()
        pictures = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        rows = features(pictures).cpu().numpy()
        x = (rows - self._mean) @ self._projection
        unit: Vectors = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
        return unit

    def _foreign(self, error: object) -> ModelError:
        return ModelError(
            f"the weights of diffusion in {self.path} cannot be used ({error}); give another "
            "model, or reinstall the package"
        )


def check_name(name: str) -> str:
    """Return the name. Raises ModelError for one with a file: the model that ships is used."""
    if name != NAME:
        raise ModelError(f"{name}: the model diffusion takes no file; give diffusion")
    return name


def missing_weights(name: str, cache: JsonCache) -> None:
    """Return None: the weights are in the package."""


def spell_with_path(name: str) -> str:
    """Return the name: there are no other weights."""
    return name


def open_embedder(
    name: str,
    device: str,
    cache: JsonCache | None,
    breathe: Callable[[], None],
    backends: Backends | None = None,
    bf16: bool = False,
) -> DiffusionEmbedder:
    """Open `diffusion`. backends, bf16: are ignored. Raises ModelError when its weights cannot be
    used."""
    return DiffusionEmbedder(device, breathe=breathe)
