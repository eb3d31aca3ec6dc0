"""The kinds of embedders, by the first part of a model's name.

A new kind is a module like `search.embedders.timm` and a line of `KINDS`. Heavy imports happen when
a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from search.embedders import diffusion, mini, openclip, timm
from search.embedders.backends import Backends
from search.embedders.base import Embedder
from search.embedders.json_cache import JsonCache
from search.errors import ModelError


class Kind(Protocol):
    """What the module of a kind of embedder has.

    NAMES: how its names are written, for messages. HAS_BF16: whether its weights may be converted
    to bfloat16, which is another space.
    """

    NAMES: str
    HAS_BF16: bool

    def check_name(self, name: str) -> str:
        """Return a valid name, with an absolute path. Raises ModelError."""
        ...

    def missing_weights(self, name: str, cache: JsonCache) -> tuple[str, Sequence[str]] | None:
        """Return repository and files of weights that a model needs from the hub, or None.

        Raises ModelError for an unknown name, and for a model that has no weights on the hub.
        """
        ...

    def spell_with_path(self, name: str) -> str:
        """Return how a user names the same model with weights from a file."""
        ...

    def open_embedder(
        self,
        name: str,
        device: str,
        cache: JsonCache | None,
        breathe: Callable[[], None],
        backends: Backends | None = None,
        bf16: bool = False,
    ) -> Embedder:
        """Open the embedder of a valid name. Raises ModelError when there are no weights."""
        ...


KINDS: Mapping[str, Kind] = MappingProxyType(
    {"mini": mini, "mini-1": mini, "diffusion": diffusion, "timm": timm}
)
"""First part of a name, before a colon -> kind. All other names are of open_clip."""
NAMES = f"auto, {mini.NAMES}, {diffusion.NAMES}, {openclip.NAMES}, or {timm.NAMES}"


def _find_kind(name: str) -> Kind:
    return KINDS.get(name.partition(":")[0], openclip)


def check_name(name: str) -> str:
    """Return a valid name, with an absolute path. Raises ModelError with a list of names."""
    try:
        return _find_kind(name).check_name(name)
    except ModelError as error:
        raise ModelError(f"{error}; give one of: {NAMES}") from None


def has_bf16(name: str) -> bool:
    """Return whether a model may run with weights in bfloat16."""
    return _find_kind(name).HAS_BF16


def missing_weights(name: str, cache: JsonCache) -> tuple[str, Sequence[str]] | None:
    """See `Kind.missing_weights`."""
    return _find_kind(name).missing_weights(name, cache)


def spell_with_path(name: str) -> str:
    """See `Kind.spell_with_path`."""
    return _find_kind(name).spell_with_path(name)


def open_embedder(
    name: str,
    device: str,
    cache: JsonCache | None = None,
    breathe: Callable[[], None] = lambda: None,
    backends: Backends | None = None,
    bf16: bool = False,
) -> Embedder:
    """Open the embedder of a name, without its network and without asking any hub.

    cache: of what is slow to find out about weights. breathe: called between the blocks of a
    network. backends: that may run it; None for torch alone. bf16: with weights in bfloat16, where
    the kind has that. Raises ModelError for unknown names, and when there are no weights.
    """
    name = check_name(name)
    return _find_kind(name).open_embedder(name, device, cache, breathe, backends, bf16)
