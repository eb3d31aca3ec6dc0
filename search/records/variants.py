"""Variants of a picture, and augmented folders."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from search import files
from search.errors import StorageError
from search.files import shown
from search.records.indexing import Skip

if TYPE_CHECKING:
    from PIL.Image import Image

REGIMES: Mapping[str, float] = MappingProxyType({"near": 0.7, "same": 2.0, "concept": 80.0})
"""How far a variant may be from its query: the noise level sigma of each regime."""
SIGMAS = (0.0, 80.0)
"""Least and most sigma: the query itself, and pure noise, as with any larger sigma."""
MOST_STEM = 180  # bytes of a name that a variant's begins with
MOST_VARIANTS = 64
"""Most variants of one request."""
VARIANT_STARTS = ("picture", "neighbours")
"""What variants start from: the query, or the library's nearest other pictures."""
OWN_GENERATOR = "lookalike"
"""Name of the generator that is our diffusion model."""
VARIANT_SIZES = (64, 512)
"""Least and most pixels of the long side of a variant."""


def _shorten_stem(stem: str) -> str:
    """Shorten a stem so that a file name has at most 255 bytes; a hash replaces what is cut."""
    encoded = os.fsencode(stem)
    if len(encoded) <= MOST_STEM:
        return stem
    start = encoded[: MOST_STEM - 9].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def _move_unless_taken(partial: Path, path: Path) -> bool:
    """Move a file to a name unless it is taken; return whether the name has this content now."""
    try:
        os.link(partial, path)
    except OSError:  # the name is taken, or the disk has no links
        if path.exists():
            return path.read_bytes() == partial.read_bytes()
        os.replace(partial, path)
    return True


@dataclass(frozen=True)
class VariantSource:
    """The picture of the library that a variant started from. id: of the picture; path: of one
    present file."""

    id: str
    path: str

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `variants --json` prints it."""
        return {"id": self.id, "path": shown(self.path)}


@dataclass(frozen=True)
class Variant:
    """A picture made from a query.

    picture: RGB. seed: makes the same variant again. sigma: noise level at the start. similarity:
    cosine to the query in [-1, 1] under the library's model. accepted: whether it passed the
    acceptance test of its regime; always true when only one variant was requested. source: the
    neighbour that it started from; None when it started from the query.
    """

    picture: Image
    seed: int
    sigma: float
    similarity: float
    accepted: bool = True
    source: VariantSource | None = None

    def to_png(self) -> bytes:
        """Return the picture as a PNG file."""
        out = io.BytesIO()
        self.picture.save(out, "PNG")
        return out.getvalue()

    def save(self, folder: Path, stem: str, replace: bool = False) -> Path:
        """Write a PNG to a folder, named by a stem, the seed and the sigma; whole or not at all.

        replace: overwrite a file of that name. Otherwise another picture of that name stays, and
        the stem gets a number. Raises StorageError.
        """
        data = self.to_png()
        path, number = folder / self._file_name(stem), 1
        try:
            with files.open_partial(path) as partial:
                partial.write_bytes(data)
                if replace:
                    os.replace(partial, path)
                while not replace and not _move_unless_taken(partial, path):
                    number += 1
                    path = folder / self._file_name(f"{stem}-{number}")
        except OSError as error:
            raise StorageError(
                f"cannot write {shown(str(path))}: {error.strerror or error}; free some space or "
                "give another folder"
            ) from error
        return path

    def _file_name(self, stem: str) -> str:
        return f"{_shorten_stem(stem)}-seed{self.seed}-sigma{self.sigma:g}.png"

    def to_json(self) -> dict[str, Any]:
        """The fields that `variants --json` prints after the path."""
        return {
            "seed": self.seed,
            "sigma": self.sigma,
            "similarity": self.similarity,
            "accepted": self.accepted,
            "source": self.source and self.source.to_json(),
        }


@dataclass(frozen=True)
class Variants(Sequence[Variant]):
    """Variants of one query: the accepted ones, by seed, then the best of the rejected ones.

    seconds: of the whole request. drawn: number of candidates. passed: number of these variants
    that were accepted. A single variant is not tested: it is the one of its seed.
    """

    variants: tuple[Variant, ...]
    seconds: float
    drawn: int
    passed: int

    @overload
    def __getitem__(self, index: int) -> Variant: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Variant, ...]: ...
    def __getitem__(self, index: int | slice) -> Variant | tuple[Variant, ...]:
        return self.variants[index]

    def __len__(self) -> int:
        return len(self.variants)

    def __iter__(self) -> Iterator[Variant]:
        return iter(self.variants)


@dataclass(frozen=True)
class VariantProgress:
    """Progress of making variants: `done` of `total` steps; `total` may grow.

    pictures: previews in the order of the seeds, none at first. result: set in the last progress.
    phase: `draw`, or `fetch` while weights are downloaded; steps are then megabytes.
    """

    done: int
    total: int
    pictures: tuple[Image, ...] = ()
    result: Variants | None = None
    phase: Literal["draw", "fetch"] = "draw"


@dataclass(frozen=True)
class GeneratorInfo:
    """A generator that variants can be made with.

    name: as a request gives it. license: of its weights, or `unknown`. native_size: pixels of a
    side that it works at, None before its files are here.
    """

    name: str
    license: str
    native_size: int | None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON."""
        return asdict(self)


@dataclass(frozen=True)
class AugmentReport:
    """Result of a run of `augment`.

    pictures: source pictures. unchanged: of them, those that had their variants already. made:
    variants written by this run. removed: variants whose source picture is gone.
    """

    output: str
    pictures: int
    made: int
    unchanged: int
    removed: int = 0
    skipped: tuple[Skip, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `augment --json` prints it."""
        return {
            **asdict(self),
            "output": shown(self.output),
            "skipped": [skip.to_json() for skip in self.skipped],
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class AugmentProgress:
    """Progress of an augmentation: `done` of `total` source pictures.

    skipped: pictures that could not be read. report: set in the last one.
    """

    done: int
    total: int
    path: str | None = None
    skipped: int = 0
    report: AugmentReport | None = None
