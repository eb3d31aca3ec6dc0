"""A query and its terms; no I/O. Every interface builds the same `Query`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from search.errors import QueryError
from search.images import Crop
from search.records import shown

MAX_K = 10_000

Picture: TypeAlias = "str | PathLike[str] | bytes | Image.Image"
"""A path, a URL, `id:ID`, the bytes of a file, or a decoded picture."""


@dataclass(frozen=True)
class Term:
    """One part of a query: exactly one of image and vector.

    weight: how much it counts; negative to search away from it. crop: of the image, cut before
    scaling. vector: under the library's model, any length but zero.
    """

    image: Picture | None = None
    vector: tuple[float, ...] | None = None
    weight: float = 1.0
    crop: Crop | None = None

    def __post_init__(self) -> None:
        if (self.image is None) == (self.vector is None):
            raise QueryError("a term of a query is one of image and vector")
        if not math.isfinite(self.weight) or self.weight == 0:
            raise QueryError(f"weight {self.weight} of a term: give a finite number other than 0")
        if self.vector is not None and not all(map(math.isfinite, self.vector)):
            raise QueryError("a term's vector holds something that is not a finite number")
        if self.crop and self.identity:
            raise QueryError("a crop needs a file: for a picture of the library give its path")

    @property
    def identity(self) -> str | None:
        """The id, where the image is `id:ID`."""
        if isinstance(self.image, str) and self.image.startswith("id:"):
            return self.image[3:]
        return None

    @property
    def address(self) -> str | None:
        """The URL, where the image is one."""
        if isinstance(self.image, str) and self.image.lower().startswith(("http://", "https://")):
            return self.image
        return None

    def to_json(self, place: int) -> dict[str, Any]:
        """place: among the pictures that were given as data."""
        said: dict[str, Any] = {"weight": self.weight}
        if self.vector is not None:
            return {"vector": list(self.vector), **said}
        if self.crop:
            values = (self.crop.x, self.crop.y, self.crop.width, self.crop.height)
            pairs = zip(values, self.crop.shares, strict=True)
            said["crop"] = [f"{v * 100:g}%" if share else v for v, share in pairs]
        if isinstance(self.image, bytes | Image.Image):
            return {"image": place, **said}
        return {"image": shown(fspath(self.image)), **said}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Query:
    """What to look for. k: hits at most, 1..10000; min_score: cosine below which none are given."""

    terms: tuple[Term, ...]
    k: int = 10
    min_score: float | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise QueryError("a query needs at least one picture")
        if not 1 <= self.k <= MAX_K:
            raise QueryError(f"k is {self.k}; give 1 to {MAX_K}")
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise QueryError(f"min_score is {self.min_score}; give a cosine from -1 to 1")

    @classmethod
    def of(
        cls,
        image: Picture | Sequence[Picture] | None = None,
        *,
        vector: Sequence[float] | None = None,
        crop: Crop | Sequence[float | str] | None = None,
        k: int = 10,
        min_score: float | None = None,
    ) -> Query:
        """A query of one picture or several, which add up; a crop belongs to the only one."""
        if image is None:
            images: list[Picture] = []
        elif isinstance(image, Sequence) and not isinstance(image, str | bytes):
            images = list(image)
        else:
            images = [image]
        if crop is not None and len(images) != 1:
            raise QueryError("a crop goes with one picture; build a Query of Terms for several")
        box = crop if isinstance(crop, Crop) or crop is None else parse_crop(crop)
        terms = [Term(image=one, crop=box) for one in images]
        if vector is not None:
            terms.append(Term(vector=tuple(float(v) for v in vector)))
        return cls(tuple(terms), k, min_score)

    def to_json(self) -> dict[str, Any]:
        """The query as every interface spells it."""
        terms, place = [], 0
        for term in self.terms:
            terms.append(term.to_json(place))
            place += isinstance(term.image, bytes | Image.Image)
        return {"terms": terms, "k": self.k, "min_score": self.min_score}


def parse_crop(parts: str | Sequence[float | str]) -> Crop:
    """`X,Y,W,H` or four values; each is pixels, or a share such as `25%`.

    Raises QueryError for anything else.
    """
    given = parts.split(",") if isinstance(parts, str) else list(parts)
    values, shares = [], []
    try:
        for part in given:
            text = str(part).strip()
            shares.append(text.endswith("%"))
            values.append(float(text.rstrip("%")) / (100 if shares[-1] else 1))
        x, y, width, height = values
    except ValueError:
        raise QueryError(
            f"crop {parts!r}: give X,Y,W,H in pixels of the upright picture, or each as a share "
            "like 25%"
        ) from None
    if not all(map(math.isfinite, values)) or x < 0 or y < 0 or width <= 0 or height <= 0:
        raise QueryError(f"crop {parts!r}: X and Y begin at 0, W and H are above 0")
    return Crop(x, y, width, height, (shares[0], shares[1], shares[2], shares[3]))


def combine(vectors: np.ndarray[Any, Any], weights: Sequence[float]) -> np.ndarray[Any, Any]:
    """(n, dim) unit vectors, weighted and added, as one unit vector (dim,) float32.

    Raises QueryError when they cancel out.
    """
    total = np.asarray(weights, np.float32) @ np.asarray(vectors, np.float32)
    norm = float(np.linalg.norm(total))
    if norm < 1e-6:
        raise QueryError("the terms of the query cancel out; change their weights")
    return (total / norm).astype(np.float32)
