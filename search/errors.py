"""The exceptions of `search`, one tree.

    LookalikeError          the root: catch this
    ├── InputError          an argument is wrong
    │   ├── PictureError    a file that is not a picture, or is damaged, or exceeds the limits
    │   │   ├── SizeError   a picture that exceeds the limits
    │   │   ├── FilmError   a film that cannot be read
    │   │   └── CropError   a crop that is not inside its picture
    │   ├── NotFoundError   a path or an id that does not exist
    │   ├── AddressError    a URL that leads to an address that is not allowed
    │   ├── CollectionError  a folder outside the collections that a token is for
    │   ├── NotUploadError  a picture that is not an upload, so that it is not deleted
    │   └── QueryError      a query that cannot be answered
    │       ├── ConditionError  a condition that cannot be read
    │       │   ├── UnknownFieldError  a field or a sort key that there is not
    │       │   ├── ConditionValueError  a value or an operator that the field does not take
    │       │   └── UnsupportedConditionError  what this version or this library cannot answer
    │       ├── FieldError  a query whose JSON has unknown fields, or values of the wrong type
    │       ├── KeepRuleError  a rule that there is not, for which duplicate is kept
    │       ├── MaskError   a mask that does not fit its picture
    │       ├── NeighbourError  no picture of the library that variants could start from
    │       └── GeneratorError  a generator of variants that there is not
    ├── ModelError          a model that is unknown, cannot be loaded, or is not the library's
    │   └── DeviceMemoryError   the device has too little memory for a model
    ├── BusyError           the queue is full
    ├── RemoteError         object storage or a site that gives no answer, or a wrong one
    │   ├── RemoteDeniedError   object storage or a site that denies access
    │   │   └── RobotsError     the robots.txt of a site forbids it
    │   └── RemoteMissingError  a bucket, an object or a page that is not there
    ├── ClusterError        a Ray cluster cannot be used
    └── LibraryError        the library cannot be used
        ├── EmptyError      the library has no pictures
        ├── LockedError     another process is writing to it
        ├── StorageError    the disk is full or cannot be written
        ├── StoreError      the vector store does not answer, or refuses
        └── UnavailableError  the database of the catalog does not answer

A message says what happened, why, and what to do next. Each class has a `code`: a stable
name for programs, which HTTP problems carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class LookalikeError(Exception):
    """The root of the tree.

    public: the message for those who use a server and not its machine, if it is another one.
    """

    code: ClassVar[str] = "failed"
    public: str | None = None


class InputError(LookalikeError):
    """An argument is wrong."""

    code = "input_invalid"


class PictureError(InputError):
    """A file that is not a picture, or is damaged, or exceeds the limits."""

    code = "not_a_picture"


class SizeError(PictureError):
    """A picture that exceeds the limits."""

    code = "picture_too_large"


class FilmError(PictureError):
    """A film that cannot be read. skip_code: why, a key of `records.SKIP_CODES`."""

    code = "film_invalid"

    def __init__(self, message: str, skip_code: str) -> None:
        self.skip_code = skip_code
        super().__init__(message)


class CropError(PictureError):
    """A crop that is not inside its picture."""

    code = "crop_invalid"


class NotFoundError(InputError):
    """A path or an id that does not exist."""

    code = "not_found"


class AddressError(InputError):
    """A URL that leads to an address that is neither public nor allowed."""

    code = "address_not_allowed"


class CollectionError(InputError):
    """A folder outside the collections that a token is for."""

    code = "folder_not_allowed"


class NotUploadError(InputError):
    """A picture that is not an upload, so that it is not deleted."""

    code = "not_an_upload"


class QueryError(InputError):
    """A query that cannot be answered."""

    code = "query_invalid"


class FieldError(QueryError):
    """A query whose JSON has unknown fields, or values of the wrong type.

    fields: path and message of each.
    """

    code = "fields_invalid"

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self.fields = tuple(fields)
        super().__init__("; ".join(f"{where}: {what}" for where, what in self.fields))


class ConditionError(QueryError):
    """A condition that cannot be read, or that names a field or a value that there is not."""

    code = "condition_invalid"


class UnknownFieldError(ConditionError):
    """A condition with a field or a sort key that there is not."""

    code = "condition_field_unknown"


class ConditionValueError(ConditionError):
    """A condition with a value or an operator that its field does not take."""

    code = "condition_value_invalid"


class UnsupportedConditionError(ConditionError):
    """A condition that this version or this library cannot answer."""

    code = "condition_unsupported"


class KeepRuleError(QueryError):
    """A rule that there is not, for which of several duplicates is kept."""

    code = "keep_rule_invalid"


class MaskError(QueryError):
    """A mask of another size than its picture, or one that leaves nothing to paint or to keep."""

    code = "mask_invalid"


class NeighbourError(QueryError):
    """No picture of the library that variants could start from."""

    code = "no_neighbours"


class GeneratorError(QueryError):
    """A generator of variants that there is not."""

    code = "generator_unknown"


class ModelError(LookalikeError):
    """A model that is unknown, cannot be loaded, or is not the library's."""

    code = "model_unavailable"


class DeviceMemoryError(ModelError):
    """The device has too little memory for what a model computes."""

    code = "device_memory"


class BusyError(LookalikeError):
    """The queue is full."""

    code = "busy"


class RemoteError(LookalikeError):
    """Object storage or a site that gives no answer, or a wrong one."""

    code = "source_unavailable"


class RemoteDeniedError(RemoteError):
    """Object storage or a site that denies access."""

    code = "source_denied"


class RobotsError(RemoteDeniedError):
    """The robots.txt of a site forbids it."""

    code = "robots_denied"


class RemoteMissingError(RemoteError):
    """A bucket, an object or a page that is not there."""

    code = "source_missing"


class ClusterError(LookalikeError):
    """A Ray cluster cannot be used."""

    code = "cluster_failed"


class LibraryError(LookalikeError):
    """The library cannot be used."""

    code = "library_unusable"


class EmptyError(LibraryError):
    """The library has no pictures."""

    code = "library_empty"


class LockedError(LibraryError):
    """Another process is writing to the library."""

    code = "library_locked"


class StorageError(LibraryError):
    """The disk is full or cannot be written."""

    code = "storage_failed"


class UnavailableError(LibraryError):
    """The database of the catalog does not answer. It may, some time later."""

    code = "catalog_unavailable"


class StoreError(LibraryError):
    """The vector store does not answer, or refuses."""

    code = "store_unavailable"
