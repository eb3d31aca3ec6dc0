"""Model names -> embedders. The heavy imports happen when a model is opened, not before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from search.embedders import zoo
from search.embedders.base import Embedder
from search.embedders.notes import Notes
from search.embedders.openclip import OpenClip, is_path
from search.errors import ModelError

NAMES = "auto, mini, an open_clip model like ViT-B-32, ViT-B-32:TAG or ViT-B-32:/path/to/weights"


def is_shipped(name: str) -> bool:
    """Whether a name is of weights in the package, or of a file of the same kind."""
    return name.partition(":")[0] in ("mini", "mini-1")


def check_name(name: str) -> str:
    """The name, if it is one, with a path made absolute. Raises ModelError that lists the names."""
    kind, _, which = name.partition(":")
    if name == "mini-1":
        return name
    if kind == "mini":
        if ":" not in name:
            return name
        if which:
            return f"mini:{_absolute(which)}"
    if kind == "diffusion":
        raise ModelError(f"model {name} is not part of this version; give one of: {NAMES}")
    try:
        arch = zoo.architecture(kind)
    except ModelError as error:
        raise ModelError(f"{error}; give one of: {NAMES}") from None
    if not which:
        return arch
    return f"{arch}:{_absolute(which) if is_path(which) else which}"


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def open_embedder(
    name: str,
    device: str,
    notes: Notes | None = None,
    breathe: Callable[[], None] = lambda: None,
) -> Embedder:
    """The embedder of a name, without its network and without asking any hub.

    notes: what is slow to find out about weights. breathe: called between the parts of what takes
    long. Raises ModelError for unknown names, and weights that are not there.
    """
    name = check_name(name)
    kind, _, which = name.partition(":")
    if not is_shipped(name):
        return OpenClip(name, device, notes, breathe)
    from search.embedders.mini import Mini

    embedder = Mini(device, Path(which) if which else None, kind)
    embedder.name = name
    return embedder
