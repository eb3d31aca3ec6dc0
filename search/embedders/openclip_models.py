"""The architectures of open_clip, and the weights that the hub has for each.

The architectures are JSON files of its package. Reading its table of weights imports torch, so the
table is read once and cached.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from search.embedders.inference import build_empty
from search.embedders.json_cache import JsonCache
from search.errors import ModelError
from search.media.preprocessing import Preprocessing

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Recipe:
    """Where the weights of a tag are, and how they were trained.

    repo: on the hub. files: the first that exists is used. mean, std: of red, green and blue, 0 to
    1. fit, resample: fields of `Preprocessing`. quick_gelu: whether they were trained with that
    activation.
    """

    repo: str = ""
    files: tuple[str, ...] = WEIGHTS
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    fit: str = "shortest"
    resample: str = "bicubic"
    quick_gelu: bool = False

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Recipe:
        """Build a recipe from the fields of its JSON, where tuples are lists."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**values)

    def preprocessing(self, config: dict[str, Any]) -> Preprocessing:
        """Return the preprocessing for an architecture. config: as `read_config` returns it."""
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


def list_architectures() -> list[str]:
    """Return the names of all architectures, sorted."""
    return sorted(_configs())


def check_architecture(name: str) -> str:
    """Return the name as open_clip writes it. Raises ModelError with similar names."""
    name = name.replace("/", "-")  # as papers write it
    configs = _configs()
    if name in configs:
        return name
    by_case = {other.lower(): other for other in configs}
    near = get_close_matches(name.lower(), by_case, n=4, cutoff=0.6)
    advice = f"; did you mean {', '.join(by_case[one] for one in near)}?" if near else ""
    raise ModelError(f"there is no model {name}{advice}")


def read_config(arch: str) -> dict[str, Any]:
    """Return the configuration that open_clip builds an architecture from."""
    config: dict[str, Any] = json.loads(_configs()[arch].read_text())
    return config


def list_recipes(arch: str, cache: JsonCache) -> dict[str, Recipe]:
    """Return tag -> recipe for all weights of an architecture, in open_clip's order."""
    key = f"open_clip {version('open_clip_torch')} weights of {arch}"
    known: list[Any] = cache.get_or_compute(key, lambda: _read_table(arch))
    return {tag: Recipe.from_json(fields) for tag, fields in known}


def import_open_clip() -> Any:
    """Import open_clip after torch, which `search.runtime` imports."""
    from search.runtime import torch  # noqa: F401

    return import_module("open_clip")


def build_model(arch: str, path: Path, quick_gelu: bool) -> Any:
    """Return the open_clip model of an architecture with the weights of a file, in float32.

    Weights in a `.safetensors` are mapped into memory: what is not used, such as the text tower, is
    not read. Raises any exception for a file that is no such weights.
    """
    open_clip = import_open_clip()
    options = {"force_quick_gelu": quick_gelu, "weights_only": True}
    more = {"device": "meta", "load_weights": False, "pretrained_text": False}
    model = None
    if path.suffix == ".safetensors":
        model = build_empty(lambda: open_clip.create_model(arch, **more, **options))
    if model is None:
        return open_clip.create_model(arch, pretrained=str(path), **options).eval()
    assign_weights(model, path)
    return model.float().eval()


def assign_weights(model: Any, path: Path) -> None:
    """Let the weights of a `.safetensors` take the place of those of a model, which is on the meta
    device. They are mapped into memory. Raises any exception for a file that is no such weights."""
    model.load_state_dict = partial(model.load_state_dict, assign=True)
    import_open_clip().factory.load_checkpoint(model, str(path))
    del model.load_state_dict


def _read_table(arch: str) -> list[tuple[str, dict[str, Any]]]:
    open_clip, rows = import_open_clip(), []
    for tag in open_clip.list_pretrained_tags_by_model(arch):
        weights = open_clip.get_pretrained_cfg(arch, tag)
        repo, _, file = weights["hf_hub"].rpartition("/")
        row = {name: weights[name] for name in ("mean", "std")}
        row |= {"repo": repo, "quick_gelu": weights.get("quick_gelu", False)}
        row |= {"fit": weights["resize_mode"], "resample": weights["interpolation"]}
        if file:
            row["files"] = [f"{file.rpartition('.')[0]}.safetensors", file]
        rows.append((tag, row))
    return rows


def choose_default_tag(arch: str, tags: Sequence[str]) -> str:
    """Return the last tag that begins with `laion2b`, else the first tag.

    This is what an architecture without a tag means. Raises ModelError if there are no tags.
    """
    if not tags:
        raise ModelError(f"open_clip has no weights of {arch}; give {arch}:/path/to/weights")
    return next((tag for tag in reversed(tags) if tag.startswith("laion2b")), tags[0])
