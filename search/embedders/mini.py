"""`mini`: the small encoder that ships with the package, so that search works with no network.

`weights/mini.md` describes how it was trained and how good it is. `mini-1` is the version before
it: libraries that were indexed with it answer until they are indexed again, and the diffusion
model that ships is conditioned on its vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from search.embedders.backends import Backends, Runner
from search.embedders.base import list_earlier_fingerprints, make_fingerprint
from search.embedders.json_cache import JsonCache
from search.embedders.measurements import is_cpu
from search.embedders.vocabulary import Vocabulary
from search.errors import ModelError
from search.files import absolute_path
from search.media.preprocessing import Preprocessing
from search.media.rules import DECODE_RULE
from search.records.pictures import Label
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.embedders.efficientnet import EfficientNetLite
    from search.embedders.exports import Outputs
    from search.embedders.mini_numpy import NumpyNetwork
    from search.embedders.mobilenet import MiniNet
    from search.runtime import torch

VERSIONS = {"mini": DECODE_RULE, "mini-1": 1}
"""The weights that ship, and the decode rule that each one's fingerprint names. `mini-1` keeps the
rule that its libraries were made under: the rules differ for few pictures, such as those with a
colour profile or a blank first page.
"""
HAS_BF16 = False
NAMES = "mini"
WORDS = "words.safetensors"
HEAD = "retrieval.weight"
TERMS = {
    "mini": "its weights may be used commercially (trained on openly licensed pictures)",
    "mini-1": "its weights are for non-commercial use (they learned from ImageNet pictures)",
}


class Mini:
    """The embedder over `EfficientNetLite`, or over `MiniNet` for `mini-1`.

    See `search.embedders.vocabulary.LabelEmbedder`; of texts it knows words for things. The network
    is loaded when the first picture comes: a sync that finds nothing new never imports torch.
    """

    batch = torch_batch = 16
    bf16 = HAS_BF16
    measure_from = 500

    def __init__(
        self,
        device: str = "cpu",
        weights: Path | None = None,
        version: str = "mini",
        backends: Backends | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """weights: another file of the same kind; by default the shipped one of the version.
        backends, breathe: as `OpenClip` takes them.

        Raises ModelError when the file is missing or of another kind.
        """
        folder = Path(str(files("search.embedders") / "weights"))
        self.path = weights or folder / f"{version}.safetensors"
        self.name = version
        self.terms = TERMS[version]
        self._device = device
        self._net: EfficientNetLite | MiniNet | None = None
        self._numpy_net: NumpyNetwork | None = None
        self._vocabulary: Vocabulary | None = None
        try:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
            with safe_open(self.path, framework="numpy") as file:
                self._config: dict[str, Any] = json.loads(file.metadata()["config"])
                self.preprocessing = Preprocessing(**self._config["preparation"])
                self.dim = int(file.get_slice(HEAD).get_shape()[0])
        except Exception as error:  # a foreign file fails in many ways
            raise self._foreign(error) from error
        parts = f"mini {digest} {self.preprocessing}"
        self.fingerprint = make_fingerprint(parts, VERSIONS[version])
        self.earlier_fingerprints = list_earlier_fingerprints(parts)
        self.runner = Runner(self, backends if is_cpu(device) else None, breathe)

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each (size, size, 3) uint8 -> (n, 512) float32 of unit length."""
        return self._run(pixels)[0]

    def embed_with_labels(
        self, pixels: Sequence[Pixels]
    ) -> tuple[Vectors, list[tuple[Label, ...]]]:
        """As `embed`, with the labels of each picture; `mini-1` and weights without a vocabulary
        give none."""
        vectors, logits = self._run(pixels)
        vocabulary = self.vocabulary()
        if logits is None or vocabulary is None:
            return vectors, [()] * len(pixels)
        return vectors, vocabulary.labels(logits)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """n texts -> (n, 512) float32 of unit length, by the known words in them.

        Raises QueryError for a text without a known word.
        """
        vocabulary = self.vocabulary()
        if vocabulary is None:
            raise self._foreign("there is no table of words beside them")
        return vocabulary.embed(texts)

    def vocabulary(self) -> Vocabulary | None:
        """The words that it can search by; None for weights without a table. Raises ModelError."""
        path = self.path.with_name(WORDS)
        if self._vocabulary is None and self.name != "mini-1" and path.exists():
            names = self.fingerprint, *self.earlier_fingerprints
            self._vocabulary = Vocabulary(path, *names)
        return self._vocabulary

    def _run(self, pixels: Sequence[Pixels]) -> tuple[Vectors, Vectors | None]:
        """Vectors, and class logits where the network has a class head."""
        if not pixels:
            return np.empty((0, self.dim), np.float32), None
        vectors, *logits = self.runner.run(pixels)
        return vectors, logits[0] if logits else None

    def run_torch(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return the unit vectors of n pictures by torch, and the class logits if there are any."""
        from search.embedders.mobilenet import to_tensor
        from search.runtime import torch

        net = self.load_torch()
        with torch.inference_mode():
            vectors, *logits = _run_heads(net, to_tensor(pixels, net.mean, net.std, self._device))
            unit = torch.nn.functional.normalize(vectors, dim=1)
        return unit.cpu().numpy(), *(one.cpu().numpy() for one in logits)

    def load_numpy(self) -> NumpyNetwork:
        """Read the network for numpy, unless this was done before. Raises ModelError."""
        from search.embedders.mini_designs import MOBILENET_V2, describe_efficientnet_lite
        from search.embedders.mini_numpy import NumpyNetwork

        if self._numpy_net is None:
            try:
                design = MOBILENET_V2
                if self._is_lite:
                    design = describe_efficientnet_lite(self._config["depths"])
                with safe_open(self.path, framework="numpy") as file:
                    tensors = {key: file.get_tensor(key) for key in file.keys()}
                self._numpy_net = NumpyNetwork(tensors, design)
            except Exception as error:
                raise self._foreign(error) from error
        return self._numpy_net

    def run_numpy(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return what `run_torch` does, by numpy. Raises ModelError."""
        net = self.load_numpy()
        return [np.stack(rows) for rows in zip(*(net.run(one) for one in pixels), strict=True)]

    def build_whole(self) -> torch.nn.Module:
        """Return the network as a module of `exports.build_whole`. Raises ModelError."""
        from search.embedders.exports import build_whole

        net = self.load_torch().requires_grad_(False)
        return build_whole(partial(_run_heads, net), net.mean, net.std)

    def load(self) -> object:
        """Make the network ready, and return it. Raises ModelError."""
        return self.runner.load()

    def load_torch(self) -> EfficientNetLite | MiniNet:
        """The network, read into memory. Raises ModelError."""
        from search.embedders.efficientnet import EfficientNetLite
        from search.embedders.mobilenet import MiniNet
        from search.runtime import torch

        if self._net is not None:
            return self._net
        try:
            net = EfficientNetLite(self._config["depths"]) if self._is_lite else MiniNet()
            with safe_open(self.path, framework="pt") as file:
                net.load_state_dict({key: file.get_tensor(key).float() for key in file.keys()})
        except Exception as error:
            raise self._foreign(error) from error
        try:
            net.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:
            why = str(error).partition("\n")[0].partition(": ")[0]
            raise ModelError(
                f"mini cannot run on the device {self._device!r} ({why}); give cpu, or another"
            ) from error
        self._net = net
        return net

    @property
    def _is_lite(self) -> bool:
        return self._config.get("network") == "efficientnet-lite"

    def _foreign(self, error: object) -> ModelError:
        return ModelError(
            f"the weights of mini in {self.path} cannot be used ({error}); give another file, "
            "or reinstall the package"
        )


def _run_heads(net: EfficientNetLite | MiniNet, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the vectors (n, 512) of normalised pictures, and the class logits if there are any."""
    pooled = net.features(x)
    classes = getattr(net, "classes", None)
    heads = (net.retrieval,) if classes is None else (net.retrieval, classes)
    return tuple(head(pooled) for head in heads)


def check_name(name: str) -> str:
    """Return a valid name: a version that ships, or `mini:PATH`. Raises ModelError."""
    version, colon, path = name.partition(":")
    if not colon:
        return name
    if version != "mini" or not path:
        raise ModelError(f"{name} names no weights of mini: give mini:/path/to/weights")
    return f"mini:{absolute_path(path)}"


def missing_weights(name: str, cache: JsonCache) -> None:
    """Return None: the weights are in the package, or in a file."""


def spell_with_path(name: str) -> str:
    """Return how a user names weights from a file."""
    return "mini:/path/to/weights"


def open_embedder(
    name: str,
    device: str,
    cache: JsonCache | None,
    breathe: Callable[[], None],
    backends: Backends | None = None,
    bf16: bool = False,
) -> Mini:
    """Open `mini` by a valid name. Raises ModelError when its weights cannot be used.

    bf16: is ignored; so small a network gains nothing.
    """
    version, _, path = name.partition(":")
    embedder = Mini(device, Path(path) if path else None, version, backends, breathe)
    embedder.name = name
    return embedder
