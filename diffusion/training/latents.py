"""Latents of pictures to train on: windows of each picture at random places and scales, encoded
once, in several versions, and kept in a folder of memory-mapped files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion import files
from diffusion.data import classes_of
from diffusion.errors import DataError
from diffusion.media.pool import DecoderPool
from diffusion.model.autoencoder import CHANNELS, DOWNSAMPLING, Autoencoder
from diffusion.model.presets import LatentSpace
from diffusion.reading import read_json
from diffusion.sources import digest_entries, list_pictures

BATCH = 256  # windows that are encoded together
CHUNK = 64  # pictures between two saves
FORMAT = "lookalike latents"
ABOUT = "latents.json"
MAX_ABOUT = 2**28  # bytes of that file: some two million names
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

    @property
    def arguments(self) -> dict[str, int]:
        """Arguments of `diffusion.media.images.cut_windows`, without the seed."""
        return {
            "side": self.side,
            "versions": self.versions,
            "least": self.least,
            "most": self.most,
        }


SMALL = Windows(places=17, crop=16, versions=6, least=136, most=256)
LARGE = Windows(places=32, crop=32, versions=4, least=256, most=256)


def choose_windows(size: int, versions: int = 6) -> Windows:
    """Windows to train on crops of `size` pixels: the picture scaled to a short side between a
    place more than that and twice that."""
    return Windows(
        size // DOWNSAMPLING + 1, size // DOWNSAMPLING, versions, size + DOWNSAMPLING, 2 * size
    )


def encode(
    autoencoder: Autoencoder, cut: Iterable[tuple[int, np.ndarray, Sequence[int]]]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Encode windows.

    cut: index of each picture, its windows (V, side, side, 3) uint8, and the short sides in pixels
    to which the picture was scaled for them. Yields the index, the latents (V, places, places, 32)
    float16 as the autoencoder gives them, on its device, and the (V,) short sides in places of the
    latents.
    """
    device = next(autoencoder.parameters()).device
    waiting = list[tuple[int, np.ndarray, Sequence[int]]]()

    def encode_waiting() -> Iterator[tuple[int, Tensor, Tensor]]:
        stacked = torch.from_numpy(np.concatenate([pixels for _, pixels, _ in waiting]))
        unit = stacked.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            codes = autoencoder.encode(unit.contiguous(memory_format=torch.channels_last))
        codes = codes.permute(0, 2, 3, 1).half()
        codes = codes.reshape(len(waiting), -1, *codes.shape[1:])
        for (index, _, sides), one in zip(waiting, codes, strict=True):
            yield index, one, torch.tensor(sides, device=device) / DOWNSAMPLING
        waiting.clear()

    for picture in cut:
        waiting.append(picture)
        if len(waiting) * len(picture[1]) >= BATCH:
            yield from encode_waiting()
    if waiting:
        yield from encode_waiting()


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
    with DecoderPool() as pool:
        about = _encode_all(paths, out, autoencoder, windows, seed, on_progress, pool)
    if not about["names"]:
        why = f"; {about['skipped'][0][0]}: {about['skipped'][0][1]}" if about["skipped"] else ""
        raise DataError(
            f"there is no picture of {windows.least} pixels or more in "
            f"{', '.join(str(path) for path in paths)}{why}"
        )
    return read_latents(out)


def _encode_all(
    paths: Sequence[str | Path],
    out: Path,
    autoencoder: Autoencoder,
    windows: Windows,
    seed: int,
    on_progress: Callable[[int, int], None] | None,
    pool: DecoderPool,
) -> dict[str, Any]:
    """See `encode_folder`. Returns the JSON of the folder."""
    listing = list_pictures(paths, pool)
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
        for name, (shape, dtype) in _arrays(total, windows).items():
            files.create_array(out / name, shape, dtype)
        files.write_json(out / ABOUT, about)
    elif about["key"] != key:
        raise DataError(
            f"{out} holds latents of other pictures, or cut in another way; give another folder"
        )
    codes, sizes = _map_arrays(out, total, windows, "r+")
    jobs = [
        entry.job(windows={**windows.arguments, "seed": seed + place})
        for place, entry in enumerate(listing.entries)
    ]
    sides = dict[int, int]()

    def cut(part: range) -> Iterator[tuple[int, np.ndarray, Sequence[int]]]:
        shape = (windows.versions, windows.side, windows.side, 3)
        decoded = pool.decode(jobs[part.start : part.stop], shape)
        for place, picture in zip(part, decoded, strict=True):
            if isinstance(picture, str):
                about["skipped"].append([listing.entries[place].name, picture])
            else:
                sides[place] = picture.side
                yield place, picture.pixels, picture.sides

    while about["done"] < total:
        part = range(about["done"], min(about["done"] + CHUNK, total))
        for place, code, size in encode(autoencoder, cut(part)):
            row = len(about["names"])
            codes[row], sizes[row] = code.cpu().numpy(), size.cpu().numpy()
            about["names"].append(listing.entries[place].name)
            about["sides"].append(sides[place])
        about["done"] = part.stop
        codes.flush()
        sizes.flush()
        files.write_json(out / ABOUT, about)
        if on_progress is not None:
            on_progress(about["done"], total)
    return about


def is_latents(path: str | Path) -> bool:
    """Whether a folder was written by `encode_folder`."""
    return (Path(path).expanduser() / ABOUT).is_file()


def read_latents(folder: Path) -> Latents:
    """What `encode_folder` wrote. Raises DataError when it is damaged or not finished."""
    about = _read_about(folder)
    if about is None or about["done"] < about["total"] or not about["names"]:
        raise DataError(
            f"{folder} does not hold finished latents; make them with "
            "`lookalike diffusion encode DATA... -o FOLDER`"
        )
    count, windows = len(about["names"]), Windows(**about["windows"])
    codes, sizes = (array[:count] for array in _map_arrays(folder, about["total"], windows))
    classes, labels = classes_of(about["names"])
    return Latents(
        codes,
        sizes,
        windows,
        about["autoencoder"],
        about["names"],
        classes,
        labels,
        median_low(about["sides"]),
        about["key"],
        [(name, reason) for name, reason in about["skipped"]],
        about["other"],
    )


def _arrays(total: int, windows: Windows) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Shapes and types of the files of `total` pictures."""
    shape = (total, windows.versions, windows.places, windows.places, CHANNELS)
    return {"codes.npy": (shape, np.float16), "sizes.npy": (shape[:2], np.float32)}


def _map_arrays(folder: Path, total: int, windows: Windows, mode: files.Mode = "r") -> list[Any]:
    """Map the files of a folder, for writing as numpy arrays, for reading as tensors. Raises
    DataError when one is damaged, or of another shape than the JSON says."""
    try:
        return [
            files.map_array(folder / name, shape, dtype, mode)
            for name, (shape, dtype) in _arrays(total, windows).items()
        ]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} cannot be read ({error}); if it is damaged, encode the pictures again"
        ) from error


def _read_about(folder: Path) -> dict[str, Any] | None:
    """The JSON of a folder of latents; None when there is none. Raises DataError."""
    path = folder / ABOUT
    if not path.exists():
        return None
    try:
        about: dict[str, Any] = read_json(path, MAX_ABOUT)
        if about["format"] != FORMAT or about["version"] != 1:
            raise ValueError("another format")
        _check_about(about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not readable ({error}); give another folder") from error
    return about


def _check_about(about: dict[str, Any]) -> None:
    """Raise ValueError or TypeError for values that `encode_folder` does not write."""
    windows = Windows(**about["windows"])
    numbers = [*asdict(windows).values(), about["done"], about["total"], *about["sides"]]
    texts = [about["key"], about["autoencoder"], *about["names"], *about["other"]]
    texts += [text for name, reason in about["skipped"] for text in (name, reason)]
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("it has numbers that are not whole")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("it has names that are not texts")
    if len(about["names"]) != len(about["sides"]) or len(about["names"]) > about["total"]:
        raise ValueError("it has not as many sides as names")
    if not 1 <= windows.crop <= windows.places:
        raise ValueError(f"it has crops of {windows.crop} places")
