"""Everything that goes wrong in a way its caller can act on.

    LookalikeError          the root: catch this
    ├── InputError          something that was given is wrong
    │   ├── PictureError    bytes that are no picture, a broken one, or one beyond the limits
    │   ├── NotFoundError   a path or an id that is not there
    │   └── QueryError      a query that cannot be answered as it stands
    ├── ModelError          a model that is unknown, cannot be loaded, or is not the library's
    └── LibraryError        the library's home cannot be used
        ├── LockedError     another process is writing to it
        └── StorageError    the disk is full or refuses to write

A message says what was given, what was expected and what to do.
"""


class LookalikeError(Exception):
    """The root of the tree."""


class InputError(LookalikeError):
    """Something that was given is wrong."""


class PictureError(InputError):
    """Bytes that are no picture, a broken one, or one beyond the limits."""


class NotFoundError(InputError):
    """A path or an id that is not there."""


class QueryError(InputError):
    """A query that cannot be answered as it stands."""


class ModelError(LookalikeError):
    """A model that is unknown, cannot be loaded, or is not the library's."""


class LibraryError(LookalikeError):
    """The library's home cannot be used."""


class LockedError(LibraryError):
    """Another process is writing to the library."""


class StorageError(LibraryError):
    """The disk is full or refuses to write."""
