"""Model names -> embedders. The heavy imports happen when a model is opened, not before."""

from __future__ import annotations

import os
from pathlib import Path

from search.embedders.base import Embedder
from search.errors import ModelError

NAMES = "auto, mini, mini:/path/to/weights.safetensors"


def check_name(name: str) -> str:
    """The name, if it is one, with `auto` resolved and a path made absolute.

    Raises ModelError that lists the names.
    """
    kind, _, path = name.partition(":")
    if name in ("auto", "mini"):
        return "mini"
    if kind == "mini" and path:
        return f"mini:{os.path.abspath(os.path.expanduser(path))}"
    if kind == "diffusion":
        raise ModelError(f"model {name} is not part of this version; give one of: {NAMES}")
    raise ModelError(f"there is no model {name}; give one of: {NAMES}")


def open_embedder(name: str, device: str) -> Embedder:
    """Load a model. Raises ModelError for unknown names and weights that cannot be used."""
    name = check_name(name)
    from search.embedders.mini import Mini

    path = name.partition(":")[2]
    embedder = Mini(device, Path(path) if path else None)
    embedder.name = name
    return embedder
