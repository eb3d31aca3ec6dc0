"""`lookalike diffusion export` and `lookalike diffusion import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion.cli.arguments import Checkpoint
from diffusion.cli.output import print_note
from diffusion.errors import ConfigError

FORMATS = ("diffusers", "onnx")


def export(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="A new folder.")],
    checkpoint: Checkpoint = None,
    kind: Annotated[
        str, typer.Option("--to", metavar="FORMAT", help="diffusers or onnx.")
    ] = "diffusers",
    size: Annotated[
        int | None,
        typer.Option(
            "--image-size", metavar="PX", help="onnx: side of the pictures.  [default: as trained]"
        ),
    ] = None,
) -> None:
    """Write a model for other programs: a pipeline folder of diffusers, or ONNX files.

    diffusers takes models of the preset classic without a condition; onnx takes all.
    """
    from diffusion.model.checkpoint import load
    from diffusion.model.diffusers_folder import export_diffusers
    from diffusion.model.onnx_file import export_onnx

    if kind not in FORMATS:
        raise ConfigError(f"there is no format {kind!r}; give one of {', '.join(FORMATS)}")
    if size is not None and kind != "onnx":
        raise ConfigError("a folder of diffusers takes pictures of any size; leave the size out")
    model = load(checkpoint)
    if kind == "onnx":
        names = export_onnx(model, out, size)
        print_note(f"{out}: {', '.join(names)}, and model.json, which describes them")
    else:
        export_diffusers(model, out)
        print_note(f"{out}: a DDPMPipeline; `DDPMPipeline.from_pretrained({str(out)!r})` opens it")


def import_folder(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A pipeline folder with a UNet2DModel.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="A checkpoint (.safetensors).")
    ],
) -> None:
    """Read a pipeline folder of diffusers as a checkpoint, which samples the same.

    A U-Net that is not exactly one of ours is refused, with what differs.
    """
    from diffusion.model.checkpoint import save
    from diffusion.model.diffusers_folder import import_diffusers

    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} does not end in .safetensors; give a name that does")
    if out.exists() or out.with_suffix(".json").exists():
        raise ConfigError(f"{out} exists; give another name")
    config, weights, about = import_diffusers(folder)
    save(out, config, weights, about)
    print_note(f"{out}: the model of {folder}; `lookalike diffusion sample --checkpoint` takes it")
