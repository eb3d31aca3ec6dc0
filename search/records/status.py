"""What a library holds: folders, files that were left out, vectors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from search.files import shown
from search.records.inbox import InboxStatus
from search.records.indexing import Skip
from search.records.texts import TextStatus


@dataclass(frozen=True)
class RootStatus:
    """An indexed folder, `online` or `offline`, and its number of files.

    left_out: files that are not read, by kind, when it was last listed. exclude: globs of files
    that are left out. sync_hours: a server syncs it every so many hours, 0 for never, None as it
    changes. collection: the name of the one that it is in. watched: whether the server that answers
    notices its changes now.
    """

    path: str
    state: Literal["online", "offline"]
    files: int
    left_out: dict[str, int] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    sync_hours: int | None = None
    collection: str | None = None
    watched: bool = False


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

    def __add__(self, other: LeftOut) -> LeftOut:
        """Return the files of two folders."""
        return LeftOut(
            self.skipped + other.skipped,
            self.left_out + other.left_out,
            self.has_more or other.has_more,
        )

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
    backend: what runs the model, or None without one. texts: how far text in pictures is read.
    inbox: what was taken from it; None without one."""

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
    inbox: InboxStatus | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `status --json` prints it."""
        roots = [
            {**asdict(r), "path": shown(r.path), "exclude": [shown(one) for one in r.exclude]}
            for r in self.roots
        ]
        spaces = [asdict(space) | {"name": shown(space.name)} for space in self.spaces]
        listed = {"roots": roots, "spaces": spaces, "inbox": self.inbox and self.inbox.to_json()}
        return {**asdict(self), "home": shown(self.home), **listed}
