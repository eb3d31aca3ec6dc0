"""`openclip`: any model of open_clip, with weights from its hub, the cache or your own file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.embedders import hub, openclip_models
from search.embedders.backends import Backends, Runner
from search.embedders.base import list_earlier_fingerprints, make_fingerprint
from search.embedders.inference import (
    BlockPauses,
    autocast,
    choose_batch,
    explain_failure,
    measure_cost,
    normalize_pixels,
    to_unit_vectors,
)
from search.embedders.json_cache import JsonCache, hash_weights
from search.embedders.measurements import is_bf16_quick, is_cpu
from search.embedders.openclip_models import Recipe, choose_default_tag
from search.errors import ModelError
from search.files import absolute_path
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.embedders.exports import Outputs
    from search.runtime import torch

HAS_BF16 = True
NAMES = "an open_clip model like ViT-B-32, ViT-B-32:TAG or ViT-B-32:/path/to/weights"


class OpenClip:
    """The embedder over an open_clip model; see `search.embedders.base.TextEmbedder`.

    Pictures and texts go through the model as open_clip's `encode_image` and `encode_text` take
    them; on a GPU in bfloat16, elsewhere in float32 with the products of `search.embedders.packed`
    or by another backend.
    """

    measure_from = 200

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        cache: JsonCache | None = None,
        breathe: Callable[[], None] = lambda: None,
        backends: Backends | None = None,
        bf16: bool = False,
    ) -> None:
        """name: ARCH, ARCH:TAG or ARCH:/path/to/weights. cache: of hashes and tables of weights.
        breathe: called between the blocks of the network. backends: that may run it on a CPU; None
        for torch alone. bf16: the vectors are those of bfloat16, a space of their own.

        Asks no hub. Raises ModelError for an unknown name, and when there are no weights.
        """
        self._cache = cache = cache or JsonCache()
        self._device, self._breathe, self.bf16 = device, breathe, bf16
        self._arch, self.name, self.path, recipe = _find_model(name, cache)
        config = openclip_models.read_config(self._arch)
        self.dim: int = config["embed_dim"]
        self.preprocessing = recipe.preprocessing(config)
        self._mean, self._std = recipe.mean, recipe.std
        self._quick = recipe.quick_gelu or config.get("quick_gelu", False)
        own = f"the file {self.path.name} is yours" if not recipe.repo else ""
        self.terms = own or f"the card of its weights is that of {recipe.repo} on the hub"
        digest = hash_weights(self.path, cache, self._arch, self._arch)
        parts = (json.dumps(config, sort_keys=True), self._quick, digest, self.preprocessing)
        text = f"openclip {parts} {self._mean} {self._std}{' bf16' if bf16 else ''}"
        self.fingerprint = make_fingerprint(text)
        self.earlier_fingerprints = list_earlier_fingerprints(text)
        self._batch = 1
        self._model: Any = None
        self.runner = Runner(self, backends if is_cpu(device) else None, breathe)
        self._tokenizer: Callable[[list[str]], torch.Tensor] | None = None

    @property
    def _computes_bf16(self) -> bool:
        """Whether torch computes in bfloat16."""
        return self.bf16 and is_bf16_quick(self._device)

    @property
    def batch(self) -> int:
        """Pictures for one call, by the FLOPs of a picture; 1 until the network is loaded."""
        return self.runner.batch

    @property
    def torch_batch(self) -> int:
        """As `batch`, under torch."""
        return self._batch

    def load(self) -> Any:
        """Return the network for pictures, read into memory. Raises ModelError."""
        return self.runner.load()

    def load_torch(self) -> Any:
        """Return the open_clip model, read into memory. Raises ModelError."""
        if self._model is None:
            with self._explain():
                self._model = self._read()
        return self._model

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each uint8 of `preprocessing.shape` -> (n, dim) float32."""
        return self.runner.run(pixels)[0] if pixels else np.empty((0, self.dim), np.float32)

    def run_torch(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return the unit vectors of n pictures, by torch."""
        from search.runtime import torch

        model = self.load_torch()
        with torch.inference_mode(), autocast(self._device):
            x = self._normalize(pixels)
            vectors = model.encode_image(x.bfloat16() if self._computes_bf16 else x, normalize=True)
        return (to_unit_vectors(vectors),)

    def build_whole(self) -> torch.nn.Module:
        """Read the visual tower as a module of `exports.build_whole`. Raises ModelError."""
        from search.embedders.exports import build_whole

        with self._explain():
            return build_whole(self._build().visual, self._mean, self._std)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """n texts -> (n, dim) float32 of unit length; a text beyond the model's context is cut."""
        from search.runtime import torch

        if not texts:
            return np.empty((0, self.dim), np.float32)
        model, tokens = self.load_torch(), self._tokenize(list(texts))
        with torch.inference_mode(), autocast(self._device):
            vectors = model.encode_text(tokens.to(self._device), normalize=True)
        return to_unit_vectors(vectors)

    @contextmanager
    def _explain(self) -> Iterator[None]:
        """Raise ModelError for whatever goes wrong when the weights are read."""
        advice = (
            f"give a state dict of {self._arch} as .safetensors or .pt, or take the damaged "
            "file away and fetch it again"
        )
        with (
            explain_failure(self.path, self._arch, self._device, advice),
            warnings.catch_warnings(action="ignore"),
        ):
            yield

    def _build(self) -> Any:
        """Return the open_clip model with its weights, in float32 on the CPU."""
        return openclip_models.build_model(self._arch, self.path, self._quick)

    def _read(self) -> Any:
        """Build the network and read the weights into it."""
        from search.embedders.packed import pack
        from search.runtime import torch

        model = self._build()
        model.visual.to(self._device, memory_format=torch.channels_last)
        model.to(self._device)
        pauses = BlockPauses(model.visual, self._breathe)
        blank = [np.zeros(self.preprocessing.shape, np.uint8)]
        cost, blocks, dim = measure_cost(
            f"openclip {self.fingerprint}",
            self._cache,
            pauses,
            lambda: model.encode_image(self._normalize(blank)),
        )
        if dim != self.dim:
            raise ValueError(f"its vectors have length {dim}, not {self.dim}")
        self._batch = choose_batch(cost, blocks, self._device)
        if self._computes_bf16:
            model.visual.bfloat16()
        elif torch.device(self._device).type == "cpu":
            pack(model.visual)
        pauses.active = True
        return model

    def _normalize(self, pixels: Sequence[Pixels]) -> torch.Tensor:
        """Convert n pictures to the network's input (n, 3, H, W)."""
        return normalize_pixels(pixels, self._mean, self._std, self._device)

    def _tokenize(self, texts: list[str]) -> torch.Tensor:
        """Return token ids (n, context). Raises ModelError if there is no tokenizer."""
        if self._tokenizer is None:
            self._tokenizer = self._open_tokenizer()
        return self._tokenizer(texts)

    def _open_tokenizer(self) -> Any:
        """Return the tokenizer, which open_clip has for most models, and the hub for some."""
        repo = openclip_models.read_config(self._arch)["text_cfg"].get("hf_tokenizer_name")
        try:
            if repo and hub.find_cached(repo, ("tokenizer_config.json",)) is None:
                hub.reach(repo, ("tokenizer_config.json",))
            with warnings.catch_warnings(action="ignore"):
                return openclip_models.import_open_clip().get_tokenizer(self._arch)
        except Exception as error:  # whatever its libraries raise
            raise ModelError(
                f"texts for {self.name} need the tokenizer {repo}, which cannot be had: {error}; "
                "pictures need none, and ViT-B-32 brings its own"
            ) from error


open_embedder = OpenClip


def _find_model(name: str, cache: JsonCache) -> tuple[str, str, Path, Recipe]:
    """Return architecture, full name, file and recipe of a model. Raises ModelError."""
    arch, _, which = name.partition(":")
    recipes = openclip_models.list_recipes(arch, cache)
    if is_path(which):  # its preprocessing is that of the architecture's own weights
        usual = recipes[choose_default_tag(arch, list(recipes))] if recipes else Recipe()
        plain = {"repo": "", "quick_gelu": False}
        return arch, name, Path(which), Recipe(**{**vars(usual), **plain})
    tag = _check_tag(arch, which, recipes)
    full_name, recipe = f"{arch}:{tag}", recipes[tag]
    path = hub.find_cached(recipe.repo, recipe.files)
    if path is None:
        raise ModelError(
            f"the weights of {full_name} are not here; `lookalike --model {full_name} index "
            "FOLDER` fetches them"
        )
    return arch, full_name, path, recipe


def _check_tag(arch: str, tag: str, recipes: dict[str, Recipe]) -> str:
    normalized = tag.lower().replace("-", "_")
    if not tag:
        return choose_default_tag(arch, list(recipes))
    if normalized not in recipes:
        there = ", ".join(recipes) or "none"
        raise ModelError(
            f"{arch} has no weights called {tag}; there are: {there}; give a file as "
            f"{arch}:/path/to/weights"
        )
    return normalized


def check_name(name: str) -> str:
    """Return a valid name, with an absolute path. Raises ModelError."""
    arch, _, which = name.partition(":")
    arch = openclip_models.check_architecture(arch)
    if not which:
        return arch
    return f"{arch}:{absolute_path(which) if is_path(which) else which}"


def spell_with_path(name: str) -> str:
    """Return how a user names the same model with weights from a file."""
    return f"{name.partition(':')[0]}:/path/to/weights"


def missing_weights(name: str, cache: JsonCache) -> tuple[str, Sequence[str]] | None:
    """Return repository and files of weights that a model needs from the hub, or None."""
    arch, _, which = name.partition(":")
    if is_path(which):
        return None
    known = openclip_models.list_recipes(arch, cache)
    recipe = known[_check_tag(arch, which, known)]
    return None if hub.find_cached(recipe.repo, recipe.files) else (recipe.repo, recipe.files)


def is_path(which: str) -> bool:
    """Whether what follows an architecture is a file; else it is a tag."""
    return "/" in which or "\\" in which or which.startswith("~") or "." in which
