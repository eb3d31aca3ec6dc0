"""A small CoCa model with random weights."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from search.embedders import openclip_models
from search.runtime import torch

_TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
SMALL = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {**_TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**_TEXT, "attn_pooler_heads": 2},
    "custom_text": True,
}


def write_coca(folder: Path, seed: int = 0) -> str:
    """Write a model as open_clip writes one for the hub; return the name that opens it."""
    open_clip = openclip_models.import_open_clip()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = open_clip.CoCa(**{n: v for n, v in SMALL.items() if n != "custom_text"})
        with torch.no_grad():
            network.text_decoder.text_projection.normal_()  # open_clip leaves it empty
            for one in network.text_decoder.cross_attn.parameters():
                one.mul_(5)  # so that the picture counts
    path = folder / "open_clip_model.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    document = {"model_cfg": SMALL, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    return f"coca_ViT-B-32:{path}"
