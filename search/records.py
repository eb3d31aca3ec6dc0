"""Records that the engine takes and returns."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import EllipsisType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, overload

from search import files
from search.errors import (
    NotFoundError,
    PictureError,
    QueryError,
    StorageError,
    UnknownFieldError,
)

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
Outline = tuple[tuple[float, float], ...]
"""Corners of a picture in another one, as shares of the other's width and height."""
REGIMES: Mapping[str, float] = MappingProxyType({"near": 0.7, "same": 2.0, "concept": 80.0})
"""How far a variant may be from its query: the noise level sigma of each regime."""
SIGMAS = (0.0, 80.0)
"""Least and most sigma: the query itself, and pure noise, as with any larger sigma."""
MOST_STEM = 180  # bytes of a name that a variant's begins with
MOST_VARIANTS = 64
"""Most variants of one request."""
VARIANT_STARTS = ("picture", "neighbours")
"""What variants start from: the query, or the library's nearest other pictures."""
VARIANT_SIZES = (64, 512)
"""Least and most pixels of the long side of a variant."""


def shown(path: str) -> str:
    """Convert a file system path to text. Bytes that are not UTF-8 become \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Label:
    """What a model sees in a picture. score: its probability, 0 to 1."""

    name: str
    score: float


@dataclass(frozen=True)
class Metadata:
    """Metadata of a picture, read from its file and pixels.

    type: `jpeg`, `png`, ...; width, height: pixels of the upright original; bytes: file size.
    taken: local time as `YYYY-MM-DDTHH:MM:SS`; latitude, longitude: degrees, north and east
    positive. palette: up to five colours `#rrggbb`, most frequent first. palette_shares: how much
    of the picture each of them covers, 0 to 1. exif: tag name -> value.
    truncated: the end of its pixels, at most 5 % of its rows, is missing.
    """

    type: str
    width: int
    height: int
    bytes: int
    taken: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    palette: tuple[str, ...] = ()
    exif: dict[str, str | int | float] = field(default_factory=dict)
    truncated: bool = False
    palette_shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture of the library.

    id: SHA-256 of its bytes. path: one present file, paths: all. annotations: what people and files
    say of it, tags: its tags of these; labels: what the library's model sees in it, with
    probabilities, most probable first.
    low_content: it is blank, black, white or of one other colour. decode_rule: the version of the
    rule by which it was decoded. original_name, source_url: of an upload, the name of its file and
    the URL that it was fetched from. has_text: whether text was read in it; None if it was not read
    yet.
    """

    id: str
    path: str
    paths: tuple[str, ...]
    metadata: Metadata
    tags: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()
    low_content: bool = False
    decode_rule: int = 0
    original_name: str | None = None
    source_url: str | None = None
    has_text: bool | None = None
    annotations: Annotations = field(default_factory=lambda: Annotations())

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/{id}` answers."""
        paths = {"path": shown(self.path), "paths": [shown(p) for p in self.paths]}
        lists = {name: list(getattr(self.metadata, name)) for name in ("palette", "palette_shares")}
        metadata = {**asdict(self.metadata), **lists}
        seen = {"labels": [asdict(label) for label in self.labels], "low_content": self.low_content}
        origins = {"original_name": self.original_name, "source_url": self.source_url}
        more = {**seen, **origins, "has_text": self.has_text}
        return {"id": self.id, **paths, **metadata, **self.annotations.to_json(), **more}


@dataclass(frozen=True)
class KeptPicture(Picture):
    """A picture that the library was given. is_new: a file was written, since the library did not
    have the picture."""

    is_new: bool = False


SORT_KEYS = ("score", "date", "name", "size", "folder", "color", "added")
"""What pictures can be sorted by."""


@dataclass(frozen=True)
class Sort:
    """An order of pictures. key: of `SORT_KEYS`. reverse: from the greatest value down; for
    `score`, from the least up. Pictures without a value come last."""

    key: str
    reverse: bool = False

    def __str__(self) -> str:
        return f"-{self.key}" if self.reverse else self.key

    @classmethod
    def parse(cls, text: str) -> Sort:
        """Parse a key, with `-` before it for the reverse order. Raises UnknownFieldError."""
        key = text.removeprefix("-")
        if key not in SORT_KEYS:
            near = get_close_matches(key, SORT_KEYS, 1, 0.5)
            advice = f"did you mean {near[0]}? " if near else ""
            raise UnknownFieldError(
                f"there is no sort key {key[:100]!r}; {advice}Give one of {', '.join(SORT_KEYS)}, "
                "or one with a minus for the reverse order, such as -date"
            )
        return cls(key, text.startswith("-"))


@dataclass(frozen=True)
class Page:
    """A page of the library's pictures. page: from 1. total: pictures in all. next: the cursor of
    the page after it; None after the last."""

    page: int
    pages: int
    total: int
    pictures: tuple[Picture, ...]
    next: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images` answers."""
        counts = {"page": self.page, "pages": self.pages, "total": self.total, "next": self.next}
        return {**counts, "images": [picture.to_json() for picture in self.pictures]}


@dataclass(frozen=True)
class Facet:
    """A value that pictures have. where: the condition that selects them."""

    value: str
    count: int
    where: str


@dataclass(frozen=True)
class Facets:
    """How many pictures have each value of some fields, most first. total: pictures in all. fields:
    by name; `month` and `year` are in their own order, newest first."""

    total: int
    fields: dict[str, tuple[Facet, ...]]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/facets` answers."""
        values = {
            name: [{**vars(one), "value": shown(one.value)} for one in facets]
            for name, facets in self.fields.items()
        }
        return {"total": self.total, "fields": values}


@dataclass(frozen=True)
class Month:
    """How many pictures were taken in a month. month: `YYYY-MM`, or None for no date."""

    month: str | None
    count: int


@dataclass(frozen=True)
class FolderCount:
    """A folder with pictures. path: absolute. count: of the pictures in it and below. folders:
    whether there are folders with pictures in it."""

    path: str
    count: int
    folders: bool

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/folders` answers."""
        return {**vars(self), "path": shown(self.path)}


class Bounds(NamedTuple):
    """A part of the map, in degrees. East is at least west; across the meridian of 180 degrees it
    is above 180, or west is below -180."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def parse(cls, text: str) -> Bounds:
        """Parse `WEST,SOUTH,EAST,NORTH`. Raises QueryError."""
        try:
            west, south, east, north = (float(part) for part in text.split(","))
        except ValueError:
            raise QueryError(
                f"bounds={text[:100]}: write WEST,SOUTH,EAST,NORTH in degrees"
            ) from None
        return cls(west, south, east, north)


WORLD = Bounds(-180.0, -90.0, 180.0, 90.0)
MOST_CELLS = 64
"""Cells of a map from west to east at most."""


@dataclass(frozen=True)
class PlaceGroup:
    """Pictures that were taken near each other.

    latitude, longitude: their mean, in degrees. west, south, east, north: their bounds. Longitudes
    are within the bounds that were asked for, so they may be above 180 or below -180. pictures: how
    many. id: of the one that was added last.
    """

    latitude: float
    longitude: float
    west: float
    south: float
    east: float
    north: float
    pictures: int
    id: str


SKIP_CODES: Mapping[str, str] = MappingProxyType(
    {
        "not_a_picture": "not a picture, or a damaged one",
        "picture_too_large": "beyond a limit of the settings",
        "decode_timeout": "decoding took too long; it is tried again later",
        "decode_failed": "a decoding process ended or ran out of memory on it",
        "file_unreadable": "the system refused to read the file",
        "folder_unreadable": "the system refused to list the folder",
        "file_changed": "changed while it was indexed; the next run reads it",
        "source_denied": "object storage denied it",
        "source_missing": "there is no such bucket, folder or object",
        "source_unavailable": "object storage gives no answer",
    }
)
"""Why files are skipped: stable code -> meaning."""


@dataclass(frozen=True)
class Skip:
    """A file or folder that was skipped, and why. code: a key of `SKIP_CODES`."""

    path: str
    reason: str
    code: str

    def to_json(self) -> dict[str, str | None]:
        """Convert to JSON, as in reports."""
        return {"path": shown(self.path), "reason": shown(self.reason), "code": self.code}


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add counts by kind."""
    total = Counter[str]()
    for one in counts:
        total.update(one)
    return dict(total)


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    confidence: that it is read right, 0 to 1. box: its four corners from the upper left one on
    clockwise, as the text runs; x and y are shares of the width and height of the upright picture.
    """

    text: str
    confidence: float
    box: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `text --json` prints it."""
        return asdict(self) | {"box": [list(corner) for corner in self.box]}


@dataclass(frozen=True)
class PictureText:
    """What is written in a picture: its lines, from top to bottom.

    model: fingerprint of what read it; None if it was not read yet. failed: why it could not be
    read, a key of `SKIP_CODES`.
    """

    lines: tuple[TextLine, ...] = ()
    model: str | None = None
    failed: str | None = None

    @property
    def text(self) -> str:
        """The lines, separated by newlines."""
        return "\n".join(line.text for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/{id}/text` answers."""
        lines = [line.to_json() for line in self.lines]
        return {"lines": lines, "model": self.model, "failed": self.failed}


@dataclass(frozen=True)
class TextReport:
    """What one run of reading text did. read: pictures; with_text: of them, those with text.
    characters: in all. pending: pictures that are still to be read."""

    read: int = 0
    with_text: int = 0
    characters: int = 0
    pending: int = 0
    skipped: tuple[Skip, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as in `index --json`."""
        skipped = [skip.to_json() for skip in self.skipped]
        return {**asdict(self), "skipped": skipped, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class TextProgress:
    """Progress of reading text: `done` of `total` pictures. report: set in the last one."""

    done: int
    total: int
    path: str | None = None
    report: TextReport | None = None


@dataclass(frozen=True)
class TextStatus:
    """How far the text in pictures is read.

    enabled: by the setting `ocr`. installed: the extra `ocr` is; install: the command that installs
    it, None if it is or if that is nobody's business. read: pictures, of which with_text have text
    and failed could not be read. pending: pictures that are still to be read.
    """

    enabled: bool = True
    installed: bool = True
    install: str | None = None
    read: int = 0
    with_text: int = 0
    failed: int = 0
    pending: int = 0


@dataclass(frozen=True)
class IndexReport:
    """What one sync did. Counts are files, but for `embedded` (vectors computed by this run) and
    `pictures` (in the library now). `offline`: files kept although they could not be looked at.
    `left_out`: files that are not read, by kind, as docs/files.md lists them."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    offline: int = 0
    embedded: int = 0
    pictures: int = 0
    skipped: tuple[Skip, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, later: IndexReport) -> IndexReport:
        """Add the report of a later sync."""
        counts = ("added", "changed", "moved", "removed", "unchanged", "offline", "embedded")
        total = {name: getattr(self, name) + getattr(later, name) for name in counts}
        return IndexReport(
            **total,
            pictures=later.pictures,
            skipped=self.skipped + later.skipped,
            left_out=add_counts([self.left_out, later.left_out]),
            seconds=self.seconds + later.seconds,
        )

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `index --json` prints it."""
        return {
            **asdict(self),
            "skipped": [skip.to_json() for skip in self.skipped],
            "seconds": round(self.seconds, 3),
        }


Phase = Literal[
    "fetch", "scan", "index", "embed", "draw", "finish", "copy", "text", "calibrate", "compare"
]


@dataclass(frozen=True)
class Progress:
    """Progress of a sync: `done` of `total` files, megabytes of a model that is fetched, rows of a
    catalog that is copied, or pictures of a calibration. In the phase `scan`, `done` pictures are
    listed so far, and `total` is 0.

    report: set in the last one.
    """

    phase: Phase
    done: int
    total: int
    path: str | None = None
    report: IndexReport | None = None


@dataclass(frozen=True)
class Evidence:
    """What a comparison of a hit with a picture of the query shows.

    verdict: `edited`, the same picture, perhaps changed; `photographed_again`, another photograph
    of the same object; `alike`, neither is proven. inliers: distinct points that lie in both as one
    transform says. agreement: share of the parts that lie on each other and show the same, 0 to 1.
    query_overlap, hit_overlap: shares of the query and of the hit that show what the other does, 0
    to 1. query_outline: the corners of the hit in the query, hit_outline: those of the query in the
    hit, as shares of width and height, from the upper left corner of the picture that they are of
    clockwise; a corner may be outside of 0 to 1. None if alike. mirrored: one shows the mirror
    image of the other. color_distance: mean CIEDE2000 of what lies on each other. cosine: of the
    vectors.
    """

    verdict: Verdict
    inliers: int = 0
    agreement: float = 0.0
    query_overlap: float = 0.0
    hit_overlap: float = 0.0
    query_outline: Outline | None = None
    hit_outline: Outline | None = None
    mirrored: bool = False
    color_distance: float | None = None
    cosine: float | None = None

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
    into this one. source, time: None for pictures that are files. low_content: the picture is
    blank, so that its score says nothing of likeness. evidence: of a search that verifies; None if
    the hit was not compared.
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
    copies: tuple[str, ...] = ()
    evidence: Evidence | None = None

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


UNLIKELY = 0.2  # probability below which a picture is taken not to show a word
ADVICE = {
    "unknown_words": "to search by any words, change to a CLIP model: run `lookalike --model "
    "ViT-B-32 index FOLDER`",
    "word_in_no_picture": "no picture is seen to show {words}; these are the least unlikely ones. "
    f"Give --min-score {UNLIKELY:g} to leave them out",
}
"""Advice on a text, by code."""


@dataclass(frozen=True)
class Understood:
    """How a text of a query was understood.

    words: the known words in it. names: its other words that are in the full text of a picture:
    names of files and folders, tags, captions and text in it.
    labels: its other words that are labels of pictures. unknown: the rest. suggestions: known words
    that are written alike or mean more. advice_code: a key of `ADVICE`, or None.
    """

    text: str
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    advice_code: str | None = None

    @property
    def advice(self) -> str | None:
        """What to do if words are unknown, or no picture shows the word."""
        if self.advice_code is None:
            return None
        return ADVICE[self.advice_code].format(words=", ".join(self.words))

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `search --json` prints it."""
        return {**asdict(self), "advice": self.advice}


@dataclass(frozen=True)
class KnownWord:
    """A word to search by. also: its other names. precision: share of right pictures among the
    first ten, 0 to 1, as measured on labelled pictures."""

    word: str
    also: tuple[str, ...]
    precision: float


@dataclass(frozen=True)
class Words:
    """Words that a model can search by. any_words: it takes any words, so that none are listed.
    total: how many it knows in all."""

    model: str
    words: tuple[KnownWord, ...] = ()
    total: int = 0
    any_words: bool = False

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `words --json` prints it."""
        return asdict(self)


SuggestionKind = Literal[
    "tag", "album", "folder", "word", "label", "date", "camera", "lens", "field", "value"
]


@dataclass(frozen=True)
class Suggestion:
    """What a query may go on with. text: as it is shown. insert: what takes the place of what was
    typed. count: of pictures; None where they are not counted."""

    kind: SuggestionKind
    text: str
    insert: str
    count: int | None = None


@dataclass(frozen=True)
class Suggestions:
    """Suggestions, by kind and in each kind the most frequent first."""

    suggestions: tuple[Suggestion, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `GET /suggest` answers."""
        return asdict(self)


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

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `search --json` prints it."""
        return {
            "query": self.query,
            "model": self.model,
            "took_ms": self.took_ms,
            "understood": [one.to_json() for one in self.understood],
            "low_content": self.low_content,
            "pages": [asdict(one) for one in self.pages],
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


@dataclass(frozen=True)
class RootStatus:
    """An indexed folder, `online` or `offline`, and its number of files.

    left_out: files that are not read, by kind, when it was last listed. exclude: globs of files
    that are left out. sync_hours: a server syncs it every so many hours, 0 for never, None as it
    changes.
    """

    path: str
    state: Literal["online", "offline"]
    files: int
    left_out: dict[str, int] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    sync_hours: int | None = None


class FolderGlance(NamedTuple):
    """A folder at a glance. pictures: files directly in it whose names are those of pictures.
    has_more: it has more entries than were looked at. is_left_out: a sync leaves it out."""

    pictures: int
    has_more: bool
    is_left_out: bool


class LeftOutFile(NamedTuple):
    """A file that is not read. kind: as reports count them, such as `raw` or `film`."""

    path: str
    kind: str


@dataclass(frozen=True)
class LeftOut:
    """Files of a folder that cannot be found by search. skipped: pictures that could not be read.
    left_out: files that are not read, by their kind. has_more: there are more than are listed."""

    skipped: tuple[Skip, ...] = ()
    left_out: tuple[LeftOutFile, ...] = ()
    has_more: bool = False

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/folders/left-out` answers."""
        return {
            "skipped": [skip.to_json() for skip in self.skipped],
            "left_out": [{"path": shown(one.path), "kind": one.kind} for one in self.left_out],
            "has_more": self.has_more,
        }


@dataclass(frozen=True)
class SpaceStatus:
    """A model that the library answers with. embedded: pictures with a vector of it."""

    name: str
    fingerprint: str
    embedded: int


@dataclass(frozen=True)
class Status:
    """State of a library. embedded: pictures with a vector under the library's model. left_out:
    files of all folders that are not read, by kind. spaces: all models that it answers with, its
    own first. catalog: the URL of its database without the password; None for a file in `home`.
    backend: what runs the model, or None without one. texts: how far text in pictures is read."""

    home: str
    model: str | None
    fingerprint: str | None
    pictures: int
    embedded: int
    files: int
    roots: tuple[RootStatus, ...]
    index: dict[str, Any]
    version: str
    left_out: dict[str, int] = field(default_factory=dict)
    spaces: tuple[SpaceStatus, ...] = ()
    catalog: str | None = None
    backend: str | None = None
    texts: TextStatus = TextStatus()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `status --json` prints it."""
        roots = [
            {**asdict(r), "path": shown(r.path), "exclude": [shown(one) for one in r.exclude]}
            for r in self.roots
        ]
        spaces = [asdict(space) | {"name": shown(space.name)} for space in self.spaces]
        return {**asdict(self), "home": shown(self.home), "roots": roots, "spaces": spaces}


@dataclass(frozen=True)
class BackupReport:
    """A backup. path: of its file. kept: number of pictures in it that the library keeps. bytes:
    size of the file."""

    path: str
    kept: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `backup --json` prints it."""
        return asdict(self) | {"path": shown(self.path)}


class JobRecord(NamedTuple):
    """A job of a server, as all servers of the library see it.

    state: queued, running, done, failed or cancelled. created: in seconds since 1970. version:
    grows with every change. document: what `/jobs/{id}` answers.
    """

    id: str
    kind: str
    state: str
    created: float
    version: int
    document: dict[str, Any]

    @property
    def over(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state not in ("queued", "running")

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `/jobs/{id}`."""
        return self.document


Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = ("read", "write", "admin")
"""What a token may do on a server; each role includes those before it."""


@dataclass(frozen=True)
class Token:
    """The right of a user of a server; the token itself is stored nowhere.

    digest: SHA-256 of the token, in hexadecimal digits. collections: paths of the indexed folders
    that it is for; None for the whole library. created: in seconds since 1970.
    """

    name: str
    role: Role
    digest: str
    collections: tuple[str, ...] | None = None
    created: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `token list --json` prints it."""
        collections = self.collections and [shown(path) for path in self.collections]
        return {
            "name": self.name,
            "role": self.role,
            "collections": collections,
            "created": round(self.created, 3),
        }


@dataclass(frozen=True)
class MoveReport:
    """A catalog that was copied. catalog: where it is now, without a password. setting: what to set
    from now on. rows: their count by table."""

    catalog: str
    setting: str
    rows: dict[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `move --json` prints it."""
        return asdict(self) | {"catalog": shown(self.catalog)}


@dataclass(frozen=True)
class MoveProgress:
    """Progress of a move: `done` of `total` rows are copied or compared.

    table: of the rows. report: set in the last one.
    """

    done: int
    total: int
    table: str | None = None
    report: MoveReport | None = None


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration that was fitted on a library.

    model: whose scores it is for. pictures: how many were edited and searched for. pairs: of a
    query and a hit, by the evidence of the calibration. error: expected calibration error on the
    fifth of the pairs that were kept out of a first fit, by the evidence.
    """

    model: str
    pictures: int
    pairs: dict[str, int]
    error: dict[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `calibrate --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class CalibrationProgress:
    """Progress of a calibration: `done` of `total` pictures were searched for. report: set in the
    last one."""

    done: int
    total: int
    report: CalibrationReport | None = None


@dataclass(frozen=True)
class CheckReport:
    """Result of a check. problems: remain. repaired: derived data that was made again."""

    pictures: int
    files: int
    problems: tuple[str, ...]
    repaired: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `check --json` prints it."""
        problems, repaired = map(shown, self.problems), map(shown, self.repaired)
        return asdict(self) | {"problems": list(problems), "repaired": list(repaired)}


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

    def save(self, folder: Path, stem: str, replace: bool = False) -> Path:
        """Write a PNG to a folder, named by a stem, the seed and the sigma; whole or not at all.

        replace: overwrite a file of that name. Otherwise another picture of that name stays, and
        the stem gets a number. Raises StorageError.
        """
        out = io.BytesIO()
        self.picture.save(out, "PNG")
        path, number = folder / self._file_name(stem), 1
        try:
            with files.open_partial(path) as partial:
                partial.write_bytes(out.getvalue())
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
    """

    done: int
    total: int
    pictures: tuple[Image, ...] = ()
    result: Variants | None = None


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


Origin = Literal["person", "file", "model"]
"""Who gave a tag, a caption or a rating: a person, the metadata of a file, or a model."""
MOST_TAG = 200
"""Most characters of a tag, and of the name of an album."""
MOST_CAPTION = 10_000
"""Most characters of a caption."""
RATINGS = (0, 5)
"""Least and most stars of a rating."""


@dataclass(frozen=True)
class Description:
    """What a file or its sidecar says of a picture. rating: 0 to 5 stars."""

    tags: tuple[str, ...] = ()
    caption: str | None = None
    rating: int | None = None

    def __bool__(self) -> bool:
        return bool(self.tags or self.caption or self.rating is not None)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as the catalog stores it."""
        return {"tags": list(self.tags), "caption": self.caption, "rating": self.rating}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Description:
        """Return what `to_json` wrote."""
        return cls(tuple(document["tags"]), document["caption"], document["rating"])

    @classmethod
    def merge(cls, parts: Iterable[Description]) -> Description:
        """Return all tags of some descriptions, and the first caption and rating."""
        parts = list(parts)
        tags = dict.fromkeys(tag for one in parts for tag in one.tags)
        caption = next((one.caption for one in parts if one.caption), None)
        rating = next((one.rating for one in parts if one.rating is not None), None)
        return cls(tuple(tags), caption, rating)


@dataclass(frozen=True)
class Album:
    """An album. id: of hexadecimal digits. count: how many pictures it has, as far as the user may
    see them."""

    id: str
    name: str
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/albums` answers."""
        return asdict(self)


@dataclass(frozen=True)
class Annotations:
    """What people, files and models say of a picture.

    tags: origin by tag, sorted by tag. rating: 0 to 5 stars, None for none. hidden: the picture is
    not shown unless it is asked for. albums: without their counts.
    """

    tags: Mapping[str, Origin] = field(default_factory=dict)
    favourite: bool = False
    rating: int | None = None
    rating_origin: Origin | None = None
    hidden: bool = False
    caption: str | None = None
    caption_origin: Origin | None = None
    albums: tuple[Album, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as a part of what `/images/{id}` answers."""
        return {
            "tags": list(self.tags),
            "tag_origins": dict(self.tags),
            **{name: getattr(self, name) for name in ("favourite", "rating", "rating_origin")},
            **{name: getattr(self, name) for name in ("hidden", "caption", "caption_origin")},
            "albums": [{"id": one.id, "name": one.name} for one in self.albums],
        }


@dataclass(frozen=True)
class Change:
    """A change of what a person says of pictures. A field that is `...` stays as it is.

    add_tags, remove_tags: tags in any spelling. rating: 0 to 5 stars. caption: at most 10,000
    characters. None takes back what a person gave, so that what the file says counts again. album,
    remove_album: id or name of an album to add the pictures to, or to take them out of; an album
    that does not exist is made.
    """

    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    favourite: bool | EllipsisType = ...
    rating: int | None | EllipsisType = ...
    hidden: bool | EllipsisType = ...
    caption: str | None | EllipsisType = ...
    album: str | None = None
    remove_album: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that change something, as `/images/batch` takes them."""
        values = {name: value for name, value in vars(self).items() if value is not ...}
        for name in ("add_tags", "remove_tags", "album", "remove_album"):
            if not values[name]:
                del values[name]
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


@dataclass(frozen=True)
class Changed:
    """The answer to a change.

    ids: of the pictures that it was for. undo: changes that bring back what was before, each with
    the ids of its pictures; those without a change are left out.
    """

    ids: tuple[str, ...]
    undo: tuple[tuple[tuple[str, ...], Change], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/batch` answers. It takes `undo` as a request."""
        changes = [{"ids": list(ids), **change.to_json()} for ids, change in self.undo]
        return {"changed": sum(len(ids) for ids, _ in self.undo), "undo": {"changes": changes}}


@dataclass(frozen=True)
class TagCount:
    """A tag of the library. count: how many pictures have it. origins: the same by origin."""

    tag: str
    count: int
    origins: Mapping[Origin, int]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/tags` answers."""
        return {"tag": self.tag, "count": self.count, "origins": dict(self.origins)}


@dataclass(frozen=True)
class Removal:
    """Files that were moved to the bin.

    ids: of the pictures whose files were all moved. files: how many. failed: those that stay, and
    why. undo: what `Engine.undo_removal` takes; None if the bin does not tell where the files are.
    """

    ids: tuple[str, ...]
    files: int
    failed: tuple[Skip, ...] = ()
    undo: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/remove` answers."""
        failed = [one.to_json() for one in self.failed]
        return {"removed": list(self.ids), "files": self.files, "failed": failed, "undo": self.undo}


@dataclass(frozen=True)
class Restored:
    """Files that came back from the bin. ids: of their pictures. failed: those that did not, and
    why."""

    ids: tuple[str, ...]
    failed: tuple[Skip, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/restore` answers."""
        return {"restored": list(self.ids), "failed": [one.to_json() for one in self.failed]}


@dataclass(frozen=True)
class CompareReport:
    """What comparing pictures did. pictures: that were compared with the others. pairs: that are
    alike, in all."""

    pictures: int
    pairs: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as a job reports it."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class CompareProgress:
    """Progress of comparing pictures: `done` of `total`. report: set in the last one."""

    done: int
    total: int
    report: CompareReport | None = None


DuplicateKind = Literal["exact", "copy", "similar"]
DUPLICATE_KINDS: tuple[DuplicateKind, ...] = ("exact", "copy", "similar")
"""Kinds of duplicates: the same bytes or pixels; the same picture, edited; pictures much alike."""
Action = Literal["keep", "remove", "leave"]
"""What is offered for a picture of a group: `leave` is for those that are no mere duplicates."""
Mark = Literal["burst", "raw", "live"]
"""burst: taken by the same camera within seconds. raw: a RAW file and the picture made of it. live:
a picture with the film of a live photo beside it."""


@dataclass(frozen=True)
class FileOfPicture:
    """A file, and the id of the picture in it. path: absolute, or a URL of object storage."""

    id: str
    path: str

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as requests name a file."""
        return {"id": self.id, "path": shown(self.path)}


@dataclass(frozen=True)
class Replacement:
    """Files to move to the bin, and the file that is kept in their place."""

    keep: FileOfPicture
    remove: tuple[FileOfPicture, ...]


@dataclass(frozen=True)
class Duplicate:
    """A picture of a group of duplicates; in a group of the kind `exact`, one of its files.

    id, path: of one of its files. files: all, also of other pictures with the same pixels. bytes:
    of these files. score: cosine with the picture that is kept; None in a group of the kind
    `exact`. marks: why it is no mere duplicate. companions: files beside it that belong to it.
    """

    id: str
    path: str
    files: tuple[FileOfPicture, ...]
    action: Action
    score: float | None
    type: str
    width: int
    height: int
    bytes: int
    taken: str | None
    camera: str | None
    tags: tuple[str, ...] = ()
    favourite: bool = False
    rating: int | None = None
    marks: tuple[Mark, ...] = ()
    companions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `duplicates --json` prints it."""
        files = [one.to_json() for one in self.files]
        paths = {"path": shown(self.path), "companions": [shown(p) for p in self.companions]}
        return {**vars(self), **paths, "files": files}


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures of which any two are duplicates, the one that is kept first.

    id: the same as long as the group has the same files. score: the least cosine of two of them; 1
    for the kind `exact`. bytes: what removing frees.
    """

    id: str
    kind: DuplicateKind
    score: float
    bytes: int
    pictures: tuple[Duplicate, ...]

    @property
    def replacement(self) -> Replacement | None:
        """What removing does; None if nothing is offered for it."""
        kept = next(one for one in self.pictures if one.action == "keep")
        removed = [f for one in self.pictures if one.action == "remove" for f in one.files]
        return Replacement(kept.files[0], tuple(removed)) if removed else None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `duplicates --json` prints it."""
        return {**vars(self), "pictures": [one.to_json() for one in self.pictures]}


@dataclass(frozen=True)
class Duplicates:
    """A page of groups of duplicates. page: from 1. total: groups in all; bytes: of all of them,
    without the largest file of each. keep: the rules that chose what is kept."""

    page: int
    pages: int
    total: int
    bytes: int
    model: str
    keep: tuple[str, ...]
    groups: tuple[DuplicateGroup, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `duplicates --json` prints it."""
        return {
            **vars(self),
            "keep": [shown(one) for one in self.keep],
            "groups": [one.to_json() for one in self.groups],
        }
