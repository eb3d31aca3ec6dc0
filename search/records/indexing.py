"""What indexing reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from search.files import shown

SKIP_CODES: Mapping[str, str] = MappingProxyType(
    {
        "not_a_picture": "not a picture, or a damaged one",
        "picture_too_large": "beyond a limit of the settings",
        "decode_timeout": "decoding took too long; it is tried again later",
        "decode_failed": "a decoding process ended or ran out of memory on it",
        "file_unreadable": "the system refused to read the file",
        "folder_unreadable": "the system refused to list the folder",
        "file_changed": "changed while it was indexed; the next run reads it",
        "not_a_film": "not a film, or one whose beginning or index is missing",
        "no_video": "a film without a picture that can be decoded, such as sound alone",
        "film_encrypted": "an encrypted film",
        "film_thinned": "a film that takes too long to decode; some of its scenes are not indexed",
        "source_denied": "object storage or a web site denied it",
        "source_missing": "there is no such bucket, folder, object or picture of a site",
        "source_unavailable": "object storage or a web site gives no answer",
        "address_not_allowed": "its host is neither on the public internet nor allowed",
        "robots_denied": "the robots.txt of the site forbids it",
        "page_needs_login": "a page that wants a login",
        "page_off_site": "a page that leads to another site",
        "page_failed": "a page that gives no answer; what it had before stays",
        "sitemap_invalid": "a sitemap that is broken or gives no answer",
        "site_limit": "a limit of pages or of time was reached; what was not reached stays",
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
    "fetch",
    "scan",
    "index",
    "embed",
    "draw",
    "finish",
    "copy",
    "text",
    "caption",
    "calibrate",
    "compare",
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
