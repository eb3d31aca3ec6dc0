"""Grids of pictures, PNG files, and the plot of the loss."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from diffusion import files
from diffusion.data import to_bytes
from diffusion.errors import ConfigError
from diffusion.reading import open_regular

HEAD = 2**20  # bytes at the start of a PNG that are searched for that field
SOFTWARE = "lookalike"  # value of the PNG text field Software, by which `refuse_overwrite` goes


def tile_pictures(
    x: Tensor, columns: int | None = None, gap: int = 2, scale: int = 1
) -> Image.Image:
    """Tile (N, 3, H, W) pictures in -1..1 as one picture, row by row.

    columns: pictures in a row; by default the grid is about square. gap: pixels between pictures.
    scale: whole number by which the grid is enlarged.
    """
    count, _, height, width = x.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for i, picture in enumerate(to_bytes(x).permute(0, 2, 3, 1).cpu().numpy()):
        top, left = (gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap))
        sheet[top : top + height, left : left + width] = picture
    whole = Image.fromarray(sheet)
    return whole.resize((whole.width * scale, whole.height * scale), Image.Resampling.NEAREST)


def save_png(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG, atomically. Raises DiffusionError when it cannot be written."""
    text = PngInfo()
    text.add_text("Software", SOFTWARE)
    files.replace(path, lambda partial: picture.save(partial, "PNG", pnginfo=text))


def refuse_overwrite(path: Path) -> None:
    """Raise ConfigError if `path` exists and is not a PNG that lookalike wrote."""
    try:
        with open_regular(path) as file:
            head = io.BytesIO(file.read(HEAD))
        with Image.open(head, formats=["PNG"]) as existing:
            if existing.info.get("Software") == SOFTWARE:
                return
    except FileNotFoundError:
        return
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass  # not a picture, so lookalike did not write it
    raise ConfigError(
        f"{path} exists and was not made by lookalike, so it is not replaced; give another name"
    )


def draw_loss(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Plot the loss over the steps, its running mean, and the loss on held-out pictures. lines: of
    stats.jsonl."""
    from matplotlib.figure import Figure

    steps = np.array([line["step"] for line in lines])
    losses = np.array([line["loss"] for line in lines])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="#c3cbd6", linewidth=0.8, label="loss")
    width = max(1, len(losses) // 25)
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(steps[width - 1 :], smooth, color="#2457c5", linewidth=1.6, label="running mean")
    held = [(line["step"], line["validation"]) for line in lines if "validation" in line]
    if held:
        axes.plot(*zip(*held, strict=True), "o-", color="#c4452d", markersize=3, label="validation")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    files.replace(path, lambda partial: figure.savefig(partial, format="png", dpi=110))
