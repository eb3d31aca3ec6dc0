"""Hits of a search, and the evidence for them."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, overload

from search.errors import NotFoundError, PictureError
from search.files import shown
from search.records.likeness import count_alike
from search.records.words import Understood

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["identical", "copy", "similar"]
KINDS: tuple[Kind, ...] = ("identical", "copy", "similar")
"""The closest first."""
Verdict = Literal["edited", "photographed_again", "alike"]
VERDICTS: Mapping[Verdict, str] = MappingProxyType(
    {
        "edited": "the same picture",
        "photographed_again": "the same object, photographed again",
        "alike": "merely alike",
    }
)
"""What a comparison shows: code -> in words."""


def format_time(seconds: float) -> str:
    """Return a time of a film as `HH:MM:SS`."""
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


Outline = tuple[tuple[float, float], ...]
"""Corners of a picture in another one, as shares of the other's width and height."""


@dataclass(frozen=True)
class Evidence:
    """What a comparison of a hit with a picture of the query shows.

    verdict: `edited`, the same picture, perhaps changed; `photographed_again`, another photograph
    of the same object; `alike`, neither is proven. inliers: distinct points that lie in both as one
    transform says. matches: points that look the same and lie at most a quarter of the width from
    there, so also those of what moved between two frames of a film. agreement: share of the parts
    that lie on each other and show the same, 0 to 1.
    query_overlap, hit_overlap: shares of the query and of the hit that show what the other does, 0
    to 1. query_outline: the corners of the hit in the query, hit_outline: those of the query in the
    hit, as shares of width and height, from the upper left corner of the picture that they are of
    clockwise; a corner may be outside of 0 to 1. None if alike. mirrored: one shows the mirror
    image of the other. color_distance: mean CIEDE2000 of what lies on each other. cosine: of the
    vectors. term: place of the picture in the terms of the query, None if alike.
    """

    verdict: Verdict
    inliers: int = 0
    matches: int = 0
    agreement: float = 0.0
    query_overlap: float = 0.0
    hit_overlap: float = 0.0
    query_outline: Outline | None = None
    hit_outline: Outline | None = None
    mirrored: bool = False
    color_distance: float | None = None
    cosine: float | None = None
    term: int | None = None

    @property
    def overlap(self) -> float:
        """The larger share: 1 if one picture lies in the other whole."""
        return max(self.query_overlap, self.hit_overlap)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as a part of a hit."""
        digits = {"agreement": 3, "query_overlap": 4, "hit_overlap": 4, "color_distance": 2}
        fields = dict(vars(self))
        for name, count in digits.items():
            if fields[name] is not None:
                fields[name] = round(fields[name], count)
        for name in ("query_outline", "hit_outline"):
            if fields[name] is not None:
                fields[name] = [[round(v, 5) for v in corner] for corner in fields[name]]
        return fields

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evidence:
        """Return what `to_json` wrote."""
        fields = dict(document)
        for name in ("query_outline", "hit_outline"):
            if fields[name] is not None:
                fields[name] = tuple((x, y) for x, y in fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class Hit:
    """A picture that a search returned.

    id: SHA-256 of its bytes. path: one file, present and unchanged if any is; paths: all. score:
    cosine in [-1, 1] under the library's model; for a query that is a single known word, the
    probability that the model sees it, 0 to 1; None for a query of conditions alone. kind,
    probability: None where they were not computed. copies: ids of the pictures that were folded
    into this one. source: URL of the web page that shows it, None for pictures that are files.
    time: None for pictures that are files. low_content: the picture is
    blank, so that its score says nothing of likeness. favourite: somebody marked it so. evidence:
    of a search that verifies; None if the hit was not compared.
    """

    id: str
    path: str
    paths: tuple[str, ...]
    score: float | None
    kind: Kind | None
    probability: float | None
    width: int
    height: int
    tags: tuple[str, ...] = ()
    source: str | None = None
    time: float | None = None
    low_content: bool = False
    favourite: bool = False
    copies: tuple[str, ...] = ()
    evidence: Evidence | None = None

    @property
    def is_proven(self) -> bool:
        """Whether a comparison shows that it is the query's picture or object."""
        verdict = self.evidence.verdict if self.evidence else "alike"
        return self.kind in ("identical", "copy") or verdict != "alike"

    def format_score(self, digits: int = 3) -> str:
        """Return the score as text; empty for a hit of conditions alone, which has none."""
        return "" if self.score is None else f"{self.score:.{digits}f}"

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `search --json` prints it."""
        fields = vars(self)  # `asdict` would copy every value, a tenth of the time of an answer
        evidence = self.evidence and self.evidence.to_json()
        paths = {"path": shown(self.path), "paths": [shown(p) for p in self.paths]}
        return {**fields, **paths, "evidence": evidence}

    def open(self) -> Image:
        """Open the file as an upright RGB picture of full size.

        Raises NotFoundError when the file is gone, and PictureError when it is no picture any more.
        """
        from PIL import Image, ImageOps
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)  # as decoding does: this is for the process
        try:
            with Image.open(self.path) as file:
                return ImageOps.exif_transpose(file).convert("RGB")
        except FileNotFoundError as error:
            raise NotFoundError(f"{shown(self.path)} is gone; index its folder again") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise PictureError(f"{shown(self.path)} is not a picture: {error}") from error


@dataclass(frozen=True)
class PagePicture:
    """The main picture of a web page, which was taken since a URL of the query led to the page.

    term: place of the term in the query, from 0. page: URL of the page. picture: URL of the
    picture; None if it is in the page itself.
    """

    term: int
    page: str
    picture: str | None


class ThumbnailReader(Protocol):
    """Reads stored thumbnails."""

    def read(self, picture_id: str) -> bytes | None:
        """The WebP file of a picture, by its id; None when there is none."""
        ...


@dataclass(frozen=True)
class Hits(Sequence[Hit]):
    """The answer to a query: hits, best first, with the time of each stage in milliseconds.

    A slice is an answer with a part of the hits. In a notebook the hits are shown as a contact
    sheet.

    understood: how the texts were read, for a model that knows single words. low_content: a picture
    of the query is blank. pages: web pages whose main picture was taken.
    """

    hits: tuple[Hit, ...]
    model: str
    query: dict[str, Any]
    took_ms: dict[str, float]
    understood: tuple[Understood, ...] = ()
    low_content: bool = False
    pages: tuple[PagePicture, ...] = ()
    _thumbnails: ClassVar[ThumbnailReader | None] = None

    def with_thumbnails(self, thumbnails: ThumbnailReader) -> Hits:
        """Return the same hits with what their contact sheet shows."""
        hits = replace(self)
        vars(hits)["_thumbnails"] = thumbnails
        return hits

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        if isinstance(index, slice):
            part = replace(self, hits=self.hits[index])
            return part.with_thumbnails(self._thumbnails) if self._thumbnails else part
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    @property
    def alike(self) -> int | None:
        """How many hits come before the first that is less alike, see `count_alike`. None if none
        is, and for hits that are not in the order of their scores."""
        if self.query.get("sort") not in (None, "score") or self.query.get("offset"):
            return None
        least = self.understood[0].least_probability if len(self.understood) == 1 else None
        scores = [None if hit.low_content or hit.is_proven else hit.score for hit in self.hits]
        return count_alike(scores, least)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `search --json` prints it."""
        return {
            "query": self.query,
            "model": self.model,
            "took_ms": self.took_ms,
            "understood": [one.to_json() for one in self.understood],
            "low_content": self.low_content,
            "pages": [asdict(one) for one in self.pages],
            "alike": self.alike,
            "hits": [hit.to_json() for hit in self.hits],
        }

    def _repr_html_(self) -> str:
        """A contact sheet, as notebooks show it."""
        figures = []
        for hit in self.hits:
            data = self._thumbnails and self._thumbnails.read(hit.id)
            name = html.escape(shown(os.path.basename(hit.path)))
            score = hit.format_score()
            source = f"data:image/webp;base64,{base64.b64encode(data).decode()}" if data else ""
            picture = f'<img src="{source}" alt="" style="max-width:100%;max-height:130px">'
            figures.append(
                '<figure style="width:140px;margin:4px;text-align:center;font-size:11px" '
                f'title="{html.escape(shown(hit.path))}">{picture if data else ""}'
                f"<figcaption>{score} {name}</figcaption></figure>"
            )
        return f'<div style="display:flex;flex-wrap:wrap">{"".join(figures)}</div>'
