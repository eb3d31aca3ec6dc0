"""Pictures to train on or to compare with: folders and zips -> one uint8 tensor."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from statistics import median_low

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import safe_open
from torch import Tensor

from diffusion.errors import DataError

if find_spec("pillow_heif"):  # pictures of phones, where the product is
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .heic .heif .avif".split()
)
RUN = {"config.json", "log.txt"}  # files by which the folder of a run is known
MOST_PIXELS = 178_956_970
SHARPEST = Image.Resampling.LANCZOS


@dataclass
class Pictures:
    """Square pictures and what is known of them.

    images: (N, 3, S, S) uint8. names: paths within what they were read from. classes: names of the
    folders they are in; labels: (N,) int64, each picture's class, -1 for none. side: pixels of the
    short side that they had, the median. skipped: (name, reason) of files that could not be read.
    """

    images: Tensor
    names: list[str]
    labels: Tensor
    classes: tuple[str, ...]
    side: int
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def only(self, places: Sequence[int]) -> Pictures:
        """Some of them."""
        chosen = torch.as_tensor(places, dtype=torch.int64)
        names = [self.names[i] for i in places]
        return replace(self, images=self.images[chosen], names=names, labels=self.labels[chosen])


def read(paths: Sequence[str | Path], size: int) -> Pictures:
    """The pictures of folders and zips, in the order of their names: upright, over white, the
    square in the middle, `size` pixels a side.

    The first folder of a name is its class. Raises DataError where there is nothing to read; a
    file that cannot be decoded is only skipped.
    """
    entries = [entry for path in paths for entry in _entries(Path(path).expanduser())]
    names, sides, skipped = list[str](), list[int](), list[tuple[str, str]]()
    images = np.empty((len(entries), 3, size, size), np.uint8)
    for name, result in _decoded(entries, size):
        if isinstance(result, str):
            skipped.append((name, result))
        else:
            images[len(names)] = result[0].transpose(2, 0, 1)
            names.append(name)
            sides.append(result[1])
    said = ", ".join(str(path) for path in paths)
    if not names:
        why = f"; {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise DataError(f"there is no picture that can be read in {said}{why}")
    folders = [PurePosixPath(name).parts[0] if "/" in name else "" for name in names]
    classes = tuple(sorted(set(folders) - {""}))
    numbers = {name: i for i, name in enumerate(classes)} | {"": -1}
    labels = torch.tensor([numbers[folder] for folder in folders])
    stacked = torch.from_numpy(images[: len(names)])
    return Pictures(stacked, names, labels, classes, median_low(sides), skipped)


Read = Callable[[], bytes]
Decoded = tuple[np.ndarray, int] | str


def _entries(path: Path) -> list[tuple[str, Read]]:
    """Names within a folder or zip, sorted, each with what reads it. Raises DataError."""
    if path.is_dir():
        inside = list[tuple[str, Path]]()
        for at, folders, names in os.walk(path):
            if RUN <= set(names) and at != str(path):
                folders.clear()  # what a run drew is no picture to learn from
                continue
            files = [Path(at) / name for name in names]
            inside += [(file.relative_to(path).as_posix(), file) for file in files]
        return [(name, file.read_bytes) for name, file in sorted(inside) if _wanted(name)]
    try:
        archive, lock = zipfile.ZipFile(path), threading.Lock()
    except (OSError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} is neither a folder nor a zip of pictures: {why}") from error

    def reader(info: zipfile.ZipInfo) -> Read:
        def read() -> bytes:
            with lock:
                return archive.read(info)

        return read

    inside_zip = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    return [(name, reader(inside_zip[name])) for name in sorted(inside_zip) if _wanted(name)]


def _wanted(name: str) -> bool:
    """Whether a path within a folder or zip is a picture's, and nothing in it hidden."""
    shown = not any(part.startswith(".") for part in name.split("/"))
    return shown and os.path.splitext(name)[1].lower() in SUFFIXES


def _decoded(entries: Sequence[tuple[str, Read]], size: int) -> Iterator[tuple[str, Decoded]]:
    """Names with (size, size, 3) uint8 and the short side before, or the reason why not, in order,
    some read ahead."""
    workers = os.cpu_count() or 1
    waiting: deque[tuple[str, Future[Decoded]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for name, read in entries:
            waiting.append((name, pool.submit(_decode, read, size)))
            if len(waiting) > 16 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def _decode(read: Read, size: int) -> Decoded:
    try:
        picture = Image.open(io.BytesIO(read()))
        side = min(picture.size)
        return square(picture, size), side
    except Exception as error:  # codecs raise all kinds for broken files
        return f"{type(error).__name__}: {error}"


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Any picture -> (size, size, 3) uint8: upright, over white, the square in the middle."""
    if picture.width * picture.height > MOST_PIXELS:
        raise DataError(f"it has more than {MOST_PIXELS} pixels")
    picture.draft("RGB", (2 * size, 2 * size))
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = _of_bytes(picture)
    if picture.mode not in ("RGB", "L"):
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    picture = ImageOps.fit(picture.convert("RGB"), (size, size), SHARPEST)
    return np.asarray(picture, dtype=np.uint8)


def _of_bytes(picture: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits -> of 8: the whole range of 16 bits, and of floats the least of 1, 255
    and that which holds them."""
    values = np.asarray(picture, dtype=np.float32)
    most = float(values.max(where=np.isfinite(values), initial=0.0))
    values = np.nan_to_num(values, nan=0.0, posinf=most)
    tops = (1.0, 255.0, 65535.0) if picture.mode.startswith("F") else (65535.0,)
    top = next((top for top in tops if most <= top), most)
    return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Vectors:
    """Conditioning vectors of pictures. rows: (N, D) float16, unit length; encoder: its name and
    fingerprint."""

    rows: Tensor
    names: tuple[str, ...]
    encoder: dict[str, str]


def read_vectors(path: str | Path) -> Vectors:
    """A file that `lookalike embed` wrote: `vectors` (N, D), and in the metadata `names` (JSON),
    `model` and `fingerprint`. Raises DataError."""
    try:
        with safe_open(path, framework="pt") as file:
            about, rows = file.metadata() or {}, file.get_tensor("vectors")
        names = tuple(json.loads(about["names"]))
        encoder = {"name": about["model"], "fingerprint": about["fingerprint"]}
        if rows.ndim != 2 or len(rows) != len(names) or not len(rows):
            raise ValueError(f"{tuple(rows.shape)} vectors for {len(names)} names")
    except Exception as error:  # every way in which a file can be foreign
        raise DataError(
            f"{path} holds no vectors ({error}); make it with `lookalike embed DATA... -o FILE`"
        ) from error
    return Vectors(rows.half(), names, encoder)


def match(pictures: Pictures, vectors: Vectors) -> tuple[Pictures, Tensor]:
    """The pictures that have vectors, and those vectors (N, D). Raises DataError for none."""
    places = {name: i for i, name in enumerate(vectors.names)}
    if len(set(pictures.names)) < len(pictures):
        raise DataError("two pictures have the same name in their folders; vectors go by name")
    kept = [i for i, name in enumerate(pictures.names) if name in places]
    if not kept:
        raise DataError(
            f"no vector is named as a picture is: {vectors.names[0]!r} against "
            f"{pictures.names[0]!r}; give `lookalike embed` the same DATA"
        )
    rows = vectors.rows[[places[pictures.names[i]] for i in kept]]
    return (pictures if len(kept) == len(pictures) else pictures.only(kept)), rows


def to_unit(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1."""
    return images.float() / 127.5 - 1


def to_bytes(x: Tensor) -> Tensor:
    """-1..1 -> uint8 0..255, what lies beyond at the ends."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
