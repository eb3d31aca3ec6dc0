"""Model names -> embedders. The heavy imports happen when a model is opened, not before."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from search.embedders import openclip, openclip_models, timm
from search.embedders.base import Embedder
from search.embedders.json_cache import JsonCache
from search.embedders.openclip import OpenClip, is_path
from search.errors import ModelError

NAMES = (
    "auto, mini, an open_clip model like ViT-B-32, ViT-B-32:TAG or ViT-B-32:/path/to/weights, or a "
    "timm model like timm:NAME or timm:NAME:/path/to/weights"
)
TIMM_NAME = re.compile(r"\w+(\.\w+)?")


def is_shipped(name: str) -> bool:
    """Whether a name is of weights in the package, or of a file of the same kind."""
    return name.partition(":")[0] in ("mini", "mini-1")


def check_name(name: str) -> str:
    """Return a valid name, with an absolute path. Raises ModelError with a list of names."""
    kind, _, which = name.partition(":")
    if name == "mini-1":
        return name
    if kind == "mini":
        if ":" not in name:
            return name
        if which:
            return f"mini:{_absolute(which)}"
    if kind == "timm":
        model, path = timm.split_name(name)
        if ":" in name and TIMM_NAME.fullmatch(model):
            return f"timm:{model}:{_absolute(path)}" if path else f"timm:{model}"
        raise ModelError(f"{name} is not the name of a timm model; give one of: {NAMES}")
    if kind == "diffusion":
        raise ModelError(f"model {name} is not part of this version; give one of: {NAMES}")
    try:
        arch = openclip_models.check_architecture(kind)
    except ModelError as error:
        raise ModelError(f"{error}; give one of: {NAMES}") from None
    if not which:
        return arch
    return f"{arch}:{_absolute(which) if is_path(which) else which}"


def missing_weights(name: str, cache: JsonCache) -> tuple[str, Sequence[str]] | None:
    """Return repository and files of weights that a model needs from the hub, or None.

    Raises ModelError for an unknown name.
    """
    if is_shipped(name):
        return None
    if name.startswith(timm.PREFIX):
        return timm.missing_weights(name, cache)
    return openclip.missing_weights(name, cache)


def spell_with_path(name: str) -> str:
    """Return how a user names the same model with weights from a file."""
    kind, _, which = name.partition(":")
    model = f"timm:{timm.split_name(name)[0]}" if kind == "timm" else kind
    return f"{model}:/path/to/weights"


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def open_embedder(
    name: str,
    device: str,
    cache: JsonCache | None = None,
    breathe: Callable[[], None] = lambda: None,
) -> Embedder:
    """Open the embedder of a name, without its network and without asking any hub.

    cache: of facts about weights. breathe: called between the blocks of a network. Raises
    ModelError for unknown names, and when there are no weights.
    """
    name = check_name(name)
    kind, _, which = name.partition(":")
    if kind == "timm":
        return timm.Timm(name, device, cache, breathe)
    if not is_shipped(name):
        return OpenClip(name, device, cache, breathe)
    from search.embedders.mini import Mini

    embedder = Mini(device, Path(which) if which else None, kind)
    embedder.name = name
    return embedder
