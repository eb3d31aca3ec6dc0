"""Groups of duplicates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from search.files import shown


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
