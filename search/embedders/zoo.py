"""What open_clip offers: its architectures, and the weights that its hub has for each.

The architectures are JSON files of its package. Its table of weights can be had only by importing
it, torch and all: that is done once, and noted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from search.embedders.notes import Notes
from search.errors import ModelError
from search.media.preprocessing import Preprocessing

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Recipe:
    """How the weights of a tag came about. repo: on the hub; files: the first that is there is
    taken; mean, std: of red, green and blue in 0..1; fit, resample: as `Preprocessing` has them;
    quick_gelu: whether they were trained with that activation."""

    repo: str = ""
    files: tuple[str, ...] = WEIGHTS
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    fit: str = "shortest"
    resample: str = "bicubic"
    quick_gelu: bool = False

    @classmethod
    def of(cls, said: dict[str, Any]) -> Recipe:
        """From its JSON."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        return cls(**fields)

    def preprocessing(self, config: dict[str, Any]) -> Preprocessing:
        """Of an architecture."""
        size = config["vision_cfg"]["image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        wide = None if width == height else width
        return Preprocessing(height, self.fit, wide, self.resample)  # type: ignore[arg-type]


DEFAULT = "ViT-B-32:laion2b_s34b_b79k"
DEFAULT_RECIPE = Recipe("laion/CLIP-ViT-B-32-laion2B-s34B-b79K")


@cache
def _configs() -> dict[str, Path]:
    spec = find_spec("open_clip")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise ModelError("open_clip is not installed; run `pip install open_clip_torch`")
    return {path.stem: path for path in Path(places[0], "model_configs").glob("*.json")}


def architecture(name: str) -> str:
    """The architecture of that name. Raises ModelError that knows similar ones."""
    name = name.replace("/", "-")  # as its papers write it
    configs = _configs()
    if name in configs:
        return name
    by_case = {other.lower(): other for other in configs}
    near = get_close_matches(name.lower(), by_case, n=4, cutoff=0.6)
    say = f"; did you mean {', '.join(by_case[one] for one in near)}?" if near else ""
    raise ModelError(f"there is no model {name}{say}")


def config(arch: str) -> dict[str, Any]:
    """What open_clip builds an architecture from."""
    read: dict[str, Any] = json.loads(_configs()[arch].read_text())
    return read


def recipes(arch: str, notes: Notes) -> dict[str, Recipe]:
    """Tag -> recipe of the weights there are for an architecture, in open_clip's order."""
    key = f"open_clip {version('open_clip_torch')} weights of {arch}"
    known: list[Any] = notes.recall(key, lambda: _table(arch))
    return {tag: Recipe.of(said) for tag, said in known}


def library() -> Any:
    """open_clip itself, which brings torch: after `search.runtime`, that has an order to keep."""
    import_module("search.runtime")
    return import_module("open_clip")


def _table(arch: str) -> list[tuple[str, dict[str, Any]]]:
    open_clip, rows = library(), []
    for tag in open_clip.list_pretrained_tags_by_model(arch):
        given = open_clip.get_pretrained_cfg(arch, tag)
        repo, _, file = given["hf_hub"].rpartition("/")
        row = {name: given[name] for name in ("mean", "std")}
        row |= {"repo": repo, "quick_gelu": given.get("quick_gelu", False)}
        row |= {"fit": given["resize_mode"], "resample": given["interpolation"]}
        if file:
            row["files"] = [f"{file.rpartition('.')[0]}.safetensors", file]
        rows.append((tag, row))
    return rows


def default_tag(arch: str, tags: Sequence[str]) -> str:
    """What an architecture alone means: the last of its tags that begins with `laion2b`, else its
    first. Raises ModelError where there are none."""
    if not tags:
        raise ModelError(f"open_clip has no weights of {arch}; give {arch}:/path/to/weights")
    return next((tag for tag in reversed(tags) if tag.startswith("laion2b")), tags[0])
