"""Everything that goes wrong in a way its caller can act on.

    LookalikeError          the root: catch this
    ├── InputError          something that was given is wrong
    │   ├── PictureError    bytes that are no picture, a broken one, or one beyond the limits
    │   │   ├── SizeError   a picture beyond the limits
    │   │   └── CropError   a crop that is not within its picture
    │   ├── NotFoundError   a path or an id that is not there
    │   └── QueryError      a query that cannot be answered as it stands
    │       ├── FieldError  a query whose JSON has unknown fields, or values of the wrong type
    │       └── NeighbourError  no picture of the library that variants could start from
    ├── ModelError          a model that is unknown, cannot be loaded, or is not the library's
    ├── BusyError           more is waiting than may wait
    └── LibraryError        the library's home cannot be used
        ├── EmptyError      nothing to search in
        ├── LockedError     another process is writing to it
        └── StorageError    the disk is full or refuses to write

A message says what was given, what was expected and what to do. Each class has a `code`: a stable
name for programs, which HTTP problems carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class LookalikeError(Exception):
    """The root of the tree."""

    code: ClassVar[str] = "failed"


class InputError(LookalikeError):
    """Something that was given is wrong."""

    code = "input_invalid"


class PictureError(InputError):
    """Bytes that are no picture, a broken one, or one beyond the limits."""

    code = "not_a_picture"


class SizeError(PictureError):
    """A picture beyond the limits."""

    code = "picture_too_large"


class CropError(PictureError):
    """A crop that is not within its picture."""

    code = "crop_invalid"


class NotFoundError(InputError):
    """A path or an id that is not there."""

    code = "not_found"


class QueryError(InputError):
    """A query that cannot be answered as it stands."""

    code = "query_invalid"


class FieldError(QueryError):
    """A query whose JSON has unknown fields, or values of the wrong type: `fields` has where and
    what, for each of them."""

    code = "fields_invalid"

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self.fields = tuple(fields)
        super().__init__("; ".join(f"{where}: {what}" for where, what in self.fields))


class NeighbourError(QueryError):
    """No picture of the library that variants could start from."""

    code = "no_neighbours"


class ModelError(LookalikeError):
    """A model that is unknown, cannot be loaded, or is not the library's."""

    code = "model_unavailable"


class BusyError(LookalikeError):
    """More is waiting than may wait."""

    code = "busy"


class LibraryError(LookalikeError):
    """The library's home cannot be used."""

    code = "library_unusable"


class EmptyError(LibraryError):
    """Nothing to search in."""

    code = "library_empty"


class LockedError(LibraryError):
    """Another process is writing to the library."""

    code = "library_locked"


class StorageError(LibraryError):
    """The disk is full or refuses to write."""

    code = "storage_failed"
