"""`timm`: any backbone of timm, such as DINOv2, with weights from the hub, the cache or a file.

A backbone is a network without its classifier; its pooled features are the vector of a picture.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.embedders import hub
from search.embedders.backends import Backends, Runner
from search.embedders.base import list_earlier_fingerprints, make_fingerprint
from search.embedders.inference import (
    BlockPauses,
    autocast,
    build_empty,
    choose_batch,
    explain_failure,
    measure_cost,
    normalize_pixels,
    to_unit_vectors,
)
from search.embedders.json_cache import JsonCache, hash_weights
from search.embedders.measurements import is_bf16_quick, is_cpu
from search.errors import ModelError
from search.files import absolute_path
from search.media.preprocessing import Preprocessing
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.embedders.exports import Outputs
    from search.runtime import torch

PREFIX = "timm:"
HAS_BF16 = True
NAMES = "a timm model like timm:NAME or timm:NAME:/path/to/weights"
NAME = re.compile(r"\w+(\.\w+)?")
FILES = ("model.safetensors", "pytorch_model.bin")
CROP_MODES = {"center": "shortest", "squash": "squash", "border": "longest"}
"""timm's crop modes -> `Preprocessing.fit`."""


@dataclass(frozen=True)
class Backbone:
    """What timm says of a model and its weights.

    name: architecture and tag, as timm writes them. dim: length of the pooled features. repo: of
    the weights on the hub, or empty; files: the first that the hub has is used. license: of the
    weights, or empty. classifiers: layers of the original network that a backbone lacks. mean,
    std: per channel, for RGB in [0, 1]. The others: fields of `Preprocessing`.
    """

    name: str
    dim: int
    repo: str
    files: Sequence[str]
    license: str
    classifiers: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    height: int
    width: int
    crop_mode: str
    crop_pct: float
    interpolation: str

    @property
    def architecture(self) -> str:
        """The name without the tag."""
        return self.name.partition(".")[0]

    def preprocessing(self) -> Preprocessing:
        """Resizing and cropping, as timm does for evaluation."""
        fit = CROP_MODES[self.crop_mode]
        red, green, blue = (round(255 * value) for value in self.mean)
        return Preprocessing(
            self.height,
            fit,  # type: ignore[arg-type]
            None if self.width == self.height else self.width,
            self.interpolation,  # type: ignore[arg-type]
            (red, green, blue) if fit == "longest" else 0,
            self.crop_pct,
        )


class Timm:
    """The embedder over a timm backbone; see `search.embedders.base.Embedder`.

    On a GPU it runs in bfloat16, elsewhere in float32 with the products of
    `search.embedders.packed` or by another backend.
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
        """name: `timm:NAME` or `timm:NAME:/path/to/weights`. cache: of what timm says about a
        model. breathe: called between the blocks of the network. backends, bf16: as `OpenClip`
        takes them.

        Asks no hub. Raises ModelError for an unknown name, and when there are no weights.
        """
        self._cache = cache = cache or JsonCache()
        self._device, self._breathe, self.bf16 = device, breathe, bf16
        backbone_name, path = split_name(name)
        self._backbone = backbone = describe_backbone(backbone_name, cache)
        self.dim, self.preprocessing = backbone.dim, backbone.preprocessing()
        if path:
            self.name, self.path = name, Path(path)
            self.terms = f"the file {self.path.name} is yours"
        else:
            self.name, self.path = f"{PREFIX}{backbone.name}", _cached_weights(backbone)
            self.terms = f"the card of its weights is that of {backbone.repo} on the hub"
            if backbone.license:
                self.terms = f"its weights have the license {backbone.license}; {self.terms}"
        digest = hash_weights(self.path, cache, backbone_name, f"{PREFIX}{backbone_name}")
        parts = (backbone.architecture, digest, self.preprocessing, self.dim)
        colors = (tuple(backbone.mean), tuple(backbone.std))
        text = f"timm {parts} {colors}{' bf16' if bf16 else ''}"
        self.fingerprint = make_fingerprint(text)
        self.earlier_fingerprints = list_earlier_fingerprints(text)
        self._batch = 1
        self._network: Any = None
        self.runner = Runner(self, backends if is_cpu(device) else None, breathe)

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
        """Return the network, read into memory. Raises ModelError."""
        return self.runner.load()

    def load_torch(self) -> Any:
        """Return the network for torch, read into memory. Raises ModelError."""
        if self._network is None:
            with self._explain():
                self._network = self._read()
        return self._network

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each uint8 of `preprocessing.shape` -> (n, dim) float32 unit
        vectors. Raises ModelError."""
        return self.runner.run(pixels)[0] if pixels else np.empty((0, self.dim), np.float32)

    def run_torch(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return the unit vectors of n pictures, by torch."""
        from search.runtime import torch

        network = self.load_torch()
        with torch.inference_mode(), autocast(self._device):
            x = self._normalize(pixels)
            vectors = network(x.bfloat16() if self._computes_bf16 else x)
        return (to_unit_vectors(vectors),)

    def build_whole(self) -> torch.nn.Module:
        """Read the network as a module of `exports.build_whole`. Raises ModelError."""
        from search.embedders.exports import build_whole

        with self._explain():
            return build_whole(self._build(), self._backbone.mean, self._backbone.std)

    @contextmanager
    def _explain(self) -> Iterator[None]:
        """Raise ModelError for whatever goes wrong when the weights are read."""
        architecture = self._backbone.architecture
        advice = (
            f"give a state dict of {architecture} as .safetensors or .pth, or delete the "
            "damaged file and fetch it again"
        )
        with (
            explain_failure(self.path, architecture, self._device, advice),
            warnings.catch_warnings(action="ignore"),
        ):
            yield

    def _build(self) -> Any:
        """Return the network with its weights, in float32 on the CPU."""
        name = self._backbone.name
        network = build_empty(lambda: _build(name)) or _build(name)
        _load_weights(network, self.path, self._backbone.classifiers)
        return network.float().eval()

    def _read(self) -> Any:
        """Build the network and read the weights into it."""
        from search.embedders.packed import pack
        from search.runtime import torch

        network = self._build()
        network.to(self._device, memory_format=torch.channels_last)
        pauses = BlockPauses(network, self._breathe)
        blank = [np.zeros(self.preprocessing.shape, np.uint8)]
        cost, blocks, dim = measure_cost(
            f"timm {self.fingerprint}",
            self._cache,
            pauses,
            lambda: network(self._normalize(blank)),
        )
        if dim != self.dim:
            raise ValueError(f"its vectors have length {dim}, not {self.dim}")
        self._batch = choose_batch(cost, blocks, self._device)
        if self._computes_bf16:
            network.bfloat16()
        elif torch.device(self._device).type == "cpu":
            pack(network)
        pauses.active = True
        return network

    def _normalize(self, pixels: Sequence[Pixels]) -> torch.Tensor:
        """Convert n pictures to the network's input (n, 3, H, W)."""
        return normalize_pixels(pixels, self._backbone.mean, self._backbone.std, self._device)


open_embedder = Timm


def split_name(name: str) -> tuple[str, str]:
    """Split `timm:NAME` or `timm:NAME:/path` into timm's name and the path, or an empty one."""
    backbone_name, _, path = name.removeprefix(PREFIX).partition(":")
    return backbone_name, path


def check_name(name: str) -> str:
    """Return a valid name, with an absolute path. Raises ModelError."""
    model, path = split_name(name)
    if not name.startswith(PREFIX) or not NAME.fullmatch(model):
        raise ModelError(f"{name} is not the name of a timm model")
    return f"{PREFIX}{model}:{absolute_path(path)}" if path else f"{PREFIX}{model}"


def spell_with_path(name: str) -> str:
    """Return how a user names the same model with weights from a file."""
    return f"{PREFIX}{split_name(name)[0]}:/path/to/weights"


def missing_weights(name: str, cache: JsonCache) -> tuple[str, Sequence[str]] | None:
    """Return repository and files of weights that a model needs from the hub, or None.

    Raises ModelError for an unknown name, and for a model that has no weights on the hub.
    """
    backbone_name, path = split_name(name)
    if path:
        return None
    backbone = describe_backbone(backbone_name, cache)
    _require_repo(backbone)
    if hub.find_cached(backbone.repo, backbone.files):
        return None
    return backbone.repo, backbone.files


def describe_backbone(name: str, cache: JsonCache) -> Backbone:
    """Return what timm says of a model.

    This imports timm and builds the network once; the cache keeps the answer for this version
    of timm. Raises ModelError for an unknown name, with similar ones.
    """
    key = f"timm {version('timm')} {name}"
    return Backbone(**cache.get_or_compute(key, lambda: _ask_timm(name)))


def _ask_timm(name: str) -> dict[str, Any]:
    """Return the fields of `Backbone` for a model."""
    timm = _import_timm()
    config = _pretrained_config(name)
    data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = data["input_size"]
    if channels != 3 or data["crop_mode"] not in CROP_MODES:
        raise ModelError(f"{PREFIX}{name} does not take RGB pictures; give another model")
    whole = f"{config.architecture}.{config.tag}" if config.tag else config.architecture
    file, classifiers = config.hf_hub_filename, config.classifier or ()
    with warnings.catch_warnings(action="ignore"):
        network = _build(whole)
    return {
        "name": whole,
        "dim": getattr(network, "head_hidden_size", None) or network.num_features,
        "repo": config.hf_hub_id or "",
        "files": [f"{file.rpartition('.')[0]}.safetensors", file] if file else list(FILES),
        "license": config.license or "",
        "classifiers": [classifiers] if isinstance(classifiers, str) else list(classifiers),
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "height": height,
        "width": width,
        "crop_mode": data["crop_mode"],
        "crop_pct": data["crop_pct"],
        "interpolation": data["interpolation"],
    }


def _import_timm() -> Any:
    """Import timm after torch, which `search.runtime` imports."""
    from search.runtime import torch  # noqa: F401

    import_module("timm.data")
    return import_module("timm")


def _pretrained_config(name: str) -> Any:
    """Return timm's configuration of a model's weights. Raises ModelError for unknown names."""
    timm = _import_timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=4, cutoff=0.6)
        advice = f"; did you mean {', '.join(PREFIX + one for one in near)}?" if near else ""
        raise ModelError(f"timm has no model {architecture}{advice}")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = [
            one.partition(".")[2] for one in timm.list_models(f"{architecture}.*", pretrained=True)
        ]
        raise ModelError(
            f"timm has no weights {tag} of {architecture}; it has: {', '.join(tags) or 'none'}"
        ) from None


def _build(name: str) -> Any:
    """Build a backbone with random weights."""
    return _import_timm().create_model(name, pretrained=False, num_classes=0)


def _load_weights(network: Any, path: Path, classifiers: Sequence[str]) -> None:
    """Read a state dict into a backbone; layers of a classifier are ignored.

    Never runs code from the file. Raises an exception of any type when the file is of another
    architecture, or is damaged.
    """
    timm = _import_timm()
    state = timm.models.load_state_dict(str(path), device="cpu", weights_only=True)
    heads = tuple(f"{one.partition('.')[0]}." for one in classifiers)
    own = network.state_dict().keys()

    def drop_classifier(state: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in state.items() if k in own or not k.startswith(heads)}

    convert = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
    if convert is not None and drop_classifier(state).keys() != own:
        state = convert(state, network)  # from the names that its authors use
    is_empty = any(weight.is_meta for weight in network.parameters())
    network.load_state_dict(drop_classifier(state), strict=True, assign=is_empty)


def _require_repo(backbone: Backbone) -> None:
    """Raises ModelError for a model that has no weights on the hub."""
    if not backbone.repo:
        raise ModelError(
            f"there are no weights of {backbone.name} on the hub; give a file as "
            f"{PREFIX}{backbone.name}:/path/to/weights"
        )


def _cached_weights(backbone: Backbone) -> Path:
    """Return the file of weights in the hub's cache. Raises ModelError when there is none."""
    _require_repo(backbone)
    path = hub.find_cached(backbone.repo, backbone.files)
    if path is None:
        name = f"{PREFIX}{backbone.name}"
        raise ModelError(
            f"the weights of {name} are not here; `lookalike --model {name} index FOLDER` "
            "fetches them"
        )
    return path
