"""Latents of pictures to train on: windows of each picture at random places and scales, encoded
once, in several versions, and kept in a folder of memory-mapped files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion import files
from diffusion.data import classes_of, make_upright
from diffusion.errors import DataError
from diffusion.model.autoencoder import CHANNELS, DOWNSAMPLING, Autoencoder
from diffusion.model.presets import LatentSpace
from diffusion.sources import convert_picture, digest_entries, list_pictures

BATCH = 256  # windows that are encoded together
CHUNK = 64  # pictures between two saves
FORMAT = "lookalike latents"
FEW = 2000  # pictures that the statistics are taken from


@dataclass(frozen=True)
class Windows:
    """How pictures are cut to windows.

    places: side of a window in places of the latents. crop: of it, what a step trains on. versions:
    windows of each picture, half of them mirrored. least, most: short side in pixels to which a
    picture is scaled, log-uniform. A picture is never enlarged; a smaller one is left out.
    """

    places: int
    crop: int
    versions: int
    least: int
    most: int

    @property
    def side(self) -> int:
        """Pixels a side."""
        return self.places * DOWNSAMPLING


SMALL = Windows(places=17, crop=16, versions=6, least=136, most=256)
LARGE = Windows(places=32, crop=32, versions=4, least=256, most=256)


def choose_windows(size: int, versions: int = 6) -> Windows:
    """Windows to train on crops of `size` pixels: the picture scaled to a short side between a
    place more than that and twice that."""
    return Windows(
        size // DOWNSAMPLING + 1, size // DOWNSAMPLING, versions, size + DOWNSAMPLING, 2 * size
    )


def cut_windows(
    picture: Image.Image, windows: Windows, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """An RGB picture -> (V, side, side, 3) uint8 and (V,) short sides of the whole picture, in
    places of the latents. None for one that is too small."""
    short = min(picture.size)
    if short < windows.least:
        return None
    random = np.random.default_rng(seed)
    pixels, sizes = [], []
    for version in range(windows.versions):
        low, high = np.log(windows.least), np.log(min(short, windows.most))
        scaled = round(float(np.exp(random.uniform(low, high))))
        span = windows.side * short / scaled  # of a window, in pixels of the picture
        left = random.uniform(0, picture.width - span)
        top = random.uniform(0, picture.height - span)
        if scaled == short:
            left, top, span = round(left), round(top), windows.side
        box = (left, top, left + span, top + span)
        size = (windows.side, windows.side)
        window = np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box))
        pixels.append(window[:, ::-1] if version % 2 else window)
        sizes.append(scaled / DOWNSAMPLING)
    return np.stack(pixels), np.array(sizes, np.float32)


def encode(
    autoencoder: Autoencoder,
    pictures: Sequence[Image.Image],
    windows: Windows,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Index of each picture that is large enough, its latents (V, places, places, 32) float16 as
    the autoencoder gives them, on its device, and its (V,) sizes."""
    device = next(autoencoder.parameters()).device
    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda i: cut_windows(pictures[i], windows, seed + i), range(len(pictures)))
        waiting = list[tuple[int, np.ndarray, np.ndarray]]()
        for index, windows_of_one in enumerate(jobs):
            if windows_of_one is not None:
                waiting.append((index, *windows_of_one))
            full = len(waiting) * windows.versions >= BATCH
            if waiting and (full or index == len(pictures) - 1):
                stacked = torch.from_numpy(np.concatenate([pixels for _, pixels, _ in waiting]))
                unit = stacked.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
                with torch.inference_mode():
                    codes = autoencoder.encode(unit.contiguous(memory_format=torch.channels_last))
                codes = codes.permute(0, 2, 3, 1).half()
                codes = codes.reshape(-1, windows.versions, *codes.shape[1:])
                for (place, _, sizes), one in zip(waiting, codes, strict=True):
                    yield place, one, torch.from_numpy(sizes).to(device)
                waiting.clear()


def measure_space(codes: Tensor, autoencoder: str) -> LatentSpace:
    """The space of latents (..., 32), with their mean and deviation per channel. autoencoder: its
    fingerprint."""
    flat = codes.float().flatten(0, -2)
    return LatentSpace(
        autoencoder,
        tuple(round(v, 4) for v in flat.mean(0).tolist()),
        tuple(round(max(v, 1e-3), 4) for v in flat.std(0).tolist()),
    )


@dataclass(frozen=True)
class Latents:
    """What a folder of latents holds. codes: (N, V, h, w, 32) float16, as the autoencoder gives
    them, mapped from a file. sizes: (N, V) short sides of the whole pictures, in places of the
    latents. names, classes, labels, side, skipped, other: as `Pictures` has them."""

    codes: Tensor
    sizes: Tensor
    windows: Windows
    autoencoder: str
    names: list[str]
    classes: tuple[str, ...]
    labels: Tensor
    side: int
    key: str
    skipped: list[tuple[str, str]] = field(default_factory=list)
    other: dict[str, int] = field(default_factory=dict)

    def space(self) -> LatentSpace:
        """The autoencoder, and the statistics of the latents, per channel."""
        count = min(FEW, len(self.names))
        places = torch.arange(count) * len(self.names) // count
        return measure_space(self.codes[places], self.autoencoder)


def encode_folder(
    paths: Sequence[str | Path],
    out: Path,
    autoencoder: Autoencoder,
    windows: Windows,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Latents:
    """Encode the pictures of folders and zips into a folder, and return what it holds.

    A call that was interrupted resumes; a finished folder is returned at once. on_progress: called
    with how many pictures of how many are done. Raises DataError when no picture is large enough or
    the folder holds other pictures, and DiffusionError when it cannot be written.
    """
    listing = list_pictures(paths)
    total = len(listing.entries)
    key = digest_entries(listing.entries, asdict(windows), autoencoder.fingerprint, seed)
    about = _read_about(out)
    if about is None:
        about = {
            "format": FORMAT,
            "version": 1,
            "key": key,
            "autoencoder": autoencoder.fingerprint,
            "windows": asdict(windows),
            "done": 0,
            "total": total,
            "names": [],
            "sides": [],
            "skipped": [],
            "other": listing.other,
        }
        places = windows.places
        shape = (total, windows.versions, places, places, CHANNELS)
        files.create_array(out / "codes.npy", shape, np.float16)
        files.create_array(out / "sizes.npy", shape[:2], np.float32)
        files.write_json(out / "latents.json", about)
    elif about["key"] != key:
        raise DataError(
            f"{out} holds latents of other pictures, or cut in another way; give another folder"
        )
    codes, sizes = (np.load(out / name, mmap_mode="r+") for name in ("codes.npy", "sizes.npy"))
    with ThreadPoolExecutor() as pool:
        while about["done"] < total:
            first = about["done"]
            part = listing.entries[first : first + CHUNK]
            decoded = list(pool.map(lambda entry: convert_picture(entry, make_upright), part))
            pictures = [one for one in decoded if isinstance(one, Image.Image)]
            names = [e.name for e, d in zip(part, decoded, strict=True) if not isinstance(d, str)]
            about["skipped"] += [
                [entry.name, reason]
                for entry, reason in zip(part, decoded, strict=True)
                if isinstance(reason, str)
            ]
            encoded = set[int]()
            for place, code, size in encode(autoencoder, pictures, windows, seed + first):
                row = len(about["names"])
                codes[row], sizes[row] = code.cpu().numpy(), size.cpu().numpy()
                about["names"].append(names[place])
                about["sides"].append(min(pictures[place].size))
                encoded.add(place)
            about["skipped"] += [
                [names[i], f"its short side is below {windows.least} pixels"]
                for i in range(len(names))
                if i not in encoded
            ]
            about["done"] = first + len(part)
            codes.flush()
            sizes.flush()
            files.write_json(out / "latents.json", about)
            if on_progress is not None:
                on_progress(about["done"], total)
    if not about["names"]:
        why = f"; {about['skipped'][0][0]}: {about['skipped'][0][1]}" if about["skipped"] else ""
        raise DataError(
            f"there is no picture of {windows.least} pixels or more in "
            f"{', '.join(str(path) for path in paths)}{why}"
        )
    return read_latents(out)


def is_latents(path: str | Path) -> bool:
    """Whether a folder was written by `encode_folder`."""
    return (Path(path).expanduser() / "latents.json").is_file()


def read_latents(folder: Path) -> Latents:
    """What `encode_folder` wrote. Raises DataError when it is damaged or not finished."""
    about = _read_about(folder)
    if about is None or about["done"] < about["total"] or not about["names"]:
        raise DataError(
            f"{folder} does not hold finished latents; make them with "
            "`lookalike diffusion encode DATA... -o FOLDER`"
        )
    count = len(about["names"])
    try:
        codes, sizes = (files.map_array(folder / name) for name in ("codes.npy", "sizes.npy"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} cannot be read ({error}); if it is damaged, encode the pictures again"
        ) from error
    classes, labels = classes_of(about["names"])
    return Latents(
        codes[:count],
        sizes[:count],
        Windows(**about["windows"]),
        about["autoencoder"],
        about["names"],
        classes,
        labels,
        median_low(about["sides"]),
        about["key"],
        [(name, reason) for name, reason in about["skipped"]],
        about["other"],
    )


def _read_about(folder: Path) -> dict[str, Any] | None:
    """The JSON of a folder of latents; None when there is none. Raises DataError."""
    path = folder / "latents.json"
    if not path.exists():
        return None
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT or about["version"] != 1:
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not readable ({error}); give another folder") from error
    return about
