"""Pictures and vectors for training and evaluation, read from folders and zips into tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from statistics import median_low

import numpy as np
import torch
from torch import Tensor

from diffusion import files
from diffusion.errors import DataError
from diffusion.files import create_array
from diffusion.media.pool import DecoderPool
from diffusion.reading import read_json
from diffusion.sources import Entry, digest_entries, list_pictures
from diffusion.tensors import check_finite, read_header, read_tensors

MAX_HEADER = 100 * 2**20  # bytes of the names of vectors: what safetensors itself accepts
MAX_WIDTH = 65_536  # numbers of a vector
MAX_BESIDE = 2**28  # bytes of JSON beside pixels: some two million names
MEMORY = 2 * 2**30  # bytes of pixels that are kept in memory


@dataclass
class Pictures:
    """Square pictures with their names and labels.

    images: (N, 3, S, S) uint8. names: paths within the folder or zip.
    classes: names of the top-level folders. labels: (N,) int64, class of each picture, -1 for none.
    side: median short side of the original pictures in pixels.
    skipped: (name, reason) of each file that could not be read.
    other: how many files of other kinds there were, by kind.
    """

    images: Tensor
    names: list[str]
    labels: Tensor
    classes: tuple[str, ...]
    side: int
    skipped: list[tuple[str, str]] = field(default_factory=list)
    other: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def select(self, indices: Sequence[int]) -> Pictures:
        """Select pictures by their indices."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        names = [self.names[i] for i in indices]
        return replace(self, images=self.images[chosen], names=names, labels=self.labels[chosen])


def read_pictures(
    paths: Sequence[str | Path],
    size: int,
    cache: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Pictures:
    """Read the pictures of folders and zips in the order of their names.

    paths: folders and zips. The top-level folder of a picture is its class. Folders of training
        runs are left out.
    size: side in pixels. A picture is rotated by its EXIF orientation, put on white, and cropped
        to the square in its middle.
    cache: a folder for the pixels when they take more than MEMORY bytes. They are then mapped from
        a file there, and a second call with the same files does not decode again.
    on_progress: called with the number of decoded files, and of all files.

    A file that cannot be decoded is listed in `skipped`. Raises DataError if a path cannot be
    read, or if there is no picture, and DiffusionError if the cache cannot be written.
    """
    with DecoderPool() as pool:
        return _read(paths, size, cache, on_progress, pool)


def read_picture(path: str | Path, size: int) -> np.ndarray:
    """Read a picture of a file as `read_pictures` does. size: side in pixels. Returns
    (size, size, 3) uint8. Raises DataError when it cannot be decoded, and DiffusionError."""
    jobs = [Entry("", str(Path(path).absolute()), False, (0, 0)).job(size=size)]
    with DecoderPool(1) as pool:
        (decoded,) = pool.decode(jobs, (size, size, 3))
    if isinstance(decoded, str):
        raise DataError(f"{path} is not a picture that can be read: {decoded}")
    return decoded.pixels


def _read(
    paths: Sequence[str | Path],
    size: int,
    cache: Path | None,
    on_progress: Callable[[int, int], None] | None,
    pool: DecoderPool,
) -> Pictures:
    listing = list_pictures(paths, pool)
    shape = (len(listing.entries), 3, size, size)
    file = None
    if cache is not None and math.prod(shape) > MEMORY:
        file = PixelFile(cache / f"pixels-{size}.npy", listing.entries, shape)
        if (known := file.load()) is not None:
            return _label(*known, listing.other)
    images = np.empty(shape, np.uint8) if file is None else file.create()
    names, sides, skipped = list[str](), list[int](), list[tuple[str, str]]()
    jobs = [entry.job(size=size) for entry in listing.entries]
    for done, decoded in enumerate(pool.decode(jobs, (size, size, 3)), 1):
        name = listing.entries[done - 1].name
        if isinstance(decoded, str):
            skipped.append((name, decoded))
        else:
            images[len(names)] = decoded.pixels.transpose(2, 0, 1)
            names.append(name)
            sides.append(decoded.side)
        if on_progress is not None:
            on_progress(done, len(listing.entries))
    if not names:
        sources = ", ".join(str(path) for path in paths)
        reason = f" ({skipped[0][0]}: {skipped[0][1]})" if skipped else ""
        raise DataError(
            f"there is no picture that can be read in {sources}{reason}; give a folder or zip of "
            "pictures"
        )
    side = median_low(sides)
    if file is not None:
        file.finish(names, side, skipped)
    return _label(torch.from_numpy(images[: len(names)]), names, side, skipped, listing.other)


def _label(
    images: Tensor,
    names: list[str],
    side: int,
    skipped: list[tuple[str, str]],
    other: dict[str, int],
) -> Pictures:
    classes, labels = classes_of(names)
    return Pictures(images, names, labels, classes, side, skipped, other)


def classes_of(names: Sequence[str]) -> tuple[tuple[str, ...], Tensor]:
    """The first folders in the names, sorted, and (N,) int64 places among them; -1 for a name
    without a folder."""
    folders = [PurePosixPath(name).parts[0] if "/" in name else "" for name in names]
    classes = tuple(sorted(set(folders) - {""}))
    places = {name: i for i, name in enumerate(classes)} | {"": -1}
    return classes, torch.tensor([places[folder] for folder in folders])


class PixelFile:
    """Decoded pixels in a file that is mapped into memory, and beside it JSON that says of which
    files they are."""

    def __init__(self, path: Path, entries: Sequence[Entry], shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape
        self._key = digest_entries(entries)

    def load(self) -> tuple[Tensor, list[str], int, list[tuple[str, str]]] | None:
        """Pixels (N, 3, S, S), names, side and skipped files of an earlier call for the same
        files; None when there was none."""
        try:
            about = read_json(self._about_path, MAX_BESIDE)
            if about["key"] != self._key:
                return None
            names = [str(name) for name in about["names"]]
            skipped = [(str(name), str(reason)) for name, reason in about["skipped"]]
            images = files.map_array(self._path, self._shape, np.uint8)[: len(names)]
            return images, names, int(about["side"]), skipped
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def create(self) -> np.ndarray:
        """An array to write the pixels to. Raises DiffusionError when there is no room."""
        self._about_path.unlink(missing_ok=True)
        return create_array(self._path, self._shape, np.uint8)

    def finish(self, names: list[str], side: int, skipped: list[tuple[str, str]]) -> None:
        """Record that all pixels are written. Raises DiffusionError."""
        about = {"key": self._key, "names": names, "side": side, "skipped": skipped}
        files.write_json(self._about_path, about)

    @property
    def _about_path(self) -> Path:
        return self._path.with_suffix(".json")


@dataclass(frozen=True)
class Vectors:
    """Conditioning vectors of pictures.

    rows: (N, D) float16 of unit length. names: of the pictures. encoder: `name` and `fingerprint`
    of the encoder.
    """

    rows: Tensor
    names: tuple[str, ...]
    encoder: dict[str, str]


def read_vectors(path: str | Path) -> Vectors:
    """Read a file that `lookalike embed` wrote.

    It is a safetensors file with `vectors` (N, D), and with `names` (JSON), `model` and
    `fingerprint` in its metadata. Raises DataError for any other file.
    """
    try:
        header = read_header(path, MAX_HEADER)
        about, (count, width) = header.metadata, header.shapes["vectors"]
        names = tuple(json.loads(about["names"]))
        encoder = {"name": about["model"], "fingerprint": about["fingerprint"]}
        if count != len(names) or not count or not 1 <= width <= MAX_WIDTH:
            raise ValueError(f"{count} vectors of {width} numbers for {len(names)} names")
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a name is not a text")
        rows = read_tensors(path, ["vectors"])["vectors"].half()
        check_finite({"vectors": rows})
    except Exception as error:  # any JSON may be in the metadata
        raise DataError(
            f"{path} holds no vectors ({error}); make it with `lookalike embed DATA... -o FILE`"
        ) from error
    return Vectors(rows, names, encoder)


def match_vectors(pictures: Pictures, vectors: Vectors) -> tuple[Pictures, Tensor]:
    """Select the pictures that have vectors, and return them with their vectors (N, D).

    Raises DataError if there are none, or if two pictures have the same name.
    """
    places, rows = match_names(pictures.names, vectors)
    return (pictures if len(places) == len(pictures) else pictures.select(places)), rows


def match_names(names: Sequence[str], vectors: Vectors) -> tuple[list[int], Tensor]:
    """Places of the names that have vectors, and those vectors (N, D).

    Raises DataError if there are none, or if a name is there twice.
    """
    index = {name: i for i, name in enumerate(vectors.names)}
    if len(set(names)) < len(names):
        raise DataError(
            "two pictures have the same name in their folders, and vectors are matched by name; "
            "rename one of them"
        )
    places = [i for i, name in enumerate(names) if name in index]
    if not places:
        raise DataError(
            f"no picture has a vector: a vector is called {vectors.names[0]!r}, a picture "
            f"{names[0]!r}; give `lookalike embed` the same DATA"
        )
    return places, vectors.rows[[index[names[i]] for i in places]]


def to_unit(images: Tensor) -> Tensor:
    """Convert uint8 0..255 to float32 -1..1."""
    return images.float() / 127.5 - 1


def to_bytes(x: Tensor) -> Tensor:
    """Convert -1..1 to uint8 0..255; values outside are clamped."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
