"""A picture of the library and what is known of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from search.files import shown
from search.records.annotations import Annotations

FRAME_TYPES = ("film", "animation")
"""Types of pictures that are frames of a file with many."""


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
    yet. page: URL of a web page that shows it. time: of a frame, in seconds from the start of the
    film that its file is; None for others.
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
    page: str | None = None
    time: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/{id}` answers."""
        paths = {"path": shown(self.path), "paths": [shown(p) for p in self.paths]}
        lists = {name: list(getattr(self.metadata, name)) for name in ("palette", "palette_shares")}
        metadata = {**asdict(self.metadata), **lists}
        seen = {"labels": [asdict(label) for label in self.labels], "low_content": self.low_content}
        names = ("original_name", "source_url", "page")
        origins = {name: getattr(self, name) for name in names}
        more = {**seen, **origins, "has_text": self.has_text, "time": self.time}
        return {"id": self.id, **paths, **metadata, **self.annotations.to_json(), **more}


@dataclass(frozen=True)
class KeptPicture(Picture):
    """A picture that the library was given. is_new: a file was written, since the library did not
    have the picture."""

    is_new: bool = False
