"""Tags, albums, ratings and captions of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import EllipsisType
from typing import Any, Literal

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
