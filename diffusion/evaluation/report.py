"""How good made pictures are: against a reference, beside pictures whose quality is known.

A distance means something only beside others of the same encoder, reference and n. So every report
has a floor, held-out pictures as they are, and yardsticks, the same ones after a known harm.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from diffusion import files
from diffusion.data import to_unit
from diffusion.errors import CheckpointError, DataError
from diffusion.evaluation.distance import Manifold, frechet, kid, moments, nearest, precision_recall
from diffusion.plots import tiled

Encode = Callable[[Tensor], Tensor]
"""(B, 3, H, W) uint8 -> (B, D) features."""

Told = Callable[[int, int], None]
"""Called with how many pictures are encoded, of how many."""

BATCH = 50


def load_features(path: str | Path, device: str = "cpu") -> Encode:
    """An encoder from a TorchScript file, such as the Inception network that Frechet distances
    are published with.

    It gets (B, 3, H, W) uint8 and scales them itself; what has an option `return_features` is
    called with it. TorchScript is a program: give a file that you trust. Raises CheckpointError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # nothing newer opens such files
            net = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
        options = [argument.name for argument in net.forward.schema.arguments]
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is no TorchScript file of a network: {error}") from error
    said = {"return_features": True} if "return_features" in options else {}

    def encode(pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = net(pictures.to(device), **said)
        return features.flatten(1)

    return encode


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures under an encoder. images: (N, 3, S, S) uint8. features: (N, D) float32. digest: of
    the images."""

    images: Tensor
    features: Tensor
    digest: str

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the features, float64."""
        return moments(self.features)


@dataclass(frozen=True, eq=False)
class Row:
    """One set of pictures against the reference.

    what: in words. n: how many. frechet, kid, precision, recall: as in
    `diffusion.evaluation.distance`, precision and recall against n pictures of the
    reference. kid_error: standard error. places, distances: the nearest of all reference pictures
    for each, (n,). near: the median distance.
    """

    what: str
    n: int
    frechet: float
    kid: float
    kid_error: float
    precision: float
    recall: float
    near: float
    places: Tensor = field(repr=False)
    distances: Tensor = field(repr=False)


class Measure:
    """An encoder and a reference, which sets of pictures are measured by."""

    def __init__(
        self,
        encode: Encode,
        name: str,
        reference: Tensor,
        seed: int = 0,
        cache: Path | None = None,
        told: Told = lambda done, total: None,
    ) -> None:
        """name: of the encoder, another one for other features. reference: (N, 3, S, S) uint8.
        seed: draws KID's blocks and the reference of precision and recall. cache: a folder in which
        features of real pictures are kept, by encoder and content. Raises DiffusionError."""
        self.name, self.seed = name, seed
        self._encode, self._cache, self._told = encode, cache, told
        self._manifold = lru_cache(maxsize=1)(self._manifold_of)
        self.reference = self.encoded(reference, keep=True)

    def encoded(self, images: Tensor, keep: bool = False) -> Encoded:
        """Pictures with their features. keep: in the cache, or from it."""
        if images.ndim != 4 or images.dtype != torch.uint8 or len(images) < 2:
            raise DataError(
                f"pictures {tuple(images.shape)} of {images.dtype}: give at least 2, (N, 3, S, S) "
                "of uint8"
            )
        digest = hashlib.sha256(images.contiguous().cpu().numpy().data).hexdigest()[:16]
        if not keep or self._cache is None:
            return Encoded(images, self._features(images), digest)
        about = {"encoder": self.name, "data": digest}
        key = hashlib.sha256(f"{self.name} {digest}".encode()).hexdigest()[:16]
        place = self._cache / f"features-{key}.safetensors"
        features = _read(place, about)
        if features is None:
            features = self._features(images)
            files.write_tensors(place, {"features": features}, about)
        return Encoded(images, features, digest)

    def row(self, what: str, images: Tensor, keep: bool = False) -> Row:
        """(n, 3, S, S) uint8 against the reference. Raises DataError for fewer than 20."""
        return self.compare(what, self.encoded(images, keep))

    def compare(self, what: str, encoded: Encoded) -> Row:
        """As `row`, of pictures that are encoded already."""
        real, n = self.reference, len(encoded.images)
        value, error = kid(encoded.features, real.features, self.seed)
        precision, recall = precision_recall(Manifold(encoded.features), self._manifold(n))
        places, distances = nearest(encoded.features, real.features)
        return Row(
            what,
            n,
            frechet(encoded.moments, real.moments),
            value,
            error,
            precision,
            recall,
            float(distances.median()),
            places,
            distances,
        )

    def yardsticks(self, held: Tensor) -> list[Row]:
        """Pictures that are not in the reference: as they are, which is the floor; through half
        their size and back; through JPEG of quality 10."""
        side = held.shape[-1]
        return [
            self.row("held out (floor)", held, keep=True),
            self.row(f"through {side // 2} px", halved(held), keep=True),
            self.row("through JPEG q10", jpeg(held), keep=True),
        ]

    def _features(self, images: Tensor) -> Tensor:
        parts, done = [], 0
        for part in torch.split(images, BATCH):
            features = self._encode(part)
            if features.ndim != 2 or len(features) != len(part):
                raise DataError(
                    f"the encoder {self.name} makes {tuple(features.shape)} of {len(part)} "
                    f"pictures: expected ({len(part)}, D)"
                )
            parts.append(features.detach().float().cpu())
            self._told(done := done + len(part), len(images))
        return torch.cat(parts)

    def _manifold_of(self, n: int) -> Manifold:
        features = self.reference.features
        generator = torch.Generator().manual_seed(self.seed)
        return Manifold(features[torch.randperm(len(features), generator=generator)[:n]])


@dataclass(frozen=True)
class Report:
    """Rows of one measure, made pictures first, then the yardsticks, all of one n.

    reference: how many pictures, and their digest. about: what else is to be known: checkpoint,
    sampler, machine.
    """

    rows: tuple[Row, ...]
    encoder: str
    reference: dict[str, Any]
    seed: int
    about: dict[str, Any]

    def __post_init__(self) -> None:
        if len({row.n for row in self.rows}) != 1:
            counts = ", ".join(f"{row.n} {row.what}" for row in self.rows)
            raise DataError(f"distances of different n do not compare: {counts}; give one n")

    @classmethod
    def of(cls, measure: Measure, rows: list[Row], about: dict[str, Any]) -> Report:
        """The report of some rows. Raises DataError when they differ in n."""
        real = measure.reference
        said = {"pictures": len(real.images), "digest": real.digest}
        return cls(tuple(rows), measure.name, said, measure.seed, about)

    def to_json(self) -> dict[str, Any]:
        """Without the places and distances of single pictures."""
        document = asdict(self)
        for row in document["rows"]:
            del row["places"], row["distances"]
        return document

    def table(self) -> str:
        """As text."""
        width = max(len(row.what) for row in self.rows)
        lines = [
            f"{'':<{width}}{'n':>7}{'Fréchet':>10}{'KID x 1000':>16}{'precision':>11}"
            f"{'recall':>8}{'nearest':>9}"
        ]
        for row in self.rows:
            spread = f"{1000 * row.kid:.2f} ± {1000 * row.kid_error:.2f}"
            lines.append(
                f"{row.what:<{width}}{row.n:>7}{row.frechet:>10.2f}{spread:>16}"
                f"{row.precision:>11.3f}{row.recall:>8.3f}{row.near:>9.2f}"
            )
        said = {**self.about, "seed": self.seed}
        lines.append(
            f"against {self.reference['pictures']} pictures ({self.reference['digest']}) under "
            f"{self.encoder}; " + ", ".join(f"{key} {value}" for key, value in said.items())
        )
        return "\n".join(lines)


def held_out(count: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Places of `count` pictures -> those of a reference, and of n that are kept out of it, both
    ascending. Raises DataError when less than half would be left."""
    if not 0 < 2 * n <= count:
        raise DataError(
            f"{n} of {count} pictures held out: that is more than half; give fewer, or more data"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[n:].sort().values, order[:n].sort().values


def sheet(made: Tensor, reference: Tensor, row: Row, count: int = 40) -> Image.Image:
    """Made pictures, each with the nearest of the reference on its right, four pairs a line.

    made, reference: uint8, as they were measured. The nearest pairs are first: copies, if there
    are any, are at the top.
    """
    order = row.distances.argsort()[:count]
    pairs = torch.stack([made[order], reference[row.places[order]]], dim=1).flatten(0, 1)
    return tiled(to_unit(pairs), columns=8, scale=2)


def halved(images: Tensor) -> Tensor:
    """(N, 3, S, S) uint8 through half the size and back, both bicubic."""

    def harm(picture: Image.Image) -> Image.Image:
        small = (max(1, picture.width // 2), max(1, picture.height // 2))
        return picture.resize(small, CUBIC).resize(picture.size, CUBIC)

    return _each(images, harm)


def jpeg(images: Tensor, quality: int = 10) -> Tensor:
    """(N, 3, S, S) uint8 through JPEG."""

    def harm(picture: Image.Image) -> Image.Image:
        picture.save(buffer := io.BytesIO(), "JPEG", quality=quality)
        return Image.open(buffer)

    return _each(images, harm)


CUBIC = Image.Resampling.BICUBIC


def _each(images: Tensor, harm: Callable[[Image.Image], Image.Image]) -> Tensor:
    rows = []
    for array in images.permute(0, 2, 3, 1).cpu().numpy():
        harmed = harm(Image.fromarray(array))
        data = torch.frombuffer(bytearray(harmed.tobytes()), dtype=torch.uint8)
        rows.append(data.view(array.shape).permute(2, 0, 1))
    return torch.stack(rows)


def _read(place: Path, about: dict[str, str]) -> Tensor | None:
    """Features from the cache, if they are there and whole."""
    try:
        with safe_open(place, framework="pt") as file:
            if file.metadata() == about:
                found: Tensor = file.get_tensor("features")
                return found
    except Exception:  # missing or damaged: it is only a cache
        pass
    return None
