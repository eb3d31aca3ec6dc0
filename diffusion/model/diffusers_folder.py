"""Checkpoints as pipeline folders of `diffusers`, and back, with the same samples.

A folder is a `DDPMPipeline`: a `UNet2DModel` and a scheduler, without code of ours. So only models
that such a U-Net is the same as can be written: those with `Shape.groups`, as the preset `classic`,
of 1000 steps, without a condition. The package itself is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion import files
from diffusion.errors import CheckpointError, ConfigError
from diffusion.model.checkpoint import list_network_shapes, strip_header
from diffusion.model.denoiser import Denoiser
from diffusion.model.presets import CLASSIC, Config
from diffusion.model.unet import Shape
from diffusion.reading import read_json
from diffusion.tensors import check_shapes, read_header, read_tensors

INDEX, UNET_CONFIG, SCHEDULER = (
    "model_index.json",
    "unet/config.json",
    "scheduler/scheduler_config.json",
)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
OURS = "lookalike.json"
"""What diffusers has no place for: the preset, the data, the step."""

STEPS, EPS = 1000, 1e-5
BETAS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
TARGETS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
PARTS = {
    "condition_projection": "time_emb_proj",
    "skip": "conv_shortcut",
    "norm1": "norm1",
    "norm2": "norm2",
    "conv1": "conv1",
    "conv2": "conv2",
}
"""Parts of a residual block: our name -> theirs."""

UNET_DEFAULTS: dict[str, Any] = {
    "act_fn": "silu",
    "add_attention": True,
    "attention_head_dim": 8,
    "attn_norm_num_groups": None,
    "center_input_sample": False,
    "class_embed_type": None,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2D",
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "num_class_embeds": None,
    "num_train_timesteps": None,
    "out_channels": 3,
    "resnet_time_scale_shift": "default",
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "upsample_type": "conv",
}
"""Values of `UNet2DModel` for what a configuration leaves out."""

SCHEDULER_DEFAULTS: dict[str, Any] = {
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "num_train_timesteps": STEPS,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "trained_betas": None,
}
"""The same of schedulers, for what the noise levels and the target depend on."""


def export_diffusers(model: Denoiser, folder: Path) -> None:
    """Write a model as a pipeline folder: `DDPMPipeline.from_pretrained(folder)` reads it.

    folder: a new or an empty one. Raises ConfigError for a model that has no exact counterpart, and
    DiffusionError when it cannot be written.
    """
    config = model.config
    if reasons := list(_list_obstacles(config, model)):
        raise ConfigError(
            f"a model of the preset {config.preset} has no exact counterpart in diffusers: "
            f"{'; '.join(reasons)}; train one with `--preset classic`, or export it to onnx"
        )
    files.require_new_folder(folder)
    about = {name: value for name, value in strip_header(model.about).items() if name != "weak"}
    documents = {
        INDEX: {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": "0.31.0",
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        },
        UNET_CONFIG: {
            "_class_name": "UNet2DModel",
            "_diffusers_version": "0.31.0",
            **describe_unet(config),
        },
        SCHEDULER: {
            "_class_name": "DDPMScheduler",
            "_diffusers_version": "0.31.0",
            **_describe_schedule(config),
            "clip_sample": False,
            "timestep_spacing": "trailing",
            "variance_type": "fixed_small",
        },
        OURS: {"preset": config.preset, "weighting": config.weighting, "about": about},
    }
    tensors = dict(_rename_weights(model.net.state_dict(), len(config.shape.channels)))
    data = files.to_safetensors(tensors, {"format": "pt"})
    writes: dict[Path, Any] = {folder / WEIGHTS: lambda partial: partial.write_bytes(data)}
    for name, document in documents.items():
        text = files.to_json(document)
        writes[folder / name] = lambda partial, text=text: partial.write_bytes(text)
    files.replace_all(writes)


def import_diffusers(folder: Path) -> tuple[Config, dict[str, Tensor], dict[str, Any]]:
    """Read a pipeline folder of a `UNet2DModel`.

    Returns configuration, weights and description, as `checkpoint.save` takes them. Raises
    CheckpointError if something is missing or damaged, or has no exact counterpart here.
    """
    try:
        unet = {**UNET_DEFAULTS, **_read_fields(folder / UNET_CONFIG, "UNet2DModel")}
        scheduler = {**SCHEDULER_DEFAULTS, **_read_fields(folder / SCHEDULER, "")}
        ours = read_json(folder / OURS) if (folder / OURS).exists() else {}
        config = _read_config(unet, scheduler, ours)
        expected = describe_unet(config)
        odd = [
            *_list_differences(unet, expected),
            *_list_differences(scheduler, _describe_schedule(config)),
            *(f"{name} is unknown" for name in sorted(set(unet) - set(expected))),
        ]
        if odd:
            raise CheckpointError(
                f"the U-Net in {folder} has no exact counterpart here: {'; '.join(odd)}; give one "
                "that `lookalike diffusion export` wrote, or one of the same kind"
            )
        path, levels = folder / WEIGHTS, len(config.shape.channels)
        names = {theirs: ours for ours, theirs in _list_names(config).items()}
        shapes = list_network_shapes(config)
        check_shapes(read_header(path).shapes, _split_shapes(shapes, levels))
        tensors = read_tensors(path)
        weights = _join_weights({names[key]: tensor.float() for key, tensor in tensors.items()})
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{error.filename} is not there; give a folder of a diffusers pipeline with "
            f"{UNET_CONFIG}, {SCHEDULER} and {WEIGHTS}"
        ) from error
    except Exception as error:  # torch, safetensors and JSON of strangers raise many types
        raise CheckpointError(
            f"{folder} cannot be imported: {error}; give a pipeline folder with a UNet2DModel"
        ) from error
    about = ours.get("about")
    return config, weights, about if isinstance(about, dict) else {}


def describe_unet(config: Config) -> dict[str, Any]:
    """Return the fields of a `UNet2DModel` for a configuration."""
    shape = config.shape
    kinds = ["AttnDownBlock2D" if one else "DownBlock2D" for one in shape.attention]
    return UNET_DEFAULTS | {
        "add_attention": shape.attention[-1],
        "attention_head_dim": shape.head,
        "attn_norm_num_groups": shape.groups,
        "block_out_channels": list(shape.channels),
        "down_block_types": kinds,
        "dropout": shape.dropout,
        "flip_sin_to_cos": False,
        "in_channels": shape.inputs,
        "layers_per_block": shape.blocks,
        "norm_num_groups": shape.groups,
        "out_channels": shape.inputs,
        "resnet_time_scale_shift": "scale_shift" if shape.scale_shift else "default",
        "sample_size": config.size,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
    }


def _describe_schedule(config: Config) -> dict[str, Any]:
    return SCHEDULER_DEFAULTS | {
        "beta_schedule": BETAS[config.noise],
        "prediction_type": TARGETS[config.target],
    }


def _list_obstacles(config: Config, model: Denoiser) -> Iterator[str]:
    """Yield what diffusers cannot express of a model."""
    shape = config.shape
    if not shape.groups:
        yield (
            "the groups of its normalizations grow with the channels, and it pools between levels"
        )
    if shape.patch > 1:
        yield "its stem packs patches into channels"
    if shape.condition != "none":
        yield f"a DDPMPipeline has no condition, and it is conditioned on a {shape.condition}"
    if shape.size_condition or shape.augmentation:
        yield "it is also conditioned on the size or augmentation of pictures"
    if config.space == "latent":
        yield "a DDPMPipeline has no autoencoder"
    if config.noise not in BETAS or config.steps != STEPS:
        yield f"its noise is {config.noise} ({config.steps} steps), not linear or cosine of {STEPS}"
    if config.sigma_data != 1:
        yield f"its input is scaled for data of deviation {config.sigma_data:g}, not 1"


def _read_fields(path: Path, kind: str) -> dict[str, Any]:
    document = read_json(path)
    if not isinstance(document, dict) or (kind and document.get("_class_name") != kind):
        raise ValueError(f"{path} does not describe a {kind or 'scheduler'}")
    return {name: value for name, value in document.items() if not name.startswith("_")}


def _read_config(unet: dict[str, Any], scheduler: dict[str, Any], ours: Any) -> Config:
    """Return the nearest configuration; what differs from it is found by comparison."""
    names = {theirs: ours for ours, theirs in BETAS.items()}
    targets = {theirs: ours for ours, theirs in TARGETS.items()}
    if unet["attn_norm_num_groups"] is None and unet["resnet_time_scale_shift"] == "default":
        unet["attn_norm_num_groups"] = unet["norm_num_groups"]
    kinds = unet["down_block_types"]
    if unet["attention_head_dim"] is None and "AttnDownBlock2D" not in kinds:
        unet["attention_head_dim"] = unet["norm_num_groups"]  # there is no attention
    known = ours if isinstance(ours, dict) else {}
    return replace(
        CLASSIC,
        preset=str(known.get("preset", CLASSIC.preset)),
        weighting=str(known.get("weighting", CLASSIC.weighting)),
        size=int(unet["sample_size"]),
        noise=names.get(str(scheduler["beta_schedule"]), "linear"),
        target=targets.get(str(scheduler["prediction_type"]), "eps"),
        shape=Shape(
            tuple(int(c) for c in unet["block_out_channels"]),
            int(unet["layers_per_block"]),
            tuple(kind == "AttnDownBlock2D" for kind in kinds),
            head=int(unet["attention_head_dim"]),
            scale_shift=unet["resnet_time_scale_shift"] == "scale_shift",
            dropout=float(unet["dropout"]),
            inputs=int(unet["in_channels"]),
            groups=int(unet["norm_num_groups"]),
        ),
    )


def _list_differences(fields: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(expected.items()):
        if fields.get(name, value) != value:
            yield f"{name} is {fields[name]}, not {value}"


# names of weights --------------------------------------------------------------------------------


def _rename(name: str, levels: int) -> str:
    """Return their name of one of our weights; those of q, k and v are still joined.

    levels: of the network.
    """
    simple = {
        "stem": "conv_in",
        "time_embedding.0": "time_embedding.linear_1",
        "time_embedding.2": "time_embedding.linear_2",
        "norm": "conv_norm_out",
        "head": "conv_out",
    }
    module, _, kind = name.rpartition(".")
    if module in simple:
        return f"{simple[module]}.{kind}"
    if match := re.fullmatch(r"(down|up)sample\.(\d+)", module):
        number = int(match[2])
        block = number if match[1] == "down" else levels - 2 - number
        return f"{match[1]}_blocks.{block}.{match[1]}samplers.0.conv.{kind}"
    match = re.fullmatch(r"(?:(down|up)\.(\d+)|middle)\.(\d+)\.(.+)", module)
    if match is None:
        raise KeyError(name)
    level, place, part = int(match[2] or 0), match[3], match[4]
    block_name = "mid_block"
    if match[1]:
        block_name = f"{match[1]}_blocks.{level if match[1] == 'down' else levels - 1 - level}"
    if part.startswith("attention."):
        inner = {"norm": "group_norm", "qkv": "to_qkv", "out": "to_out.0"}
        return f"{block_name}.attentions.{place}.{inner[part.partition('.')[2]]}.{kind}"
    return f"{block_name}.resnets.{place}.{PARTS[part]}.{kind}"


def _split(name: str) -> tuple[str, ...]:
    """Return the names that one weight is split into: q, k and v are one here."""
    if ".to_qkv." not in name:
        return (name,)
    return tuple(name.replace("to_qkv", f"to_{one}") for one in "qkv")


def _rename_weights(weights: Mapping[str, Tensor], levels: int) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in weights.items():
        names = _split(_rename(name, levels))
        yield from zip(names, tensor.float().chunk(len(names)), strict=True)


def _list_names(config: Config) -> dict[str, str]:
    """Return our name -> theirs; parts of a joined weight are `NAME#0`, `NAME#1`, `NAME#2`."""
    levels, names = len(config.shape.channels), dict[str, str]()
    for name in list_network_shapes(config):
        theirs = _split(_rename(name, levels))
        keys = [name] if len(theirs) == 1 else [f"{name}#{i}" for i in range(len(theirs))]
        names |= dict(zip(keys, theirs, strict=True))
    return names


def _split_shapes(shapes: Mapping[str, tuple[int, ...]], levels: int) -> dict[str, tuple[int, ...]]:
    """Return their shapes, by their names."""
    result = dict[str, tuple[int, ...]]()
    for name, shape in shapes.items():
        theirs = _split(_rename(name, levels))
        result |= dict.fromkeys(theirs, (shape[0] // len(theirs), *shape[1:]))
    return result


def _join_weights(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the parts of weights that are split there. parts: by the names of `_list_names`."""
    groups = dict[str, dict[str, Tensor]]()
    for name, tensor in parts.items():
        base, _, number = name.partition("#")
        groups.setdefault(base, {})[number] = tensor
    return {
        name: torch.cat([tensors[number] for number in sorted(tensors)])
        for name, tensors in groups.items()
    }
