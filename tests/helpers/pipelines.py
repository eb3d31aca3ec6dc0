"""Tiny diffusers pipelines of random weights, saved as their publishers save them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
    StableUnCLIPImageNormalizer,
)
from safetensors.torch import save_file

SIDE, LATENTS = 32, 16  # pixels that a picture encoder sees, and side of the latents
TEXT, IMAGE = 32, 16  # widths of the embeddings
CARD = "---\nlicense: openrail\n---\n# A tiny pipeline\n"


def make_vae(channels: int = 4) -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=2 * LATENTS,
    )


def make_unet(**more: Any) -> diffusers.UNet2DConditionModel:
    options = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "sample_size": LATENTS,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": TEXT,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return diffusers.UNet2DConditionModel(**{**options, **more})


def make_scheduler(**more: Any) -> diffusers.DDIMScheduler:
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return diffusers.DDIMScheduler(
        **{**options, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **more}
    )


def make_tokenizer(folder: Path) -> transformers.CLIPTokenizer:
    """A tokenizer of the printable characters."""
    signs = [chr(i) for i in range(33, 127)]
    words = [*signs, *(f"{sign}</w>" for sign in signs), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(str(folder), model_max_length=8)


def make_text_encoder(projected: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        hidden_size=TEXT,
        intermediate_size=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=190,
        max_position_embeddings=8,
        projection_dim=TEXT,
        bos_token_id=188,
        eos_token_id=189,
        pad_token_id=189,
        hidden_act="gelu",
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config).eval()


def make_image_encoder(width: int = IMAGE) -> transformers.CLIPVisionModelWithProjection:
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        image_size=SIDE,
        patch_size=8,
        projection_dim=width,
    )
    return transformers.CLIPVisionModelWithProjection(config).eval()


def make_processor() -> transformers.CLIPImageProcessor:
    return transformers.CLIPImageProcessor(size=SIDE, crop_size=SIDE)


def save_adapter(place: Path, unet: diffusers.UNet2DConditionModel, context: int = TEXT) -> Path:
    """Save an IP-Adapter for a U-Net, with its image encoder beside it, as h94/IP-Adapter is.

    context: width of what its cross-attention sees.
    """
    tensors = {
        "image_proj.proj.weight": 0.1 * torch.randn(4 * context, IMAGE),
        "image_proj.proj.bias": torch.zeros(4 * context),
        "image_proj.norm.weight": torch.ones(context),
        "image_proj.norm.bias": torch.zeros(context),
    }
    number = 1
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            width = module.to_k.weight.shape[0]
            for kind in ("k", "v"):
                key = f"ip_adapter.{number}.to_{kind}_ip.weight"
                tensors[key] = 0.1 * torch.randn(width, context)
            number += 2
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, place)
    make_image_encoder().save_pretrained(place.parent / "image_encoder")
    return place


def save_stable_diffusion(folder: Path, **options: Any) -> str:
    torch.manual_seed(0)
    unet = make_unet()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=make_vae(),
        text_encoder=make_text_encoder(),
        tokenizer=make_tokenizer(folder.with_name("tokens")),
        unet=unet,
        scheduler=options.pop("scheduler", None) or make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, **options)
    (folder / "README.md").write_text(CARD)
    adapter = save_adapter(folder.with_name("adapter") / "ip-adapter.safetensors", unet)
    return f"{folder}+{adapter}"


def save_stable_diffusion_xl(folder: Path) -> str:
    torch.manual_seed(0)
    unet = make_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=TEXT + 6 * 8,
        cross_attention_dim=2 * TEXT,
        use_linear_projection=True,
    )
    tokens = folder.with_name("tokens")
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=make_vae(),
        text_encoder=make_text_encoder(),
        text_encoder_2=make_text_encoder(projected=True),
        tokenizer=make_tokenizer(tokens),
        tokenizer_2=make_tokenizer(tokens),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    place = folder.with_name("adapter-xl") / "ip.safetensors"
    return f"{folder}+{save_adapter(place, unet, 2 * TEXT)}"


def save_stable_unclip(folder: Path) -> str:
    torch.manual_seed(0)
    pipeline = diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=make_processor(),
        image_encoder=make_image_encoder(),
        image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=IMAGE),
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=make_tokenizer(folder.with_name("tokens")),
        text_encoder=make_text_encoder(),
        unet=make_unet(
            class_embed_type="projection", projection_class_embeddings_input_dim=2 * IMAGE
        ),
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        vae=make_vae(),
    )
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return str(folder)


def save_image_variation(folder: Path) -> str:
    torch.manual_seed(0)
    pipeline = diffusers.StableDiffusionImageVariationPipeline(
        vae=make_vae(),
        image_encoder=make_image_encoder(TEXT),
        unet=make_unet(),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=make_processor(),
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return str(folder)


def save_kandinsky(folder: Path) -> str:
    torch.manual_seed(0)
    unet = make_unet(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        encoder_hid_dim=IMAGE,
        encoder_hid_dim_type="image_proj",
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )
    movq = diffusers.VQModel(
        block_out_channels=[32, 32],
        down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=4,
        norm_num_groups=4,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    pipeline = diffusers.KandinskyV22Pipeline(
        unet=unet,
        scheduler=diffusers.DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="linear",
            clip_sample=False,
            variance_type="learned_range",
        ),
        movq=movq,
    )
    pipeline.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    prior = folder.with_name("prior")
    make_image_encoder().save_pretrained(prior / "image_encoder")
    make_processor().save_pretrained(prior / "image_processor")
    return f"{folder}+{prior}"


SAVERS: dict[str, Callable[[Path], str]] = {
    "stable-diffusion": save_stable_diffusion,
    "stable-diffusion-xl": save_stable_diffusion_xl,
    "stable-unclip": save_stable_unclip,
    "image-variation": save_image_variation,
    "kandinsky": save_kandinsky,
}
"""Family -> what saves a pipeline of it to a folder, and returns its name as a generator."""
