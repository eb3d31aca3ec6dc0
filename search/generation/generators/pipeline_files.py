"""What is in the folder of a diffusers pipeline, and whether it may be loaded.

A pipeline is a folder with a `model_index.json`, which lists its components, and a folder for each.
Weights are read from .safetensors alone, and no code that comes with a pipeline runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.errors import ModelError

INDEX, CONFIG = "model_index.json", "config.json"
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[a-z0-9_]+))?(?:-\d{5}-of-\d{5})?"
    r"\.safetensors(?P<index>\.index(?:\.[a-z0-9_]+)?\.json)?"
)
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
SMALL_FILES = (".json", ".txt", ".model")
HALF = "fp16"


@dataclass(frozen=True)
class Family:
    """A kind of pipeline that makes variants of a picture.

    pipeline: the class of diffusers that is called. addition: repository of what it needs beside
    its own files. adapter: the file of an IP-Adapter there; None if the addition is a prior, of
    which the image encoder is needed. encoder: folder of the image encoder there.
    """

    pipeline: str
    addition: str | None = None
    adapter: str | None = None
    encoder: str = "image_encoder"


IP_ADAPTER, ENCODER = "h94/IP-Adapter", "models/image_encoder"
STABLE_DIFFUSION = Family(
    "StableDiffusionImg2ImgPipeline", IP_ADAPTER, "models/ip-adapter_sd15.safetensors", ENCODER
)
STABLE_DIFFUSION_XL = Family(
    "StableDiffusionXLImg2ImgPipeline",
    IP_ADAPTER,
    "sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
    ENCODER,
)
KANDINSKY = Family("KandinskyV22Img2ImgPipeline", "kandinsky-community/kandinsky-2-2-prior")
FAMILIES = {
    "StableDiffusionPipeline": STABLE_DIFFUSION,
    "StableDiffusionImg2ImgPipeline": STABLE_DIFFUSION,
    "StableDiffusionXLPipeline": STABLE_DIFFUSION_XL,
    "StableDiffusionXLImg2ImgPipeline": STABLE_DIFFUSION_XL,
    "StableUnCLIPImg2ImgPipeline": Family("StableUnCLIPImg2ImgPipeline"),
    "KandinskyV22Pipeline": KANDINSKY,
    "KandinskyV22Img2ImgPipeline": KANDINSKY,
    "StableDiffusionImageVariationPipeline": Family("StableDiffusionImageVariationPipeline"),
}
"""Families by the class that a `model_index.json` names."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ModelError."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); get the pipeline again") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} is not a JSON object; get the pipeline again")
    return document


def list_files(folder: Path) -> list[str]:
    """List the files of a folder and of the folders in it, by relative path with slashes."""
    paths = (*folder.glob("*"), *folder.glob("*/*"))
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def find_family(name: str, index: dict[str, Any]) -> Family:
    """Return the family of a pipeline. index: its `model_index.json`. Raises ModelError."""
    kind = index.get("_class_name")
    if isinstance(kind, str) and kind in FAMILIES:
        return FAMILIES[kind]
    what = f"a {kind}" if isinstance(kind, str) else "a pipeline with code of its own"
    raise ModelError(
        f"{name} is {what}, which does not make variants of a picture here; give a pipeline of one "
        f"of the classes {', '.join(FAMILIES)}"
    )


def list_components(index: dict[str, Any]) -> list[str]:
    """List the components of a `model_index.json` that have a folder."""
    return [
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[0] is not None
    ]


def choose_files(
    name: str, names: Collection[str], components: Collection[str]
) -> tuple[list[str], str | None]:
    """Choose the files of a pipeline that are loaded.

    name: of the pipeline, for messages. names: of all its files. components: their folders.

    Returns the files, and the variant of the weights: None or `fp16`, which is taken if there is no
    other. Raises ModelError if weights are missing or only pickles, and if there is code.
    """
    folders = {one: [n for n in names if n.rpartition("/")[0] == one] for one in components}
    code = [n for n in names if n.endswith(".py") and n.rpartition("/")[0] in {"", *folders}]
    if code:
        raise ModelError(
            f"{name} comes with code ({code[0]}), which is not run; give a pipeline without any"
        )
    chosen, variants = list[str](), set[str | None]()
    for component, files in folders.items():
        chosen += [file for file in files if file.endswith(SMALL_FILES)]
        if not files:
            raise ModelError(f"{name} has no {component}; get it again, as a whole")
        if f"{component}/{CONFIG}" in files:  # else a tokenizer or a scheduler, without weights
            weights = _group_weights(files)
            variant = None if None in weights else HALF
            if variant not in weights:
                raise ModelError(_describe_missing(name, component, files))
            variants.add(variant)
            chosen += weights[variant]
    return chosen, HALF if HALF in variants else None


def _group_weights(files: Collection[str]) -> dict[str | None, list[str]]:
    """Group the weights of a component by variant."""
    groups = dict[str | None, list[str]]()
    for file in files:
        match = WEIGHTS.fullmatch(file.rpartition("/")[2])
        if match and not match["index"]:
            groups.setdefault(match["variant"], []).append(file)
    return groups


def _describe_missing(name: str, component: str, files: Collection[str]) -> str:
    pickles = [file for file in files if file.endswith(PICKLES)]
    if not pickles:
        return f"{name} has no weights of {component}; get it again, as a whole"
    return (
        f"{name} has the weights of {component} only as a pickle ({pickles[0]}), which could run "
        "code when it is read; give a pipeline with .safetensors files, or write it again where "
        "you trust it: `pipeline.save_pretrained(FOLDER, safe_serialization=True)` of diffusers"
    )


def inspect_pipeline(name: str, folder: Path) -> tuple[Family, str | None]:
    """Check that a pipeline is complete and may be loaded; return its family and the variant of
    its weights. Raises ModelError."""
    index = read_json(folder / INDEX)
    family = find_family(name, index)
    files, variant = choose_files(name, list_files(folder), list_components(index))
    _require_shards(name, folder, files, variant)
    return family, variant


def inspect_encoder(name: str, folder: Path) -> None:
    """Check the folder of an image encoder. Raises ModelError."""
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"{name} has no image encoder: {folder / CONFIG} is not there; get it again, as a whole"
        )
    files, variant = choose_files(name, list_files(folder.parent), [folder.name])
    _require_shards(name, folder.parent, files, variant)


def _require_shards(name: str, folder: Path, files: Collection[str], variant: str | None) -> None:
    """Raise ModelError unless all parts of weights in several files are there."""
    for file in files:
        match = WEIGHTS.fullmatch(file.rpartition("/")[2])
        if match and match["index"] and match["variant"] == variant:
            shards = read_json(folder / file).get("weight_map", {}).values()
            for shard in sorted(map(str, set(shards))):
                if not (folder / file).with_name(shard).is_file():
                    raise ModelError(f"{name} lacks {shard}; get it again, as a whole")


def measure_native_size(folder: Path) -> int | None:
    """Return the pixels of a side that the U-Net of a pipeline was trained at, None if its
    configuration does not say so. Raises ModelError."""
    decoder = "movq" if (folder / "movq").is_dir() else "vae"
    side = read_json(folder / "unet" / CONFIG).get("sample_size")
    blocks = read_json(folder / decoder / CONFIG).get("block_out_channels", ())
    return side * 2 ** (len(blocks) - 1) if isinstance(side, int) and blocks else None
