"""Reports on the quality of generated pictures against a reference, beside known baselines.

Distances can be compared only for the same encoder, reference and n. So every report has a floor,
held-out pictures as they are, and baselines, held-out pictures after a known degradation.
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
from torch import Tensor

from diffusion import files
from diffusion.data import to_unit
from diffusion.errors import CheckpointError, DataError
from diffusion.evaluation.distance import (
    Manifold,
    find_nearest,
    frechet,
    kid,
    moments,
    precision_recall,
)
from diffusion.plots import tile_pictures
from diffusion.reading import open_regular
from diffusion.tensors import read_header, read_tensors

Encode = Callable[[Tensor], Tensor]
"""(B, 3, H, W) uint8 -> (B, D) features."""

OnProgress = Callable[[int, int], None]
"""Called with the number of pictures that are encoded, and the number of all."""

BATCH = 50


def load_feature_encoder(path: str | Path, device: str = "cpu") -> Encode:
    """Load an encoder from a TorchScript file, such as the Inception network of published FIDs.

    The network gets (B, 3, H, W) uint8 and scales them itself. If it has an argument
    `return_features`, it is called with True. TorchScript contains code: give a file that you
    trust. device: a torch device. Raises CheckpointError.
    """
    try:
        open_regular(path).close()  # torch would wait for a named pipe
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # there is no other loader for the format
            net = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
        options = [argument.name for argument in net.forward.schema.arguments]
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a TorchScript file of a network: {error}; give a file that "
            "torch.jit.save wrote"
        ) from error
    extra = {"return_features": True} if "return_features" in options else {}

    def encode(pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = net(pictures.to(device), **extra)
        return features.flatten(1)

    return encode


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures with their features.

    images: (N, 3, S, S) uint8. features: (N, D) float32. digest: hash of the images.
    """

    images: Tensor
    features: Tensor
    digest: str

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the features, float64."""
        return moments(self.features)


@dataclass(frozen=True, eq=False)
class Row:
    """Scores of one set of pictures against the reference.

    what: description of the set. n: number of pictures.
    frechet, kid, precision, recall: see `diffusion.evaluation.distance`; precision and recall use n
        pictures of the reference. kid_error: standard error of kid.
    near: median distance to the nearest reference picture.
    places, distances: (n,) index and distance of each picture's nearest reference picture.
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


class Evaluator:
    """Evaluates sets of pictures by an encoder against a reference."""

    def __init__(
        self,
        encode: Encode,
        name: str,
        reference: Tensor,
        seed: int = 0,
        cache: Path | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> None:
        """Encode the reference. Raises DiffusionError.

        encode: the encoder. name: its name, unique for its features. reference: (N, 3, S, S) uint8.
        seed: of the blocks of KID and of the pictures for precision and recall. cache: a folder for
        features of real pictures, by encoder and content; None for no cache. on_progress: called
        after each batch that is encoded.
        """
        self.name, self.seed = name, seed
        self._encode, self._cache, self._on_progress = encode, cache, on_progress
        self._manifold = lru_cache(maxsize=1)(self._manifold_of)
        self.reference = self.encode(reference, keep=True)

    def encode(self, images: Tensor, keep: bool = False) -> Encoded:
        """Encode (N, 3, S, S) uint8 pictures, N at least 2. keep: use the cache.

        Raises DataError for another shape, or features of a wrong shape.
        """
        if images.ndim != 4 or images.dtype != torch.uint8 or len(images) < 2:
            raise DataError(
                f"the pictures have the shape {tuple(images.shape)} and dtype {images.dtype}; give "
                "(N, 3, S, S) of uint8, N at least 2"
            )
        digest = hashlib.sha256(images.contiguous().cpu().numpy().data).hexdigest()[:16]
        if not keep or self._cache is None:
            return Encoded(images, self._features(images), digest)
        about = {"encoder": self.name, "data": digest}
        key = hashlib.sha256(f"{self.name} {digest}".encode()).hexdigest()[:16]
        place = self._cache / f"features-{key}.safetensors"
        features = _read_cache(place, about)
        if features is None:
            features = self._features(images)
            files.write_tensors(place, {"features": features}, about)
        return Encoded(images, features, digest)

    def evaluate(self, what: str, images: Tensor, keep: bool = False) -> Row:
        """Evaluate (n, 3, S, S) uint8 pictures. Raises DataError for fewer than 20.

        what: description of the pictures. keep: use the cache for their features.
        """
        return self.evaluate_encoded(what, self.encode(images, keep))

    def evaluate_encoded(self, what: str, encoded: Encoded) -> Row:
        """Evaluate pictures that are encoded already; see `evaluate`."""
        real, n = self.reference, len(encoded.images)
        value, error = kid(encoded.features, real.features, self.seed)
        precision, recall = precision_recall(Manifold(encoded.features), self._manifold(n))
        places, distances = find_nearest(encoded.features, real.features)
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

    def evaluate_baselines(self, held: Tensor) -> list[Row]:
        """Evaluate held-out pictures as they are (the floor), and after two degradations.

        held: (n, 3, S, S) uint8 pictures that are not in the reference. The degradations are half
        size and back, and JPEG of quality 10.
        """
        side = held.shape[-1]
        return [
            self.evaluate("held out (floor)", held, keep=True),
            self.evaluate(f"through {side // 2} px", through_half_size(held), keep=True),
            self.evaluate("through JPEG q10", through_jpeg(held), keep=True),
        ]

    def _features(self, images: Tensor) -> Tensor:
        parts, done = [], 0
        for part in torch.split(images, BATCH):
            features = self._encode(part)
            if features.ndim != 2 or len(features) != len(part):
                raise DataError(
                    f"the encoder {self.name} returned {tuple(features.shape)} for {len(part)} "
                    f"pictures; give an encoder that returns ({len(part)}, D)"
                )
            parts.append(features.detach().float().cpu())
            self._on_progress(done := done + len(part), len(images))
        return torch.cat(parts)

    def _manifold_of(self, n: int) -> Manifold:
        features = self.reference.features
        generator = torch.Generator().manual_seed(self.seed)
        return Manifold(features[torch.randperm(len(features), generator=generator)[:n]])


@dataclass(frozen=True)
class Report:
    """Rows of one evaluator: generated pictures first, then the baselines, all of one n.

    reference: number of pictures and their digest. about: other facts, such as checkpoint, sampler
    and machine. Raises DataError when the rows differ in n.
    """

    rows: tuple[Row, ...]
    encoder: str
    reference: dict[str, Any]
    seed: int
    about: dict[str, Any]

    def __post_init__(self) -> None:
        if len({row.n for row in self.rows}) != 1:
            counts = ", ".join(f"{row.n} {row.what}" for row in self.rows)
            raise DataError(
                f"distances for different n cannot be compared: {counts}; give sets of one size"
            )

    @classmethod
    def from_rows(cls, evaluator: Evaluator, rows: list[Row], about: dict[str, Any]) -> Report:
        """Make a report of rows. Raises DataError when they differ in n."""
        real = evaluator.reference
        reference = {"pictures": len(real.images), "digest": real.digest}
        return cls(tuple(rows), evaluator.name, reference, evaluator.seed, about)

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object, without the places and distances of single pictures."""
        document = asdict(self)
        for row in document["rows"]:
            del row["places"], row["distances"]
        return document

    def table(self) -> str:
        """Format the report as a table of text."""
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
        facts = {**self.about, "seed": self.seed}
        lines.append(
            f"against {self.reference['pictures']} pictures ({self.reference['digest']}) under "
            f"{self.encoder}; " + ", ".join(f"{key} {value}" for key, value in facts.items())
        )
        return "\n".join(lines)


def split_held_out(count: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split the indices of `count` pictures at random into a reference and n held-out pictures.

    Returns both as ascending (N,) tensors, the reference first. Raises DataError unless n is from 1
    to half of count.
    """
    if not 0 < 2 * n <= count:
        raise DataError(
            f"cannot hold out {n} of {count} pictures; give 1 to {count // 2}, or more data"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[n:].sort().values, order[:n].sort().values


def draw_nearest_pairs(
    generated: Tensor, reference: Tensor, row: Row, count: int = 40
) -> Image.Image:
    """Draw generated pictures, each with its nearest reference picture on the right.

    generated, reference: (N, 3, S, S) uint8, the pictures of `row`. count: number of pairs, four in
    a line. The nearest pairs come first, so that copies of training pictures are at the top.
    """
    order = row.distances.argsort()[:count]
    pairs = torch.stack([generated[order], reference[row.places[order]]], dim=1).flatten(0, 1)
    return tile_pictures(to_unit(pairs), columns=8, scale=2)


def through_half_size(images: Tensor) -> Tensor:
    """Resize (N, 3, S, S) uint8 pictures to half their size and back, both bicubic."""

    def degrade(picture: Image.Image) -> Image.Image:
        small = (max(1, picture.width // 2), max(1, picture.height // 2))
        return picture.resize(small, CUBIC).resize(picture.size, CUBIC)

    return _map_pictures(images, degrade)


def through_jpeg(images: Tensor, quality: int = 10) -> Tensor:
    """Compress (N, 3, S, S) uint8 pictures as JPEG, and decode them. quality: 1 to 95."""

    def degrade(picture: Image.Image) -> Image.Image:
        picture.save(buffer := io.BytesIO(), "JPEG", quality=quality)
        return Image.open(buffer)

    return _map_pictures(images, degrade)


CUBIC = Image.Resampling.BICUBIC


def _map_pictures(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    rows = []
    for array in images.permute(0, 2, 3, 1).cpu().numpy():
        changed = change(Image.fromarray(array))
        data = torch.frombuffer(bytearray(changed.tobytes()), dtype=torch.uint8)
        rows.append(data.view(array.shape).permute(2, 0, 1))
    return torch.stack(rows)


def _read_cache(place: Path, about: dict[str, str]) -> Tensor | None:
    """Read features from the cache; None if they are missing, damaged, or of other pictures."""
    try:
        if read_header(place).metadata == about:
            return read_tensors(place)["features"]
    except Exception:  # missing or damaged; the features are computed again
        pass
    return None
